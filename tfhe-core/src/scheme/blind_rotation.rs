//! Blind rotation: `X^(−φ̃)·V`, for an encrypted angle φ̃.
//!
//! The phase `φ̃ = b̃ − Σ ã_i·s_i` of an LWE ciphertext, rounded to a multiple of 1/2N by the modulus switch, turns an accumulator,
//! which begins as `X^(−b̃)·V`: for each bit of the key a CMUX chooses between it and X^(ã_i) times it (Ducas, Micciancio,
//! Eurocrypt 2015; Chillotti et al., J. Cryptology 2020, Algorithm 3). V is a polynomial, trivial or encrypted; the result's
//! noise is that of V and of n CMUXes ([`crate::noise::blind_rotation`]), whatever that of the LWE ciphertext was.
//!
//! With a key of pairs ([`crate::params::Grouping::Two`]) a step takes two bits: of X^(a_1·s_1 + a_2·s_2) there are four values, and
//! `1 + s_1(1 − s_2)·(X^(a_1) − 1) + (1 − s_1)s_2·(X^(a_2) − 1) + s_1·s_2·(X^(a_1 + a_2) − 1)` is the right one. So the accumulator is multiplied
//! with three GGSW ciphertexts; its digits are transformed once for all of them, and in the Fourier domain, where a power of X is a
//! number at each place, the three products become one sum to be transformed back (Zhou and others, IEEE Access 6, 2018; Bourse, Minelli,
//! Minihold, Paillier, Crypto 2018).
//!
//! In the book: [chapter 5, bootstrapping](../../../book/05-bootstrapping.html).

use rayon::prelude::*;

use crate::bootstrapping_key::{BootstrappingKey, Steps};
use crate::cmux::Accumulator;
use crate::fft::{CIPHERTEXTS, TERMS};
use crate::gadget_product::FourierTriple;
use crate::ggsw::FourierGgsw;
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
    /// (k+1)·ℓ forward transforms for each of n steps, or of n/2. The result's constant coefficient is the value looked up.
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
        let (dimension, size) = (self.lwe_dimension(), self.shape().polynomial_size);
        let rotations: Vec<ModulusSwitchedLwe> = inputs
            .iter()
            .map(|input| {
                assert_eq!(input.dimension(), dimension.get(), "an LWE ciphertext of the key's dimension");
                modulus_switch(input, size)
            })
            .collect();
        match self.steps() {
            Steps::Bits(bits) => self.by_bits(bits, &rotations, polynomials),
            Steps::Pairs { first, later } => self.by_pairs(first, later, &rotations, polynomials),
        }
    }

    /// A CMUX for each bit.
    fn by_bits(
        &self,
        bits: &[FourierGgsw],
        rotations: &[ModulusSwitchedLwe],
        polynomials: &[&GlweCiphertext],
    ) -> Vec<GlweCiphertext> {
        let size = self.shape().polynomial_size;
        let accumulator = |(polynomial, rotation): (&&GlweCiphertext, &ModulusSwitchedLwe)| {
            Accumulator::new(polynomial.data(), size, 2 * size.get() - rotation.body())
        };
        let mut accumulators: Vec<Accumulator> = polynomials.iter().zip(rotations).map(accumulator).collect();
        let scratch = &mut self.scratch();
        for (i, bit) in bits.iter().enumerate() {
            // Each product fetches its share of the next bit's key.
            let next = bits.get(i + 1).map_or(&[][..], |bit| bit.rows().data());
            let mut shares = shares(next, accumulators.len());
            for (accumulator, rotation) in accumulators.iter_mut().zip(rotations) {
                let share = shares.next().unwrap_or_default();
                if rotation.mask()[i] != 0 {
                    bit.cmux_rotation(share, self.fft(), rotation.mask()[i], accumulator, scratch);
                }
            }
        }
        let mut outputs = vec![GlweCiphertext::zero(self.shape()); rotations.len()];
        outputs.iter_mut().zip(&accumulators).for_each(|(out, accumulator)| accumulator.copy_to(out.data_mut()));
        outputs
    }

    /// Three products for each pair of bits, of a few ciphertexts together; but for the first pair, whose bits take a CMUX each.
    ///
    /// A table in the clear is smooth: what is multiplied first has most of its energy in few frequencies, the lowest, and so have the rounding
    /// errors of products with X^e − 1, which are as large as what is multiplied, place by place. Those of masks then meet the key,
    /// of which the lowest frequencies are largest: by a product of pairs, ten times the noise of a step. A CMUX has hardly any roundings
    /// between its transforms, and after it masks are as random as those of any ciphertext.
    fn by_pairs(
        &self,
        first: &[FourierGgsw],
        later: &[FourierTriple],
        rotations: &[ModulusSwitchedLwe],
        polynomials: &[&GlweCiphertext],
    ) -> Vec<GlweCiphertext> {
        let (len, two_n) = (self.shape().ciphertext_len(), 2 * self.shape().polynomial_size.get());
        let mut outputs = self.by_bits(&first[..first.len().min(self.lwe_dimension().get())], rotations, polynomials);
        let mut accumulators: Vec<u64> = outputs.iter().flat_map(|output| output.data()).copied().collect();
        let scratch = &mut self.scratch();
        for (i, pair) in later.iter().enumerate() {
            let next = later.get(i + 1).map_or(&[][..], FourierTriple::data);
            let mut shares = shares(next, rotations.len().div_ceil(CIPHERTEXTS));
            let at = first.len() + 2 * i;
            for (accumulators, rotations) in
                accumulators.chunks_mut(CIPHERTEXTS * len).zip(rotations.chunks(CIPHERTEXTS))
            {
                let mut exponents = [[0; TERMS]; CIPHERTEXTS];
                for (exponents, rotation) in exponents.iter_mut().zip(rotations) {
                    let mask = rotation.mask();
                    let (first, second) = (mask[at], mask.get(at + 1).copied().unwrap_or(0));
                    *exponents = [first, second, (first + second) % two_n];
                }
                let exponents = &exponents[..rotations.len()];
                pair.turn(shares.next().unwrap_or_default(), self.fft(), exponents, accumulators, scratch);
            }
        }
        outputs.iter_mut().zip(accumulators.chunks_exact(len)).for_each(|(out, x)| out.data_mut().copy_from_slice(x));
        outputs
    }
}

/// `next` in so many pieces.
fn shares(next: &[f64], count: usize) -> std::slice::Chunks<'_, f64> {
    next.chunks(next.len().div_ceil(count).max(1))
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
    use crate::params::{Gadget, Grouping, NoiseDistribution, Precision};
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
        for (base_log, levels, precision, grouping) in [
            (12, 2, Precision::Single, Grouping::One),
            (6, 6, Precision::Split, Grouping::One),
            // Rows tell most of it, or rounding.
            (12, 2, Precision::Single, Grouping::Two),
            (5, 3, Precision::Single, Grouping::Two),
        ] {
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
                let kind = (gadget, grouping);
                let key =
                    SeededBootstrappingKey::generate_grouped(&setup.fft, &small, &setup.key, kind, setup.noise, seed)
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
                grouping,
                setup.key.shape(),
                lwe,
                setup.noise.variance(),
            );
            // 1200 samples: one standard error of the variance is 4.1 %; that of six keys of 100 bits is as much again.
            assert_variance(&format!("blind rotation {gadget:?}, {grouping:?}"), &errors, predicted, 0.25);
        }
    }

    /// Keys of as many bits as groups take, and of one more; one ciphertext, as many as are turned together, and others.
    #[test]
    fn pairs_of_bits_turn_as_far_as_bits_do() {
        let setup = crate::testing::Setup::new(2, 64);
        let gadget = Gadget::new(8, 4, Precision::Single).unwrap();
        let ruler: Vec<u64> = (0..64).map(|j| torus::encode(j, 8)).collect();
        let ruler = GlweCiphertext::trivial(setup.key.shape(), &ruler);
        for bits in [1, 2, 9, 16] {
            let lwe = crate::params::LweDimension::new(bits).unwrap();
            let small = LweSecretKey::generate(&mut setup.seed.experiment_bits(bits as u64), lwe);
            let [by_bits, by_pairs] = [Grouping::One, Grouping::Two].map(|grouping| {
                let (kind, seed) = ((gadget, grouping), setup.seed.experiment(bits as u64));
                SeededBootstrappingKey::generate_grouped(&setup.fft, &small, &setup.key, kind, setup.noise, seed)
                    .prepare(&setup.fft, setup.key.shape())
            });
            let (mut masks, mut noises) = setup.seed.experiment(300).into_streams();
            for count in [1, 2, 3, 11] {
                let quiet = NoiseDistribution::TUniform { bound_log: 20 };
                let inputs: Vec<_> = (0..count)
                    .map(|i| small.encrypt(torus::encode(i * 11 % 64, 7), quiet, &mut masks, &mut noises))
                    .collect();
                let polynomials = vec![&ruler; inputs.len()];
                let read = |outputs: Vec<GlweCiphertext>| -> Vec<Vec<i64>> {
                    let phases = outputs.iter().map(|output| setup.key.phase(&setup.fft, output));
                    phases.map(|phase| phase.iter().map(|&x| torus::decode(x, 8)).collect()).collect()
                };
                let turned = read(by_pairs.blind_rotate(&inputs, &polynomials));
                assert_eq!(turned, read(by_bits.blind_rotate(&inputs, &polynomials)), "{bits} bits, {count} inputs");
            }
        }
    }

    /// Of pairs, two ciphertexts go through a product together, or one alone.
    #[test]
    fn a_result_has_the_same_bits_in_any_company() {
        let setup = crate::testing::Setup::new(1, 512);
        let (gadget, lwe) =
            (Gadget::new(12, 2, Precision::Single).unwrap(), crate::params::LweDimension::new(11).unwrap());
        let small = LweSecretKey::generate(&mut setup.seed.experiment_bits(7), lwe);
        let (mut masks, mut noises) = setup.seed.experiment(8).into_streams();
        let loud = NoiseDistribution::TUniform { bound_log: 60 };
        let inputs: Vec<_> = (0..21).map(|i| small.encrypt(i << 58, loud, &mut masks, &mut noises)).collect();
        let polynomial = setup.encrypt(&[1 << 60; 512], 9);
        let polynomials = vec![&polynomial; inputs.len()];
        for grouping in [Grouping::One, Grouping::Two] {
            let (kind, seed) = ((gadget, grouping), setup.seed.experiment(7));
            let key = SeededBootstrappingKey::generate_grouped(&setup.fft, &small, &setup.key, kind, setup.noise, seed)
                .prepare(&setup.fft, setup.key.shape());
            let together = key.blind_rotate(&inputs, &polynomials);
            for (i, input) in inputs.iter().enumerate() {
                let alone = key.blind_rotate(std::slice::from_ref(input), &[&polynomial]);
                assert!(alone[0] == together[i], "{grouping:?}, input {i}");
            }
        }
    }
}
