//! The product of two GLWE ciphertexts (k = 1): tensor product and relinearization.
//!
//! With phases φ_1, φ_2 of messages m_i·Δ, Δ = q/t, the product's phase is `φ_1·φ_2·t/q ≈ m_1·m_2·Δ`: as in the
//! Brakerski/Fan–Vercauteren scheme (Brakerski, Crypto 2012; Fan, Vercauteren, ePrint 2012/144, section 4). The tensor
//! `(B_1·B_2, A_1·B_2 + A_2·B_1, A_1·A_2)·t/q` is a ciphertext under (S, S²); a gadget product with encryptions of S²
//! brings it back to S. Messages must be integers: a fraction of one times the wrap-around of the other's phase is
//! uniform noise.
//!
//! # Balance
//! The phase of a factor is φ + q·K over the integers, and the product's error is `t·(K_1·e_2 + K_2·e_1)`. K = −A·S/q depends on which
//! representatives modulo q the mask's coefficients have. With the usual ones, in [−q/2, q/2), half of K's energy comes of the mean of
//! the key's bits, 1/2: it is half of A·(1 + X + … + X^(N−1)), a random walk, which is far from zero over thousands of coefficients in
//! some ciphertexts, so that their errors are all large together. `balance` takes a few other representatives, such that the mask's
//! running sums stay small. That costs 3.6 % of what remains of K's energy at N = 4096, and halves the variance of the error.
//!
//! # Precision
//! Coefficients are cut into signed limbs `x = x_0 + 2^22·x_1 + 2^44·x_2` of 22, 22 and 20 bits, or 22 where the
//! representative is another one. Those of ciphertexts are uniform, so
//! the products x_i·y_j with i + j = w, of two pairs of polynomials at most, add up to coefficients of a root mean square of 2^43
//! (w = 4), 2^45.4 (3), 2^47 (2) and 2^47.4 (1) for N = 4096. Of the bounds that [`crate::rounding`] has for integers the first is more than
//! eleven standard deviations away from all of them, and the second more than seventeen from the two upper ones. Of the lower ones, 5.9 and
//! 4.4 on the least precise backend, a coefficient in 2^28 or in 2^16 is off by one: one in 2^16 products, or in 2^4. It
//! is 2^(22·w + log_t − 128) of the torus: 2^-56 or 2^-78 for t = 2^28, far below what follows. The
//! products x_0·y_0 are left out. That matters most in the quadratic part, whose error meets S², of norm about
//! sqrt(N³/48): t·2^(44+5−128)·2^15 for N = 4096, which is 2^-36 for t = 2^28. (Leaving out x_0·y_1 and x_1·y_0 too would cost
//! 22 bits more.)
//!
//! In the book: [chapter 7, products of ciphertexts](../../../book/07-products.html).

use crate::buffer::AlignedBuffer;
use crate::fft::{FftScratch, NegacyclicFft};
use crate::gadget_product::{FourierRows, GadgetScratch};
use crate::glwe::GlweCiphertext;
use crate::params::GlweShape;
use crate::rows::SeededRows;
use crate::torus;

mod ggsw;
#[cfg(feature = "secret-keys")]
mod secret;

pub use ggsw::LevelsError;

const LIMBS: usize = 3;
const LIMB_BITS: u32 = 22;

/// The key that brings products back to S, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeededRelinearizationKey(SeededRows);

impl SeededRelinearizationKey {
    /// Of its rows.
    pub(crate) fn from_rows(rows: SeededRows) -> Self {
        Self(rows)
    }

    /// Its rows.
    pub(crate) fn rows(&self) -> &SeededRows {
        &self.0
    }

    /// Transforms the key for use with plan `fft`.
    pub fn prepare(&self, fft: &NegacyclicFft) -> RelinearizationKey {
        RelinearizationKey { fft: fft.clone(), shape: self.0.shape(), rows: self.0.prepare(fft) }
    }
}

/// The key that brings products back to S, ready for use.
#[derive(Clone, Debug)]
pub struct RelinearizationKey {
    fft: NegacyclicFft,
    shape: GlweShape,
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

/// How many times q to add to the signed limbs of each coefficient of a mask: −1, 0 or 1.
///
/// With P_j the sum of the first j representatives a, as fractions of q, half of A·(1 + … + X^(N−1)) has the coefficients P_j − P_N/2,
/// and the rest of the key meets A itself, with N/4: so Σ (P_j² + N/4·a_j²) is to be small. That is a linear-quadratic regulator, whose
/// cost to go is about √(N/4)·P², and each a_j is chosen to make its own cost and that least. 2 to 4 % of the
/// coefficients change, of those near ±q/2, for which it makes little difference. O(N), and the mask is public.
fn balance(mask: &[u64]) -> Vec<i32> {
    let n = mask.len() as f64;
    let (of_representative, of_sum) = (n / 4.0, (n / 4.0).sqrt());
    let mut sum = 0.0;
    let choose = |&x: &u64| {
        let usual = signed_value(x);
        let other = usual - usual.signum();
        let cost = |a: f64| of_representative * a * a + of_sum * (sum + a) * (sum + a);
        let change = cost(other) < cost(usual);
        sum += if change { other } else { usual };
        if change { -(usual.signum() as i32) } else { 0 }
    };
    mask.iter().map(choose).collect()
}

/// What the limbs of x add up to, as a fraction of q: in [−1/2, 1/2], up to what they carry at its ends.
fn signed_value(x: u64) -> f64 {
    limbs(x).iter().rev().fold(0.0, |sum, &limb| sum * 2f64.powi(LIMB_BITS as i32) + f64::from(limb)) * 2f64.powi(-64)
}

impl RelinearizationKey {
    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.rows.bytes()
    }

    /// Transforms a ciphertext to be a factor of one or more products. 6 transforms.
    pub fn factor(&self, ciphertext: &GlweCiphertext) -> Factor {
        self.factor_with(ciphertext, &balance(ciphertext.mask()))
    }

    /// With so many times q added to the mask's coefficients.
    fn factor_with(&self, ciphertext: &GlweCiphertext, added: &[i32]) -> Factor {
        let n = ciphertext.shape().polynomial_size.get();
        let scratch = &mut self.fft.scratch();
        let mut out = Vec::with_capacity(2 * LIMBS);
        let body = vec![0; n];
        for (polynomial, added) in ciphertext.data().chunks_exact(n).zip([added, &body]) {
            let cut = |(&x, &added): (&u64, &i32)| {
                let [low, middle, top] = limbs(x);
                [low, middle, top + (added << (64 - 2 * LIMB_BITS))]
            };
            let cut: Vec<[i32; LIMBS]> = polynomial.iter().zip(added).map(cut).collect();
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
    /// # Examples
    /// Two encrypted polynomials of integers are multiplied: their tensor is a ciphertext under (S, S²), and encryptions of
    /// S² bring it back to S. At scale 1/2^8, (3 + X)·(−2 + 5X) = −6 + 13X + 5X².
    /// ```
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::GlweSecretKey;
    /// # use tfhe_core::params::{Gadget, GlweShape, NoiseDistribution, Precision};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # use tfhe_core::tensor_product::SeededRelinearizationKey;
    /// # use tfhe_core::torus::{decode, encode};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let mut seed = EncryptionSeed::from_system()?;
    /// // `shape`, `fft`, `key` and `seed` as in the example of `GlweSecretKey::encrypt`.
    /// use tfhe_core::noise;
    /// use tfhe_core::torus::to_f64;
    /// use tfhe_core::variance::Variance;
    ///
    /// let noise = NoiseDistribution::TUniform { bound_log: 3 };
    /// let own = EncryptionSeed::from_system()?;
    /// let gadget = Gadget::new(7, 9, Precision::Split)?;
    /// let relinearization = SeededRelinearizationKey::generate(&fft, &key, gadget, noise, own).prepare(&fft);
    ///
    /// let mut encrypt = |m: [i64; 2]| {
    ///     let mut plaintext = vec![0; 1024];
    ///     (plaintext[0], plaintext[1]) = (encode(m[0], 8), encode(m[1], 8));
    ///     key.encrypt(&fft, &plaintext, noise, &mut seed).expand()
    /// };
    /// let factors = [[3, 1], [-2, 5]].map(|m| relinearization.factor(&encrypt(m)));
    /// let product = relinearization.multiply(&factors[0], &factors[1], 8);
    /// let phase = key.phase(&fft, &product);
    /// assert_eq!([phase[0], phase[1], phase[2], phase[3]].map(|x| decode(x, 8)), [-6, 13, 5, 0]);
    ///
    /// // The error is each factor's noise times the wrap-around of the other's phase.
    /// let errors: Vec<f64> = phase.iter().map(|&x| to_f64(x.wrapping_sub(encode(decode(x, 8), 8)))).collect();
    /// let noise = noise::Spread::new(noise.variance(), 1024);
    /// let predicted = noise::tensor_product(shape, 8, [noise, noise]).variance();
    /// let ratio = Variance::measured(&errors).get() / predicted.get();
    /// assert!((0.5..1.5).contains(&ratio), "{ratio}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If log_t is not from 1 to 39.
    pub fn multiply(&self, left: &Factor, right: &Factor, log_t: u32) -> GlweCiphertext {
        assert!((1..40).contains(&log_t), "a scale from q/2 to q/2^39");
        let n = self.shape.polynomial_size.get();
        let scratch = &mut GadgetScratch::new(&self.fft, self.rows.gadget(), 2);
        let ((a1, b1), (a2, b2)) = (left.limbs.split_at(LIMBS), right.limbs.split_at(LIMBS));
        let mut out = GlweCiphertext::zero(self.shape);
        let (linear, constant) = out.split_mut();
        self.add_scaled_product(&[(b1, b2)], log_t, constant, scratch.fft());
        self.add_scaled_product(&[(a1, b2), (b1, a2)], log_t, linear, scratch.fft());
        let mut square = vec![0; n];
        self.add_scaled_product(&[(a1, a2)], log_t, &mut square, scratch.fft());
        self.rows.add_product(&self.fft, &square, out.data_mut(), scratch);
        out
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
    use crate::noise::{Distribution, Mixture, Spread};
    use crate::params::{Gadget, NoiseDistribution, Precision};
    use crate::polynomial::schoolbook_add;
    use crate::random::SampleSeed;
    use crate::rounding::{MAXIMUM_INTEGER, Transforms};
    use rayon::prelude::*;

    use crate::noise;
    use crate::noise::tests::assert_variance;
    use crate::testing::Setup;
    use crate::variance::Variance;

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

    /// What the module says of the sums of products of limbs at N = 4096: their sizes, and how far they are from the bounds of integers.
    #[test]
    fn sums_of_limbs_are_as_exact_as_stated() {
        let n = 4096;
        let variances = [LIMB_BITS, LIMB_BITS, 64 - 2 * LIMB_BITS].map(|bits| 4f64.powi(bits as i32) / 12.0);
        // Of two pairs of polynomials, as in the linear part: root mean square, margin, log2 of the chance of a coefficient, and of a product.
        let of_weight = |weight: usize| {
            let limbs = weight.saturating_sub(LIMBS - 1)..=weight.min(LIMBS - 1);
            let rows = 2 * limbs.clone().count();
            let mean_square = 2.0 * n as f64 * limbs.map(|i| variances[i] * variances[weight - i]).sum::<f64>();
            let margin = Transforms::ANY.margin(mean_square, rows, n);
            let chance = Distribution::from(Variance::new(1.0)).log2_tail(margin);
            (mean_square.log2() / 2.0, margin, chance, chance + (n as f64).log2())
        };
        let near = |x: f64, y: f64, distance: f64| assert!((x - y).abs() <= distance, "{x}, stated as {y}");
        for (weight, size) in [(4, 43.0), (3, 45.4), (2, 47.0), (1, 47.4)] {
            let (root, margin, ..) = of_weight(weight);
            near(root, size, 0.1);
            assert!(MAXIMUM_INTEGER / root.exp2() > 11.0);
            assert!(weight < 3 || margin > 17.0);
        }
        let ((_, second, of_second, in_second), (_, first, of_first, in_first)) = (of_weight(2), of_weight(1));
        near(second, 5.9, 0.05);
        near(first, 4.4, 0.06);
        near(of_second, -28.0, 0.5);
        near(of_first, -16.5, 0.5);
        near(in_second, -16.0, 0.5);
        near(in_first, -4.5, 0.5);
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
            let product = key.multiply(&key.factor(&c1), &key.factor(&c2), log_t);
            let mut expected = vec![0; n as usize];
            schoolbook_add(&m1, &encode(&m2), &mut expected);
            let phase = setup.key.phase(&setup.fft, &product);
            errors.extend(phase.iter().zip(&expected).map(|(&x, &y)| torus::to_f64(x.wrapping_sub(y))));
        }
        let noise = Spread::new(setup.noise.variance(), n as usize);
        let predicted = noise::tensor_product(setup.key.shape(), log_t, [noise, noise]).variance();
        // 4·10^5 errors: those of a product have nearly one variance, which varies by 6 % (1024 degrees of freedom).
        assert_variance("tensor product", &errors, predicted, 0.03);
    }

    /// Random products of ciphertexts of zero, with noise at some places of each factor, under several keys.
    struct Products {
        clients: Vec<(Setup, RelinearizationKey)>,
        shape: GlweShape,
        places: [usize; 2],
    }

    const LOG_T: u32 = 12;
    const PLACES_NOISE: NoiseDistribution = NoiseDistribution::Gaussian { log2_std: -44.0 };

    impl Products {
        fn new(n: usize, places: [usize; 2]) -> Self {
            let client = |number: u64| {
                let setup = Setup::of_client(1, n, NoiseDistribution::TUniform { bound_log: 1 }, number);
                let gadget = Gadget::new(8, 6, Precision::Split).unwrap();
                let seed = setup.seed.experiment(3);
                let key = SeededRelinearizationKey::generate(&setup.fft, &setup.key, gadget, setup.noise, seed);
                let key = key.prepare(&setup.fft);
                (setup, key)
            };
            let clients: Vec<_> = (0..16).map(client).collect();
            let shape = clients[0].0.key.shape();
            Self { clients, shape, places }
        }

        /// The errors of product `index`, with the usual representatives or with balanced ones.
        fn errors(&self, index: u64, balanced: bool) -> Vec<f64> {
            let n = self.shape.polynomial_size.get();
            let (setup, key) = &self.clients[index as usize % self.clients.len()];
            let noises = &mut SampleSeed::from_number(5).stream(index);
            let factors = [0, 1].map(|side| {
                let mut ciphertext = setup.encrypt(&vec![0; n], 2 * index + side as u64);
                let places = ciphertext.body_mut().iter_mut().step_by(n / self.places[side]);
                places.for_each(|b| *b = b.wrapping_add(noises.noise(PLACES_NOISE)));
                if balanced { key.factor(&ciphertext) } else { key.factor_with(&ciphertext, &vec![0; n]) }
            });
            let product = key.multiply(&factors[0], &factors[1], LOG_T);
            setup.key.phase(&setup.fft, &product).into_iter().map(torus::to_f64).collect()
        }

        fn spreads(&self) -> [Spread; 2] {
            self.places.map(|places| Spread::new(PLACES_NOISE.variance(), places))
        }

        /// Compares how many errors of `count` products are beyond 2, 4, 5 and 6 standard deviations with what `predicted`
        /// says, from both sides.
        fn check_tails(&self, what: &str, count: u64, balanced: bool, predicted: &Distribution) {
            let (n, deviation) = (self.shape.polynomial_size.get() as f64, predicted.variance().std());
            let thresholds = [2.0, 4.0, 5.0, 6.0];
            let beyond: Vec<[usize; 4]> = (0..count)
                .into_par_iter()
                .map(|index| {
                    let errors = self.errors(index, balanced);
                    thresholds.map(|t| errors.iter().filter(|error| error.abs() >= t * deviation).count())
                })
                .collect();
            // Errors of one product have one variance, and are large together.
            let generator = &mut SampleSeed::from_number(6).stream(0);
            let variances: Vec<Variance> = (0..20_000).map(|_| predicted.draw_variance(generator)).collect();
            for (index, threshold) in thresholds.into_iter().enumerate() {
                let measured: f64 = beyond.iter().map(|of_product| of_product[index] as f64).sum();
                let share = |distribution: &Distribution| distribution.log2_tail(threshold * deviation).exp2();
                let expected = count as f64 * n * share(predicted);
                let normal = count as f64 * n * share(&predicted.variance().into());
                let squares: f64 = variances.iter().map(|&v| (n * share(&v.into())).powi(2)).sum();
                // At least as they would by their variance alone. A walk's errors are those of a few slow waves besides, whose heights
                // vary once more: what counts of products scatter says so, where there are enough.
                let scattered: f64 = beyond.iter().map(|of_product| (of_product[index] as f64).powi(2)).sum();
                let error = (scattered.max(count as f64 * squares / variances.len() as f64) + expected).sqrt();
                println!(
                    "{what}, beyond {threshold} σ: {measured}, predicted {expected:.1} ± {error:.1}, normal {normal:.1}"
                );
                assert!((measured - expected).abs() < 4.0 * error, "{what}, {threshold} σ");
            }
        }
    }

    /// 2.5·10^7 errors at the size of `head_exact`, as the usual representatives would leave them, and as balanced ones do; the
    /// latter also with noise on few places.
    #[test]
    fn tails_of_products_are_those_predicted() {
        let (n, count) = (4096, 6144);
        let products = Products::new(n, [n, n]);
        let shape = products.shape;
        let usual: Distribution = products
            .spreads()
            .map(|noise| {
                let half = noise.energy().scaled(2f64.powi(LOG_T as i32)).repeated(n as f64 / 48.0);
                Distribution::mixture(half, Mixture::Walk)
                    + Distribution::mixture(half, Mixture::Scattered { degrees: n as f64 / 2.0 })
            })
            .into_iter()
            .sum();
        products.check_tails("usual representatives", count, false, &usual);
        for places in [[n, n], [64, 128], [8, 128], [1, 1]] {
            let products = Products::new(n, places);
            let predicted = noise::tensor_product(shape, LOG_T, products.spreads());
            products.check_tails(&format!("balanced, noise on {places:?} places"), count / 3, true, &predicted);
        }
    }

    /// The mean square of −A·S/q over random masks and keys, for balanced masks, and that running sums are what is left of it.
    #[test]
    fn balanced_masks_have_small_running_sums() {
        let generator = &mut SampleSeed::from_number(4).stream(0);
        for n in [1024_usize, 2048, 4096] {
            let (mut squares, mut sums, count) = (0.0, 0.0, 200);
            for _ in 0..count {
                let mut mask = vec![0; n];
                generator.fill_uniform(&mut mask);
                let balanced: Vec<f64> =
                    mask.iter().zip(balance(&mask)).map(|(&x, added)| signed_value(x) + f64::from(added)).collect();
                assert!(balanced.iter().all(|a| a.abs() < 1.0));
                let total: f64 = balanced.iter().sum();
                let mut sum = 0.0;
                for a in balanced {
                    sum += a;
                    sums += (sum - total / 2.0).powi(2) / (count * n) as f64;
                    squares += a * a * n as f64 / 4.0 / (count * n) as f64;
                }
            }
            let unavoidable = n as f64 / 48.0;
            let excess = ((squares + sums) / unavoidable - 1.0) * (n as f64).sqrt();
            println!("N = {n}: {excess:.2}/√N more than without the mean");
            assert!((excess - noise::BALANCE).abs() < 0.1, "N = {n}: {excess}");
            assert!(sums < 0.05 * squares, "running sums {sums}, steps {squares}");
        }
    }
}
