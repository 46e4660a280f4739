//! The packed head on nothing: what it costs, and how much noise each argument of a lookup has.
//!
//! A number is a combination of independent errors, so that what two numbers have in common cancels in their difference. The slope of
//! softplus is taken to be 1 everywhere, its largest value: noises of arguments are upper bounds.

use std::collections::BTreeMap;
use std::convert::Infallible;

use nn::packed::{Function, PackedEngine, PackedProgram, steps};
use tfhe_core::noise::{self, Variance};

use super::layout::Layout;
use super::prediction::Prediction;
use super::tables;
use crate::engine::statistics::Statistics;

/// Integer multiples of independent errors.
#[derive(Clone, Debug, Default)]
pub struct CountedValue {
    errors: BTreeMap<usize, i64>,
    score: bool,
    lookup: bool,
}

/// Counts.
pub struct CountedPacked<'a> {
    program: &'a PackedProgram,
    prediction: &'a Prediction,
    layout: Layout,
    /// Of each error.
    variances: Vec<Variance>,
    statistics: Statistics,
}

impl<'a> CountedPacked<'a> {
    /// Counts what `program` does in `layout`.
    pub fn count(program: &'a PackedProgram, prediction: &'a Prediction, layout: Layout) -> Statistics {
        let mut engine = Self { program, prediction, layout, variances: Vec::new(), statistics: Statistics::default() };
        match program.evaluate(&mut engine, layout.tokens()) {
            Ok(()) => engine.statistics,
            Err(never) => match never {},
        }
    }

    fn error(&mut self, variance: Variance) -> usize {
        self.variances.push(variance);
        self.variances.len() - 1
    }

    fn variance(&self, value: &CountedValue) -> Variance {
        value.errors.iter().map(|(&error, &factor)| self.variances[error].scaled(factor as f64)).sum()
    }
}

impl PackedEngine for CountedPacked<'_> {
    type Value = CountedValue;
    type Output = ();
    type Error = Infallible;

    fn scores(&mut self) -> Result<Vec<Vec<CountedValue>>, Infallible> {
        let layout = self.layout;
        let project = self.statistics.step(steps::PROJECT);
        project.automorphisms = layout.groups() * layout.projection_automorphisms();
        project.result(self.prediction.gathered[0]);
        project.result(self.prediction.gathered[1]);
        let scores = self.statistics.step(steps::SCORES);
        scores.tensor_products = layout.score_blocks().len();
        scores.result(self.prediction.score);
        let blocks: BTreeMap<_, usize> =
            layout.score_blocks().into_iter().map(|block| (block, self.error(self.prediction.score_common))).collect();
        let mut score = |i: usize, j: usize| {
            let (common, own) = (blocks[&layout.score_position(i, j).0], self.error(self.prediction.score));
            CountedValue { errors: BTreeMap::from([(common, 1), (own, 1)]), score: true, lookup: false }
        };
        Ok((0..layout.tokens()).map(|i| (0..=i).map(|j| score(i, j)).collect()).collect())
    }

    fn add_scaled(&self, value: &mut CountedValue, other: &CountedValue, factor: i64) {
        for (&error, &multiple) in &other.errors {
            let sum = value.errors.entry(error).or_insert(0);
            *sum += factor * multiple;
            if *sum == 0 {
                value.errors.remove(&error);
            }
        }
        value.score |= other.score;
        value.lookup |= other.lookup;
    }

    fn certainty(&self) -> CountedValue {
        CountedValue { lookup: true, ..CountedValue::default() }
    }

    fn look_up(&mut self, function: Function, inputs: Vec<CountedValue>) -> Result<Vec<CountedValue>, Infallible> {
        let margin = tables::argument_margin(self.program, function);
        let mut results = Vec::with_capacity(inputs.len());
        for input in inputs {
            let added = self.prediction.reading(input.score, input.lookup);
            let read = self.variance(&input) + added;
            let result = self.prediction.result(function);
            let statistics = self.statistics.step(function.step());
            statistics.lookups += 1;
            statistics.key_switches += usize::from(input.score) + usize::from(input.lookup);
            statistics.read(read, noise::log2_tail_probability(read, margin));
            statistics.result(result);
            let own = self.error(added + result);
            let mut errors = if function == Function::Softplus { input.errors } else { BTreeMap::new() };
            errors.insert(own, 1);
            results.push(CountedValue { errors, score: false, lookup: true });
        }
        Ok(results)
    }

    fn weigh(&mut self, probabilities: Vec<Vec<CountedValue>>) -> Result<(), Infallible> {
        let layout = self.layout;
        let products: usize = probabilities.iter().map(Vec::len).sum();
        let (norm, channels) = (self.program.value_norm(), self.program.head_size());
        let output = self.prediction.output(layout.tokens(), norm, channels);
        let statistics = self.statistics.step(steps::OUTPUT);
        statistics.external_products = products;
        statistics.automorphisms = products * layout.subring_log() as usize + layout.answer_automorphisms();
        statistics.key_switches = products;
        statistics.result(output);
        // What `tables::probability_turns` leaves between the limit and half a turn.
        let margin = 0.5 - self.program.output_limit() * tables::probability_turns(self.program);
        let outputs = (layout.tokens() * channels) as f64;
        statistics.log2_failure_probability = noise::log2_tail_probability(output, margin) + outputs.log2();
        Ok(())
    }
}
