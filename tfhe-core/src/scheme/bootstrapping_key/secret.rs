//! Making bootstrapping keys.

use rayon::prelude::*;

use super::SeededBootstrappingKey;
use crate::fft::NegacyclicFft;
use crate::glwe::GlweSecretKey;
use crate::lwe::LweSecretKey;
use crate::params::{Gadget, NoiseDistribution};
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
        mut seed: EncryptionSeed,
    ) -> Self {
        seed.take_first(from.dimension().get() as u64);
        let generator = RowGenerator { fft, key: to, gadget, noise, seed: &seed };
        let bits = from.bits().par_iter().enumerate().map(|(i, &bit)| generator.ggsw(bit, i as u64)).collect();
        Self::from_bits(bits)
    }
}
