//! By what files of one calibration are known.

use super::origin::{BlocksOrigin, Origin};
use crate::block::ModelProgram;
use crate::error::Error;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::{Debug, Display, Formatter};

/// SHA-256 of a quantized attention and its origin, or of blocks: the same for files that belong together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttentionFingerprint(pub(super) [u8; 32]);

impl Display for AttentionFingerprint {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl Debug for AttentionFingerprint {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(self, formatter)
    }
}

impl From<AttentionFingerprint> for String {
    fn from(fingerprint: AttentionFingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl TryFrom<String> for AttentionFingerprint {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let pairs = text.as_bytes().as_chunks().0;
        let bytes: Option<Vec<u8>> = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
        bytes
            .filter(|_| text.len() == 64)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| Error::out_of_range("a fingerprint", format!("{text:?}"), "64 hexadecimal digits"))
    }
}

impl AttentionFingerprint {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Of blocks: every weight, table and scale. It is that of their files.
    pub fn of_blocks(model: &ModelProgram) -> Self {
        let digests = [model.program().to_tensors(), model.client().to_tensors()].map(|half| Self(half.digest()));
        Self::of(&Origin::Blocks(BlocksOrigin::of(model)), &digests)
    }

    /// Of a quantized attention from `origin`, whose halves' tensors have the given digests.
    pub(super) fn of(origin: &Origin, [server, client]: &[Self; 2]) -> Self {
        let mut hash = Sha256::new();
        hash.update(origin.version().to_le_bytes());
        hash.update(server.0);
        hash.update(client.0);
        hash.update(serde_json::to_vec(origin).expect("numbers and names become JSON"));
        Self(hash.finalize().into())
    }
}
