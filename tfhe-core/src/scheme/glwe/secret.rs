//! GLWE secret keys: encryption and decryption.

use zeroize::{Zeroize, Zeroizing};

use super::{GlweCiphertext, SeededGlweCiphertext};
use crate::fft::{FftScratch, NegacyclicFft};
use crate::integer_product::{FourierIntegers, FourierTorus};
use crate::lwe::LweSecretKey;
use crate::params::{GlweShape, NoiseDistribution};
use crate::random::{EncryptionSeed, NoiseStream, SecretStream};
use crate::wiping::leaving_nothing_on_the_stack;

/// A binary secret key of k polynomials. Wiped on drop, never printed.
pub struct GlweSecretKey {
    shape: GlweShape,
    bits: Vec<u64>,
    fourier: Vec<FourierIntegers>,
}

/// Working memory of products of masks with a key. Wiped on drop.
pub(crate) struct InnerProductScratch {
    fft: FftScratch,
    sum: Zeroizing<FourierTorus>,
}

impl InnerProductScratch {
    pub(crate) fn new(fft: &NegacyclicFft) -> Self {
        Self { fft: fft.scratch(), sum: Zeroizing::new(FourierTorus::zero(fft)) }
    }
}

impl GlweSecretKey {
    /// The next k·N bits of `stream`. `fft` must be a plan of size N.
    pub fn generate(stream: &mut SecretStream, shape: GlweShape, fft: &NegacyclicFft) -> Self {
        let mut bits = vec![0; shape.extracted_lwe_dimension().get()];
        stream.fill_binary(&mut bits);
        Self::from_bits(shape, bits, fft)
    }

    /// The key of `shape` whose extracted LWE key is `key`. `fft` must be a plan of size N.
    ///
    /// # Examples
    /// 1024 bits, as one polynomial or as eight: the same bits.
    /// ```
    /// use tfhe_core::fft::NegacyclicFft;
    /// use tfhe_core::glwe::GlweSecretKey;
    /// use tfhe_core::lwe::LweSecretKey;
    /// use tfhe_core::params::{GlweShape, LweDimension, NoiseDistribution};
    /// use tfhe_core::random::{EncryptionSeed, SecretStream};
    ///
    /// let bits = LweSecretKey::generate(&mut SecretStream::from_system()?, LweDimension::new(1024)?);
    /// let shape = GlweShape::new(8, 128)?;
    /// let key = GlweSecretKey::from_lwe_key(&bits, shape, &NegacyclicFft::new(shape.polynomial_size));
    /// let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
    /// let ciphertext = bits.encrypt(5, NoiseDistribution::TUniform { bound_log: 40 }, &mut masks, &mut noises);
    /// assert_eq!(key.extracted_lwe_key().phase(&ciphertext), bits.phase(&ciphertext));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If the dimension of `key` is not kN.
    pub fn from_lwe_key(key: &LweSecretKey, shape: GlweShape, fft: &NegacyclicFft) -> Self {
        assert_eq!(key.dimension(), shape.extracted_lwe_dimension(), "an LWE key of dimension kN");
        Self::from_bits(shape, key.bits().to_vec(), fft)
    }

    /// The key of polynomials S_i(X^r) in the ring of `fft`, r times as large: that of ciphertexts after
    /// [`GlweCiphertext::into_larger_ring`].
    ///
    /// # Panics
    /// If the ring of `fft` is smaller.
    pub fn in_larger_ring(&self, fft: &NegacyclicFft) -> Self {
        let (old, size) = (self.shape.polynomial_size.get(), fft.polynomial_size());
        assert!(size.get() >= old, "a ring at least as large");
        let mut bits = vec![0; self.shape.dimension.get() * size.get()];
        bits.iter_mut().step_by(size.get() / old).zip(&self.bits).for_each(|(out, &bit)| *out = bit);
        Self::from_bits(GlweShape { polynomial_size: size, ..self.shape }, bits, fft)
    }

    /// From k·N bits and a plan of size N.
    pub(crate) fn from_bits(shape: GlweShape, bits: Vec<u64>, fft: &NegacyclicFft) -> Self {
        let transform = |polynomial: &[u64]| {
            let small: Zeroizing<Vec<i32>> = Zeroizing::new(polynomial.iter().map(|&bit| bit as i32).collect());
            FourierIntegers::new(fft, &small, &mut fft.scratch())
        };
        let polynomials = bits.chunks_exact(shape.polynomial_size.get());
        let fourier = leaving_nothing_on_the_stack(|| polynomials.map(transform).collect());
        Self { shape, bits, fourier }
    }

    /// k and N.
    pub fn shape(&self) -> GlweShape {
        self.shape
    }

    /// S_i, for 0 ≤ i < k.
    pub(crate) fn polynomial(&self, i: usize) -> &[u64] {
        let n = self.shape.polynomial_size.get();
        &self.bits[i * n..(i + 1) * n]
    }

    /// The LWE key of dimension kN under which extracted samples are encrypted.
    pub fn extracted_lwe_key(&self) -> LweSecretKey {
        LweSecretKey::from_bits(self.bits.clone())
    }

    /// `output += Σ A_i·S_i`, exactly: `mask` `[k·N]`, `output` `[N]`.
    fn add_inner_product(
        &self,
        fft: &NegacyclicFft,
        mask: &[u64],
        output: &mut [u64],
        InnerProductScratch { fft: scratch, sum }: &mut InnerProductScratch,
    ) {
        sum.clear();
        for (a, s) in mask.chunks_exact(self.shape.polynomial_size.get()).zip(&self.fourier) {
            sum.add_product(fft, &FourierTorus::new(fft, a, scratch), s);
        }
        sum.inverse_add(fft, output, scratch);
    }

    /// Turns `body`, holding a plaintext `[N]`, into the body of its encryption under the given mask `[k·N]`.
    pub(crate) fn encrypt_body(
        &self,
        fft: &NegacyclicFft,
        mask: &[u64],
        body: &mut [u64],
        noise: NoiseDistribution,
        noises: &mut NoiseStream,
        scratch: &mut InnerProductScratch,
    ) {
        body.iter_mut().for_each(|x| *x = x.wrapping_add(noises.noise(noise)));
        self.add_inner_product(fft, mask, body, scratch);
    }

    /// Encrypts `plaintext` `[N]`, with the next masks and noise of `seed`. O(N log N).
    ///
    /// # Examples
    /// A GLWE ciphertext holds N messages, the coefficients of a polynomial, at the price of one key: here 1024 of them in 16
    /// kB, and 8 as long as the masks are given by their seed. Each coefficient has noise of its own.
    /// ```
    /// use tfhe_core::fft::NegacyclicFft;
    /// use tfhe_core::glwe::GlweSecretKey;
    /// use tfhe_core::params::{GlweShape, NoiseDistribution};
    /// use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// use tfhe_core::torus::{decode, encode, to_f64};
    /// use tfhe_core::variance::Variance;
    ///
    /// let shape = GlweShape::new(1, 1024)?;
    /// let fft = NegacyclicFft::new(shape.polynomial_size);
    /// let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// let noise = NoiseDistribution::TUniform { bound_log: 24 };
    /// let mut seed = EncryptionSeed::from_system()?;
    ///
    /// let messages: Vec<i64> = (0..1024).map(|j| j % 8 - 4).collect();
    /// let plaintext: Vec<u64> = messages.iter().map(|&m| encode(m, 3)).collect();
    /// let ciphertext = key.encrypt(&fft, &plaintext, noise, &mut seed).expand();
    ///
    /// let phase = key.phase(&fft, &ciphertext);
    /// assert!(phase.iter().zip(&messages).all(|(&x, &m)| decode(x, 3) == m));
    /// let errors: Vec<f64> = phase.iter().zip(&plaintext).map(|(&x, &y)| to_f64(x.wrapping_sub(y))).collect();
    /// let ratio = Variance::measured(&errors).get() / noise.variance().get();
    /// assert!((0.7..1.3).contains(&ratio), "{ratio}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If there are not N coefficients.
    pub fn encrypt(
        &self,
        fft: &NegacyclicFft,
        plaintext: &[u64],
        noise: NoiseDistribution,
        seed: &mut EncryptionSeed,
    ) -> SeededGlweCiphertext {
        let index = seed.take(1);
        self.encrypt_with(fft, plaintext, noise, seed, index)
    }

    /// The same with the streams `index`, which the caller must have taken.
    pub(crate) fn encrypt_with(
        &self,
        fft: &NegacyclicFft,
        plaintext: &[u64],
        noise: NoiseDistribution,
        seed: &EncryptionSeed,
        index: u64,
    ) -> SeededGlweCiphertext {
        assert_eq!(plaintext.len(), self.shape.polynomial_size.get(), "the plaintext has N coefficients");
        let (mut masks, mut noises) = seed.streams(index);
        let mut mask = vec![0; self.bits.len()];
        masks.fill_uniform(&mut mask);
        let mut body = plaintext.to_vec();
        leaving_nothing_on_the_stack(|| {
            self.encrypt_body(fft, &mask, &mut body, noise, &mut noises, &mut InnerProductScratch::new(fft));
        });
        SeededGlweCiphertext { shape: self.shape, seed: seed.masks(), index, body }
    }

    /// The phase `B − Σ A_i·S_i = M + E`.
    pub fn phase(&self, fft: &NegacyclicFft, ciphertext: &GlweCiphertext) -> Vec<u64> {
        assert_eq!(ciphertext.shape, self.shape, "key and ciphertext have the same shape");
        let mut phase = vec![0; self.shape.polynomial_size.get()];
        leaving_nothing_on_the_stack(|| {
            self.add_inner_product(fft, ciphertext.mask(), &mut phase, &mut InnerProductScratch::new(fft));
        });
        phase.iter_mut().zip(ciphertext.body()).for_each(|(product, &b)| *product = b.wrapping_sub(*product));
        phase
    }
}

impl Drop for GlweSecretKey {
    fn drop(&mut self) {
        self.bits.zeroize();
        self.fourier.zeroize();
    }
}

impl std::fmt::Debug for GlweSecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GlweSecretKey({:?}, redacted)", self.shape)
    }
}
