//! The transform on vector instructions, written once for all of them.
//!
//! A polynomial of M = N/2 complex coefficients modulo x^M − i is reduced to linear factors by passes of radix 2, 4 and 8
//! over memory ([`super::butterfly`]). A node of L² coefficients, L the number of lanes, is finished in registers
//! ([`split_tail`]): L vectors are reduced with each other, transposed so that each lane holds one node of L coefficients,
//! and reduced again with constants of their own in each lane. The inverse transform runs backwards, so
//! neither permutes anything.
//!
//! # Layout
//! Between passes and in the Fourier domain, complex number v·L + l has its real part at 2·v·L + l and its imaginary part
//! L further: aligned vectors of either, and one stream of memory.

use super::butterfly::{Complex, Constants, children, merge_node, multiply_add, node_constants, split_node, zeros};
use super::coefficients::{Accumulator, Coefficients};
use crate::buffer::AlignedBuffer;
use crate::simd::{Kernel, Simd};

/// The passes of a transform for vectors of L lanes, and their constants.
#[derive(Clone)]
pub(super) struct Plan {
    /// M.
    pub(super) size: usize,
    /// The radix of each pass over memory, the first pass first; their product is M/L².
    radices: Vec<usize>,
    /// For each pass and node, R/2 constants: real part, imaginary part.
    constants: AlignedBuffer,
    /// For each node of L²: L/2 constants as above, then L/2 constants for the nodes of L below it, vectors of real parts
    /// and of imaginary parts alternating.
    tail_constants: AlignedBuffer,
}

/// The number of `f64`s of [`Plan::tail_constants`] per node of L².
const fn tail_constants_len(lanes: usize) -> usize {
    lanes + lanes * lanes
}

impl Plan {
    /// `None` if the polynomial is too small for a pass over memory.
    pub(super) fn new(polynomial_size: usize, lanes: usize) -> Option<Self> {
        let size = polynomial_size / 2;
        let levels = (size / (lanes * lanes)).checked_ilog2().filter(|&levels| levels > 0)?;
        let radices = radices(levels as usize, lanes);
        let mut angles = vec![0.5];
        let mut constants = Vec::new();
        for &radix in &radices {
            constants
                .extend(angles.iter().flat_map(|&angle| node_constants(angle, radix)).flat_map(|(re, im)| [re, im]));
            angles = descend(angles, radix);
        }
        let mut tail_constants = Vec::with_capacity(angles.len() * tail_constants_len(lanes));
        for angle in angles {
            tail_constants.extend(node_constants(angle, lanes).into_iter().flat_map(|(re, im)| [re, im]));
            let below: Vec<_> = descend(vec![angle], lanes).iter().map(|&angle| node_constants(angle, lanes)).collect();
            for k in 0..lanes / 2 {
                tail_constants.extend(below.iter().map(|node| node[k].0));
                tail_constants.extend(below.iter().map(|node| node[k].1));
            }
        }
        let (constants, tail_constants) = (AlignedBuffer::copy_of(&constants), AlignedBuffer::copy_of(&tail_constants));
        Some(Self { size, radices, constants, tail_constants })
    }
}

/// The nodes log2 `radix` levels below `angles`.
fn descend(angles: Vec<f64>, radix: usize) -> Vec<f64> {
    (0..radix.ilog2()).fold(angles, |angles, _| children(&angles))
}

/// Radices whose product is 2^levels: fours with 16 registers, eights and fours with 32. There, too, several passes begin
/// with a four: the first pass also goes over the coefficients, and with radix 8 its 32 streams, a power of two apart, do
/// not fit the ways of a first-level cache (at N = 8192 the inverse takes half as long again).
fn radices(levels: usize, lanes: usize) -> Vec<usize> {
    let largest = if lanes == 8 { 3 } else { 2 };
    if levels <= largest {
        return vec![1 << levels];
    }
    let rest = levels - 2;
    let passes = rest.div_ceil(largest);
    std::iter::once(4).chain((0..passes).map(|pass| 1 << ((rest + pass) / passes))).collect()
}

/// The complex vector at element `index`, a multiple of L.
///
/// # Safety
/// `data` must be valid for reading 2·(index + L) numbers.
#[inline(always)]
pub(super) unsafe fn load<S: Simd>(simd: S, data: *const f64, index: usize) -> Complex<S::Reals> {
    // SAFETY: the caller's.
    unsafe {
        let at = data.add(2 * index);
        Complex { re: simd.load_reals(at), im: simd.load_reals(at.add(S::LANES)) }
    }
}

/// # Safety
/// `data` must be valid for writing 2·(index + L) numbers.
#[inline(always)]
unsafe fn store<S: Simd>(simd: S, data: *mut f64, index: usize, z: Complex<S::Reals>) {
    // SAFETY: the caller's.
    unsafe {
        let at = data.add(2 * index);
        simd.store_reals(z.re, at);
        simd.store_reals(z.im, at.add(S::LANES));
    }
}

/// A node's constants as scalars, to be broadcast. Whoever makes one vouches for R numbers there.
#[derive(Clone, Copy)]
struct Scalars(*const f64);

impl<S: Simd> Constants<S> for Scalars {
    #[inline(always)]
    fn get(self, simd: S, index: usize) -> Complex<S::Reals> {
        // SAFETY: the maker's: `split_node` and `merge_node` ask for R/2 constants.
        unsafe {
            let at = self.0.add(2 * index);
            Complex { re: simd.splat_reals(*at), im: simd.splat_reals(*at.add(1)) }
        }
    }
}

/// The constants of L nodes, one to a lane. Whoever makes one vouches for R·L numbers there.
#[derive(Clone, Copy)]
struct Vectors(*const f64);

impl<S: Simd> Constants<S> for Vectors {
    #[inline(always)]
    fn get(self, simd: S, index: usize) -> Complex<S::Reals> {
        // SAFETY: the maker's: `split_node` and `merge_node` ask for R/2 constants.
        unsafe { load(simd, self.0, index * S::LANES) }
    }
}

/// R complex vectors, `stride` elements apart.
///
/// # Safety
/// `data` must be valid for reading 2·((R − 1)·stride + L) numbers.
#[inline(always)]
unsafe fn load_strided<S: Simd, const R: usize>(simd: S, data: *const f64, stride: usize) -> [Complex<S::Reals>; R] {
    let mut z = zeros(simd);
    for k in 0..R {
        // SAFETY: the caller's.
        z[k] = unsafe { load(simd, data, k * stride) };
    }
    z
}

/// # Safety
/// `data` must be valid for writing 2·((R − 1)·stride + L) numbers.
#[inline(always)]
pub(super) unsafe fn store_strided<S: Simd, const R: usize>(
    simd: S,
    data: *mut f64,
    stride: usize,
    z: [Complex<S::Reals>; R],
) {
    for k in 0..R {
        // SAFETY: the caller's.
        unsafe { store(simd, data, k * stride, z[k]) }
    }
}

/// All of a forward transform but the nodes of L²: reads `input`, writes `output`, both of N.
pub(super) struct Start<'a, C> {
    pub(super) plan: &'a Plan,
    pub(super) input: C,
    pub(super) output: &'a mut [f64],
}

impl<C: Coefficients> Kernel for Start<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { plan, input, output } = self;
        assert!(input.len() == 2 * plan.size && output.len() == 2 * plan.size);
        let stride = plan.size / plan.radices[0];
        let pass = Pass { data: output.as_mut_ptr(), constants: plan.constants.as_ptr(), nodes: 1, stride };
        // SAFETY: `output` holds N numbers, `input` N coefficients, and the first constants are those of the first pass.
        unsafe {
            match plan.radices[0] {
                2 => pass.split_first::<S, 2>(simd, &input),
                4 => pass.split_first::<S, 4>(simd, &input),
                _ => pass.split_first::<S, 8>(simd, &input),
            }
        }
        // A call, so that the other passes are compiled once for all kinds of input.
        simd.run(SplitPasses { plan, data: output });
    }
}

/// The passes over memory of a forward transform but the first.
struct SplitPasses<'a> {
    plan: &'a Plan,
    data: &'a mut [f64],
}

impl Kernel for SplitPasses<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { plan, data } = self;
        assert_eq!(data.len(), 2 * plan.size);
        let mut nodes = plan.radices[0];
        let mut first = nodes;
        for &radix in &plan.radices[1..] {
            let constants = plan.constants[first..][..nodes * radix].as_ptr();
            let pass = Pass { data: data.as_mut_ptr(), constants, nodes, stride: plan.size / (nodes * radix) };
            // SAFETY: `data` holds N numbers, which the nodes cover; each has `radix` numbers for constants.
            unsafe {
                match radix {
                    2 => pass.split::<S, 2>(simd),
                    4 => pass.split::<S, 4>(simd),
                    _ => pass.split::<S, 8>(simd),
                }
            }
            first += nodes * radix;
            nodes *= radix;
        }
    }
}

/// The rest of a forward transform: the nodes of L² in `data`, of N.
pub(super) struct SplitTails<'a> {
    pub(super) plan: &'a Plan,
    pub(super) data: &'a mut [f64],
}

impl Kernel for SplitTails<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { plan, data } = self;
        assert_eq!(data.len(), 2 * plan.size);
        for node in 0..plan.tail_nodes::<S>() {
            // SAFETY: the node is one of the plan's, and `data` holds N numbers.
            unsafe { plan.split_tail(simd, data.as_mut_ptr(), node) }
        }
    }
}

/// The inverse of [`SplitTails`], times L².
pub(super) struct MergeTails<'a> {
    pub(super) plan: &'a Plan,
    pub(super) data: &'a mut [f64],
}

impl Kernel for MergeTails<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { plan, data } = self;
        assert_eq!(data.len(), 2 * plan.size);
        for node in 0..plan.tail_nodes::<S>() {
            // SAFETY: the node is one of the plan's, and `data` holds N numbers.
            unsafe { plan.merge_tail(simd, data.as_mut_ptr(), node) }
        }
    }
}

/// The inverse of [`SplitPasses`], times the number of nodes of L² in each of the first pass.
struct MergePasses<'a> {
    plan: &'a Plan,
    data: &'a mut [f64],
}

impl Kernel for MergePasses<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { plan, data } = self;
        assert_eq!(data.len(), 2 * plan.size);
        let mut end = plan.constants.len();
        let mut children = plan.tail_nodes::<S>();
        for &radix in plan.radices[1..].iter().rev() {
            let nodes = children / radix;
            let constants = plan.constants[end - nodes * radix..end].as_ptr();
            let pass = Pass { data: data.as_mut_ptr(), constants, nodes, stride: plan.size / children };
            // SAFETY: as in `SplitPasses`.
            unsafe {
                match radix {
                    2 => pass.merge::<S, 2>(simd),
                    4 => pass.merge::<S, 4>(simd),
                    _ => pass.merge::<S, 8>(simd),
                }
            }
            end -= nodes * radix;
            children = nodes;
        }
    }
}

/// The inverse of [`Start`], divided by M: overwrites `input`, of N, and adds the coefficients to `output`.
pub(super) struct Finish<'a, A> {
    pub(super) plan: &'a Plan,
    pub(super) input: &'a mut [f64],
    pub(super) output: A,
}

impl<A: Accumulator> Kernel for Finish<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { plan, input, mut output } = self;
        simd.run(MergePasses { plan, data: input });
        assert!(input.len() == 2 * plan.size && output.len() == 2 * plan.size);
        let (scale, stride) = (1.0 / plan.size as f64, plan.size / plan.radices[0]);
        let pass = Pass { data: input.as_mut_ptr(), constants: plan.constants.as_ptr(), nodes: 1, stride };
        // SAFETY: as in `Start`.
        unsafe {
            match plan.radices[0] {
                2 => pass.merge_last::<S, 2>(simd, &mut output, scale),
                4 => pass.merge_last::<S, 4>(simd, &mut output, scale),
                _ => pass.merge_last::<S, 8>(simd, &mut output, scale),
            }
        }
    }
}

/// `sum += a·b`, value by value.
pub(super) struct MultiplyAccumulate<'a> {
    pub(super) sum: &'a mut [f64],
    pub(super) a: &'a [f64],
    pub(super) b: &'a [f64],
}

impl Kernel for MultiplyAccumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { sum, a, b } = self;
        assert!(a.len() == sum.len() && b.len() == sum.len() && sum.len().is_multiple_of(2 * S::LANES));
        for index in (0..sum.len() / 2).step_by(S::LANES) {
            // SAFETY: index + LANES does not exceed half of each length.
            unsafe {
                let product = (load(simd, a.as_ptr(), index), load(simd, b.as_ptr(), index));
                let total = multiply_add(simd, load(simd, sum.as_ptr(), index), product.0, product.1);
                store(simd, sum.as_mut_ptr(), index, total);
            }
        }
    }
}

impl Plan {
    /// The number of nodes that the passes over memory leave.
    pub(super) fn tail_nodes<S: Simd>(&self) -> usize {
        self.size / (S::LANES * S::LANES)
    }

    /// The constants of node `node` of L².
    #[inline(always)]
    pub(super) fn tail_constants<S: Simd>(&self, node: usize) -> *const f64 {
        let len = tail_constants_len(S::LANES);
        self.tail_constants[len * node..][..len].as_ptr()
    }

    /// Reduces node `node` of L² to linear factors.
    ///
    /// # Safety
    /// The node must be one of the plan's, and `data` valid for reading and writing N numbers.
    #[inline(always)]
    pub(super) unsafe fn split_tail<S: Simd>(&self, simd: S, data: *mut f64, node: usize) {
        let constants = self.tail_constants::<S>(node);
        // SAFETY: node `node` lies at 2·L²·node.
        unsafe {
            let data = data.add(2 * S::LANES * S::LANES * node);
            if S::LANES == 8 {
                store_strided(simd, data, 8, split_tail::<S, 8>(simd, load_strided(simd, data, 8), constants));
            } else {
                store_strided(simd, data, 4, split_tail::<S, 4>(simd, load_strided(simd, data, 4), constants));
            }
        }
    }

    /// The inverse of [`Self::split_tail`], times L².
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn merge_tail<S: Simd>(&self, simd: S, data: *mut f64, node: usize) {
        let constants = self.tail_constants::<S>(node);
        // SAFETY: node `node` lies at 2·L²·node.
        unsafe {
            let data = data.add(2 * S::LANES * S::LANES * node);
            if S::LANES == 8 {
                store_strided(simd, data, 8, merge_tail::<S, 8>(simd, load_strided(simd, data, 8), constants));
            } else {
                store_strided(simd, data, 4, merge_tail::<S, 4>(simd, load_strided(simd, data, 4), constants));
            }
        }
    }
}

/// A node of L² in registers, to linear factors; R = L.
///
/// # Safety
/// `constants` must be valid for reading `tail_constants_len(L)` numbers.
#[inline(always)]
unsafe fn split_tail<S: Simd, const R: usize>(
    simd: S,
    mut z: [Complex<S::Reals>; R],
    constants: *const f64,
) -> [Complex<S::Reals>; R] {
    split_node(simd, &mut z, Scalars(constants));
    z = transpose(simd, z);
    // SAFETY: the first L numbers are L/2 constants, the other L² are L/2 complex vectors.
    split_node(simd, &mut z, Vectors(unsafe { constants.add(R) }));
    z
}

/// The inverse of [`split_tail`], times L².
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn merge_tail<S: Simd, const R: usize>(
    simd: S,
    mut z: [Complex<S::Reals>; R],
    constants: *const f64,
) -> [Complex<S::Reals>; R] {
    // SAFETY: as in `split_tail`.
    merge_node(simd, &mut z, Vectors(unsafe { constants.add(R) }));
    z = transpose(simd, z);
    merge_node(simd, &mut z, Scalars(constants));
    z
}

#[inline(always)]
fn transpose<S: Simd, const R: usize>(simd: S, z: [Complex<S::Reals>; R]) -> [Complex<S::Reals>; R] {
    let (mut re, mut im) = ([z[0].re; R], [z[0].im; R]);
    for k in 1..R {
        (re[k], im[k]) = (z[k].re, z[k].im);
    }
    let (re, im) = (simd.transpose(re), simd.transpose(im));
    let mut transposed = z;
    for k in 0..R {
        transposed[k] = Complex { re: re[k], im: im[k] };
    }
    transposed
}

/// One pass over memory: nodes of R residues of `stride` coefficients each.
///
/// The unsafe functions below need `data` to be valid for 2·nodes·R·stride numbers, `constants` for nodes·R numbers,
/// and `stride` to be a multiple of L.
struct Pass {
    data: *mut f64,
    constants: *const f64,
    nodes: usize,
    stride: usize,
}

impl Pass {
    #[inline(always)]
    unsafe fn split<S: Simd, const R: usize>(&self, simd: S) {
        for node in 0..self.nodes {
            // SAFETY: this node's R/2 constants and its 2·R·stride numbers.
            unsafe {
                let constants = self.constants.add(node * R);
                let data = self.data.add(2 * node * R * self.stride);
                for index in (0..self.stride).step_by(S::LANES) {
                    let mut z = load_strided::<S, R>(simd, data.add(2 * index), self.stride);
                    split_node(simd, &mut z, Scalars(constants));
                    store_strided(simd, data.add(2 * index), self.stride, z);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn merge<S: Simd, const R: usize>(&self, simd: S) {
        for node in 0..self.nodes {
            // SAFETY: this node's R/2 constants and its 2·R·stride numbers.
            unsafe {
                let constants = self.constants.add(node * R);
                let data = self.data.add(2 * node * R * self.stride);
                for index in (0..self.stride).step_by(S::LANES) {
                    let mut z = load_strided::<S, R>(simd, data.add(2 * index), self.stride);
                    merge_node(simd, &mut z, Scalars(constants));
                    store_strided(simd, data.add(2 * index), self.stride, z);
                }
            }
        }
    }

    /// The pass over the only node x^M − i, from real coefficients: the upper half are the imaginary parts.
    /// `input` must have 2·R·stride coefficients.
    #[inline(always)]
    unsafe fn split_first<S: Simd, const R: usize>(&self, simd: S, input: &impl Coefficients) {
        let size = R * self.stride;
        for index in (0..self.stride).step_by(S::LANES) {
            // SAFETY: index + LANES ≤ stride, so that k·stride + index + LANES ≤ size for k < R.
            unsafe {
                let mut z = zeros::<S, R>(simd);
                for k in 0..R {
                    let at = k * self.stride + index;
                    z[k] = Complex { re: input.load(simd, at), im: input.load(simd, size + at) };
                }
                split_node(simd, &mut z, Scalars(self.constants));
                store_strided(simd, self.data.add(2 * index), self.stride, z);
            }
        }
    }

    /// The inverse of [`Self::split_first`] times R, then times `scale`, added to `output` of 2·R·stride coefficients.
    #[inline(always)]
    unsafe fn merge_last<S: Simd, const R: usize>(&self, simd: S, output: &mut impl Accumulator, scale: f64) {
        let size = R * self.stride;
        for index in (0..self.stride).step_by(S::LANES) {
            // SAFETY: as in `split_first`.
            unsafe {
                let mut z = load_strided::<S, R>(simd, self.data.add(2 * index), self.stride);
                merge_node(simd, &mut z, Scalars(self.constants));
                for k in 0..R {
                    let at = k * self.stride + index;
                    output.add(simd, at, z[k].re, scale);
                    output.add(simd, size + at, z[k].im, scale);
                }
            }
        }
    }
}
