//! What a trace says: the places of a circuit in order, each with what its numbers were.

use serde::{Deserialize, Serialize};

/// How many numbers of a place are kept one by one; of all of them there are statistics.
pub const KEPT_NUMBERS: usize = 64;
/// The most lookups that follow each other in a step: more than a tree over all positions has levels.
const MAX_ROUNDS: usize = 64;

/// What numbers of a place count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceUnit {
    /// Integers of the quantized head.
    Integers,
    /// Turns of the torus: of 1.25 turns and of 0.25 the ciphertexts are the same.
    Turns,
    /// Probabilities: 1 is certain.
    Probability,
    /// Steps of the output's scale.
    OutputSteps,
}

/// A place of the circuit: what one kind of operation gave in a step, or what a lookup was about to read. Numbers of all heads are together.
///
/// Noise is what was decrypted less the clear engine's number, in the place's unit; of it and of predictions root mean squares are given. What a place
/// does not have is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracePlace {
    /// The step of the circuit.
    pub step: String,
    /// The kind of operation.
    pub operation: String,
    /// Which of the numbers, where a step has several kinds; empty otherwise.
    pub numbers_of: String,
    /// Which of the lookups of a step that follow each other, from 0.
    pub round: usize,
    /// What numbers count.
    pub unit: TraceUnit,
    /// One of these in turns of the torus; of several heads, which may differ, the first one's.
    pub unit_in_turns: f64,
    /// How many numbers there are.
    pub count: usize,
    /// The clear engine's least and largest number.
    pub clear_range: [f64; 2],
    /// The noise.
    pub measured_noise: Option<f64>,
    /// The largest noise in size.
    pub largest_noise: Option<f64>,
    /// What formulas predict.
    pub predicted_noise: Option<f64>,
    /// What simulated runs have.
    pub simulated_noise: Option<f64>,
    /// How much one simulated run differs from another: the standard deviation of the logarithm of its noise.
    pub simulated_spread: Option<f64>,
    /// The largest predicted standard deviation with which a table reads a number: key switch and modulus switch add to its noise.
    pub noise_when_read: Option<f64>,
    /// How many predicted standard deviations a number may be off at least before what follows goes wrong.
    pub headroom: Option<f64>,
    /// How far the number nearest to the end of its range is from there; negative beyond.
    pub range_left: Option<f64>,
    /// How many numbers are beyond their ranges.
    pub out_of_range: usize,
    /// The first [`KEPT_NUMBERS`] numbers.
    pub numbers: Vec<TraceNumber>,
    /// The number with the least headroom; or without any, the one with the largest noise.
    pub narrowest: Option<TraceNumber>,
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceNumber {
    /// Which of the operations of the place: of several heads, mostly the head.
    pub group: usize,
    /// Its row: mostly the token.
    pub row: usize,
    /// Its column.
    pub column: usize,
    /// The clear engine's.
    pub clear: f64,
    /// Decrypted; of numbers modulo a turn, what is nearest to the clear engine's.
    pub decrypted: Option<f64>,
    /// The difference.
    pub noise: Option<f64>,
    /// The predicted standard deviation of the noise: by a formula, or without one from simulations.
    pub predicted: Option<f64>,
    /// How far it may be off before what follows goes wrong.
    pub allowed: Option<f64>,
    /// The same in predicted standard deviations: those with which it is read, where that is known.
    pub headroom: Option<f64>,
    /// How far it is from the end of its range; negative beyond.
    pub range_left: Option<f64>,
}

impl TracePlace {
    /// How many numbers are not kept.
    pub fn left_out(&self) -> usize {
        self.count - self.numbers.len()
    }

    /// The measured noise by what it should be: simulated, or where nothing is, predicted.
    pub fn noise_ratio(&self) -> Option<f64> {
        let expected = self.simulated_noise.or(self.predicted_noise).filter(|&noise| noise > 0.0);
        Some(self.measured_noise? / expected?)
    }

    /// What cannot be: each is `None` of a place that a run gave.
    pub fn contradiction(&self) -> Option<String> {
        let Self { count, clear_range: [least, largest], numbers, .. } = self;
        let is_negative = |noise: &Option<f64>| noise.is_some_and(|noise| noise < 0.0);
        let noises = [
            &self.measured_noise,
            &self.largest_noise,
            &self.predicted_noise,
            &self.simulated_noise,
            &self.simulated_spread,
            &self.noise_when_read,
        ];
        if numbers.len() > KEPT_NUMBERS || numbers.len() > *count || self.out_of_range > *count {
            return Some(format!("it counts {count} numbers and has {}", numbers.len().max(self.out_of_range)));
        }
        if self.round >= MAX_ROUNDS {
            return Some(format!("its round is {}, and there are at most {MAX_ROUNDS}", self.round));
        }
        let names = [&self.step, &self.operation, &self.numbers_of];
        if names.into_iter().any(|name| name.contains(char::is_control)) {
            return Some("its name has characters that cannot be printed".into());
        }
        if numbers.is_empty() != (*count == 0) || least > largest || noises.into_iter().any(is_negative) {
            return Some("its statistics contradict each other".into());
        }
        (self.unit_in_turns <= 0.0).then(|| "its unit is nothing".into())
    }
}
