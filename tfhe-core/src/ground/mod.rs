//! What everything stands on.

pub mod fingerprint;
pub mod rounding;
pub mod torus;
pub mod variance;
