//! Making bootstrapping keys.

use rayon::prelude::*;

use super::SeededBootstrappingKey;
use crate::fft::NegacyclicFft;
use crate::glwe::GlweSecretKey;
use crate::lwe::LweSecretKey;
use crate::noise::stored_bits;
use crate::params::{Gadget, Grouping, NoiseDistribution, Precision};
use crate::random::EncryptionSeed;
use crate::rows::RowGenerator;

impl SeededBootstrappingKey {
    /// Encrypts the bits of `from` under `to`; bit i uses the streams i of `seed`. In parallel over the bits.
    ///
    /// # Examples
    /// The bits of the small key, each as a GGSW ciphertext under the big one: what a server needs to turn a polynomial by a
    /// phase that it cannot read.
    /// ```
    /// use tfhe_core::bootstrapping_key::SeededBootstrappingKey;
    /// use tfhe_core::fft::NegacyclicFft;
    /// use tfhe_core::glwe::{GlweCiphertext, GlweSecretKey};
    /// use tfhe_core::lwe::LweSecretKey;
    /// use tfhe_core::params::{Gadget, GlweShape, LweDimension, NoiseDistribution, Precision};
    /// use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// use tfhe_core::torus::{decode, encode};
    ///
    /// let shape = GlweShape::new(1, 1024)?;
    /// let fft = NegacyclicFft::new(shape.polynomial_size);
    /// let (gadget, noise) = (Gadget::new(10, 3, Precision::Single)?, NoiseDistribution::TUniform { bound_log: 17 });
    /// let big = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// let small = LweSecretKey::generate(&mut SecretStream::from_system()?, LweDimension::new(64)?);
    /// let seed = EncryptionSeed::from_system()?;
    /// let key = SeededBootstrappingKey::generate(&fft, &small, &big, gadget, noise, seed).prepare(&fft, shape);
    /// let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
    ///
    /// assert_eq!((key.gadget(), key.shape()), (gadget, shape));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If something was drawn from the seed before.
    pub fn generate(
        fft: &NegacyclicFft,
        from: &LweSecretKey,
        to: &GlweSecretKey,
        gadget: Gadget,
        noise: NoiseDistribution,
        seed: EncryptionSeed,
    ) -> Self {
        Self::generate_grouped(fft, from, to, (gadget, Grouping::One), noise, seed)
    }

    /// The same for steps of `grouping`; GGSW ciphertext i uses the streams i of `seed`.
    ///
    /// # Panics
    /// As [`Self::generate`]; if a step takes two bits and the gadget is split.
    pub fn generate_grouped(
        fft: &NegacyclicFft,
        from: &LweSecretKey,
        to: &GlweSecretKey,
        (gadget, grouping): (Gadget, Grouping),
        noise: NoiseDistribution,
        mut seed: EncryptionSeed,
    ) -> Self {
        assert!(
            grouping == Grouping::One || gadget.precision() == Precision::Single,
            "steps of two bits are of single precision"
        );
        let (dimension, bits) = (from.dimension(), from.bits());
        let count = grouping.ciphertexts(dimension);
        seed.take_first(count as u64);
        let body_bits = stored_bits(noise.variance());
        let generator = RowGenerator { fft, key: to, gadget, noise, seed: &seed, body_bits };
        let message = |i: usize| match grouping {
            Grouping::One => bits[i],
            Grouping::Two => {
                let (first, second) = (bits[i / 3 * 2], bits.get(i / 3 * 2 + 1).copied().unwrap_or(0));
                match i % 3 {
                    0 => first & !second & 1,
                    1 => second & !first & 1,
                    _ => first & second,
                }
            }
        };
        let ciphertexts = (0..count).into_par_iter().map(|i| generator.ggsw(message(i), i as u64)).collect();
        Self::from_ciphertexts(dimension, grouping, ciphertexts)
    }
}
