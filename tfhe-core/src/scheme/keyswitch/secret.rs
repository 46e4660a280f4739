//! Making keys of LWE key switches.

use rayon::prelude::*;

use super::SeededLweKeyswitchKey;
use crate::lwe::LweSecretKey;
use crate::params::{Gadget, NoiseDistribution};
use crate::random::EncryptionSeed;

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
        Self::from_bodies([from.dimension(), to.dimension()], gadget, noise, seed.masks(), bodies)
    }
}
