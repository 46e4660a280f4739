//! GGSW: encryptions of small integers that multiply GLWE ciphertexts ([`crate::external_product`]).
//!
//! A GGSW ciphertext of an integer m under S ∈ `B[X]^k` is a matrix of (k+1)·ℓ GLWE ciphertexts: row (i, level) encrypts
//! −m·S_i·q/β^level for i < k, and m·q/β^level for i = k (Gentry, Sahai, Waters, Crypto 2013; Chillotti et al., J. Cryptology
//! 2020, section 3.2). Stored, it is its bodies and the seed of its masks, [`SeededGgswCiphertext`]; made ready for products, it is
//! in the Fourier domain, [`FourierGgsw`].
//!
//! In the book: [chapter 3, gadgets and the external product](../../../book/03-gadget-and-external-product.html).

use crate::fft::NegacyclicFft;
use crate::gadget_product::{FourierRows, GadgetScratch};
use crate::params::{Gadget, GlweShape};
use crate::rows::SeededRows;

#[cfg(feature = "secret-keys")]
mod secret;

/// A GGSW ciphertext as stored: the seed of its masks, and its bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeededGgswCiphertext(SeededRows);

/// A GGSW ciphertext in the Fourier domain, ready for external products and CMUXes.
#[derive(Clone, Debug)]
pub struct FourierGgsw(FourierRows);

impl SeededGgswCiphertext {
    /// Of its rows.
    pub(crate) fn from_rows(rows: SeededRows) -> Self {
        Self(rows)
    }

    /// Its rows.
    pub(crate) fn rows(&self) -> &SeededRows {
        &self.0
    }

    /// (β, ℓ).
    pub(crate) fn gadget(&self) -> Gadget {
        self.0.gadget()
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
