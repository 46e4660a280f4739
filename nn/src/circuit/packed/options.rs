//! How the packed attention is quantized.

use crate::error::{Error, check_within};
use serde::{Deserialize, Serialize};

/// How the packed attention is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PackedOptions {
    /// Bits of the input, from 2 to 8.
    pub input_bits: u32,
    /// The most bits of weights of queries and keys, from 2 to 8; there are fewer where [`Self::log_modulus`] does not allow for them.
    pub weight_bits: u32,
    /// Bits of weights of values, from 2 to 8.
    pub value_bits: u32,
    /// The largest log2 t, t the modulus of scores, from 8 to 32.
    pub log_modulus: u32,
    /// The ratio of what scores and outputs may reach to what they reached on the calibration set, at least 1.
    pub guard: f64,
    /// The most tokens of an input, at most [`Self::MAX_TOKENS`]. `None`: those of the longest calibration input.
    pub max_tokens: Option<usize>,
}

impl PackedOptions {
    /// What the numbers of bits may be.
    pub const BITS: std::ops::RangeInclusive<u32> = 2..=8;
    /// What log2 of the modulus of scores may be.
    pub const LOG_MODULI: std::ops::RangeInclusive<u32> = 8..=32;
    /// What [`Self::max_tokens`] may be at most.
    pub const MAX_TOKENS: usize = 64;

    /// The options for inputs of `input_bits` bits, the others as they are best for 5 bits.
    pub fn new(input_bits: u32) -> Self {
        Self { input_bits, weight_bits: 8, value_bits: 7, log_modulus: 32, guard: 1.5, max_tokens: None }
    }
}

/// Checks log2 of the modulus of a head's scores.
pub(super) fn check_log_modulus(log_modulus: u32) -> Result<(), Error> {
    check_within("log2 of the modulus of scores", log_modulus, PackedOptions::LOG_MODULI)
}
