//! Matrix products in f32 and f64, by the kernels of the crate `matrixmultiply`, some columns on each thread.
//!
//! That crate chooses its kernel by the CPU it runs on (AVX-512, AVX2 with fused products, or others), and each adds up
//! in an order of its own. So the last bits of a product differ between kinds of CPU, and between products of different
//! shapes on one. Of n products in f32 the sum is off by at most n·2^-24·Σ|a·b|, and by about √n·2^-24 of it in practice:
//! whoever compares results in f32 needs a bound of that kind, and figures hold for every CPU only to fewer digits.

use rayon::prelude::*;

/// Products of fewer multiplications than this are computed by the calling thread: waking another takes longer.
const PARALLEL_FROM: usize = 1 << 18;
/// The number of columns of a product that one task computes. It does not depend on the number of threads, and so
/// neither do the sums.
const COLUMNS_OF_A_TASK: usize = 128;

/// A number that `matrixmultiply` has kernels for.
pub(crate) trait Scalar: Copy + Default + Send + Sync {
    /// 1.
    const ONE: Self;
    /// C := α·A·B + β·C, for the arguments (m, k, n, α, A, its row and column stride, B, its strides, β, C, its strides).
    const GEMM: Gemm<Self>;
}

type Gemm<T> =
    unsafe fn(usize, usize, usize, T, *const T, isize, isize, *const T, isize, isize, T, *mut T, isize, isize);

impl Scalar for f32 {
    const ONE: Self = 1.0;
    const GEMM: Gemm<Self> = matrixmultiply::sgemm;
}

impl Scalar for f64 {
    const ONE: Self = 1.0;
    const GEMM: Gemm<Self> = matrixmultiply::dgemm;
}

/// The right factor of a product: entry (i, j) of `[m, cols]` is `entries[i·strides.0 + j·strides.1]`.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a, T> {
    pub(crate) entries: &'a [T],
    pub(crate) cols: usize,
    pub(crate) strides: (usize, usize),
}

/// `left · right`, row-major: `[n, m] × [m, cols] -> [n, cols]`, for a left factor of `shape` (n, m).
pub(crate) fn multiply<T: Scalar>(left: &[T], shape: (usize, usize), right: Right<'_, T>) -> Vec<T> {
    let Right { entries, cols, strides } = right;
    if left.is_empty() || cols == 0 {
        return vec![T::default(); shape.0 * cols];
    }
    if left.len() * cols < PARALLEL_FROM {
        return multiply_on_thread(left, shape, right);
    }
    let task = |task: usize| {
        let first = task * COLUMNS_OF_A_TASK;
        let cols = COLUMNS_OF_A_TASK.min(cols - first);
        multiply_on_thread(left, shape, Right { entries: &entries[first * strides.1..], cols, strides })
    };
    let parts: Vec<Vec<T>> = (0..cols.div_ceil(COLUMNS_OF_A_TASK)).into_par_iter().map(task).collect();
    let rows = |row: usize| parts.iter().flat_map(move |part| part.chunks_exact(part.len() / shape.0).nth(row));
    (0..shape.0).flat_map(rows).flatten().copied().collect()
}

/// As [`multiply`], for matrices that are not empty.
fn multiply_on_thread<T: Scalar>(left: &[T], (rows, inner): (usize, usize), right: Right<'_, T>) -> Vec<T> {
    let Right { entries, cols, strides } = right;
    let mut product = vec![T::default(); rows * cols];
    // The largest index that each pointer below is read or written at.
    assert!(left.len() == rows * inner && (inner - 1) * strides.0 + (cols - 1) * strides.1 < entries.len());
    // SAFETY: `left` is read at i·inner + j with i < rows and j < inner, `entries` at i·strides.0 + j·strides.1 with
    // i < inner and j < cols, `product` is written at i·cols + j with i < rows and j < cols: all within bounds by
    // the assertion and by the length of `product`, which nothing else refers to.
    unsafe {
        (T::GEMM)(
            rows,
            inner,
            cols,
            T::ONE,
            left.as_ptr(),
            inner as isize,
            1,
            entries.as_ptr(),
            strides.0 as isize,
            strides.1 as isize,
            T::default(),
            product.as_mut_ptr(),
            cols as isize,
            1,
        );
    }
    product
}
