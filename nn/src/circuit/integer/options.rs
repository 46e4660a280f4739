//! How the integer attention is quantized.

use serde::{Deserialize, Serialize};

/// How the integer attention is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntegerOptions {
    /// n, the bits of inputs, weights and activations: in [`Self::BITS`].
    pub bits: u32,
    /// The most bits that a table is indexed with; the others are rounded away. In [`Self::MSBS`].
    pub msbs: u32,
    /// The most tokens of an input, at most [`Self::MAX_TOKENS`]. `None`: those of the longest calibration input.
    pub max_tokens: Option<usize>,
}

impl IntegerOptions {
    /// What [`Self::bits`] may be.
    pub const BITS: std::ops::RangeInclusive<u32> = 2..=11;
    /// What [`Self::msbs`] may be.
    pub const MSBS: std::ops::RangeInclusive<u32> = 6..=10;
    /// What [`Self::max_tokens`] may be at most: the positions of GPT-2.
    pub const MAX_TOKENS: usize = 1024;

    /// The options with n = `bits`, 8 bits of a table kept, and as many tokens as the longest calibration input.
    pub fn new(bits: u32) -> Self {
        Self { bits, msbs: 8, max_tokens: None }
    }
}
