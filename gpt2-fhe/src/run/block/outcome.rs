//! What a request for blocks gave.

use nn::matrix::{Matrix, relative_error};

use crate::run::outcome::Outcome;

/// The outcome of a request. Its numbers are the stream's in turns, `[n, E + 1]`, its outputs hidden states `[n, E]` after the blocks.
#[derive(Clone, Debug)]
pub struct BlockOutcome {
    /// What was decrypted, or computed, beside what the clear engine computes.
    pub run: Outcome,
    /// `[n, E]`: the hidden states before the blocks.
    pub input: Matrix<f32>,
}

impl BlockOutcome {
    /// ‖update − f32's‖/‖f32's‖: `output`, `[n, E]`, are the hidden states after the blocks in f32.
    pub fn relative_error(&self, output: &Matrix<f32>) -> f64 {
        self.error(&self.run.output, output)
    }

    /// The same of the clear engine's: what quantization alone costs.
    pub fn clear_relative_error(&self, output: &Matrix<f32>) -> f64 {
        self.error(&self.run.clear_output, output)
    }

    /// ‖a − b‖/‖b − input‖.
    fn error(&self, a: &Matrix<f32>, b: &Matrix<f32>) -> f64 {
        let update = |state: &Matrix<f32>| {
            Matrix::from_fn(state.rows(), state.cols(), |row, column| state[(row, column)] - self.input[(row, column)])
        };
        relative_error(&update(a), &update(b))
    }
}
