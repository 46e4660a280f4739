//! Programmable bootstrapping.
//!
//! A blind rotation multiplies a polynomial V, trivial or encrypted, by X^(−φ̃), where φ̃ is the phase of an LWE
//! ciphertext rounded to a multiple of 1/2N; its constant coefficient is then the φ̃-th coefficient of V: a table lookup that
//! leaves fresh noise (Ducas, Micciancio, Eurocrypt 2015; Chillotti et al., J. Cryptology 2020, Algorithms 3–4). Since
//! X^N = −1 the function read is negacyclic: f(φ + 1/2) = −f(φ).
//!
//! # Modulus switch with mean compensation
//! Rounding the mask leaves errors δ_i; they add Σ δ_i·s_i to the phase, whose mean over the secret, Σ δ_i/2, is known
//! and is taken off the body. What remains has half the variance (de Ruijter, D'Anvers, Verbauwhede, ePrint 2025/809).

use rayon::prelude::*;

use crate::fft::NegacyclicFft;
use crate::gadget::{FourierRows, GadgetScratch, RotatedPolynomials};
use crate::ggsw::{RowGenerator, SeededRows};
use crate::glwe::{GlweCiphertext, GlweSecretKey};
use crate::lwe::{LweCiphertext, LweSecretKey};
use crate::params::{Gadget, GlweShape, LweDimension, NoiseDistribution, PolynomialSize};
use crate::random::{EncryptionSeed, PublicSeed};

/// How many ciphertexts go through a blind rotation together: each element of the key is read once for all of them.
pub const BOOTSTRAP_BLOCK: usize = 8;

/// An LWE ciphertext modulo 2N: how far to rotate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    mask: Vec<usize>,
    body: usize,
}

/// Rounds a ciphertext to multiples of 1/2N, with mean compensation. O(n).
pub fn switch_modulus(ciphertext: &LweCiphertext, polynomial_size: PolynomialSize) -> Rotation {
    let bits = polynomial_size.log2() + 1;
    let wrap = (1_usize << bits) - 1;
    let round = |x: u64| crate::torus::switch_modulus(x, bits) as usize & wrap;
    let mut error_sum = 0_i64;
    let mask = ciphertext
        .mask()
        .iter()
        .map(|&a| {
            let rounded = round(a);
            error_sum += a.wrapping_sub((rounded as u64) << (64 - bits)) as i64;
            rounded
        })
        .collect();
    Rotation { mask, body: round(ciphertext.body().wrapping_sub((error_sum / 2) as u64)) }
}

/// A bootstrapping key as stored: a GGSW encryption of each bit of an LWE key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeededBootstrappingKey {
    bits: Vec<SeededRows>,
}

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

    /// Bytes as stored.
    pub fn bytes(&self) -> usize {
        self.bits.iter().map(SeededRows::bytes).sum::<usize>() + size_of::<PublicSeed>()
    }

    /// Transforms the key for use with plan `fft`, releasing the stored one as it goes.
    pub fn prepare(self, fft: &NegacyclicFft, shape: GlweShape) -> BootstrappingKey {
        /// How many bits are prepared in parallel before they are moved to where they stay.
        const CHUNK: usize = 64;
        let (count, mut rest) = (self.bits.len(), self.bits);
        let chunks = std::iter::from_fn(|| {
            let later = rest.split_off(rest.len().min(CHUNK));
            let chunk = std::mem::replace(&mut rest, later);
            (!chunk.is_empty()).then(|| chunk.into_par_iter().map(|bit| bit.prepare(fft)).collect::<Vec<_>>())
        });
        BootstrappingKey { fft: fft.clone(), shape, bits: FourierRows::gather(count, chunks.flatten()) }
    }
}

/// A bootstrapping key in the Fourier domain.
#[derive(Clone, Debug)]
pub struct BootstrappingKey {
    fft: NegacyclicFft,
    shape: GlweShape,
    bits: Vec<FourierRows>,
}

impl BootstrappingKey {
    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.bits.iter().map(FourierRows::bytes).sum()
    }

    /// (β, ℓ).
    pub fn gadget(&self) -> Gadget {
        self.bits[0].gadget()
    }

    /// k and N.
    pub fn shape(&self) -> GlweShape {
        self.shape
    }

    /// n.
    pub fn lwe_dimension(&self) -> LweDimension {
        LweDimension::new(self.bits.len()).expect("a key has the dimension it was made with")
    }

    /// Blind rotation of `polynomials[i]` by the phase of `inputs[i]`, in blocks, blocks in parallel:
    /// n·(k+1)·ℓ forward transforms each. The result's constant coefficient is the value looked up.
    ///
    /// # Panics
    /// If the numbers of inputs and polynomials differ, or an input's dimension is not n.
    pub fn blind_rotate(&self, inputs: &[LweCiphertext], polynomials: &[&GlweCiphertext]) -> Vec<GlweCiphertext> {
        assert_eq!(inputs.len(), polynomials.len(), "one polynomial to an input");
        let block = inputs.len().div_ceil(rayon::current_num_threads()).clamp(1, BOOTSTRAP_BLOCK);
        inputs
            .par_chunks(block)
            .zip(polynomials.par_chunks(block))
            .flat_map_iter(|(inputs, polynomials)| self.blind_rotate_block(inputs, polynomials))
            .collect()
    }

    fn blind_rotate_block(&self, inputs: &[LweCiphertext], polynomials: &[&GlweCiphertext]) -> Vec<GlweCiphertext> {
        let two_n = 2 * self.shape.polynomial_size.get();
        let rotations: Vec<Rotation> = inputs
            .iter()
            .map(|input| {
                assert_eq!(input.dimension(), self.bits.len(), "an LWE ciphertext of the key's dimension");
                switch_modulus(input, self.shape.polynomial_size)
            })
            .collect();
        let mut accumulators: Vec<RotatedPolynomials> = polynomials
            .iter()
            .zip(&rotations)
            .map(|(p, rotation)| RotatedPolynomials::new(p.data(), self.shape.polynomial_size, two_n - rotation.body))
            .collect();
        let scratch = &mut GadgetScratch::new(&self.fft, self.gadget(), self.shape.dimension.get() + 1);
        for (i, bit) in self.bits.iter().enumerate() {
            // Each product fetches its share of the next bit's key.
            let next = self.bits.get(i + 1).map_or(&[][..], FourierRows::data);
            let mut shares = next.chunks(next.len().div_ceil(accumulators.len()).max(1));
            for (accumulator, rotation) in accumulators.iter_mut().zip(&rotations) {
                let share = shares.next().unwrap_or_default();
                if rotation.mask[i] != 0 {
                    bit.rotate_if(share, &self.fft, rotation.mask[i], accumulator, scratch);
                }
            }
        }
        let mut outputs = vec![GlweCiphertext::zero(self.shape); inputs.len()];
        outputs.iter_mut().zip(&accumulators).for_each(|(out, accumulator)| accumulator.copy_to(out.data_mut()));
        outputs
    }

    /// Programmable bootstrapping: blind rotation, then extraction of the constant coefficient as an LWE ciphertext of
    /// dimension kN.
    pub fn bootstrap(&self, inputs: &[LweCiphertext], polynomials: &[&GlweCiphertext]) -> Vec<LweCiphertext> {
        self.blind_rotate(inputs, polynomials).iter().map(|out| out.extract(0)).collect()
    }
}

/// The polynomial that tabulates `values` over the half torus: value m, of 2^p, is read where the phase lies in
/// [m, m+1)/2^(p+1). A phase of m/2^(p+1) must be moved to the middle of that slot first, by [`half_slot`].
///
/// # Panics
/// If the number of values is not a power of two up to N.
pub fn table_polynomial(polynomial_size: PolynomialSize, values: &[u64]) -> Vec<u64> {
    let n = polynomial_size.get();
    assert!(values.len().is_power_of_two() && values.len() <= n, "a power of two of values, at most N");
    let slot = n / values.len();
    (0..n).map(|j| values[j / slot]).collect()
}

/// Half a slot of a table of 2^p values over the half torus: 1/2^(p+2).
pub fn half_slot(p: u32) -> u64 {
    1 << (62 - p)
}

/// The trivial ciphertext of [`table_polynomial`].
pub fn table_accumulator(shape: GlweShape, values: &[u64]) -> GlweCiphertext {
    GlweCiphertext::trivial(shape, &table_polynomial(shape.polynomial_size, values))
}

/// Many functions of one input for one blind rotation: `tables` (a power of two of them) of 2^p values each, interleaved
/// so that function i's value is coefficient i after a rotation by a multiple of the number of tables
/// (Chillotti, Ligier, Orfila, Tap, ePrint 2021/729, section 4.2). Blind rotate with
/// [`BootstrappingKey::blind_rotate_many_tables`].
///
/// # Panics
/// If the tables differ in length, or their number or length is not a power of two, or they do not fit N.
pub fn many_tables_polynomial(polynomial_size: PolynomialSize, tables: &[Vec<u64>]) -> Vec<u64> {
    let (n, count) = (polynomial_size.get(), tables.len());
    let values = tables[0].len();
    assert!(tables.iter().all(|table| table.len() == values), "tables of one length");
    assert!(count.is_power_of_two() && values.is_power_of_two() && count * values <= n, "tables that fit N");
    let slot = n / values;
    (0..n).map(|j| tables[j % count][j / slot]).collect()
}

impl BootstrappingKey {
    /// The values of 2^`log_tables` functions of each input, for one blind rotation: see [`many_tables_polynomial`]. The phase
    /// is rounded to a multiple of 2^log_tables/2N, so that much coarser.
    pub fn blind_rotate_many_tables(
        &self,
        inputs: &[LweCiphertext],
        polynomial: &GlweCiphertext,
        log_tables: u32,
    ) -> Vec<Vec<LweCiphertext>> {
        let coarse = PolynomialSize::new(self.shape.polynomial_size.get() >> log_tables).expect("tables that fit N");
        let scaled: Vec<LweCiphertext> = inputs
            .iter()
            .map(|input| {
                // Exact multiples of 2^log_tables/2N: rounded once here, unchanged by the switch to 2N.
                let rotation = switch_modulus(input, coarse);
                let shift = 63 - coarse.log2();
                let data = rotation.mask.iter().chain([&rotation.body]).map(|&x| (x as u64) << shift).collect();
                LweCiphertext::from_data(data)
            })
            .collect();
        let polynomials = vec![polynomial; inputs.len()];
        let count = 1 << log_tables;
        self.blind_rotate(&scaled, &polynomials)
            .iter()
            .map(|out| (0..count).map(|i| out.extract(i)).collect())
            .collect()
    }
}

/// Parts, for [`crate::raw`].
impl SeededBootstrappingKey {
    /// The GGSW encryption of each bit.
    pub(crate) fn bits(&self) -> &[SeededRows] {
        &self.bits
    }
}

/// Parts, for [`crate::raw`].
impl BootstrappingKey {
    pub(crate) fn from_bits(fft: &NegacyclicFft, shape: GlweShape, bits: Vec<FourierRows>) -> Self {
        Self { fft: fft.clone(), shape, bits: FourierRows::gather(bits.len(), bits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::derivation::ClientSeed;
    use crate::noise::tests::assert_variance;
    use crate::params::Precision;
    use crate::random::SecretSeed;
    use crate::{noise, sets, torus};

    /// The variance at small dimensions, for which a hundred thousand CMUX take a second; the named sets are measured by the
    /// integration tests.
    #[test]
    fn blind_rotation_has_the_predicted_noise() {
        let setup = crate::testing::Setup::new(1, 512);
        let lwe = crate::params::LweDimension::new(100).unwrap();
        let small = LweSecretKey::generate(&mut setup.seed.experiment_bits(4), lwe);
        for (base_log, levels, precision) in [(12, 2, Precision::Single), (6, 6, Precision::Split)] {
            let gadget = Gadget::new(base_log, levels, precision).unwrap();
            let key = SeededBootstrappingKey::generate(
                &setup.fft,
                &small,
                &setup.key,
                gadget,
                setup.noise,
                setup.seed.experiment(4),
            )
            .prepare(&setup.fft, setup.key.shape());
            let values: Vec<u64> = (0..4_u64).map(|m| m << 60).collect();
            let accumulator = table_accumulator(setup.key.shape(), &values);
            let (mut masks, mut noises) = setup.seed.experiment(7).into_streams();
            let quiet = NoiseDistribution::TUniform { bound_log: 20 };
            let inputs: Vec<LweCiphertext> = (0..600_u64)
                .map(|i| small.encrypt(((i % 4) << 61) + half_slot(2), quiet, &mut masks, &mut noises))
                .collect();
            let outputs = key.bootstrap(&inputs, &vec![&accumulator; inputs.len()]);
            let big = setup.key.extracted_lwe_key();
            let errors: Vec<f64> = outputs
                .iter()
                .enumerate()
                .map(|(i, output)| torus::to_f64(big.phase(output).wrapping_sub(values[i % 4])))
                .collect();
            let predicted = noise::blind_rotation(
                gadget.on(setup.fft.transforms()),
                setup.key.shape(),
                lwe,
                setup.noise.variance(),
            );
            // 600 samples: one standard error of the variance is 5.8 %.
            assert_variance(&format!("blind rotation {gadget:?}"), &errors, predicted, 0.25);
        }
    }

    #[test]
    fn toy_set_reads_every_value() {
        let parameters = sets::TOY.compile().unwrap();
        let keys = crate::keys::ClientKeys::generate(&parameters, &ClientSeed::from_number(1));
        let server = keys.evaluation_keys(&[0], false).prepare();
        let table = [3, 0, 2, 1];
        let values: Vec<u64> = table.iter().map(|&v: &u64| v << 61).collect();
        let accumulator = table_accumulator(parameters.glwe_shape(), &values);
        let big = keys.glwe_key().extracted_lwe_key();
        let (mut masks, mut noises) = SecretSeed::from_number(7).experiment(0).into_streams();
        for message in 0..4_u64 {
            let input = big.encrypt((message << 61) + half_slot(2), parameters.glwe_noise(), &mut masks, &mut noises);
            let switched = server.keyswitch().switch(&[input]);
            let output = &server.bootstrapping_key(0).bootstrap(&switched, &[&accumulator])[0];
            assert_eq!(torus::switch_modulus(big.phase(output), 3) % 8, table[message as usize]);
        }
    }

    /// Four functions of a 2-bit input for one blind rotation, every input.
    #[test]
    fn many_tables_are_read_by_one_rotation() {
        let setup = crate::testing::Setup::new(1, 1024);
        let lwe = crate::params::LweDimension::new(60).unwrap();
        let small = LweSecretKey::generate(&mut setup.seed.experiment_bits(4), lwe);
        let gadget = Gadget::new(10, 3, Precision::Single).unwrap();
        let key = SeededBootstrappingKey::generate(
            &setup.fft,
            &small,
            &setup.key,
            gadget,
            setup.noise,
            setup.seed.experiment(4),
        )
        .prepare(&setup.fft, setup.key.shape());
        let value = |table: u64, m: u64| (table * 7 + m * 3) % 16;
        let tables: Vec<Vec<u64>> = (0..4).map(|t| (0..4).map(|m| value(t, m) << 60).collect()).collect();
        let polynomial = many_tables_polynomial(setup.key.shape().polynomial_size, &tables);
        let accumulator = GlweCiphertext::trivial(setup.key.shape(), &polynomial);
        let (mut masks, mut noises) = setup.seed.experiment(8).into_streams();
        let quiet = NoiseDistribution::TUniform { bound_log: 20 };
        let inputs: Vec<LweCiphertext> =
            (0..4_u64).map(|m| small.encrypt((m << 61) + half_slot(2), quiet, &mut masks, &mut noises)).collect();
        let outputs = key.blind_rotate_many_tables(&inputs, &accumulator, 2);
        let big = setup.key.extracted_lwe_key();
        for (m, outputs) in outputs.iter().enumerate() {
            for (table, output) in outputs.iter().enumerate() {
                let read = torus::switch_modulus(big.phase(output), 4) % 16;
                assert_eq!(read, value(table as u64, m as u64), "table {table} at {m}");
            }
        }
    }

    #[test]
    fn mean_compensation_halves_the_variance_of_the_modulus_switch() {
        let n = crate::params::PolynomialSize::new(1024).unwrap();
        let lwe = crate::params::LweDimension::new(600).unwrap();
        let seed = SecretSeed::from_number(3);
        let key = LweSecretKey::generate(&mut seed.experiment_bits(0), lwe);
        let (mut masks, mut noises) = seed.experiment(0).into_streams();
        let quiet = NoiseDistribution::TUniform { bound_log: 4 };
        let errors: Vec<f64> = (0..20_000)
            .map(|_| {
                let input = key.encrypt(1 << 61, quiet, &mut masks, &mut noises);
                let rotation = switch_modulus(&input, n);
                let sum: usize = rotation.mask.iter().zip(key.bits()).map(|(&a, &s)| a * s as usize).sum();
                let phase = (rotation.body as u64).wrapping_sub(sum as u64) << 53;
                torus::to_f64(phase.wrapping_sub(1 << 61))
            })
            .collect();
        assert_variance("modulus switch", &errors, noise::modulus_switch(lwe, n), 0.06);
    }
}
