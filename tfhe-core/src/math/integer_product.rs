//! Exact products of torus polynomials with polynomials of small integers, by f64 transforms.
//!
//! A torus polynomial is taken as two polynomials of signed 32-bit halves, uniform ones; a sum of products of them with
//! polynomials of integers has coefficients of mean square Σ‖p‖²·2^64/12, where ‖p‖² is the sum of a polynomial's squares. It is
//! exact within the bounds of [`crate::rounding`]: for N = 4096 as long as Σ‖p‖² is below 2^33, that is a million weights of 7 bits. Used where
//! the f64 rounding error of 2^-53 relative would be far above the ciphertexts' noise of 2^-62: key generation, encryption,
//! decryption, products with plaintext weights.
//!
//! In the book: [chapter 4, the negacyclic FFT](../../../book/04-negacyclic-fft.html).

use zeroize::Zeroize;

use crate::buffer::AlignedBuffer;
use crate::fft::{FftScratch, NegacyclicFft};
use crate::gadget_product::split_halves;
use crate::rounding::{EXACT_MARGIN, Transforms};

/// A torus polynomial in the Fourier domain, as two halves.
#[derive(Clone, Debug)]
pub struct FourierTorus {
    halves: [AlignedBuffer; 2],
    /// Of the products that it is a sum of.
    products: Products,
}

/// How many products were added up, and Σ‖p‖² of their integers.
#[derive(Clone, Copy, Debug, Default)]
struct Products {
    count: usize,
    squares: f64,
}

impl Products {
    fn are_exact(self, n: usize) -> bool {
        Transforms::ANY.margin(self.squares * 2f64.powi(64) / 12.0, self.count, n) >= EXACT_MARGIN
    }
}

/// A polynomial of small integers in the Fourier domain.
#[derive(Clone, Debug)]
pub struct FourierIntegers {
    values: AlignedBuffer,
    /// ‖p‖² in debug builds, which assert that products are exact. To add it up takes about as long as a transform.
    squares: f64,
}

impl FourierTorus {
    /// The zero polynomial, to accumulate products in.
    pub fn zero(fft: &NegacyclicFft) -> Self {
        let n = fft.polynomial_size().get();
        Self { halves: [AlignedBuffer::zeros(n), AlignedBuffer::zeros(n)], products: Products::default() }
    }

    /// Makes it the zero polynomial again.
    #[cfg(feature = "secret-keys")]
    pub(crate) fn clear(&mut self) {
        self.halves.iter_mut().for_each(|half| half.fill(0.0));
    }

    /// Transforms `polynomial` `[N]`.
    pub fn new(fft: &NegacyclicFft, polynomial: &[u64], scratch: &mut FftScratch) -> Self {
        let (high, low): (Vec<i32>, Vec<i32>) = polynomial.iter().map(|&x| split_halves(x)).unzip();
        let mut out = Self::zero(fft);
        fft.forward_integers(&high, &mut out.halves[0], scratch);
        fft.forward_integers(&low, &mut out.halves[1], scratch);
        out
    }

    /// `self += torus · integers`.
    ///
    /// # Examples
    /// Transforms turn a product of polynomials of N coefficients from N² multiplications to O(N log N), modulo X^N + 1 and,
    /// here, to the last bit: the schoolbook says the same.
    /// ```
    /// use tfhe_core::fft::NegacyclicFft;
    /// use tfhe_core::integer_product::{FourierIntegers, FourierTorus};
    /// use tfhe_core::params::PolynomialSize;
    /// use tfhe_core::polynomial::schoolbook_add;
    /// use tfhe_core::random::SampleSeed;
    ///
    /// let fft = NegacyclicFft::new(PolynomialSize::new(512)?);
    /// let mut torus = vec![0; 512];
    /// SampleSeed::from_number(1).stream(0).fill_uniform(&mut torus);
    /// let integers: Vec<i32> = (0..512).map(|j| j * j % 255 - 127).collect();
    ///
    /// let (mut product, scratch) = (FourierTorus::zero(&fft), &mut fft.scratch());
    /// let factors = (FourierTorus::new(&fft, &torus, scratch), FourierIntegers::new(&fft, &integers, scratch));
    /// product.add_product(&fft, &factors.0, &factors.1);
    /// let (mut by_transforms, mut by_hand) = (vec![0; 512], vec![0; 512]);
    /// product.inverse_add(&fft, &mut by_transforms, scratch);
    /// schoolbook_add(&integers.iter().map(|&x| i64::from(x)).collect::<Vec<_>>(), &torus, &mut by_hand);
    /// assert_eq!(by_transforms, by_hand);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_product(&mut self, fft: &NegacyclicFft, torus: &Self, integers: &FourierIntegers) {
        for (sum, half) in self.halves.iter_mut().zip(&torus.halves) {
            fft.multiply_accumulate(sum, half, &integers.values);
        }
        self.products.count += 1;
        self.products.squares += integers.squares;
    }

    /// Transforms back and adds to `output` `[N]`. Overwrites `self`.
    ///
    /// The integers must have been small enough, as the module explains.
    pub fn inverse_add(&mut self, fft: &NegacyclicFft, output: &mut [u64], scratch: &mut FftScratch) {
        debug_assert!(self.products.are_exact(output.len()), "{:?} at N = {}", self.products, output.len());
        fft.inverse_add_integers(&mut self.halves[0], 32, output, scratch);
        fft.inverse_add_integers(&mut self.halves[1], 0, output, scratch);
        // The weight of a secret key may be in it.
        self.products.squares.zeroize();
    }
}

/// Overwrites the values with zeros, for products with secret keys.
impl Zeroize for FourierTorus {
    fn zeroize(&mut self) {
        self.halves.iter_mut().for_each(|half| half[..].zeroize());
    }
}

impl FourierIntegers {
    /// Transforms `polynomial` `[N]`.
    pub fn new(fft: &NegacyclicFft, polynomial: &[i32], scratch: &mut FftScratch) -> Self {
        let mut values = AlignedBuffer::zeros(fft.polynomial_size().get());
        fft.forward_integers(polynomial, &mut values, scratch);
        let squares = polynomial.iter().map(|&x| f64::from(x) * f64::from(x));
        Self { values, squares: if cfg!(debug_assertions) { squares.sum() } else { 0.0 } }
    }
}

/// Overwrites the values with zeros, for those of secret keys.
impl Zeroize for FourierIntegers {
    fn zeroize(&mut self) {
        self.values[..].zeroize();
        self.squares.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::PolynomialSize;
    use crate::polynomial::schoolbook_add;
    use crate::random::SampleSeed;

    #[test]
    fn products_are_exact() {
        for (n, bits) in [(64, 12), (1024, 8), (4096, 7)] {
            let fft = NegacyclicFft::new(PolynomialSize::new(n).unwrap());
            let mut generator = SampleSeed::from_number(n as u64).stream(0);
            let mut torus = vec![0; n];
            generator.fill_uniform(&mut torus);
            torus[0] = u64::MAX;
            torus[1] = 1 << 63;
            let integers: Vec<i32> = (0..n).map(|_| (generator.uniform() as i32) >> (31 - bits)).collect();
            let mut expected = vec![0; n];
            schoolbook_add(&integers.iter().map(|&x| x as i64).collect::<Vec<_>>(), &torus, &mut expected);
            let scratch = &mut fft.scratch();
            let mut sum = FourierTorus::zero(&fft);
            let factor = FourierIntegers::new(&fft, &integers, scratch);
            sum.add_product(&fft, &FourierTorus::new(&fft, &torus, scratch), &factor);
            let mut out = vec![0; n];
            sum.inverse_add(&fft, &mut out, scratch);
            assert_eq!(out, expected, "N = {n}");
        }
    }
}
