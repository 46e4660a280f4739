//! The packed attention on ciphertexts: the server's side.
//!
//! It has evaluation keys and ciphertexts, nothing else.

use std::collections::BTreeMap;
use std::ops::Range;

use nn::packed::{Function, PackedEngine, Row, steps};
use tfhe_core::ggsw::FourierGgsw;
use tfhe_core::glwe::{GlweCiphertext, SeededGlweCiphertext};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::torus;

use super::evaluator::{EncryptedValue, Evaluator, FourierInput, Placed, PreparedAttention, Projected, add_part};
use super::keys::PackedKeys;
use super::layout::Layout;
use super::tables;
use crate::engine::statistics::Statistics;
use crate::engine::{EngineError, Observer};

/// How many lookups are done between two reports of progress.
const BATCH: usize = 64;

/// Computes a part of the attention on one encrypted input.
pub struct EncryptedPacked<'a> {
    evaluator: Evaluator<'a>,
    input: FourierInput,
    observer: &'a mut dyn Observer,
    statistics: Statistics,
    /// `[output chunks][groups]` of the heads whose scores were made and whose outputs were not.
    values: BTreeMap<usize, Vec<Vec<FourierGgsw>>>,
    /// `[row groups][output chunks]`
    sums: Vec<Vec<GlweCiphertext>>,
}

impl<'a> EncryptedPacked<'a> {
    /// With the evaluation keys and the input of one request, opened for them and the layout.
    pub fn new(
        keys: PackedKeys<'a>,
        attention: &'a PreparedAttention,
        layout: &'a Layout,
        input: &[SeededGlweCiphertext],
        observer: &'a mut dyn Observer,
    ) -> Self {
        let evaluator = Evaluator { keys, attention, layout };
        let zero = GlweCiphertext::zero(keys.parameters.arithmetic().shape);
        Self {
            evaluator,
            input: evaluator.transform(input),
            observer,
            statistics: Statistics::default(),
            values: BTreeMap::new(),
            sums: vec![vec![zero; layout.output_chunks()]; layout.row_groups().len()],
        }
    }

    /// The output of all heads whose rows were weighed, and what was done.
    pub fn finish(mut self) -> (Vec<GlweCiphertext>, Statistics) {
        let start = std::time::Instant::now();
        let ciphertexts = self.evaluator.answer(std::mem::take(&mut self.sums));
        let output = self.statistics.step(steps::OUTPUT);
        output.automorphisms += self.evaluator.layout.answer_automorphisms();
        output.seconds += start.elapsed().as_secs_f64();
        (ciphertexts, self.statistics)
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

    fn project(&mut self, head: usize) -> Result<Projected, EngineError> {
        self.timed(steps::PROJECT, 1, |engine| {
            let projected = engine.evaluator.project(&engine.input, head);
            engine.statistics.step(steps::PROJECT).automorphisms += engine.evaluator.layout.projection_automorphisms();
            engine.advance(1)?;
            Ok(projected)
        })
    }

    fn multiply(&mut self, head: usize, projected: &Projected) -> Result<Vec<Row<EncryptedValue>>, EngineError> {
        self.timed(steps::SCORES, 1, |engine| {
            let products = engine.evaluator.multiply(projected, head);
            engine.statistics.step(steps::SCORES).tensor_products += products.len();
            engine.values.insert(head, engine.evaluator.encrypt_values(&projected.values));
            engine.advance(1)?;
            let layout = engine.evaluator.layout;
            let score = |i: usize, j: usize| {
                let (block, position) = layout.score_position(i, j);
                let (_, product) = products.iter().find(|(at, _)| *at == block).expect("a visible block");
                EncryptedValue { score: Some(product.sample_extract(position)), lookup: None }
            };
            let row = |query: usize| Row { head, query, entries: (0..=query).map(|j| score(query, j)).collect() };
            Ok(layout.span().rows().map(row).collect())
        })
    }

    /// Adds what the rows of one head give.
    fn weigh_head(&mut self, head: usize, rows: &[Row<EncryptedValue>]) {
        let (evaluator, layout) = (self.evaluator, self.evaluator.layout);
        let values = self.values.remove(&head).expect("scores come first");
        let first = layout.row_groups().start;
        for (row_group, token_group) in layout.probability_blocks() {
            let tokens = layout.tokens_of_group(token_group);
            let placed: Vec<Placed<'_>> = rows
                .iter()
                .filter(|row| row.query / layout.group() == row_group)
                .flat_map(|row| {
                    let visible = tokens.start..tokens.end.min(row.query + 1);
                    visible.map(|token| {
                        let lookup = row.entries[token].lookup.as_ref();
                        let probability = lookup.expect("probabilities are results of lookups");
                        Placed { row: row.query, token, probability }
                    })
                })
                .collect();
            let block = evaluator.place(&placed);
            let of_group: Vec<&FourierGgsw> = values.iter().map(|chunk| &chunk[token_group]).collect();
            evaluator.weigh(&block, &of_group, &mut self.sums[row_group - first]);
            let steps_of_lookup = evaluator.keys.parameters.lookup().size().log2() as usize;
            let statistics = self.statistics.step(steps::OUTPUT);
            statistics.external_products += layout.output_chunks();
            statistics.automorphisms += placed.len() * steps_of_lookup;
            statistics.key_switches += layout.row_sets(row_group).len();
        }
    }
}

impl PackedEngine for EncryptedPacked<'_> {
    type Value = EncryptedValue;
    type Error = EngineError;

    fn scores(&mut self, heads: Range<usize>) -> Result<Vec<Row<EncryptedValue>>, EngineError> {
        let mut rows = Vec::new();
        for head in heads {
            let projected = self.project(head)?;
            rows.extend(self.multiply(head, &projected)?);
        }
        Ok(rows)
    }

    fn add_scaled(&self, value: &mut EncryptedValue, other: &EncryptedValue, factor: i64) {
        add_part(&mut value.score, other.score.as_ref(), factor);
        add_part(&mut value.lookup, other.lookup.as_ref(), factor);
    }

    fn certainty(&self) -> EncryptedValue {
        let one = torus::from_f64(tables::probability_turns(self.evaluator.attention.program()));
        let dimension = self.evaluator.keys.parameters.lookup().lwe_dimension();
        EncryptedValue { score: None, lookup: Some(LweCiphertext::trivial(dimension, one)) }
    }

    fn look_up(
        &mut self,
        function: Function,
        inputs: Vec<(usize, EncryptedValue)>,
    ) -> Result<Vec<EncryptedValue>, EngineError> {
        let step = function.step();
        self.timed(step, inputs.len(), |engine| {
            let mut results = Vec::with_capacity(inputs.len());
            for batch in inputs.chunks(BATCH) {
                let found = engine.evaluator.look_up(function, batch);
                results.extend(found.into_iter().map(|lookup| EncryptedValue { score: None, lookup: Some(lookup) }));
                let parts = |(_, value): &(usize, EncryptedValue)| {
                    usize::from(value.score.is_some()) + usize::from(value.lookup.is_some())
                };
                let statistics = engine.statistics.step(step);
                statistics.lookups += batch.len();
                statistics.pbs += batch.len();
                statistics.key_switches += batch.iter().map(parts).sum::<usize>();
                engine.advance(batch.len())?;
            }
            Ok(results)
        })
    }

    fn weigh(&mut self, probabilities: Vec<Row<EncryptedValue>>) -> Result<(), EngineError> {
        let heads: Vec<&[Row<EncryptedValue>]> = probabilities.chunk_by(|a, b| a.head == b.head).collect();
        self.timed(steps::OUTPUT, heads.len(), |engine| {
            for rows in heads {
                engine.weigh_head(rows[0].head, rows);
                engine.advance(1)?;
            }
            Ok(())
        })
    }
}
