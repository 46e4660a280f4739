//! The products of a gadget product, between the two halves of the transforms on vector instructions.

use super::butterfly::{multiply_add, zeros};
use super::plan::Plan;
use super::vector::{load, merge_tail, split_tail, store_strided};
use crate::buffer::AlignedBuffer;
use crate::simd::{Kernel, Simd};

/// The products of started transforms with a key, summed up, between the two halves of a transform ([`super::vector::Start`], [`super::vector::Finish`]):
/// node by node, finishes the `rows` [rows][N] in place, multiplies them with `key` (ordered by [`order_rows`]) and starts
/// to transform back the `sums` [outputs][N], which are overwritten. A node of all rows stays in the first-level cache, its
/// sums in registers, and the key is read once, in order, while the `next` key, of the same length or empty, is fetched
/// piece by piece: the products are where a long latency hides behind arithmetic.
pub(super) struct MultiplyRows<'a> {
    pub(super) plan: &'a Plan,
    pub(super) rows: &'a mut [f64],
    pub(super) key: &'a [f64],
    pub(super) next: &'a [f64],
    pub(super) sums: &'a mut [f64],
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
        let Self { plan, rows, key, next, sums } = self;
        let n = 2 * plan.size;
        let (row_count, outputs) = (rows.len() / n, sums.len() / n);
        assert!(rows.len() == row_count * n && sums.len() == outputs * n && key.len() == row_count * outputs * n);
        let node_len = 2 * R * R;
        let fetch = next.len() == key.len();
        let (mut key, mut next) = (key.as_ptr(), next.as_ptr());
        for node in 0..plan.tail_nodes::<S>() {
            for row in 0..row_count {
                // SAFETY: row `row` lies at N·row.
                unsafe { split_tail(simd, plan, rows.as_mut_ptr().add(n * row), node) }
            }
            for output in 0..outputs {
                let mut sum = zeros::<S, R>(simd);
                for row in 0..row_count {
                    // SAFETY: this node of row `row`; the key has as many nodes as there are rows, outputs and nodes.
                    unsafe {
                        let values = rows.as_ptr().add(n * row + node_len * node);
                        for k in 0..R {
                            let (a, b) = (load(simd, values, k * R), load(simd, key, k * R));
                            sum[k] = multiply_add(simd, sum[k], a, b);
                            if fetch {
                                simd.prefetch(next.wrapping_add(2 * R * k).cast());
                                simd.prefetch(next.wrapping_add(2 * R * k + R).cast());
                            }
                        }
                        key = key.add(node_len);
                        next = next.wrapping_add(node_len);
                    }
                }
                // SAFETY: the node's constants, and this node of output `output`.
                unsafe {
                    let merged = merge_tail(simd, sum, simd.hide(plan.merge_tail::<S>()));
                    store_strided(simd, sums.as_mut_ptr().add(n * output + node_len * node), R, merged);
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
