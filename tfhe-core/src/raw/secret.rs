//! Secret keys from bits.

use super::{RawError, check_length};
use crate::fft::NegacyclicFft;
use crate::glwe::GlweSecretKey;
use crate::lwe::LweSecretKey;
use crate::params::{GlweShape, LweDimension};

fn check_binary(bits: &[u64]) -> Result<(), RawError> {
    bits.iter().position(|&bit| bit > 1).map_or(Ok(()), |index| Err(RawError::NotBinary(index)))
}

impl LweSecretKey {
    /// From `[n]` bits. The caller's copy stays the caller's to wipe.
    ///
    /// # Errors
    /// If an element is neither 0 nor 1, or there are none, or more than [`LweDimension::MAXIMUM`].
    pub fn from_raw(bits: &[u64]) -> Result<Self, RawError> {
        LweDimension::new(bits.len())?;
        check_binary(bits)?;
        Ok(Self::from_bits(bits.to_vec()))
    }
}

impl GlweSecretKey {
    /// From `[k][N]` bits; `fft` must be a plan of size N. The caller's copy stays the caller's to wipe.
    ///
    /// # Errors
    /// If an element is neither 0 nor 1, or there are not k·N.
    pub fn from_raw(fft: &NegacyclicFft, shape: GlweShape, bits: &[u64]) -> Result<Self, RawError> {
        check_length("a GLWE secret key", shape.extracted_lwe_dimension().get(), bits.len())?;
        check_binary(bits)?;
        Ok(Self::from_bits(shape, bits.to_vec(), fft))
    }
}
