//! LWE key switching: from one key to another, of another dimension.
//!
//! A key-switching key from s' (n' bits) to s holds, for each bit s'_i and each gadget level j, an encryption of
//! s'_i·q/β^j under s. The switch subtracts `Σ digits(a_i)·key_i` from the trivial ciphertext of b
//! (Chillotti et al., J. Cryptology 2020, Algorithm 2; the variances in [`crate::noise`]).
//!
//! In the book: [chapter 6, key switching and packing](../../../book/06-key-switching-and-packing.html).

use rayon::prelude::*;

use crate::decomposition::decompose;
use crate::lwe::LweCiphertext;
use crate::params::{Gadget, LweDimension, NoiseDistribution};
use crate::random::PublicSeed;
use crate::simd::packed::{MAXIMUM_BASE_LOG, PackedMatrix};

#[cfg(feature = "secret-keys")]
mod secret;

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
    /// From dimension n' to n, with noise `noise` and bodies `[n'][ℓ]`: the masks of input bit i are streams i of `seed`.
    pub(crate) fn from_bodies(
        [input, output]: [LweDimension; 2],
        gadget: Gadget,
        noise: NoiseDistribution,
        seed: PublicSeed,
        bodies: Vec<u64>,
    ) -> Self {
        debug_assert_eq!(bodies.len(), input.get() * gadget.levels());
        let narrow = may_be_rounded(gadget, output, noise);
        Self { input, output, gadget, seed, bodies, narrow }
    }

    /// The seed of the masks.
    pub(crate) fn seed(&self) -> PublicSeed {
        self.seed
    }

    /// The bodies `[n'][ℓ]`.
    pub(crate) fn bodies(&self) -> &[u64] {
        &self.bodies
    }

    /// Expands the masks. A key whose noise hides that is rounded to 32 bits.
    pub fn expand(&self) -> LweKeyswitchKey {
        let (levels, columns) = (self.gadget.levels(), self.output.get() + 1);
        let rows = if self.narrow {
            let panel_bits = panel_bits(levels);
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

/// Of how many input bits a panel has the rows: of two at least, and always an even number of rows.
fn panel_bits(levels: usize) -> usize {
    2 * (PANEL_ROWS / (2 * levels)).max(1)
}

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
    /// # Examples
    /// From one key to another, of another dimension, without decrypting: the masks, in digits, meet encryptions of the old
    /// key's bits under the new key. After a bootstrapping that is the way back to few bits.
    /// ```
    /// use tfhe_core::keyswitch::SeededLweKeyswitchKey;
    /// use tfhe_core::lwe::LweSecretKey;
    /// use tfhe_core::params::{Gadget, LweDimension, NoiseDistribution, Precision};
    /// use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// use tfhe_core::torus::{decode, encode, to_f64};
    /// use tfhe_core::noise;
    /// use tfhe_core::variance::Variance;
    ///
    /// let new_key = |n| LweSecretKey::generate(&mut SecretStream::from_system().unwrap(), LweDimension::new(n).unwrap());
    /// let (from, to) = (new_key(1024), new_key(512));
    /// let (gadget, noise) = (Gadget::new(4, 4, Precision::Single)?, NoiseDistribution::TUniform { bound_log: 42 });
    /// let key = SeededLweKeyswitchKey::generate(&from, &to, gadget, noise, EncryptionSeed::from_system()?).expand();
    ///
    /// let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
    /// let quiet = NoiseDistribution::TUniform { bound_log: 17 };
    /// let inputs: Vec<_> = (0..500).map(|i| from.encrypt(encode(i % 8, 4), quiet, &mut masks, &mut noises)).collect();
    /// let phases: Vec<u64> = key.keyswitch(&inputs).iter().map(|output| to.phase(output)).collect();
    /// assert!(phases.iter().zip(0..).all(|(&x, i)| decode(x, 4) == i % 8));
    /// let errors: Vec<f64> = phases.iter().zip(0..).map(|(&x, i)| to_f64(x.wrapping_sub(encode(i % 8, 4)))).collect();
    /// let predicted = noise::lwe_keyswitch(gadget, from.dimension(), noise.variance());
    /// assert!((0.5..1.5).contains(&(Variance::measured(&errors).get() / predicted.get())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If a ciphertext's dimension is not n'.
    pub fn keyswitch(&self, inputs: &[LweCiphertext]) -> Vec<LweCiphertext> {
        // Small batches are spread over the threads rather than put into one block.
        let block = inputs.len().div_ceil(rayon::current_num_threads()).clamp(1, KEYSWITCH_BLOCK);
        inputs.par_chunks(block).flat_map_iter(|block| self.keyswitch_block(block)).collect()
    }

    fn keyswitch_block(&self, inputs: &[LweCiphertext]) -> Vec<LweCiphertext> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lwe::LweSecretKey;
    use crate::params::Precision;
    use crate::random::SecretSeed;

    /// Rounding to 2^-32 has the variance 2^-64/12 in a body and in the half of 10 masks, 6·2^-64/12 in all: a thousand times that is
    /// 500·2^-64. Larger digits than the product's instructions take are never rounded, nor is any key without noise.
    #[test]
    fn keys_are_rounded_where_their_noise_hides_it() {
        let rounded = |base_log, variance: f64| {
            let noise = NoiseDistribution::Gaussian { log2_std: 0.5 * variance.log2() - 32.0 };
            let gadget = Gadget::new(base_log, 2, Precision::Single).unwrap();
            may_be_rounded(gadget, LweDimension::new(10).unwrap(), noise)
        };
        assert!(rounded(4, 501.0) && !rounded(4, 499.0));
        assert!(rounded(MAXIMUM_BASE_LOG, 501.0) && !rounded(MAXIMUM_BASE_LOG + 1, 501.0));
        assert!(!rounded(MAXIMUM_BASE_LOG + 1, 499.0) && !rounded(4, 1e-30));
    }

    /// As many pairs of bits as fit, and one if none does.
    #[test]
    fn panels_are_full() {
        assert_eq!([1, 3, 4, 31, 128, 129].map(panel_bits), [256, 84, 64, 8, 2, 2]);
    }

    /// The trivial ciphertext of b, less each digit times its row, by hand: with rows as they are, and rounded to multiples of 2^-32 where
    /// the key's noise hides that. There are more rows than a panel has, and a last panel that is shorter.
    #[test]
    fn digits_meet_their_rows() {
        let seed = SecretSeed::from_number(5);
        let [from, to] = [200, 7].map(|n| LweDimension::new(n).unwrap());
        let keys = [from, to].map(|n| LweSecretKey::generate(&mut seed.experiment_bits(n.get() as u64), n));
        for (number, levels, bound_log, narrow) in [(1, 3, 50, true), (2, 3, 10, false), (3, 1, 50, true)] {
            let gadget = Gadget::new(4, levels, Precision::Single).unwrap();
            let noise = NoiseDistribution::TUniform { bound_log };
            let seeded = SeededLweKeyswitchKey::generate(&keys[0], &keys[1], gadget, noise, seed.experiment(number));
            let mut rows = seeded.all_rows();
            let key = seeded.expand();
            assert_eq!(matches!(key.rows, Rows::Narrow(_)), narrow);
            assert_eq!(format!("{key:?}"), format!("LweKeyswitchKey(200 -> 7, {gadget:?})"));
            // A row has its 8 numbers, of 4 bytes or 8.
            let bytes = rows.len() * 8;
            assert!(if narrow { (bytes / 2..2 * bytes).contains(&key.bytes()) } else { key.bytes() == bytes });
            if narrow {
                rows.iter_mut().for_each(|x| *x = x.wrapping_add(1 << 31) >> 32 << 32);
            }
            let (mut masks, mut noises) = seed.experiment(10 + number).into_streams();
            let inputs: Vec<_> = (0..40).map(|m| keys[0].encrypt(m << 58, noise, &mut masks, &mut noises)).collect();
            for (input, output) in inputs.iter().zip(key.keyswitch(&inputs)) {
                let mut expected = [0, 0, 0, 0, 0, 0, 0, input.body()];
                let mut rows = rows.chunks_exact(8);
                for a in input.mask() {
                    let mut digits = vec![0; levels as usize];
                    decompose(&[*a], gadget, &mut digits);
                    for (digit, row) in digits.iter().zip(&mut rows) {
                        let term = |x: u64| x.wrapping_mul(*digit as i64 as u64);
                        expected.iter_mut().zip(row).for_each(|(out, &x)| *out = out.wrapping_sub(term(x)));
                    }
                }
                assert_eq!([output.mask(), &[output.body()]].concat(), expected);
            }
        }
    }
}
