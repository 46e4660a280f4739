//! Where random numbers come from, and how what was secret is overwritten.

pub mod derivation;
pub mod random;
pub(crate) mod wiping;
