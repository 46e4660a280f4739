//! Polynomials of `Z_q[X]/(X^N + 1)`: slices of N coefficients, lowest degree first.
//!
//! In the book: [chapter 2, GLWE and polynomials](../../../book/02-glwe-and-polynomials.html).

/// `output = X^exponent · input`, the exponent taken modulo 2N. O(N).
///
/// # Examples
/// `X^N = −1`: what is moved out at the top comes in again at the bottom with the other sign.
/// ```
/// let mut output = [0; 8];
/// tfhe_core::polynomial::rotate(&[1, 2, 3, 4, 5, 6, 7, 8], 3, &mut output);
/// assert_eq!(output.map(|x| x as i64), [-6, -7, -8, 1, 2, 3, 4, 5]);
/// ```
pub fn rotate(input: &[u64], exponent: usize, output: &mut [u64]) {
    rotate_with(input, exponent, output, |out, x| *out = x);
}

/// `output += X^exponent · input`.
///
/// # Examples
/// ```
/// let mut output = [10, 20, 30, 40];
/// tfhe_core::polynomial::rotate_add(&[1, 2, 3, 4], 1, &mut output);
/// assert_eq!(output, [6, 21, 32, 43]);
/// ```
pub fn rotate_add(input: &[u64], exponent: usize, output: &mut [u64]) {
    rotate_with(input, exponent, output, |out, x| *out = out.wrapping_add(x));
}

#[inline]
fn rotate_with(input: &[u64], exponent: usize, output: &mut [u64], store: impl Fn(&mut u64, u64)) {
    let n = input.len();
    debug_assert_eq!(output.len(), n);
    let exponent = exponent % (2 * n);
    let (shift, negate) = if exponent < n { (exponent, false) } else { (exponent - n, true) };
    let (low, high) = input.split_at(n - shift);
    let (wrapped, plain) = output.split_at_mut(shift);
    // The coefficients that cross X^N come back negated.
    if negate {
        plain.iter_mut().zip(low).for_each(|(out, &x)| store(out, x.wrapping_neg()));
        wrapped.iter_mut().zip(high).for_each(|(out, &x)| store(out, x));
    } else {
        plain.iter_mut().zip(low).for_each(|(out, &x)| store(out, x));
        wrapped.iter_mut().zip(high).for_each(|(out, &x)| store(out, x.wrapping_neg()));
    }
}

/// `output = X^exponent · input − input`.
///
/// # Examples
/// What a CMUX decomposes: (X − 1)·p.
/// ```
/// let mut output = [0; 4];
/// tfhe_core::polynomial::rotate_subtract(&[1, 2, 3, 4], 1, &mut output);
/// assert_eq!(output.map(|x| x as i64), [-5, -1, -1, -1]);
/// ```
pub fn rotate_subtract(input: &[u64], exponent: usize, output: &mut [u64]) {
    rotate(input, exponent, output);
    output.iter_mut().zip(input).for_each(|(out, &x)| *out = out.wrapping_sub(x));
}

/// `output(X) = input(X^galois)`, for odd `galois`. O(N).
///
/// # Examples
/// X ↦ X³ moves the coefficient of X^j to X^(3j), and X^8 = −1.
/// ```
/// let mut output = [0; 8];
/// tfhe_core::polynomial::automorphism(&[1, 2, 3, 4, 5, 6, 7, 8], 3, &mut output);
/// assert_eq!(output.map(|x| x as i64), [1, -4, 7, 2, -5, 8, 3, -6]);
/// ```
pub fn automorphism(input: &[u64], galois: usize, output: &mut [u64]) {
    let n = input.len();
    debug_assert!(galois % 2 == 1);
    let mask = 2 * n - 1;
    let mut position = 0;
    for &x in input {
        if position < n {
            output[position] = x;
        } else {
            output[position - n] = x.wrapping_neg();
        }
        position = (position + galois) & mask;
    }
}

/// `output = input · (1 + X + … + X^(width−1))`: each coefficient spread over `width` places. O(N).
///
/// # Examples
/// Times 1 + X: each coefficient goes to the next place too, the last with the other sign.
/// ```
/// let mut output = [0; 4];
/// tfhe_core::polynomial::spread(&[1, 20, 300, 4000], 2, &mut output);
/// assert_eq!(output.map(|x| x as i64), [1 - 4000, 21, 320, 4300]);
/// ```
///
/// # Panics
/// If `width` is 0 or above N.
pub fn spread(input: &[u64], width: usize, output: &mut [u64]) {
    let n = input.len();
    assert!((1..=n).contains(&width));
    // A running sum over a window of `width` coefficients; before the window's start the ring's sign applies.
    let mut sum = input[0];
    for &x in &input[n - width + 1..] {
        sum = sum.wrapping_sub(x);
    }
    output[0] = sum;
    for j in 1..n {
        let leaving = if j >= width { input[j - width] } else { input[j + n - width].wrapping_neg() };
        sum = sum.wrapping_add(input[j]).wrapping_sub(leaving);
        output[j] = sum;
    }
}

/// `output += factor · input`, the factor an integer.
///
/// # Examples
/// ```
/// let mut output = [10, 20];
/// tfhe_core::polynomial::add_scaled(&[1, 2], -3, &mut output);
/// assert_eq!(output, [7, 14]);
/// ```
pub fn add_scaled(input: &[u64], factor: i64, output: &mut [u64]) {
    output.iter_mut().zip(input).for_each(|(out, &x)| *out = out.wrapping_add(x.wrapping_mul(factor as u64)));
}

/// `output += a · b` for a polynomial of integers `a`, coefficient by coefficient: the oracle that the fast products are
/// tested against. O(N²).
///
/// # Examples
/// (1 + 2X)·(3 + 4X) = 3 + 10X + 8X², and X² = −1.
/// ```
/// let mut output = [0; 2];
/// tfhe_core::polynomial::schoolbook_add(&[1, 2], &[3, 4], &mut output);
/// assert_eq!(output.map(|x| x as i64), [-5, 10]);
/// ```
pub fn schoolbook_add(a: &[i64], b: &[u64], output: &mut [u64]) {
    let n = b.len();
    for (i, &x) in a.iter().enumerate() {
        for (j, &y) in b.iter().enumerate() {
            let product = y.wrapping_mul(x as u64);
            let out = &mut output[(i + j) % n];
            *out = if i + j < n { out.wrapping_add(product) } else { out.wrapping_sub(product) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn monomial(n: usize, exponent: usize) -> Vec<i64> {
        let mut p = vec![0; n];
        p[exponent % n] = if exponent % (2 * n) < n { 1 } else { -1 };
        p
    }

    proptest! {
        #[test]
        fn rotation_is_the_product_with_a_monomial(p in prop::collection::vec(any::<u64>(), 16), exponent in 0_usize..64) {
            let mut expected = vec![0; 16];
            schoolbook_add(&monomial(16, exponent), &p, &mut expected);
            let mut rotated = vec![0; 16];
            rotate(&p, exponent, &mut rotated);
            prop_assert_eq!(&rotated, &expected);
            let mut added = p.clone();
            rotate_add(&p, exponent, &mut added);
            rotate_subtract(&p, exponent, &mut rotated);
            for j in 0..16 {
                prop_assert_eq!(added[j], expected[j].wrapping_add(p[j]));
                prop_assert_eq!(rotated[j], expected[j].wrapping_sub(p[j]));
            }
        }

        #[test]
        fn spreading_is_the_product_with_a_box(p in prop::collection::vec(any::<u64>(), 16), width in 1_usize..=16) {
            let mut expected = vec![0; 16];
            schoolbook_add(&(0..16).map(|j| i64::from(j < width)).collect::<Vec<_>>(), &p, &mut expected);
            let mut out = vec![0; 16];
            spread(&p, width, &mut out);
            prop_assert_eq!(out, expected);
        }

        #[test]
        fn automorphisms_compose(p in prop::collection::vec(any::<u64>(), 16), g in 0_usize..16, h in 0_usize..16) {
            let (g, h) = (2 * g + 1, 2 * h + 1);
            let (mut once, mut twice, mut both) = (vec![0; 16], vec![0; 16], vec![0; 16]);
            automorphism(&p, g, &mut once);
            automorphism(&once, h, &mut twice);
            automorphism(&p, g * h % 32, &mut both);
            prop_assert_eq!(twice, both);
        }
    }

    #[test]
    fn automorphism_is_multiplicative() {
        let a: Vec<i64> = (0..16).map(|j| j * j - 40).collect();
        let b: Vec<u64> = (0..16_u64).map(|j| j.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let mut product = vec![0; 16];
        schoolbook_add(&a, &b, &mut product);
        let mut expected = vec![0; 16];
        automorphism(&product, 5, &mut expected);
        let (mut image_a, mut image_b) = (vec![0; 16], vec![0; 16]);
        automorphism(&a.iter().map(|&x| x as u64).collect::<Vec<_>>(), 5, &mut image_a);
        automorphism(&b, 5, &mut image_b);
        let mut out = vec![0; 16];
        schoolbook_add(&image_a.iter().map(|&x| x as i64).collect::<Vec<_>>(), &image_b, &mut out);
        assert_eq!(out, expected);
    }
}
