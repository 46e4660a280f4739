//! The products of a gadget product, between the first and the last pass of the transforms on vector instructions.

use super::butterfly::{multiply_add, zeros};
use super::plan::Plan;
use super::vector::{load, merge_from_tail, merge_tail, split_tail, split_to_tail, store_strided};
use crate::buffer::AlignedBuffer;
use crate::simd::{Kernel, Simd};

/// The sums of products of polynomials with a key, between the first pass of the forward transforms ([`super::vector::Start`]) and the
/// last of the inverse ones ([`super::vector::Finish`]).
///
/// Depth first, node by node: what is read of the rows and written of the sums stays in the first-level cache between the
/// passes, a node's sums in registers. The key is read once, in order, while what is needed `next` is fetched piece by
/// piece: a burst of prefetches would occupy the buffers that the key's own lines pass through.
pub(super) struct MultiplyRows<'a> {
    pub(super) plan: &'a Plan,
    /// [rows or outputs, whichever are more][N]: first the rows; in the end the sums.
    pub(super) polynomials: &'a mut [f64],
    pub(super) rows: usize,
    pub(super) outputs: usize,
    /// A node of each row: [rows][2L²].
    pub(super) node: &'a mut [f64],
    /// Ordered by [`order_rows`].
    pub(super) key: &'a [f64],
    /// Any memory.
    pub(super) next: &'a [f64],
}

impl Kernel for MultiplyRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if S::LANES == 8 { self.run_radix::<S, 8>(simd) } else { self.run_radix::<S, 4>(simd) }
    }
}

impl MultiplyRows<'_> {
    /// R = L.
    #[inline(always)]
    fn run_radix<S: Simd, const R: usize>(self, simd: S) {
        let Self { plan, polynomials, rows, outputs, node, key, next } = self;
        let (n, node_len, tails) = (2 * plan.size, 2 * R * R, plan.tail_nodes::<S>());
        assert!(polynomials.len() == rows.max(outputs) * n && key.len() == rows * outputs * n);
        assert!(node.len() >= rows * node_len);
        let (polynomials, node) = (polynomials.as_mut_ptr(), node.as_mut_ptr());
        // Lines to fetch with each node of each polynomial of the key.
        let share = next.len().div_ceil(8 * tails * rows * outputs);
        let merge_constants = plan.merge_tail::<S>();
        let (mut key, mut next) = (key.as_ptr(), next.as_ptr());
        for (tail, constants) in plan.split_tails::<S>().enumerate() {
            for row in 0..rows {
                // SAFETY: row `row` lies at N·row, and its part of `node` at 2·L²·row.
                unsafe {
                    for line in 0..outputs * node_len / 8 {
                        simd.prefetch_near(key.wrapping_add(outputs * node_len * row + 8 * line).cast());
                    }
                    split_to_tail(simd, plan, polynomials.add(n * row), tail);
                    split_tail(simd, constants.as_ptr(), polynomials.add(n * row), tail, node.add(node_len * row));
                }
            }
            for output in 0..outputs {
                let mut sum = zeros::<S, R>(simd);
                for row in 0..rows {
                    // SAFETY: this node of row `row`; the key has as many nodes as there are rows, outputs and nodes.
                    unsafe {
                        let values = node.add(node_len * row);
                        for k in 0..R {
                            let (a, b) = (load(simd, values, k * R), load(simd, key, k * R));
                            sum[k] = multiply_add(simd, sum[k], a, b);
                            if 2 * k < share {
                                simd.prefetch(next.wrapping_add(16 * k).cast());
                                simd.prefetch(next.wrapping_add(16 * k + 8).cast());
                            }
                        }
                        key = key.add(node_len);
                        next = next.wrapping_add(8 * share);
                    }
                }
                // SAFETY: the constants are those of `merge_tail`. This node of polynomial `output`, if that was a row, has
                // been read.
                unsafe {
                    let merged = merge_tail(simd, sum, merge_constants);
                    let output = polynomials.add(n * output);
                    store_strided(simd, output.add(node_len * tail), R, merged);
                    merge_from_tail(simd, plan, output, tail);
                }
            }
        }
    }
}

/// Brings transformed polynomials [rows][outputs][N] into the order of [`MultiplyRows`]:
/// [N/2L² nodes][outputs][rows][2L²].
pub(super) fn order_rows(polynomials: &[f64], outputs: usize, n: usize, lanes: usize) -> AlignedBuffer {
    let mut ordered = AlignedBuffer::zeros(polynomials.len());
    let (rows, node_len) = (polynomials.len() / (outputs * n), 2 * lanes * lanes);
    for (i, to) in ordered.chunks_exact_mut(node_len).enumerate() {
        let (node, output, row) = (i / (rows * outputs), i / rows % outputs, i % rows);
        to.copy_from_slice(&polynomials[(row * outputs + output) * n + node * node_len..][..node_len]);
    }
    ordered
}
