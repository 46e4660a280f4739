//! Ciphertexts, and what is done with them.

pub mod automorphism;
pub mod bootstrap;
pub mod ggsw;
pub mod glwe;
pub mod glwe_keyswitch;
pub mod keyswitch;
pub mod lwe;
pub mod product;
pub mod refresh;
pub mod wide;
