//! The transform on vector instructions, written once for all of them.
//!
//! A polynomial of M = N/2 complex coefficients modulo x^M − i is reduced to linear factors by passes of radix 2, 4 and 8
//! over memory ([`super::butterfly`]). A node of L² coefficients, L the number of lanes, is finished in registers
//! ([`split_tail`]): L vectors are reduced with each other, transposed so that each lane holds one node of L coefficients,
//! and reduced again with constants of their own in each lane. The inverse transform goes the same way back, so neither
//! permutes anything.
//!
//! # Layout
//! Between passes and in the Fourier domain, complex number v·L + l has its real part at 2·v·L + l and its imaginary part
//! L further: aligned vectors of either, and one stream of memory.

use super::butterfly::{
    Complex, Constants, Twiddle, butterfly, constants, merge_leaves, merge_node, multiply_add, shear, split_four,
    split_node, split_pairs, zeros,
};
use super::coefficients::{Accumulator, Coefficients};
use super::plan::{Pass, Plan, tail_scalars};
use crate::simd::{Kernel, Simd};

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
pub(super) unsafe fn store<S: Simd>(simd: S, data: *mut f64, index: usize, z: Complex<S::Reals>) {
    // SAFETY: the caller's.
    unsafe {
        let at = data.add(2 * index);
        simd.store_reals(z.re, at);
        simd.store_reals(z.im, at.add(S::LANES));
    }
}

/// A node's constants as scalars, to be broadcast. Whoever makes one vouches for 2·[`constants`] numbers there.
#[derive(Clone, Copy)]
pub(super) struct Scalars(pub(super) *const f64);

impl<S: Simd> Constants<S> for Scalars {
    #[inline(always)]
    fn get(self, simd: S, index: usize) -> Twiddle<S::Reals> {
        // SAFETY: the maker's: `split_node` and `merge_node` ask for no more constants.
        unsafe {
            let at = self.0.add(2 * index);
            Twiddle { cos: simd.splat_reals(*at), tan: simd.splat_reals(*at.add(1)) }
        }
    }
}

/// The constants of L nodes or coefficients, one to a lane. Whoever makes one vouches for 2L·[`constants`] numbers there.
#[derive(Clone, Copy)]
struct Vectors(*const f64);

impl<S: Simd> Constants<S> for Vectors {
    #[inline(always)]
    fn get(self, simd: S, index: usize) -> Twiddle<S::Reals> {
        // SAFETY: the maker's: `split_node` and `merge_node` ask for no more constants.
        unsafe {
            let at = self.0.add(2 * S::LANES * index);
            Twiddle { cos: simd.load_reals(at), tan: simd.load_reals(at.add(S::LANES)) }
        }
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

/// The first pass of a forward transform: reads `input`, writes `output`, both of N.
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
        let (pass, data) = (&plan.passes[0], output.as_mut_ptr());
        // SAFETY: `output` holds N numbers, `input` N coefficients.
        unsafe {
            match pass.radix {
                2 => split_first::<S, 2>(simd, pass, &input, data),
                4 => split_first::<S, 4>(simd, pass, &input, data),
                _ => split_first::<S, 8>(simd, pass, &input, data),
            }
        }
    }
}

/// The rest of a forward transform, in place: `data` of N.
///
/// Depth first, as all that goes over several passes: a node's children follow while it is in the first-level cache.
pub(super) struct Split<'a> {
    pub(super) plan: &'a Plan,
    pub(super) data: &'a mut [f64],
}

impl Kernel for Split<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { plan, data } = self;
        assert_eq!(data.len(), 2 * plan.size);
        let data = data.as_mut_ptr();
        for (tail, constants) in plan.split_tails::<S>().enumerate() {
            // SAFETY: the node is one of the plan's, the constants are its own, and `data` holds N numbers.
            unsafe {
                split_to_tail(simd, plan, data, tail);
                split_tail(simd, constants.as_ptr(), data, tail, data.add(2 * S::LANES * S::LANES * tail));
            }
        }
    }
}

/// The inverse of [`Split`], times the number of values of a node below the first pass.
pub(super) struct Merge<'a> {
    pub(super) plan: &'a Plan,
    pub(super) data: &'a mut [f64],
}

impl Kernel for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { plan, data } = self;
        assert_eq!(data.len(), 2 * plan.size);
        let data = data.as_mut_ptr();
        let constants = plan.merge_tail::<S>();
        for tail in 0..plan.tail_nodes::<S>() {
            // SAFETY: a node holds 2·L² numbers; the constants are those of `merge_tail`; `data` holds N numbers.
            unsafe {
                let node = data.add(2 * S::LANES * S::LANES * tail);
                if S::LANES == 8 {
                    let z = load_strided::<S, 8>(simd, node, 8);
                    store_strided(simd, node, 8, merge_tail(simd, z, constants));
                } else {
                    let z = load_strided::<S, 4>(simd, node, 4);
                    store_strided(simd, node, 4, merge_tail(simd, z, constants));
                }
                merge_from_tail(simd, plan, data, tail);
            }
        }
    }
}

/// The inverse of [`Start`]: reads `input`, of N, and adds the coefficients, divided by M, to `output`.
pub(super) struct Finish<'a, A> {
    pub(super) plan: &'a Plan,
    pub(super) input: &'a [f64],
    pub(super) output: A,
}

impl<A: Accumulator> Kernel for Finish<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { plan, input, mut output } = self;
        assert!(input.len() == 2 * plan.size && output.len() == 2 * plan.size);
        let data = input.as_ptr();
        // SAFETY: `input` holds N numbers, `output` N coefficients.
        unsafe {
            match plan.passes[0].radix {
                2 => merge_last::<S, 2>(simd, plan, data, &mut output),
                4 => merge_last::<S, 4>(simd, plan, data, &mut output),
                _ => merge_last::<S, 8>(simd, plan, data, &mut output),
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

/// Reduces node `node` of L² of `data` to linear factors, and writes them to `output`.
///
/// # Safety
/// The node must be one of the plan's, `constants` its own of [`Plan::split_tails`], `data` valid for reading N numbers, and
/// `output` for writing 2·L².
#[inline(always)]
pub(super) unsafe fn split_tail<S: Simd>(
    simd: S,
    constants: *const f64,
    data: *const f64,
    node: usize,
    output: *mut f64,
) {
    // SAFETY: node `node` lies at 2·L²·node, and the constants are its own.
    unsafe {
        let data = data.add(2 * S::LANES * S::LANES * node);
        if S::LANES == 8 {
            let z = load_strided::<S, 8>(simd, data, 8);
            store_strided(simd, output, 8, split_registers(simd, z, constants));
        } else {
            let z = load_strided::<S, 4>(simd, data, 4);
            store_strided(simd, output, 4, split_registers(simd, z, constants));
        }
    }
}

/// Before node `tail` of L² is reduced: the reductions, by passes other than the first, of which it is the first result.
///
/// # Safety
/// The node must be one of the plan's, and `data` valid for reading and writing N numbers.
#[inline(always)]
pub(super) unsafe fn split_to_tail<S: Simd>(simd: S, plan: &Plan, data: *mut f64, tail: usize) {
    for pass in plan.passes_beginning(tail) {
        let node = tail >> pass.log_tails;
        // SAFETY: the caller's.
        unsafe {
            match pass.radix {
                2 => split::<S, 2>(simd, pass, node, data),
                4 => split::<S, 4>(simd, pass, node, data),
                _ => split::<S, 8>(simd, pass, node, data),
            }
        }
    }
}

/// After node `tail` of L² is merged: what it was the last part of, but for the first pass.
///
/// # Safety
/// As for [`split_to_tail`].
#[inline(always)]
pub(super) unsafe fn merge_from_tail<S: Simd>(simd: S, plan: &Plan, data: *mut f64, tail: usize) {
    for pass in plan.passes_ending(tail).iter().rev() {
        let node = tail >> pass.log_tails;
        // SAFETY: the caller's.
        unsafe {
            match pass.radix {
                2 => merge::<S, 2>(simd, pass, node, data),
                4 => merge::<S, 4>(simd, pass, node, data),
                _ => merge::<S, 8>(simd, pass, node, data),
            }
        }
    }
}

/// A node of L² in registers, to linear factors; R = L.
///
/// The transposition is taken apart and spread between the butterflies around it: its instructions have a port of their
/// own, and butterflies that wait behind all of them would leave the other port idle.
///
/// # Safety
/// `constants` must be a node's of [`Plan::split_tail`].
#[inline(always)]
unsafe fn split_registers<S: Simd, const R: usize>(
    simd: S,
    mut z: [Complex<S::Reals>; R],
    constants: *const f64,
) -> [Complex<S::Reals>; R] {
    // SAFETY: the scalars come first, the vectors after them.
    let (scalars, vectors) = (Scalars(constants), Vectors(unsafe { constants.add(tail_scalars(R)) }));
    if R == 8 {
        split_pairs(simd, &mut z, scalars);
    }
    for node in 0..R / 4 {
        split_four(simd, &mut z, node, scalars);
        interleave_rows(simd, &mut z, 2 * node);
        interleave_rows(simd, &mut z, 2 * node + 1);
    }
    for parity in 0..2 {
        exchange_columns(simd, &mut z, parity);
        if R == 8 {
            let c = vectors.get(simd, 0);
            for k in (parity..R / 2).step_by(2) {
                (z[k], z[k + R / 2]) = butterfly(simd, z[k], z[k + R / 2], c);
            }
        }
    }
    for node in 0..R / 4 {
        split_four(simd, &mut z, node, vectors);
    }
    z
}

/// The inverse of [`split_tail`] in registers, times L²; R = L.
///
/// # Safety
/// `constants` must be those of [`Plan::merge_tail`].
#[inline(always)]
pub(super) unsafe fn merge_tail<S: Simd, const R: usize>(
    simd: S,
    mut z: [Complex<S::Reals>; R],
    constants: *const f64,
) -> [Complex<S::Reals>; R] {
    merge_leaves(simd, &mut z, 1, 0);
    if R == 8 {
        merge_leaves(simd, &mut z, 2, 0);
        merge_leaves(simd, &mut z, 2, 1);
    }
    for pair in 0..R / 4 {
        merge_leaves(simd, &mut z, R / 2, 2 * pair);
        merge_leaves(simd, &mut z, R / 2, 2 * pair + 1);
        interleave_rows(simd, &mut z, pair);
        interleave_rows(simd, &mut z, pair + R / 4);
    }
    for parity in 0..2 {
        exchange_columns(simd, &mut z, parity);
    }
    merge_node(simd, &mut z, Vectors(constants));
    z
}

/// The first step of the transposition of R vectors: rows 2·pair and 2·pair + 1 become their even lanes and their odd ones.
#[inline(always)]
fn interleave_rows<S: Simd, const R: usize>(simd: S, z: &mut [Complex<S::Reals>; R], pair: usize) {
    let (a, b) = (z[2 * pair], z[2 * pair + 1]);
    let (re, im) = (simd.interleave(a.re, b.re), simd.interleave(a.im, b.im));
    z[2 * pair] = Complex { re: re.0, im: im.0 };
    z[2 * pair + 1] = Complex { re: re.1, im: im.1 };
}

/// The other steps, for the columns of one parity.
#[inline(always)]
fn exchange_columns<S: Simd, const R: usize>(simd: S, z: &mut [Complex<S::Reals>; R], parity: usize) {
    if R == 4 {
        (z[parity], z[parity + 2]) = exchange(simd, z[parity], z[parity + 2]);
        return;
    }
    // Columns 0 and 4, columns 2 and 6 (plus the parity): of the upper four rows, of the lower four.
    let (upper_04, upper_26) = exchange(simd, z[parity], z[parity + 2]);
    let (lower_04, lower_26) = exchange(simd, z[parity + 4], z[parity + 6]);
    (z[parity], z[parity + 4]) = exchange(simd, upper_04, lower_04);
    (z[parity + 2], z[parity + 6]) = exchange(simd, upper_26, lower_26);
}

#[inline(always)]
fn exchange<S: Simd>(simd: S, a: Complex<S::Reals>, b: Complex<S::Reals>) -> (Complex<S::Reals>, Complex<S::Reals>) {
    let (re, im) = (simd.exchange(a.re, b.re), simd.exchange(a.im, b.im));
    (Complex { re: re.0, im: im.0 }, Complex { re: re.1, im: im.1 })
}

/// One node of a pass over memory, in place.
///
/// # Safety
/// `data` must be valid for reading and writing N numbers, the node one of the pass's, and R the pass's radix.
#[inline(always)]
unsafe fn split<S: Simd, const R: usize>(simd: S, pass: &Pass, node: usize, data: *mut f64) {
    // SAFETY: this node's constants and its 2·R·stride numbers.
    unsafe {
        let factors = pass.split.as_ptr().add(2 * constants(R) * node);
        let data = data.add(2 * node * R * pass.stride);
        for index in (0..pass.stride).step_by(S::LANES) {
            let mut z = load_strided::<S, R>(simd, data.add(2 * index), pass.stride);
            split_node(simd, &mut z, Scalars(factors));
            store_strided(simd, data.add(2 * index), pass.stride, z);
        }
    }
}

/// The inverse of [`split`].
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn merge<S: Simd, const R: usize>(simd: S, pass: &Pass, node: usize, data: *mut f64) {
    let factors = pass.merge.as_ptr();
    // SAFETY: the vectors of constants of each vector of coefficients, and this node's 2·R·stride numbers.
    unsafe {
        let data = data.add(2 * node * R * pass.stride);
        for index in (0..pass.stride).step_by(S::LANES) {
            let mut z = load_strided::<S, R>(simd, data.add(2 * index), pass.stride);
            merge_node(simd, &mut z, Vectors(factors.add(2 * constants(R) * index)));
            store_strided(simd, data.add(2 * index), pass.stride, z);
        }
    }
}

/// The pass over the only node x^M − i, from real coefficients: the upper half are the imaginary parts.
///
/// # Safety
/// As for [`split`]; `input` must have N coefficients.
#[inline(always)]
unsafe fn split_first<S: Simd, const R: usize>(simd: S, pass: &Pass, input: &impl Coefficients, data: *mut f64) {
    let (size, constants) = (R * pass.stride, Scalars(pass.split.as_ptr()));
    for index in (0..pass.stride).step_by(S::LANES) {
        // SAFETY: index + LANES ≤ stride, so that k·stride + index + LANES ≤ size for k < R.
        unsafe {
            let mut z = zeros::<S, R>(simd);
            for k in 0..R {
                let at = k * pass.stride + index;
                z[k] = Complex { re: input.load(simd, at), im: input.load(simd, size + at) };
            }
            split_node(simd, &mut z, constants);
            store_strided(simd, data.add(2 * index), pass.stride, z);
        }
    }
}

/// The inverse of [`split_first`], divided by M and added to `output`.
///
/// # Safety
/// As for [`split`], R being the first pass's radix; `output` must have N coefficients.
#[inline(always)]
unsafe fn merge_last<S: Simd, const R: usize>(simd: S, plan: &Plan, data: *const f64, output: &mut impl Accumulator) {
    let (pass, size) = (&plan.passes[0], plan.size);
    let (factors, untwist) = (pass.merge.as_ptr(), plan.untwist.as_ptr());
    for index in (0..pass.stride).step_by(S::LANES) {
        // SAFETY: as in `split_first`; the untwisting constants are N numbers.
        unsafe {
            let mut z = load_strided::<S, R>(simd, data.add(2 * index), pass.stride);
            merge_node(simd, &mut z, Vectors(factors.add(2 * constants(R) * index)));
            // All are read before any is written. In large rings they are multiples of 4096 bytes apart, and a load waits for a store
            // before it whose address has the same last 12 bits.
            let mut sums = [[simd.splat_words(0); 2]; R];
            for k in 0..R {
                let at = k * pass.stride + index;
                let untwist = untwist.add(2 * (R * index + k * S::LANES));
                let (cos, tan) = (simd.load_reals(untwist), simd.load_reals(untwist.add(S::LANES)));
                let x = shear(simd, z[k], tan);
                sums[k] = [output.plus(simd, at, x.re, cos), output.plus(simd, size + at, x.im, cos)];
            }
            for k in 0..R {
                let at = k * pass.stride + index;
                output.store(simd, at, sums[k][0]);
                output.store(simd, size + at, sums[k][1]);
            }
        }
    }
}
