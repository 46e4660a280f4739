//! LWE key switching, and packing LWE ciphertexts into a GLWE ciphertext by a key switch.
//!
//! A key-switching key from s' (n' bits) to s holds, for each bit s'_i and each gadget level j, an encryption of
//! s'_i·q/β^j under s. The switch subtracts Σ digits(a_i)·key_i from the trivial ciphertext of b
//! (Chillotti et al., J. Cryptology 2020, Algorithm 2; the variances in [`crate::noise`]).

use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::decomposition::decompose;
use crate::fft::NegacyclicFft;
use crate::glwe::{GlweCiphertext, GlweSecretKey};
use crate::lwe::{LweCiphertext, LweSecretKey};
use crate::params::{Gadget, GlweShape, LweDimension, NoiseDistribution};
use crate::random::{EncryptionSeed, PublicSeed};
use crate::simd::packed::{MAXIMUM_BASE_LOG, PackedMatrix};

/// How many ciphertexts are switched together: the key is read once per block, and a block's digits and results stay in
/// the second-level cache.
pub const KEYSWITCH_BLOCK: usize = 32;

/// A key-switching key as it is stored and sent: the seed of its masks, and its bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeededLweKeyswitchKey {
    input: LweDimension,
    output: LweDimension,
    gadget: Gadget,
    seed: PublicSeed,
    /// `[n'][ℓ]`
    bodies: Vec<u64>,
    /// Whether 32 bits of each number are enough.
    narrow: bool,
}

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

    /// Bytes as stored.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.bodies) + size_of::<PublicSeed>()
    }

    /// Expands the masks. A key whose noise hides that is rounded to 32 bits.
    pub fn expand(&self) -> LweKeyswitchKey {
        let (levels, columns) = (self.gadget.levels(), self.output.get() + 1);
        let rows = if self.narrow {
            // Two input bits are an even number of rows.
            let panel_bits = 2 * (PANEL_ROWS / (2 * levels)).max(1);
            let mut matrix = PackedMatrix::zeros(self.bodies.len(), columns, panel_bits * levels);
            let panels: Vec<_> = matrix.panels_mut().zip(self.bodies.chunks(panel_bits * levels)).collect();
            panels.into_par_iter().enumerate().for_each_init(Vec::new, |rows, (p, (panel, bodies))| {
                rows.resize(bodies.len() * columns, 0);
                self.expand_rows(p * panel_bits, bodies, rows);
                PackedMatrix::pack(rows, columns, panel);
            });
            Rows::Narrow(matrix)
        } else {
            Rows::Wide(self.all_rows())
        };
        LweKeyswitchKey { input: self.input, output: self.output, gadget: self.gadget, rows }
    }

    /// The rows `[n'][ℓ][n+1]`, not rounded.
    pub(crate) fn all_rows(&self) -> Vec<u64> {
        let (levels, columns) = (self.gadget.levels(), self.output.get() + 1);
        let mut rows = vec![0; self.bodies.len() * columns];
        let bits = rows.par_chunks_exact_mut(levels * columns).zip(self.bodies.par_chunks_exact(levels));
        bits.enumerate().for_each(|(i, (rows, bodies))| self.expand_rows(i, bodies, rows));
        rows
    }

    /// The rows `[bits][ℓ][n+1]` of input bits `first_bit` and following, with the given bodies.
    fn expand_rows(&self, first_bit: usize, bodies: &[u64], rows: &mut [u64]) {
        let (levels, columns) = (self.gadget.levels(), self.output.get() + 1);
        for (i, (rows, bodies)) in rows.chunks_exact_mut(levels * columns).zip(bodies.chunks_exact(levels)).enumerate()
        {
            let masks = &mut self.seed.mask_stream((first_bit + i) as u64);
            for (row, &body) in rows.chunks_exact_mut(columns).zip(bodies) {
                let (last, mask) = row.split_last_mut().expect("a row has a body");
                masks.fill_uniform(mask);
                *last = body;
            }
        }
    }
}

/// About how many rows of a key stay in the first-level cache for all ciphertexts of a block, 16 columns at a time.
const PANEL_ROWS: usize = 256;

/// A key-switching key, ready for use.
#[derive(Clone)]
pub struct LweKeyswitchKey {
    input: LweDimension,
    output: LweDimension,
    gadget: Gadget,
    rows: Rows,
}

/// `[n'][ℓ][n+1]`
#[derive(Clone)]
enum Rows {
    Wide(Vec<u64>),
    Narrow(PackedMatrix),
}

impl LweKeyswitchKey {
    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        match &self.rows {
            Rows::Wide(rows) => size_of_val(&**rows),
            Rows::Narrow(matrix) => matrix.bytes(),
        }
    }

    /// Switches every ciphertext from dimension n' to n, in blocks that read the key once, blocks in parallel.
    /// O(n'·ℓ·n) each.
    ///
    /// # Panics
    /// If a ciphertext's dimension is not n'.
    pub fn switch(&self, inputs: &[LweCiphertext]) -> Vec<LweCiphertext> {
        // Small batches are spread over the threads rather than put into one block.
        let block = inputs.len().div_ceil(rayon::current_num_threads()).clamp(1, KEYSWITCH_BLOCK);
        inputs.par_chunks(block).flat_map_iter(|block| self.switch_block(block)).collect()
    }

    fn switch_block(&self, inputs: &[LweCiphertext]) -> Vec<LweCiphertext> {
        let (levels, columns) = (self.gadget.levels(), self.output.get() + 1);
        let depth = self.input.get() * levels;
        let mut digits = vec![0_i32; inputs.len() * depth];
        let mut by_level = vec![0_i32; depth];
        let mut out = vec![0_u64; inputs.len() * columns];
        for ((input, digits), out) in
            inputs.iter().zip(digits.chunks_exact_mut(depth)).zip(out.chunks_exact_mut(columns))
        {
            assert_eq!(input.dimension(), self.input.get(), "an LWE ciphertext of the key's input dimension");
            decompose(input.mask(), self.gadget, &mut by_level);
            // From [ℓ][n'] to the key's order [n'][ℓ].
            for (i, row) in digits.chunks_exact_mut(levels).enumerate() {
                row.iter_mut().enumerate().for_each(|(level, d)| *d = by_level[level * self.input.get() + i]);
            }
            out[columns - 1] = input.body();
        }
        match &self.rows {
            Rows::Wide(rows) => crate::simd::matrix::multiply_subtract(&digits, rows, &mut out, columns),
            Rows::Narrow(matrix) => matrix.multiply_subtract(&digits, &mut out),
        }
        out.chunks_exact(columns).map(|data| LweCiphertext::from_data(data.to_vec())).collect()
    }
}

impl std::fmt::Debug for LweKeyswitchKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LweKeyswitchKey({} -> {}, {:?})", self.input.get(), self.output.get(), self.gadget)
    }
}

/// Parts, for [`crate::raw`].
impl LweKeyswitchKey {
    /// From rows `[n'][ℓ][n+1]`.
    pub(crate) fn from_rows(input: LweDimension, output: LweDimension, gadget: Gadget, rows: Vec<u64>) -> Self {
        debug_assert_eq!(rows.len(), input.get() * gadget.levels() * (output.get() + 1));
        Self { input, output, gadget, rows: Rows::Wide(rows) }
    }
}

/// A key that packs LWE ciphertexts of dimension n into one GLWE ciphertext, by a key switch.
///
/// Each input costs n·ℓ·(k+1)·N multiplications: for few inputs of small dimension. Many ciphertexts of dimension kN are packed
/// better by [`crate::automorphism::AutomorphismKeys::pack`].
pub struct PackingKeyswitchKey {
    shape: GlweShape,
    gadget: Gadget,
    /// `[n][ℓ][(k+1)·N]`
    rows: Vec<GlweCiphertext>,
}

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

    /// The GLWE ciphertext of Σ_i m_i·X^(positions_i).
    ///
    /// # Panics
    /// If an input's dimension is not the key's, or a position is not below N.
    pub fn pack(&self, inputs: &[(LweCiphertext, usize)]) -> GlweCiphertext {
        let levels = self.gadget.levels();
        let mut out = GlweCiphertext::zero(self.shape);
        for (input, position) in inputs {
            assert_eq!(input.dimension() * levels, self.rows.len(), "an LWE ciphertext of the key's input dimension");
            let mut digits = vec![0; self.rows.len()];
            decompose(input.mask(), self.gadget, &mut digits);
            let mut switched = GlweCiphertext::zero(self.shape);
            switched.body_mut()[0] = input.body();
            for i in 0..input.dimension() {
                for level in 0..levels {
                    let digit = digits[level * input.dimension() + i];
                    switched.add_scaled(&self.rows[i * levels + level], -i64::from(digit));
                }
            }
            let moved = switched.map_polynomials(|x, y| crate::polynomial::rotate(x, *position, y));
            out.add_scaled(&moved, 1);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise;
    use crate::noise::tests::assert_variance;
    use crate::params::Precision;
    use crate::testing::Setup;
    use crate::torus;

    /// A small LWE key and fresh ciphertexts under it, of (i + 1)/32 of the torus.
    fn small(setup: &Setup, count: u64) -> (LweSecretKey, Vec<LweCiphertext>) {
        let key = LweSecretKey::generate(&mut setup.seed.experiment_bits(5), LweDimension::new(80).unwrap());
        let (mut masks, mut noises) = setup.seed.experiment(5).into_streams();
        let inputs = (0..count).map(|i| key.encrypt((i + 1) << 59, setup.noise, &mut masks, &mut noises)).collect();
        (key, inputs)
    }

    fn packing_key(setup: &Setup, from: &LweSecretKey, gadget: Gadget) -> PackingKeyswitchKey {
        PackingKeyswitchKey::generate(&setup.fft, from, &setup.key, gadget, setup.noise, setup.seed.experiment(6))
    }

    #[test]
    fn packing_places_every_input_with_the_predicted_noise() {
        let setup = Setup::new(1, 256);
        let gadget = Gadget::new(4, 4, Precision::Single).unwrap();
        let (key, inputs) = small(&setup, 400);
        let packing = packing_key(&setup, &key, gadget);
        let errors: Vec<f64> = inputs
            .iter()
            .enumerate()
            .map(|(i, input)| {
                let position = i * 37 % 256;
                let packed = packing.pack(&[(input.clone(), position)]);
                let phase = setup.key.phase(&setup.fft, &packed);
                torus::to_f64(phase[position].wrapping_sub(key.phase(input)))
            })
            .collect();
        let predicted = noise::lwe_keyswitch(gadget, key.dimension(), setup.noise.variance());
        // 400 samples: one standard error of the variance is 7 %.
        assert_variance("packing key switch", &errors, predicted, 0.28);
    }

    #[test]
    fn packing_keeps_inputs_apart() {
        let setup = Setup::new(1, 256);
        let (key, inputs) = small(&setup, 8);
        let packing = packing_key(&setup, &key, Gadget::new(6, 5, Precision::Single).unwrap());
        let placed: Vec<_> = inputs.iter().cloned().zip((0..8).map(|i| 31 * i)).collect();
        let phase = setup.key.phase(&setup.fft, &packing.pack(&placed));
        for (j, &x) in phase.iter().enumerate() {
            let expected = if j % 31 == 0 && j / 31 < 8 { j as u64 / 31 + 1 } else { 0 };
            assert_eq!(torus::switch_modulus(x, 5) % 32, expected, "coefficient {j}");
        }
    }
}
