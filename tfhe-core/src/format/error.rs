//! Why bytes are refused.

use std::io;

use super::header::{Header, Kind, VERSION};
use crate::fingerprint::Fingerprint;
use crate::key_graph::MissingEdge;
use crate::keys::MissingKey;

/// Why bytes were refused.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// They cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// They begin otherwise.
    #[error("it is no file of this program, or its first bytes are damaged")]
    Foreign,
    /// Another version of the format.
    #[error("it is of version {0} of the format, and only version {VERSION} is read: use the program that wrote it")]
    Version(u32),
    /// There are fewer bytes than the header says.
    #[error("it was cut off: it has {found} bytes of {expected}")]
    Truncated {
        /// As many as there should be.
        expected: u64,
        /// As many as there are.
        found: u64,
    },
    /// There are more.
    #[error("it has {found} bytes, and should have {expected}: something was appended to it, or it is damaged")]
    Trailing {
        /// As many as there should be.
        expected: u64,
        /// As many as there are.
        found: u64,
    },
    /// Its length is beyond what contents of that kind can have.
    #[error("it says that its contents have {length} bytes, and {limit} are possible: it is damaged")]
    Length {
        /// What it says.
        length: u64,
        /// The most that is possible.
        limit: u64,
    },
    /// Some of it was changed.
    #[error("its checksum is wrong: it is damaged")]
    Checksum,
    /// Contents of another kind.
    #[error("it holds {found}, and {expected} is needed")]
    Kind {
        /// What was asked for.
        expected: Kind,
        /// What it is.
        found: Kind,
    },
    /// It belongs to something else.
    #[error("it belongs to {0}")]
    Other(&'static str),
    /// The contents are not what their kind says.
    #[error("its contents are not as they should be: {0}")]
    Contents(&'static str),
    /// An evaluation key is missing, or has other automorphisms.
    #[error(transparent)]
    Key(#[from] MissingKey),
    /// The reader asks for evaluation keys that its parameter set does not have.
    #[error(transparent)]
    Edge(#[from] MissingEdge),
}

impl Header {
    /// Checks that contents are what is asked for, and belong to it.
    ///
    /// # Errors
    /// [`FormatError::Kind`], [`FormatError::Other`].
    pub fn check(&self, expected: &Self) -> Result<(), FormatError> {
        self.check_of(expected.kind, &expected.identity.set, &expected.context)?;
        if self.identity.keys == expected.identity.keys { Ok(()) } else { Err(FormatError::Other("other keys")) }
    }

    /// Checks that contents are what is asked for, whoever's keys they belong to: of evaluation keys of a client that is new.
    ///
    /// # Errors
    /// [`FormatError::Kind`], [`FormatError::Other`].
    pub fn check_of(&self, kind: Kind, set: &Fingerprint, context: &Fingerprint) -> Result<(), FormatError> {
        self.check_kind(kind)?;
        if self.identity.set != *set {
            return Err(FormatError::Other("another parameter set"));
        }
        if self.context != *context {
            return Err(FormatError::Other("other work, or another part of it"));
        }
        Ok(())
    }

    /// Checks that contents are of this kind, whatever they belong to.
    ///
    /// # Errors
    /// [`FormatError::Kind`].
    pub fn check_kind(&self, expected: Kind) -> Result<(), FormatError> {
        if self.kind == expected { Ok(()) } else { Err(FormatError::Kind { expected, found: self.kind }) }
    }
}
