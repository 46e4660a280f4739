//! LWE secret keys: encryption and decryption.

use zeroize::Zeroize;

use super::LweCiphertext;
use crate::params::{LweDimension, NoiseDistribution};
use crate::random::{MaskStream, NoiseStream, SecretStream};

/// A binary secret key of n bits. Wiped on drop, never printed.
pub struct LweSecretKey {
    bits: Vec<u64>,
}

impl LweSecretKey {
    /// The next n bits of `stream`.
    pub fn generate(stream: &mut SecretStream, dimension: LweDimension) -> Self {
        let mut bits = vec![0; dimension.get()];
        stream.fill_binary(&mut bits);
        Self { bits }
    }

    pub(crate) fn from_bits(bits: Vec<u64>) -> Self {
        Self { bits }
    }

    /// The same key again, to be wiped as this one.
    pub(crate) fn copy(&self) -> Self {
        Self { bits: self.bits.clone() }
    }

    /// n.
    pub fn dimension(&self) -> LweDimension {
        LweDimension::new(self.bits.len()).expect("a key has the dimension it was made with")
    }

    pub(crate) fn bits(&self) -> &[u64] {
        &self.bits
    }

    /// Encrypts the torus element `plaintext`, drawing the mask from `masks` and the noise from `noises`.
    ///
    /// # Examples
    /// A message is an angle; its encryption under n bits is n random angles and a sum, off by a little noise. Who has the
    /// bits takes the sum of the masks away again and rounds the noise off.
    /// ```
    /// use tfhe_core::lwe::LweSecretKey;
    /// use tfhe_core::params::{LweDimension, NoiseDistribution};
    /// use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// use tfhe_core::torus::{decode, encode};
    ///
    /// let key = LweSecretKey::generate(&mut SecretStream::from_system()?, LweDimension::new(630)?);
    /// // Masks are public, noise is secret. Both are used up as they are drawn.
    /// let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
    /// let noise = NoiseDistribution::TUniform { bound_log: 45 };
    ///
    /// let ciphertext = key.encrypt(encode(5, 3), noise, &mut masks, &mut noises);
    /// let error = key.phase(&ciphertext).wrapping_sub(encode(5, 3)) as i64;
    /// assert!(error.unsigned_abs() <= 1 << 45);
    /// assert_eq!(decode(key.phase(&ciphertext), 3), 5 - 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn encrypt(
        &self,
        plaintext: u64,
        noise: NoiseDistribution,
        masks: &mut MaskStream,
        noises: &mut NoiseStream,
    ) -> LweCiphertext {
        let mut data = vec![0; self.bits.len() + 1];
        let (body, mask) = data.split_last_mut().expect("a ciphertext has a body");
        masks.fill_uniform(mask);
        *body = self.body(mask, plaintext, noise, noises);
        LweCiphertext { data }
    }

    /// The body for a given mask: `Σ a_i·s_i + plaintext + e`.
    pub(crate) fn body(&self, mask: &[u64], plaintext: u64, noise: NoiseDistribution, noises: &mut NoiseStream) -> u64 {
        self.inner_product(mask).wrapping_add(plaintext).wrapping_add(noises.noise(noise))
    }

    fn inner_product(&self, mask: &[u64]) -> u64 {
        debug_assert_eq!(mask.len(), self.bits.len());
        mask.iter().zip(&self.bits).fold(0_u64, |sum, (&a, &s)| sum.wrapping_add(a & s.wrapping_neg()))
    }

    /// The phase `b − Σ a_i·s_i = μ + e`.
    ///
    /// # Examples
    /// By hand, with 3 bits and angles in sixteenths: 9/16 − (3/16 + 4/16) = 2/16.
    /// ```
    /// use tfhe_core::lwe::{LweCiphertext, LweSecretKey};
    /// use tfhe_core::torus::{decode, encode};
    /// let key = LweSecretKey::from_raw(&[1, 0, 1])?;
    /// let ciphertext = LweCiphertext::from_data([3, 11, 4, 9].map(|x| encode(x, 4)).to_vec());
    /// assert_eq!(decode(key.phase(&ciphertext), 4), 2);
    /// # Ok::<(), tfhe_core::raw::RawError>(())
    /// ```
    pub fn phase(&self, ciphertext: &LweCiphertext) -> u64 {
        ciphertext.body().wrapping_sub(self.inner_product(ciphertext.mask()))
    }
}

impl Drop for LweSecretKey {
    fn drop(&mut self) {
        self.bits.zeroize();
    }
}

impl std::fmt::Debug for LweSecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LweSecretKey({} bits, redacted)", self.bits.len())
    }
}
