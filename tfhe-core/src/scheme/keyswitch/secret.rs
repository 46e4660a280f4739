//! Making keys of LWE key switches.

use rayon::prelude::*;

use super::SeededLweKeyswitchKey;
use crate::lwe::LweSecretKey;
use crate::params::{Gadget, LweDimension, NoiseDistribution};
use crate::random::EncryptionSeed;
use crate::simd::packed::MAXIMUM_BASE_LOG;

/// Whether a key may be rounded to multiples of 2^-32: if that adds at most a thousandth to the variance of its noise.
/// A row's phase changes by the rounding errors, of variance 2^-64/12, of its body and of the half of its n masks whose key
/// bit is 1. The digits must fit the product's instructions.
fn may_be_rounded(gadget: Gadget, output: LweDimension, noise: NoiseDistribution) -> bool {
    let rounding = 2f64.powi(-64) / 12.0 * (1.0 + output.get() as f64 / 2.0);
    rounding <= noise.variance().get() / 1000.0 && gadget.base_log() <= MAXIMUM_BASE_LOG
}

impl SeededLweKeyswitchKey {
    /// Encrypts the bits of `from` under `to`. Rows of input bit i use the streams i of `seed`. O(n'·ℓ·n).
    ///
    /// # Panics
    /// If something was drawn from the seed before.
    pub fn generate(
        from: &LweSecretKey,
        to: &LweSecretKey,
        gadget: Gadget,
        noise: NoiseDistribution,
        mut seed: EncryptionSeed,
    ) -> Self {
        seed.take_first(from.dimension().get() as u64);
        let levels = gadget.levels();
        let mut bodies = vec![0; from.dimension().get() * levels];
        bodies.par_chunks_exact_mut(levels).zip(from.bits()).enumerate().for_each_init(
            || vec![0; to.dimension().get()],
            |mask, (i, (bodies, &bit))| {
                let (mut masks, mut noises) = seed.streams(i as u64);
                for (level, body) in bodies.iter_mut().enumerate() {
                    masks.fill_uniform(mask);
                    let plaintext = bit << (64 - gadget.base_log() * (level as u32 + 1));
                    *body = to.body(mask, plaintext, noise, &mut noises);
                }
            },
        );
        let narrow = may_be_rounded(gadget, to.dimension(), noise);
        Self { input: from.dimension(), output: to.dimension(), gadget, seed: seed.masks(), bodies, narrow }
    }
}
