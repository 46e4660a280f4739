//! What the unit tests of this crate share: a key, and encryption under it.

use crate::fft::NegacyclicFft;
use crate::glwe::{GlweCiphertext, GlweSecretKey};
use crate::params::{Gadget, GlweShape, NoiseDistribution};
use crate::random::{EncryptionSeed, SecretSeed};
use crate::rows::RowGenerator;
use crate::torus::MODULUS_LOG;

pub(crate) struct Setup {
    pub(crate) fft: NegacyclicFft,
    pub(crate) key: GlweSecretKey,
    pub(crate) seed: SecretSeed,
    pub(crate) noise: NoiseDistribution,
    rows: EncryptionSeed,
}

impl Setup {
    pub(crate) fn new(k: usize, n: usize) -> Self {
        Self::with_noise(k, n, NoiseDistribution::TUniform { bound_log: 17 })
    }

    pub(crate) fn with_noise(k: usize, n: usize, noise: NoiseDistribution) -> Self {
        Self::of_client(k, n, noise, 11)
    }

    /// With the key that `number` gives.
    pub(crate) fn of_client(k: usize, n: usize, noise: NoiseDistribution, number: u64) -> Self {
        let shape = GlweShape::new(k, n).unwrap();
        let fft = NegacyclicFft::new(shape.polynomial_size);
        let seed = SecretSeed::from_number(number);
        let key = GlweSecretKey::generate(&mut seed.experiment_bits(0), shape, &fft);
        let mut rows = seed.experiment(0);
        rows.take_first(1 << 20);
        Self { fft, key, seed, noise, rows }
    }

    pub(crate) fn encrypt(&self, plaintext: &[u64], index: u64) -> GlweCiphertext {
        self.key.encrypt(&self.fft, plaintext, self.noise, &mut self.seed.experiment((1 << 32) + index)).expand()
    }

    pub(crate) fn row_generator(&self, gadget: Gadget) -> RowGenerator<'_> {
        RowGenerator {
            fft: &self.fft,
            key: &self.key,
            gadget,
            noise: self.noise,
            seed: &self.rows,
            body_bits: MODULUS_LOG,
        }
    }
}
