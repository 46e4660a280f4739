//! GLWE: secret keys, ciphertexts, encryption, sample extraction.
//!
//! A ciphertext of M ∈ `T_q[X]/(X^N+1)` under S ∈ `B[X]^k` is (A_1 … A_k, B) with uniform A_i and `B = Σ A_i·S_i + M + E`
//! (Brakerski, Gentry, Vaikuntanathan, ITCS 2012; Chillotti et al., J. Cryptology 2020, section 3).
//! A [`SeededGlweCiphertext`] holds the seed of its masks instead of the masks: half the bytes for k = 1.
//!
//! In the book: [chapter 2, GLWE and polynomials](../../../book/02-glwe-and-polynomials.html).

use crate::fft::{FftScratch, NegacyclicFft};
use crate::integer_product::{FourierIntegers, FourierTorus};
use crate::lwe::LweCiphertext;
use crate::params::{GlweShape, PolynomialSize};
use crate::polynomial;
use crate::random::PublicSeed;
use crate::torus;

#[cfg(feature = "secret-keys")]
mod secret;

#[cfg(feature = "secret-keys")]
pub use secret::GlweSecretKey;
#[cfg(feature = "secret-keys")]
pub(crate) use secret::InnerProductScratch;

/// A GLWE ciphertext whose masks are given by a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeededGlweCiphertext {
    shape: GlweShape,
    seed: PublicSeed,
    index: u64,
    body: Vec<u64>,
}

impl SeededGlweCiphertext {
    /// k and N.
    pub fn shape(&self) -> GlweShape {
        self.shape
    }

    /// The public seed of its masks.
    pub fn masks(&self) -> PublicSeed {
        self.seed
    }

    /// With the masks of stream `index`, which is below [`PublicSeed::STREAMS`], and a body `[N]`.
    pub(crate) fn from_parts(shape: GlweShape, seed: PublicSeed, index: u64, body: Vec<u64>) -> Self {
        debug_assert_eq!(body.len(), shape.polynomial_size.get());
        Self { shape, seed, index, body }
    }

    /// The number of the stream of its masks.
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// The body `[N]`.
    pub(crate) fn body(&self) -> &[u64] {
        &self.body
    }

    /// Rounds the body to `bits` bits ([`crate::torus::round`]): the masks have none to be rounded.
    #[cfg(feature = "secret-keys")]
    pub(crate) fn round(&mut self, bits: u32) {
        self.body.iter_mut().for_each(|x| *x = torus::round(*x, bits));
    }

    /// Expands the masks.
    pub fn expand(&self) -> GlweCiphertext {
        let mut out = GlweCiphertext::zero(self.shape);
        let (mask, body) = out.split_mut();
        self.seed.mask_stream(self.index).fill_uniform(mask);
        body.copy_from_slice(&self.body);
        out
    }
}

/// A GLWE ciphertext: k mask polynomials, then the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlweCiphertext {
    shape: GlweShape,
    data: Vec<u64>,
}

impl GlweCiphertext {
    /// Of `[k+1][N]` torus elements.
    pub(crate) fn from_elements(shape: GlweShape, data: Vec<u64>) -> Self {
        debug_assert_eq!(data.len(), shape.ciphertext_len());
        Self { shape, data }
    }

    /// The noiseless ciphertext of zero.
    pub fn zero(shape: GlweShape) -> Self {
        Self { shape, data: vec![0; shape.ciphertext_len()] }
    }

    /// The noiseless, unencrypted ciphertext of `plaintext` `[N]`.
    pub fn trivial(shape: GlweShape, plaintext: &[u64]) -> Self {
        let mut out = Self::zero(shape);
        out.body_mut().copy_from_slice(plaintext);
        out
    }

    /// A ciphertext whose constant coefficient's phase is that of `sample`, an LWE ciphertext of dimension kN (under the
    /// extracted key); the other coefficients hold what they may. The inverse of [`Self::sample_extract`] at 0.
    ///
    /// # Examples
    /// A sample goes back to where it may have come from: a ciphertext with its message in the constant coefficient, and
    /// something else in the others.
    /// ```
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::GlweSecretKey;
    /// # use tfhe_core::params::{GlweShape, NoiseDistribution};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let noise = NoiseDistribution::TUniform { bound_log: 24 };
    /// # let mut seed = EncryptionSeed::from_system()?;
    /// // `shape`, `fft`, `key`, `noise` and `seed` as in the example of `GlweSecretKey::encrypt`.
    /// use tfhe_core::glwe::GlweCiphertext;
    /// use tfhe_core::torus::{decode, encode};
    ///
    /// let plaintext: Vec<u64> = (0..1024).map(|j| encode(j, 10)).collect();
    /// let sample = key.encrypt(&fft, &plaintext, noise, &mut seed).expand().sample_extract(7);
    /// let embedded = GlweCiphertext::embed(shape, &sample);
    /// assert_eq!(decode(key.phase(&fft, &embedded)[0], 10), 7);
    /// assert_eq!(embedded.sample_extract(0), sample);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn embed(shape: GlweShape, sample: &LweCiphertext) -> Self {
        assert_eq!(sample.dimension(), shape.extracted_lwe_dimension().get(), "an LWE ciphertext of dimension kN");
        let n = shape.polynomial_size.get();
        let mut out = Self::zero(shape);
        for (polynomial, mask) in out.data.chunks_exact_mut(n).zip(sample.mask().chunks_exact(n)) {
            polynomial[0] = mask[0];
            polynomial[1..].iter_mut().zip(mask[1..].iter().rev()).for_each(|(out, &a)| *out = a.wrapping_neg());
        }
        out.body_mut()[0] = sample.body();
        out
    }

    /// The same ciphertext with X^r in place of X, in the ring of `size` = r·N coefficients: under the key
    /// [`GlweSecretKey::in_larger_ring`].
    ///
    /// # Examples
    /// Each coefficient goes to an even place of the ring twice as large, with its noise; what is between them is zero.
    /// ```
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::GlweSecretKey;
    /// # use tfhe_core::params::{GlweShape, NoiseDistribution};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let noise = NoiseDistribution::TUniform { bound_log: 24 };
    /// # let mut seed = EncryptionSeed::from_system()?;
    /// // `shape`, `fft`, `key`, `noise` and `seed` as in the example of `GlweSecretKey::encrypt`.
    /// use tfhe_core::torus::{decode, encode};
    ///
    /// let plaintext: Vec<u64> = (0..1024).map(|j| encode(j % 8 - 4, 3)).collect();
    /// let ciphertext = key.encrypt(&fft, &plaintext, noise, &mut seed).expand();
    /// let larger = NegacyclicFft::new(tfhe_core::params::PolynomialSize::new(2048)?);
    /// let phase = key.in_larger_ring(&larger).phase(&larger, &ciphertext.into_larger_ring(larger.polynomial_size()));
    /// assert!((0..1024).all(|j| decode(phase[2 * j], 3) == decode(plaintext[j], 3) && phase[2 * j + 1] == 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If that ring is smaller.
    pub fn into_larger_ring(&self, size: PolynomialSize) -> Self {
        let old = self.shape.polynomial_size.get();
        assert!(size.get() >= old, "a ring at least as large");
        let mut out = Self::zero(GlweShape { polynomial_size: size, ..self.shape });
        out.data.iter_mut().step_by(size.get() / old).zip(&self.data).for_each(|(out, &x)| *out = x);
        out
    }

    /// k and N.
    pub fn shape(&self) -> GlweShape {
        self.shape
    }

    /// All k+1 polynomials, `[(k+1)·N]`.
    pub fn data(&self) -> &[u64] {
        &self.data
    }

    /// All k+1 polynomials.
    pub fn data_mut(&mut self) -> &mut [u64] {
        &mut self.data
    }

    /// The mask polynomials, `[k·N]`.
    pub fn mask(&self) -> &[u64] {
        &self.data[..self.data.len() - self.shape.polynomial_size.get()]
    }

    /// The body, `[N]`.
    pub fn body(&self) -> &[u64] {
        &self.data[self.data.len() - self.shape.polynomial_size.get()..]
    }

    /// The body.
    pub fn body_mut(&mut self) -> &mut [u64] {
        self.split_mut().1
    }

    /// Mask and body.
    pub fn split_mut(&mut self) -> (&mut [u64], &mut [u64]) {
        let middle = self.data.len() - self.shape.polynomial_size.get();
        self.data.split_at_mut(middle)
    }

    /// Rounds masks and body to `bits` bits ([`torus::round`]). For noise see [`crate::noise::rounded_ciphertext`].
    pub fn round(&mut self, bits: u32) {
        self.data.iter_mut().for_each(|x| *x = torus::round(*x, bits));
    }

    /// `self += factor·other`, for an integer factor.
    ///
    /// # Examples
    /// ```
    /// use tfhe_core::glwe::GlweCiphertext;
    /// use tfhe_core::params::GlweShape;
    /// let trivial = |x| GlweCiphertext::trivial(GlweShape::new(1, 8).unwrap(), &[x; 8]);
    /// let mut sum = trivial(10);
    /// sum.add_scaled(&trivial(3), 2);
    /// assert_eq!(sum, trivial(16));
    /// ```
    pub fn add_scaled(&mut self, other: &Self, factor: i64) {
        assert_eq!(self.shape, other.shape, "GLWE shapes differ");
        polynomial::add_scaled(&other.data, factor, &mut self.data);
    }

    /// Applies `f(input, output)` to every polynomial.
    ///
    /// # Examples
    /// Whoever knows by how much can turn a ciphertext: masks, body, and with them the message.
    /// ```
    /// use tfhe_core::glwe::GlweCiphertext;
    /// use tfhe_core::params::GlweShape;
    /// let plaintext = [1, 2, 3, 4, 5, 6, 7, 8];
    /// let turned = GlweCiphertext::trivial(GlweShape::new(1, 8)?, &plaintext)
    ///     .map_polynomials(|x, y| tfhe_core::polynomial::rotate(x, 15, y));
    /// assert_eq!(turned.body(), [2, 3, 4, 5, 6, 7, 8, 1_u64.wrapping_neg()]);
    /// # Ok::<(), tfhe_core::params::ParameterError>(())
    /// ```
    pub fn map_polynomials(&self, f: impl Fn(&[u64], &mut [u64])) -> Self {
        let n = self.shape.polynomial_size.get();
        let mut out = Self::zero(self.shape);
        self.data.chunks_exact(n).zip(out.data.chunks_exact_mut(n)).for_each(|(input, output)| f(input, output));
        out
    }

    /// Sample extraction: the LWE ciphertext, of dimension kN, of coefficient `position` of the plaintext
    /// (Chillotti et al., J. Cryptology 2020, section 4.2). No noise is added.
    ///
    /// # Examples
    /// Any coefficient is taken out as an LWE ciphertext without a key and without noise: the masks' coefficients only change
    /// places and signs. The LWE key is that of the GLWE key's coefficients.
    /// ```
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::GlweSecretKey;
    /// # use tfhe_core::params::{GlweShape, NoiseDistribution};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let noise = NoiseDistribution::TUniform { bound_log: 24 };
    /// # let mut seed = EncryptionSeed::from_system()?;
    /// // `shape`, `fft`, `key`, `noise` and `seed` as in the example of `GlweSecretKey::encrypt`.
    /// use tfhe_core::torus::encode;
    ///
    /// let plaintext: Vec<u64> = (0..1024).map(|j| encode(j, 10)).collect();
    /// let ciphertext = key.encrypt(&fft, &plaintext, noise, &mut seed).expand();
    /// let sample = ciphertext.sample_extract(7);
    ///
    /// assert_eq!(key.extracted_lwe_key().phase(&sample), key.phase(&fft, &ciphertext)[7]);
    /// assert_eq!(tfhe_core::torus::decode(key.extracted_lwe_key().phase(&sample), 10), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sample_extract(&self, position: usize) -> LweCiphertext {
        let n = self.shape.polynomial_size.get();
        assert!(position < n, "a coefficient below N");
        let mut data = Vec::with_capacity(self.mask().len() + 1);
        for polynomial in self.mask().chunks_exact(n) {
            data.extend(polynomial[..=position].iter().rev());
            data.extend(polynomial[position + 1..].iter().rev().map(|x| x.wrapping_neg()));
        }
        data.push(self.body()[position]);
        LweCiphertext::from_data(data)
    }

    /// Multiplies every coefficient's representative by 2^-bits: see [`crate::torus::divide_by_power_of_two`].
    ///
    /// # Examples
    /// ```
    /// use tfhe_core::glwe::GlweCiphertext;
    /// use tfhe_core::params::GlweShape;
    /// let trivial = |x: i64| GlweCiphertext::trivial(GlweShape::new(1, 8).unwrap(), &[x as u64; 8]);
    /// let mut ciphertext = trivial(-64);
    /// ciphertext.divide_by_power_of_two(4);
    /// assert_eq!(ciphertext, trivial(-4));
    /// ```
    pub fn divide_by_power_of_two(&mut self, bits: u32) {
        self.data.iter_mut().for_each(|x| *x = crate::torus::divide_by_power_of_two(*x, bits));
    }
}

/// A GLWE ciphertext in the Fourier domain, exactly, for products with plaintext polynomials.
#[derive(Clone, Debug)]
pub struct FourierGlwe {
    shape: GlweShape,
    polynomials: Vec<FourierTorus>,
}

impl FourierGlwe {
    /// Zero, to accumulate products in.
    pub fn zero(fft: &NegacyclicFft, shape: GlweShape) -> Self {
        Self { shape, polynomials: vec![FourierTorus::zero(fft); shape.dimension.get() + 1] }
    }

    /// Transforms a ciphertext.
    pub fn new(fft: &NegacyclicFft, ciphertext: &GlweCiphertext, scratch: &mut FftScratch) -> Self {
        let n = ciphertext.shape.polynomial_size.get();
        let polynomials = ciphertext.data.chunks_exact(n).map(|p| FourierTorus::new(fft, p, scratch)).collect();
        Self { shape: ciphertext.shape, polynomials }
    }

    /// `self += ciphertext · plaintext`, for a polynomial of small integers: noise variance times the sum of the squares of its
    /// coefficients.
    ///
    /// # Examples
    /// Weights that are public need no external product: the ciphertext's polynomials are multiplied by theirs. Exact, so
    /// that nothing is added to the noise but what the weights multiply.
    /// ```
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::GlweSecretKey;
    /// # use tfhe_core::params::{GlweShape, NoiseDistribution};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let noise = NoiseDistribution::TUniform { bound_log: 24 };
    /// # let mut seed = EncryptionSeed::from_system()?;
    /// // `shape`, `fft`, `key`, `noise` and `seed` as in the example of `GlweSecretKey::encrypt`.
    /// use tfhe_core::glwe::FourierGlwe;
    /// use tfhe_core::integer_product::FourierIntegers;
    /// use tfhe_core::torus::{decode, encode};
    ///
    /// let mut plaintext = vec![0; 1024];
    /// (plaintext[0], plaintext[1]) = (encode(3, 6), encode(-2, 6));
    /// let ciphertext = key.encrypt(&fft, &plaintext, noise, &mut seed).expand();
    /// // (3 − 2X)·(1 + 5X) = 3 + 13X − 10X²
    /// let mut weights = vec![0; 1024];
    /// (weights[0], weights[1]) = (1, 5);
    ///
    /// let scratch = &mut fft.scratch();
    /// let mut sum = FourierGlwe::zero(&fft, shape);
    /// sum.add_product(&fft, &FourierGlwe::new(&fft, &ciphertext, scratch), &FourierIntegers::new(&fft, &weights, scratch));
    /// let phase = key.phase(&fft, &sum.inverse(&fft, scratch));
    /// assert_eq!([phase[0], phase[1], phase[2], phase[3]].map(|x| decode(x, 6)), [3, 13, -10, 0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_product(&mut self, fft: &NegacyclicFft, ciphertext: &Self, plaintext: &FourierIntegers) {
        for (sum, polynomial) in self.polynomials.iter_mut().zip(&ciphertext.polynomials) {
            sum.add_product(fft, polynomial, plaintext);
        }
    }

    /// Transforms back.
    pub fn inverse(mut self, fft: &NegacyclicFft, scratch: &mut FftScratch) -> GlweCiphertext {
        let mut out = GlweCiphertext::zero(self.shape);
        let n = self.shape.polynomial_size.get();
        for (polynomial, output) in self.polynomials.iter_mut().zip(out.data.chunks_exact_mut(n)) {
            polynomial.inverse_add(fft, output, scratch);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::tests::assert_variance;
    use crate::params::NoiseDistribution;
    use crate::random::{EncryptionSeed, SecretSeed};
    use crate::torus;

    const NOISE: NoiseDistribution = NoiseDistribution::TUniform { bound_log: 17 };

    fn setup(k: usize, n: usize) -> (NegacyclicFft, GlweSecretKey, EncryptionSeed) {
        let shape = GlweShape::new(k, n).unwrap();
        let fft = NegacyclicFft::new(shape.polynomial_size);
        let seed = SecretSeed::from_number(5);
        let key = GlweSecretKey::generate(&mut seed.experiment_bits(0), shape, &fft);
        (fft, key, seed.experiment(0))
    }

    #[test]
    fn fresh_noise_has_the_predicted_variance() {
        let (fft, key, mut seed) = setup(1, 2048);
        let plaintext: Vec<u64> = (0..2048_u64).map(|j| j << 50).collect();
        let mut errors = Vec::new();
        for _ in 0..10 {
            let ciphertext = key.encrypt(&fft, &plaintext, NOISE, &mut seed).expand();
            let phase = key.phase(&fft, &ciphertext);
            errors.extend(phase.iter().zip(&plaintext).map(|(&p, &m)| torus::to_f64(p.wrapping_sub(m))));
        }
        assert_variance("fresh GLWE", &errors, NOISE.variance(), 0.05);
    }

    #[test]
    fn extraction_and_embedding_agree_with_the_phase() {
        let (fft, key, mut seed) = setup(2, 64);
        let plaintext: Vec<u64> = (0..64_u64).map(|j| j << 50).collect();
        let ciphertext = key.encrypt(&fft, &plaintext, NOISE, &mut seed).expand();
        let phase = key.phase(&fft, &ciphertext);
        let lwe_key = key.extracted_lwe_key();
        for position in [0, 1, 31, 63] {
            let sample = ciphertext.sample_extract(position);
            assert_eq!(lwe_key.phase(&sample), phase[position]);
            let embedded = GlweCiphertext::embed(key.shape(), &sample);
            assert_eq!(key.phase(&fft, &embedded)[0], phase[position]);
            assert_eq!(embedded.sample_extract(0), sample);
        }
    }

    #[test]
    fn plaintext_products_are_exact() {
        let (fft, key, mut seed) = setup(1, 256);
        let plaintext: Vec<u64> = (0..256_u64).map(|j| j << 50).collect();
        let ciphertext = key.encrypt(&fft, &plaintext, NOISE, &mut seed).expand();
        let weights: Vec<i32> = (0..256).map(|j| j % 15 - 7).collect();
        let scratch = &mut fft.scratch();
        let mut product = FourierGlwe::zero(&fft, key.shape());
        let fourier = FourierGlwe::new(&fft, &ciphertext, scratch);
        product.add_product(&fft, &fourier, &FourierIntegers::new(&fft, &weights, scratch));
        let product = product.inverse(&fft, scratch);
        let mut expected = vec![0; 256];
        let wide: Vec<i64> = weights.iter().map(|&w| w as i64).collect();
        polynomial::schoolbook_add(&wide, &key.phase(&fft, &ciphertext), &mut expected);
        assert_eq!(key.phase(&fft, &product), expected);
    }
}
