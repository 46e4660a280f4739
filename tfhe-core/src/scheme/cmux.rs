//! CMUX: the choice between two ciphertexts by an encrypted bit.
//!
//! `CMUX(GGSW(s), C_0, C_1) = C_0 + GGSW(s) ⊡ (C_1 − C_0)` is an encryption of the plaintext of C_s: one external product
//! (Chillotti et al., J. Cryptology 2020, section 3.4). A blind rotation is a chain of CMUXes between an
//! accumulator and its rotation.
//!
//! In the book: [chapter 3, gadgets and the external product](../../../book/03-gadget-and-external-product.html).

use crate::buffer::AlignedBuffer;
use crate::fft::{NegacyclicFft, ROTATION_PADDING};
use crate::gadget_product::GadgetScratch;
use crate::ggsw::FourierGgsw;
use crate::glwe::GlweCiphertext;
use crate::params::PolynomialSize;
use crate::polynomial;

impl FourierGgsw {
    /// A ciphertext of the plaintext of `zero` if this encrypts 0, of that of `one` if it encrypts 1. One external product.
    ///
    /// # Examples
    /// The choice between two ciphertexts by an encrypted bit: c_0 + GGSW(bit) ⊡ (c_1 − c_0). Who computes it learns neither
    /// the bit nor which one was chosen.
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
    /// use tfhe_core::params::{Gadget, Precision};
    /// use tfhe_core::torus::{decode, encode};
    ///
    /// let gadget = Gadget::new(8, 3, Precision::Single)?;
    /// let mut encrypt = |m| key.encrypt(&fft, &vec![encode(m, 4); 1024], noise, &mut seed).expand();
    /// let (zero, one) = (encrypt(2), encrypt(5));
    /// for (bit, chosen) in [(0, 2), (1, 5)] {
    ///     let choice = key.encrypt_ggsw(&fft, bit, gadget, noise, &mut seed).prepare(&fft);
    ///     let output = choice.cmux(&fft, &zero, &one, &mut choice.scratch(&fft));
    ///     assert!(key.phase(&fft, &output).iter().all(|&x| decode(x, 4) == chosen));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If a shape is another one, or the scratch was made for a smaller product.
    pub fn cmux(
        &self,
        fft: &NegacyclicFft,
        zero: &GlweCiphertext,
        one: &GlweCiphertext,
        scratch: &mut GadgetScratch,
    ) -> GlweCiphertext {
        let (mut output, mut difference) = (zero.clone(), one.clone());
        difference.add_scaled(zero, -1);
        self.add_external_product(fft, &difference, &mut output, scratch);
        output
    }

    /// `accumulator = CMUX(self, accumulator, X^exponent·accumulator)`, in place: the rotation and the difference are taken as the
    /// digits are (Chillotti et al., J. Cryptology 2020, section 3.4). Fetches `next` into the cache.
    pub(crate) fn cmux_rotation(
        &self,
        next: &[f64],
        fft: &NegacyclicFft,
        exponent: usize,
        accumulator: &mut Accumulator,
        scratch: &mut GadgetScratch,
    ) {
        let (rows, gadget) = (self.rows(), self.gadget());
        for (i, polynomial) in accumulator.padded_polynomials().enumerate() {
            fft.start_rotated_difference(polynomial, exponent, gadget, i * gadget.levels(), scratch.product());
        }
        rows.finish_product(next, fft, accumulator.polynomials_mut(), scratch);
        accumulator.pad();
    }
}

/// A GLWE ciphertext that [`FourierGgsw::cmux_rotation`] rotates: after each of its polynomials p stand the first coefficients
/// of −p, so that any rotation of it is read as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Accumulator {
    polynomial_size: usize,
    /// [k+1][N + ROTATION_PADDING], on cache lines.
    words: AlignedBuffer,
}

impl Accumulator {
    /// X^exponent·`polynomials`, each of N.
    pub(crate) fn new(polynomials: &[u64], polynomial_size: PolynomialSize, exponent: usize) -> Self {
        let n = polynomial_size.get();
        let words = AlignedBuffer::zeros(polynomials.len() / n * (n + ROTATION_PADDING));
        let mut rotated = Self { polynomial_size: n, words };
        for (output, input) in rotated.polynomials_mut().zip(polynomials.chunks_exact(n)) {
            polynomial::rotate(input, exponent, output);
        }
        rotated.pad();
        rotated
    }

    fn padded_polynomials(&self) -> impl Iterator<Item = &[u64]> {
        self.words.cast().chunks_exact(self.polynomial_size + ROTATION_PADDING)
    }

    fn polynomials_mut(&mut self) -> impl Iterator<Item = &mut [u64]> {
        let n = self.polynomial_size;
        self.words.cast_mut().chunks_exact_mut(n + ROTATION_PADDING).map(move |padded| &mut padded[..n])
    }

    fn pad(&mut self) {
        let n = self.polynomial_size;
        for padded in self.words.cast_mut::<u64>().chunks_exact_mut(n + ROTATION_PADDING) {
            let (polynomial, padding) = padded.split_at_mut(n);
            padding.iter_mut().zip(polynomial).for_each(|(out, x)| *out = x.wrapping_neg());
        }
    }

    /// Copies the polynomials to `output`.
    pub(crate) fn copy_to(&self, output: &mut [u64]) {
        let polynomials = output.chunks_exact_mut(self.polynomial_size);
        polynomials.zip(self.padded_polynomials()).for_each(|(out, p)| out.copy_from_slice(&p[..out.len()]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{Gadget, Precision};
    use crate::testing::Setup;
    use crate::torus;

    /// Both are one external product of one difference, so they agree to the last bit.
    #[test]
    fn the_rotation_in_place_is_the_cmux_with_a_rotated_ciphertext() {
        let setup = Setup::new(1, 256);
        let plaintext: Vec<u64> = (0..256_u64).map(|j| j << 55).collect();
        for (base_log, levels, precision) in [(12, 2, Precision::Single), (8, 4, Precision::Split)] {
            let gadget = Gadget::new(base_log, levels, precision).unwrap();
            for (bit, exponent) in [(0, 1), (1, 1), (1, 255), (1, 256), (0, 300), (1, 511)] {
                let ggsw = setup.row_generator(gadget).ggsw(bit, bit).prepare(&setup.fft);
                let scratch = &mut ggsw.scratch(&setup.fft);
                let input = setup.encrypt(&plaintext, exponent as u64);
                let rotated = input.map_polynomials(|x, y| polynomial::rotate(x, exponent, y));
                let chosen = ggsw.cmux(&setup.fft, &input, &rotated, scratch);

                let mut accumulator = Accumulator::new(input.data(), setup.key.shape().polynomial_size, 0);
                ggsw.cmux_rotation(&[], &setup.fft, exponent, &mut accumulator, scratch);
                let mut in_place = GlweCiphertext::zero(input.shape());
                accumulator.copy_to(in_place.data_mut());
                assert_eq!(in_place, chosen, "{gadget:?}, bit {bit}, X^{exponent}");

                let expected = setup.key.phase(&setup.fft, if bit == 1 { &rotated } else { &input });
                for (&x, &y) in setup.key.phase(&setup.fft, &chosen).iter().zip(&expected) {
                    assert!(
                        torus::to_f64(x.wrapping_sub(y)).abs() < 2f64.powi(-14),
                        "{gadget:?}, bit {bit}, X^{exponent}"
                    );
                }
            }
        }
    }
}
