//! The integer head's data flow on torus elements.
//!
//! [`HomomorphicEngine`] implements [`nn::engine::Engine`] over a [`Backend`]: it keeps each integer's scale and predicted
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
pub mod encrypted;
mod lookup;
pub mod plan;
mod product;
pub mod simulated;
pub mod statistics;

use nn::engine::{Engine, FactorUse, LookupTable, Product, Use};
use nn::matrix::Matrix;
use tfhe_core::noise::Variance;

use backend::Backend;
use plan::{Multiply, Predictor};
use statistics::{Statistics, StepStatistics};

/// An integer on the torus: m/2^(bits+1) plus noise.
#[derive(Clone, Debug)]
pub struct Integer<C> {
    /// The torus element.
    pub ciphertext: C,
    /// What its scale, 2^−(bits+1), is for: tables of so many bits.
    pub bits: u32,
    /// The predicted noise.
    pub variance: Variance,
}

/// Why the data flow was not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
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
    gadgets: Vec<usize>,
}

impl<'a, B: Backend> HomomorphicEngine<'a, B> {
    /// With factors of at most `bits` bits, multiplied as `multiply` says. The backend must have the keys of
    /// [`Predictor::gadgets`].
    pub fn new(
        backend: B,
        predictor: Predictor,
        multiply: Multiply,
        bits: u32,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let gadgets = Predictor::gadgets(multiply, bits);
        Self { backend, predictor, multiply, observer, statistics: Statistics::default(), gadgets }
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
        Integer { ciphertext, bits, variance: value.variance.scaled(factor as f64) }
    }

    /// Σ factor·value, at the larger of the scales (the smaller number of bits).
    fn sum(&self, terms: [(&Integer<B::Ciphertext>, i64); 2]) -> Integer<B::Ciphertext> {
        let bits = terms.iter().map(|(value, _)| value.bits).min().unwrap_or(0);
        let factor = |&(value, factor): &(&Integer<B::Ciphertext>, i64)| factor << (value.bits - bits);
        let scaled = terms.each_ref().map(|term| (&term.0.ciphertext, factor(term)));
        let variance = terms.iter().map(|term| term.0.variance.scaled(factor(term) as f64)).sum();
        Integer { ciphertext: self.backend.combine(&scaled, 0), bits, variance }
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

impl<B: Backend> Engine for HomomorphicEngine<'_, B> {
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
            let squares =
                |column: usize| -> f64 { (0..weight.rows()).map(|row| f64::from(weight[(row, column)]).powi(2)).sum() };
            let variances: Vec<_> =
                (0..weight.cols()).map(|column| engine.predictor.project(squares(column))).collect();
            let output = engine.backend.project(input, weight, bits);
            engine.advance(weight.cols())?;
            Ok(Matrix::from_fn(output.rows(), output.cols(), |row, column| Integer {
                ciphertext: output[(row, column)].clone(),
                bits,
                variance: variances[column],
            }))
        })
    }

    fn lookup(
        &mut self,
        step: &'static str,
        values: &[Self::Value],
        tables: &[&LookupTable],
        result: Use,
    ) -> Result<Vec<Self::Value>, EngineError> {
        let output = lookup::Output::of(result, self.multiply, &self.predictor, &self.gadgets);
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

    fn add(&mut self, a: &Self::Value, b: &Self::Value) -> Self::Value {
        self.sum([(a, 1), (b, 1)])
    }

    fn subtract(&mut self, a: &Self::Value, b: &Self::Value) -> Self::Value {
        self.sum([(a, 1), (b, -1)])
    }
}
