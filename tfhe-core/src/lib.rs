//! TFHE from scratch: LWE, GLWE and GGSW over the 64-bit torus, and programmable bootstrapping.
#![deny(unsafe_code)]

pub mod automorphism;
pub mod bootstrap;
pub mod buffer;
pub mod decomposition;
pub mod exact;
#[allow(unsafe_code)]
pub mod fft;
pub mod gadget;
pub mod ggsw;
pub mod glwe;
pub mod keys;
pub mod keyswitch;
pub mod lwe;
pub mod noise;
pub mod params;
pub mod polynomial;
pub mod product;
pub mod random;
// Vector instructions are the one place for unsafe code.
#[allow(unsafe_code)]
pub mod simd;
#[cfg(test)]
pub(crate) mod testing;
pub mod sets;
pub mod security;
pub mod torus;
pub mod wide;
