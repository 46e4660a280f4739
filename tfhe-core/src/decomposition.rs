//! Signed gadget decomposition.
//!
//! A torus element x is replaced by the nearest multiple of q/β^ℓ, and that by digits d_1 … d_ℓ with
//! x ≈ Σ d_i·q/β^i and |d_i| ≤ β/2 (Chillotti, Gama, Georgieva, Izabachène, J. Cryptology 2020, Algorithm 1;
//! Joye, ePrint 2021/1402, section 4).
//!
//! # Digits have mean zero
//! Digits in [−β/2, β/2) have mean −1/2, which with secrets of mean 1/2 becomes a low-frequency error that products of
//! ciphertexts amplify. Here a tie (a remainder of exactly β/2) goes up or down by the parity of the digit above it, so
//! both happen equally often; the top digit, which has none above it and where ±β/2 are the same modulo q, goes by a bit
//! of x that the rounding dropped.

use crate::params::Gadget;

/// The nearest multiple of q/β^ℓ, divided by q/β^ℓ: an integer of ℓ·log2 β bits.
#[inline]
pub fn round_to_gadget(x: u64, gadget: Gadget) -> u64 {
    let dropped = 64 - gadget.base_log() * gadget.levels() as u32;
    x.wrapping_add(1 << (dropped - 1)) >> dropped
}

/// A bit of `x` on which no digit depends: the one below the bit that decides the rounding.
#[inline]
fn independent_bit(x: u64, gadget: Gadget) -> u64 {
    let dropped = 64 - gadget.base_log() * gadget.levels() as u32;
    (x << 2 >> dropped) & 1
}

/// Decomposes each of `polynomial`'s coefficients: level i (1 ≤ i ≤ ℓ) goes to `digits[(i−1)·len .. i·len]`.
///
/// # Panics
/// If `digits.len() != levels · polynomial.len()`.
pub fn decompose(polynomial: &[u64], gadget: Gadget, digits: &mut [i32]) {
    let len = polynomial.len();
    let levels = gadget.levels();
    assert_eq!(digits.len(), levels * len);
    let base_log = gadget.base_log();
    let mask = (1_u64 << base_log) - 1;
    let half = 1_u64 << (base_log - 1);
    for (j, &x) in polynomial.iter().enumerate() {
        let mut state = round_to_gadget(x, gadget);
        for level in (0..levels).rev() {
            let digit = state & mask;
            let above = state >> base_log;
            let tie_breaker = if level == 0 { independent_bit(x, gadget) } else { above & 1 };
            let carry = (digit + tie_breaker > half) as u64;
            state = above + carry;
            digits[level * len + j] = digit as i32 - ((carry as i32) << base_log);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Precision;
    use proptest::prelude::*;

    fn recompose(digits: &[i32], gadget: Gadget) -> u64 {
        digits.iter().enumerate().fold(0_u64, |sum, (level, &d)| {
            sum.wrapping_add((d as i64 as u64).wrapping_mul(1 << (64 - gadget.base_log() * (level as u32 + 1))))
        })
    }

    proptest! {
        #[test]
        fn digits_are_small_and_recompose(x: u64, base_log in 1_u32..=23, levels in 1_u32..=8) {
            prop_assume!(base_log * levels <= 63);
            let gadget = Gadget::new(base_log, levels, Precision::Single).unwrap();
            let mut digits = vec![0; levels as usize];
            decompose(&[x], gadget, &mut digits);
            let half = 1_i32 << (base_log - 1);
            prop_assert!(digits.iter().all(|&d| (-half..=half).contains(&d)));
            let error = x.wrapping_sub(recompose(&digits, gadget)) as i64;
            prop_assert!(error.unsigned_abs() <= 1 << (63 - base_log * levels));
        }
    }

    #[test]
    fn digits_have_mean_zero() {
        // Every torus element of 12 bits once: the sum of each level's digits is exactly zero.
        for levels in 1..=3 {
            let gadget = Gadget::new(3, levels, Precision::Single).unwrap();
            let all: Vec<u64> = (0..4096_u64).map(|x| (x << 52) + (1 << 51)).collect();
            let mut digits = vec![0; levels as usize * all.len()];
            decompose(&all, gadget, &mut digits);
            for level in digits.chunks(all.len()) {
                assert_eq!(level.iter().sum::<i32>(), 0, "{levels} levels");
            }
        }
    }
}
