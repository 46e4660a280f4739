//! Why an attention could not be run, or its result not be relied on.

use nn::attention::Part;
use nn::matrix::Matrix;
use nn::quantizers::{SaturatedEntry, Saturation};
use tfhe_core::key_graph::MissingEdge;
use tfhe_core::random::RandomnessError;

use super::{MAX_EXPONENT_NOISE, MAX_SATURATION};
use crate::block::forecast::UnreliableBlocks;
use crate::block::layout;
use crate::boundary::{EncryptError, Refused};
use crate::packed::layout::HeadTooLarge;
use crate::store::StoreError;
use crate::track::EvaluationError;

/// How reliable the best parameter set is.
fn in_words(log2_failure: f64) -> String {
    // A union bound near 1 says nothing.
    if log2_failure <= -1.0 {
        format!("the best has 2^{log2_failure:.1}")
    } else {
        "with all of them it may fail".into()
    }
}

/// Why a head could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What is to be kept of a run, or was kept, cannot be written or read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// What was kept of a run is of another one, or of more.
    #[error("cannot go on from {folder}: {why}")]
    OtherRun {
        /// Where it was kept.
        folder: String,
        /// What is other.
        why: &'static str,
    },
    /// Another program that was to compute has not: why, in words.
    #[error("{0}")]
    Remote(String),
    /// No named parameter set evaluates the head reliably.
    #[error(
        "no parameter set evaluates this attention with a chance of failure of at most 2^-40 ({}): use fewer bits or \
         fewer tokens",
        in_words(*.best)
    )]
    Unreliable {
        /// log2 of the best set's failure probability.
        best: f64,
    },
    /// Lookups of blocks do not read reliably.
    #[error(transparent)]
    UnreliableBlocks(#[from] UnreliableBlocks),
    /// The noise of lookups is too large for a head's scores.
    #[error(
        "{}: its scores are so far apart that noise may put probabilities off by {:.0} % (σ; at most {:.0} % is accepted), as a lookup \
         reads {score_turn:.0} units of score within one turn: {}", name_head(.layer, .head), percent(.noise),
        percent(&MAX_EXPONENT_NOISE), remedy(.noise)
    )]
    Noisy {
        /// The layer, where it is known.
        layer: Option<usize>,
        /// The head.
        head: usize,
        /// The standard deviation of exponents, at most, in units of score: the relative error of a probability.
        noise: f64,
        /// What a turn of score stands for.
        score_turn: f64,
    },
    /// Numbers left their ranges.
    #[error(
        "the result is wrong, for arguments of lookups, or outputs, are beyond the ranges that calibration gave them ({count} in all): \
         calibrate on inputs like this one, or use --allow-out-of-range to get the numbers all the same"
    )]
    OutOfRange {
        /// How many.
        count: usize,
    },
    /// An entry of the input is far beyond its range.
    #[error(
        "the input is not like those of the calibration: {} of its entries are beyond their ranges, channel {} of token {} {:.1} times as \
         far (at most {} times is accepted): calibrate on inputs like this one, or use --allow-out-of-range to get the numbers all the \
         same", .count, .farthest.channel, .farthest.row, .farthest.ratio, MAX_SATURATION
    )]
    Saturated {
        /// How many entries are cut off to their ranges.
        count: usize,
        /// The farthest.
        farthest: SaturatedEntry,
    },
    /// Numbers that are not the clear engine's, or farther from them than the noise explains.
    #[error(
        "{count} of {total} numbers are not those of the clear engine, or farther from them than the noise explains: none can be relied on"
    )]
    Mismatch {
        /// How many.
        count: usize,
        /// Of how many.
        total: usize,
    },
    /// An output is NaN or infinite.
    #[error(
        "{count} of the outputs are not finite numbers: calibrate on inputs like this one, or leave this attention to the client"
    )]
    NotFinite {
        /// How many.
        count: usize,
    },
    /// The squares of [`Multiply::Lut`](crate::integer::multiply::Multiply::Lut) have too wide a table.
    #[error(
        "--multiply lut needs tables of {bits} bits here, and {limit} are possible: use --multiply product, or fewer bits"
    )]
    TooWide {
        /// Bits of the table.
        bits: u32,
        /// Bits that a table can have.
        limit: u32,
    },
    /// A row of a matrix does not fit one ciphertext.
    #[error("a row of {length} entries does not fit a ciphertext of {size} coefficients: use fewer tokens")]
    TooLong {
        /// Tokens, or the size of a head.
        length: usize,
        /// N.
        size: usize,
    },
    /// The head does not fit the packed circuit.
    #[error(transparent)]
    TooLarge(#[from] HeadTooLarge),
    /// The head does not fit the circuit of blocks.
    #[error(transparent)]
    BlockTooLarge(#[from] layout::HeadBeyondRing),
    /// Keys or a plan of one circuit, and an attention that is quantized for the other.
    #[error(
        "these keys are for another circuit than this attention is quantized for: quantize it for theirs, or make keys for it"
    )]
    OtherCircuit,
    /// The input does not fit the head.
    #[error(transparent)]
    Input(#[from] nn::Error),
    /// There is nothing to make a request's randomness from.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// Keys, a request or an answer are not those of the circuit.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The run was stopped.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
}

impl From<EncryptError> for RunError {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::Refused(refused) => refused.into(),
            EncryptError::Randomness(error) => error.into(),
        }
    }
}

impl From<MissingEdge> for RunError {
    fn from(missing: MissingEdge) -> Self {
        Self::Refused(missing.into())
    }
}

impl RunError {
    /// The error of a run, out of what a forward pass makes of it.
    pub fn unhooked(error: nn::Error) -> Self {
        match error {
            nn::Error::Hook(inner) => match inner.downcast::<Self>() {
                Ok(error) => *error,
                Err(inner) => nn::Error::Hook(inner).into(),
            },
            error => error.into(),
        }
    }

    /// The same, of a layer's attention.
    pub fn in_layer(self, number: usize) -> Self {
        match self {
            Self::Noisy { head, noise, score_turn, .. } => Self::Noisy { layer: Some(number), head, noise, score_turn },
            other => other,
        }
    }

    /// The same, of a part: heads are numbered within their layer.
    pub fn of_part(self, part: Part) -> Self {
        match (self, part) {
            (Self::Noisy { layer, noise, score_turn, .. }, Part::Head(head)) => {
                Self::Noisy { layer, head, noise, score_turn }
            }
            (other, _) => other,
        }
    }
}

/// What would do about noise of exponents.
fn remedy(noise: &f64) -> &'static str {
    // A range is the farthest that scores are apart, and half as much more for the usual guard.
    if is_within(*noise, 1.5 * MAX_EXPONENT_NOISE) {
        "use --guard 1 if inputs are like those of the calibration, or fewer tokens, or leave this head or layer to the client"
    } else {
        "leave this head or layer to the client, or try --circuit exact"
    }
}

/// Whether a number is at most `limit`; NaN is not.
pub(crate) fn is_within(value: f64, limit: f64) -> bool {
    value <= limit
}

fn percent(share: &f64) -> f64 {
    100.0 * share
}

fn name_head(layer: &Option<usize>, head: &usize) -> String {
    match layer {
        Some(layer) => format!("head {head} of layer {layer}"),
        None => format!("head {head}"),
    }
}

/// Checks that no entry of an input is too far beyond its range: what a client knows before it sends anything.
///
/// # Errors
/// [`RunError::Saturated`].
pub fn check_saturation(saturation: &Saturation) -> Result<(), RunError> {
    match saturation.farthest {
        Some(farthest) if !is_within(farthest.ratio, MAX_SATURATION) => {
            Err(RunError::Saturated { count: saturation.count, farthest })
        }
        _ => Ok(()),
    }
}

/// Checks that every output is a number.
pub(crate) fn check_finite(output: &Matrix<f32>) -> Result<(), RunError> {
    match output.iter().filter(|value| !value.is_finite()).count() {
        0 => Ok(()),
        count => Err(RunError::NotFinite { count }),
    }
}
