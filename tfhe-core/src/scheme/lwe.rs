//! LWE: secret keys, ciphertexts, linear operations.
//!
//! A ciphertext of μ ∈ T_q under s ∈ {0,1}^n is (a, b) with a uniform and b = Σ a_i·s_i + μ + e
//! (Regev, STOC 2005; on the torus: Chillotti et al., J. Cryptology 2020, section 3).

use zeroize::Zeroize;

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

    /// The body for a given mask: Σ a_i·s_i + plaintext + e.
    pub(crate) fn body(&self, mask: &[u64], plaintext: u64, noise: NoiseDistribution, noises: &mut NoiseStream) -> u64 {
        self.inner_product(mask).wrapping_add(plaintext).wrapping_add(noises.noise(noise))
    }

    fn inner_product(&self, mask: &[u64]) -> u64 {
        debug_assert_eq!(mask.len(), self.bits.len());
        mask.iter().zip(&self.bits).fold(0_u64, |sum, (&a, &s)| sum.wrapping_add(a & s.wrapping_neg()))
    }

    /// The phase b − Σ a_i·s_i = μ + e.
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

/// An LWE ciphertext: n mask elements, then the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LweCiphertext {
    data: Vec<u64>,
}

impl LweCiphertext {
    /// The noiseless, unencrypted ciphertext of `plaintext`.
    pub fn trivial(dimension: LweDimension, plaintext: u64) -> Self {
        let mut data = vec![0; dimension.get() + 1];
        data[dimension.get()] = plaintext;
        Self { data }
    }

    /// From n mask elements and a body.
    ///
    /// # Panics
    /// If there are fewer than two elements.
    pub fn from_data(data: Vec<u64>) -> Self {
        assert!(data.len() >= 2, "an LWE ciphertext has at least one mask element and a body");
        Self { data }
    }

    /// The mask a and the body b, in one slice of n+1.
    pub fn data(&self) -> &[u64] {
        &self.data
    }

    /// n.
    pub fn dimension(&self) -> usize {
        self.data.len() - 1
    }

    /// a.
    pub fn mask(&self) -> &[u64] {
        &self.data[..self.data.len() - 1]
    }

    /// b.
    pub fn body(&self) -> u64 {
        self.data[self.data.len() - 1]
    }

    /// Adds a public torus element.
    pub fn add_plaintext(&mut self, plaintext: u64) {
        let last = self.data.len() - 1;
        self.data[last] = self.data[last].wrapping_add(plaintext);
    }

    /// `self += factor · other`, for an integer factor. Variances add as σ² += factor²·σ_other².
    ///
    /// # Examples
    /// Ciphertexts are added as messages are, and so is their noise: 2·3 − 5 = 1, with (4 + 1) times the variance.
    /// ```
    /// # use tfhe_core::lwe::LweSecretKey;
    /// # use tfhe_core::params::{LweDimension, NoiseDistribution};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # use tfhe_core::torus::{decode, encode, to_f64};
    /// # use tfhe_core::variance::Variance;
    /// # let key = LweSecretKey::generate(&mut SecretStream::from_system()?, LweDimension::new(64)?);
    /// # let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
    /// let noise = NoiseDistribution::Gaussian { log2_std: -20.0 };
    /// let mut errors = Vec::new();
    /// for _ in 0..2000 {
    ///     let mut sum = key.encrypt(encode(3, 4), noise, &mut masks, &mut noises);
    ///     sum.scale(2);
    ///     sum.add_scaled(&key.encrypt(encode(5, 4), noise, &mut masks, &mut noises), -1);
    ///     assert_eq!(decode(key.phase(&sum), 4), 1);
    ///     errors.push(to_f64(key.phase(&sum).wrapping_sub(encode(1, 4))));
    /// }
    /// let ratio = Variance::measured(&errors).get() / noise.variance().repeated(5.0).get();
    /// assert!((0.7..1.3).contains(&ratio), "{ratio}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If the dimensions differ.
    pub fn add_scaled(&mut self, other: &Self, factor: i64) {
        assert_eq!(self.data.len(), other.data.len(), "LWE dimensions differ");
        crate::polynomial::add_scaled(&other.data, factor, &mut self.data);
    }

    /// `self *= factor`, for an integer factor.
    pub fn scale(&mut self, factor: i64) {
        self.data.iter_mut().for_each(|x| *x = x.wrapping_mul(factor as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::tests::assert_variance;
    use crate::random::SecretSeed;
    use crate::torus;

    #[test]
    fn fresh_noise_has_the_predicted_variance() {
        let noise = NoiseDistribution::TUniform { bound_log: 45 };
        let seed = SecretSeed::from_number(1);
        let key = LweSecretKey::generate(&mut seed.experiment_bits(0), LweDimension::new(64).unwrap());
        let (mut masks, mut noises) = seed.experiment(0).into_streams();
        let errors: Vec<f64> = (0..20_000_u64)
            .map(|i| {
                let plaintext = i << 50;
                torus::to_f64(
                    key.phase(&key.encrypt(plaintext, noise, &mut masks, &mut noises)).wrapping_sub(plaintext),
                )
            })
            .collect();
        assert_variance("fresh LWE", &errors, noise.variance(), 0.05);
    }

    #[test]
    fn linear_operations_act_on_the_plaintext() {
        let noise = NoiseDistribution::TUniform { bound_log: 10 };
        let seed = SecretSeed::from_number(2);
        let key = LweSecretKey::generate(&mut seed.experiment_bits(0), LweDimension::new(30).unwrap());
        let (mut masks, mut noises) = seed.experiment(0).into_streams();
        let mut a = key.encrypt(3 << 59, noise, &mut masks, &mut noises);
        let b = key.encrypt(1 << 59, noise, &mut masks, &mut noises);
        a.add_scaled(&b, -5);
        a.scale(2);
        a.add_plaintext(1 << 59);
        assert_eq!(torus::switch_modulus(key.phase(&a), 5) % 32, (2 * (3 - 5) + 1_i64).rem_euclid(32) as u64);
        assert!(!format!("{key:?}").contains('['));
    }
}
