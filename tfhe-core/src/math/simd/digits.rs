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
        let top = simd.splat_words(1 << base_log);
        for j in (0..whole).step_by(S::LANES) {
            // SAFETY: j + LANES ≤ whole ≤ coefficients.len().
            let x = unsafe { simd.load_words(coefficients.as_ptr().add(j)) };
            let mut state = biased_quotients(simd, x, base_log * levels as u32);
            for level in (1..levels).rev() {
                let digit = lowest_digits(simd, &mut state, base_log);
                // SAFETY: j + LANES ≤ stride and level < levels.
                unsafe { simd.store_integers(digit, digits.as_mut_ptr().add(level * stride + j)) };
            }
            // SAFETY: j + LANES ≤ stride.
            unsafe { simd.store_integers(simd.subtract_words(state, top), digits.as_mut_ptr().add(j)) };
        }
        whole
    }
}

/// The signed representatives divided by 2^(64−bits) and rounded, plus 2^bits; ties to the even number before 2^(bits−1) was
/// added ([`crate::decomposition::nearest_quotient`]).
///
/// There is no arithmetic shift of 64-bit lanes everywhere, so what digits are split off of is kept non-negative. That
/// changes neither the digits nor, 2^bits being an even multiple of every base above, the parities that decide ties.
#[inline(always)]
pub(crate) fn biased_quotients<S: Simd>(simd: S, x: S::Words, bits: u32) -> S::Words {
    // The sign bit flipped adds half of 2^bits already.
    let x = simd.xor(x, simd.splat_words(1 << 63));
    let dropped = 64 - bits;
    let quotient = simd.shift_right(x, dropped);
    let remainder = simd.and(x, simd.splat_words((1 << dropped) - 1));
    // Rounds up from half on if the quotient is odd, from above half if it is even. Neither sum overflows: dropped ≤ 63.
    let below_half = simd.splat_words((1 << (dropped - 1)) - 1);
    let odd = simd.and(quotient, simd.splat_words(1));
    let up = simd.shift_right(simd.add_words(simd.add_words(remainder, odd), below_half), dropped);
    simd.add_words(simd.add_words(quotient, up), simd.splat_words(1 << (bits - 1)))
}

/// Splits the lowest digits off non-negative numbers, ties by the parity of the digits above.
#[inline(always)]
pub(crate) fn lowest_digits<S: Simd>(simd: S, state: &mut S::Words, base_log: u32) -> S::Words {
    let below_half = simd.splat_words((1 << (base_log - 1)) - 1);
    let tie = simd.and(simd.shift_right(*state, base_log), simd.splat_words(1));
    let next = simd.shift_right(simd.add_words(simd.add_words(*state, tie), below_half), base_log);
    let digit = simd.subtract_words(*state, simd.shift_left(next, base_log));
    *state = next;
    digit
}
