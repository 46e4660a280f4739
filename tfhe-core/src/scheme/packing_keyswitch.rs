//! Packing key switch: LWE ciphertexts into the coefficients of one GLWE ciphertext.
//!
//! The key holds, for each bit s'_i of the LWE key and each gadget level j, a GLWE encryption of the constant polynomial s'_i·q/β^j.
//! An input's switch is `(0, b) − Σ digits(a_i)·key_i`, as in [`crate::keyswitch`], times the power of X of its place
//! (Chillotti et al., J. Cryptology 2020, Algorithm 2).
//!
//! In the book: [chapter 6, key switching and packing](../../../book/06-key-switching-and-packing.html).

use crate::decomposition::decompose;
use crate::glwe::GlweCiphertext;
use crate::lwe::LweCiphertext;
use crate::params::{Gadget, GlweShape};

#[cfg(feature = "secret-keys")]
mod secret;

/// A key that packs LWE ciphertexts of dimension n into one GLWE ciphertext, by a key switch.
///
/// Each input costs n·ℓ·(k+1)·N multiplications: for few inputs of small dimension. Many ciphertexts of dimension kN are packed
/// better by [`crate::automorphism::AutomorphismKeys::pack`].
pub struct PackingKeyswitchKey {
    shape: GlweShape,
    gadget: Gadget,
    /// `[n][ℓ][(k+1)·N]`
    rows: Vec<GlweCiphertext>,
}

impl PackingKeyswitchKey {
    /// The GLWE ciphertext of Σ_i m_i·X^(positions_i).
    ///
    /// # Examples
    /// The way back from LWE to GLWE: each sample becomes a coefficient, at the place that is asked for.
    /// ```
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::GlweSecretKey;
    /// # use tfhe_core::params::{GlweShape, NoiseDistribution};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let noise = NoiseDistribution::TUniform { bound_log: 24 };
    /// # let seed = EncryptionSeed::from_system()?;
    /// // `shape`, `fft`, `key`, `noise` and `seed` as in the example of `GlweSecretKey::encrypt`.
    /// use tfhe_core::lwe::LweSecretKey;
    /// use tfhe_core::packing_keyswitch::PackingKeyswitchKey;
    /// use tfhe_core::noise;
    /// use tfhe_core::params::{Gadget, LweDimension, Precision};
    /// use tfhe_core::torus::{decode, encode, to_f64};
    ///
    /// let lwe = LweSecretKey::generate(&mut SecretStream::from_system()?, LweDimension::new(64)?);
    /// let gadget = Gadget::new(6, 4, Precision::Single)?;
    /// let packing = PackingKeyswitchKey::generate(&fft, &lwe, &key, gadget, noise, seed);
    /// let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
    /// let [a, b] = [3, -2].map(|m| lwe.encrypt(encode(m, 4), noise, &mut masks, &mut noises));
    ///
    /// let phase = key.phase(&fft, &packing.packing_keyswitch(&[(a, 0), (b, 100)]));
    /// assert_eq!([phase[0], phase[1], phase[100]].map(|x| decode(x, 4)), [3, 0, -2]);
    /// // Of each input its own noise and that of its switch; of the other one, that of the switch.
    /// let switch = noise::lwe_keyswitch(gadget, lwe.dimension(), noise.variance());
    /// let error = to_f64(phase[100].wrapping_sub(encode(-2, 4)));
    /// assert!(error.abs() < 8.0 * (noise.variance() + switch + switch).std());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If an input's dimension is not the key's, or a position is not below N.
    pub fn packing_keyswitch(&self, inputs: &[(LweCiphertext, usize)]) -> GlweCiphertext {
        let levels = self.gadget.levels();
        let mut out = GlweCiphertext::zero(self.shape);
        for (input, position) in inputs {
            assert_eq!(input.dimension() * levels, self.rows.len(), "an LWE ciphertext of the key's input dimension");
            let mut digits = vec![0; self.rows.len()];
            decompose(input.mask(), self.gadget, &mut digits);
            let mut switched = GlweCiphertext::zero(self.shape);
            switched.body_mut()[0] = input.body();
            for i in 0..input.dimension() {
                for level in 0..levels {
                    let digit = digits[level * input.dimension() + i];
                    switched.add_scaled(&self.rows[i * levels + level], -i64::from(digit));
                }
            }
            let moved = switched.map_polynomials(|x, y| crate::polynomial::rotate(x, *position, y));
            out.add_scaled(&moved, 1);
        }
        out
    }
}

/// Parts, for [`crate::raw`].
#[cfg(any(test, feature = "testing"))]
impl PackingKeyswitchKey {
    /// The rows `[n][ℓ]`.
    pub(crate) fn rows(&self) -> &[GlweCiphertext] {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lwe::LweSecretKey;
    use crate::noise;
    use crate::noise::tests::assert_variance;
    use crate::params::{LweDimension, Precision};
    use crate::testing::Setup;
    use crate::torus;

    /// A small LWE key and fresh ciphertexts under it, of (i + 1)/32 of the torus.
    fn small(setup: &Setup, count: u64) -> (LweSecretKey, Vec<LweCiphertext>) {
        let key = LweSecretKey::generate(&mut setup.seed.experiment_bits(5), LweDimension::new(80).unwrap());
        let (mut masks, mut noises) = setup.seed.experiment(5).into_streams();
        let inputs = (0..count).map(|i| key.encrypt((i + 1) << 59, setup.noise, &mut masks, &mut noises)).collect();
        (key, inputs)
    }

    fn packing_key(setup: &Setup, from: &LweSecretKey, gadget: Gadget) -> PackingKeyswitchKey {
        PackingKeyswitchKey::generate(&setup.fft, from, &setup.key, gadget, setup.noise, setup.seed.experiment(6))
    }

    #[test]
    fn packing_places_every_input_with_the_predicted_noise() {
        let setup = Setup::new(1, 256);
        let gadget = Gadget::new(4, 4, Precision::Single).unwrap();
        let (key, inputs) = small(&setup, 400);
        let packing = packing_key(&setup, &key, gadget);
        let errors: Vec<f64> = inputs
            .iter()
            .enumerate()
            .map(|(i, input)| {
                let position = i * 37 % 256;
                let packed = packing.packing_keyswitch(&[(input.clone(), position)]);
                let phase = setup.key.phase(&setup.fft, &packed);
                torus::to_f64(phase[position].wrapping_sub(key.phase(input)))
            })
            .collect();
        let predicted = noise::lwe_keyswitch(gadget, key.dimension(), setup.noise.variance());
        // 400 samples: one standard error of the variance is 7 %.
        assert_variance("packing key switch", &errors, predicted, 0.28);
    }

    #[test]
    fn packing_keeps_inputs_apart() {
        let setup = Setup::new(1, 256);
        let (key, inputs) = small(&setup, 8);
        let packing = packing_key(&setup, &key, Gadget::new(6, 5, Precision::Single).unwrap());
        let placed: Vec<_> = inputs.iter().cloned().zip((0..8).map(|i| 31 * i)).collect();
        let phase = setup.key.phase(&setup.fft, &packing.packing_keyswitch(&placed));
        for (j, &x) in phase.iter().enumerate() {
            let expected = if j % 31 == 0 && j / 31 < 8 { j as u64 / 31 + 1 } else { 0 };
            assert_eq!(torus::switch_modulus(x, 5) % 32, expected, "coefficient {j}");
        }
    }
}
