//! The products of a gadget product, between the first and the last pass of the transforms on vector instructions.

use super::butterfly::{Complex, multiply_add, zeros};
use super::plan::Plan;
use super::vector::{load, merge_from_tail, merge_tail, split_tail, split_to_tail, store, store_strided};
use crate::buffer::AlignedBuffer;
use crate::simd::{Kernel, Simd};

/// The sums of products of polynomials with a key, between the first pass of the forward transforms ([`super::vector::Start`]) and the
/// last of the inverse ones ([`super::vector::Finish`]), for each of a few ciphertexts.
///
/// Depth first, node by node: what is read of the rows and written of the sums stays in the first-level cache between the
/// passes, a node's sums in registers. The key is read once, in order, for all ciphertexts, while what is needed `next` is fetched piece by
/// piece: a burst of prefetches would occupy the buffers that the key's own lines pass through.
pub(super) struct MultiplyRows<'a, T> {
    pub(super) plan: &'a Plan,
    /// For each ciphertext, first its rows; in the end its sums: [ciphertexts][room].
    pub(super) polynomials: &'a mut [f64],
    /// At least N times the rows, and N times the outputs.
    pub(super) room: usize,
    pub(super) rows: usize,
    pub(super) outputs: usize,
    /// For each ciphertext, a node of each row, and of the factor of each term: [ciphertexts][rows + COUNT][2L²].
    pub(super) node: &'a mut [f64],
    /// What is summed up, for each ciphertext.
    pub(super) terms: &'a [T],
    /// Ordered by [`order_rows`].
    pub(super) key: &'a [f64],
    /// Any memory.
    pub(super) next: &'a [f64],
}

/// How many ciphertexts [`MultiplyRows`] takes together at most: each vector of the key that is loaded is multiplied with all of them. (With
/// four, what is kept of them does not stay in the first-level cache where gadgets have many levels.)
pub(crate) const CIPHERTEXTS: usize = 2;

/// How many polynomials of a key that turns there are to each row and output ([`super::Sums::Turned`]).
pub(crate) const TERMS: usize = 3;

/// How many numbers of a key of several terms are fetched into the first-level cache ahead of their products: 20 KiB, of 32 that it has at
/// least. More would push out what they are multiplied with.
const NEAR: usize = 2560;

/// What a sum of [`MultiplyRows`] consists of: for each row, its products with so many polynomials of the key, times a factor for each.
pub(super) trait Terms {
    /// How many.
    const COUNT: usize;
    /// Whether the factors are others than 1.
    const FACTORS: bool;

    /// Writes the factors of node `tail` of L², [COUNT][2L²], if they are others than 1; R = L.
    ///
    /// # Safety
    /// `factors` must be valid for writing so many numbers; the node must be one of the plan's.
    unsafe fn write_factors<S: Simd, const R: usize>(&self, simd: S, plan: &Plan, tail: usize, factors: *mut f64);
}

impl<T: Terms> Kernel for MultiplyRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match (S::LANES, self.terms.len()) {
            (8, 1) => self.run_radix::<S, 8, 1>(simd),
            (8, _) => self.run_radix::<S, 8, 2>(simd),
            (_, 1) => self.run_radix::<S, 4, 1>(simd),
            _ => self.run_radix::<S, 4, 2>(simd),
        }
    }
}

impl<T: Terms> MultiplyRows<'_, T> {
    /// R = L, and C ciphertexts.
    #[inline(always)]
    fn run_radix<S: Simd, const R: usize, const C: usize>(self, simd: S) {
        let Self { plan, polynomials, room, rows, outputs, node, terms, key, next } = self;
        let (n, node_len, tails) = (2 * plan.size, 2 * R * R, plan.tail_nodes::<S>());
        let values_len = (rows + T::COUNT) * node_len;
        assert!(terms.len() == C && room >= rows.max(outputs) * n);
        assert!(polynomials.len() >= C * room && node.len() >= C * values_len);
        assert_eq!(key.len(), rows * T::COUNT * outputs * n);
        let (polynomials, node) = (polynomials.as_mut_ptr(), node.as_mut_ptr());
        // Lines to fetch with each vector of each output.
        let share = next.len().div_ceil(8 * tails * outputs * R);
        let merge_constants = plan.merge_tail::<S>();
        let (mut key, mut next) = (key.as_ptr(), next.as_ptr());
        for (tail, constants) in plan.split_tails::<S>().enumerate() {
            for row in 0..rows {
                // SAFETY: row `row` of ciphertext c lies at N·row, and its part of `node` at 2·L²·row, behind those of other ciphertexts.
                unsafe {
                    // This row's share of the node's key, which follows.
                    let near = outputs * T::COUNT * node_len;
                    if T::COUNT == 1 || near * rows <= NEAR {
                        for line in 0..near / 8 {
                            simd.prefetch_near(key.wrapping_add(near * row + 8 * line).cast());
                        }
                    }
                    for c in 0..C {
                        let polynomial = polynomials.add(c * room + n * row);
                        split_to_tail(simd, plan, polynomial, tail);
                        split_tail(
                            simd,
                            constants.as_ptr(),
                            polynomial,
                            tail,
                            node.add(c * values_len + node_len * row),
                        );
                    }
                }
            }
            for (c, terms) in terms.iter().enumerate() {
                // SAFETY: the factors lie behind the rows; there is room for COUNT nodes, and the node is the plan's.
                unsafe { terms.write_factors::<S, R>(simd, plan, tail, node.add(c * values_len + rows * node_len)) };
            }
            for output in 0..outputs {
                let mut sums = [zeros::<S, R>(simd); C];
                for k in 0..R {
                    for t in 0..T::COUNT {
                        let mut term = zeros::<S, C>(simd);
                        // SAFETY: this node of all rows of all ciphertexts, and of their factors; the key has as many vectors as there are
                        // nodes, outputs, vectors of a node, terms and rows.
                        unsafe {
                            for row in 0..rows {
                                let of_key = load(simd, key, R * row);
                                for c in 0..C {
                                    let value = load(simd, node.add(c * values_len + node_len * row), R * k);
                                    term[c] = multiply_add(simd, term[c], value, of_key);
                                }
                            }
                            key = key.add(2 * R * rows);
                            for c in 0..C {
                                sums[c][k] = if T::FACTORS {
                                    let factor = load(simd, node.add(c * values_len + node_len * (rows + t)), R * k);
                                    multiply_add(simd, sums[c][k], term[c], factor)
                                } else {
                                    term[c]
                                };
                            }
                        }
                    }
                    for line in 0..share {
                        simd.prefetch(next.wrapping_add(8 * line).cast());
                    }
                    next = next.wrapping_add(8 * share);
                }
                for c in 0..C {
                    // SAFETY: the constants are those of `merge_tail`. This node of polynomial `output`, if that was a row, has
                    // been read.
                    unsafe {
                        let merged = merge_tail(simd, sums[c], merge_constants);
                        let output = polynomials.add(c * room + n * output);
                        store_strided(simd, output.add(node_len * tail), R, merged);
                        merge_from_tail(simd, plan, output, tail);
                    }
                }
            }
        }
    }
}

/// One polynomial of the key to a row: Σ rows[r]·key[r, o].
pub(super) struct One;

impl Terms for One {
    const COUNT: usize = 1;
    const FACTORS: bool = false;

    #[inline(always)]
    unsafe fn write_factors<S: Simd, const R: usize>(&self, _: S, _: &Plan, _: usize, _: *mut f64) {}
}

/// Several polynomials of the key to a row, each times X^e − 1 for an exponent e of its own, below 2N:
/// Σ_t (X^(e_t) − 1)·Σ rows[r]·key[r, t, o].
impl Terms for [usize; TERMS] {
    const COUNT: usize = TERMS;
    const FACTORS: bool = true;

    #[inline(always)]
    unsafe fn write_factors<S: Simd, const R: usize>(&self, simd: S, plan: &Plan, tail: usize, factors: *mut f64) {
        let one = simd.splat_reals(1.0);
        for (t, &exponent) in self.iter().enumerate() {
            let ((cos, sin), leaves) = plan.turn::<S>(exponent, tail);
            let (cos, sin) = (simd.splat_reals(cos), simd.splat_reals(sin));
            for k in 0..R {
                // SAFETY: L² values for each exponent; room for them is the caller's.
                unsafe {
                    let leaf = load(simd, leaves, k * R);
                    let re = simd.negate_multiply_add(leaf.im, sin, simd.multiply_subtract(leaf.re, cos, one));
                    let im = simd.multiply_add(leaf.re, sin, simd.multiply(leaf.im, cos));
                    store(simd, factors.add(2 * R * R * t), k * R, Complex { re, im });
                }
            }
        }
    }
}

/// Brings transformed polynomials [rows][terms][outputs][N] into the order of [`MultiplyRows`]:
/// [N/2L² nodes][outputs][L][terms][rows][2L].
pub(super) fn order_rows(polynomials: &[f64], terms: usize, outputs: usize, n: usize, lanes: usize) -> AlignedBuffer {
    let mut ordered = AlignedBuffer::zeros(polynomials.len());
    let (rows, vector_len) = (polynomials.len() / (terms * outputs * n), 2 * lanes);
    for (i, to) in ordered.chunks_exact_mut(vector_len).enumerate() {
        let (row, term, k) = (i % rows, i / rows % terms, i / (rows * terms) % lanes);
        let (output, node) = (i / (rows * terms * lanes) % outputs, i / (rows * terms * lanes * outputs));
        let from = ((row * terms + term) * outputs + output) * n + (node * lanes + k) * vector_len;
        to.copy_from_slice(&polynomials[from..][..vector_len]);
    }
    ordered
}
