//! Encryption of rows.

use super::SeededRows;
use crate::fft::NegacyclicFft;
use crate::gadget_product::check_exact;
use crate::glwe::{GlweSecretKey, InnerProductScratch};
use crate::params::{Gadget, NoiseDistribution};
use crate::random::EncryptionSeed;
use crate::torus;
use crate::wiping::leaving_nothing_on_the_stack;

/// What every key of a kind is made with.
#[derive(Clone, Copy)]
pub(crate) struct RowGenerator<'a> {
    pub(crate) fft: &'a NegacyclicFft,
    pub(crate) key: &'a GlweSecretKey,
    pub(crate) gadget: Gadget,
    pub(crate) noise: NoiseDistribution,
    /// Of which the streams were taken.
    pub(crate) seed: &'a EncryptionSeed,
    /// To how many bits bodies are rounded.
    pub(crate) body_bits: u32,
}

impl RowGenerator<'_> {
    /// Encrypts the rows of the integer polynomials `messages` `[inputs][N]`, with the streams `stream` of the seed.
    ///
    /// # Panics
    /// If products with the gadget would not be exact ([`Gadget::in_ring`]); so does what makes keys of rows.
    pub(crate) fn rows(&self, messages: &[Vec<u64>], stream: u64) -> SeededRows {
        let shape = self.key.shape();
        let n = shape.polynomial_size.get();
        check_exact(self.gadget, shape.polynomial_size, messages.len());
        let levels = self.gadget.levels();
        let (mut masks, mut noises) = self.seed.streams(stream);
        let scratch = &mut InnerProductScratch::new(self.fft);
        let mut mask = vec![0; shape.extracted_lwe_dimension().get()];
        let mut bodies = vec![0; messages.len() * levels * n];
        for (row, body) in bodies.chunks_exact_mut(n).enumerate() {
            let (message, level) = (&messages[row / levels], row % levels + 1);
            let shift = 64 - self.gadget.base_log() * level as u32;
            body.iter_mut().zip(message).for_each(|(out, &m)| *out = m << shift);
            masks.fill_uniform(&mut mask);
            leaving_nothing_on_the_stack(|| {
                self.key.encrypt_body(self.fft, &mask, body, self.noise, &mut noises, scratch);
            });
            body.iter_mut().for_each(|x| *x = torus::round(*x, self.body_bits));
        }
        SeededRows::from_bodies(shape, self.gadget, (self.seed.masks(), stream), bodies)
    }
}
