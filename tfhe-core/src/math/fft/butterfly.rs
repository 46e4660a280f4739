//! Butterflies on vectors of complex numbers, real and imaginary parts in registers of their own.
//!
//! The forward transform is a tree of reductions. A polynomial modulo x^2m − c² is determined by its residues modulo
//! x^m − c and x^m + c: for a + b·x^m these are a + c·b and a − c·b. From x^M − i down to linear factors, c a root of unity
//! throughout, the residues are the values of the polynomial (Bernstein, "Multidigit multiplication for mathematicians",
//! 2001, section 3). Each reduction has one constant for all its butterflies, so most twiddle factors are broadcast
//! scalars, and starting from x^M − i instead of x^M − 1 there is no pass for the twist.
//!
//! The two children of a node, x^m ∓ c, are reduced with the constants √c and i·√c. So R/2 constants serve the R − 1
//! reductions of log2 R levels: one for the first, and one for every second reduction of the levels below.
//!
//! Running this backwards would multiply after adding. The inverse transform is instead the usual one of decimated
//! sequences (Cooley, Tukey 1965): the values come in bit-reversed order, which is the order it needs, the sums of two
//! halves u and v are u ± w^k·v, and at the end the twist, exp(iπk/N), is divided out. Its constants vary with the
//! coefficient k, not with the node.
//!
//! Both directions thus add multiples, a ± c·b, and with c = cos·(1 + i·tan) that is six fused multiply-adds, each
//! rounding once ([`Twiddle`]), and two levels of four numbers, four of these, are 22 ([`Four`]; Linzer, Feig,
//! "Implementation of efficient FFT algorithms on fused multiply-add architectures", IEEE Trans. Signal Processing 41 (1993)).
//! Where additions have units of their own ([`Simd::ADDERS`]), a multiple is computed first and then added and subtracted: more
//! instructions, fewer of them for the units that multiply.

use crate::simd::Simd;

/// A complex number in every lane.
#[derive(Clone, Copy)]
pub(super) struct Complex<V> {
    pub(super) re: V,
    pub(super) im: V,
}

/// Room for R complex vectors.
#[inline(always)]
pub(super) fn zeros<S: Simd, const R: usize>(simd: S) -> [Complex<S::Reals>; R] {
    let zero = simd.splat_reals(0.0);
    [Complex { re: zero, im: zero }; R]
}

type Pair<S> = (Complex<<S as Simd>::Reals>, Complex<<S as Simd>::Reals>);

/// sum + a·b.
#[inline(always)]
pub(super) fn multiply_add<S: Simd>(
    simd: S,
    sum: Complex<S::Reals>,
    a: Complex<S::Reals>,
    b: Complex<S::Reals>,
) -> Complex<S::Reals> {
    Complex {
        re: simd.negate_multiply_add(a.im, b.im, simd.multiply_add(a.re, b.re, sum.re)),
        im: simd.multiply_add(a.im, b.re, simd.multiply_add(a.re, b.im, sum.im)),
    }
}

/// A root of unity, cos·(1 + i·tan), in every lane or one for each.
#[derive(Clone, Copy)]
pub(super) struct Twiddle<V> {
    pub(super) cos: V,
    pub(super) tan: V,
}

/// (1 + i·tan)·z.
#[inline(always)]
pub(super) fn shear<S: Simd>(simd: S, z: Complex<S::Reals>, tan: S::Reals) -> Complex<S::Reals> {
    Complex { re: simd.negate_multiply_add(z.im, tan, z.re), im: simd.multiply_add(z.re, tan, z.im) }
}

/// scale·z.
#[inline(always)]
fn scaled<S: Simd>(simd: S, z: Complex<S::Reals>, scale: S::Reals) -> Complex<S::Reals> {
    Complex { re: simd.multiply(z.re, scale), im: simd.multiply(z.im, scale) }
}

/// (a + scale·b, a − scale·b).
#[inline(always)]
fn add_and_subtract<S: Simd>(simd: S, a: Complex<S::Reals>, b: Complex<S::Reals>, scale: S::Reals) -> Pair<S> {
    if S::ADDERS {
        let b = scaled(simd, b, scale);
        return (
            Complex { re: simd.add(a.re, b.re), im: simd.add(a.im, b.im) },
            Complex { re: simd.subtract(a.re, b.re), im: simd.subtract(a.im, b.im) },
        );
    }
    (
        Complex { re: simd.multiply_add(b.re, scale, a.re), im: simd.multiply_add(b.im, scale, a.im) },
        Complex { re: simd.negate_multiply_add(b.re, scale, a.re), im: simd.negate_multiply_add(b.im, scale, a.im) },
    )
}

/// (a + i·scale·b, a − i·scale·b).
#[inline(always)]
fn add_and_subtract_by_i<S: Simd>(simd: S, a: Complex<S::Reals>, b: Complex<S::Reals>, scale: S::Reals) -> Pair<S> {
    if S::ADDERS {
        let b = scaled(simd, b, scale);
        return (
            Complex { re: simd.subtract(a.re, b.im), im: simd.add(a.im, b.re) },
            Complex { re: simd.add(a.re, b.im), im: simd.subtract(a.im, b.re) },
        );
    }
    (
        Complex { re: simd.negate_multiply_add(b.im, scale, a.re), im: simd.multiply_add(b.re, scale, a.im) },
        Complex { re: simd.multiply_add(b.im, scale, a.re), im: simd.negate_multiply_add(b.re, scale, a.im) },
    )
}

/// (a + c·b, a − c·b).
#[inline(always)]
pub(super) fn butterfly<S: Simd>(simd: S, a: Complex<S::Reals>, b: Complex<S::Reals>, c: Twiddle<S::Reals>) -> Pair<S> {
    add_and_subtract(simd, a, shear(simd, b, c.tan), c.cos)
}

/// A power of i that a constant is multiplied by.
#[derive(Clone, Copy)]
enum Turn {
    None,
    ByI,
    ByMinusI,
}

/// (a + turn·scale·b, a − turn·scale·b).
#[inline(always)]
fn add_and_subtract_turned<S: Simd>(
    simd: S,
    a: Complex<S::Reals>,
    b: Complex<S::Reals>,
    scale: S::Reals,
    turn: Turn,
) -> Pair<S> {
    match turn {
        Turn::None => add_and_subtract(simd, a, b, scale),
        Turn::ByI => add_and_subtract_by_i(simd, a, b, scale),
        Turn::ByMinusI => {
            let (minus, plus) = add_and_subtract_by_i(simd, a, b, scale);
            (plus, minus)
        }
    }
}

/// Two levels of butterflies on four numbers: with c = turn·`upper` and d = `lower`,
/// (a + c·b ± d·(p + c·q), a − c·b ± i·d·(p − c·q)).
///
/// Four butterflies would shear b and q, and then both sums of p and q. Here p and q are sheared before they are added,
/// (1 + i·tan d)·(p ± c·q) = (1 + i·tan d)·p ± (cos cd/cos d)·(1 + i·tan cd)·q,
/// which makes it 22 instructions instead of 24, three of them waiting for each other instead of four.
struct Four<V> {
    upper: Twiddle<V>,
    lower: Twiddle<V>,
    /// Of the product of both ([`product`]).
    product: Twiddle<V>,
}

impl<V: Copy> Four<V> {
    #[inline(always)]
    fn run<S: Simd<Reals = V>>(&self, simd: S, [a, b, p, q]: [Complex<V>; 4], turn: Turn) -> (Pair<S>, Pair<S>) {
        let b = shear(simd, b, self.upper.tan);
        let (p, q) = (shear(simd, p, self.lower.tan), shear(simd, q, self.product.tan));
        let (plus, minus) = add_and_subtract_turned(simd, a, b, self.upper.cos, turn);
        let (sum, difference) = add_and_subtract_turned(simd, p, q, self.product.cos, turn);
        (
            add_and_subtract(simd, plus, sum, self.lower.cos),
            add_and_subtract_by_i(simd, minus, difference, self.lower.cos),
        )
    }
}

/// How many constants a node of R residues has: R/2 and, from four residues on, R/4 products ([`Four`]).
pub(super) const fn constants(radix: usize) -> usize {
    radix / 2 + radix / 4
}

/// Where the constants of a node are.
pub(super) trait Constants<S: Simd>: Copy {
    /// Constant `index`, one of [`constants`].
    fn get(self, simd: S, index: usize) -> Twiddle<S::Reals>;
}

/// log2 R levels of reductions of one node with R residues, in place. R is 2, 4 or 8.
#[inline(always)]
pub(super) fn split_node<S: Simd, const R: usize>(
    simd: S,
    z: &mut [Complex<S::Reals>; R],
    constants: impl Constants<S>,
) {
    if R != 4 {
        split_pairs::<S, R>(simd, z, constants);
    }
    for node in 0..R / 4 {
        split_four(simd, z, node, constants);
    }
}

/// The first level.
#[inline(always)]
pub(super) fn split_pairs<S: Simd, const R: usize>(
    simd: S,
    z: &mut [Complex<S::Reals>; R],
    constants: impl Constants<S>,
) {
    let c = constants.get(simd, 0);
    for k in 0..R / 2 {
        (z[k], z[k + R / 2]) = butterfly(simd, z[k], z[k + R / 2], c);
    }
}

/// The last two levels of node `node` of the R/4 of four residues: constant node/2 after those of the levels above, times i
/// for every second node, and the constant of the first of its children.
#[inline(always)]
pub(super) fn split_four<S: Simd, const R: usize>(
    simd: S,
    z: &mut [Complex<S::Reals>; R],
    node: usize,
    constants: impl Constants<S>,
) {
    let four = Four {
        upper: constants.get(simd, R / 8 + node / 2),
        lower: constants.get(simd, R / 4 + node),
        product: constants.get(simd, R / 2 + node),
    };
    let k = 4 * node;
    let turn = if node.is_multiple_of(2) { Turn::None } else { Turn::ByI };
    ((z[k], z[k + 1]), (z[k + 2], z[k + 3])) = four.run(simd, [z[k], z[k + 2], z[k + 1], z[k + 3]], turn);
}

/// log2 R levels of the inverse transform: from R transforms of every R-th value, in bit-reversed order, to the transform
/// of all, in place; constants by [`merge_constants`].
#[inline(always)]
pub(super) fn merge_node<S: Simd, const R: usize>(
    simd: S,
    z: &mut [Complex<S::Reals>; R],
    constants: impl Constants<S>,
) {
    if R != 4 {
        merge_pairs(simd, z, constants);
    }
    for j in 0..R / 4 {
        merge_four(simd, z, j, constants);
    }
}

/// The first level.
#[inline(always)]
fn merge_pairs<S: Simd, const R: usize>(simd: S, z: &mut [Complex<S::Reals>; R], constants: impl Constants<S>) {
    let c = constants.get(simd, 0);
    for k in (0..R).step_by(2) {
        (z[k], z[k + 1]) = butterfly(simd, z[k], z[k + 1], c);
    }
}

/// The last two levels, which merge four transforms of R/4 parts: part j of each.
#[inline(always)]
fn merge_four<S: Simd, const R: usize>(
    simd: S,
    z: &mut [Complex<S::Reals>; R],
    j: usize,
    constants: impl Constants<S>,
) {
    let (half, quarter) = (R / 4, (R / 4).div_ceil(2));
    let four = Four {
        upper: constants.get(simd, half / 2 + j % quarter),
        lower: constants.get(simd, half + j),
        product: constants.get(simd, 2 * half + j),
    };
    let turn = if j < quarter { Turn::None } else { Turn::ByMinusI };
    ((z[j], z[j + 2 * half]), (z[j + 3 * half], z[j + half])) =
        four.run(simd, [z[j], z[j + half], z[j + 2 * half], z[j + 3 * half]], turn);
}

/// Part j of each pair of transforms of a level of the inverse transform of R values, one of the first three: pairs of
/// transforms of `half` values, whose constants are 1 and exp(−iπ/4), and −i times these.
#[inline(always)]
pub(super) fn merge_leaves<S: Simd, const R: usize>(simd: S, z: &mut [Complex<S::Reals>; R], half: usize, j: usize) {
    let turn = if j < half.div_ceil(2) { Turn::None } else { Turn::ByMinusI };
    for k in (j..R).step_by(2 * half) {
        let (a, b) = (z[k], z[k + half]);
        (z[k], z[k + half]) = if half == 4 && j % 2 == 1 {
            let b = shear(simd, b, simd.splat_reals(-1.0));
            add_and_subtract_turned(simd, a, b, simd.splat_reals(std::f64::consts::FRAC_1_SQRT_2), turn)
        } else {
            // The compiler makes additions of it.
            add_and_subtract_turned(simd, a, b, simd.splat_reals(1.0), turn)
        };
    }
}

/// e^(iπ·angle), both parts to the last bit or nearly: the angle is reduced exactly to the first octant.
pub(super) fn root_of_unity(angle: f64) -> (f64, f64) {
    let angle = angle.rem_euclid(2.0);
    let quarter = (2.0 * angle).round_ties_even();
    let (sin, cos) = (std::f64::consts::PI * (angle - quarter / 2.0)).sin_cos();
    match quarter as u32 % 4 {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}

/// e^(iπ·angle) as (cos, tan). Where the cosine is 0, a power of two takes its place that is too small to change a rounded
/// sum: (1 + i·tan)·z is then i·tan·z to the last bit.
pub(super) fn twiddle(angle: f64) -> (f64, f64) {
    let (cos, sin) = root_of_unity(angle);
    let cos = if cos == 0.0 { 2f64.powi(-60) } else { cos };
    (cos, sin / cos)
}

/// e^(iπ(upper + lower)), with the ratio of its cosine to that of e^(iπ·lower) for a cosine.
fn product(upper: f64, lower: f64) -> (f64, f64) {
    let (cos, tan) = twiddle(upper + lower);
    (cos / twiddle(lower).0, tan)
}

/// The constants of [`split_node`] for the node x^m − e^(iπ·angle), each as (cos, tan).
pub(super) fn split_constants(angle: f64, radix: usize) -> Vec<(f64, f64)> {
    let mut levels = Vec::new();
    let mut angles = vec![angle];
    while angles.len() < radix {
        levels.push(angles.iter().step_by(2).map(|angle| angle / 2.0).collect());
        angles = children(&angles);
    }
    // Two nodes below one, or below it and the next, which has i times its constant.
    with_products(&levels, |node| node / 2)
}

/// The constants of [`merge_node`] for coefficient k of transforms of m coefficients, each as (cos, tan): at the level that
/// gives transforms of 2hm coefficients, the twiddle factors of coefficients k + jm, 0 ≤ j < h/2; those of h/2 ≤ j < h
/// are −i times these.
pub(super) fn merge_constants(k: usize, m: usize, radix: usize) -> Vec<(f64, f64)> {
    let mut levels: Vec<Vec<f64>> = Vec::new();
    let mut half = 1;
    while half < radix {
        levels.push((0..half.div_ceil(2)).map(|j| -((k + j * m) as f64) / (half * m) as f64).collect());
        half *= 2;
    }
    with_products(&levels, |j| j % (radix / 4).div_ceil(2))
}

/// Constants of levels of butterflies, by their angles, and behind them those of the products of the last level's with one each
/// of the level above, whose index `upper_of` tells.
fn with_products(levels: &[Vec<f64>], upper_of: impl Fn(usize) -> usize) -> Vec<(f64, f64)> {
    let mut constants: Vec<_> = levels.iter().flatten().map(|&angle| twiddle(angle)).collect();
    if let [.., upper, lower] = levels {
        constants.extend(lower.iter().enumerate().map(|(i, &lower)| product(upper[upper_of(i)], lower)));
    }
    constants
}

/// The nodes x^m ∓ e^(iπ·angle/2) below nodes x^2m − e^(iπ·angle).
pub(super) fn children(angles: &[f64]) -> Vec<f64> {
    angles.iter().flat_map(|angle| [angle / 2.0, angle / 2.0 + 1.0]).collect()
}
