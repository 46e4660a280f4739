//! Bootstrapping keys: a GGSW encryption, under a GLWE key, of each bit of an LWE key.
//!
//! What they are for: [`crate::blind_rotation`] and [`crate::programmable_bootstrap`].

use rayon::prelude::*;

use crate::fft::NegacyclicFft;
use crate::ggsw::{FourierGgsw, SeededGgswCiphertext};
use crate::glwe::GlweSecretKey;
use crate::lwe::LweSecretKey;
use crate::params::{Gadget, GlweShape, LweDimension, NoiseDistribution};
use crate::random::{EncryptionSeed, PublicSeed};
use crate::rows::RowGenerator;

/// A bootstrapping key as stored: a GGSW encryption of each bit of an LWE key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeededBootstrappingKey {
    bits: Vec<SeededGgswCiphertext>,
}

impl SeededBootstrappingKey {
    /// Encrypts the bits of `from` under `to`; bit i uses the streams i of `seed`. In parallel over the bits.
    ///
    /// # Examples
    /// The bits of the small key, each as a GGSW ciphertext under the big one: what a server needs to turn a polynomial by a
    /// phase that it cannot read.
    /// ```
    /// use tfhe_core::bootstrapping_key::SeededBootstrappingKey;
    /// use tfhe_core::fft::NegacyclicFft;
    /// use tfhe_core::glwe::{GlweCiphertext, GlweSecretKey};
    /// use tfhe_core::lwe::LweSecretKey;
    /// use tfhe_core::params::{Gadget, GlweShape, LweDimension, NoiseDistribution, Precision};
    /// use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// use tfhe_core::torus::{decode, encode};
    ///
    /// let shape = GlweShape::new(1, 1024)?;
    /// let fft = NegacyclicFft::new(shape.polynomial_size);
    /// let (gadget, noise) = (Gadget::new(10, 3, Precision::Single)?, NoiseDistribution::TUniform { bound_log: 17 });
    /// let big = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// let small = LweSecretKey::generate(&mut SecretStream::from_system()?, LweDimension::new(64)?);
    /// let seed = EncryptionSeed::from_system()?;
    /// let key = SeededBootstrappingKey::generate(&fft, &small, &big, gadget, noise, seed).prepare(&fft, shape);
    /// let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
    ///
    /// assert_eq!((key.gadget(), key.shape()), (gadget, shape));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        self.bits.iter().map(SeededGgswCiphertext::bytes).sum::<usize>() + size_of::<PublicSeed>()
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
        BootstrappingKey { fft: fft.clone(), shape, bits: FourierGgsw::gather(count, chunks.flatten()) }
    }
}

/// A bootstrapping key in the Fourier domain.
#[derive(Clone, Debug)]
pub struct BootstrappingKey {
    fft: NegacyclicFft,
    shape: GlweShape,
    bits: Vec<FourierGgsw>,
}

impl BootstrappingKey {
    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.bits.iter().map(FourierGgsw::bytes).sum()
    }

    /// The plan that it was prepared with.
    pub(crate) fn fft(&self) -> &NegacyclicFft {
        &self.fft
    }

    /// The GGSW encryption of each bit.
    pub(crate) fn bits(&self) -> &[FourierGgsw] {
        &self.bits
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
}

/// Parts, for [`crate::raw`].
impl SeededBootstrappingKey {
    /// The GGSW encryption of each bit.
    pub(crate) fn bits(&self) -> &[SeededGgswCiphertext] {
        &self.bits
    }
}

/// Parts, for [`crate::raw`].
impl BootstrappingKey {
    /// Of the GGSW encryption of each bit.
    pub(crate) fn from_bits(fft: &NegacyclicFft, shape: GlweShape, bits: Vec<FourierGgsw>) -> Self {
        Self { fft: fft.clone(), shape, bits: FourierGgsw::gather(bits.len(), bits) }
    }
}
