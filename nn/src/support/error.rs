//! What can be wrong with the input.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Bad input. Each message says in one line what is wrong and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two shapes that must agree do not.
    #[error("{what} has shape {found:?}, but {expected} is needed")]
    Shape {
        /// What has the wrong shape.
        what: String,
        /// The shape that is needed, in words.
        expected: String,
        /// The shape that was found.
        found: Vec<usize>,
    },
    /// A value is NaN or infinite.
    #[error("{what} holds {value} at position {position}; every value must be finite")]
    NotFinite {
        /// What holds the value.
        what: String,
        /// NaN, inf or -inf.
        value: f64,
        /// Index of the first such value, in row-major order.
        position: usize,
    },
    /// A number that is not in its allowed range.
    #[error("{what} is {found}; it must be {allowed}")]
    OutOfRange {
        /// What was given.
        what: String,
        /// Its value.
        found: String,
        /// What is allowed, in words.
        allowed: String,
    },
    /// An intermediate of the integer head needs a table that is too large.
    #[error("step \"{step}\" spans {bits} bits, and a lookup table has at most {limit}; use fewer bits or tokens")]
    TooWide {
        /// Name of the step.
        step: &'static str,
        /// Bits that its range needs.
        bits: u32,
        /// Bits that a table can have.
        limit: u32,
    },
    /// A file cannot be opened, read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// "open", "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what its name says: damaged, truncated, or of another format.
    #[error("{} is not usable: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A file, or several with an index, do not hold a tensor.
    #[error("{} has no tensor \"{name}\"; {hint}", path.display())]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Names that the file does have.
        hint: String,
    },
    /// A token that is not in the model's vocabulary.
    #[error(
        "token {token} is not in the vocabulary of {vocabulary} tokens; do the tokenizer and the model belong together?"
    )]
    UnknownToken {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// The tokenizer cannot encode or decode.
    #[error("the tokenizer failed: {0}")]
    Tokenizer(String),
    /// A [`ForwardHooks`](crate::gpt2::ForwardHooks) method failed.
    #[error("the replacement of an attention failed: {0}")]
    Hook(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    pub(crate) fn shape(what: impl Into<String>, expected: impl Into<String>, found: &[usize]) -> Self {
        Self::Shape { what: what.into(), expected: expected.into(), found: found.to_vec() }
    }

    /// The same of a part of something: "the least argument of a table".
    pub(crate) fn of(self, whole: &str) -> Self {
        match self {
            Self::OutOfRange { what, found, allowed } => {
                Self::OutOfRange { what: format!("{what} of {whole}"), found, allowed }
            }
            other => other,
        }
    }

    pub(crate) fn out_of_range(what: &str, found: impl ToString, allowed: impl Into<String>) -> Self {
        Self::OutOfRange { what: what.into(), found: found.to_string(), allowed: allowed.into() }
    }
}

/// Checks that every value is finite.
pub(crate) fn check_finite(what: &str, values: &[f32]) -> Result<(), Error> {
    // Without a branch for each value, so that the compiler can take several at once.
    if values.iter().fold(true, |finite, value| finite & value.is_finite()) {
        return Ok(());
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(position) => Err(Error::NotFinite { what: what.into(), value: values[position] as f64, position }),
    }
}

/// Checks that a number is in a range, both ends included.
pub(crate) fn check_within<T: PartialOrd + Display>(
    what: &str,
    found: T,
    allowed: RangeInclusive<T>,
) -> Result<(), Error> {
    if allowed.contains(&found) {
        return Ok(());
    }
    Err(Error::out_of_range(what, found, format!("in {} ..= {}", allowed.start(), allowed.end())))
}
