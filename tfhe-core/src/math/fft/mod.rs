//! Negacyclic Fourier transform of real polynomials modulo X^N + 1.
//!
//! # Definition
//! A real polynomial p of N coefficients is determined by its values at the N/2 roots of X^N = −1 that are roots of
//! X^(N/2) = i (the others are their conjugates): fold the upper half onto the imaginary axis,
//! z_j = p_j + i·p_{j+N/2} for 0 ≤ j < N/2, and evaluate Σ z_j·x^j at the roots of x^(N/2) = i. Products of polynomials
//! modulo X^N + 1 are products value by value. With ω = exp(iπ/N) that is a complex Fourier transform of z_j·ω^j (the
//! *twist*); the backends of our own need none (`vector.rs`).
//! (Bernstein, "Multidigit multiplication for mathematicians", 2001, section 4; Klemsa, ePrint 2021/480, has the error
//! analysis of this transform for TFHE.)
//!
//! # Conventions
//! A polynomial in the Fourier domain is N `f64`s (N/2 complex numbers) whose order and layout belong to the backend of
//! the plan that made it: use it with plans of the same size and backend only. The forward transform is not
//! normalized; the inverse divides by N/2.
//!
//! # Error
//! [`crate::rounding`] has the rounding errors of each backend, and derives what [`NegacyclicFft::inverse_add_integers`] and
//! [`NegacyclicFft::inverse_add_torus`] ask of sums.
//!
//! In the book: [chapter 4, the negacyclic FFT](../../../book/04-negacyclic-fft.html).

mod butterfly;
mod coefficients;
mod digits;
mod plan;
mod portable;
mod product;
#[cfg(test)]
mod tests;
mod vector;

use std::sync::Arc;

use coefficients::{AddIntegers, AddTorus};
use digits::{RotatedDifference, StartDigits};
pub(crate) use product::{CIPHERTEXTS, TERMS};
use product::{MultiplyRows, One};
use vector::{Finish, Merge, MultiplyAccumulate, Split, Start};

use crate::buffer::AlignedBuffer;
use crate::decomposition::decompose;
use crate::params::{Gadget, PolynomialSize};
#[cfg(doc)]
use crate::rounding::TORUS_BITS;
use crate::rounding::{MAXIMUM_INTEGER, MAXIMUM_SUM, Transforms};
use crate::simd::{Backend, BackendError, Capability, VectorInstructions, selected_capability};

/// A plan: the transform for one polynomial size on one backend. Plan once, use from any thread.
///
/// # Examples
/// A product modulo X^N + 1 is one of values, taken where X^N = −1. In f64 it is off by 2^-53 of its size or so, times what
/// [`crate::rounding`] says; where every sum is an integer within the bounds there, rounding makes it exact ([`crate::integer_product`]).
/// ```
/// use tfhe_core::fft::NegacyclicFft;
/// use tfhe_core::params::PolynomialSize;
/// use tfhe_core::polynomial::schoolbook_add;
/// use tfhe_core::random::SampleSeed;
/// use tfhe_core::torus::to_f64;
/// use tfhe_core::variance::Variance;
///
/// let fft = NegacyclicFft::new(PolynomialSize::new(1024)?);
/// let mut torus = vec![0; 1024];
/// SampleSeed::from_number(1).stream(0).fill_uniform(&mut torus);
/// let digits: Vec<i32> = (0..1024).map(|j| j * j % 255 - 127).collect();
///
/// let (scratch, mut values) = (&mut fft.scratch(), [0, 1, 2].map(|_| vec![0.0; 1024]));
/// let [a, b, product] = &mut values;
/// fft.forward_torus(&torus, a, scratch);
/// fft.forward_integers(&digits, b, scratch);
/// fft.multiply_accumulate(product, a, b);
/// let (mut by_transforms, mut by_hand) = (vec![0; 1024], vec![0; 1024]);
/// fft.inverse_add_torus(product, &mut by_transforms, scratch);
/// schoolbook_add(&digits.iter().map(|&x| i64::from(x)).collect::<Vec<_>>(), &torus, &mut by_hand);
///
/// let errors: Vec<f64> = by_transforms.iter().zip(&by_hand).map(|(&x, &y)| to_f64(x.wrapping_sub(y))).collect();
/// // Torus elements are uniform: of variance 1/12.
/// let size: f64 = digits.iter().map(|&x| f64::from(x * x)).sum::<f64>() / 12.0;
/// let ratio = Variance::measured(&errors).get() / (size * fft.transforms().of_torus(1, 1024));
/// assert!((0.5..2.0).contains(&ratio), "{ratio}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct NegacyclicFft {
    polynomial_size: PolynomialSize,
    plan: Plan,
}

/// Working memory of the transform, for one thread.
#[derive(Clone, Debug, Default)]
pub struct FftScratch {
    /// Backends of our own need none.
    portable: portable::Scratch,
}

#[derive(Clone)]
enum Plan {
    Portable(portable::Plan),
    Vector(VectorInstructions, Arc<plan::Plan>),
}

impl NegacyclicFft {
    /// Plans the transform of polynomials of `polynomial_size` coefficients on the selected backend
    /// ([`Backend::selected`]).
    ///
    /// # Panics
    /// If the environment selects a backend that does not exist or that this CPU cannot run; a program should call
    /// [`Backend::selected`] once to report that.
    pub fn new(polynomial_size: PolynomialSize) -> Self {
        Self::with_capability(polynomial_size, selected_capability())
    }

    /// The same on a given backend. Polynomials too small for its vectors use a narrower one (see [`Self::backend`]).
    ///
    /// # Errors
    /// If this CPU cannot run it.
    pub fn with_backend(polynomial_size: PolynomialSize, backend: Backend) -> Result<Self, BackendError> {
        let capability = Capability::new(backend).ok_or(BackendError::Unsupported(backend))?;
        Ok(Self::with_capability(polynomial_size, capability))
    }

    fn with_capability(polynomial_size: PolynomialSize, capability: Capability) -> Self {
        let n = polynomial_size.get();
        let plan = capability.narrower().find_map(|instructions| {
            let plan = plan::Plan::new(n, instructions.lanes())?;
            Some(Plan::Vector(instructions, Arc::new(plan)))
        });
        Self { polynomial_size, plan: plan.unwrap_or_else(|| Plan::Portable(portable::Plan::new(n))) }
    }

    /// N.
    pub fn polynomial_size(&self) -> PolynomialSize {
        self.polynomial_size
    }

    /// The backend that this plan uses: the one asked for from N = 64 (AVX2) or N = 256 (AVX-512) on; below, the next narrower
    /// one.
    pub fn backend(&self) -> Backend {
        match &self.plan {
            Plan::Portable(_) => Backend::Portable,
            Plan::Vector(instructions, _) => Capability::Vector(*instructions).backend(),
        }
    }

    /// The rounding errors of this plan's transforms.
    pub fn transforms(&self) -> Transforms {
        match &self.plan {
            Plan::Portable(plan) => plan.transforms,
            Plan::Vector(instructions, _) => instructions.transforms(),
        }
    }

    /// Working memory for one thread.
    pub fn scratch(&self) -> FftScratch {
        match &self.plan {
            Plan::Portable(plan) => FftScratch { portable: plan.scratch() },
            Plan::Vector(..) => FftScratch::default(),
        }
    }

    /// Transforms a polynomial of small integers: `input` to `output`, both of N. O(N log N).
    ///
    /// # Panics
    /// This and the functions below panic if a length is not N.
    pub fn forward_integers(&self, input: &[i32], output: &mut [f64], scratch: &mut FftScratch) {
        match &self.plan {
            Plan::Portable(plan) => plan.forward(|i| input[i] as f64, output, &mut scratch.portable),
            Plan::Vector(instructions, plan) => {
                instructions.run(Start { plan, input, output });
                instructions.run(Split { plan, data: output });
            }
        }
    }

    /// Transforms a torus polynomial, as its signed representatives in units of 2^-64 (rounded to f64's 53 bits).
    pub fn forward_torus(&self, input: &[u64], output: &mut [f64], scratch: &mut FftScratch) {
        match &self.plan {
            Plan::Portable(plan) => plan.forward(|i| input[i] as i64 as f64, output, &mut scratch.portable),
            Plan::Vector(instructions, plan) => {
                instructions.run(Start { plan, input, output });
                instructions.run(Split { plan, data: output });
            }
        }
    }

    /// `accumulator += a·b`, all in the Fourier domain.
    pub fn multiply_accumulate(&self, accumulator: &mut [f64], a: &[f64], b: &[f64]) {
        match &self.plan {
            Plan::Portable(plan) => plan.multiply_accumulate(accumulator, a, b),
            Plan::Vector(instructions, _) => instructions.run(MultiplyAccumulate { sum: accumulator, a, b }),
        }
    }

    /// Transforms back, rounds to a multiple of 2^[`TORUS_BITS`], or to an integer (portable backend), modulo 2^64, and adds to `output`, a
    /// torus polynomial. Overwrites `input`.
    ///
    /// The coefficients must be below [`MAXIMUM_SUM`] in absolute value, as [`crate::rounding`] explains.
    pub fn inverse_add_torus(&self, input: &mut [f64], output: &mut [u64], scratch: &mut FftScratch) {
        match &self.plan {
            Plan::Portable(plan) => plan.inverse(input, &mut scratch.portable, |i, x| {
                debug_assert!(x.abs() < MAXIMUM_SUM, "{x:e}");
                output[i] = output[i].wrapping_add(crate::torus::from_f64(x * 2f64.powi(-64)));
            }),
            Plan::Vector(instructions, plan) => {
                instructions.run(Merge { plan, data: input });
                instructions.run(Finish { plan, input, output: AddTorus(output) });
            }
        }
    }

    /// Transforms back, rounds to the nearest integer x and adds `x·2^shift` modulo 2^64 to `output`. Overwrites `input`.
    ///
    /// The coefficients must be below [`MAXIMUM_INTEGER`] in absolute value, as [`crate::rounding`] explains, and `shift` below
    /// 64.
    pub fn inverse_add_integers(&self, input: &mut [f64], shift: u32, output: &mut [u64], scratch: &mut FftScratch) {
        debug_assert!(shift < 64);
        match &self.plan {
            Plan::Portable(plan) => plan.inverse(input, &mut scratch.portable, |i, x| {
                debug_assert!(x.abs() < MAXIMUM_INTEGER, "{x:e}");
                output[i] = output[i].wrapping_add((x.round_ties_even() as i64 as u64) << shift);
            }),
            Plan::Vector(instructions, plan) => {
                instructions.run(Merge { plan, data: input });
                instructions.run(Finish { plan, input, output: AddIntegers { output, shift } });
            }
        }
    }
}

/// How many coefficients of −p follow a polynomial p that [`NegacyclicFft::start_rotated_difference`] reads: those of the
/// longest vector.
pub(crate) const ROTATION_PADDING: usize = 8;

/// What is summed up of the products of rows with a key, for each output o.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sums<'a> {
    /// Of one ciphertext, Σ_r row_r·key_(r, o).
    Rows,
    /// Of at most [`CIPHERTEXTS`] ciphertexts, Σ_t (X^(e_t) − 1)·Σ_r row_r·key_(r, t, o), for the exponents e of each, below 2N.
    Turned(&'a [[usize; TERMS]]),
}

/// Working memory of the steps of a gadget product, for one thread.
#[derive(Clone, Debug)]
pub(crate) struct ProductScratch {
    pub(crate) fft: FftScratch,
    /// For each ciphertext, N times its rows or outputs, whichever are more.
    polynomials: AlignedBuffer,
    /// How much of that is one ciphertext's.
    room: usize,
    /// One node of each row and factor of each ciphertext (vector instructions); the sums of one, and one more polynomial (portable).
    products: AlignedBuffer,
    /// A difference and its digits (portable).
    difference: Vec<u64>,
    digits: Vec<i32>,
}

/// The steps of gadget products ([`crate::gadget_product`]) of up to [`CIPHERTEXTS`] ciphertexts with one key: started transforms of digits
/// (*rows*), their products with a key summed up, and finished inverse transforms. What is between the steps is meant for the next
/// step only.
impl NegacyclicFft {
    /// Room for products of `ciphertexts` ciphertexts of `rows` rows, `levels` of them started together, with `outputs` sums.
    pub(crate) fn product_scratch(
        &self,
        ciphertexts: usize,
        rows: usize,
        levels: usize,
        outputs: usize,
    ) -> ProductScratch {
        let n = self.polynomial_size.get();
        let (products, portable) = match &self.plan {
            Plan::Portable(_) => ((outputs + 1) * n, n),
            Plan::Vector(instructions, _) => {
                (ciphertexts * (rows + TERMS) * 2 * instructions.lanes() * instructions.lanes(), 0)
            }
        };
        let room = rows.max(outputs) * n;
        ProductScratch {
            fft: self.scratch(),
            polynomials: AlignedBuffer::zeros(ciphertexts * room),
            room,
            products: AlignedBuffer::zeros(products),
            difference: vec![0; portable],
            digits: vec![0; portable * levels],
        }
    }

    /// Starts to transform the digits of `polynomial` [N]: rows `first_row` and following of a ciphertext.
    pub(crate) fn start_digits(
        &self,
        polynomial: &[u64],
        gadget: Gadget,
        (ciphertext, first_row): (usize, usize),
        scratch: &mut ProductScratch,
    ) {
        let (n, levels, base_log) = (self.polynomial_size.get(), gadget.levels(), gadget.base_log());
        let rows = &mut scratch.polynomials[ciphertext * scratch.room..][first_row * n..][..levels * n];
        match &self.plan {
            Plan::Portable(_) => {
                let digits = &mut scratch.digits[..levels * n];
                decompose(polynomial, gadget, digits);
                for (digits, row) in digits.chunks_exact(n).zip(rows.chunks_exact_mut(n)) {
                    self.forward_integers(digits, row, &mut scratch.fft);
                }
            }
            Plan::Vector(instructions, plan) => {
                instructions.run(StartDigits { plan, input: polynomial, base_log, rows });
            }
        }
    }

    /// Starts to transform the digits of X^exponent·p − p, of one ciphertext; `polynomial` holds p and the first [`ROTATION_PADDING`]
    /// coefficients of −p.
    pub(crate) fn start_rotated_difference(
        &self,
        polynomial: &[u64],
        exponent: usize,
        gadget: Gadget,
        first_row: usize,
        scratch: &mut ProductScratch,
    ) {
        let n = self.polynomial_size.get();
        match &self.plan {
            Plan::Portable(_) => {
                let mut difference = std::mem::take(&mut scratch.difference);
                crate::polynomial::rotate_subtract(&polynomial[..n], exponent, &mut difference);
                self.start_digits(&difference, gadget, (0, first_row), scratch);
                scratch.difference = difference;
            }
            Plan::Vector(instructions, plan) => {
                let rows = &mut scratch.polynomials[first_row * n..][..gadget.levels() * n];
                let input = RotatedDifference::new(polynomial, exponent);
                instructions.run(StartDigits { plan, input, base_log: gadget.base_log(), rows });
            }
        }
    }

    /// Brings transformed polynomials `[rows][terms][outputs][N]` into the order of the key of [`Self::multiply_rows`].
    pub(crate) fn order_rows(&self, polynomials: AlignedBuffer, terms: usize, outputs: usize) -> AlignedBuffer {
        match &self.plan {
            Plan::Portable(_) => polynomials,
            Plan::Vector(instructions, _) => {
                product::order_rows(&polynomials, terms, outputs, self.polynomial_size.get(), instructions.lanes())
            }
        }
    }

    /// The sums of `rows` rows for each of `outputs` outputs, in place of the rows. Fetches `next`, what is needed next or nothing, into
    /// the cache. O(rows·terms·outputs·N).
    pub(crate) fn multiply_rows(
        &self,
        sums: Sums<'_>,
        rows: usize,
        outputs: usize,
        key: &[f64],
        next: &[f64],
        scratch: &mut ProductScratch,
    ) {
        let ProductScratch { polynomials, room, products, .. } = scratch;
        let room = *room;
        match (&self.plan, sums) {
            (Plan::Portable(plan), Sums::Rows) => {
                plan.multiply_rows(&mut polynomials[..room], rows, outputs, key, products)
            }
            (Plan::Portable(plan), Sums::Turned(exponents)) => {
                for (exponents, polynomials) in exponents.iter().zip(polynomials.chunks_exact_mut(room)) {
                    plan.multiply_turned(exponents, polynomials, rows, outputs, key, products);
                }
            }
            (Plan::Vector(instructions, plan), Sums::Rows) => {
                let node = products;
                instructions.run(MultiplyRows {
                    plan,
                    polynomials,
                    room,
                    rows,
                    outputs,
                    node,
                    terms: &[One],
                    key,
                    next,
                });
            }
            (Plan::Vector(instructions, plan), Sums::Turned(terms)) => {
                let node = products;
                instructions.run(MultiplyRows { plan, polynomials, room, rows, outputs, node, terms, key, next });
            }
        }
    }

    /// The rest of [`Self::inverse_add_torus`], from sum `index` of a ciphertext.
    pub(crate) fn finish_add_torus(
        &self,
        (ciphertext, index): (usize, usize),
        output: &mut [u64],
        scratch: &mut ProductScratch,
    ) {
        let n = self.polynomial_size.get();
        let input = &mut scratch.polynomials[ciphertext * scratch.room..][index * n..][..n];
        match &self.plan {
            Plan::Portable(_) => self.inverse_add_torus(input, output, &mut scratch.fft),
            Plan::Vector(instructions, plan) => instructions.run(Finish { plan, input, output: AddTorus(output) }),
        }
    }

    /// The rest of [`Self::inverse_add_integers`], from sum `index` of a ciphertext.
    pub(crate) fn finish_add_integers(
        &self,
        (ciphertext, index): (usize, usize),
        shift: u32,
        output: &mut [u64],
        scratch: &mut ProductScratch,
    ) {
        let n = self.polynomial_size.get();
        let input = &mut scratch.polynomials[ciphertext * scratch.room..][index * n..][..n];
        match &self.plan {
            Plan::Portable(_) => self.inverse_add_integers(input, shift, output, &mut scratch.fft),
            Plan::Vector(instructions, plan) => {
                instructions.run(Finish { plan, input, output: AddIntegers { output, shift } });
            }
        }
    }
}

impl std::fmt::Debug for NegacyclicFft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NegacyclicFft")
            .field("polynomial_size", &self.polynomial_size)
            .field("backend", &self.backend())
            .finish_non_exhaustive()
    }
}
