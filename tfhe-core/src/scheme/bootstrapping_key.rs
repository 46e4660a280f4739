//! Bootstrapping keys: a GGSW encryption, under a GLWE key, of each bit of an LWE key.
//!
//! What they are for: [`crate::blind_rotation`] and [`crate::programmable_bootstrap`].
//!
//! In the book: [chapter 5, bootstrapping](../../../book/05-bootstrapping.html).

use rayon::prelude::*;

use crate::fft::NegacyclicFft;
use crate::ggsw::{FourierGgsw, SeededGgswCiphertext};
use crate::params::{Gadget, GlweShape, LweDimension};

#[cfg(feature = "secret-keys")]
mod secret;

/// A bootstrapping key as stored: a GGSW encryption of each bit of an LWE key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeededBootstrappingKey {
    bits: Vec<SeededGgswCiphertext>,
}

impl SeededBootstrappingKey {
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

/// Parts, for [`crate::raw`] and [`crate::format`].
impl SeededBootstrappingKey {
    /// Of the GGSW encryption of each bit.
    pub(crate) fn from_bits(bits: Vec<SeededGgswCiphertext>) -> Self {
        Self { bits }
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lwe::LweSecretKey;
    use crate::params::Precision;

    /// (k+1)·ℓ rows of k+1 polynomials for each bit, 8 bytes to a coefficient, twice as many for halves; in order, with more bits than are
    /// prepared together.
    #[test]
    fn keys_have_a_ciphertext_for_each_bit() {
        let setup = crate::testing::Setup::new(2, 16);
        let lwe = LweDimension::new(70).unwrap();
        let small = LweSecretKey::generate(&mut setup.seed.experiment_bits(1), lwe);
        for (precision, limbs) in [(Precision::Single, 1), (Precision::Split, 2)] {
            let gadget = Gadget::new(8, 2, precision).unwrap();
            let seed = setup.seed.experiment(1);
            let seeded = SeededBootstrappingKey::generate(&setup.fft, &small, &setup.key, gadget, setup.noise, seed);
            let bits: Vec<_> = seeded.bits().iter().map(|bit| bit.clone().prepare(&setup.fft)).collect();
            let key = seeded.prepare(&setup.fft, setup.key.shape());
            assert_eq!((key.lwe_dimension(), key.gadget(), key.shape()), (lwe, gadget, setup.key.shape()));
            assert_eq!(key.bytes(), 70 * (3 * 2) * 3 * 16 * 8 * limbs);
            assert!(key.bits().iter().zip(&bits).all(|(bit, expected)| bit.rows().data() == expected.rows().data()));
        }
    }
}
