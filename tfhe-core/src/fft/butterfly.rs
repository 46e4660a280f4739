//! Butterflies on vectors of complex numbers, real and imaginary parts in registers of their own.
//!
//! The transform is a tree of reductions. A polynomial modulo x^2m − c² is determined by its residues modulo x^m − c and
//! x^m + c: for a + b·x^m these are a + c·b and a − c·b ([`split`]), from which 2a and 2b come back as the sum and as the
//! difference times 1/c = c̄ ([`merge`]). From x^M − i down to linear factors, c a root of unity throughout, the residues
//! are the values of the polynomial (Bernstein, "Multidigit multiplication for mathematicians", 2001, section 3). Each
//! reduction has one constant for all its butterflies, so most twiddle factors are broadcast scalars, and starting from
//! x^M − i instead of x^M − 1 there is no pass for the twist.
//!
//! The two children of a node, x^m ∓ c, are reduced with the constants √c and i·√c. So R/2 constants serve the R − 1
//! reductions of log2 R levels: one for the first, and one for every second reduction of the levels below.

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

#[inline(always)]
fn add<S: Simd>(simd: S, a: Complex<S::Reals>, b: Complex<S::Reals>) -> Complex<S::Reals> {
    Complex { re: simd.add(a.re, b.re), im: simd.add(a.im, b.im) }
}

#[inline(always)]
fn subtract<S: Simd>(simd: S, a: Complex<S::Reals>, b: Complex<S::Reals>) -> Complex<S::Reals> {
    Complex { re: simd.subtract(a.re, b.re), im: simd.subtract(a.im, b.im) }
}

#[inline(always)]
pub(super) fn multiply<S: Simd>(simd: S, a: Complex<S::Reals>, b: Complex<S::Reals>) -> Complex<S::Reals> {
    Complex {
        re: simd.multiply_subtract(a.re, b.re, simd.multiply(a.im, b.im)),
        im: simd.multiply_add(a.re, b.im, simd.multiply(a.im, b.re)),
    }
}

/// a·b̄.
#[inline(always)]
fn multiply_conjugate<S: Simd>(simd: S, a: Complex<S::Reals>, b: Complex<S::Reals>) -> Complex<S::Reals> {
    Complex {
        re: simd.multiply_add(a.re, b.re, simd.multiply(a.im, b.im)),
        im: simd.multiply_subtract(a.im, b.re, simd.multiply(a.re, b.im)),
    }
}

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

/// (a + c·b, a − c·b).
#[inline(always)]
fn split<S: Simd>(simd: S, a: Complex<S::Reals>, b: Complex<S::Reals>, c: Complex<S::Reals>) -> Pair<S> {
    let product = multiply(simd, b, c);
    (add(simd, a, product), subtract(simd, a, product))
}

/// (a + i·c·b, a − i·c·b).
#[inline(always)]
fn split_by_i<S: Simd>(simd: S, a: Complex<S::Reals>, b: Complex<S::Reals>, c: Complex<S::Reals>) -> Pair<S> {
    let product = multiply(simd, b, c);
    (
        Complex { re: simd.subtract(a.re, product.im), im: simd.add(a.im, product.re) },
        Complex { re: simd.add(a.re, product.im), im: simd.subtract(a.im, product.re) },
    )
}

/// (u + v, c̄·(u − v)).
#[inline(always)]
fn merge<S: Simd>(simd: S, u: Complex<S::Reals>, v: Complex<S::Reals>, c: Complex<S::Reals>) -> Pair<S> {
    (add(simd, u, v), multiply_conjugate(simd, subtract(simd, u, v), c))
}

/// (u + v, −i·c̄·(u − v)).
#[inline(always)]
fn merge_by_i<S: Simd>(simd: S, u: Complex<S::Reals>, v: Complex<S::Reals>, c: Complex<S::Reals>) -> Pair<S> {
    // −i·(x + iy) = y − ix.
    let difference = Complex { re: simd.subtract(u.im, v.im), im: simd.subtract(v.re, u.re) };
    (add(simd, u, v), multiply_conjugate(simd, difference, c))
}

/// Where the constants of a node are.
pub(super) trait Constants<S: Simd>: Copy {
    /// Constant `index`, one of R/2, in every lane or one for each.
    fn get(self, simd: S, index: usize) -> Complex<S::Reals>;
}

/// log2 R levels of reductions of one node with R residues, in place. R is 2, 4 or 8.
#[inline(always)]
pub(super) fn split_node<S: Simd, const R: usize>(
    simd: S,
    z: &mut [Complex<S::Reals>; R],
    constants: impl Constants<S>,
) {
    let mut half = R / 2;
    let mut first = 0;
    while half > 0 {
        let nodes = R / (2 * half);
        for node in 0..nodes {
            let c = constants.get(simd, first + node / 2);
            for k in 2 * half * node..2 * half * node + half {
                let children = if node % 2 == 0 {
                    split(simd, z[k], z[k + half], c)
                } else {
                    split_by_i(simd, z[k], z[k + half], c)
                };
                (z[k], z[k + half]) = children;
            }
        }
        first += nodes.div_ceil(2);
        half /= 2;
    }
}

/// The inverse of [`split_node`], times R.
#[inline(always)]
pub(super) fn merge_node<S: Simd, const R: usize>(
    simd: S,
    z: &mut [Complex<S::Reals>; R],
    constants: impl Constants<S>,
) {
    let mut half = 1;
    let mut end = R / 2;
    while half < R {
        let nodes = R / (2 * half);
        let first = end - nodes.div_ceil(2);
        for node in 0..nodes {
            let c = constants.get(simd, first + node / 2);
            for k in 2 * half * node..2 * half * node + half {
                let merged = if node % 2 == 0 {
                    merge(simd, z[k], z[k + half], c)
                } else {
                    merge_by_i(simd, z[k], z[k + half], c)
                };
                (z[k], z[k + half]) = merged;
            }
        }
        end = first;
        half *= 2;
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

/// The R/2 constants of [`split_node`] for the node x^m − e^(iπ·angle).
pub(super) fn node_constants(angle: f64, radix: usize) -> Vec<(f64, f64)> {
    let mut constants = Vec::with_capacity(radix / 2);
    let mut angles = vec![angle];
    while angles.len() < radix {
        constants.extend(angles.iter().step_by(2).map(|angle| root_of_unity(angle / 2.0)));
        angles = children(&angles);
    }
    constants
}

/// The nodes x^m ∓ e^(iπ·angle/2) below nodes x^2m − e^(iπ·angle).
pub(super) fn children(angles: &[f64]) -> Vec<f64> {
    angles.iter().flat_map(|angle| [angle / 2.0, angle / 2.0 + 1.0]).collect()
}
