//! The discretized torus T_q, q = 2^64.
//!
//! An element is a `u64` x standing for the real number x/2^64 modulo 1. Addition and multiplication by integers wrap
//! around, which is exactly arithmetic modulo 1; there is no multiplication of two torus elements.
//!
//! In the book: [chapter 1, torus and LWE](../../../book/01-torus-and-lwe.html).

/// log2 of the ciphertext modulus q.
pub const MODULUS_LOG: u32 = 64;

/// The torus element nearest to the real number `x`, taken modulo 1.
///
/// # Examples
/// ```
/// use tfhe_core::torus;
/// assert_eq!(torus::from_f64(0.25), 1 << 62);
/// assert_eq!(torus::from_f64(-0.25), 3 << 62);
/// assert_eq!(torus::from_f64(7.5), 1 << 63);
/// ```
#[inline]
pub fn from_f64(x: f64) -> u64 {
    // The fractional part lies in [-1/2, 1/2]; +1/2 scales to 2^63, which `as i64` would clip by one unit.
    let fraction = x - x.round_ties_even();
    ((fraction * 2f64.powi(64)).round_ties_even() as i128) as u64
}

/// The representative of `x` in [-1/2, 1/2).
///
/// # Examples
/// ```
/// assert_eq!(tfhe_core::torus::to_f64(3 << 62), -0.25);
/// ```
#[inline]
pub fn to_f64(x: u64) -> f64 {
    x as i64 as f64 * 2f64.powi(-64)
}

/// The message m on the torus, m/2^bits: 2^bits messages, modulo 2^bits, for `bits` 1 to 63.
///
/// # Examples
/// Four messages on the whole torus are quarter turns; a sum of angles is a sum of messages, modulo 4.
/// ```
/// use tfhe_core::torus::{decode, encode};
/// let sum = encode(3, 2).wrapping_add(encode(2, 2));
/// assert_eq!(sum, encode(1, 2));
/// // A little noise rounds away: up to half of the distance between messages, an eighth of a turn.
/// assert_eq!(decode(sum.wrapping_add(1 << 60), 2), 1);
/// assert_eq!(decode(encode(-1, 2), 2), -1);
/// ```
#[inline]
pub fn encode(message: i64, bits: u32) -> u64 {
    debug_assert!((1..64).contains(&bits));
    (message as u64) << (MODULUS_LOG - bits)
}

/// The message m for which m/2^bits is nearest to x, −2^(bits−1) ≤ m < 2^(bits−1), for `bits` 1 to 63: the inverse of [`encode`],
/// up to noise below 1/2^(bits+1).
///
/// # Examples
/// ```
/// use tfhe_core::torus::{decode, from_f64};
/// assert_eq!([0.26, 0.49, 0.51].map(|x| decode(from_f64(x), 2)), [1, -2, -2]);
/// ```
#[inline]
pub fn decode(x: u64, bits: u32) -> i64 {
    debug_assert!((1..64).contains(&bits));
    let shift = MODULUS_LOG - bits;
    x.wrapping_add(1 << (shift - 1)) as i64 >> shift
}

/// The multiple of 2^(64−bits) that is nearest to x, for `bits` 1 to 64: all that `bits` bits can say of it.
///
/// # Examples
/// ```
/// use tfhe_core::torus::{from_f64, round};
/// assert_eq!(round(from_f64(0.3), 2), from_f64(0.25));
/// assert_eq!(round(from_f64(0.9), 2), 0);
/// assert_eq!(round(12_345, 64), 12_345);
/// ```
#[inline]
pub fn round(x: u64, bits: u32) -> u64 {
    if bits < MODULUS_LOG { encode(decode(x, bits), bits) } else { x }
}

/// `x / 2^bits` rounded to the nearest integer, ties to even: an exact division of the *representative* in
/// [-1/2, 1/2), whose rounding errors have mean zero.
///
/// On a phase this divides the message and leaves a multiple of 2^(64-bits) that is unknown (the wrap-around of the
/// phase divided by 2^bits); it is meant for what is multiplied by 2^bits again, as in the trace.
///
/// # Examples
/// ```
/// use tfhe_core::torus::{divide_by_power_of_two, from_f64};
/// assert_eq!(divide_by_power_of_two(from_f64(-0.25), 1), from_f64(-0.125));
/// // Of a tie the even neighbour: 3/2 becomes 2, 1/2 becomes 0.
/// assert_eq!([3, 1].map(|x| divide_by_power_of_two(x, 1)), [2, 0]);
/// ```
#[inline]
pub fn divide_by_power_of_two(x: u64, bits: u32) -> u64 {
    if bits == 0 {
        return x;
    }
    let signed = x as i64;
    let quotient = signed >> bits;
    let remainder = signed & ((1 << bits) - 1);
    let half = 1_i64 << (bits - 1);
    let round_up = remainder > half || (remainder == half && quotient & 1 == 1);
    (quotient + round_up as i64) as u64
}

/// `round(x · 2^bits / 2^64)` modulo 2^bits: the nearest multiple of 2^(64-bits), as an integer, for `bits` 1 to 63.
///
/// # Examples
/// ```
/// use tfhe_core::torus::{from_f64, switch_modulus};
/// // 0.3 of a turn in eighths; 0.99 of a turn is nearest to a whole one, that is to none.
/// assert_eq!([0.3, 0.99].map(|x| switch_modulus(from_f64(x), 3)), [2, 0]);
/// ```
#[inline]
pub fn switch_modulus(x: u64, bits: u32) -> u64 {
    debug_assert!((1..64).contains(&bits));
    let shift = MODULUS_LOG - bits;
    (x.wrapping_add(1 << (shift - 1))) >> shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_numbers_round_trip() {
        for x in [0.0, 0.125, -0.5, 0.499, -0.001, 2f64.powi(-40)] {
            assert_eq!(to_f64(from_f64(x)), x, "{x}");
        }
        assert_eq!(from_f64(0.5), 1 << 63);
    }

    #[test]
    fn division_rounds_ties_to_even() {
        assert_eq!(divide_by_power_of_two(6, 2), 2);
        assert_eq!(divide_by_power_of_two(2, 2), 0);
        assert_eq!(divide_by_power_of_two(7, 2), 2);
        assert_eq!(divide_by_power_of_two((-6_i64) as u64, 2) as i64, -2);
        assert_eq!(divide_by_power_of_two((-7_i64) as u64, 2) as i64, -2);
        // The mean rounding error over a period is zero.
        let sum: i64 = (0..4096_i64).map(|x| 64 * divide_by_power_of_two(x as u64, 6) as i64 - x).sum();
        assert_eq!(sum, 0);
    }

    #[test]
    fn messages_are_decoded_up_to_half_of_their_distance() {
        for bits in [1, 2, 5, 62, 63] {
            let (half, noise) = (1_i64 << (bits - 1), (1_u64 << (63 - bits)).wrapping_sub(1));
            for message in [-half, 1 - half, -1, 0, 1, half - 1].into_iter().filter(|m| (-half..half).contains(m)) {
                let x = encode(message, bits);
                for noisy in [x, x.wrapping_add(noise), x.wrapping_sub(noise)] {
                    assert_eq!(decode(noisy, bits), message, "{bits} bits");
                    assert_eq!(switch_modulus(noisy, bits), message as u64 & ((1 << bits) - 1), "{bits} bits");
                }
                assert_eq!(
                    decode(encode(message.wrapping_add(half).wrapping_add(half), bits), bits),
                    message,
                    "{bits} bits"
                );
            }
        }
    }

    #[test]
    fn modulus_switch_wraps() {
        assert_eq!(switch_modulus(u64::MAX, 12) % (1 << 12), 0);
        assert_eq!(switch_modulus(1 << 63, 12), 1 << 11);
    }
}
