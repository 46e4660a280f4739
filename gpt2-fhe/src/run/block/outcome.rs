//! What a request for blocks gave.

use nn::matrix::{Matrix, relative_error};

use crate::run::outcome::Outcome;

/// The outcome of a request. Its numbers are in turns: the stream's, `[n, E + 1]` or `[1, E + 1]`, or those of logits, `[1, V]`. Its outputs are
/// hidden states after the blocks, `[n, E]` or of the last token `[1, E]`, or logits `[1, V]` after it.
#[derive(Clone, Debug)]
pub struct BlockOutcome {
    /// What was decrypted, or computed, beside what the clear engine computes.
    pub run: Outcome,
    /// The hidden states before the blocks, of as many tokens, if outputs are those after them.
    pub input: Option<Matrix<f32>>,
    /// How far outputs are from the clear engine's, where that was simulated as well.
    pub noise: Option<NoiseSquares>,
}

/// Sums of squares of differences from the clear engine, over outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NoiseSquares {
    /// Of the run.
    pub measured: f64,
    /// Of simulated ones, their mean.
    pub simulated: f64,
}

impl NoiseSquares {
    /// Of numbers that are off by `differences` and by simulated `deviations`, root mean squares, of which the squares count by their
    /// column's `weights`.
    pub(super) fn new(differences: &Matrix<f64>, deviations: &Matrix<f64>, weights: &[f64]) -> Self {
        let sum = |numbers: &Matrix<f64>| {
            let square = |(index, x): (usize, &f64)| x * x * weights[index % weights.len()];
            numbers.iter().enumerate().map(square).sum()
        };
        Self { measured: sum(differences), simulated: sum(deviations) }
    }
}

impl std::iter::Sum for NoiseSquares {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), |a, b| Self {
            measured: a.measured + b.measured,
            simulated: a.simulated + b.simulated,
        })
    }
}

impl BlockOutcome {
    /// ‖update − f32's‖/‖f32's‖: `output`, `[n, E]`, are the hidden states after the blocks in f32. Of logits, `[1, V]`, the same without
    /// their mean, which no prediction depends on.
    pub fn relative_error(&self, output: &Matrix<f32>) -> f64 {
        self.error(&self.run.output, output)
    }

    /// The same of the clear engine's: what quantization alone costs.
    pub fn clear_relative_error(&self, output: &Matrix<f32>) -> f64 {
        self.error(&self.run.clear_output, output)
    }

    fn error(&self, a: &Matrix<f32>, b: &Matrix<f32>) -> f64 {
        let [a, b] = [a, b].map(|output| match &self.input {
            Some(input) => Matrix::from_fn(output.rows(), output.cols(), |row, column| {
                output[(row, column)] - input[(row, column)]
            }),
            None => without_means(output),
        });
        relative_error(&a, &b)
    }
}

/// Logits less the mean of their row.
pub(crate) fn without_means(logits: &Matrix<f32>) -> Matrix<f32> {
    let mean = |row: usize| logits.row(row).iter().sum::<f32>() / logits.cols() as f32;
    let means: Vec<f32> = (0..logits.rows()).map(mean).collect();
    Matrix::from_fn(logits.rows(), logits.cols(), |row, token| logits[(row, token)] - means[row])
}
