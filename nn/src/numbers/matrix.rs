//! Row-major matrices with checked shapes, and their products.

use crate::error::Error;
use crate::gemm::{self, Right, Scalar};
use std::ops::{Index, IndexMut, Range};

/// A matrix `[rows, cols]`, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix<T> {
    rows: usize,
    cols: usize,
    data: Vec<T>,
}

impl<T> Matrix<T> {
    /// The matrix whose rows, one after the other, are `data`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `data` does not have `rows·cols` entries.
    pub fn new(rows: usize, cols: usize, data: Vec<T>) -> Result<Self, Error> {
        if rows.checked_mul(cols) != Some(data.len()) {
            return Err(Error::shape("the matrix", format!("[{rows}, {cols}]"), &[data.len()]));
        }
        Ok(Self { rows, cols, data })
    }

    /// The matrix with `entry(row, col)` at each position, called in row-major order.
    pub fn from_fn(rows: usize, cols: usize, mut entry: impl FnMut(usize, usize) -> T) -> Self {
        let positions = (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col)));
        let data = positions.map(|(row, col)| entry(row, col)).collect();
        Self { rows, cols, data }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// One row, `[cols]`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[T] {
        &self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// One row, to write to.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        &mut self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// All entries, row-major.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// All entries, row-major, to write to.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// All entries, row-major.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }

    /// Iterates over all entries, row-major.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.data.iter()
    }

    /// `function` of each entry.
    pub fn map<U>(&self, function: impl FnMut(&T) -> U) -> Matrix<U> {
        Matrix { rows: self.rows, cols: self.cols, data: self.data.iter().map(function).collect() }
    }
}

impl<T: Clone> Matrix<T> {
    /// `[cols, rows]`, with rows and columns exchanged.
    pub fn transpose(&self) -> Self {
        Self::from_fn(self.cols, self.rows, |row, col| self[(col, row)].clone())
    }

    /// The columns of a range, `[rows, columns.len()]`.
    ///
    /// # Panics
    /// If the range is not within the matrix.
    pub fn columns(&self, columns: Range<usize>) -> Self {
        let data = (0..self.rows).flat_map(|row| self.row(row)[columns.clone()].iter().cloned()).collect();
        Self { rows: self.rows, cols: columns.len(), data }
    }

    /// The rows of a range, `[rows.len(), cols]`.
    ///
    /// # Panics
    /// If the range is not within the matrix.
    pub fn row_range(&self, rows: Range<usize>) -> Self {
        let data = self.data[rows.start * self.cols..rows.end * self.cols].to_vec();
        Self { rows: rows.len(), cols: self.cols, data }
    }

    /// Puts the rows of `below` after the matrix's own.
    ///
    /// # Panics
    /// If the numbers of columns differ.
    pub fn append_rows(&mut self, below: &Self) {
        assert_eq!(self.cols, below.cols, "columns of the two matrices");
        self.data.extend_from_slice(&below.data);
        self.rows += below.rows;
    }

    /// Keeps the first `rows` rows; all of them, if there are no more than that.
    pub fn truncate_rows(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        self.data.truncate(self.rows * self.cols);
    }

    /// Writes `part` over the columns that begin at `first`.
    ///
    /// # Panics
    /// If `part` has another number of rows, or does not fit.
    pub fn set_columns(&mut self, first: usize, part: &Self) {
        assert_eq!(self.rows, part.rows, "rows of the two matrices");
        for row in 0..self.rows {
            self.row_mut(row)[first..first + part.cols].clone_from_slice(part.row(row));
        }
    }
}

impl<T> Index<(usize, usize)> for Matrix<T> {
    type Output = T;

    fn index(&self, (row, col): (usize, usize)) -> &T {
        &self.row(row)[col]
    }
}

impl<T> IndexMut<(usize, usize)> for Matrix<T> {
    fn index_mut(&mut self, (row, col): (usize, usize)) -> &mut T {
        &mut self.row_mut(row)[col]
    }
}

impl Matrix<f32> {
    /// `self · right`: `[n, m] × [m, p] -> [n, p]`. O(n·m·p).
    ///
    /// # Panics
    /// If the inner dimensions differ.
    pub fn multiply(&self, right: &Self) -> Self {
        product(self, right)
    }

    /// `self · rightᵀ`: `[n, m] × [p, m]ᵀ -> [n, p]`, without forming the transpose. O(n·m·p).
    ///
    /// # Panics
    /// If the numbers of columns differ.
    pub fn multiply_transposed(&self, right: &Self) -> Self {
        assert_eq!(self.cols, right.cols, "inner dimensions of the product");
        times(self, Right { entries: &right.data, cols: right.rows, strides: (1, right.cols) })
    }

    /// Adds `row` to every row.
    ///
    /// # Panics
    /// If `row` does not have one value per column.
    pub fn add_to_rows(&mut self, row: &[f32]) {
        assert_eq!(self.cols, row.len(), "columns of the matrix and length of the row");
        for index in 0..self.rows {
            self.row_mut(index).iter_mut().zip(row).for_each(|(value, addend)| *value += addend);
        }
    }
}

impl Matrix<f64> {
    /// `self · right`: `[n, m] × [m, p] -> [n, p]`. O(n·m·p).
    ///
    /// # Panics
    /// If the inner dimensions differ.
    pub fn multiply(&self, right: &Self) -> Self {
        product(self, right)
    }
}

impl Matrix<i32> {
    /// `self · right`, exactly: `[n, m] × [m, p] -> [n, p]`. O(n·m·p).
    ///
    /// An entry cannot overflow an i64 while |entries| <= 2^16 and m < 2^31; quantized values have 16 bits at most.
    ///
    /// # Panics
    /// If the inner dimensions differ.
    pub fn multiply_exact(&self, right: &Self) -> Matrix<i64> {
        assert_eq!(self.cols, right.rows, "inner dimensions of the product");
        let largest = |matrix: &Self| matrix.iter().map(|entry| entry.unsigned_abs()).max().unwrap_or(0);
        let largest_sum = largest(self) as u128 * largest(right) as u128 * self.cols as u128;
        if largest_sum <= 1 << f64::MANTISSA_DIGITS {
            // No sum of some of an entry's products is rounded in f64, in whatever order they are added.
            let real = |matrix: &Self| matrix.map(|&entry| f64::from(entry));
            return product(&real(self), &real(right)).map(|&entry| entry as i64);
        }
        let mut product = Matrix { rows: self.rows, cols: right.cols, data: vec![0_i64; self.rows * right.cols] };
        for row in 0..self.rows {
            for (inner, &factor) in self.row(row).iter().enumerate() {
                let sums = product.row_mut(row).iter_mut();
                sums.zip(right.row(inner)).for_each(|(sum, &entry)| *sum += factor as i64 * entry as i64);
            }
        }
        product
    }
}

fn times<T: Scalar>(left: &Matrix<T>, right: Right<'_, T>) -> Matrix<T> {
    Matrix { rows: left.rows, cols: right.cols, data: gemm::multiply(&left.data, (left.rows, left.cols), right) }
}

/// `left · right`: `[n, m] × [m, p] -> [n, p]`.
fn product<T: Scalar>(left: &Matrix<T>, right: &Matrix<T>) -> Matrix<T> {
    assert_eq!(left.cols, right.rows, "inner dimensions of the product");
    times(left, Right { entries: &right.data, cols: right.cols, strides: (right.cols, 1) })
}

/// ‖a − b‖ / ‖b‖, in the Euclidean norm over all entries: how far `a` is from the reference `b`.
///
/// Zero if both are zero, infinite if only `b` is.
///
/// # Panics
/// If the shapes differ.
pub fn relative_error(a: &Matrix<f32>, b: &Matrix<f32>) -> f64 {
    assert_eq!((a.rows, a.cols), (b.rows, b.cols), "shapes of the two matrices");
    let square = |value: f64| value * value;
    let distance: f64 = a.iter().zip(b.iter()).map(|(&a, &b)| square(a as f64 - b as f64)).sum();
    let reference: f64 = b.iter().map(|&b| square(b as f64)).sum();
    if distance == 0.0 { 0.0 } else { (distance / reference).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matrix(rows: usize, cols: usize, values: &[f32]) -> Matrix<f32> {
        Matrix::from_fn(rows, cols, |row, col| values[row * cols + col])
    }

    #[test]
    fn shape_is_checked() {
        assert!(Matrix::new(2, 3, vec![0; 6]).is_ok());
        assert!(matches!(Matrix::new(2, 3, vec![0; 5]), Err(Error::Shape { .. })));
        assert!(matches!(Matrix::<i32>::new(usize::MAX, 2, vec![]), Err(Error::Shape { .. })));
    }

    #[test]
    fn columns_are_cut_and_set() {
        let mut whole = Matrix::from_fn(2, 4, |row, col| 10 * row + col);
        let part = whole.columns(1..3);
        assert_eq!(part.data(), [1, 2, 11, 12]);
        whole.set_columns(2, &part);
        assert_eq!(whole.data(), [0, 1, 1, 2, 10, 11, 11, 12]);
        assert_eq!(whole.transpose().row(1), [1, 11]);
    }

    #[test]
    fn rows_are_cut_and_appended() {
        let whole = Matrix::from_fn(4, 2, |row, col| 10 * row + col);
        let mut rows = whole.row_range(0..1);
        rows.append_rows(&whole.row_range(1..4));
        assert_eq!(rows, whole);
        rows.truncate_rows(9);
        assert_eq!(rows, whole);
        rows.truncate_rows(2);
        assert_eq!(rows, whole.row_range(0..2));
    }

    #[test]
    fn relative_error_of_edge_cases() {
        let (zero, one) = (matrix(1, 1, &[0.0]), matrix(1, 1, &[1.0]));
        assert_eq!(relative_error(&zero, &zero), 0.0);
        assert_eq!(relative_error(&one, &zero), f64::INFINITY);
        assert_eq!(relative_error(&matrix(1, 2, &[3.0, 0.0]), &matrix(1, 2, &[0.0, 4.0])), 1.25);
    }

    /// Large enough for several threads, with columns left over.
    #[test]
    fn products_of_several_tasks_agree() {
        let left = Matrix::from_fn(9, 150, |row, col| (7 * row + 3 * col) as i32 % 11 - 5);
        let right = Matrix::from_fn(150, 300, |row, col| (5 * row + 13 * col) as i32 % 17 - 8);
        let exact = left.multiply_exact(&right).map(|&value| value as f32);
        let (left, right) = (left.map(|&value| value as f32), right.map(|&value| value as f32));
        assert_eq!(left.multiply(&right), exact);
        assert_eq!(left.multiply_transposed(&right.transpose()), exact);
    }

    /// Of entries whose sums f64 holds, and of larger ones.
    #[test]
    fn exact_products_of_wide_entries() {
        for bits in [8, 16, 22, 23, 29] {
            let entry = |index: usize| (index as i32).wrapping_mul(0x9E37_79B1_u32 as i32) >> (32 - bits);
            let left = Matrix::from_fn(5, 70, |row, col| entry(70 * row + col));
            let right = Matrix::from_fn(70, 33, |row, col| entry(997 + 33 * row + col));
            let product = left.multiply_exact(&right);
            for (row, col) in (0..5).flat_map(|row| (0..33).map(move |col| (row, col))) {
                let products = (0..70).map(|inner| left[(row, inner)] as i64 * right[(inner, col)] as i64);
                assert_eq!(product[(row, col)], products.sum::<i64>(), "{bits} bits");
            }
        }
    }

    proptest! {
        /// Small integers multiply exactly in f32, so that all three products are one.
        #[test]
        fn products_agree(
            (n, m, p) in (1_usize..9, 0_usize..9, 1_usize..9),
            values in prop::collection::vec(-100_i32..=100, 128),
        ) {
            let left = Matrix::from_fn(n, m, |row, col| values[row * m + col]);
            let right = Matrix::from_fn(m, p, |row, col| values[127 - row * p - col]);
            let exact = left.multiply_exact(&right).map(|&value| value as f32);
            let (left, right) = (left.map(|&value| value as f32), right.map(|&value| value as f32));
            prop_assert_eq!(&left.multiply(&right), &exact);
            prop_assert_eq!(&left.multiply_transposed(&right.transpose()), &exact);
            for (row, col) in (0..n).flat_map(|row| (0..p).map(move |col| (row, col))) {
                let sum: f32 = (0..m).map(|inner| left[(row, inner)] * right[(inner, col)]).sum();
                prop_assert_eq!(exact[(row, col)], sum);
            }
        }
    }
}
