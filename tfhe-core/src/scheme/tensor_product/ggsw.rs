//! GGSW ciphertexts of encrypted polynomials of integers (k = 1): the rows −M·S from the rows M, by relinearization.
//!
//! A GGSW ciphertext of M has, for each level i of its gadget, a row of M·q/β^i and a row of −M·S·q/β^i. The former is an
//! ordinary ciphertext (A, B); −(B − A·S)·S = −B·S + A·S² is the ciphertext (B, 0) and a gadget product of A with encryptions of S²: with
//! relinearization keys, GLWE ciphertexts become GGSW ciphertexts. That is called scheme switching (De Micheli, Kim, Micciancio, Suhl,
//! PKC 2024, ePrint 2023/112; with lookups before it Wang et al., Eurocrypt 2024, ePrint 2024/323).
//!
//! Where the rows M·q/β^i come from is the caller's choice: shifts of one ciphertext, whose noise is then the same integer times all of
//! them ([`RelinearizationKey::ggsw`]), or one ciphertext for each level, with noise of its own ([`RelinearizationKey::ggsw_of_levels`]).

use rayon::prelude::*;

use super::RelinearizationKey;
use crate::gadget_product::GadgetScratch;
use crate::ggsw::FourierGgsw;
use crate::glwe::GlweCiphertext;
use crate::params::{Gadget, GlweShape, ParameterError};

/// Why ciphertexts are no levels of a GGSW ciphertext.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelsError {
    /// Their number.
    #[error("{found} ciphertexts cannot be the rows of a gadget of {levels} levels: give one for each level")]
    Count {
        /// ℓ.
        levels: usize,
        /// How many there are.
        found: usize,
    },
    /// One of another ring.
    #[error("the ciphertext of level {level} has shape {found:?}, the relinearization key {expected:?}")]
    Shape {
        /// From 1 to ℓ.
        level: usize,
        /// k and N of the key.
        expected: GlweShape,
        /// k and N of the ciphertext.
        found: GlweShape,
    },
    /// Products with the gadget would not be exact.
    #[error(transparent)]
    Gadget(#[from] ParameterError),
}

/// The rows of one level: of −M·S, and of M.
type Level = [GlweCiphertext; 2];

impl RelinearizationKey {
    /// A GGSW encryption, with rows of gadget `gadget`, of the integer polynomial M of which `ciphertext` holds
    /// M·q/β^ℓ, the scale of the last level: the other levels are that times powers of β, so the ciphertext's noise counts
    /// β^(ℓ−1) times in the first. M·S = B·S − A·S² is the ciphertext (−B, 0) less a gadget product with the encryption of S².
    /// One gadget product, and 2·2·ℓ transforms.
    ///
    /// The external product of p·q/t with it is M·p·q/t, for any real p: M has to be an integer, p has not.
    ///
    /// # Examples
    /// A polynomial of integers that arrived as a GLWE ciphertext becomes one that multiplies: by real numbers too, as an
    /// external product does.
    /// ```
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::GlweSecretKey;
    /// # use tfhe_core::params::{Gadget, GlweShape, NoiseDistribution, Precision};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # use tfhe_core::tensor_product::SeededRelinearizationKey;
    /// # use tfhe_core::torus::{decode, encode};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let mut seed = EncryptionSeed::from_system()?;
    /// // `shape`, `fft`, `key` and `seed` as in the example of `GlweSecretKey::encrypt`.
    /// let noise = NoiseDistribution::TUniform { bound_log: 3 };
    /// let own = EncryptionSeed::from_system()?;
    /// let gadget = Gadget::new(8, 6, Precision::Split)?;
    /// let relinearization = SeededRelinearizationKey::generate(&fft, &key, gadget, noise, own).prepare(&fft);
    ///
    /// // −4·X², at the scale of the last of two levels of 2^10.
    /// let mut plaintext = vec![0; 1024];
    /// plaintext[2] = encode(-4, 20);
    /// let integers = key.encrypt(&fft, &plaintext, noise, &mut seed).expand();
    /// let ggsw = relinearization.ggsw(&integers, Gadget::new(10, 2, Precision::Single)?);
    ///
    /// // Times 1/100.
    /// let mut hundredth = vec![0; 1024];
    /// hundredth[0] = tfhe_core::torus::from_f64(0.01);
    /// let input = key.encrypt(&fft, &hundredth, noise, &mut seed).expand();
    /// let phase = key.phase(&fft, &ggsw.external_product(&fft, &input, &mut ggsw.scratch(&fft)));
    /// assert!((tfhe_core::torus::to_f64(phase[2]) + 0.04).abs() < 1e-3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ggsw(&self, ciphertext: &GlweCiphertext, gadget: Gadget) -> FourierGgsw {
        let last = [self.times_secret(ciphertext), ciphertext.clone()];
        let level = |level: usize| {
            let shift = gadget.base_log() * (gadget.levels() - level) as u32;
            last.each_ref()
                .map(|row| row.map_polynomials(|x, y| y.iter_mut().zip(x).for_each(|(y, &x)| *y = x << shift)))
        };
        let levels: Vec<Level> = (1..=gadget.levels()).map(level).collect();
        self.assemble(&levels, gadget)
    }

    /// A GGSW encryption of the integer polynomial M, with rows of gadget `gadget`, from one ciphertext for each of its ℓ levels:
    /// the i-th, i from 1 to ℓ, holds M·q/β^i. M may be a constant. One gadget product for each level, in parallel, and 2·2·ℓ
    /// transforms.
    ///
    /// All levels have to hold the same integers; their noises need have nothing in common. That of level i is met by the digits of
    /// level i alone, which are small: so a GGSW ciphertext may have rows of much more noise than one that is made by shifts. That is what
    /// [`crate::refresh`] makes them of; its noise, [`crate::noise::LevelNoise::product`].
    ///
    /// # Examples
    /// 3 − X as two ciphertexts, at scales 2^-8 and 2^-16, times an encrypted 1/100. (Here a client encrypts the levels.)
    /// ```
    /// # use tfhe_core::fft::NegacyclicFft;
    /// # use tfhe_core::glwe::GlweSecretKey;
    /// # use tfhe_core::params::{Gadget, GlweShape, NoiseDistribution, Precision};
    /// # use tfhe_core::random::{EncryptionSeed, SecretStream};
    /// # use tfhe_core::tensor_product::{LevelsError, SeededRelinearizationKey};
    /// # use tfhe_core::torus::{encode, from_f64, to_f64};
    /// # let shape = GlweShape::new(1, 1024)?;
    /// # let fft = NegacyclicFft::new(shape.polynomial_size);
    /// # let key = GlweSecretKey::generate(&mut SecretStream::from_system()?, shape, &fft);
    /// # let noise = NoiseDistribution::TUniform { bound_log: 24 };
    /// # let mut seed = EncryptionSeed::from_system()?;
    /// # let own = EncryptionSeed::from_system()?;
    /// # let relinearization = Gadget::new(8, 6, Precision::Split)?;
    /// # let relinearization = SeededRelinearizationKey::generate(&fft, &key, relinearization, noise, own).prepare(&fft);
    /// // `shape`, `fft`, `key`, `noise`, `seed` and `relinearization` as in the example of `RelinearizationKey::ggsw`.
    /// let mut encrypt = |constant: u64, linear: u64| {
    ///     let mut plaintext = vec![0; 1024];
    ///     (plaintext[0], plaintext[1]) = (constant, linear);
    ///     key.encrypt(&fft, &plaintext, noise, &mut seed).expand()
    /// };
    /// let levels = [8, 16].map(|bits| encrypt(encode(3, bits), encode(-1, bits)));
    /// let gadget = Gadget::new(8, 2, Precision::Single)?;
    /// let ggsw = relinearization.ggsw_of_levels(&levels, gadget)?;
    ///
    /// let input = encrypt(from_f64(0.01), 0);
    /// let phase = key.phase(&fft, &ggsw.external_product(&fft, &input, &mut ggsw.scratch(&fft)));
    /// assert!((to_f64(phase[0]) - 0.03).abs() < 1e-2 && (to_f64(phase[1]) + 0.01).abs() < 1e-2);
    ///
    /// let missing = relinearization.ggsw_of_levels(&levels[..1], gadget).unwrap_err();
    /// assert_eq!(missing, LevelsError::Count { levels: 2, found: 1 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LevelsError`]: another number of ciphertexts than levels, one of another ring, or a gadget that is not exact in this ring.
    pub fn ggsw_of_levels(&self, levels: &[GlweCiphertext], gadget: Gadget) -> Result<FourierGgsw, LevelsError> {
        if levels.len() != gadget.levels() {
            return Err(LevelsError::Count { levels: gadget.levels(), found: levels.len() });
        }
        if let Some((i, other)) = levels.iter().enumerate().find(|(_, level)| level.shape() != self.shape) {
            return Err(LevelsError::Shape { level: i + 1, expected: self.shape, found: other.shape() });
        }
        let gadget = gadget.in_ring(self.shape.polynomial_size, 2)?;
        let levels: Vec<Level> = levels.par_iter().map(|level| [self.times_secret(level), level.clone()]).collect();
        Ok(self.assemble(&levels, gadget))
    }

    /// The ciphertext of −φ·S, φ being the phase of `ciphertext`: noise included. One gadget product.
    fn times_secret(&self, ciphertext: &GlweCiphertext) -> GlweCiphertext {
        let mut product = GlweCiphertext::zero(ciphertext.shape());
        product.split_mut().0.copy_from_slice(ciphertext.body());
        let scratch = &mut GadgetScratch::new(&self.fft, self.rows.gadget(), 2);
        self.rows.add_product(&self.fft, ciphertext.mask(), product.data_mut(), scratch);
        product
    }

    fn assemble(&self, levels: &[Level], gadget: Gadget) -> FourierGgsw {
        let rows: Vec<u64> =
            [0, 1].iter().flat_map(|&i| levels.iter().flat_map(move |level| level[i].data())).copied().collect();
        FourierGgsw::from_rows(&self.fft, self.shape, gadget, &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::tests::assert_variance;
    use crate::noise::{self, Spread};
    use crate::params::{NoiseDistribution, Precision};
    use crate::polynomial::schoolbook_add;
    use crate::tensor_product::SeededRelinearizationKey;
    use crate::testing::Setup;
    use crate::torus;

    /// A real number times an encrypted polynomial of integers, where the polynomial's noise dominates and where the rounding
    /// does.
    #[test]
    fn encrypted_integers_multiply_real_numbers() {
        for (noise, base_log) in [(10, 13), (4, 8)] {
            check_product_with_ggsw(NoiseDistribution::TUniform { bound_log: noise }, base_log);
        }
    }

    fn check_product_with_ggsw(noise: NoiseDistribution, base_log: u32) {
        let setup = Setup::with_noise(1, 1024, noise);
        let (fft, shape) = (&setup.fft, setup.key.shape());
        let seed = setup.seed.experiment(3);
        let relinearization = Gadget::new(3, 21, Precision::Split).unwrap();
        let quiet = NoiseDistribution::TUniform { bound_log: 1 };
        let key = SeededRelinearizationKey::generate(fft, &setup.key, relinearization, quiet, seed);
        let key = key.prepare(fft);
        let gadget = Gadget::new(base_log, 3, Precision::Single).unwrap();
        let mut generator = crate::random::SampleSeed::from_number(3).stream(0);
        let (mut errors, mut squares) = (Vec::new(), 0.0);
        let count = 300;
        for index in 0..count {
            let mut draw = |j: usize| if j.is_multiple_of(16) { (generator.uniform() % 201) as i64 - 100 } else { 0 };
            let integers: Vec<i64> = (0..1024).map(&mut draw).collect();
            squares += integers.iter().map(|&m| (m * m) as f64).sum::<f64>() / count as f64;
            let scaled: Vec<u64> = integers.iter().map(|&m| (m as u64) << (64 - 3 * base_log)).collect();
            let ggsw = key.ggsw(&setup.encrypt(&scaled, 2 * index), gadget);
            let mut plaintext = vec![0; 1024];
            plaintext[0] = 0x0012_3456_789a_bcde;
            let factor = setup.encrypt(&plaintext, 2 * index + 1);
            let product = ggsw.external_product(fft, &factor, &mut ggsw.scratch(fft));
            let mut expected = vec![0; 1024];
            schoolbook_add(&integers, &plaintext, &mut expected);
            let phase = setup.key.phase(fft, &product);
            errors.extend(phase.iter().zip(&expected).map(|(&x, &y)| torus::to_f64(x.wrapping_sub(y))));
        }
        let secret = noise::relinearization(relinearization.on(fft.transforms()), shape, quiet.variance());
        let message = Spread::new(noise.variance(), 1024);
        let predicted =
            noise::product_with_ggsw(gadget.on(fft.transforms()), shape, message, secret, squares).variance();
        // As for the tensor product: half of the energy is in the lowest frequencies, of 300 products.
        assert_variance("product with an encrypted polynomial", &errors, predicted, 0.15);
    }
}
