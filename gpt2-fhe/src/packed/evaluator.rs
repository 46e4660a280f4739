//! Programs over smooth tables on packed numbers: [`PackedEvaluator`].
//!
//! It counts operations, and predicts noise: a number is a combination of independent errors, so that what two numbers have in common
//! cancels in their difference. The slope of softplus is taken to be 1 everywhere, its largest value: noises of arguments are upper
//! bounds. What represents numbers is a [`PackedBackend`]: ciphertexts, plain numbers with drawn noise, or nothing.

use std::collections::BTreeMap;

use nn::evaluator::{Entries, Evaluator, Form, LinearMap, Rows, SmoothEvaluator, Use};
use nn::packed::{PackedProgram, steps};
use nn::table::{Smooth, SmoothTable};
use tfhe_core::noise::{Distribution, Variance};
use tfhe_core::params::PolynomialSize;

use super::backend::{PackedBackend, Summed, log_modulus};
use super::layout::Layout;
use super::prediction::{Prediction, ProjectionNoise, ValueNoise};
use super::tables;
use crate::track::statistics::{Statistics, Tails};
use crate::track::timed::Timed;
use crate::track::{EvaluationError, Observer};

/// How many lookups are done between two reports of progress.
const BATCH: usize = 64;

/// A number, and its predicted noise.
#[derive(Clone, Debug)]
pub struct PackedNumber<C> {
    summed: Summed<C>,
    /// Multiples of independent errors, by their indices.
    errors: BTreeMap<usize, i64>,
}

impl<C> PackedNumber<C> {
    /// What represents it.
    pub fn content(&self) -> &C {
        &self.summed.content
    }

    /// The same, and which kinds of ciphertexts it is a sum of.
    pub fn summed(&self) -> &Summed<C> {
        &self.summed
    }
}

/// Packed numbers that are held together.
#[derive(Clone, Debug)]
pub enum PackedTensor<B: PackedBackend> {
    /// What the client sent.
    Input(B::Input),
    /// What a linear map gives.
    Mapped(B::Projection, Form, ProjectionNoise),
    /// Scores.
    Product(B::Product, Distribution),
    /// What is weighed with.
    Weights(Rows<PackedNumber<B::Number>>),
    /// Weighted sums.
    Sum(B::Sum),
}

/// Computes programs on packed numbers in a layout, which says also of which rows a program's products are.
pub struct PackedEvaluator<'a, B> {
    backend: B,
    prediction: &'a Prediction,
    layout: Layout,
    /// N' of the lookup ring.
    lookup_size: PolynomialSize,
    observer: &'a mut dyn Observer,
    /// Of each error.
    errors: Vec<Distribution>,
    tails: Tails,
    statistics: Statistics,
    /// Of each exponential, the largest noise with which it was read.
    exponents: Vec<(SmoothTable, Variance)>,
}

impl<'a, B: PackedBackend> PackedEvaluator<'a, B> {
    /// On a backend, with the noise predicted in a layout.
    pub fn new(
        backend: B,
        prediction: &'a Prediction,
        layout: Layout,
        lookup_size: PolynomialSize,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let (tails, statistics) = (Tails::default(), Statistics::default());
        let (errors, exponents) = (Vec::new(), Vec::new());
        Self { backend, prediction, layout, lookup_size, observer, errors, tails, statistics, exponents }
    }

    /// What represents numbers.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// The predicted noise of a number; zero if it is not tracked.
    pub fn noise(&self, number: &PackedNumber<B::Number>) -> Variance {
        self.distribution(&number.errors).variance()
    }

    /// What was done so far; noise and failure where the backend has them tracked ([`PackedBackend::TRACKED`]).
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Of each exponential that was read, the largest noise of its argument.
    pub fn exponents(&self) -> &[(SmoothTable, Variance)] {
        &self.exponents
    }

    /// Counts, once, the packing of the answer, and that an output within the program's limit wraps around.
    pub fn count_answer(&mut self, program: &PackedProgram) {
        let (layout, output) = (self.layout, self.prediction.output(&self.layout, self.layout.tokens() - 1));
        // What is left between the limit of outputs and half a turn.
        let margin = 0.5 - program.output_limit() * program.output_turns();
        let outputs = (layout.span().rows().len() * program.output_size()) as f64;
        let statistics = self.statistics.step(steps::OUTPUT);
        statistics.automorphisms += layout.answer_automorphisms();
        statistics.result(output.variance());
        statistics.log2_failure_probability = output.log2_tail(margin) + outputs.log2();
    }

    fn error(&mut self, distribution: Distribution) -> BTreeMap<usize, i64> {
        self.errors.push(distribution);
        BTreeMap::from([(self.errors.len() - 1, 1)])
    }

    fn distribution(&self, errors: &BTreeMap<usize, i64>) -> Distribution {
        errors.iter().map(|(&error, &factor)| self.errors[error].scaled(factor as f64)).sum()
    }

    /// Counts the reading of a number by a table, and returns the errors of the result.
    fn count_lookup(
        &mut self,
        step: &'static str,
        number: &PackedNumber<B::Number>,
        table: &SmoothTable,
    ) -> BTreeMap<usize, i64> {
        let Summed { score, lookup, .. } = number.summed;
        let statistics = self.statistics.step(step);
        statistics.lookups += 1;
        statistics.bootstrapped(tables::gadget(table.function()), 1);
        statistics.key_switches += usize::from(score) + usize::from(lookup);
        if !B::TRACKED {
            return BTreeMap::new();
        }
        let (added, result) = (self.prediction.reading(score, lookup), self.prediction.result(table.function()));
        let read = self.distribution(&number.errors) + added;
        let failure = self.tails.log2_tail(&read, table.margin());
        let statistics = self.statistics.step(step);
        statistics.read(read.variance(), table.margin(), failure);
        statistics.result(result);
        let mut errors = if table.function() == Smooth::Softplus {
            number.errors.clone()
        } else {
            self.note_exponent(table, read.variance());
            BTreeMap::new()
        };
        // Of L(A ∪ B), at a slope of 1, the errors are those of L(A) and of its reading. At any slope their sum is a weighted mean of those and
        // of L(B)'s, no larger than the larger of both, but for the results that are in L(B).
        let results = if table.function() == Smooth::Softplus { self.layout.span().results_of_logarithms() } else { 1 };
        errors.extend(self.error((added + result.repeated(results as f64)).into()));
        errors
    }

    fn note_exponent(&mut self, table: &SmoothTable, read: Variance) {
        match self.exponents.iter_mut().rev().find(|(known, _)| known == table) {
            Some((_, largest)) => *largest = if read > *largest { read } else { *largest },
            None => self.exponents.push((*table, read)),
        }
    }

    fn count_map(&mut self, step: &'static str, form: Form, noise: ProjectionNoise) {
        let automorphisms = self.layout.projection_automorphisms(form);
        let statistics = self.statistics.step(step);
        statistics.automorphisms += automorphisms;
        if let Form::Cyclic(..) = form {
            statistics.result(noise.gathered);
        }
    }

    fn count_weighing(&mut self, step: &'static str, weights: &[Vec<PackedNumber<B::Number>>]) {
        let (layout, blocks) = (self.layout, self.layout.probability_blocks());
        let lifts: usize = blocks.iter().map(|&(rows, _)| layout.row_sets(rows).len()).sum();
        let entries: usize = weights.iter().map(Vec::len).sum();
        let statistics = self.statistics.step(step);
        statistics.external_products += blocks.len() * layout.output_chunks();
        statistics.automorphisms += entries * self.lookup_size.log2() as usize;
        statistics.key_switches += lifts;
    }
}

impl<B: PackedBackend> Timed for PackedEvaluator<'_, B> {
    fn observed(&mut self) -> (&mut dyn Observer, &mut Statistics) {
        (self.observer, &mut self.statistics)
    }
}

impl<B: PackedBackend> Evaluator for PackedEvaluator<'_, B> {
    type Tensor = PackedTensor<B>;
    type Lane = PackedNumber<B::Number>;
    type Table = SmoothTable;
    type Error = EvaluationError;

    fn linear(
        &mut self,
        step: &'static str,
        input: &PackedTensor<B>,
        maps: &[LinearMap<'_>],
    ) -> Result<Vec<PackedTensor<B>>, EvaluationError> {
        let PackedTensor::Input(input) = input else { unreachable!("only inputs are mapped") };
        self.timed(step, 1, |evaluator| {
            let projections = evaluator.backend.project(input, maps).into_iter().zip(maps);
            let tensors = projections.map(|(projection, map)| {
                let noise = evaluator.prediction.projection(&evaluator.layout, map);
                evaluator.count_map(step, map.form, noise);
                PackedTensor::Mapped(projection, map.form, noise)
            });
            let tensors = tensors.collect();
            evaluator.advance(1)?;
            Ok(tensors)
        })
    }

    fn multiply(
        &mut self,
        step: &'static str,
        factors: Vec<[PackedTensor<B>; 2]>,
        entries: Entries,
    ) -> Result<Vec<PackedTensor<B>>, EvaluationError> {
        let first = self.layout.span().rows().start;
        assert_eq!(entries, Entries::Causal { first }, "the rows of the layout");
        self.timed(step, factors.len(), |evaluator| {
            let multiply = |factors: [PackedTensor<B>; 2]| {
                let [PackedTensor::Mapped(query, form, of_query), PackedTensor::Mapped(key, _, of_key)] = factors
                else {
                    unreachable!("only mapped inputs are multiplied")
                };
                let log_modulus = log_modulus(form);
                let noise = evaluator.prediction.score(&evaluator.layout, [of_query, of_key], log_modulus);
                let product = evaluator.backend.multiply([query, key], log_modulus, &noise);
                let blocks = evaluator.layout.score_blocks().len();
                let statistics = evaluator.statistics.step(step);
                statistics.tensor_products += blocks;
                statistics.result(noise.variance());
                evaluator.advance(1)?;
                Ok(PackedTensor::Product(product, noise))
            };
            factors.into_iter().map(multiply).collect()
        })
    }

    fn weigh(
        &mut self,
        step: &'static str,
        weights: PackedTensor<B>,
        values: PackedTensor<B>,
        sum: Option<PackedTensor<B>>,
    ) -> Result<PackedTensor<B>, EvaluationError> {
        let PackedTensor::Weights(weights) = weights else { unreachable!("weights are packed as such") };
        let PackedTensor::Mapped(values, Form::Weighed { norm }, noise) = values else {
            unreachable!("only mapped inputs are weighed")
        };
        self.timed(step, 1, |evaluator| {
            evaluator.count_weighing(step, &weights);
            let noise: ValueNoise = evaluator.prediction.values(&evaluator.layout, noise, norm);
            let rows = weights.into_iter().map(|row| row.into_iter().map(|weight| weight.summed).collect());
            let sum = sum.map(PackedTensor::into_sum);
            let sum = evaluator.backend.weigh(&rows.collect::<Rows<_>>(), values, &noise, sum);
            evaluator.advance(1)?;
            Ok(PackedTensor::Sum(sum))
        })
    }

    fn lanes(&mut self, tensor: PackedTensor<B>) -> Rows<PackedNumber<B::Number>> {
        let PackedTensor::Product(product, noise) = tensor else { unreachable!("only scores are taken apart") };
        let number = |evaluator: &mut Self, content| {
            let errors = if B::TRACKED { evaluator.error(noise.clone()) } else { BTreeMap::new() };
            PackedNumber { summed: Summed { content, score: true, lookup: false }, errors }
        };
        let rows = self.backend.scores(product).into_iter();
        rows.map(|row| row.into_iter().map(|content| number(self, content)).collect()).collect()
    }

    fn pack(&mut self, rows: Rows<PackedNumber<B::Number>>, form: Form) -> PackedTensor<B> {
        assert_eq!(form, Form::Weights, "the only form that packed numbers are packed in");
        PackedTensor::Weights(rows)
    }

    fn look_up(
        &mut self,
        step: &'static str,
        lanes: &[PackedNumber<B::Number>],
        tables: &[&SmoothTable],
        _: Use,
    ) -> Result<Vec<PackedNumber<B::Number>>, EvaluationError> {
        assert_eq!(lanes.len(), tables.len(), "one table to a number");
        self.timed(step, lanes.len(), |evaluator| {
            let mut results = Vec::with_capacity(lanes.len());
            // Of one function at a time, as each has a bootstrapping key of its own.
            let mut rest = (lanes, tables);
            while let [table, ..] = rest.1 {
                let function = table.function();
                let same = rest.1.iter().take(BATCH).take_while(|table| table.function() == function).count();
                let ((lanes, later), (tables, later_tables)) = (rest.0.split_at(same), rest.1.split_at(same));
                let numbers: Vec<&Summed<B::Number>> = lanes.iter().map(|lane| &lane.summed).collect();
                let found = evaluator.backend.look_up(function, &numbers, tables);
                for (content, (lane, table)) in found.into_iter().zip(lanes.iter().zip(tables)) {
                    let errors = evaluator.count_lookup(step, lane, table);
                    results.push(PackedNumber { summed: Summed { content, score: false, lookup: true }, errors });
                }
                evaluator.advance(lanes.len())?;
                rest = (later, later_tables);
            }
            Ok(results)
        })
    }

    fn add_scaled(&self, sum: &mut PackedNumber<B::Number>, other: &PackedNumber<B::Number>, factor: i64) {
        self.backend.add_scaled(&mut sum.summed.content, &other.summed.content, factor);
        sum.summed.score |= other.summed.score;
        sum.summed.lookup |= other.summed.lookup;
        for (&error, &multiple) in &other.errors {
            let sum_of = sum.errors.entry(error).or_insert(0);
            *sum_of += factor * multiple;
            if *sum_of == 0 {
                sum.errors.remove(&error);
            }
        }
    }
}

impl<B: PackedBackend> SmoothEvaluator for PackedEvaluator<'_, B> {
    fn constant(&self, turns: f64) -> PackedNumber<B::Number> {
        let summed = Summed { content: self.backend.constant(turns), score: false, lookup: false };
        PackedNumber { summed, errors: BTreeMap::new() }
    }

    fn add_constants(
        &mut self,
        step: &'static str,
        tensor: PackedTensor<B>,
        turns: &[f64],
    ) -> Result<PackedTensor<B>, EvaluationError> {
        let sum = tensor.into_sum();
        self.timed(step, 0, |evaluator| Ok(PackedTensor::Sum(evaluator.backend.add_constants(sum, turns))))
    }
}

impl<B: PackedBackend> PackedTensor<B> {
    /// Weighted sums: what programs end with.
    pub fn into_sum(self) -> B::Sum {
        match self {
            Self::Sum(sum) => sum,
            _ => unreachable!("programs end with weighted sums"),
        }
    }
}
