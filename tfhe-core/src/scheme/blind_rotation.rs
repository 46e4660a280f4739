//! Blind rotation: `X^(−φ̃)·V`, for an encrypted angle φ̃.
//!
//! The phase `φ̃ = b̃ − Σ ã_i·s_i` of an LWE ciphertext, rounded to a multiple of 1/2N by the modulus switch, turns an accumulator,
//! which begins as `X^(−b̃)·V`: for each bit of the key a CMUX chooses between it and X^(ã_i) times it (Ducas, Micciancio,
//! Eurocrypt 2015; Chillotti et al., J. Cryptology 2020, Algorithm 3). V is a polynomial, trivial or encrypted; the result's
//! noise is that of V and of n CMUXes ([`crate::noise::blind_rotation`]), whatever that of the LWE ciphertext was.
//!
//! In the book: [chapter 5, bootstrapping](../../../book/05-bootstrapping.html).

use rayon::prelude::*;

use crate::bootstrapping_key::BootstrappingKey;
use crate::cmux::Accumulator;
use crate::glwe::GlweCiphertext;
use crate::lwe::LweCiphertext;
use crate::modulus_switch::{ModulusSwitchedLwe, modulus_switch};

/// How many ciphertexts go through a blind rotation together at most: each element of the key is read once for all of them.
pub const BLIND_ROTATION_BLOCK: usize = 8;

/// How many blind rotations a machine is given together: enough for all of its threads, and done within a second.
pub const TOGETHER: usize = 256;

/// Whoever can do blind rotations under one bootstrapping key: the key itself, or others who were given it.
pub trait BlindRotator: std::fmt::Debug + Sync {
    /// What [`BootstrappingKey::blind_rotate`] gives, and the same bits of it: of result i the mask and the first `wanted.bodies[i]`
    /// coefficients of the body, at least, rounded to `wanted.bits` bits or not rounded yet.
    fn rotate(
        &self,
        inputs: &[LweCiphertext],
        polynomials: &[&GlweCiphertext],
        wanted: &Wanted<'_>,
    ) -> Vec<GlweCiphertext>;

    /// How many are worth being given together, where there are so many: that all who compute have enough to do.
    fn together(&self) -> usize {
        TOGETHER
    }
}

/// What is used of the results of blind rotations.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// How many of the highest bits of each coefficient.
    pub bits: u32,
    /// How many of the first coefficients of each body.
    pub bodies: &'a [usize],
}

impl BlindRotator for BootstrappingKey {
    fn rotate(&self, inputs: &[LweCiphertext], polynomials: &[&GlweCiphertext], _: &Wanted<'_>) -> Vec<GlweCiphertext> {
        self.blind_rotate(inputs, polynomials)
    }
}

impl BootstrappingKey {
    /// Blind rotation of `polynomials[i]` by the phase of `inputs[i]`, in blocks, blocks in parallel:
    /// n·(k+1)·ℓ forward transforms each. The result's constant coefficient is the value looked up.
    ///
    /// # Examples
    /// A polynomial is turned by an encrypted phase: for each bit of the key, a CMUX between it and its rotation. Of V = Σ
    /// v_j·X^j, turned by g steps, the constant coefficient is v_g; g is the phase in 2N steps, up to the error of the
    /// modulus switch.
    /// ```
    /// # use tfhe_core::bootstrapping_key::SeededBootstrappingKey;
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::{GlweCiphertext, GlweSecretKey};
    /// # use tfhe_core::lwe::LweSecretKey;
    /// # use tfhe_core::params::{Gadget, GlweShape, LweDimension, NoiseDistribution, Precision};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # use tfhe_core::torus::{decode, encode};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let (gadget, noise) = (Gadget::new(10, 3, Precision::Single)?, NoiseDistribution::TUniform { bound_log: 17 });
    /// # let big = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let small = LweSecretKey::generate(&mut SecretStream::from_system()?, LweDimension::new(64)?);
    /// # let seed = EncryptionSeed::from_system()?;
    /// # let key = SeededBootstrappingKey::generate(&fft, &small, &big, gadget, noise, seed).prepare(&fft, shape);
    /// # let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
    /// // `shape`, `fft`, `small`, `big`, `key`, `masks` and `noises` as in the example of `SeededBootstrappingKey::generate`.
    /// use tfhe_core::noise;
    ///
    /// // v_j = j: the result says how far it was turned.
    /// let ruler: Vec<u64> = (0..1024).map(|j| encode(j, 11)).collect();
    /// let input = small.encrypt(encode(300, 11), noise, &mut masks, &mut noises);
    /// let turned = &key.blind_rotate(&[input], &[&GlweCiphertext::trivial(shape, &ruler)])[0];
    ///
    /// let steps = decode(big.phase(&fft, turned)[0], 11);
    /// let deviation = noise::modulus_switch(small.dimension(), shape.polynomial_size).std() * 2048.0;
    /// assert!(((steps - 300) as f64).abs() < 8.0 * deviation + 1.0, "{steps}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If the numbers of inputs and polynomials differ, or an input's dimension is not n.
    pub fn blind_rotate(&self, inputs: &[LweCiphertext], polynomials: &[&GlweCiphertext]) -> Vec<GlweCiphertext> {
        assert_eq!(inputs.len(), polynomials.len(), "one polynomial to an input");
        let blocks = block_count(inputs.len(), rayon::current_num_threads());
        let block = |index: usize| {
            let range = index * inputs.len() / blocks..(index + 1) * inputs.len() / blocks;
            self.blind_rotate_block(&inputs[range.clone()], &polynomials[range])
        };
        (0..blocks).into_par_iter().flat_map_iter(block).collect()
    }

    fn blind_rotate_block(&self, inputs: &[LweCiphertext], polynomials: &[&GlweCiphertext]) -> Vec<GlweCiphertext> {
        let (shape, bits) = (self.shape(), self.bits());
        let two_n = 2 * shape.polynomial_size.get();
        let rotations: Vec<ModulusSwitchedLwe> = inputs
            .iter()
            .map(|input| {
                assert_eq!(input.dimension(), bits.len(), "an LWE ciphertext of the key's dimension");
                modulus_switch(input, shape.polynomial_size)
            })
            .collect();
        let mut accumulators: Vec<Accumulator> = polynomials
            .iter()
            .zip(&rotations)
            .map(|(p, rotation)| Accumulator::new(p.data(), shape.polynomial_size, two_n - rotation.body()))
            .collect();
        let scratch = &mut bits[0].scratch(self.fft());
        for (i, bit) in bits.iter().enumerate() {
            // Each product fetches its share of the next bit's key.
            let next = bits.get(i + 1).map_or(&[][..], |bit| bit.rows().data());
            let mut shares = next.chunks(next.len().div_ceil(accumulators.len()).max(1));
            for (accumulator, rotation) in accumulators.iter_mut().zip(&rotations) {
                let share = shares.next().unwrap_or_default();
                if rotation.mask()[i] != 0 {
                    bit.cmux_rotation(share, self.fft(), rotation.mask()[i], accumulator, scratch);
                }
            }
        }
        let mut outputs = vec![GlweCiphertext::zero(shape); inputs.len()];
        outputs.iter_mut().zip(&accumulators).for_each(|(out, accumulator)| accumulator.copy_to(out.data_mut()));
        outputs
    }
}

/// Into how many blocks so many ciphertexts are split, nearly of one size: as many for each thread, so that none waits for one that has a block
/// more, or that has but a rest to do.
fn block_count(ciphertexts: usize, threads: usize) -> usize {
    ciphertexts.div_ceil(BLIND_ROTATION_BLOCK).next_multiple_of(threads).min(ciphertexts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrapping_key::SeededBootstrappingKey;
    use crate::lwe::LweSecretKey;
    use crate::noise::tests::assert_variance;
    use crate::params::{Gadget, NoiseDistribution, Precision};
    use crate::programmable_bootstrap::{half_slot, table_accumulator};
    use crate::{noise, torus};

    #[test]
    fn threads_have_as_many_blocks_each() {
        let counts =
            [(0, 2), (1, 2), (2, 2), (9, 2), (16, 2), (17, 2), (129, 2), (256, 2), (100, 64), (5, 64), (129, 1)];
        let counts = counts.map(|(ciphertexts, threads)| block_count(ciphertexts, threads));
        assert_eq!(counts, [0, 1, 2, 2, 2, 4, 18, 32, 64, 5, 17]);
    }

    /// The variance at small dimensions, for which a hundred thousand CMUX take a second; the named sets are measured by the
    /// integration tests.
    #[test]
    fn blind_rotation_has_the_predicted_noise() {
        let setup = crate::testing::Setup::new(1, 512);
        let lwe = crate::params::LweDimension::new(100).unwrap();
        for (base_log, levels, precision) in [(12, 2, Precision::Single), (6, 6, Precision::Split)] {
            let gadget = Gadget::new(base_log, levels, precision).unwrap();
            let values: Vec<u64> = (0..4_u64).map(|m| m << 60).collect();
            let accumulator = table_accumulator(setup.key.shape(), &values);
            let quiet = NoiseDistribution::TUniform { bound_log: 20 };
            let big = setup.key.extracted_lwe_key();
            let mut errors = Vec::new();
            // Rounding errors count where the small key's bits are ones, half of them, more or less: several keys.
            for number in 0..6 {
                let small = LweSecretKey::generate(&mut setup.seed.experiment_bits(100 + number), lwe);
                let seed = setup.seed.experiment(100 + number);
                let key = SeededBootstrappingKey::generate(&setup.fft, &small, &setup.key, gadget, setup.noise, seed)
                    .prepare(&setup.fft, setup.key.shape());
                let (mut masks, mut noises) = setup.seed.experiment(200 + number).into_streams();
                let inputs: Vec<LweCiphertext> = (0..200_u64)
                    .map(|i| small.encrypt(((i % 4) << 61) + half_slot(2), quiet, &mut masks, &mut noises))
                    .collect();
                let outputs = key.programmable_bootstrap(&inputs, &vec![&accumulator; inputs.len()]);
                let error = |(i, output)| torus::to_f64(big.phase(output).wrapping_sub(values[i % 4]));
                errors.extend(outputs.iter().enumerate().map(error));
            }
            let predicted = noise::blind_rotation(
                gadget.on(setup.fft.transforms()),
                setup.key.shape(),
                lwe,
                setup.noise.variance(),
            );
            // 1200 samples: one standard error of the variance is 4.1 %; that of six keys of 100 bits is as much again.
            assert_variance(&format!("blind rotation {gadget:?}"), &errors, predicted, 0.25);
        }
    }
}
