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
//! rounding once ([`Twiddle`]; Linzer, Feig, "Implementation of efficient FFT algorithms on fused multiply-add
//! architectures", IEEE Trans. Signal Processing 41 (1993)).

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

/// (a + c·b, a − c·b); no constant is 1.
#[inline(always)]
pub(super) fn butterfly<S: Simd>(
    simd: S,
    a: Complex<S::Reals>,
    b: Complex<S::Reals>,
    c: Option<Twiddle<S::Reals>>,
) -> Pair<S> {
    let Some(c) = c else {
        return (
            Complex { re: simd.add(a.re, b.re), im: simd.add(a.im, b.im) },
            Complex { re: simd.subtract(a.re, b.re), im: simd.subtract(a.im, b.im) },
        );
    };
    let b = shear(simd, b, c.tan);
    (
        Complex { re: simd.multiply_add(b.re, c.cos, a.re), im: simd.multiply_add(b.im, c.cos, a.im) },
        Complex { re: simd.negate_multiply_add(b.re, c.cos, a.re), im: simd.negate_multiply_add(b.im, c.cos, a.im) },
    )
}

/// (a + i·c·b, a − i·c·b).
#[inline(always)]
fn butterfly_by_i<S: Simd>(
    simd: S,
    a: Complex<S::Reals>,
    b: Complex<S::Reals>,
    c: Option<Twiddle<S::Reals>>,
) -> Pair<S> {
    let Some(c) = c else {
        return (
            Complex { re: simd.subtract(a.re, b.im), im: simd.add(a.im, b.re) },
            Complex { re: simd.add(a.re, b.im), im: simd.subtract(a.im, b.re) },
        );
    };
    let b = shear(simd, b, c.tan);
    (
        Complex { re: simd.negate_multiply_add(b.im, c.cos, a.re), im: simd.multiply_add(b.re, c.cos, a.im) },
        Complex { re: simd.multiply_add(b.im, c.cos, a.re), im: simd.negate_multiply_add(b.re, c.cos, a.im) },
    )
}

/// Where the constants of a node are.
pub(super) trait Constants<S: Simd>: Copy {
    /// Constant `index`, one of R/2; none is 1.
    fn get(self, simd: S, index: usize) -> Option<Twiddle<S::Reals>>;
}

/// log2 R levels of reductions of one node with R residues, in place. R is 2, 4 or 8.
#[inline(always)]
pub(super) fn split_node<S: Simd, const R: usize>(
    simd: S,
    z: &mut [Complex<S::Reals>; R],
    constants: impl Constants<S>,
) {
    split_level::<S, R, 1>(simd, z, constants);
    if R >= 4 {
        split_level::<S, R, 2>(simd, z, constants);
    }
    if R >= 8 {
        split_level::<S, R, 4>(simd, z, constants);
    }
}

/// The level of `NODES` nodes.
///
/// A function of its own for each level, so that all loop bounds are constants: otherwise the compiler keeps z in memory.
#[inline(always)]
pub(super) fn split_level<S: Simd, const R: usize, const NODES: usize>(
    simd: S,
    z: &mut [Complex<S::Reals>; R],
    constants: impl Constants<S>,
) {
    for node in 0..NODES {
        split_pairs(simd, z, NODES, node, constants);
    }
}

/// One node of a level of `nodes`: constant node/2 after those of the levels above, times i for every second node.
#[inline(always)]
pub(super) fn split_pairs<S: Simd, const R: usize>(
    simd: S,
    z: &mut [Complex<S::Reals>; R],
    nodes: usize,
    node: usize,
    constants: impl Constants<S>,
) {
    let half = R / (2 * nodes);
    let c = constants.get(simd, nodes / 2 + node / 2);
    for j in 0..half {
        let k = 2 * half * node + j;
        (z[k], z[k + half]) = if node.is_multiple_of(2) {
            butterfly(simd, z[k], z[k + half], c)
        } else {
            butterfly_by_i(simd, z[k], z[k + half], c)
        };
    }
}

/// log2 R levels of the inverse transform: from R transforms of every R-th value, in bit-reversed order, to the transform
/// of all, in place; constants by [`merge_constants`].
#[inline(always)]
pub(super) fn merge_node<S: Simd, const R: usize>(
    simd: S,
    z: &mut [Complex<S::Reals>; R],
    constants: impl Constants<S>,
) {
    merge_level::<S, R, 1>(simd, z, constants);
    if R >= 4 {
        merge_level::<S, R, 2>(simd, z, constants);
    }
    if R >= 8 {
        merge_level::<S, R, 4>(simd, z, constants);
    }
}

/// The level that merges transforms of HALF parts each.
#[inline(always)]
pub(super) fn merge_level<S: Simd, const R: usize, const HALF: usize>(
    simd: S,
    z: &mut [Complex<S::Reals>; R],
    constants: impl Constants<S>,
) {
    for j in 0..HALF {
        merge_pairs(simd, z, HALF, j, constants);
    }
}

/// Part j, of `half`, of each pair of transforms of a level: constant j after those of the levels before, from the middle on
/// −i times those of the first half.
#[inline(always)]
pub(super) fn merge_pairs<S: Simd, const R: usize>(
    simd: S,
    z: &mut [Complex<S::Reals>; R],
    half: usize,
    j: usize,
    constants: impl Constants<S>,
) {
    let quarter = half.div_ceil(2);
    let c = constants.get(simd, half / 2 + j % quarter);
    for node in 0..R / (2 * half) {
        let k = 2 * half * node + j;
        if j < quarter {
            (z[k], z[k + half]) = butterfly(simd, z[k], z[k + half], c);
        } else {
            (z[k + half], z[k]) = butterfly_by_i(simd, z[k], z[k + half], c);
        }
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

/// The R/2 constants of [`split_node`] for the node x^m − e^(iπ·angle).
pub(super) fn split_constants(angle: f64, radix: usize) -> Vec<(f64, f64)> {
    let mut constants = Vec::with_capacity(radix / 2);
    let mut angles = vec![angle];
    while angles.len() < radix {
        constants.extend(angles.iter().step_by(2).map(|angle| twiddle(angle / 2.0)));
        angles = children(&angles);
    }
    constants
}

/// The R/2 constants of [`merge_node`] for coefficient k of transforms of m coefficients: at the level that gives
/// transforms of 2hm coefficients, the twiddle factors of coefficients k + jm, 0 ≤ j < h/2; those of h/2 ≤ j < h
/// are −i times these.
pub(super) fn merge_constants(k: usize, m: usize, radix: usize) -> Vec<(f64, f64)> {
    let mut constants = Vec::with_capacity(radix / 2);
    let mut half = 1;
    while half < radix {
        constants.extend((0..half.div_ceil(2)).map(|j| twiddle(-((k + j * m) as f64) / (half * m) as f64)));
        half *= 2;
    }
    constants
}

/// The nodes x^m ∓ e^(iπ·angle/2) below nodes x^2m − e^(iπ·angle).
pub(super) fn children(angles: &[f64]) -> Vec<f64> {
    angles.iter().flat_map(|angle| [angle / 2.0, angle / 2.0 + 1.0]).collect()
}
