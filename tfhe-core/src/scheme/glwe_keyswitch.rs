//! Key switches between GLWE keys over one ring, and through them between LWE keys.
//!
//! A key from Z ∈ B\[X\]^k' to S ∈ B\[X\]^k encrypts −Z_i·q/β^level under S for each polynomial of Z; the switch of (A, B) is
//! `(0, B) + Σ digits(A_i)·rows` (Chillotti, Ligier, Orfila, Tap, ePrint 2021/729, appendix). Both dimensions are free, which serves
//! three purposes:
//!
//! - between two rings of different size, after [`GlweCiphertext::into_larger_ring`];
//! - **between LWE keys** ([`GlweKeyswitchKey::keyswitch_lwe`]): an LWE ciphertext of dimension k'·N is a coefficient of a GLWE
//!   ciphertext of k' small polynomials. Computed with transforms, a key switch from 4096 to 896 bits takes 32·ℓ transforms of
//!   128 coefficients and 32·ℓ·8 products of them, instead of 4096·ℓ·897 multiplications, and its key, a megabyte or two,
//!   stays in the second-level cache (Bergerat, Chillotti, Ligier, Orfila, Roux-Langlois, Tap, ePrint 2023/979, section 5). The LWE
//!   keys it leads to are those of a GLWE key of dimension k: their security is that of module LWE.
//!
//! In the book: [chapter 6, key switching and packing](../../../book/06-key-switching-and-packing.html).

use rayon::prelude::*;

use crate::fft::NegacyclicFft;
use crate::gadget_product::{FourierRows, GadgetScratch};
use crate::glwe::GlweCiphertext;
use crate::lwe::LweCiphertext;
use crate::params::GlweShape;
use crate::rows::SeededRows;

#[cfg(feature = "secret-keys")]
mod secret;

/// A key-switching key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeededGlweKeyswitchKey {
    input: GlweShape,
    output: GlweShape,
    rows: SeededRows,
}

impl SeededGlweKeyswitchKey {
    /// Of its rows, for ciphertexts of shape `input`.
    pub(crate) fn from_rows(input: GlweShape, rows: SeededRows) -> Self {
        Self { input, output: rows.shape(), rows }
    }

    /// Its rows.
    pub(crate) fn rows(&self) -> &SeededRows {
        &self.rows
    }

    /// Transforms the key for use with plan `fft`.
    pub fn prepare(&self, fft: &NegacyclicFft) -> GlweKeyswitchKey {
        GlweKeyswitchKey { fft: fft.clone(), input: self.input, output: self.output, rows: self.rows.prepare(fft) }
    }
}

/// A key-switching key, ready for use.
#[derive(Clone, Debug)]
pub struct GlweKeyswitchKey {
    fft: NegacyclicFft,
    input: GlweShape,
    output: GlweShape,
    rows: FourierRows,
}

impl GlweKeyswitchKey {
    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.rows.bytes()
    }

    /// k' and N of the ciphertexts that it switches.
    pub fn input_shape(&self) -> GlweShape {
        self.input
    }

    /// k and N of the results.
    pub fn output_shape(&self) -> GlweShape {
        self.output
    }

    /// Working memory for one thread.
    pub fn scratch(&self) -> GadgetScratch {
        self.rows.scratch(&self.fft)
    }

    /// The ciphertext of the same plaintext under the other key: k'·ℓ forward transforms, k+1 back.
    ///
    /// # Examples
    /// A gadget product with encryptions of the old key's polynomials: here from k = 1, N = 1024 to the same shape, a key of
    /// another person's, say.
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
    /// use tfhe_core::glwe_keyswitch::SeededGlweKeyswitchKey;
    /// use tfhe_core::noise;
    /// use tfhe_core::params::{Gadget, Precision};
    /// use tfhe_core::torus::{decode, encode, to_f64};
    /// use tfhe_core::variance::Variance;
    ///
    /// let other = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// let own = EncryptionSeed::from_system()?;
    /// let gadget = Gadget::new(8, 5, Precision::Single)?;
    /// let keyswitch = SeededGlweKeyswitchKey::generate(&fft, &key, &other, gadget, noise, own).prepare(&fft);
    ///
    /// let plaintext: Vec<u64> = (0..1024).map(|j| encode(j % 16 - 8, 5)).collect();
    /// let input = key.encrypt(&fft, &plaintext, noise, &mut seed).expand();
    /// let phase = other.phase(&fft, &keyswitch.keyswitch(&input, &mut keyswitch.scratch()));
    /// assert!(phase.iter().zip(0..).all(|(&x, j)| decode(x, 5) == j % 16 - 8));
    /// let before = key.phase(&fft, &input);
    /// let errors: Vec<f64> = phase.iter().zip(&before).map(|(&x, &y)| to_f64(x.wrapping_sub(y))).collect();
    /// let predicted = noise::glwe_keyswitch(gadget.on(fft.transforms()), shape, noise.variance());
    /// assert!((0.5..1.5).contains(&(Variance::measured(&errors).get() / predicted.get())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If the ciphertext's shape is not that of the key's input.
    pub fn keyswitch(&self, ciphertext: &GlweCiphertext, scratch: &mut GadgetScratch) -> GlweCiphertext {
        assert_eq!(ciphertext.shape(), self.input, "a ciphertext of the key's input shape");
        let mut out = GlweCiphertext::zero(self.output);
        out.body_mut().copy_from_slice(ciphertext.body());
        self.rows.add_product(&self.fft, ciphertext.mask(), out.data_mut(), scratch);
        out
    }

    /// Switches LWE ciphertexts of dimension k'·N to dimension k·N, in parallel.
    ///
    /// # Examples
    /// The LWE key switch of a bootstrapping by transforms: 1024 bits are 8 polynomials of 128 coefficients, 256 bits are 2.
    /// ```
    /// use tfhe_core::fft::NegacyclicFft;
    /// use tfhe_core::glwe::GlweSecretKey;
    /// use tfhe_core::glwe_keyswitch::SeededGlweKeyswitchKey;
    /// use tfhe_core::params::{Gadget, GlweShape, NoiseDistribution, Precision};
    /// use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// use tfhe_core::torus::{decode, encode};
    ///
    /// let (many, few) = (GlweShape::new(8, 128)?, GlweShape::new(2, 128)?);
    /// let fft = NegacyclicFft::new(many.polynomial_size);
    /// let [from, to] = [many, few].map(|shape| GlweSecretKey::generate(&mut SecretStream::from_system().unwrap(), shape, &fft));
    /// let (gadget, noise) = (Gadget::new(4, 5, Precision::Single)?, NoiseDistribution::TUniform { bound_log: 40 });
    /// let seed = EncryptionSeed::from_system()?;
    /// let key = SeededGlweKeyswitchKey::generate(&fft, &from, &to, gadget, noise, seed).prepare(&fft);
    ///
    /// let (mut masks, mut noises) = EncryptionSeed::from_system()?.into_streams();
    /// let input = from.extracted_lwe_key().encrypt(encode(5, 4), noise, &mut masks, &mut noises);
    /// let output = &key.keyswitch_lwe(&[input])[0];
    /// assert_eq!((output.dimension(), decode(to.extracted_lwe_key().phase(output), 4)), (256, 5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If a ciphertext's dimension is not k'·N.
    pub fn keyswitch_lwe(&self, ciphertexts: &[LweCiphertext]) -> Vec<LweCiphertext> {
        let switch = |scratch: &mut GadgetScratch, ciphertext: &LweCiphertext| {
            self.keyswitch(&GlweCiphertext::embed(self.input, ciphertext), scratch).sample_extract(0)
        };
        ciphertexts.par_iter().map_init(|| self.scratch(), switch).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glwe::GlweSecretKey;
    use crate::lwe::LweSecretKey;
    use crate::noise;
    use crate::noise::tests::assert_variance;
    use crate::params::{Gadget, LweDimension, NoiseDistribution, Precision};
    use crate::random::SecretSeed;
    use crate::testing::Setup;
    use crate::torus;

    fn shape(k: usize, n: usize) -> GlweShape {
        GlweShape::new(k, n).unwrap()
    }

    #[test]
    fn lwe_ciphertexts_switch_with_the_predicted_noise() {
        let to = Setup::new(3, 128);
        let seed = SecretSeed::from_number(5);
        let lwe = LweSecretKey::generate(&mut seed.experiment_bits(0), LweDimension::new(8 * 128).unwrap());
        let from = GlweSecretKey::from_lwe_key(&lwe, shape(8, 128), &to.fft);
        let gadget = Gadget::new(3, 8, Precision::Single).unwrap();
        let key = SeededGlweKeyswitchKey::generate(&to.fft, &from, &to.key, gadget, to.noise, seed.experiment(1));
        let key = key.prepare(&to.fft);
        let (mut masks, mut noises) = seed.experiment(5).into_streams();
        let quiet = NoiseDistribution::TUniform { bound_log: 1 };
        let inputs: Vec<LweCiphertext> =
            (0..1500_u64).map(|i| lwe.encrypt(i << 53, quiet, &mut masks, &mut noises)).collect();
        let out_key = to.key.extracted_lwe_key();
        let errors: Vec<f64> = key
            .keyswitch_lwe(&inputs)
            .iter()
            .enumerate()
            .map(|(i, output)| torus::to_f64(out_key.phase(output).wrapping_sub((i as u64) << 53)))
            .collect();
        let predicted = noise::glwe_keyswitch_from(
            gadget.on(to.fft.transforms()),
            from.shape(),
            to.key.shape(),
            to.noise.variance(),
        );
        // 1500 samples: one standard error of the variance is 3.7 %.
        assert_variance("LWE key switch in a small ring", &errors, predicted, 0.15);
    }

    /// The transforms of a switch to a larger ring are that ring's, though only N' coefficients are decomposed. With this gadget
    /// their error is all there is. Measured is 0.7 to 0.95 of it, as [`noise::fft_error`] explains; with N' for N it would be 2.
    #[test]
    fn a_switch_to_a_larger_ring_has_the_error_of_its_transforms() {
        let quiet = NoiseDistribution::TUniform { bound_log: 1 };
        let large = Setup::with_noise(1, 1024, quiet);
        for n in [1024, 512] {
            let small = Setup::new(1, n);
            let from = small.key.in_larger_ring(&large.fft);
            let gadget = Gadget::new(20, 2, Precision::Single).unwrap();
            let mut errors = Vec::new();
            for index in 0..200 {
                let to = GlweSecretKey::generate(&mut large.seed.experiment_bits(index), large.key.shape(), &large.fft);
                let seed = large.seed.experiment(index);
                let key = SeededGlweKeyswitchKey::generate(&large.fft, &from, &to, gadget, quiet, seed);
                let key = key.prepare(&large.fft);
                for round in 0..4 {
                    let ciphertext = small.encrypt(&vec![0; n], 4 * index + round);
                    let ciphertext = ciphertext.into_larger_ring(large.key.shape().polynomial_size);
                    let before = from.phase(&large.fft, &ciphertext);
                    let after = to.phase(&large.fft, &key.keyswitch(&ciphertext, &mut key.scratch()));
                    errors.extend(after.iter().zip(&before).map(|(&x, &y)| torus::to_f64(x.wrapping_sub(y))));
                }
            }
            let gadget = gadget.on(large.fft.transforms());
            let predicted = noise::glwe_keyswitch_from(gadget, small.key.shape(), large.key.shape(), quiet.variance());
            // Half of the energy of what meets a secret is in its lowest frequencies and varies by 40 % from key to key: 3 % in 200.
            let ratio = errors.iter().map(|e| e * e).sum::<f64>() / (errors.len() as f64 * predicted.get());
            println!("key switch from {n} to 1024 coefficients: {ratio:.3} of the predicted variance");
            assert!((0.6..1.05).contains(&ratio), "from {n} to 1024 coefficients: {ratio:.3}");
        }
    }

    #[test]
    fn ciphertexts_move_to_a_larger_ring() {
        let small = Setup::new(1, 256);
        let large = Setup::with_noise(1, 1024, NoiseDistribution::TUniform { bound_log: 4 });
        let plaintext: Vec<u64> = (0..256_u64).map(|j| j << 55).collect();
        let ciphertext = small.encrypt(&plaintext, 0).into_larger_ring(large.key.shape().polynomial_size);
        let from = small.key.in_larger_ring(&large.fft);
        let gadget = Gadget::new(8, 5, Precision::Single).unwrap();
        let seed = large.seed.experiment(1);
        let key = SeededGlweKeyswitchKey::generate(&large.fft, &from, &large.key, gadget, large.noise, seed);
        let key = key.prepare(&large.fft);
        let phase = large.key.phase(&large.fft, &key.keyswitch(&ciphertext, &mut key.scratch()));
        for (j, &x) in phase.iter().enumerate() {
            let expected = if j % 4 == 0 { plaintext[j / 4] } else { 0 };
            assert!(torus::to_f64(x.wrapping_sub(expected)).abs() < 2f64.powi(-25), "coefficient {j}");
        }
    }
}
