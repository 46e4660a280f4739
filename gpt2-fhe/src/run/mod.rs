//! A part of a layer's attention on one input, in any circuit and mode, with everything that is worth knowing about the run.
//!
//! What the modes do is written once, over what a circuit has of its own ([`Lowering`]). An encrypted run has two halves: a request
//! that is encrypted, served and decrypted ([`Session::answer`]), and a comparison of the [`RunOutput`] with what the clear engine
//! computes, which is no part of it ([`Session::execute`] does both).

mod attention;
pub mod block;
mod error;
pub mod exact;
mod keys;
mod lowering;
mod outcome;
pub mod packed;
mod plan;
pub mod trace;

pub use attention::{Attention, Session};
pub(crate) use error::check_finite;
pub use error::{RunError, check_saturation};
pub use lowering::{EncodingOf, Lowering, Parties, Reference, RunOutput, ShownOf, TableOf};
pub use outcome::{Outcome, Seconds};
pub use plan::{Bytes, Packing, Plan};

pub use crate::track::MAX_LOG2_FAILURE;

use serde::{Deserialize, Serialize};

/// How the head becomes operations on ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "command-line", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Circuit {
    /// Many numbers in each ciphertext: fast, and close to the result in the clear.
    Packed,
    /// One number in each ciphertext, as in the article: slow, and equal to the integers computed in the clear.
    Exact,
}

impl Circuit {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Packed => "packed",
            Self::Exact => "exact",
        }
    }
}

/// How the head is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "command-line", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Without encryption, on the quantized integers.
    Clear,
    /// Without encryption, with random errors as large as the noise of ciphertexts is predicted to be.
    Simulate,
    /// Encrypted.
    Execute,
}

impl Mode {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Simulate => "simulate",
            Self::Execute => "execute",
        }
    }
}

/// What a failure probability is of: to be said wherever one is printed.
pub const FAILURE_MEANING: &str = "the chance that noise makes any lookup or output of the request wrong, if all numbers stay in their \
                                   calibrated ranges; not counted: numbers beyond them, and the small errors that noise always leaves \
                                   in a packed output";

/// What that is of blocks, some of whose tables go on without a jump: to be said of their plans.
pub const CONTINUED_FAILURE_MEANING: &str = "of tables that go on without a jump where their half turn ends (squares, activation, updates), a \
                                             number that noise carries past it is off by twice as much and no more: a failure is \
                                             then more than 1/32 of a turn";

/// How many times its range an entry of an input may be, to be cut off to the range without an error.
///
/// What is cut off costs accuracy, the same in the clear and encrypted. A range is a fifth more than the farthest entry of the
/// calibration set at least (packed circuit), and other texts go a little beyond now and then: in 3,000 tokens for the model inside the
/// program, 140 to 263 entries of each layer do, at most 1.4 times as far. Three times as far is another kind of input.
pub const MAX_SATURATION: f64 = 3.0;

/// What the standard deviation of an exponent, as a head reads it, may be at most, in units of score.
///
/// It is a bound, with all slopes of softplus 1. Simulated outputs have about half of it as their relative noise (chapter 20 has
/// the figures), so this is two fifths of an output, five times what quantization costs. Beyond, e^δ is not near 1 + δ any more, and noise
/// grows faster than the bound.
pub const MAX_EXPONENT_NOISE: f64 = 0.75;
