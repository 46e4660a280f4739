//! Encryption of integers as GGSW ciphertexts.

use zeroize::Zeroizing;

use super::SeededGgswCiphertext;
use crate::fft::NegacyclicFft;
use crate::glwe::GlweSecretKey;
use crate::params::{Gadget, NoiseDistribution};
use crate::random::EncryptionSeed;
use crate::rows::RowGenerator;

impl GlweSecretKey {
    /// A GGSW encryption of the integer `message`, with the next masks and noise of `seed`. `fft` must be a plan of size N.
    /// O((k+1)·ℓ·N log N).
    ///
    /// # Panics
    /// If products with the gadget would not be exact ([`Gadget::in_ring`]).
    pub fn encrypt_ggsw(
        &self,
        fft: &NegacyclicFft,
        message: i64,
        gadget: Gadget,
        noise: NoiseDistribution,
        seed: &mut EncryptionSeed,
    ) -> SeededGgswCiphertext {
        let stream = seed.take(1);
        RowGenerator { fft, key: self, gadget, noise, seed }.ggsw(message as u64, stream)
    }
}

impl RowGenerator<'_> {
    /// A GGSW encryption of the integer `m`, modulo 2^64, with the streams `stream` of the seed.
    pub(crate) fn ggsw(&self, m: u64, stream: u64) -> SeededGgswCiphertext {
        let shape = self.key.shape();
        let mut messages: Zeroizing<Vec<Vec<u64>>> = Zeroizing::new(
            (0..shape.dimension.get())
                .map(|i| self.key.polynomial(i).iter().map(|&s| s.wrapping_mul(m.wrapping_neg())).collect())
                .collect(),
        );
        let mut constant = vec![0; shape.polynomial_size.get()];
        constant[0] = m;
        messages.push(constant);
        SeededGgswCiphertext(self.rows(&messages, stream))
    }
}
