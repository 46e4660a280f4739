//! Encryption of integers as GGSW ciphertexts.

use zeroize::Zeroizing;

use super::SeededGgswCiphertext;
use crate::fft::NegacyclicFft;
use crate::glwe::GlweSecretKey;
use crate::params::{Gadget, NoiseDistribution};
use crate::random::EncryptionSeed;
use crate::rows::RowGenerator;
use crate::torus::MODULUS_LOG;

impl GlweSecretKey {
    /// A GGSW encryption of the integer `message`, with the next masks and noise of `seed`. `fft` must be a plan of size N.
    /// O((k+1)·ℓ·N log N).
    ///
    /// # Examples
    /// A GGSW ciphertext encrypts a small integer so often, at each digit's weight and times each part of the key, that it
    /// can multiply a GLWE ciphertext: (k+1)²·ℓ polynomials in place of k+1. What is stored has seeds for masks, what
    /// multiplies is transformed.
    /// ```
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::GlweSecretKey;
    /// # use tfhe_core::params::{GlweShape, NoiseDistribution};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let noise = NoiseDistribution::TUniform { bound_log: 24 };
    /// # let mut seed = EncryptionSeed::from_system()?;
    /// // `shape`, `fft`, `key`, `noise` and `seed` as in the example of `GlweSecretKey::encrypt`.
    /// use tfhe_core::params::{Gadget, Precision};
    ///
    /// let gadget = Gadget::new(8, 3, Precision::Single)?;
    /// let seeded = key.encrypt_ggsw(&fft, -1, gadget, noise, &mut seed);
    /// assert_eq!(seeded.expand().len(), 2 * 2 * 3 * 1024);
    /// assert_eq!(seeded.prepare(&fft).gadget(), gadget);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        RowGenerator { fft, key: self, gadget, noise, seed, body_bits: MODULUS_LOG }.ggsw(message as u64, stream)
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
        SeededGgswCiphertext::from_rows(self.rows(&messages, stream))
    }
}
