//! The integer head's data flow on torus elements.
//!
//! [`HomomorphicEngine`] implements [`nn::engine::Engine`] over a [`TorusBackend`]: it keeps each integer's scale and predicted
//! noise, decides how each table is read, and adds up failure probabilities. The three backends are
//! [`encrypted::Encrypted`] (ciphertexts), [`simulated::Simulated`] (phases with drawn noise) and
//! [`counted::Counted`] (nothing: what the circuit costs).
//!
//! # Scales
//! An integer m that is to be read by a table of w bits is the torus element m/2^(w+1): the table is negacyclic with
//! period 2^(w+1). A scale can be raised by a multiplication by a power of two, never lowered, so an integer that is
//! used twice is made at the smaller of the two scales.

pub mod backend;
pub mod counted;
pub mod encoding;
pub mod encrypted;
mod lookup;
mod output;
pub mod plan;
pub mod prepared;
mod product;
pub mod simulated;
pub mod statistics;

use nn::engine::{Engine, FactorUse, LookupTable, Product, TermUse, Use};
use nn::integer::IntegerProgram;
use nn::matrix::Matrix;
use tfhe_core::noise::Distribution;

use crate::boundary::Refused;
use backend::TorusBackend;
use output::Output;
use plan::{Multiply, Predictor};
use statistics::{Statistics, StepStatistics, Tails};

/// An integer on the torus: m/2^(bits+1) plus noise.
#[derive(Clone, Debug)]
pub struct Integer<C> {
    /// The torus element.
    pub ciphertext: C,
    /// What its scale, 2^−(bits+1), is for: tables of so many bits.
    pub bits: u32,
    /// The predicted noise.
    pub noise: Distribution,
}

/// Why the data flow was not finished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It was not begun.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The observer asked to stop.
    #[error("stopped before the computation was finished; nothing was written")]
    Cancelled,
}

/// Is told how far the computation has come, and may stop it.
pub trait Observer {
    /// A step begins, or goes on, with so many more lookups or products.
    fn begin(&mut self, step: &'static str, operations: usize);

    /// So many of them are done. False stops the computation.
    fn advance(&mut self, operations: usize) -> bool;
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn begin(&mut self, _step: &'static str, _operations: usize) {}

    fn advance(&mut self, _operations: usize) -> bool {
        true
    }
}

/// Computes the head's data flow on a backend.
pub struct HomomorphicEngine<'a, B> {
    backend: B,
    predictor: Predictor,
    multiply: Multiply,
    observer: &'a mut dyn Observer,
    statistics: Statistics,
    tails: Tails,
    gadgets: Vec<usize>,
}

impl<'a, B: TorusBackend> HomomorphicEngine<'a, B> {
    /// For the data flow of `program`, with factors multiplied as `multiply` says. The backend must have the keys of
    /// [`Predictor::gadgets`].
    pub fn new(
        backend: B,
        predictor: Predictor,
        multiply: Multiply,
        program: &IntegerProgram,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let gadgets = Predictor::gadgets(multiply, program.input_bits(), program.is_whole());
        let (statistics, tails) = (Statistics::default(), Tails::default());
        Self { backend, predictor, multiply, observer, statistics, tails, gadgets }
    }

    /// What was done so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The same integer at the scale for tables of `bits` bits.
    ///
    /// # Panics
    /// If its scale is larger already: the data flow did not declare this use.
    fn rescale(&self, value: &Integer<B::Ciphertext>, bits: u32) -> Integer<B::Ciphertext> {
        assert!(value.bits >= bits, "made for tables of {} bits, used by one of {bits}", value.bits);
        let factor = 1_i64 << (value.bits - bits);
        let ciphertext = self.backend.combine(&[(&value.ciphertext, factor)], 0);
        Integer { ciphertext, bits, noise: value.noise.scaled(factor as f64) }
    }

    /// Σ factor·value, at the larger of the scales (the smaller number of bits).
    fn sum(&self, terms: [(&Integer<B::Ciphertext>, i64); 2]) -> Integer<B::Ciphertext> {
        let bits = terms.iter().map(|(value, _)| value.bits).min().unwrap_or(0);
        let factor = |&(value, factor): &(&Integer<B::Ciphertext>, i64)| factor << (value.bits - bits);
        let scaled = terms.each_ref().map(|term| (&term.0.ciphertext, factor(term)));
        let noise = terms.iter().map(|term| term.0.noise.scaled(factor(term) as f64)).sum();
        Integer { ciphertext: self.backend.combine(&scaled, 0), bits, noise }
    }

    fn step(&mut self, name: &'static str) -> &mut StepStatistics {
        self.statistics.step(name)
    }

    /// Runs `work` as a part of step `name`, with its time.
    fn timed<T>(
        &mut self,
        name: &'static str,
        operations: usize,
        work: impl FnOnce(&mut Self) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.observer.begin(name, operations);
        let start = std::time::Instant::now();
        let result = work(self);
        self.step(name).seconds += start.elapsed().as_secs_f64();
        result
    }

    /// Reports progress; an error if the observer wants to stop.
    fn advance(&mut self, operations: usize) -> Result<(), EngineError> {
        if self.observer.advance(operations) { Ok(()) } else { Err(EngineError::Cancelled) }
    }
}

/// Σ w² of the weights of one output.
fn squared_weights(weight: &Matrix<i32>, column: usize) -> f64 {
    (0..weight.rows()).map(|row| f64::from(weight[(row, column)]).powi(2)).sum()
}

/// The matrix of as many entries as it needs.
fn matrix<T>(rows: usize, cols: usize, entries: impl IntoIterator<Item = T>) -> Matrix<T> {
    Matrix::new(rows, cols, entries.into_iter().collect())
        .expect("a backend returns as many results as it was asked for")
}

impl<B: TorusBackend> Engine for HomomorphicEngine<'_, B> {
    type Value = Integer<B::Ciphertext>;
    type Input = B::Input;
    type Error = EngineError;

    fn project(
        &mut self,
        step: &'static str,
        input: &B::Input,
        weight: &Matrix<i32>,
        bits: u32,
    ) -> Result<Matrix<Self::Value>, EngineError> {
        self.timed(step, weight.cols(), |engine| {
            let variances: Vec<_> =
                (0..weight.cols()).map(|column| engine.predictor.project(squared_weights(weight, column))).collect();
            let output = engine.backend.project(input, weight, bits);
            engine.advance(weight.cols())?;
            let rows = output.rows();
            let of_columns = variances.iter().cycle();
            let integer = |(ciphertext, &variance)| Integer { ciphertext, bits, noise: Distribution::from(variance) };
            Ok(matrix(rows, weight.cols(), output.into_data().into_iter().zip(of_columns).map(integer)))
        })
    }

    fn lookup(
        &mut self,
        step: &'static str,
        values: &[Self::Value],
        tables: &[&LookupTable],
        result: Use,
    ) -> Result<Vec<Self::Value>, EngineError> {
        let output = Output::of(result, self.multiply, &self.predictor, &self.gadgets);
        self.timed(step, values.len(), |engine| engine.read_tables(step, values, tables, output))
    }

    fn matrix_products(
        &mut self,
        step: &'static str,
        products: &[Product<'_, Self::Value>],
        factor: FactorUse,
    ) -> Result<Vec<Matrix<Option<Self::Value>>>, EngineError> {
        let operations = products.iter().map(|product| product.needed.iter().filter(|&&x| x).count()).sum();
        self.timed(step, operations, |engine| {
            products
                .iter()
                .map(|product| match engine.multiply {
                    Multiply::Product => engine.multiply_ciphertexts(step, product, factor),
                    Multiply::Lut => engine.multiply_by_lookup(step, product, factor),
                })
                .collect()
        })
    }

    fn weighted_sums(
        &mut self,
        step: &'static str,
        values: &Matrix<Self::Value>,
        weight: &Matrix<i32>,
        bias: &[i64],
        term: TermUse,
    ) -> Result<Matrix<Self::Value>, EngineError> {
        let bits = term.sum_bits;
        let constants: Vec<u64> = bias.iter().map(|&bias| (bias as u64) << (63 - bits)).collect();
        self.timed(step, values.rows() * weight.cols(), |engine| {
            let mut sums = Vec::with_capacity(values.rows() * weight.cols());
            for row in 0..values.rows() {
                let terms: Vec<_> = values.row(row).iter().map(|value| engine.rescale(value, bits)).collect();
                let ciphertexts: Vec<_> = terms.iter().map(|term| &term.ciphertext).collect();
                let results = engine.backend.weighted_sums(&ciphertexts, weight, &constants);
                for (column, ciphertext) in results.into_iter().enumerate() {
                    let weighted =
                        |(inner, term): (usize, &Integer<_>)| term.noise.scaled(f64::from(weight[(inner, column)]));
                    let noise: Distribution = terms.iter().enumerate().map(weighted).sum();
                    engine.step(step).result(noise.variance());
                    sums.push(Integer { ciphertext, bits, noise });
                }
                engine.advance(weight.cols())?;
            }
            Ok(matrix(values.rows(), weight.cols(), sums))
        })
    }

    fn add(&mut self, a: &Self::Value, b: &Self::Value) -> Self::Value {
        self.sum([(a, 1), (b, 1)])
    }

    fn subtract(&mut self, a: &Self::Value, b: &Self::Value) -> Self::Value {
        self.sum([(a, 1), (b, -1)])
    }
}
