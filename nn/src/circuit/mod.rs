//! Attention as computations on encrypted data have it: in integers, whole blocks, and as a file.

pub mod block;
pub(crate) mod calibration;
pub mod clear;
pub mod evaluator;
pub mod integer;
pub mod packed;
pub mod record;
pub(crate) mod rounding;
pub mod table;
pub mod watched;
