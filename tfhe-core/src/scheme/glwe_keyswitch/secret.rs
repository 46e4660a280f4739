//! Making keys of GLWE key switches.

use zeroize::Zeroizing;

use super::SeededGlweKeyswitchKey;
use crate::fft::NegacyclicFft;
use crate::glwe::GlweSecretKey;
use crate::params::{Gadget, NoiseDistribution};
use crate::random::EncryptionSeed;
use crate::rows::RowGenerator;
use crate::torus::MODULUS_LOG;

impl SeededGlweKeyswitchKey {
    /// Encrypts the polynomials of `from` under `to`, with the streams 0 of `seed`.
    ///
    /// # Panics
    /// If the keys are over different rings, or `fft` is of another size, or something was drawn from the seed before.
    pub fn generate(
        fft: &NegacyclicFft,
        from: &GlweSecretKey,
        to: &GlweSecretKey,
        gadget: Gadget,
        noise: NoiseDistribution,
        mut seed: EncryptionSeed,
    ) -> Self {
        let input = from.shape();
        assert_eq!(input.polynomial_size, to.shape().polynomial_size, "keys over one ring");
        seed.take_first(1);
        let negated = |i: usize| from.polynomial(i).iter().map(|&bit| bit.wrapping_neg()).collect();
        let messages: Zeroizing<Vec<Vec<u64>>> = Zeroizing::new((0..input.dimension.get()).map(negated).collect());
        let rows = RowGenerator { fft, key: to, gadget, noise, seed: &seed, body_bits: MODULUS_LOG }.rows(&messages, 0);
        Self::from_rows(input, rows)
    }
}
