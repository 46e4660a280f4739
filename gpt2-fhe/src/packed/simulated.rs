//! The packed head on numbers with noise drawn from the predictions.
//!
//! Every number goes through the same scales, offsets and roundings as a ciphertext's phase.

use std::collections::BTreeMap;

use nn::matrix::Matrix;
use nn::packed::{ClearPackedEngine, Function, PackedEngine, PackedProgram};
use std::convert::Infallible;
use tfhe_core::noise::Variance;
use tfhe_core::params::PolynomialSize;
use tfhe_core::random::{Domain, Generator, SecretSeed};
use tfhe_core::ring_pair::RingPairParameters;

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

/// Computes one head on one input.
pub struct SimulatedPacked<'a> {
    program: &'a PackedProgram,
    prediction: &'a Prediction,
    layout: Layout,
    lookup_size: PolynomialSize,
    clear: ClearPackedEngine<'a>,
    generator: Generator,
    lookups: usize,
}

impl<'a> SimulatedPacked<'a> {
    /// With the integers `[T, E]` of an input; noise is drawn from the stream (`Sample`, 0) of `seed`.
    pub fn new(
        program: &'a PackedProgram,
        parameters: &RingPairParameters,
        prediction: &'a Prediction,
        layout: Layout,
        input: &Matrix<i32>,
        seed: &SecretSeed,
    ) -> Self {
        Self {
            program,
            prediction,
            layout,
            lookup_size: parameters.lookup().size(),
            clear: ClearPackedEngine::new(program, input),
            generator: seed.generator(Domain::Sample, 0),
            lookups: 0,
        }
    }

    /// The output, `[T, d]`, in its integers' units.
    pub fn evaluate(&mut self) -> Matrix<f64> {
        match self.program.evaluate(self, self.layout.tokens()) {
            Ok(output) => output,
            Err(never) => match never {},
        }
    }

    /// The number of lookups done.
    pub fn lookups(&self) -> usize {
        self.lookups
    }

    fn noise(&mut self, variance: Variance) -> f64 {
        self.generator.normal() * variance.std()
    }

    /// What a bootstrapping reads at `argument` turns, without the noise that it adds.
    fn read(&self, function: Function, argument: f64) -> f64 {
        let offset = tables::argument_offset(self.program, function);
        let half = self.lookup_size.get();
        let angle = ((argument + offset) * (2 * half) as f64).round_ties_even().rem_euclid((2 * half) as f64);
        let at = |angle: f64| tables::value(self.program, function, angle / (2 * half) as f64 - offset);
        if angle < half as f64 { at(angle) } else { -at(angle - half as f64) }
    }
}

impl PackedEngine for SimulatedPacked<'_> {
    type Value = SimulatedValue;
    type Output = Matrix<f64>;
    type Error = Infallible;

    fn scores(&mut self) -> Result<Vec<Vec<SimulatedValue>>, Infallible> {
        let exact = self.clear.scores()?;
        let (common, own) = (self.prediction.score_common, self.prediction.score);
        let layout = self.layout;
        let blocks = layout.score_blocks();
        let shared: BTreeMap<_, f64> = blocks.into_iter().map(|block| (block, self.noise(common))).collect();
        let mut score = |i: usize, j: usize, turns: f64| {
            let turns = turns + shared[&layout.score_position(i, j).0] + self.noise(own);
            SimulatedValue { turns, score: true, lookup: false }
        };
        let row = |(i, row): (usize, &Vec<f64>)| row.iter().enumerate().map(|(j, &turns)| score(i, j, turns)).collect();
        Ok(exact.iter().enumerate().map(row).collect())
    }

    fn add_scaled(&self, value: &mut SimulatedValue, other: &SimulatedValue, factor: i64) {
        value.turns += factor as f64 * other.turns;
        value.score |= other.score;
        value.lookup |= other.lookup;
    }

    fn certainty(&self) -> SimulatedValue {
        SimulatedValue { turns: tables::probability_turns(self.program), score: false, lookup: false }
    }

    fn look_up(&mut self, function: Function, inputs: Vec<SimulatedValue>) -> Result<Vec<SimulatedValue>, Infallible> {
        self.lookups += inputs.len();
        let results = inputs.into_iter().map(|input| {
            let argument = input.turns + self.noise(self.prediction.reading(input.score, input.lookup));
            let turns = self.read(function, argument) + self.noise(self.prediction.result(function));
            SimulatedValue { turns, score: false, lookup: true }
        });
        Ok(results.collect())
    }

    fn weigh(&mut self, probabilities: Vec<Vec<SimulatedValue>>) -> Result<Matrix<f64>, Infallible> {
        let unit = tables::probability_turns(self.program);
        let value = self.clear.projected()[2].clone();
        let norms: Vec<f64> =
            (0..value.rows()).map(|j| value.row(j).iter().map(|&v| (v * v) as f64).sum::<f64>()).collect();
        let mut output = Matrix::from_fn(value.rows(), value.cols(), |_, _| 0.0);
        for (row, probabilities) in probabilities.iter().enumerate() {
            let mut spread = self.prediction.packing;
            for (j, probability) in probabilities.iter().enumerate() {
                let known = !probability.lookup;
                let own = if known { self.prediction.rounding } else { self.prediction.isolation };
                let probability = probability.turns + self.noise(own);
                let sums = output.row_mut(row).iter_mut();
                sums.zip(value.row(j)).for_each(|(sum, &v)| *sum += probability * v as f64);
                spread = spread + self.prediction.value.scaled(probability);
                if known {
                    // Unencrypted: there is no mask to be decomposed, nor a phase that wraps around.
                    continue;
                }
                spread = spread + self.prediction.lift.repeated(norms[j]) + self.prediction.weighing;
            }
            for channel in 0..value.cols() {
                output[(row, channel)] += self.noise(spread);
            }
        }
        // The phase is known modulo one turn.
        Ok(output.map(|&turns| (turns - turns.round_ties_even()) / unit))
    }
}
