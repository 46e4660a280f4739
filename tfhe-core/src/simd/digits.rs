//! Signed gadget decomposition on vectors; [`crate::decomposition`] defines it.

use super::{Kernel, Simd};

/// Decomposes as many coefficients as fill whole vectors and returns their number: level i of coefficient j goes to
/// `digits[i·stride + j]`.
pub(crate) struct Decompose<'a> {
    pub(crate) coefficients: &'a [u64],
    pub(crate) base_log: u32,
    pub(crate) levels: usize,
    /// [levels][stride]
    pub(crate) digits: &'a mut [i32],
    pub(crate) stride: usize,
}

impl Kernel for Decompose<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> usize {
        let Self { coefficients, base_log, levels, digits, stride } = self;
        assert!(coefficients.len() <= stride && digits.len() >= levels * stride);
        let whole = coefficients.len() - coefficients.len() % S::LANES;
        let bits = base_log * levels as u32;
        // There is no arithmetic shift of 64-bit lanes everywhere, so the state is kept non-negative by adding β^ℓ. That
        // changes neither the digits nor, being an even multiple of every base above, the parities that decide ties.
        // The sign bit flipped adds β^ℓ/2 already.
        let (sign, one) = (simd.splat_words(1 << 63), simd.splat_words(1));
        let other_half = simd.splat_words(1 << (bits - 1));
        let below_half = simd.splat_words((1 << (base_log - 1)) - 1);
        for j in (0..whole).step_by(S::LANES) {
            // SAFETY: j + LANES ≤ whole ≤ coefficients.len().
            let x = simd.xor(unsafe { simd.load_words(coefficients.as_ptr().add(j)) }, sign);
            let rounded = simd.shift_right(simd.add_words(simd.shift_right(x, 63 - bits), one), 1);
            let mut state = simd.add_words(rounded, other_half);
            for level in (1..levels).rev() {
                let tie = simd.and(simd.shift_right(state, base_log), one);
                let next = simd.shift_right(simd.add_words(simd.add_words(state, tie), below_half), base_log);
                let digit = simd.subtract_words(state, simd.shift_left(next, base_log));
                // SAFETY: j + LANES ≤ stride and level < levels.
                unsafe { simd.store_integers(digit, digits.as_mut_ptr().add(level * stride + j)) };
                state = next;
            }
            let digit = simd.subtract_words(state, simd.splat_words(1 << base_log));
            // SAFETY: j + LANES ≤ stride.
            unsafe { simd.store_integers(digit, digits.as_mut_ptr().add(j)) };
        }
        whole
    }
}
