//! What is noted on the way of a computation: operations, noise, failure, time; and who watches.

pub mod observer;
pub mod statistics;
pub(crate) mod timed;

/// What the failure probability of a run is at most, its log2.
pub const MAX_LOG2_FAILURE: f64 = -40.0;

pub use observer::{EvaluationError, Observer, Unobserved};
