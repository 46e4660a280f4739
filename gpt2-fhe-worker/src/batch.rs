//! Batches of blind rotations, and their results, as bytes.
//!
//! Both are in the envelope of [`tfhe_core::format`], each kind one of its own; `docs/formats.md` has them to the byte. What turns a
//! polynomial of N' coefficients is sent as exponents, multiples of 1/2N' of a turn, so log2 2N' bits each, and no bit is lost. Of a result
//! the mask and the coefficients of the body that are wanted are sent, each with as many bits as are wanted.
//!
//! What comes from others may be anything. A batch says of which parameter set it is, and that has to be one that this program knows: all
//! sizes are the set's. How many there are of anything is compared with the bytes that are there before memory is taken.

mod contents;
mod error;
mod polynomial;
mod random;
#[cfg(test)]
mod tests;

use std::fmt;

use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::keys::Identity;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::params::GlweShape;

pub(crate) use self::contents::one_line;
pub use self::contents::{BATCH, RESULT};
pub use self::error::{BatchError, RefusedBatch};
pub(crate) use self::random::elements;

/// Which batch it is: the run of a server, chosen at random when it starts, and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchId {
    /// The run.
    pub run: [u8; 16],
    /// Counts from 0.
    pub number: u64,
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}-{}", u128::from_be_bytes(self.run), self.number)
    }
}

/// The name of a file of bootstrapping keys: the SHA-256 of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyName(pub [u8; 32]);

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Blind rotations that wait for nothing, under one bootstrapping key.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Which it is.
    pub id: BatchId,
    /// Whose keys, and of which parameter set.
    pub identity: Identity,
    /// The file of keys.
    pub keys: KeyName,
    /// Which of the set's bootstrapping gadgets.
    pub gadget: usize,
    /// How many of the highest bits of results are wanted.
    pub bits: u32,
    /// What turns polynomials: rounded to exponents before they are sent, so that no bit of them is lost.
    pub inputs: Vec<LweCiphertext>,
    /// The polynomials, each once: trivial ciphertexts.
    pub polynomials: Vec<GlweCiphertext>,
    /// Of each input, the index of its polynomial, and how many coefficients of the result's body are wanted.
    pub lookups: Vec<(usize, usize)>,
}

/// What whoever has made a batch knows of its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedResult {
    /// Whose keys, as of the batch.
    pub identity: Identity,
    /// k' and N'.
    pub shape: GlweShape,
    /// As of the batch.
    pub bits: u32,
    /// Of each result, how many coefficients of the body are wanted.
    pub bodies: Vec<usize>,
}

/// What a worker answers.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchResult {
    /// To which batch.
    pub id: BatchId,
    /// Whose keys, as of the batch.
    pub identity: Identity,
    /// The worker's name.
    pub worker: String,
    /// Seconds of computing.
    pub seconds: f64,
    /// The turned polynomials, rounded, of bodies only what is wanted; or why there are none, in one line.
    pub outcome: Result<Vec<GlweCiphertext>, String>,
}
