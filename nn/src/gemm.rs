//! Matrix products in f32 and f64, by the kernels of the crate `matrixmultiply`, some columns on each thread.
//!
//! That crate chooses its kernel by the CPU it runs on (AVX-512, AVX2 with fused products, or others), and each adds up
//! in an order of its own. So the last bits of a product differ between kinds of CPU, and between products of different
//! shapes on one. Of n products in f32 the sum is off by at most n·2^-24·Σ|a·b|, and by about √n·2^-24 of it in practice:
//! whoever compares results in f32 needs a bound of that kind, and figures hold for every CPU only to fewer digits.
#![allow(unsafe_code)]

use crate::matrix::Matrix;
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

/// `left · right`: `[n, m] × [m, p] -> [n, p]`. The inner dimensions agree (the caller checks them).
pub(crate) fn multiply<T: Scalar>(left: &Matrix<T>, right: &Matrix<T>) -> Matrix<T> {
    multiply_strided(left, right.data(), right.cols(), (right.cols(), 1))
}

/// `left · rightᵀ`: `[n, m] × [p, m]ᵀ -> [n, p]`. The numbers of columns agree (the caller checks them).
pub(crate) fn multiply_transposed(left: &Matrix<f32>, right: &Matrix<f32>) -> Matrix<f32> {
    multiply_strided(left, right.data(), right.rows(), (1, right.cols()))
}

/// `left · right`, where entry (i, j) of `right: [m, cols]` is `right[i·strides.0 + j·strides.1]`.
fn multiply_strided<T: Scalar>(left: &Matrix<T>, right: &[T], cols: usize, strides: (usize, usize)) -> Matrix<T> {
    let mut product = Matrix::from_fn(left.rows(), cols, |_, _| T::default());
    if left.data().is_empty() || cols == 0 {
        return product;
    }
    if left.data().len() * cols < PARALLEL_FROM {
        return multiply_on_thread(left, right, cols, strides);
    }
    let columns = |first: usize| {
        let count = COLUMNS_OF_A_TASK.min(cols - first);
        (first, multiply_on_thread(left, &right[first * strides.1..], count, strides))
    };
    let tasks = (0..cols.div_ceil(COLUMNS_OF_A_TASK)).into_par_iter();
    let parts: Vec<(usize, Matrix<T>)> = tasks.map(|task| columns(task * COLUMNS_OF_A_TASK)).collect();
    parts.iter().for_each(|(first, part)| product.set_columns(*first, part));
    product
}

/// As [`multiply_strided`], for matrices that are not empty.
fn multiply_on_thread<T: Scalar>(left: &Matrix<T>, right: &[T], cols: usize, strides: (usize, usize)) -> Matrix<T> {
    let (rows, inner) = (left.rows(), left.cols());
    let mut product = Matrix::from_fn(rows, cols, |_, _| T::default());
    // The largest index that each pointer below is read or written at.
    assert!(left.data().len() == rows * inner && (inner - 1) * strides.0 + (cols - 1) * strides.1 < right.len());
    // SAFETY: `left` is read at i·inner + j with i < rows and j < inner, `right` at i·strides.0 + j·strides.1 with
    // i < inner and j < cols, `product` is written at i·cols + j with i < rows and j < cols: all within bounds by
    // the assertion and by the shape of `product`, which nothing else refers to.
    unsafe {
        (T::GEMM)(
            rows,
            inner,
            cols,
            T::ONE,
            left.data().as_ptr(),
            inner as isize,
            1,
            right.as_ptr(),
            strides.0 as isize,
            strides.1 as isize,
            T::default(),
            product.data_mut().as_mut_ptr(),
            cols as isize,
            1,
        );
    }
    product
}
