//! The evaluator: scales, noise and failure of every integer.

use nn::evaluator::{Entries, Evaluator, Form, LinearMap, Rows, Use};
use nn::integer::IntegerProgram;
use nn::table::LookupTable;
use tfhe_core::noise::Distribution;

use super::backend::IntegerBackend;
use super::multiply::Multiply;
use super::output::Output;
use super::prediction::Predictor;
use super::tensor::{Integer, IntegerTensor, Product, bits_of};
use crate::track::statistics::{Statistics, StepStatistics, Tails};
use crate::track::timed::Timed;
use crate::track::{EvaluationError, Observer};

/// Computes programs over tables of integers on a backend.
pub struct IntegerEvaluator<'a, B> {
    pub(super) backend: B,
    pub(super) predictor: Predictor,
    multiply: Multiply,
    pub(super) observer: &'a mut dyn Observer,
    statistics: Statistics,
    pub(super) tails: Tails,
    pub(super) gadgets: Vec<usize>,
}

impl<'a, B: IntegerBackend> IntegerEvaluator<'a, B> {
    /// For the data flow of `program`, with factors multiplied as `multiply` says. The backend must have the keys of
    /// [`Predictor::gadgets`].
    pub fn new(
        backend: B,
        predictor: Predictor,
        multiply: Multiply,
        program: &IntegerProgram,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let gadgets = Predictor::gadgets(predictor.parameters(), multiply, program.input_bits(), program.is_whole());
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
    pub(super) fn rescale(&self, value: &Integer<B::Ciphertext>, bits: u32) -> Integer<B::Ciphertext> {
        assert!(value.bits >= bits, "made for tables of {} bits, used by one of {bits}", value.bits);
        let factor = 1_i64 << (value.bits - bits);
        let ciphertext = self.backend.combine(&[(&value.ciphertext, factor)], 0);
        Integer { ciphertext, bits, noise: value.noise.scaled(factor as f64) }
    }

    /// Σ factor·value, at the larger of the scales (the smaller number of bits).
    pub(super) fn sum(&self, terms: [(&Integer<B::Ciphertext>, i64); 2]) -> Integer<B::Ciphertext> {
        let bits = terms.iter().map(|(value, _)| value.bits).min().unwrap_or(0);
        let factor = |&(value, factor): &(&Integer<B::Ciphertext>, i64)| factor << (value.bits - bits);
        let scaled = terms.each_ref().map(|term| (&term.0.ciphertext, factor(term)));
        let noise = terms.iter().map(|term| term.0.noise.scaled(factor(term) as f64)).sum();
        Integer { ciphertext: self.backend.combine(&scaled, 0), bits, noise }
    }

    pub(super) fn step(&mut self, name: &'static str) -> &mut StepStatistics {
        self.statistics.step(name)
    }
}

impl<B: IntegerBackend> Timed for IntegerEvaluator<'_, B> {
    fn observed(&mut self) -> (&mut dyn Observer, &mut Statistics) {
        (self.observer, &mut self.statistics)
    }
}

impl<B: IntegerBackend> IntegerEvaluator<'_, B> {
    /// x·W + b of an encrypted input at the scale of tables of `bits` bits.
    fn project(
        &mut self,
        step: &'static str,
        input: &B::Input,
        LinearMap { weight, bias, .. }: &LinearMap<'_>,
        bits: u32,
    ) -> Result<Rows<Integer<B::Ciphertext>>, EvaluationError> {
        let variances: Vec<_> = (0..weight.cols()).map(|column| self.predictor.project(weight, column)).collect();
        let mut output = self.backend.project(input, weight, bits);
        self.advance(weight.cols())?;
        variances.iter().for_each(|&variance| self.step(step).result(variance));
        for row in 0..output.rows() {
            for (sum, &bias) in output.row_mut(row).iter_mut().zip(*bias) {
                *sum = self.backend.combine(&[(sum, 1)], (bias as u64) << (63 - bits));
            }
        }
        let rows = output.rows();
        let integers = output.into_data().into_iter().zip(variances.iter().cycle());
        let mut integers =
            integers.map(|(ciphertext, &variance)| Integer { ciphertext, bits, noise: Distribution::from(variance) });
        Ok((0..rows).map(|_| integers.by_ref().take(weight.cols()).collect()).collect())
    }

    /// x·W + b of integers, row by row.
    fn sum_weighted(
        &mut self,
        step: &'static str,
        rows: &[Vec<Integer<B::Ciphertext>>],
        LinearMap { weight, bias, .. }: &LinearMap<'_>,
        bits: u32,
    ) -> Result<Rows<Integer<B::Ciphertext>>, EvaluationError> {
        let constant = |column: usize| (bias.get(column).copied().unwrap_or(0) as u64) << (63 - bits);
        let constants: Vec<u64> = (0..weight.cols()).map(constant).collect();
        let sum = |row: &Vec<Integer<B::Ciphertext>>| {
            let terms: Vec<_> = row.iter().map(|value| self.rescale(value, bits)).collect();
            let ciphertexts: Vec<_> = terms.iter().map(|term| &term.ciphertext).collect();
            let results = self.backend.weighted_sums(&ciphertexts, weight, &constants);
            let mut sums = Vec::with_capacity(weight.cols());
            for (column, ciphertext) in results.into_iter().enumerate() {
                let weighted =
                    |(inner, term): (usize, &Integer<_>)| term.noise.scaled(f64::from(weight[(inner, column)]));
                let noise: Distribution = terms.iter().enumerate().map(weighted).sum();
                self.step(step).result(noise.variance());
                sums.push(Integer { ciphertext, bits, noise });
            }
            self.advance(weight.cols())?;
            Ok(sums)
        };
        rows.iter().map(sum).collect()
    }
}

impl<B: IntegerBackend> Evaluator for IntegerEvaluator<'_, B> {
    type Tensor = IntegerTensor<B::Input, B::Ciphertext>;
    type Lane = Integer<B::Ciphertext>;
    type Table = LookupTable;
    type Error = EvaluationError;

    fn linear(
        &mut self,
        step: &'static str,
        input: &Self::Tensor,
        maps: &[LinearMap<'_>],
    ) -> Result<Vec<Self::Tensor>, EvaluationError> {
        let map = |map: &LinearMap<'_>| {
            let bits = bits_of(map.form);
            let rows = match input {
                IntegerTensor::Input(input, sent) => self.timed(step, map.weight.cols(), |evaluator| {
                    let rows = evaluator.project(step, input, map, *sent)?;
                    let rescaled = |row: Vec<_>| row.iter().map(|entry| evaluator.rescale(entry, bits)).collect();
                    Ok(if *sent == bits { rows } else { rows.into_iter().map(rescaled).collect() })
                }),
                IntegerTensor::Integers(rows, _) => self.timed(step, rows.len() * map.weight.cols(), |evaluator| {
                    evaluator.sum_weighted(step, rows, map, bits)
                }),
            };
            Ok(IntegerTensor::Integers(rows?, map.form))
        };
        maps.iter().map(map).collect()
    }

    fn multiply(
        &mut self,
        step: &'static str,
        factors: Vec<[Self::Tensor; 2]>,
        entries: Entries,
    ) -> Result<Vec<Self::Tensor>, EvaluationError> {
        let products: Vec<Product<B::Ciphertext>> =
            factors.into_iter().map(|[left, right]| Product::new(left, right, entries)).collect();
        let operations = products.iter().map(Product::needed).sum();
        self.timed(step, operations, |evaluator| {
            let multiply = |product: Product<B::Ciphertext>| {
                let rows = match evaluator.multiply {
                    Multiply::Product => evaluator.multiply_ciphertexts(step, &product)?,
                    Multiply::Lut => evaluator.multiply_by_lookup(step, &product)?,
                };
                Ok(IntegerTensor::Integers(rows, Form::Integers { bits: product.factor.product_bits }))
            };
            products.into_iter().map(multiply).collect()
        })
    }

    /// A product of factors.
    fn weigh(
        &mut self,
        step: &'static str,
        weights: Self::Tensor,
        values: Self::Tensor,
        sum: Option<Self::Tensor>,
    ) -> Result<Self::Tensor, EvaluationError> {
        let products = self.multiply(step, vec![[weights, values]], Entries::All)?;
        let mut rows: Rows<_> = products.into_iter().flat_map(|product| self.lanes(product)).collect();
        let earlier = sum.map(|sum| self.lanes(sum)).unwrap_or_default();
        for (sum, earlier) in rows.iter_mut().flatten().zip(earlier.iter().flatten()) {
            self.add_scaled(sum, earlier, 1);
        }
        let bits = rows.first().and_then(|row| row.first()).map_or(0, |entry| entry.bits);
        Ok(IntegerTensor::Integers(rows, Form::Integers { bits }))
    }

    fn lanes(&mut self, tensor: Self::Tensor) -> Rows<Self::Lane> {
        match tensor {
            IntegerTensor::Integers(rows, _) => rows,
            IntegerTensor::Input(..) => unreachable!("an input is mapped first"),
        }
    }

    fn pack(&mut self, rows: Rows<Self::Lane>, form: Form) -> Self::Tensor {
        IntegerTensor::Integers(rows, form)
    }

    fn look_up(
        &mut self,
        step: &'static str,
        lanes: &[Self::Lane],
        tables: &[&LookupTable],
        result: Use,
    ) -> Result<Vec<Self::Lane>, EvaluationError> {
        let output = Output::of(result, self.multiply, &self.predictor, &self.gadgets);
        self.timed(step, lanes.len(), |evaluator| evaluator.read_tables(step, lanes, tables, output))
    }

    fn add_scaled(&self, sum: &mut Self::Lane, other: &Self::Lane, factor: i64) {
        *sum = self.sum([(sum, 1), (other, factor)]);
    }
}
