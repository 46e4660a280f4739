//! What a server, or a client, refuses of what it is given.
//!
//! Keys, requests and answers come from the other party, parameter sets and layouts from a program. All of it is checked once, before
//! anything is computed; behind the check, code relies on it.

use tfhe_core::key_graph::MissingEdge;
use tfhe_core::keys::{Mismatch, MissingKey};
use tfhe_core::random::RandomnessError;
use tfhe_core::simd::BackendError;

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The parameter set does not have what the circuit needs.
    #[error("{0}, which the circuit needs: use a named set of this circuit")]
    Set(#[from] MissingEdge),
    /// The exact circuit computes in one ring.
    #[error(
        "parameter set {0} has two rings, and the exact circuit needs one that is both: use a named set of this circuit"
    )]
    TwoRings(&'static str),
    /// The ring has fewer coefficients than the program's matrices and tables take.
    #[error(
        "the ring of parameter set {0} is too small for the tables and matrices of this program: use a named set of this circuit"
    )]
    SmallRing(&'static str),
    /// A table cannot be read.
    #[error("the program has tables of {bits} bits, or products that need them, and {limit} are possible")]
    TooWide {
        /// Bits of the table.
        bits: u32,
        /// Bits that a table can have.
        limit: u32,
    },
    /// Where everything lies in a ciphertext depends on the rings' sizes.
    #[error("the encoding is for other rings than those of parameter set {0}: make it for the set of the keys")]
    OtherRings(&'static str),
    /// Weights and tables are prepared for one parameter set.
    #[error("the attention was prepared for another parameter set than that of the keys, {0}: prepare it for this one")]
    Prepared(&'static str),
    /// The evaluation keys are not those that the circuit needs.
    #[error("{0}: make evaluation keys for this circuit")]
    Keys(#[from] MissingKey),
    /// A request or an answer does not belong to the keys, or is not what is expected.
    #[error(transparent)]
    Message(#[from] Mismatch),
    /// The parameter set has no refresh, which the circuit needs.
    #[error("results of lookups of parameter set {0} cannot be packed: use a named set of this circuit")]
    NoRefresh(&'static str),
    /// A hidden state is not a fraction of a turn.
    #[error("channel {channel} of token {token} is beyond half a turn: calibrate with texts like this one")]
    HiddenState {
        /// The row.
        token: usize,
        /// The column.
        channel: usize,
    },
    /// The environment asks for vector instructions that cannot be used.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// An input has no token, or too many.
    #[error("{tokens} tokens, and from 1 to {most} are possible here")]
    Tokens {
        /// How many.
        tokens: usize,
        /// The most that the attention is calibrated for and that fit a ciphertext.
        most: usize,
    },
    /// An input has not the size that was agreed on.
    #[error("the input has {} × {} entries, and {} × {} are expected", .size.0, .size.1, .expected.0, .expected.1)]
    Size {
        /// Its rows and columns.
        size: (usize, usize),
        /// Those that it should have.
        expected: (usize, usize),
    },
    /// A scale is of no use: integers of that many bits, and their sign, do not fit.
    #[error("numbers of {0} bits and their sign, at their scale: from 1 to 62 bits are possible")]
    Scale(u32),
    /// The layout is for another attention.
    #[error("the layout is for an attention of other sizes: make it for this one")]
    Layout,
}

impl Refused {
    /// Checks the size of an input.
    pub(crate) fn check_size(size: (usize, usize), expected: (usize, usize)) -> Result<(), Self> {
        if size == expected { Ok(()) } else { Err(Self::Size { size, expected }) }
    }

    /// Checks that integers of `bits` bits, at m/2^(bits+1), are some of the torus's.
    pub(crate) fn check_scale(bits: u32) -> Result<(), Self> {
        if (1..=62).contains(&bits) { Ok(()) } else { Err(Self::Scale(bits)) }
    }

    /// Checks a number of tokens.
    pub(crate) fn check_tokens(tokens: usize, most: usize) -> Result<(), Self> {
        if (1..=most).contains(&tokens) { Ok(()) } else { Err(Self::Tokens { tokens, most }) }
    }
}

/// Why a request was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    /// The input is not what is agreed on.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is nothing to make its randomness from.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
}
