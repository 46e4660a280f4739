//! Whoever watches a computation, and why it was not finished.

use nn::watched::WatchedError;

use crate::boundary::Refused;

/// Why the data flow was not finished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// It was not begun.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The observer asked to stop.
    #[error("stopped before the computation was finished; nothing was written")]
    Cancelled,
    /// What was done cannot be kept: why, in words.
    #[error("{0}; what was kept before is whole, and the same command goes on from there")]
    Unkept(String),
}

impl From<WatchedError<Self>> for EvaluationError {
    fn from(error: WatchedError<Self>) -> Self {
        match error {
            WatchedError::Stopped => Self::Cancelled,
            WatchedError::Failed(error) => error,
        }
    }
}

/// Is told how far the computation has come, and may stop it.
pub trait Observer {
    /// A step begins, or goes on, with so many more lookups or products.
    fn begin(&mut self, step: &'static str, operations: usize);

    /// So many of them are done. False stops the computation.
    fn advance(&mut self, operations: usize) -> bool;
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn begin(&mut self, _step: &'static str, _operations: usize) {}

    fn advance(&mut self, _operations: usize) -> bool {
        true
    }
}
