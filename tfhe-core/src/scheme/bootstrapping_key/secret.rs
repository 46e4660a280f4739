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
        Self { bits }
    }
}
