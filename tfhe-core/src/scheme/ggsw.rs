//! GGSW: encryptions of small integers that multiply GLWE ciphertexts ([`crate::external_product`]).
//!
//! A GGSW ciphertext of an integer m under S ∈ `B[X]^k` is a matrix of (k+1)·ℓ GLWE ciphertexts: row (i, level) encrypts
//! −m·S_i·q/β^level for i < k, and m·q/β^level for i = k (Gentry, Sahai, Waters, Crypto 2013; Chillotti et al., J. Cryptology
//! 2020, section 3.2). Stored, it is its bodies and the seed of its masks, [`SeededGgswCiphertext`]; made ready for products, it is
//! in the Fourier domain, [`FourierGgsw`].

use zeroize::Zeroizing;

use crate::fft::NegacyclicFft;
use crate::gadget_product::{FourierRows, GadgetScratch};
use crate::glwe::GlweSecretKey;
use crate::params::{Gadget, GlweShape, NoiseDistribution};
use crate::random::EncryptionSeed;
use crate::rows::{RowGenerator, SeededRows};

/// A GGSW ciphertext as stored: the seed of its masks, and its bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeededGgswCiphertext(SeededRows);

/// A GGSW ciphertext in the Fourier domain, ready for external products and CMUXes.
#[derive(Clone, Debug)]
pub struct FourierGgsw(FourierRows);

impl GlweSecretKey {
    /// A GGSW encryption of the integer `message`, with the next masks and noise of `seed`. `fft` must be a plan of size N.
    /// O((k+1)·ℓ·N log N).
    ///
    /// # Examples
    /// A GGSW ciphertext encrypts a small integer so often, at each digit's weight and times each part of the key, that it
    /// can multiply a GLWE ciphertext: (k+1)²·ℓ polynomials in place of k+1. What is stored has seeds for masks, what
    /// multiplies is transformed.
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
    /// use tfhe_core::params::{Gadget, Precision};
    ///
    /// let gadget = Gadget::new(8, 3, Precision::Single)?;
    /// let seeded = key.encrypt_ggsw(&fft, -1, gadget, noise, &mut seed);
    /// assert_eq!(seeded.expand().len(), 2 * 2 * 3 * 1024);
    /// assert_eq!(seeded.bytes(), 2 * 3 * 1024 * 8);
    /// assert_eq!(seeded.prepare(&fft).gadget(), gadget);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If products with the gadget would not be exact ([`Gadget::in_ring`]).
    pub fn encrypt_ggsw(
        &self,
        fft: &NegacyclicFft,
        message: i64,
        gadget: Gadget,
        noise: NoiseDistribution,
        seed: &mut EncryptionSeed,
    ) -> SeededGgswCiphertext {
        let stream = seed.take(1);
        RowGenerator { fft, key: self, gadget, noise, seed }.ggsw(message as u64, stream)
    }
}

impl RowGenerator<'_> {
    /// A GGSW encryption of the integer `m`, modulo 2^64, with the streams `stream` of the seed.
    pub(crate) fn ggsw(&self, m: u64, stream: u64) -> SeededGgswCiphertext {
        let shape = self.key.shape();
        let mut messages: Zeroizing<Vec<Vec<u64>>> = Zeroizing::new(
            (0..shape.dimension.get())
                .map(|i| self.key.polynomial(i).iter().map(|&s| s.wrapping_mul(m.wrapping_neg())).collect())
                .collect(),
        );
        let mut constant = vec![0; shape.polynomial_size.get()];
        constant[0] = m;
        messages.push(constant);
        SeededGgswCiphertext(self.rows(&messages, stream))
    }
}

impl SeededGgswCiphertext {
    /// Bytes as stored, but for the seed, which the ciphertexts of a key share.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Expands the masks: the rows `[k+1][ℓ][k+1][N]`, from the most to the least significant level.
    pub fn expand(&self) -> Vec<u64> {
        self.0.expand()
    }

    /// Expands the masks and transforms to the Fourier domain of `fft`, a plan of size N.
    pub fn prepare(&self, fft: &NegacyclicFft) -> FourierGgsw {
        FourierGgsw(self.0.prepare(fft))
    }
}

impl FourierGgsw {
    /// Transforms rows `[k+1][ℓ][k+1][N]`.
    ///
    /// # Panics
    /// If their number is another, or products with the gadget would not be exact ([`Gadget::in_ring`]).
    pub(crate) fn from_rows(fft: &NegacyclicFft, shape: GlweShape, gadget: Gadget, rows: &[u64]) -> Self {
        let columns = shape.dimension.get() + 1;
        Self(FourierRows::prepare(fft, gadget, columns, columns, rows))
    }

    /// `count` ciphertexts of one size in one piece of memory ([`FourierRows::gather`]).
    pub(crate) fn gather(count: usize, ciphertexts: impl IntoIterator<Item = Self>) -> Vec<Self> {
        FourierRows::gather(count, ciphertexts.into_iter().map(|ggsw| ggsw.0)).into_iter().map(Self).collect()
    }

    /// Its rows.
    pub(crate) fn rows(&self) -> &FourierRows {
        &self.0
    }

    /// (β, ℓ).
    pub fn gadget(&self) -> Gadget {
        self.0.gadget()
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Working memory of one thread for products on the plan `fft`, with this ciphertext and others of its shape and gadget.
    pub fn scratch(&self, fft: &NegacyclicFft) -> GadgetScratch {
        self.0.scratch(fft)
    }
}
