//! Why an audit cannot be made.

use tfhe_core::key_graph::MissingEdge;
use tfhe_core::keys::{Mismatch, MissingKey, NoRefresh};
use tfhe_core::random::RandomnessError;
use tfhe_core::raw::RawError;
use tfhe_core::refresh::RefreshError;
use tfhe_core::simd::BackendError;
use tfhe_core::tensor_product::LevelsError;

/// Why an audit cannot be made: not what it found.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Vector instructions that cannot be used.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A set has not what it names.
    #[error(transparent)]
    Edge(#[from] MissingEdge),
    /// Evaluation keys were not made.
    #[error(transparent)]
    Key(#[from] MissingKey),
    /// A set does not refresh.
    #[error(transparent)]
    NoRefresh(#[from] NoRefresh),
    /// A refresh was refused.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// Levels of a GGSW ciphertext were refused.
    #[error(transparent)]
    Levels(#[from] LevelsError),
    /// A message was refused.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A ciphertext was refused.
    #[error(transparent)]
    Raw(#[from] RawError),
    /// The system has no randomness.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// The record of estimates cannot be read.
    #[error("the recorded estimates cannot be read: {0}")]
    Record(#[from] serde_json::Error),
    /// Something cannot be written to memory.
    #[error(transparent)]
    Write(#[from] std::io::Error),
}
