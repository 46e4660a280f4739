//! What is noted on the way of a computation: operations, noise, failure, time; and who watches.

pub mod observer;
pub mod statistics;
pub(crate) mod timed;

pub use observer::{EvaluationError, Observer, Unobserved};
