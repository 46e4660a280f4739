//! The packed head on ciphertexts: the server's side.
//!
//! It has evaluation keys and ciphertexts, nothing else.

use nn::packed::{Function, PackedEngine, steps};
use rayon::prelude::*;
use tfhe_core::gadget::FourierRows;
use tfhe_core::glwe::{GlweCiphertext, SeededGlweCiphertext};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::ring_pair_keys::RingPairKeys;
use tfhe_core::torus;

use super::evaluator::{EncryptedValue, Evaluator, PreparedHead, Projected, add_part};
use super::tables;
use crate::engine::statistics::Statistics;
use crate::engine::{EngineError, Observer};

/// How many lookups are done between two reports of progress.
const BATCH: usize = 64;

/// The head's input as the client sends it: [`super::layout::Layout`] says what is where.
#[derive(Clone, Debug)]
pub struct PackedInput {
    /// `[groups][chunks]`
    pub ciphertexts: Vec<Vec<SeededGlweCiphertext>>,
    /// T.
    pub tokens: usize,
}

impl PackedInput {
    /// Bytes on the wire.
    pub fn bytes(&self) -> usize {
        self.ciphertexts.iter().flatten().map(SeededGlweCiphertext::bytes).sum()
    }
}

/// The head's output.
#[derive(Clone, Debug)]
pub struct PackedOutput {
    /// Each holds [`super::layout::Layout::tokens_per_answer`] tokens, the last one what is left.
    pub ciphertexts: Vec<GlweCiphertext>,
}

impl PackedOutput {
    /// Bytes on the wire.
    pub fn bytes(&self) -> usize {
        self.ciphertexts.iter().map(|ciphertext| size_of_val(ciphertext.data())).sum()
    }
}

/// Computes one head on one encrypted input.
pub struct EncryptedPacked<'a> {
    evaluator: Evaluator<'a>,
    input: &'a PackedInput,
    observer: &'a mut dyn Observer,
    statistics: Statistics,
    /// `[T]`, made with the scores.
    values: Vec<FourierRows>,
}

impl<'a> EncryptedPacked<'a> {
    /// With the evaluation keys and the input of one request.
    pub fn new(
        keys: &'a RingPairKeys,
        head: &'a PreparedHead,
        input: &'a PackedInput,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let evaluator = Evaluator { keys, head };
        Self { evaluator, input, observer, statistics: Statistics::default(), values: Vec::new() }
    }

    /// What was done so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
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
        self.statistics.step(name).seconds += start.elapsed().as_secs_f64();
        result
    }

    /// Reports progress; an error if the observer wants to stop.
    fn advance(&mut self, operations: usize) -> Result<(), EngineError> {
        if self.observer.advance(operations) { Ok(()) } else { Err(EngineError::Cancelled) }
    }

    fn project(&mut self) -> Result<Projected, EngineError> {
        let layout = *self.evaluator.head.layout();
        let mut projected = Projected::default();
        for (group, input) in self.input.ciphertexts.iter().enumerate() {
            self.evaluator.project(group, input, &mut projected);
            self.statistics.step(steps::PROJECT).automorphisms += layout.projection_automorphisms();
            self.advance(layout.tokens_of_group(group).len())?;
        }
        self.evaluator.add_biases(&mut projected);
        Ok(projected)
    }
}

impl PackedEngine for EncryptedPacked<'_> {
    type Value = EncryptedValue;
    type Output = PackedOutput;
    type Error = EngineError;

    fn scores(&mut self) -> Result<Vec<Vec<EncryptedValue>>, EngineError> {
        let layout = *self.evaluator.head.layout();
        let tokens = layout.tokens();
        let projected = self.timed(steps::PROJECT, tokens, |engine| engine.project())?;
        self.timed(steps::SCORES, layout.score_blocks().len() + tokens, |engine| {
            let products = engine.evaluator.multiply(&projected);
            engine.statistics.step(steps::SCORES).tensor_products += products.len();
            engine.advance(products.len())?;
            engine.values = engine.evaluator.encrypt_values(&projected.values);
            engine.advance(tokens)?;
            let score = |i: usize, j: usize| {
                let (block, position) = layout.score_position(i, j);
                let (_, product) = products.iter().find(|(at, _)| *at == block).expect("a visible block");
                EncryptedValue { score: Some(product.extract(position)), lookup: None }
            };
            Ok((0..tokens).map(|i| (0..=i).map(|j| score(i, j)).collect()).collect())
        })
    }

    fn add_scaled(&self, value: &mut EncryptedValue, other: &EncryptedValue, factor: i64) {
        add_part(&mut value.score, other.score.as_ref(), factor);
        add_part(&mut value.lookup, other.lookup.as_ref(), factor);
    }

    fn certainty(&self) -> EncryptedValue {
        let one = torus::from_f64(tables::probability_turns(self.evaluator.head.program()));
        let dimension = self.evaluator.keys.parameters().lookup().lwe_dimension();
        EncryptedValue { score: None, lookup: Some(LweCiphertext::trivial(dimension, one)) }
    }

    fn look_up(&mut self, function: Function, inputs: Vec<EncryptedValue>) -> Result<Vec<EncryptedValue>, EngineError> {
        let step = function.step();
        self.timed(step, inputs.len(), |engine| {
            let mut results = Vec::with_capacity(inputs.len());
            for batch in inputs.chunks(BATCH) {
                let found = engine.evaluator.look_up(function, batch);
                results.extend(found.into_iter().map(|lookup| EncryptedValue { score: None, lookup: Some(lookup) }));
                let switches: usize = batch
                    .iter()
                    .map(|value| usize::from(value.score.is_some()) + usize::from(value.lookup.is_some()))
                    .sum();
                let statistics = engine.statistics.step(step);
                statistics.lookups += batch.len();
                statistics.pbs += batch.len();
                statistics.key_switches += switches;
                engine.advance(batch.len())?;
            }
            Ok(results)
        })
    }

    fn weigh(&mut self, probabilities: Vec<Vec<EncryptedValue>>) -> Result<PackedOutput, EngineError> {
        let products: usize = probabilities.iter().map(Vec::len).sum();
        self.timed(steps::OUTPUT, products, |engine| {
            // The last rows are the longest: they begin first.
            let order: Vec<&Vec<EncryptedValue>> = probabilities.iter().rev().collect();
            let (evaluator, values) = (engine.evaluator, &engine.values);
            let weigh = |row: &&Vec<EncryptedValue>| evaluator.weigh_row(row, values);
            let mut rows: Vec<GlweCiphertext> = order.par_iter().with_max_len(1).map(weigh).collect();
            rows.reverse();
            let layout = evaluator.head.layout();
            let statistics = engine.statistics.step(steps::OUTPUT);
            statistics.external_products += products;
            statistics.automorphisms += products * layout.subring_log() as usize + layout.answer_automorphisms();
            statistics.key_switches += products;
            engine.advance(products)?;
            Ok(PackedOutput { ciphertexts: evaluator.answer(&rows) })
        })
    }
}
