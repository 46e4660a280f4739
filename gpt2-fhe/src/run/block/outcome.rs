//! What a request for blocks gave.

use nn::matrix::{Matrix, relative_error};

use crate::run::outcome::Outcome;

/// The outcome of a request. Its numbers are in turns, its outputs hidden states `[n, E]` after the blocks, each less its mean.
#[derive(Clone, Debug)]
pub struct BlockOutcome {
    /// What was decrypted, or computed, beside what the clear engine computes.
    pub run: Outcome,
    /// `[n, E]`: the hidden states before the blocks, each less its mean.
    pub input: Matrix<f32>,
}

impl BlockOutcome {
    /// ‖update − f32's‖/‖f32's‖, of hidden states that were `before` the blocks and `after` them in f32, whatever the means of
    /// their rows.
    pub fn relative_error(&self, before: &Matrix<f32>, after: &Matrix<f32>) -> f64 {
        relative_error(&difference(&self.run.output, &self.input), &update(before, after))
    }

    /// The same of the clear engine's: what quantization alone costs.
    pub fn clear_relative_error(&self, before: &Matrix<f32>, after: &Matrix<f32>) -> f64 {
        relative_error(&difference(&self.run.clear_output, &self.input), &update(before, after))
    }
}

/// What blocks add to the stream, each row less its mean.
fn update(before: &Matrix<f32>, after: &Matrix<f32>) -> Matrix<f32> {
    let mut update = difference(after, before);
    for row in 0..update.rows() {
        let values = update.row_mut(row);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        values.iter_mut().for_each(|value| *value -= mean);
    }
    update
}

fn difference(a: &Matrix<f32>, b: &Matrix<f32>) -> Matrix<f32> {
    Matrix::from_fn(a.rows(), a.cols(), |row, column| a[(row, column)] - b[(row, column)])
}
