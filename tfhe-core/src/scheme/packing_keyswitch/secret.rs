//! Making keys of packing key switches.

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::PackingKeyswitchKey;
use crate::fft::NegacyclicFft;
use crate::glwe::GlweSecretKey;
use crate::lwe::LweSecretKey;
use crate::params::{Gadget, NoiseDistribution};
use crate::random::EncryptionSeed;

impl PackingKeyswitchKey {
    /// Encrypts the bits of `from` as constant polynomials under `to`. Row r uses the streams r of `seed`.
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
        let levels = gadget.levels();
        seed.take_first((from.bits().len() * levels) as u64);
        let rows = (0..from.bits().len() * levels)
            .into_par_iter()
            .map(|r| {
                let mut plaintext = Zeroizing::new(vec![0; to.shape().polynomial_size.get()]);
                plaintext[0] = from.bits()[r / levels] << (64 - gadget.base_log() * (r % levels + 1) as u32);
                to.encrypt_with(fft, &plaintext, noise, &seed, r as u64).expand()
            })
            .collect();
        Self { shape: to.shape(), gadget, rows }
    }
}
