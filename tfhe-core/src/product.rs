//! The product of two GLWE ciphertexts (k = 1): tensor product and relinearization.
//!
//! With phases φ_1, φ_2 of messages m_i·Δ, Δ = q/t, the product's phase is φ_1·φ_2·t/q ≈ m_1·m_2·Δ: as in the
//! Brakerski/Fan–Vercauteren scheme (Brakerski, Crypto 2012; Fan, Vercauteren, ePrint 2012/144, section 4). The tensor
//! (B_1·B_2, A_1·B_2 + A_2·B_1, A_1·A_2)·t/q is a ciphertext under (S, S²); a gadget product with encryptions of S²
//! brings it back to S. Messages must be integers: a fraction of one times the wrap-around of the other's phase is
//! uniform noise.
//!
//! # Precision
//! Coefficients are cut into signed limbs x = x_0 + 2^22·x_1 + 2^44·x_2 of 22, 22 and 20 bits. A sum of N products of
//! limbs, at most three such sums added twice, stays below 6·N·2^42 ≤ 2^57 in the worst case and around
//! sqrt(6·N)·2^41 in fact, 2^48 for N = 4096, so f64 transforms give it exactly (error about 2^-53·2^48·2 ≪ 1/2). The
//! products x_0·y_0 are left out. That matters most in the quadratic part, whose error meets S², of norm about
//! sqrt(N³/48): t·2^(44+5−128)·2^15 for N = 4096, which is 2^-36 for t = 2^28. (Leaving out x_0·y_1 and x_1·y_0 too would cost
//! 22 bits more.)

use zeroize::Zeroizing;

use crate::buffer::AlignedBuffer;
use crate::fft::{FftScratch, NegacyclicFft};
use crate::gadget::{FourierRows, GadgetScratch};
use crate::ggsw::{RowGenerator, SeededRows};
use crate::glwe::{GlweCiphertext, GlweSecretKey};
use crate::params::{Gadget, NoiseDistribution};
use crate::polynomial::schoolbook_add;
use crate::random::EncryptionSeed;
use crate::torus;

const LIMBS: usize = 3;
const LIMB_BITS: u32 = 22;

/// The key that brings products back to S, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeededRelinearizationKey(SeededRows);

impl SeededRelinearizationKey {
    /// Encrypts S², with the streams 0 of `seed`.
    ///
    /// # Panics
    /// If k is not 1, or something was drawn from the seed before.
    pub fn generate(
        fft: &NegacyclicFft,
        key: &GlweSecretKey,
        gadget: Gadget,
        noise: NoiseDistribution,
        mut seed: EncryptionSeed,
    ) -> Self {
        assert_eq!(key.shape().dimension.get(), 1, "products are defined for k = 1");
        seed.take_first(1);
        let secret = key.polynomial(0);
        let integers: Zeroizing<Vec<i64>> = Zeroizing::new(secret.iter().map(|&s| s as i64).collect());
        let mut square = Zeroizing::new([vec![0; secret.len()]]);
        schoolbook_add(&integers, secret, &mut square[0]);
        Self(RowGenerator { fft, key, gadget, noise, seed: &seed }.rows(&*square, 0))
    }

    /// Bytes as stored.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Transforms the key for use with plan `fft`.
    pub fn prepare(&self, fft: &NegacyclicFft) -> RelinearizationKey {
        RelinearizationKey { fft: fft.clone(), rows: self.0.prepare(fft) }
    }
}

/// The key that brings products back to S, ready for use.
#[derive(Clone, Debug)]
pub struct RelinearizationKey {
    fft: NegacyclicFft,
    rows: FourierRows,
}

/// A GLWE ciphertext prepared to be a factor: `[polynomial A, B][limb][N]` in the Fourier domain.
#[derive(Clone, Debug)]
pub struct Factor {
    limbs: Vec<AlignedBuffer>,
}

/// Cuts x into signed limbs, least significant first.
fn limbs(x: u64) -> [i32; LIMBS] {
    let signed = |bits: u64, width: u32| ((bits << (64 - width)) as i64 >> (64 - width)) as i32;
    let low = signed(x, LIMB_BITS);
    let rest = x.wrapping_sub(low as i64 as u64) >> LIMB_BITS;
    let middle = signed(rest, LIMB_BITS);
    // `rest` has 42 bits; the top limb keeps 20.
    let top = rest.wrapping_sub(middle as i64 as u64) >> LIMB_BITS;
    [low, middle, signed(top, 64 - 2 * LIMB_BITS)]
}

impl RelinearizationKey {
    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.rows.bytes()
    }

    /// Transforms a ciphertext to be a factor of one or more products. 6 transforms.
    pub fn factor(&self, ciphertext: &GlweCiphertext) -> Factor {
        let n = ciphertext.shape().polynomial_size.get();
        let scratch = &mut self.fft.scratch();
        let mut out = Vec::with_capacity(2 * LIMBS);
        for polynomial in ciphertext.data().chunks_exact(n) {
            let cut: Vec<[i32; LIMBS]> = polynomial.iter().map(|&x| limbs(x)).collect();
            for limb in 0..LIMBS {
                let integers: Vec<i32> = cut.iter().map(|x| x[limb]).collect();
                let mut transformed = AlignedBuffer::zeros(n);
                self.fft.forward_integers(&integers, &mut transformed, scratch);
                out.push(transformed);
            }
        }
        Factor { limbs: out }
    }

    /// The ciphertext of m_1·m_2 at scale q/2^log_t, for factors at that scale. 12 inverse transforms and a gadget product.
    ///
    /// # Panics
    /// If log_t is not from 1 to 39.
    pub fn multiply(
        &self,
        left: &Factor,
        right: &Factor,
        shape: crate::params::GlweShape,
        log_t: u32,
    ) -> GlweCiphertext {
        assert!((1..40).contains(&log_t), "a scale from q/2 to q/2^39");
        let n = shape.polynomial_size.get();
        let scratch = &mut GadgetScratch::new(&self.fft, self.rows.gadget(), 2);
        let ((a1, b1), (a2, b2)) = (left.limbs.split_at(LIMBS), right.limbs.split_at(LIMBS));
        let mut out = GlweCiphertext::zero(shape);
        let (linear, constant) = out.split_mut();
        self.add_scaled_product(&[(b1, b2)], log_t, constant, scratch.fft());
        self.add_scaled_product(&[(a1, b2), (b1, a2)], log_t, linear, scratch.fft());
        let mut square = vec![0; n];
        self.add_scaled_product(&[(a1, a2)], log_t, &mut square, scratch.fft());
        self.rows.add_product(&self.fft, &square, out.data_mut(), scratch);
        out
    }

    /// A GGSW encryption, with rows of gadget `gadget`, of the integer polynomial M of which `ciphertext` holds
    /// M·q/β^ℓ, the scale of the last level: the other levels are that times powers of β, so the ciphertext's noise counts
    /// β^(ℓ−1) times in the first. M·S = B·S − A·S² is the ciphertext (−B, 0) less a gadget product with the encryption of S².
    /// One gadget product, and 2·2·ℓ transforms.
    ///
    /// The external product of p·q/t with it is M·p·q/t, for any real p: M has to be an integer, p has not.
    pub fn ggsw(&self, ciphertext: &GlweCiphertext, gadget: Gadget) -> FourierRows {
        let n = ciphertext.shape().polynomial_size.get();
        // −M·S: the sign of the rows of masks.
        let mut times_secret = GlweCiphertext::zero(ciphertext.shape());
        times_secret.split_mut().0.copy_from_slice(ciphertext.body());
        let scratch = &mut GadgetScratch::new(&self.fft, self.rows.gadget(), 2);
        self.rows.add_product(&self.fft, ciphertext.mask(), times_secret.data_mut(), scratch);
        let mut rows = Vec::with_capacity(2 * gadget.levels() * 2 * n);
        for last in [&times_secret, ciphertext] {
            for level in 1..=gadget.levels() {
                let shift = gadget.base_log() * (gadget.levels() - level) as u32;
                rows.extend(last.data().iter().map(|&x| x << shift));
            }
        }
        FourierRows::prepare(&self.fft, gadget, 2, 2, &rows)
    }

    /// `output += Σ x·y·2^log_t/2^64` over the pairs, rounded.
    fn add_scaled_product(
        &self,
        pairs: &[(&[AlignedBuffer], &[AlignedBuffer])],
        log_t: u32,
        output: &mut [u64],
        scratch: &mut FftScratch,
    ) {
        let n = output.len();
        let mut sum = AlignedBuffer::zeros(n);
        for weight in 1..=2 * (LIMBS - 1) {
            sum.fill(0.0);
            for (x, y) in pairs {
                for i in weight.saturating_sub(LIMBS - 1)..=weight.min(LIMBS - 1) {
                    self.fft.multiply_accumulate(&mut sum, &x[i], &y[weight - i]);
                }
            }
            // The sum counts 2^(22·weight)·2^log_t/2^64.
            let exponent = LIMB_BITS as i32 * weight as i32 + log_t as i32 - 64;
            if exponent >= 0 {
                self.fft.inverse_add_integers(&mut sum, exponent as u32, output, scratch);
            } else {
                let mut integers = vec![0; n];
                self.fft.inverse_add_integers(&mut sum, 0, &mut integers, scratch);
                for (out, &x) in output.iter_mut().zip(&integers) {
                    *out = out.wrapping_add(torus::divide_by_power_of_two(x, exponent.unsigned_abs()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise;
    use crate::noise::tests::assert_variance;
    use crate::params::Precision;
    use crate::testing::Setup;

    #[test]
    fn limbs_recompose() {
        for x in [0, 1, u64::MAX, 1 << 21, 1 << 43, 1 << 63, 0x0123_4567_89ab_cdef, 0x7fff_ffff_ffff_ffff] {
            let sum = limbs(x).iter().enumerate().fold(0_u64, |sum, (i, &limb)| {
                sum.wrapping_add((limb as i64 as u64).wrapping_shl(LIMB_BITS * i as u32))
            });
            assert_eq!(sum, x);
            assert!(limbs(x).iter().all(|limb| limb.unsigned_abs() <= 1 << 21));
        }
    }

    /// Products of polynomials of small integers decrypt to the schoolbook product, with the predicted noise.
    #[test]
    fn products_multiply_with_the_predicted_noise() {
        let setup = Setup::with_noise(1, 1024, NoiseDistribution::TUniform { bound_log: 16 });
        let (n, log_t) = (1024, 12);
        let gadget = Gadget::new(8, 6, Precision::Split).unwrap();
        let key_noise = NoiseDistribution::TUniform { bound_log: 3 };
        let seed = setup.seed.experiment(3);
        let key = SeededRelinearizationKey::generate(&setup.fft, &setup.key, gadget, key_noise, seed);
        let key = key.prepare(&setup.fft);
        let mut errors = Vec::new();
        for index in 0..400 {
            let small = |salt: i64| (0..n).map(|j| (j * j * (salt + 3) + index) % 3 - 1).collect::<Vec<i64>>();
            let (m1, m2) = (small(index), small(2 * index + 1));
            let encode = |m: &[i64]| m.iter().map(|&x| (x as u64) << (64 - log_t)).collect::<Vec<u64>>();
            let c1 = setup.encrypt(&encode(&m1), 2 * index as u64);
            let c2 = setup.encrypt(&encode(&m2), 2 * index as u64 + 1);
            let product = key.multiply(&key.factor(&c1), &key.factor(&c2), setup.key.shape(), log_t);
            let mut expected = vec![0; n as usize];
            schoolbook_add(&m1, &encode(&m2), &mut expected);
            let phase = setup.key.phase(&setup.fft, &product);
            errors.extend(phase.iter().zip(&expected).map(|(&x, &y)| torus::to_f64(x.wrapping_sub(y))));
        }
        let predicted = noise::tensor_product(
            setup.key.shape(),
            log_t,
            [(setup.noise.variance(), n as usize), (setup.noise.variance(), n as usize)],
        );
        // The wrap-arounds' energy is concentrated in the lowest frequencies, where a binary secret's is (its mean is 1/2): it
        // varies by about 40 % from factor to factor, and so the mean over 800 factors by 1.4 %.
        assert_variance("tensor product", &errors, predicted, 0.07);
    }

    /// A real number times an encrypted polynomial of integers, where the polynomial's noise dominates and where the rounding
    /// does.
    #[test]
    fn encrypted_integers_multiply_real_numbers() {
        for (noise, base_log) in [(10, 13), (4, 8)] {
            check_product_with_ggsw(NoiseDistribution::TUniform { bound_log: noise }, base_log);
        }
    }

    fn check_product_with_ggsw(noise: NoiseDistribution, base_log: u32) {
        let setup = Setup::with_noise(1, 1024, noise);
        let (fft, shape) = (&setup.fft, setup.key.shape());
        let seed = setup.seed.experiment(3);
        let relinearization = Gadget::new(3, 21, Precision::Split).unwrap();
        let quiet = NoiseDistribution::TUniform { bound_log: 1 };
        let key = SeededRelinearizationKey::generate(fft, &setup.key, relinearization, quiet, seed);
        let key = key.prepare(fft);
        let gadget = Gadget::new(base_log, 3, Precision::Single).unwrap();
        let mut generator = crate::random::SampleSeed::from_number(3).stream(0);
        let (mut errors, mut squares) = (Vec::new(), 0.0);
        let count = 300;
        for index in 0..count {
            let mut draw = |j: usize| if j.is_multiple_of(16) { (generator.uniform() % 201) as i64 - 100 } else { 0 };
            let integers: Vec<i64> = (0..1024).map(&mut draw).collect();
            squares += integers.iter().map(|&m| (m * m) as f64).sum::<f64>() / count as f64;
            let scaled: Vec<u64> = integers.iter().map(|&m| (m as u64) << (64 - 3 * base_log)).collect();
            let ggsw = key.ggsw(&setup.encrypt(&scaled, 2 * index), gadget);
            let mut plaintext = vec![0; 1024];
            plaintext[0] = 0x0012_3456_789a_bcde;
            let factor = setup.encrypt(&plaintext, 2 * index + 1);
            let mut product = GlweCiphertext::zero(shape);
            let scratch = &mut GadgetScratch::new(fft, gadget, 2);
            ggsw.add_product(fft, factor.data(), product.data_mut(), scratch);
            let mut expected = vec![0; 1024];
            schoolbook_add(&integers, &plaintext, &mut expected);
            let phase = setup.key.phase(fft, &product);
            errors.extend(phase.iter().zip(&expected).map(|(&x, &y)| torus::to_f64(x.wrapping_sub(y))));
        }
        let secret = noise::relinearization(relinearization, shape, quiet.variance());
        let predicted = noise::product_with_ggsw(gadget, shape, noise.variance().repeated(1024.0), secret, squares);
        // As for the tensor product: half of the energy is in the lowest frequencies, of 300 products.
        assert_variance("product with an encrypted polynomial", &errors, predicted, 0.15);
    }
}
