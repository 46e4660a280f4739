//! What the first pass of a transform reads and what the last pass of an inverse transform writes.

use crate::rounding::{MAXIMUM_INTEGER, MAXIMUM_SUM, TORUS_BITS};
use crate::simd::Simd;

/// N coefficients, read as numbers while the first pass goes over them.
pub(super) trait Coefficients {
    /// Their number.
    fn len(&self) -> usize;

    /// Coefficients `index` and following, one to a lane.
    ///
    /// # Safety
    /// `index + S::LANES` must not exceed `self.len()`.
    unsafe fn load<S: Simd>(&self, simd: S, index: usize) -> S::Reals;
}

/// Small integers.
impl Coefficients for &[i32] {
    fn len(&self) -> usize {
        <[i32]>::len(self)
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(&self, simd: S, index: usize) -> S::Reals {
        // SAFETY: the caller's: LANES integers from `index` are inside the slice.
        unsafe { simd.load_integers(self.as_ptr().add(index)) }
    }
}

/// Torus elements, as their signed representatives.
impl Coefficients for &[u64] {
    fn len(&self) -> usize {
        <[u64]>::len(self)
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(&self, simd: S, index: usize) -> S::Reals {
        // SAFETY: the caller's: LANES words from `index` are inside the slice.
        simd.signed_reals(unsafe { simd.load_words(self.as_ptr().add(index)) })
    }
}

/// N torus elements to which the last pass of an inverse transform adds what it computes.
pub(super) trait Accumulator {
    /// Their number.
    fn len(&self) -> usize;

    /// Elements `index` and following, plus the lanes of `scale·x`.
    ///
    /// # Safety
    /// `index + S::LANES` must not exceed `self.len()`.
    unsafe fn plus<S: Simd>(&self, simd: S, index: usize, x: S::Reals, scale: S::Reals) -> S::Words;

    /// Sets elements `index` and following.
    ///
    /// # Safety
    /// As for [`Self::plus`].
    unsafe fn store<S: Simd>(&mut self, simd: S, index: usize, sums: S::Words);
}

/// Adds the nearest multiples of 2^[`TORUS_BITS`], modulo 2^64, for numbers below [`MAXIMUM_SUM`] in absolute value.
pub(super) struct AddTorus<'a>(pub(super) &'a mut [u64]);

impl Accumulator for AddTorus<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    unsafe fn plus<S: Simd>(&self, simd: S, index: usize, x: S::Reals, scale: S::Reals) -> S::Words {
        debug_assert!(are_below(simd, simd.multiply(x, scale), MAXIMUM_SUM));
        // Adding 1.5·2^116, whose last bit is worth 2^64, rounds to a multiple of 2^64. Without that, and plus 3·2^64, scale·x is between
        // 2.5·2^64 and 3.5·2^64: the mantissa is what is over 2^65, in units of 2^13; shifted so far, nothing else is left.
        let [one_turn, rounder] = [2f64.powi(64), 1.5 * 2f64.powi(116)];
        let turns = simd.multiply_add(x, scale, simd.splat_reals(rounder));
        let turns = simd.subtract(turns, simd.splat_reals(rounder + 3.0 * one_turn));
        let fraction = simd.bits(simd.multiply_subtract(x, scale, turns));
        // SAFETY: the caller's: LANES words from `index` are inside the slice.
        let words = unsafe { simd.load_words(self.0.as_ptr().add(index)) };
        simd.add_words(words, simd.shift_left(fraction, TORUS_BITS))
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(&mut self, simd: S, index: usize, sums: S::Words) {
        // SAFETY: the caller's: LANES words from `index` are inside the slice.
        unsafe { simd.store_words(sums, self.0.as_mut_ptr().add(index)) }
    }
}

/// Adds the nearest integers times 2^shift; for integers below [`MAXIMUM_INTEGER`] in absolute value.
pub(super) struct AddIntegers<'a> {
    pub(super) output: &'a mut [u64],
    pub(super) shift: u32,
}

impl Accumulator for AddIntegers<'_> {
    fn len(&self) -> usize {
        self.output.len()
    }

    #[inline(always)]
    unsafe fn plus<S: Simd>(&self, simd: S, index: usize, x: S::Reals, scale: S::Reals) -> S::Words {
        debug_assert!(are_below(simd, simd.multiply(x, scale), MAXIMUM_INTEGER));
        // Adding 1.5·2^52, whose last bit is worth 1, rounds to an integer; the mantissa counts from there.
        let rounder = simd.splat_reals(1.5 * 2f64.powi(52));
        let integers = simd.subtract_words(simd.bits(simd.multiply_add(x, scale, rounder)), simd.bits(rounder));
        // SAFETY: the caller's: LANES words from `index` are inside the slice.
        let words = unsafe { simd.load_words(self.output.as_ptr().add(index)) };
        simd.add_words(words, simd.shift_left(integers, self.shift))
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(&mut self, simd: S, index: usize, sums: S::Words) {
        // SAFETY: the caller's: LANES words from `index` are inside the slice.
        unsafe { simd.store_words(sums, self.output.as_mut_ptr().add(index)) }
    }
}

/// Whether all lanes are below `maximum` in absolute value.
#[inline(always)]
fn are_below<S: Simd>(simd: S, x: S::Reals, maximum: f64) -> bool {
    let mut lanes = [0.0; super::ROTATION_PADDING];
    // SAFETY: no vector is longer.
    unsafe { simd.store_reals(x, lanes.as_mut_ptr()) }
    lanes.iter().all(|x| x.abs() < maximum)
}
