//! Attention as computations on encrypted data have it: in integers, and as a file.

pub(crate) mod calibration;
pub mod clear;
pub mod evaluator;
pub mod integer;
pub mod packed;
pub mod record;
pub mod table;
