//! The transform on rustfft: for CPUs without a backend of their own, and the reference for those that have one.

use std::f64::consts::PI;
use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftDirection, FftPlanner, FftPlannerAvx};
use zeroize::Zeroize;

use crate::rounding::Transforms;

#[derive(Clone)]
pub(super) struct Plan {
    /// ω^j, ω = exp(iπ/N), 0 ≤ j < N/2.
    twist: Arc<[Complex<f64>]>,
    /// ω^j, 0 ≤ j < 2N.
    roots: Arc<[Complex<f64>]>,
    forward: Arc<dyn Fft<f64>>,
    inverse: Arc<dyn Fft<f64>>,
    pub(super) transforms: Transforms,
}

/// Working memory of the transform, for one thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    buffer: Vec<Complex<f64>>,
    fft: Vec<Complex<f64>>,
}

/// What was transformed may have been secret.
impl Drop for Scratch {
    fn drop(&mut self) {
        for z in self.buffer.iter_mut().chain(&mut self.fft) {
            z.re.zeroize();
            z.im.zeroize();
        }
    }
}

impl Plan {
    /// With the fastest code that rustfft has for this CPU.
    pub(super) fn new(polynomial_size: usize) -> Self {
        if let Ok(mut planner) = FftPlannerAvx::new() {
            return Self::planned(polynomial_size, |n, way| planner.plan_fft(n, way), Transforms::RUSTFFT_AVX);
        }
        let mut planner = FftPlanner::new();
        Self::planned(polynomial_size, |n, way| planner.plan_fft(n, way), Transforms::RUSTFFT)
    }

    /// With a planner of code that has the given rounding errors.
    pub(super) fn planned(
        polynomial_size: usize,
        mut plan: impl FnMut(usize, FftDirection) -> Arc<dyn Fft<f64>>,
        transforms: Transforms,
    ) -> Self {
        let half = polynomial_size / 2;
        let root = |j| Complex::from_polar(1.0, PI * j as f64 / polynomial_size as f64);
        let (twist, roots) = ((0..half).map(root).collect(), (0..2 * polynomial_size).map(root).collect());
        let (forward, inverse) = (plan(half, FftDirection::Forward), plan(half, FftDirection::Inverse));
        Self { twist, roots, forward, inverse, transforms }
    }

    pub(super) fn scratch(&self) -> Scratch {
        let length = self.forward.get_inplace_scratch_len().max(self.inverse.get_inplace_scratch_len());
        let zero = Complex::new(0.0, 0.0);
        Scratch { buffer: vec![zero; self.twist.len()], fft: vec![zero; length] }
    }

    /// `output`: N/2 real parts, then N/2 imaginary parts.
    pub(super) fn forward(&self, input: impl Fn(usize) -> f64, output: &mut [f64], scratch: &mut Scratch) {
        let half = self.twist.len();
        for ((j, z), twist) in scratch.buffer.iter_mut().enumerate().zip(self.twist.iter()) {
            *z = Complex::new(input(j), input(j + half)) * twist;
        }
        self.forward.process_with_scratch(&mut scratch.buffer, &mut scratch.fft);
        let (real, imaginary) = output.split_at_mut(half);
        for ((z, re), im) in scratch.buffer.iter().zip(real).zip(imaginary) {
            (*re, *im) = (z.re, z.im);
        }
    }

    pub(super) fn inverse(&self, input: &[f64], scratch: &mut Scratch, mut store: impl FnMut(usize, f64)) {
        let half = self.twist.len();
        let (real, imaginary) = input.split_at(half);
        for ((z, re), im) in scratch.buffer.iter_mut().zip(real).zip(imaginary) {
            *z = Complex::new(*re, *im);
        }
        self.inverse.process_with_scratch(&mut scratch.buffer, &mut scratch.fft);
        let scale = 1.0 / half as f64;
        for ((j, z), twist) in scratch.buffer.iter().enumerate().zip(self.twist.iter()) {
            let folded = z * twist.conj();
            store(j, folded.re * scale);
            store(j + half, folded.im * scale);
        }
    }

    pub(super) fn multiply_accumulate(&self, accumulator: &mut [f64], a: &[f64], b: &[f64]) {
        let half = self.twist.len();
        let (acc_re, acc_im) = accumulator.split_at_mut(half);
        let (a_re, a_im) = a.split_at(half);
        let (b_re, b_im) = b.split_at(half);
        for j in 0..half {
            acc_re[j] += a_re[j] * b_re[j] - a_im[j] * b_im[j];
            acc_im[j] += a_re[j] * b_im[j] + a_im[j] * b_re[j];
        }
    }

    /// Σ_r rows[r]·key[r, o], in place of the rows. `sums` is room for them.
    pub(super) fn multiply_rows(
        &self,
        polynomials: &mut [f64],
        rows: usize,
        outputs: usize,
        key: &[f64],
        sums: &mut [f64],
    ) {
        let n = 2 * self.twist.len();
        let sums = &mut sums[..outputs * n];
        sums.fill(0.0);
        for (row, key) in polynomials[..rows * n].chunks_exact(n).zip(key.chunks_exact(outputs * n)) {
            for (sum, key) in sums.chunks_exact_mut(n).zip(key.chunks_exact(n)) {
                self.multiply_accumulate(sum, row, key);
            }
        }
        polynomials[..outputs * n].copy_from_slice(sums);
    }

    /// Σ_t (X^(e_t) − 1)·Σ_r rows[r]·key[r, t, o], in place of the rows. `sums` is room for them, and for one polynomial more.
    pub(super) fn multiply_turned(
        &self,
        exponents: &[usize],
        polynomials: &mut [f64],
        rows: usize,
        outputs: usize,
        key: &[f64],
        sums: &mut [f64],
    ) {
        let (half, n) = (self.twist.len(), 2 * self.twist.len());
        let (sums, product) = sums[..(outputs + 1) * n].split_at_mut(outputs * n);
        sums.fill(0.0);
        for (t, &exponent) in exponents.iter().enumerate() {
            for (output, sum) in sums.chunks_exact_mut(n).enumerate() {
                product.fill(0.0);
                for (r, row) in polynomials[..rows * n].chunks_exact(n).enumerate() {
                    let at = (r * exponents.len() + t) * outputs + output;
                    self.multiply_accumulate(product, row, &key[at * n..][..n]);
                }
                let (re, im) = sum.split_at_mut(half);
                for j in 0..half {
                    // Value j is the one at ω^(1−4j).
                    let turn = self.roots[exponent * (1 + 4 * (half - j)) % (2 * n)] - 1.0;
                    let turned = turn * Complex::new(product[j], product[half + j]);
                    re[j] += turned.re;
                    im[j] += turned.im;
                }
            }
        }
        polynomials[..outputs * n].copy_from_slice(sums);
    }
}
