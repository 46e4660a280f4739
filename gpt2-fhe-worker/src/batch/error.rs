//! Why a batch or a result is refused.

use tfhe_core::format::FormatError;
use tfhe_core::keys::Identity;

use super::BatchId;
use crate::info::PROTOCOL;

/// Why a batch or a result was refused.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// It is none, or damaged, or has other sizes.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It was sent by a program of another version.
    #[error(
        "it is of version {0} of the protocol, and this program has version {PROTOCOL}: run one version of server and workers"
    )]
    Protocol(u64),
    /// Its results would have other bits if they were computed here.
    #[error(
        "it is for processors whose transforms are \"{asked}\", and those of this one are \"{own}\": set TFHE_BACKEND=avx2 for \
         server and workers, or portable"
    )]
    Arithmetic {
        /// What it asks for.
        asked: String,
        /// What this process has: [`crate::info::arithmetic`].
        own: String,
    },
    /// It is of a parameter set that is not one of [`tfhe_core::sets`].
    #[error("it is of a parameter set that this program does not know: run one version of server and workers")]
    Set,
    /// A result of a batch that nobody waits for.
    #[error("it is the result of batch {0}, which nobody waits for")]
    Unknown(BatchId),
}

/// Why a batch was refused, and to whom that can be said.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct RefusedBatch {
    /// Which batch it is, and whose keys it has: if that could be read.
    pub batch: Option<(BatchId, Identity)>,
    /// Why.
    #[source]
    pub error: BatchError,
}
