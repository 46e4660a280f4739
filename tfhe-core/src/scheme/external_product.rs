//! The external product GGSW ⊡ GLWE -> GLWE, which multiplies what is encrypted.
//!
//! With G the gadget and D the decomposition of a ciphertext's polynomials into small digits, GGSW(m) ⊡ C = Σ D(C)·rows of
//! GGSW(m), and its phase is m times that of C, what D rounds away aside (Chillotti et al., J. Cryptology 2020, Definition 3.12).
//! The noise of C counts m times; what is added does not depend on it, since digits are small whatever C is
//! ([`crate::noise::external_product`]). That asymmetry is what makes long chains of products possible.

use crate::fft::NegacyclicFft;
use crate::gadget_product::GadgetScratch;
use crate::ggsw::FourierGgsw;
use crate::glwe::GlweCiphertext;

impl FourierGgsw {
    /// The ciphertext of m·M, M being the plaintext of `input`. (k+1)·ℓ transforms and k+1 back.
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
