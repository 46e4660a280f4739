//! What an envelope begins with.

use crate::fingerprint::Fingerprint;
use crate::keys::Identity;

/// What every envelope begins with.
pub const MAGIC: [u8; 8] = *b"TFHECORE";
/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 2;
/// Bytes before the contents.
pub const HEADER_BYTES: usize = 124;
/// Bytes after them.
pub const CHECKSUM_BYTES: usize = 32;
/// Bytes of an envelope without contents.
pub const ENVELOPE_BYTES: u64 = (HEADER_BYTES + CHECKSUM_BYTES) as u64;

/// What contents are: eight characters of ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub [u8; 8]);

impl Kind {
    /// A [`Request`](crate::keys::Request): [`Encoder::request`](super::Encoder::request).
    pub const REQUEST: Self = Self(*b"request ");
    /// An [`Answer`](crate::keys::Answer): [`Encoder::answer`](super::Encoder::answer).
    pub const ANSWER: Self = Self(*b"answer  ");
    /// [`SeededEvaluationKeys`](crate::keys::SeededEvaluationKeys): [`Encoder::evaluation_keys`](super::Encoder::evaluation_keys).
    pub const EVALUATION_KEYS: Self = Self(*b"evalkeys");
    /// What a client derives its keys from (`Encoder::secret`, with the feature `secret-keys`).
    pub const SECRET: Self = Self(*b"secret  ");
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii().to_string().trim_end())
    }
}

/// What contents are, and what they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What they are.
    pub kind: Kind,
    /// Whose, and of which parameter set.
    pub identity: Identity,
    /// Whatever else they belong to: a program, how plaintexts are encoded.
    pub context: Fingerprint,
}
