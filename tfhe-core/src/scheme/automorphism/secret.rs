//! Making keys of automorphisms.

use std::ops::RangeInclusive;

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::{SeededAutomorphismKeys, galois_element};
use crate::fft::NegacyclicFft;
use crate::glwe::GlweSecretKey;
use crate::params::{Gadget, NoiseDistribution};
use crate::polynomial;
use crate::random::EncryptionSeed;
use crate::rows::RowGenerator;
use crate::torus::MODULUS_LOG;

impl SeededAutomorphismKeys {
    /// Makes the keys of the `steps` l; key l uses the streams l of `seed`.
    ///
    /// # Panics
    /// If a step is not in 1 ..= log2 N, or something was drawn from the seed before.
    pub fn generate(
        fft: &NegacyclicFft,
        key: &GlweSecretKey,
        steps: RangeInclusive<u32>,
        gadget: Gadget,
        noise: NoiseDistribution,
        mut seed: EncryptionSeed,
    ) -> Self {
        let shape = key.shape();
        let n = shape.polynomial_size.get();
        seed.take_first(u64::from(shape.polynomial_size.log2()) + 1);
        let generator = RowGenerator { fft, key, gadget, noise, seed: &seed, body_bits: MODULUS_LOG };
        assert!(*steps.start() >= 1 && *steps.end() <= shape.polynomial_size.log2(), "steps from 1 to log2 N");
        let first = *steps.start();
        let keys = steps
            .into_par_iter()
            .map(|l| {
                let negated_image = |i: usize| {
                    let mut image = vec![0; n];
                    polynomial::automorphism(key.polynomial(i), galois_element(l), &mut image);
                    image.iter_mut().for_each(|x| *x = x.wrapping_neg());
                    image
                };
                let messages: Zeroizing<Vec<Vec<u64>>> =
                    Zeroizing::new((0..shape.dimension.get()).map(negated_image).collect());
                generator.rows(&messages, u64::from(l))
            })
            .collect();
        Self::from_rows(first, keys)
    }
}
