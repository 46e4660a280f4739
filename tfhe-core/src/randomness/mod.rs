//! Where random numbers come from, and how what was secret is overwritten.

#[cfg(feature = "secret-keys")]
pub mod derivation;
pub mod random;
#[cfg(feature = "secret-keys")]
pub(crate) mod wiping;
