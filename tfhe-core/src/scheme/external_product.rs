//! The external product GGSW ⊡ GLWE -> GLWE, which multiplies what is encrypted.
//!
//! With D the decomposition of a ciphertext's polynomials into small digits, `GGSW(m) ⊡ C = Σ D(C)·rows of GGSW(m)`, and
//! its phase is m times that of C, what D rounds away aside (Chillotti et al., J. Cryptology 2020, Definition 3.12).
//! The noise of C counts m times; what is added does not depend on it, since digits are small whatever C is
//! ([`crate::noise::external_product`]). That asymmetry is what makes long chains of products possible.
//!
//! In the book: [chapter 3, gadgets and the external product](../../../book/03-gadget-and-external-product.html).

use crate::fft::NegacyclicFft;
use crate::gadget_product::GadgetScratch;
use crate::ggsw::FourierGgsw;
use crate::glwe::GlweCiphertext;

impl FourierGgsw {
    /// The ciphertext of m·M, M being the plaintext of `input`. (k+1)·ℓ transforms and k+1 back.
    ///
    /// # Examples
    /// `GGSW(3) ⊡ GLWE(M) = GLWE(3M)`. The noise of M counts three times, and what is added beside it is that of the GGSW
    /// ciphertext, met by digits: as predicted, whatever M is.
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
    /// use tfhe_core::noise;
    /// use tfhe_core::params::{Gadget, Precision};
    /// use tfhe_core::torus::{decode, encode, to_f64};
    /// use tfhe_core::variance::Variance;
    ///
    /// let gadget = Gadget::new(8, 5, Precision::Single)?;
    /// let plaintext: Vec<u64> = (0..1024).map(|j| encode(j % 4, 5)).collect();
    /// let input = key.encrypt(&fft, &plaintext, noise, &mut seed).expand();
    /// let three = key.encrypt_ggsw(&fft, 3, gadget, noise, &mut seed).prepare(&fft);
    ///
    /// let product = three.external_product(&fft, &input, &mut three.scratch(&fft));
    /// let phases = key.phase(&fft, &product).into_iter().zip(key.phase(&fft, &input));
    /// assert!(phases.clone().zip(0..).all(|((x, _), j)| decode(x, 5) == 3 * (j % 4)));
    /// let errors: Vec<f64> = phases.map(|(x, before)| to_f64(x.wrapping_sub(before.wrapping_mul(3)))).collect();
    /// let predicted = noise::external_product(gadget.on(fft.transforms()), shape, noise.variance());
    /// assert!((0.5..1.5).contains(&(Variance::measured(&errors).get() / predicted.get())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If a shape is another one, or the scratch was made for a smaller product.
    pub fn external_product(
        &self,
        fft: &NegacyclicFft,
        input: &GlweCiphertext,
        scratch: &mut GadgetScratch,
    ) -> GlweCiphertext {
        let mut output = GlweCiphertext::zero(input.shape());
        self.add_external_product(fft, input, &mut output, scratch);
        output
    }

    /// `output += self ⊡ input`.
    ///
    /// # Panics
    /// As [`Self::external_product`].
    pub fn add_external_product(
        &self,
        fft: &NegacyclicFft,
        input: &GlweCiphertext,
        output: &mut GlweCiphertext,
        scratch: &mut GadgetScratch,
    ) {
        self.add_external_product_before(None, fft, input, output, scratch);
    }

    /// [`Self::add_external_product`], fetching the `next` factor into the cache meanwhile.
    ///
    /// # Panics
    /// As [`Self::external_product`].
    pub fn add_external_product_before(
        &self,
        next: Option<&Self>,
        fft: &NegacyclicFft,
        input: &GlweCiphertext,
        output: &mut GlweCiphertext,
        scratch: &mut GadgetScratch,
    ) {
        self.rows().add_product_before(next.map(Self::rows), fft, input.data(), output.data_mut(), scratch);
    }
}

#[cfg(test)]
mod tests {
    use crate::noise;
    use crate::noise::tests::assert_variance;
    use crate::params::{Gadget, Precision};
    use crate::testing::Setup;
    use crate::torus;

    /// Integers of either sign, and zero, in rings of one mask polynomial and of two.
    #[test]
    fn external_products_multiply_by_small_integers() {
        for k in [1, 2] {
            let setup = Setup::new(k, 256);
            let gadget = Gadget::new(8, 4, Precision::Single).unwrap();
            let plaintext: Vec<u64> = (0..256).map(|j| torus::encode(j % 7 - 3, 6)).collect();
            let input = setup.encrypt(&plaintext, 0);
            let seed = &mut setup.seed.experiment(1);
            for message in [-5, -1, 0, 1, 2, 10] {
                let ggsw = setup.key.encrypt_ggsw(&setup.fft, message, gadget, setup.noise, seed).prepare(&setup.fft);
                let output = ggsw.external_product(&setup.fft, &input, &mut ggsw.scratch(&setup.fft));
                for (&x, j) in setup.key.phase(&setup.fft, &output).iter().zip(0..) {
                    assert_eq!(torus::decode(x, 6), message * (j % 7 - 3), "k = {k}: {message} times coefficient {j}");
                }
            }
        }
    }

    /// External product with GGSW(1): every coefficient's error against the prediction, single and split precision.
    #[test]
    fn external_product_multiplies_and_has_the_predicted_noise() {
        let setup = Setup::new(1, 1024);
        for (base_log, levels, precision) in
            [(15, 1, Precision::Single), (10, 3, Precision::Single), (8, 5, Precision::Split)]
        {
            let gadget = Gadget::new(base_log, levels, precision).unwrap();
            let mut errors = Vec::new();
            for index in 0..400 {
                let ggsw = setup.row_generator(gadget).ggsw(1, index).prepare(&setup.fft);
                let plaintext: Vec<u64> = (0..1024_u64).map(|j| j << 50).collect();
                let input = setup.encrypt(&plaintext, 1000 + index);
                let phase = setup.key.phase(&setup.fft, &input);
                let output = ggsw.external_product(&setup.fft, &input, &mut ggsw.scratch(&setup.fft));
                let out_phase = setup.key.phase(&setup.fft, &output);
                errors.extend(out_phase.iter().zip(&phase).map(|(&x, &y)| torus::to_f64(x.wrapping_sub(y))));
            }
            let predicted =
                noise::external_product(gadget.on(setup.fft.transforms()), setup.key.shape(), setup.noise.variance());
            // The rounding errors of digits meet a secret whose mean is 1/2: as for the tensor product (`tensor_product.rs`), half of
            // that energy is in the lowest frequencies and varies by about 40 % from product to product, so 2 % over 400.
            assert_variance(&format!("external product {gadget:?}"), &errors, predicted, 0.1);
        }
    }
}
