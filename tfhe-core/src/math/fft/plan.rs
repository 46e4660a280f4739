//! Plans of the transform on vector instructions: the passes and their constants.

use super::butterfly::{children, constants, merge_constants, root_of_unity, split_constants, twiddle};
use crate::buffer::AlignedBuffer;
use crate::simd::Simd;

/// The passes of a transform for vectors of L lanes, and their constants: (cos, tan) alternating, or a vector of either.
#[derive(Clone)]
pub(super) struct Plan {
    /// M.
    pub(super) size: usize,
    /// The passes over memory, the forward transform's first pass first.
    pub(super) passes: Vec<Pass>,
    /// One less than the number of nodes of L² below a node of the last pass.
    within_last_pass: usize,
    /// For each node of L²: its constants, then the vectors of constants of the nodes of L below it.
    split_tails: AlignedBuffer,
    /// The vectors of constants for merging nodes of L into one of L², the same for all of them.
    merge_tail: AlignedBuffer,
    /// exp(−iπk/N)/M for every coefficient k, in vectors, in the order in which the last pass needs them: one stream.
    pub(super) untwist: AlignedBuffer,
    /// What powers of X are at the roots.
    turns: Turns,
}

/// The values of X^e, 0 ≤ e < 2N, at the roots of a node of L²: the root x of the node's first leaf, and x·exp(2πi·t/L²) with the same numbers
/// t in every node. So X^e has the values x^e·exp(2πi·e·t/L²), which are products of one number of the node and a vector that depends
/// on e modulo L² alone.
#[derive(Clone)]
struct Turns {
    /// exp(iπj/N) for 0 ≤ j < 2N, real and imaginary part.
    roots: AlignedBuffer,
    /// For each node of L², the j of its x.
    nodes: Vec<u32>,
    /// exp(2πi·e·t/L²) for 0 ≤ e < L²: [L²][2L²], each in the layout of a node.
    leaves: AlignedBuffer,
}

/// A pass over memory: nodes of `radix` residues of `stride` coefficients each.
#[derive(Clone)]
pub(super) struct Pass {
    pub(super) radix: usize,
    pub(super) stride: usize,
    /// The binary logarithm of the number of nodes of L² below each node.
    pub(super) log_tails: u32,
    /// For each node, its constants.
    pub(super) split: AlignedBuffer,
    /// For each vector of coefficients below `stride`, its vectors of constants.
    pub(super) merge: AlignedBuffer,
}

/// The number of `f64`s before the vectors of a node of [`Plan::split_tails`]: its scalars, and zeros, so that the vectors are
/// aligned.
pub(super) const fn tail_scalars(lanes: usize) -> usize {
    (2 * constants(lanes)).next_multiple_of(lanes)
}

/// The number of `f64`s of [`Plan::split_tails`] per node of L².
const fn split_tail_len(lanes: usize) -> usize {
    tail_scalars(lanes) + 2 * lanes * constants(lanes)
}

impl Plan {
    /// `None` if the polynomial is too small for a pass over memory.
    pub(super) fn new(polynomial_size: usize, lanes: usize) -> Option<Self> {
        let size = polynomial_size / 2;
        let levels = (size / (lanes * lanes)).checked_ilog2().filter(|&levels| levels > 0)?;
        let mut angles = vec![0.5];
        let mut passes = Vec::new();
        for radix in radices(levels as usize) {
            passes.push(Pass::new(&angles, radix, size, lanes));
            angles = descend(angles, radix);
        }
        let turns = Turns::new(&angles, polynomial_size, lanes);
        let mut split_tails = Vec::with_capacity(angles.len() * split_tail_len(lanes));
        for angle in angles {
            let end = split_tails.len() + tail_scalars(lanes);
            split_tails.extend(split_constants(angle, lanes).into_iter().flat_map(<[f64; 2]>::from));
            split_tails.resize(end, 0.0);
            let below: Vec<_> =
                descend(vec![angle], lanes).iter().map(|&angle| split_constants(angle, lanes)).collect();
            extend_vectors(&mut split_tails, &below);
        }
        let mut merge_tail = Vec::new();
        extend_vectors(&mut merge_tail, &(0..lanes).map(|k| merge_constants(k, lanes, lanes)).collect::<Vec<_>>());
        let mut untwist = Vec::with_capacity(polynomial_size);
        let Pass { radix, stride, .. } = passes[0];
        for first in (0..stride).step_by(lanes).flat_map(|index| (0..radix).map(move |k| k * stride + index)) {
            let vectors = (first..first + lanes).map(|k| {
                let (cos, tan) = twiddle(-(k as f64) / polynomial_size as f64);
                vec![(cos / size as f64, tan)]
            });
            extend_vectors(&mut untwist, &vectors.collect::<Vec<_>>());
        }
        Some(Self {
            size,
            within_last_pass: (1 << passes[passes.len() - 1].log_tails) - 1,
            passes,
            split_tails: AlignedBuffer::copy_of(&split_tails),
            merge_tail: AlignedBuffer::copy_of(&merge_tail),
            untwist: AlignedBuffer::copy_of(&untwist),
            turns,
        })
    }

    /// Of X^exponent, 0 ≤ exponent < 2N, in node `tail` of L²: real and imaginary part of the number, and the vectors to multiply by
    /// it, of 2L² numbers.
    #[inline(always)]
    pub(super) fn turn<S: Simd>(&self, exponent: usize, tail: usize) -> ((f64, f64), *const f64) {
        let Turns { roots, nodes, leaves } = &self.turns;
        let (node_len, two_n) = (2 * S::LANES * S::LANES, 4 * self.size);
        let root = exponent * nodes[tail] as usize % two_n;
        let leaves = &leaves[exponent % (S::LANES * S::LANES) * node_len..][..node_len];
        ((roots[2 * root], roots[2 * root + 1]), leaves.as_ptr())
    }

    /// The number of nodes of L², which the passes over memory leave.
    pub(super) fn tail_nodes<S: Simd>(&self) -> usize {
        self.size / (S::LANES * S::LANES)
    }

    /// The constants of the nodes of L² on the way down, one after the other: [`split_tail_len`] numbers each.
    #[inline(always)]
    pub(super) fn split_tails<S: Simd>(&self) -> std::slice::ChunksExact<'_, f64> {
        self.split_tails.chunks_exact(split_tail_len(S::LANES))
    }

    /// The passes but the first over a node that begins with node `tail` of L², the widest first: the last ones, if any.
    ///
    /// Asked for each node of L², of which few begin another: with vectors of four lanes a loop over all passes, or a
    /// division, would take as long as the node.
    #[inline(always)]
    pub(super) fn passes_beginning(&self, tail: usize) -> &[Pass] {
        if tail & self.within_last_pass != 0 {
            return &[];
        }
        let passes = &self.passes[1..];
        let others = passes.iter().rev().take_while(|pass| tail & ((1 << pass.log_tails) - 1) == 0).count();
        &passes[passes.len() - others..]
    }

    /// The passes but the first over a node that ends with node `tail` of L².
    #[inline(always)]
    pub(super) fn passes_ending(&self, tail: usize) -> &[Pass] {
        self.passes_beginning(tail + 1)
    }

    /// The constants of every node of L² on the way up, in vectors.
    #[inline(always)]
    pub(super) fn merge_tail<S: Simd>(&self) -> *const f64 {
        self.merge_tail[..2 * S::LANES * constants(S::LANES)].as_ptr()
    }
}

impl Turns {
    /// For the nodes x^(L²) − e^(iπ·angle), for each of the angles.
    fn new(angles: &[f64], polynomial_size: usize, lanes: usize) -> Self {
        let leaves = lanes * lanes;
        let roots = (0..2 * polynomial_size).map(|j| root_of_unity(j as f64 / polynomial_size as f64));
        let roots: Vec<f64> = roots.flat_map(<[f64; 2]>::from).collect();
        let of_node = (polynomial_size / leaves) as f64;
        // Vector v has in lane l what is below node l of L.
        let nodes: Vec<_> = descend(vec![0.0], lanes).iter().map(|&angle| descend(vec![angle], lanes)).collect();
        let mut values = Vec::with_capacity(2 * leaves * leaves);
        for exponent in 0..leaves {
            for vector in 0..lanes {
                // Exact: halves of integers, and sums of them.
                let vector: Vec<_> = nodes.iter().map(|node| root_of_unity(exponent as f64 * node[vector])).collect();
                values.extend(vector.iter().map(|value| value.0));
                values.extend(vector.iter().map(|value| value.1));
            }
        }
        Self {
            roots: AlignedBuffer::copy_of(&roots),
            nodes: angles.iter().map(|angle| (angle * of_node) as u32).collect(),
            leaves: AlignedBuffer::copy_of(&values),
        }
    }
}

impl Pass {
    /// The pass over the nodes x^m − e^(iπ·angle), for each of the angles.
    fn new(angles: &[f64], radix: usize, size: usize, lanes: usize) -> Self {
        let stride = size / (angles.len() * radix);
        let split: Vec<f64> =
            angles.iter().flat_map(|&angle| split_constants(angle, radix)).flat_map(<[f64; 2]>::from).collect();
        let mut merge = Vec::new();
        for first in (0..stride).step_by(lanes) {
            let vectors = (first..first + lanes).map(|k| merge_constants(k, stride, radix));
            extend_vectors(&mut merge, &vectors.collect::<Vec<_>>());
        }
        let (split, merge) = (AlignedBuffer::copy_of(&split), AlignedBuffer::copy_of(&merge));
        Self { radix, stride, log_tails: (radix * stride / (lanes * lanes)).ilog2(), split, merge }
    }
}

/// Appends the constants `[lane][index]` as vectors: for each index, one of cosines and one of tangents.
fn extend_vectors(vectors: &mut Vec<f64>, constants: &[Vec<(f64, f64)>]) {
    for index in 0..constants[0].len() {
        vectors.extend(constants.iter().map(|lane| lane[index].0));
        vectors.extend(constants.iter().map(|lane| lane[index].1));
    }
}

/// The nodes log2 `radix` levels below `angles`.
fn descend(angles: Vec<f64>, radix: usize) -> Vec<f64> {
    (0..radix.ilog2()).fold(angles, |angles, _| children(&angles))
}

/// Radices whose product is 2^levels: eights and fours. With 16 registers an eight has some of its numbers on the stack for
/// a while, which takes less time than another pass. Several passes begin with a four: the first pass also goes over the
/// coefficients, and with radix 8 its 32 streams, a power of two apart, do not fit the ways of a first-level cache (at
/// N = 8192 the inverse takes half as long again).
fn radices(levels: usize) -> Vec<usize> {
    if levels <= 3 {
        return vec![1 << levels];
    }
    let rest = levels - 2;
    let passes = rest.div_ceil(3);
    std::iter::once(4).chain((0..passes).map(|pass| 1 << ((rest + pass) / passes))).collect()
}
