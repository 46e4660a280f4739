//! Negacyclic Fourier transform of real polynomials modulo X^N + 1.
//!
//! # Definition
//! A real polynomial p of N coefficients is determined by its values at the N/2 roots of X^N = −1 with positive
//! imaginary part (the others are their conjugates). Fold the upper half onto the imaginary axis,
//! z_j = (p_j + i·p_{j+N/2})·ω^j with ω = exp(iπ/N) for 0 ≤ j < N/2, and a complex Fourier transform of size N/2 gives
//! those values. Products of polynomials modulo X^N + 1 are products value by value.
//! (Bernstein, "Multidigit multiplication for mathematicians", 2001, section 4 has the twist; Klemsa, ePrint 2021/480,
//! the error analysis of this transform for TFHE.)
//!
//! # Conventions
//! A polynomial in the Fourier domain is N `f64`s (N/2 complex numbers) whose order and layout belong to the backend of
//! the plan that made it: use it with plans of the same size and backend only. The forward transform is not
//! normalized; the inverse divides by N/2.
//!
//! # Error
//! One f64 transform of M points has relative root-mean-square error of about 2^-53·0.6·sqrt(log2 M)
//! (Schatzman, SIAM J. Sci. Comput. 17 (1996)); [`NegacyclicFft::inverse_add_integers`] is exact as long as that
//! error stays well below 1/2 on every coefficient.

mod portable;

use crate::params::PolynomialSize;
pub use portable::PortableScratch as FftScratch;

/// A kind of implementation of the transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// rustfft, on every CPU.
    Portable,
}

/// A plan: the transform for one polynomial size on one backend. Plan once, use from any thread.
#[derive(Clone)]
pub struct NegacyclicFft {
    polynomial_size: PolynomialSize,
    plan: portable::Plan,
}

impl NegacyclicFft {
    /// Plans the transform of polynomials of `polynomial_size` coefficients on the best backend of this CPU.
    pub fn new(polynomial_size: PolynomialSize) -> Self {
        Self { polynomial_size, plan: portable::Plan::new(polynomial_size.get()) }
    }

    /// N.
    pub fn polynomial_size(&self) -> PolynomialSize {
        self.polynomial_size
    }

    /// Working memory for one thread.
    pub fn scratch(&self) -> FftScratch {
        self.plan.scratch()
    }

    /// Transforms a polynomial of small integers: `input` [N] to `output` [N]. O(N log N).
    pub fn forward_integers(&self, input: &[i32], output: &mut [f64], scratch: &mut FftScratch) {
        self.plan.forward(|i| input[i] as f64, output, scratch);
    }

    /// Transforms a torus polynomial, as its signed representatives in units of 2^-64 (rounded to f64's 53 bits).
    pub fn forward_torus(&self, input: &[u64], output: &mut [f64], scratch: &mut FftScratch) {
        self.plan.forward(|i| input[i] as i64 as f64, output, scratch);
    }

    /// `accumulator += a·b`, all in the Fourier domain.
    pub fn multiply_accumulate(&self, accumulator: &mut [f64], a: &[f64], b: &[f64]) {
        self.plan.multiply_accumulate(accumulator, a, b);
    }

    /// Transforms back, rounds to the nearest integer modulo 2^64 and adds to `output`, a torus polynomial.
    /// Overwrites `input`.
    pub fn inverse_add_torus(&self, input: &mut [f64], output: &mut [u64], scratch: &mut FftScratch) {
        self.plan.inverse(input, scratch, |i, x| {
            output[i] = output[i].wrapping_add(crate::torus::from_f64(x * 2f64.powi(-64)));
        });
    }

    /// Transforms back, rounds to the nearest integer x and adds `x·2^shift` modulo 2^64 to `output`. Overwrites `input`.
    ///
    /// The coefficients must be below 2^52 in absolute value.
    pub fn inverse_add_integers(&self, input: &mut [f64], shift: u32, output: &mut [u64], scratch: &mut FftScratch) {
        self.plan.inverse(input, scratch, |i, x| {
            debug_assert!(x.abs() < 2f64.powi(52));
            output[i] = output[i].wrapping_add((x.round_ties_even() as i64 as u64) << shift);
        });
    }
}

impl std::fmt::Debug for NegacyclicFft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NegacyclicFft").field("polynomial_size", &self.polynomial_size).finish_non_exhaustive()
    }
}
