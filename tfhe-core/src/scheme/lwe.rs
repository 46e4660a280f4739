//! LWE: secret keys, ciphertexts, linear operations.
//!
//! A ciphertext of `μ ∈ T_q` under `s ∈ {0,1}^n` is (a, b) with a uniform and `b = Σ a_i·s_i + μ + e`
//! (Regev, STOC 2005; on the torus: Chillotti et al., J. Cryptology 2020, section 3).
//!
//! In the book: [chapter 1, torus and LWE](../../../book/01-torus-and-lwe.html).

use crate::params::LweDimension;

#[cfg(feature = "secret-keys")]
mod secret;

#[cfg(feature = "secret-keys")]
pub use secret::LweSecretKey;

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
    ///
    /// # Examples
    /// What is public needs no encryption, and adds no noise.
    /// ```
    /// use tfhe_core::lwe::LweCiphertext;
    /// use tfhe_core::params::LweDimension;
    /// let mut ciphertext = LweCiphertext::trivial(LweDimension::new(4)?, 5);
    /// ciphertext.add_plaintext(7);
    /// assert_eq!((ciphertext.mask(), ciphertext.body()), (&[0; 4][..], 12));
    /// # Ok::<(), tfhe_core::params::ParameterError>(())
    /// ```
    pub fn add_plaintext(&mut self, plaintext: u64) {
        let last = self.data.len() - 1;
        self.data[last] = self.data[last].wrapping_add(plaintext);
    }

    /// `self += factor · other`, for an integer factor. Variances add as `σ² += factor²·σ_other²`.
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
    ///
    /// # Examples
    /// ```
    /// use tfhe_core::lwe::LweCiphertext;
    /// let mut ciphertext = LweCiphertext::from_data(vec![1, 2, 3]);
    /// ciphertext.scale(-2);
    /// assert_eq!(ciphertext, LweCiphertext::from_data([-2_i64, -4, -6].map(|x| x as u64).to_vec()));
    /// ```
    pub fn scale(&mut self, factor: i64) {
        self.data.iter_mut().for_each(|x| *x = x.wrapping_mul(factor as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::tests::assert_variance;
    use crate::params::NoiseDistribution;
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
