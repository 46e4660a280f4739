//! The first pass of the transforms of a torus polynomial's digits ([`crate::decomposition`]), which are computed on the
//! way: neither they nor the polynomial that they are taken of is ever in memory.

use super::butterfly::{Complex, split_node, zeros};
use super::plan::Plan;
use super::vector::{Scalars, store_strided};
use crate::simd::digits::{biased_quotients, lowest_digits};
use crate::simd::{Kernel, Simd};

/// N torus elements.
pub(super) trait Words {
    /// Their number.
    fn len(&self) -> usize;

    /// Elements `index` and following, one to a lane.
    ///
    /// # Safety
    /// `index + S::LANES` must not exceed `self.len()`.
    unsafe fn load<S: Simd>(&self, simd: S, index: usize) -> S::Words;
}

impl Words for &[u64] {
    fn len(&self) -> usize {
        <[u64]>::len(self)
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(&self, simd: S, index: usize) -> S::Words {
        // SAFETY: the caller's: LANES words from `index` are inside the slice.
        unsafe { simd.load_words(self.as_ptr().add(index)) }
    }
}

/// X^exponent·p − p.
pub(super) struct RotatedDifference<'a> {
    /// p, followed by −p: at least L coefficients of it, so that a vector that begins in p can be loaded.
    polynomial: &'a [u64],
    len: usize,
    /// 2N − exponent, modulo 2N.
    shift: usize,
}

impl<'a> RotatedDifference<'a> {
    /// `polynomial` holds p and the first [`super::ROTATION_PADDING`] coefficients of −p.
    pub(super) fn new(polynomial: &'a [u64], exponent: usize) -> Self {
        let len = polynomial.len() - super::ROTATION_PADDING;
        assert!(len.is_power_of_two());
        Self { polynomial, len, shift: exponent.wrapping_neg() & (2 * len - 1) }
    }
}

impl Words for RotatedDifference<'_> {
    fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(&self, simd: S, index: usize) -> S::Words {
        debug_assert!(S::LANES <= super::ROTATION_PADDING);
        let source = (index + self.shift) & (2 * self.len - 1);
        // SAFETY: `source` modulo N is below N, and L words of padding follow; the caller's for `index`.
        unsafe {
            let rotated = simd.load_words(self.polynomial.as_ptr().add(source & (self.len - 1)));
            let rotated = simd.negate_where(rotated, source >= self.len);
            simd.subtract_words(rotated, simd.load_words(self.polynomial.as_ptr().add(index)))
        }
    }
}

/// The first passes of the transforms of the digits of `input`: writes `rows` [levels][N].
pub(super) struct StartDigits<'a, W> {
    pub(super) plan: &'a Plan,
    pub(super) input: W,
    pub(super) base_log: u32,
    pub(super) rows: &'a mut [f64],
}

/// The most bits of a number whose digits are split off as `f64`s: more would not be exact.
const MAXIMUM_REAL_BITS: u32 = 51;

impl<W: Words> Kernel for StartDigits<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { plan, input, base_log, rows } = self;
        let n = 2 * plan.size;
        let levels = rows.len() / n;
        assert!(input.len() == n && rows.len() == levels * n && levels > 0 && base_log * (levels as u32) < 64);
        let pass = DigitPass {
            stride: plan.passes[0].stride,
            constants: Scalars(plan.passes[0].split.as_ptr()),
            base_log,
            levels,
            real_levels: levels.min((MAXIMUM_REAL_BITS / base_log) as usize),
            rows: rows.as_mut_ptr(),
        };
        // SAFETY: `rows` holds `levels`·N numbers, `input` N elements.
        unsafe {
            match plan.passes[0].radix {
                2 => pass.run::<S, 2>(simd, &input),
                4 => pass.run::<S, 4>(simd, &input),
                _ => pass.run::<S, 8>(simd, &input),
            }
        }
    }
}

struct DigitPass {
    stride: usize,
    constants: Scalars,
    base_log: u32,
    levels: usize,
    /// The upper levels, whose digits are split off as `f64`s.
    real_levels: usize,
    /// [levels][N]
    rows: *mut f64,
}

impl DigitPass {
    /// # Safety
    /// R must be the pass's radix, `rows` valid for writing levels·N numbers, and `input` of N elements.
    #[inline(always)]
    unsafe fn run<S: Simd, const R: usize>(&self, simd: S, input: &impl Words) {
        let size = R * self.stride;
        for index in (0..self.stride).step_by(S::LANES) {
            let mut words = [[simd.splat_words(0); 2]; R];
            for k in 0..R {
                let at = k * self.stride + index;
                // SAFETY: index + LANES ≤ stride, so that at + LANES ≤ size.
                words[k] = unsafe { [input.load(simd, at), input.load(simd, size + at)] };
            }
            // SAFETY: the caller's.
            unsafe {
                let mut state = self.lower_levels(simd, words, index);
                for level in (1..self.real_levels).rev() {
                    let mut digits = zeros::<S, R>(simd);
                    for k in 0..R {
                        digits[k].re = self.split_digits(simd, &mut state[k].re);
                        digits[k].im = self.split_digits(simd, &mut state[k].im);
                    }
                    self.store(simd, digits, level, index);
                }
                self.store(simd, state, 0, index);
            }
        }
    }

    /// Stores the lower levels, which must be split off as integers, and returns the quotients that the upper ones make up.
    ///
    /// # Safety
    /// As for [`Self::run`]; index + LANES ≤ stride.
    #[inline(always)]
    unsafe fn lower_levels<S: Simd, const R: usize>(
        &self,
        simd: S,
        mut words: [[S::Words; 2]; R],
        index: usize,
    ) -> [Complex<S::Reals>; R] {
        let mut z = zeros::<S, R>(simd);
        let bits = self.base_log * self.levels as u32;
        if self.real_levels == self.levels {
            for k in 0..R {
                let [re, im] = words[k];
                z[k] = Complex { re: simd.rounded_quotients(re, 64 - bits), im: simd.rounded_quotients(im, 64 - bits) };
            }
            return z;
        }
        for k in 0..R {
            let [re, im] = words[k];
            words[k] = [biased_quotients(simd, re, bits), biased_quotients(simd, im, bits)];
        }
        for level in (self.real_levels..self.levels).rev() {
            for k in 0..R {
                z[k].re = simd.signed_reals(lowest_digits(simd, &mut words[k][0], self.base_log));
                z[k].im = simd.signed_reals(lowest_digits(simd, &mut words[k][1], self.base_log));
            }
            // SAFETY: the caller's.
            unsafe { self.store(simd, z, level, index) }
        }
        let bias = simd.splat_words(1 << (self.base_log * self.real_levels as u32));
        for k in 0..R {
            let [re, im] = words[k];
            z[k].re = simd.signed_reals(simd.subtract_words(re, bias));
            z[k].im = simd.signed_reals(simd.subtract_words(im, bias));
        }
        z
    }

    /// The remainders of integers of at most [`MAXIMUM_REAL_BITS`] bits modulo β, nearest to 0, ties by the parity of the
    /// quotients, which take the integers' place. Adding 3·2^51 to a number of less than 2^51 rounds it so.
    #[inline(always)]
    fn split_digits<S: Simd>(&self, simd: S, state: &mut S::Reals) -> S::Reals {
        let rounder = simd.splat_reals(3.0 * 2f64.powi(51));
        let base = (1_u64 << self.base_log) as f64;
        let sum = simd.multiply_add(*state, simd.splat_reals(1.0 / base), rounder);
        let quotient = simd.subtract(sum, rounder);
        let digit = simd.negate_multiply_add(quotient, simd.splat_reals(base), *state);
        *state = quotient;
        digit
    }

    /// # Safety
    /// As for [`Self::lower_levels`]; level < levels.
    #[inline(always)]
    unsafe fn store<S: Simd, const R: usize>(
        &self,
        simd: S,
        mut z: [Complex<S::Reals>; R],
        level: usize,
        index: usize,
    ) {
        split_node(simd, &mut z, self.constants);
        // SAFETY: row `level` lies at N·level, N = 2·R·stride.
        unsafe {
            let row = self.rows.add(2 * R * self.stride * level);
            store_strided(simd, row.add(2 * index), self.stride, z);
        }
    }
}
