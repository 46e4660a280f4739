//! Gadget products: the inner loop of external products and of GLWE key switches.
//!
//! A key in the Fourier domain is a matrix of polynomials: for each input polynomial and each gadget level a *row*,
//! which is a GLWE ciphertext of k+1 polynomials (columns). The product of r input polynomials with it is
//! Σ_{i<r} Σ_level digit_level(input_i) · row_{i,level}: decompose, transform the digits, multiply and accumulate in the
//! Fourier domain, transform the k+1 sums back. A GGSW ciphertext has r = k+1 (Chillotti et al., J. Cryptology 2020,
//! Definition 3.12), a GLWE key-switching key r = k.

use crate::buffer::AlignedBuffer;
use crate::decomposition::decompose;
use crate::fft::{FftScratch, NegacyclicFft};
use crate::params::{Gadget, Precision};

/// The rows of a key in the Fourier domain, in an order that belongs to the plan that prepared them.
#[derive(Clone, Debug)]
pub struct FourierRows {
    gadget: Gadget,
    inputs: usize,
    columns: usize,
    data: AlignedBuffer,
}

/// Working memory for gadget products of one thread.
#[derive(Clone, Debug)]
pub struct GadgetScratch {
    pub(crate) fft: FftScratch,
    /// `[level][N]`
    digits: Vec<i32>,
    /// `[input polynomial][level][N]`
    rows: AlignedBuffer,
    /// `[column][limb][N]`
    sums: AlignedBuffer,
}

impl GadgetScratch {
    /// Enough for products of `gadget` with `columns` columns and at most as many input polynomials on the plan `fft`.
    pub fn new(fft: &NegacyclicFft, gadget: Gadget, columns: usize) -> Self {
        Self::for_inputs(fft, gadget, columns, columns)
    }

    /// Enough for products of `gadget` with at most `inputs` input polynomials and `columns` columns on the plan `fft`.
    pub fn for_inputs(fft: &NegacyclicFft, gadget: Gadget, inputs: usize, columns: usize) -> Self {
        let n = fft.polynomial_size().get();
        Self {
            fft: fft.scratch(),
            digits: vec![0; gadget.levels() * n],
            rows: AlignedBuffer::zeros(inputs * gadget.levels() * n),
            sums: AlignedBuffer::zeros(columns * gadget.precision().limbs() * n),
        }
    }
}

/// Splits x into signed halves: x = high·2^32 + low modulo 2^64, −2^31 ≤ low < 2^31.
pub(crate) fn split_halves(x: u64) -> (i32, i32) {
    let low = x as u32 as i32;
    let high = (x.wrapping_sub(low as i64 as u64) >> 32) as u32 as i32;
    (high, low)
}

impl FourierRows {
    /// Transforms `rows` = `[input polynomial][level][column][N]` torus polynomials.
    ///
    /// # Panics
    /// If the number of polynomials is not inputs·levels·columns.
    pub fn prepare(fft: &NegacyclicFft, gadget: Gadget, inputs: usize, columns: usize, rows: &[u64]) -> Self {
        let n = fft.polynomial_size().get();
        let polynomials = inputs * gadget.levels() * columns;
        assert_eq!(rows.len(), polynomials * n);
        let limbs = gadget.precision().limbs();
        let mut data = AlignedBuffer::zeros(polynomials * limbs * n);
        let mut scratch = fft.scratch();
        let mut halves = [vec![0_i32; n], vec![0_i32; n]];
        for (polynomial, prepared) in rows.chunks_exact(n).zip(data.chunks_exact_mut(limbs * n)) {
            match gadget.precision() {
                Precision::Single => fft.forward_torus(polynomial, prepared, &mut scratch),
                Precision::Split => {
                    for (j, &x) in polynomial.iter().enumerate() {
                        (halves[0][j], halves[1][j]) = split_halves(x);
                    }
                    for (half, out) in halves.iter().zip(prepared.chunks_exact_mut(n)) {
                        fft.forward_integers(half, out, &mut scratch);
                    }
                }
            }
        }
        Self { gadget, inputs, columns, data: fft.order_rows(data, columns * limbs) }
    }

    /// (β, ℓ).
    pub fn gadget(&self) -> Gadget {
        self.gadget
    }

    /// Bytes of memory that the rows take.
    pub fn bytes(&self) -> usize {
        self.data.len() * size_of::<f64>()
    }

    /// `output += Σ digits(input)·rows`: `input` `[inputs·N]`, `output` `[columns·N]`, torus polynomials.
    /// O(inputs·ℓ·(N log N + columns·N)).
    ///
    /// # Panics
    /// If a length is wrong, or the scratch was made for a smaller product.
    pub fn add_product(&self, fft: &NegacyclicFft, input: &[u64], output: &mut [u64], scratch: &mut GadgetScratch) {
        self.add_product_before(None, fft, input, output, scratch);
    }

    /// [`Self::add_product`], fetching the rows of the `next` product into the cache meanwhile.
    pub fn add_product_before(
        &self,
        next: Option<&Self>,
        fft: &NegacyclicFft,
        input: &[u64],
        output: &mut [u64],
        scratch: &mut GadgetScratch,
    ) {
        let n = fft.polynomial_size().get();
        assert_eq!(input.len(), self.inputs * n);
        assert_eq!(output.len(), self.columns * n);
        let (levels, limbs) = (self.gadget.levels(), self.gadget.precision().limbs());
        let GadgetScratch { fft: fft_scratch, digits, rows, sums } = scratch;
        let rows = &mut rows[..self.inputs * levels * n];
        let sums = &mut sums[..self.columns * limbs * n];
        for (polynomial, rows) in input.chunks_exact(n).zip(rows.chunks_exact_mut(levels * n)) {
            if levels == 1 {
                fft.start_single_digits(polynomial, self.gadget.base_log(), rows, fft_scratch);
                continue;
            }
            let digits = &mut digits[..levels * n];
            decompose(polynomial, self.gadget, digits);
            for (digit, row) in digits.chunks_exact(n).zip(rows.chunks_exact_mut(n)) {
                fft.start_integers(digit, row, fft_scratch);
            }
        }
        fft.multiply_rows(rows, &self.data, next.map_or(&[], |next| &*next.data), sums);
        for (column, sum) in output.chunks_exact_mut(n).zip(sums.chunks_exact_mut(limbs * n)) {
            match self.gadget.precision() {
                Precision::Single => fft.finish_add_torus(sum, column, fft_scratch),
                Precision::Split => {
                    let (high, low) = sum.split_at_mut(n);
                    fft.finish_add_integers(high, 32, column, fft_scratch);
                    fft.finish_add_integers(low, 0, column, fft_scratch);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_recompose() {
        for x in [0, 1, u64::MAX, 1 << 31, (1 << 31) - 1, 0x8000_0000_8000_0000, 0x7fff_ffff_ffff_ffff] {
            let (high, low) = split_halves(x);
            assert_eq!((high as i64 as u64).wrapping_shl(32).wrapping_add(low as i64 as u64), x);
        }
    }
}
