//! Signed gadget decomposition.
//!
//! A torus element x is replaced by the nearest multiple of q/β^ℓ, and that by digits d_1 … d_ℓ with
//! `x ≈ Σ d_i·q/β^i` and `|d_i| ≤ β/2` (Chillotti, Gama, Georgieva, Izabachène, J. Cryptology 2020, Algorithm 1;
//! Joye, ePrint 2021/1402, section 4).
//!
//! # Digits and rounding errors have mean zero
//! Digits in [−β/2, β/2) have mean −1/2, which with secrets of mean 1/2 becomes a low-frequency error that products of
//! ciphertexts amplify. Here a tie (a remainder of exactly β/2) goes up or down by the parity of the digit above it, so
//! both happen equally often. The top digit needs no such rule: x is read as a signed number in [−q/2, q/2), and what is
//! left of it for the top digit lies in [−β/2, β/2] with either sign equally often.
//!
//! In the book: [chapter 3, gadgets and the external product](../../../book/03-gadget-and-external-product.html).

use crate::params::Gadget;
use crate::simd::digits::Decompose;
use crate::simd::{Capability, selected_capability};

/// The signed representative of x divided by 2^dropped and rounded to the nearest integer: for a gadget with β^ℓ =
/// 2^(64−dropped), from −β^ℓ/2 to β^ℓ/2. A tie goes to the integer at an even distance from −β^ℓ/2: errors of ties up would have
/// a mean, which counts where few bits are dropped.
#[inline]
pub(crate) fn nearest_quotient(x: u64, dropped: u32) -> i64 {
    let from_lowest = x ^ (1 << 63);
    let (quotient, remainder) = (from_lowest >> dropped, from_lowest & ((1 << dropped) - 1));
    let half = 1 << (dropped - 1);
    let up = remainder > half || (remainder == half && quotient & 1 == 1);
    // Of one dropped bit the largest quotient is 2^63, which wraps around and back.
    ((quotient + u64::from(up)) as i64).wrapping_sub(1 << (63 - dropped))
}

/// Decomposes each of `polynomial`'s coefficients: level i (1 ≤ i ≤ ℓ) goes to `digits[(i−1)·len .. i·len]`.
///
/// # Examples
/// A large factor would multiply noise by its size. So it is cut into small digits, and what they meet is encrypted at each
/// digit's weight: here 3 digits of 4 bits, and what is below 2^-12 of a turn is rounded.
/// ```
/// use tfhe_core::decomposition::decompose;
/// use tfhe_core::params::{Gadget, Precision};
///
/// let gadget = Gadget::new(4, 3, Precision::Single)?;
/// let x = 0x7a3b_1234_5678_9abc_u64;
/// let mut digits = [0; 3];
/// decompose(&[x], gadget, &mut digits);
///
/// assert!(digits.iter().all(|d| d.abs() <= 8));
/// let sum = digits.iter().zip(1..).fold(0, |sum: u64, (&d, i)| sum.wrapping_add((d as u64) << (64 - 4 * i)));
/// let error = (sum.wrapping_sub(x) as i64).unsigned_abs();
/// assert!(error <= 1 << (64 - 4 * 3 - 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// If `digits.len() != levels · polynomial.len()`, or the selected backend is unusable
/// ([`crate::simd::Backend::selected`]).
pub fn decompose(polynomial: &[u64], gadget: Gadget, digits: &mut [i32]) {
    decompose_on(selected_capability(), polynomial, gadget, digits);
}

pub(crate) fn decompose_on(capability: Capability, polynomial: &[u64], gadget: Gadget, digits: &mut [i32]) {
    let len = polynomial.len();
    assert_eq!(digits.len(), gadget.levels() * len);
    let done = match capability {
        Capability::Portable => 0,
        Capability::Vector(instructions) => instructions.run(Decompose {
            coefficients: polynomial,
            base_log: gadget.base_log(),
            levels: gadget.levels(),
            digits,
            stride: len,
        }),
    };
    for (j, &x) in polynomial.iter().enumerate().skip(done) {
        decompose_one(x, gadget, |level, digit| digits[level * len + j] = digit);
    }
}

/// Hands each digit of `x`, with its level counted from 0, to `digit`.
#[inline]
fn decompose_one(x: u64, gadget: Gadget, mut digit: impl FnMut(usize, i32)) {
    let base_log = gadget.base_log();
    let below_half = (1 << (base_log - 1)) - 1;
    let mut state = nearest_quotient(x, 64 - base_log * gadget.levels() as u32);
    for level in (1..gadget.levels()).rev() {
        // A remainder above β/2, or of β/2 under an odd digit, carries.
        let tie = (state >> base_log) & 1;
        let above = (state + tie + below_half) >> base_log;
        digit(level, (state - (above << base_log)) as i32);
        state = above;
    }
    digit(0, state as i32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Precision;
    use crate::simd::Backend;
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

    proptest! {
        #[test]
        fn backends_agree(x in prop::collection::vec(any::<u64>(), 0..40), base_log in 1_u32..=30, levels in 1_u32..=20) {
            prop_assume!(base_log * levels <= 63);
            check_backends(&x, Gadget::new(base_log, levels, Precision::Single).unwrap());
        }
    }

    fn check_backends(x: &[u64], gadget: Gadget) {
        let mut expected = vec![0; gadget.levels() * x.len()];
        decompose_on(Capability::Portable, x, gadget, &mut expected);
        for backend in Backend::available() {
            let mut digits = vec![0; expected.len()];
            decompose_on(Capability::new(backend).unwrap(), x, gadget, &mut digits);
            assert_eq!(digits, expected, "{backend}, {gadget:?}");
        }
    }

    #[test]
    fn backends_agree_on_ties_and_extremes() {
        for (base_log, levels) in [(23, 1), (15, 2), (11, 4), (1, 32), (3, 21), (2, 31), (30, 2), (21, 3), (4, 4)] {
            let unit = 1_u64 << (64 - base_log * levels);
            let mut x: Vec<u64> = (0..64).map(|bit| 1 << bit).collect();
            x.extend((0..64).map(|bit| (1_u64 << bit).wrapping_neg()));
            x.extend((0..64).map(|k| (unit / 2).wrapping_mul(2 * k + 1)));
            x.extend((0..64).map(|k| (1_u64 << 63).wrapping_add((unit / 2).wrapping_mul(k)).wrapping_sub(16 * unit)));
            x.extend([0, u64::MAX, (1 << 63) - 1]);
            check_backends(&x, Gadget::new(base_log, levels, Precision::Single).unwrap());
        }
    }

    #[test]
    fn rounding_errors_have_mean_zero() {
        // Every remainder of up to 6 dropped bits, under even and odd quotients.
        for dropped in 1..=6 {
            let errors: i64 = (0..1024_u64)
                .map(|x| {
                    let x = x.wrapping_sub(512);
                    (nearest_quotient(x, dropped) << dropped) - x as i64
                })
                .sum();
            assert_eq!(errors, 0, "{dropped} bits dropped");
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

    /// Of uniform elements, at bases of which ties are frequent. 10^5 elements: a standard error of 0.3 % of each level.
    #[test]
    fn digits_have_the_predicted_variance() {
        for (base_log, levels) in [(1, 12), (2, 8), (2, 31), (3, 6), (8, 4)] {
            let gadget = Gadget::new(base_log, levels, Precision::Single).unwrap();
            let mut elements = vec![0; 100_000];
            crate::random::SampleSeed::from_number(9).stream(0).fill_uniform(&mut elements);
            let mut digits = vec![0; elements.len() * levels as usize];
            decompose(&elements, gadget, &mut digits);
            let measured = digits.iter().map(|&d| f64::from(d).powi(2)).sum::<f64>() / digits.len() as f64;
            let ratio = measured / gadget.digit_variance();
            assert!((ratio - 1.0).abs() < 0.01, "{gadget:?}: {ratio}");
        }
    }
}
