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
        let twist = (0..half).map(|j| Complex::from_polar(1.0, PI * j as f64 / polynomial_size as f64)).collect();
        let (forward, inverse) = (plan(half, FftDirection::Forward), plan(half, FftDirection::Inverse));
        Self { twist, forward, inverse, transforms }
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
}
