//! The packed attention on numbers with noise drawn from the predictions.
//!
//! Every number goes through the same scales, offsets and roundings as a ciphertext's phase.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;

use nn::matrix::Matrix;
use nn::packed::{ClearPackedEngine, Function, PackedClient, PackedEngine, PackedProgram, Row};
use tfhe_core::key_graph::Parameters;
use tfhe_core::noise::Variance;
use tfhe_core::params::PolynomialSize;
use tfhe_core::random::{SampleSeed, SampleStream};

use super::layout::Layout;
use super::prediction::Prediction;
use super::tables;

/// A number in turns, and which kinds of ciphertexts it would be made of: of neither, if it is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulatedValue {
    turns: f64,
    score: bool,
    lookup: bool,
}

/// Computes a part of the attention on one input.
pub struct SimulatedPacked<'a> {
    program: &'a PackedProgram,
    prediction: &'a Prediction,
    layout: Layout,
    lookup_size: PolynomialSize,
    clear: &'a ClearPackedEngine<'a>,
    generator: SampleStream,
    /// `[rows, O]`, in turns.
    output: Matrix<f64>,
    /// `[rows]`: the variance of each row's outputs.
    spread: Vec<Variance>,
}

impl<'a> SimulatedPacked<'a> {
    /// With a run on an input without noise, not yet evaluated; noise is drawn from stream 0 of `seed`.
    pub fn new(
        program: &'a PackedProgram,
        parameters: &Parameters,
        prediction: &'a Prediction,
        layout: Layout,
        clear: &'a ClearPackedEngine<'a>,
        seed: &SampleSeed,
    ) -> Self {
        let rows = layout.span().rows().len();
        Self {
            program,
            prediction,
            layout,
            lookup_size: parameters.lookup().size(),
            clear,
            generator: seed.stream(0),
            output: Matrix::from_fn(rows, program.output_size(), |_, _| 0.0),
            spread: vec![prediction.packing; rows],
        }
    }

    /// The output, `[rows, O]`, in its integers' units, as `client` reads it.
    pub fn evaluate(mut self, client: &PackedClient) -> Matrix<f64> {
        for heads in self.layout.head_batches() {
            match PackedProgram::attend(&mut self, heads) {
                Ok(()) => {}
                Err(never) => match never {},
            }
        }
        let unit = tables::probability_turns(self.program);
        let bias = self.program.output_bias();
        let numbers = Matrix::from_fn(self.output.rows(), self.output.cols(), |row, channel| {
            (self.output[(row, channel)] + bias[channel] * unit + self.noise(self.spread[row])) / unit
        });
        client.nearest(&numbers, 1.0 / unit).expect("both halves are of one attention")
    }

    fn noise(&mut self, variance: Variance) -> f64 {
        self.generator.normal() * variance.std()
    }

    /// What a bootstrapping of head `head` reads at `argument` turns, without the noise that it adds.
    fn read(&self, head: usize, function: Function, argument: f64) -> f64 {
        let offset = tables::argument_offset(&self.program.heads()[head], function);
        let half = self.lookup_size.get();
        let angle = ((argument + offset) * (2 * half) as f64).round_ties_even().rem_euclid((2 * half) as f64);
        let at = |angle: f64| tables::value(self.program, head, function, angle / (2 * half) as f64 - offset);
        if angle < half as f64 { at(angle) } else { -at(angle - half as f64) }
    }
}

impl PackedEngine for SimulatedPacked<'_> {
    type Value = SimulatedValue;
    type Error = Infallible;

    fn scores(&mut self, heads: Range<usize>) -> Result<Vec<Row<SimulatedValue>>, Infallible> {
        let layout = self.layout;
        let exact = self.clear.scores_of(heads.clone());
        let blocks = layout.score_blocks();
        // The scores of a block are of one product of ciphertexts, and have one variance.
        let mut variances: BTreeMap<(usize, (usize, usize)), Variance> = BTreeMap::new();
        for head in heads {
            let score = &self.prediction.heads[head].score;
            variances.extend(blocks.iter().map(|&block| ((head, block), score.draw_variance(&mut self.generator))));
        }
        let mut noisy = |head: usize, i: usize, j: usize, turns: f64| {
            let variance = variances[&(head, layout.score_position(i, j).0)];
            SimulatedValue { turns: turns + self.noise(variance), score: true, lookup: false }
        };
        let row = |Row { head, query, entries }: Row<f64>| Row {
            head,
            query,
            entries: entries.into_iter().enumerate().map(|(j, turns)| noisy(head, query, j, turns)).collect(),
        };
        Ok(exact.into_iter().map(row).collect())
    }

    fn add_scaled(&self, value: &mut SimulatedValue, other: &SimulatedValue, factor: i64) {
        value.turns += factor as f64 * other.turns;
        value.score |= other.score;
        value.lookup |= other.lookup;
    }

    fn certainty(&self) -> SimulatedValue {
        SimulatedValue { turns: tables::probability_turns(self.program), score: false, lookup: false }
    }

    fn look_up(
        &mut self,
        function: Function,
        inputs: Vec<(usize, SimulatedValue)>,
    ) -> Result<Vec<SimulatedValue>, Infallible> {
        let results = inputs.into_iter().map(|(head, input)| {
            let argument = input.turns + self.noise(self.prediction.reading(input.score, input.lookup));
            let turns = self.read(head, function, argument) + self.noise(self.prediction.result(function));
            SimulatedValue { turns, score: false, lookup: true }
        });
        Ok(results.collect())
    }

    fn weigh(&mut self, probabilities: Vec<Row<SimulatedValue>>) -> Result<(), Infallible> {
        let (prediction, layout, clear) = (self.prediction, self.layout, self.clear);
        // What the products of one ciphertext of probabilities add has one variance.
        let mut weighings: BTreeMap<(usize, usize, usize), Variance> = BTreeMap::new();
        for row in probabilities {
            let values = &clear.projected()[row.head][2];
            let index = row.query - layout.span().rows().start;
            let squares = |j: usize| values.row(j).iter().map(|&v| (v as f64).powi(2)).sum::<f64>();
            let mut block = |group: usize| {
                let of_group = layout.tokens_of_group(group).map(squares).sum::<f64>() * layout.chunk_share();
                let key = (row.head, row.query / layout.group(), group);
                let weighing = || prediction.heads[row.head].weighing.draw_variance(&mut self.generator);
                prediction.block_besides(&layout, of_group) + *weighings.entry(key).or_insert_with(weighing)
            };
            let mut spread: Variance = (0..=row.query / layout.group()).map(&mut block).sum();
            for (j, probability) in row.entries.into_iter().enumerate() {
                let turns = match probability.lookup {
                    true => probability.turns + self.noise(prediction.isolation),
                    // Unencrypted: there is no mask whose automorphisms add noise.
                    false => probability.turns,
                };
                let sums = self.output.row_mut(index).iter_mut();
                sums.zip(values.row(j)).for_each(|(sum, &v)| *sum += turns * v as f64);
                spread = spread + prediction.heads[row.head].value.scaled(turns);
                if probability.lookup {
                    spread = spread + prediction.isolation_beside(squares(j) / values.cols() as f64);
                }
            }
            self.spread[index] = self.spread[index] + spread;
        }
        Ok(())
    }
}
