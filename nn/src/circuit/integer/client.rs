//! The client's half of the integer attention.

use crate::calibration::check_input;
use crate::error::Error;
use crate::matrix::Matrix;
use crate::quantizers::{Quantizer, Saturation};

/// What the client needs: how to make the input, and what the output means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerClient {
    pub(super) input: Quantizer,
    pub(super) output_scale: f64,
    pub(super) embedding_size: usize,
    pub(super) max_tokens: usize,
}

impl IntegerClient {
    /// The quantizer of the input.
    pub fn input(&self) -> &Quantizer {
        &self.input
    }

    /// What one unit of the output stands for: s_p·s_v of one head, s_o·s_wo of a whole attention.
    pub fn output_scale(&self) -> f64 {
        self.output_scale
    }

    /// E, the size of an embedding.
    pub fn embedding_size(&self) -> usize {
        self.embedding_size
    }

    /// The most tokens of an input.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// What [`Self::quantize_input`] cuts off.
    pub fn saturation(&self, hidden: &Matrix<f32>) -> Saturation {
        self.input.saturation(hidden)
    }

    /// The integers of `hidden: [T, E]`, the input of the attention after LayerNorm 1; what is beyond the range saturates
    /// ([`Self::saturation`]).
    ///
    /// # Errors
    /// [`Error::Shape`] if T is 0 or more than [`Self::max_tokens`], or E is not the head's; [`Error::NotFinite`].
    pub fn quantize_input(&self, hidden: &Matrix<f32>) -> Result<Matrix<i32>, Error> {
        check_input(hidden, self.embedding_size, self.max_tokens)?;
        self.input.quantize_matrix(hidden)
    }

    /// The values of the output, `[T, d]` of one head, `[T, E]` of a whole attention.
    pub fn dequantize_output(&self, output: &Matrix<i64>) -> Matrix<f32> {
        output.map(|&value| (value as f64 * self.output_scale) as f32)
    }
}
