//! Rounding weights so that errors cancel on the inputs of the calibration set.
//!
//! Rounding an entry of a weight leaves an error that the entries of later rows can make up for, as far as inputs of their channels go
//! together. With H the inputs' second moments, the error of a column w is (w − q)ᵀ·H·(w − q), and row after row is rounded
//! to the integer that, with the errors of the rows before it, is best if all later rows could be any real numbers: E. Frantar
//! et al., "GPTQ" (arXiv:2210.17323). With H = R·Rᵀ, R upper triangular, the error is ‖Rᵀ(w − q)‖², a sum of one square for each row
//! that depends on that row and those before it, so each is made as small as it can be (Babai's nearest plane).

use rayon::prelude::*;

use crate::matrix::Matrix;

/// How many columns are rounded at a time, so that what they need stays in the cache.
const COLUMNS: usize = 64;

/// How many rows of moments are summed up at a time: with 3,072 channels they fill 384 KiB.
const TOGETHER: usize = 16;
/// How many columns' pivots are done before what they take is subtracted from all others.
const PIVOTS: usize = 32;

/// The rounding for inputs like those of a calibration set.
#[derive(Clone, Debug)]
pub(crate) struct Rounding {
    /// `[E, E]`, upper triangular; each column divided by its diagonal entry.
    factor: Matrix<f64>,
}

impl Rounding {
    /// From inputs, each of `size` channels. What `damping` says, relative to the mean of H's diagonal, is added to that: a calibration set
    /// says little about the inputs' second moments, and with fewer rows than channels nothing at all of some of their combinations.
    /// O(rows·E² + E³/6).
    pub(crate) fn new<'a>(size: usize, damping: f64, inputs: impl IntoIterator<Item = &'a [f64]>) -> Self {
        let rows: Vec<&[f64]> = inputs.into_iter().collect();
        let mut moments = upper_moments(size, &rows);
        let mean = (0..size).map(|i| moments[(i, i)]).sum::<f64>() / size as f64;
        // Inputs that are all zero leave nothing to be gained: plain rounding.
        let damping = if mean > 0.0 { damping * mean } else { 1.0 };
        (0..size).for_each(|i| moments[(i, i)] += damping);
        Self { factor: upper_factor(moments) }
    }

    /// `weight: [E, C]`, each column in units of its scale, as integers. O(E²·C/2).
    pub(crate) fn round(&self, weight: &Matrix<f64>, scales: &[f64]) -> Matrix<i32> {
        let columns: Vec<usize> = (0..weight.cols()).step_by(COLUMNS).collect();
        let block = |&first: &usize| {
            let columns = first..weight.cols().min(first + COLUMNS);
            let scaled = |row: usize, column: usize| weight[(row, first + column)] / scales[first + column];
            self.round_scaled(Matrix::from_fn(weight.rows(), columns.len(), scaled))
        };
        let blocks: Vec<Matrix<i32>> = columns.par_iter().map(block).collect();
        Matrix::from_fn(weight.rows(), weight.cols(), |row, column| blocks[column / COLUMNS][(row, column % COLUMNS)])
    }

    /// Rounds what is in units of its scale already.
    fn round_scaled(&self, weight: Matrix<f64>) -> Matrix<i32> {
        let (rows, cols) = (weight.rows(), weight.cols());
        let mut rounded = Matrix::from_fn(rows, cols, |_, _| 0);
        // The square of row i is that of R_ii·(e_i + Σ_{j<i} R_ji/R_ii·e_j), with the errors e = w − q: of each row, the sum so far.
        let mut sums = Matrix::from_fn(rows, cols, |_, _| 0.0);
        let mut errors = vec![0.0; cols];
        for row in 0..rows {
            for column in 0..cols {
                let nearest = (weight[(row, column)] + sums[(row, column)]).round_ties_even();
                rounded[(row, column)] = nearest as i32;
                errors[column] = weight[(row, column)] - nearest;
            }
            for later in row + 1..rows {
                let share = self.factor[(row, later)];
                sums.row_mut(later).iter_mut().zip(&errors).for_each(|(sum, error)| *sum += share * error);
            }
        }
        rounded
    }
}

/// The second moments of rows of `size` channels: on and above the diagonal, which is all that is needed of what is symmetric.
///
/// A few rows of the result at a time meet all inputs, so that they stay in the cache.
fn upper_moments(size: usize, inputs: &[&[f64]]) -> Matrix<f64> {
    let mut moments = Matrix::from_fn(size, size, |_, _| 0.0);
    moments.data_mut().par_chunks_mut(TOGETHER * size.max(1)).enumerate().for_each(|(chunk, sums)| {
        for input in inputs {
            for (sums, i) in sums.chunks_mut(size).zip(chunk * TOGETHER..) {
                let x = input[i];
                if x != 0.0 {
                    sums[i..].iter_mut().zip(&input[i..]).for_each(|(sum, y)| *sum += x * y);
                }
            }
        }
        sums.iter_mut().for_each(|sum| *sum /= inputs.len() as f64);
    });
    moments
}

/// R with R·Rᵀ = `moments`, upper triangular, each column divided by its diagonal entry: from the last row upwards.
///
/// `moments` is symmetric, and its smallest eigenvalue is at least the damping, so every pivot is positive. What is below the diagonal is
/// neither read nor changed. What pivots take from the moments is subtracted from some columns at once, and from those to the left of them
/// when [`PIVOTS`] of them are done, row by row: in the same order for each entry, with fewer passes over the matrix.
fn upper_factor(mut moments: Matrix<f64>) -> Matrix<f64> {
    let size = moments.rows();
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(PIVOTS);
        // Of each pivot, the last one first, its column as it is when its turn comes.
        let mut columns: Vec<Vec<f64>> = Vec::with_capacity(end - start);
        for pivot in (start..end).rev() {
            // Column `pivot` of R is that of the moments over the root of the pivot; what is left of the moments is without it.
            let value = moments[(pivot, pivot)];
            let column: Vec<f64> = (0..pivot).map(|row| moments[(row, pivot)]).collect();
            for (row, &x) in column.iter().enumerate() {
                let (factor, first) = (x / value, start.max(row));
                let entries = moments.row_mut(row)[first..pivot].iter_mut();
                entries.zip(&column[first..]).for_each(|(entry, y)| *entry -= factor * y);
                moments[(row, pivot)] = factor;
            }
            moments[(pivot, pivot)] = 1.0;
            columns.push(column);
        }
        moments.data_mut()[..start * size].par_chunks_mut(size).enumerate().for_each(|(row, entries)| {
            let (entries, factors) = entries.split_at_mut(start);
            for (column, pivot) in columns.iter().zip((0..end - start).rev()) {
                let factor = factors[pivot];
                entries[row..].iter_mut().zip(&column[row..]).for_each(|(entry, y)| *entry -= factor * y);
            }
        });
        end = start;
    }
    moments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(rows: usize) -> Matrix<i32> {
        // Channels that go together in pairs, and some noise.
        Matrix::from_fn(rows, 12, |row, channel| {
            let wave = |x: usize| ((x * x % 97) as f64 * 0.9).sin();
            (12.0 * wave(row * 7 + channel / 2) + 3.0 * wave(row * 31 + channel * 5)) as i32
        })
    }

    /// With one block of pivots, and with several.
    #[test]
    fn the_factor_recomposes() {
        for size in [5, PIVOTS + 1, 2 * PIVOTS + 7] {
            let damped = Matrix::from_fn(size, size, |i, j| if i == j { 4.0 } else { 1.0 / (1 + i + j) as f64 });
            let factor = upper_factor(damped.clone());
            // The pivots are the squares of R's diagonal, which the columns are divided by.
            let mut pivots = vec![0.0; size];
            for i in (0..size).rev() {
                let later: f64 = (i + 1..size).map(|k| factor[(i, k)] * factor[(i, k)] * pivots[k]).sum();
                pivots[i] = damped[(i, i)] - later;
            }
            for i in 0..size {
                for j in 0..size {
                    let sum: f64 = (i.max(j)..size).map(|k| factor[(i, k)] * factor[(j, k)] * pivots[k]).sum();
                    assert!((sum - damped[(i, j)]).abs() < 1e-12, "{size}: {i} {j}");
                }
            }
        }
    }

    /// With more channels than are summed up at a time.
    #[test]
    fn moments_are_means_of_products() {
        let size = 2 * TOGETHER + 3;
        let inputs = Matrix::from_fn(8, size, |row, channel| ((row * size + channel) % 11) as f64 - 5.0);
        let moments = upper_moments(size, &inputs.data().chunks(size).collect::<Vec<_>>());
        for i in 0..size {
            for j in i..size {
                let sum: f64 = (0..8).map(|row| inputs[(row, i)] * inputs[(row, j)]).sum();
                assert_eq!(moments[(i, j)], sum / 8.0, "{i} {j}");
            }
        }
    }

    /// On inputs like those of the calibration set, the error of a product is smaller than with plain rounding.
    #[test]
    fn products_have_smaller_errors_than_with_plain_rounding() {
        let weight = Matrix::from_fn(12, 80, |row, column| 5.0 * ((row * 80 + column) as f64 * 1.7).sin());
        let plain = weight.map(|w| w.round_ties_even() as i32);
        let unseen = inputs(90);
        let real = inputs(40).map(|&x| f64::from(x));
        let rounding = Rounding::new(12, 1.0, real.data().chunks(12));
        let error = |rounded: &Matrix<i32>| -> f64 {
            let difference = |row: usize, column: usize| -> f64 {
                let entry = |k: usize| weight[(k, column)] - f64::from(rounded[(k, column)]);
                (0..12).map(|k| f64::from(unseen[(row, k)]) * entry(k)).sum()
            };
            let squares = (40..90).flat_map(|row| (0..80).map(move |column| (row, column)));
            squares.map(|(row, column)| difference(row, column).powi(2)).sum()
        };
        let (ours, plain) = (error(&rounding.round(&weight, &[1.0; 80])), error(&plain));
        assert!(ours < 0.75 * plain, "{ours} {plain}");
    }

    #[test]
    fn zero_inputs_mean_plain_rounding() {
        let zero = [0.0; 12];
        let weight = Matrix::from_fn(4, 2, |row, column| row as f64 * 0.7 - column as f64);
        let rounded = Rounding::new(4, 1.0, zero.chunks(4)).round(&weight, &[0.5, 1.0]);
        assert_eq!(rounded, Matrix::from_fn(4, 2, |r, c| (weight[(r, c)] / [0.5, 1.0][c]).round_ties_even() as i32));
    }
}
