//! What a run gave, beside what the clear engine gives.

use nn::matrix::{Matrix, relative_error};
use nn::quantizers::Saturation;
use serde::Serialize;

use super::error::{RunError, check_saturation, is_within};
use super::plan::{Bytes, Plan};
use crate::track::statistics::Statistics;

/// Seconds of wall time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seconds {
    /// Making and preparing the keys.
    pub keygen: f64,
    /// What the server does once for all inputs: in the packed circuit, it tabulates functions.
    pub prepare: f64,
    /// Encryption.
    pub encrypt: f64,
    /// The server's work.
    pub evaluate: f64,
    /// Decryption.
    pub decrypt: f64,
    /// The server's work, step by step.
    pub steps: std::collections::BTreeMap<&'static str, f64>,
}

impl Seconds {
    pub(super) fn of_steps(statistics: &Statistics) -> Self {
        let steps = statistics.steps.iter().map(|step| (step.name, step.seconds)).collect();
        Self { steps, ..Self::default() }
    }
}

/// The outcome of a run.
///
/// Numbers are in units of the output's integers: with the exact circuit, they are integers.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was decrypted, or computed, `[T, d]`.
    pub numbers: Matrix<f64>,
    /// What the clear engine computes.
    pub clear_numbers: Matrix<f64>,
    /// How far numbers may be from the clear engine's by the predicted noise. `None`: not at all.
    pub tolerance: Option<Matrix<f64>>,
    /// The numbers, dequantized.
    pub output: Matrix<f32>,
    /// The clear engine's, dequantized.
    pub clear_output: Matrix<f32>,
    /// Arguments of lookups, products and outputs that left their range, in the clear engine: what they are in is wrong.
    pub out_of_range: usize,
    /// Entries of the input beyond their ranges, to which they were cut off.
    pub saturation: Saturation,
    /// What was done; in clear mode, only lookups are counted.
    pub statistics: Statistics,
    /// Times.
    pub seconds: Seconds,
    /// Sizes.
    pub bytes: Bytes,
    /// The plan, in simulate and execute mode.
    pub plan: Option<Plan>,
}

impl Outcome {
    /// Whether the numbers can be relied on; numbers and inputs beyond their ranges can be allowed.
    ///
    /// # Errors
    /// [`RunError::OutOfRange`], [`RunError::Saturated`], [`RunError::Mismatch`].
    pub fn check(&self, allow_out_of_range: bool) -> Result<(), RunError> {
        match (self.out_of_range, self.mismatches()) {
            (0, mismatches) => {
                if !allow_out_of_range {
                    check_saturation(&self.saturation)?;
                }
                match mismatches {
                    0 => Ok(()),
                    count => Err(RunError::Mismatch { count, total: self.numbers.data().len() }),
                }
            }
            // What leaves its range is wrong in every way, and need not be near anything.
            (_, _) if allow_out_of_range => Ok(()),
            (count, _) => Err(RunError::OutOfRange { count }),
        }
    }

    /// Entries that are not the clear engine's, or farther from them than the noise explains.
    pub fn mismatches(&self) -> usize {
        let allowed = |index: usize| self.tolerance.as_ref().map_or(0.0, |tolerance| tolerance.data()[index]);
        let pairs = self.numbers.iter().zip(self.clear_numbers.iter()).enumerate();
        pairs.filter(|&(index, (a, b))| !is_within((a - b).abs(), allowed(index))).count()
    }

    /// Whether every number is the clear engine's, or as near to it as the noise allows. Where numbers left their ranges, the noise
    /// that would be allowed is not known.
    pub fn matches_clear(&self) -> bool {
        self.mismatches() == 0 && (self.tolerance.is_none() || self.out_of_range == 0)
    }

    /// The largest difference from the clear engine's numbers.
    pub fn max_abs_difference(&self) -> f64 {
        self.numbers.iter().zip(self.clear_numbers.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    /// ‖output − reference‖/‖reference‖.
    pub fn relative_error(&self, reference: &Matrix<f32>) -> f64 {
        relative_error(&self.output, reference)
    }

    /// The same of the clear engine's output: what quantization alone costs.
    pub fn clear_relative_error(&self, reference: &Matrix<f32>) -> f64 {
        relative_error(&self.clear_output, reference)
    }
}
