//! Both halves of the integer attention.

use super::client::IntegerClient;
use super::program::IntegerProgram;
use super::ranges::RangeReport;
use crate::attention::Part;
use crate::clear::{ClearEvaluator, ClearTensor, StepRecord};
use crate::error::Error;
use crate::matrix::Matrix;
use crate::table::LookupTable;

/// One head, or a whole attention, in integers: both halves, and what calibration saw.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerAttention {
    pub(crate) part: Part,
    pub(crate) program: IntegerProgram,
    pub(crate) client: IntegerClient,
    pub(crate) ranges: Vec<RangeReport>,
}

impl IntegerAttention {
    /// What it computes of the layer's attention.
    pub fn part(&self) -> Part {
        self.part
    }

    /// The server's half.
    pub fn program(&self) -> &IntegerProgram {
        &self.program
    }

    /// The client's half.
    pub fn client(&self) -> &IntegerClient {
        &self.client
    }

    /// The bit-width analysis: every intermediate, in the order of the data flow, of one head after the other, and then
    /// of what combines them.
    pub fn ranges(&self) -> &[RangeReport] {
        &self.ranges
    }

    /// All in the clear: quantizes, evaluates on plain integers, and dequantizes. `[T, E] -> [T, output_size]`.
    ///
    /// # Errors
    /// As [`IntegerClient::quantize_input`].
    pub fn evaluate_clear(&self, hidden: &Matrix<f32>) -> Result<Matrix<f32>, Error> {
        let input = self.client.quantize_input(hidden)?;
        Ok(self.client.dequantize_output(&self.program.evaluate_clear(&mut ClearEvaluator::new(), &input)))
    }
}

impl IntegerProgram {
    /// The program on plain integers: `[T, E] -> [T, output_size]`. The evaluator can tell afterwards what happened.
    ///
    /// # Panics
    /// As [`Self::evaluate`].
    pub fn evaluate_clear(&self, evaluator: &mut ClearEvaluator<LookupTable>, input: &Matrix<i32>) -> Matrix<i64> {
        let Ok(output) = self.evaluate(evaluator, &ClearTensor::input(input), input.rows());
        Matrix::from_fn(input.rows(), self.output_size(), |row, column| output[row][column] as i64)
    }

    /// What an evaluation on `tokens` tokens does, step by step: it is the same for all inputs.
    ///
    /// # Panics
    /// As [`Self::evaluate`].
    pub fn operations(&self, tokens: usize) -> Vec<StepRecord> {
        let mut evaluator = ClearEvaluator::new();
        self.evaluate_clear(&mut evaluator, &Matrix::from_fn(tokens, self.embedding_size(), |_, _| 0));
        evaluator.steps().to_vec()
    }
}
