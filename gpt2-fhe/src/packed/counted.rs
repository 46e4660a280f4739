//! The packed attention on nothing: what it costs, and how much noise each argument of a lookup has.
//!
//! A number is a combination of independent errors, so that what two numbers have in common cancels in their difference. The slope of
//! softplus is taken to be 1 everywhere, its largest value: noises of arguments are upper bounds.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;

use nn::packed::{Function, PackedEngine, PackedProgram, Row, steps};
use tfhe_core::key_graph::Parameters;
use tfhe_core::noise::{Distribution, Variance};

use super::layout::Layout;
use super::prediction::Prediction;
use super::tables;
use crate::engine::statistics::{Statistics, Tails};

/// Integer multiples of independent errors.
#[derive(Clone, Debug, Default)]
pub struct CountedValue {
    errors: BTreeMap<usize, i64>,
    score: bool,
    lookup: bool,
}

/// What a run does, and what noise it has.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Operations, noise and failure probabilities by step; no times.
    pub statistics: Statistics,
    /// Of each head, the largest noise of an exponential's argument when it is read; zero if it reads none.
    pub exponents: Vec<Variance>,
}

/// Counts.
pub struct CountedPacked<'a> {
    program: &'a PackedProgram,
    prediction: &'a Prediction,
    layout: Layout,
    /// log2 N' of the lookup ring.
    lookup_steps: usize,
    /// Of each error.
    distributions: Vec<Distribution>,
    tails: Tails,
    counts: Counts,
}

impl<'a> CountedPacked<'a> {
    /// Counts what `program` does in `layout`.
    pub fn count(
        program: &'a PackedProgram,
        parameters: &Parameters,
        prediction: &'a Prediction,
        layout: Layout,
    ) -> Counts {
        let lookup_steps = parameters.lookup().size().log2() as usize;
        let exponents = vec![Variance::ZERO; program.heads().len()];
        let counts = Counts { statistics: Statistics::default(), exponents };
        let (distributions, tails) = (Vec::new(), Tails::default());
        let mut engine = Self { program, prediction, layout, lookup_steps, distributions, tails, counts };
        for heads in layout.head_batches() {
            engine.distributions.clear();
            match PackedProgram::attend(&mut engine, heads) {
                Ok(()) => {}
                Err(never) => match never {},
            }
        }
        engine.finish()
    }

    fn error(&mut self, distribution: Distribution) -> usize {
        self.distributions.push(distribution);
        self.distributions.len() - 1
    }

    fn distribution(&self, value: &CountedValue) -> Distribution {
        value.errors.iter().map(|(&error, &factor)| self.distributions[error].scaled(factor as f64)).sum()
    }

    /// Counts the answer.
    fn finish(mut self) -> Counts {
        let output = self.prediction.output(&self.layout, self.layout.tokens() - 1);
        let statistics = self.counts.statistics.step(steps::OUTPUT);
        statistics.automorphisms += self.layout.answer_automorphisms();
        statistics.result(output.variance());
        // What `tables::probability_turns` leaves between the limit and half a turn.
        let margin = 0.5 - self.program.output_limit() * tables::probability_turns(self.program);
        let outputs = (self.layout.span().rows().len() * self.program.output_size()) as f64;
        statistics.log2_failure_probability = output.log2_tail(margin) + outputs.log2();
        self.counts
    }

    fn scores_of_head(&mut self, head: usize) -> Vec<Row<CountedValue>> {
        let layout = self.layout;
        let predicted = &self.prediction.heads[head];
        let project = self.counts.statistics.step(steps::PROJECT);
        project.automorphisms += layout.projection_automorphisms();
        predicted.gathered[..2].iter().for_each(|&variance| project.result(variance));
        let scores = self.counts.statistics.step(steps::SCORES);
        scores.tensor_products += layout.score_blocks().len();
        scores.result(predicted.score.variance());
        let mut score = || {
            let own = self.error(predicted.score.clone());
            CountedValue { errors: BTreeMap::from([(own, 1)]), score: true, lookup: false }
        };
        let rows = layout.span().rows();
        rows.map(|query| Row { head, query, entries: (0..=query).map(|_| score()).collect() }).collect()
    }
}

impl PackedEngine for CountedPacked<'_> {
    type Value = CountedValue;
    type Error = Infallible;

    fn scores(&mut self, heads: Range<usize>) -> Result<Vec<Row<CountedValue>>, Infallible> {
        Ok(heads.flat_map(|head| self.scores_of_head(head)).collect())
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

    fn look_up(
        &mut self,
        function: Function,
        inputs: Vec<(usize, CountedValue)>,
    ) -> Result<Vec<CountedValue>, Infallible> {
        let mut results = Vec::with_capacity(inputs.len());
        for (head, input) in inputs {
            let margin = tables::argument_margin(&self.program.heads()[head], function);
            let added = self.prediction.reading(input.score, input.lookup);
            let read = self.distribution(&input) + added;
            let failure = self.tails.log2_tail(&read, margin);
            let result = self.prediction.result(function);
            let statistics = self.counts.statistics.step(function.step());
            statistics.lookups += 1;
            statistics.key_switches += usize::from(input.score) + usize::from(input.lookup);
            statistics.read(read.variance(), failure);
            statistics.result(result);
            let largest = &mut self.counts.exponents[head];
            if function == Function::Exponential && read.variance() > *largest {
                *largest = read.variance();
            }
            let own = self.error((added + result).into());
            let mut errors = if function == Function::Softplus { input.errors } else { BTreeMap::new() };
            errors.insert(own, 1);
            results.push(CountedValue { errors, score: false, lookup: true });
        }
        Ok(results)
    }

    fn weigh(&mut self, probabilities: Vec<Row<CountedValue>>) -> Result<(), Infallible> {
        let layout = self.layout;
        let entries: usize = probabilities.iter().map(|row| row.entries.len()).sum();
        let heads = probabilities.chunk_by(|a, b| a.head == b.head).count();
        let blocks = layout.probability_blocks();
        let lifts: usize = blocks.iter().map(|&(rows, _)| layout.row_sets(rows).len()).sum();
        let statistics = self.counts.statistics.step(steps::OUTPUT);
        statistics.external_products += heads * blocks.len() * layout.output_chunks();
        statistics.automorphisms += entries * self.lookup_steps;
        statistics.key_switches += heads * lifts;
        Ok(())
    }
}
