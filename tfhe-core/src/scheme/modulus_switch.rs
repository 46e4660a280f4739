//! The modulus switch: from the torus to multiples of 1/2N, the exponents of a blind rotation.
//!
//! # Mean compensation
//! Rounding the mask leaves errors δ_i; they add Σ δ_i·s_i to the phase, whose mean over the secret, Σ δ_i/2, is known
//! and is taken off the body. What remains has half the variance (de Ruijter, D'Anvers, Verbauwhede, ePrint 2025/809).
//!
//! In the book: [chapter 5, bootstrapping](../../../book/05-bootstrapping.html).

use crate::lwe::LweCiphertext;
use crate::params::PolynomialSize;

/// An LWE ciphertext modulo 2N.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModulusSwitchedLwe {
    mask: Vec<usize>,
    body: usize,
}

impl ModulusSwitchedLwe {
    /// a, each element from 0 to 2N − 1.
    pub fn mask(&self) -> &[usize] {
        &self.mask
    }

    /// b, from 0 to 2N − 1.
    pub fn body(&self) -> usize {
        self.body
    }
}

/// Rounds a ciphertext to multiples of 1/2N, with mean compensation. O(n).
///
/// # Examples
/// Angles in 2N steps, since that is how far a polynomial can be turned. The phase of what is left is off by a few steps,
/// which is what makes tables of many entries hard.
/// ```
/// # use tfhe_core::lwe::LweSecretKey;
/// # use tfhe_core::params::{Gadget, LweDimension, NoiseDistribution, Precision};
/// # use tfhe_core::random::{EncryptionSeed, SecretStream};
/// # use tfhe_core::torus::{decode, encode, to_f64};
/// use tfhe_core::modulus_switch::modulus_switch;
/// use tfhe_core::noise;
/// use tfhe_core::params::PolynomialSize;
///
/// let n = PolynomialSize::new(1024)?;
/// # let key = LweSecretKey::generate(&mut SecretStream::from_system()?, LweDimension::new(512)?);
/// # let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
/// # let noise = NoiseDistribution::TUniform { bound_log: 17 };
/// let ciphertext = key.encrypt(encode(3, 4), noise, &mut masks, &mut noises);
/// let switched = modulus_switch(&ciphertext, n);
/// assert!(switched.mask().iter().all(|&a| a < 2048));
///
/// // As a ciphertext again, for its phase.
/// let data = switched.mask().iter().chain([&switched.body()]).map(|&x| encode(x as i64, 11)).collect();
/// let error = to_f64(key.phase(&tfhe_core::lwe::LweCiphertext::from_data(data)).wrapping_sub(encode(3, 4)));
/// assert!(error.abs() < 8.0 * noise::modulus_switch(key.dimension(), n).std());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn modulus_switch(ciphertext: &LweCiphertext, polynomial_size: PolynomialSize) -> ModulusSwitchedLwe {
    let bits = polynomial_size.log2() + 1;
    let wrap = (1_usize << bits) - 1;
    let round = |x: u64| crate::torus::switch_modulus(x, bits) as usize & wrap;
    // Of n ≥ 2N errors, each up to q/4N, the sum may be beyond 64 bits.
    let mut error_sum = 0_i128;
    let mask = ciphertext
        .mask()
        .iter()
        .map(|&a| {
            let rounded = round(a);
            error_sum += i128::from(a.wrapping_sub((rounded as u64) << (64 - bits)) as i64);
            rounded
        })
        .collect();
    ModulusSwitchedLwe { mask, body: round(ciphertext.body().wrapping_sub((error_sum / 2) as u64)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lwe::LweSecretKey;
    use crate::noise::tests::assert_variance;
    use crate::params::{LweDimension, NoiseDistribution};
    use crate::random::SecretSeed;
    use crate::{noise, torus};

    #[test]
    fn mean_compensation_halves_the_variance_of_the_modulus_switch() {
        let n = PolynomialSize::new(1024).unwrap();
        let lwe = LweDimension::new(600).unwrap();
        let seed = SecretSeed::from_number(3);
        let key = LweSecretKey::generate(&mut seed.experiment_bits(0), lwe);
        let (mut masks, mut noises) = seed.experiment(0).into_streams();
        let quiet = NoiseDistribution::TUniform { bound_log: 4 };
        let errors: Vec<f64> = (0..20_000)
            .map(|_| {
                let input = key.encrypt(1 << 61, quiet, &mut masks, &mut noises);
                let switched = modulus_switch(&input, n);
                let sum: usize = switched.mask.iter().zip(key.bits()).map(|(&a, &s)| a * s as usize).sum();
                let phase = (switched.body as u64).wrapping_sub(sum as u64) << 53;
                torus::to_f64(phase.wrapping_sub(1 << 61))
            })
            .collect();
        assert_variance("modulus switch", &errors, noise::modulus_switch(lwe, n), 0.06);
    }
}
