//! Both halves of the packed attention.

use super::client::PackedClient;
use super::program::{PackedProgram, Span};
use crate::clear::ClearEvaluator;
use crate::error::Error;
use crate::matrix::Matrix;

/// One head, or a layer's whole attention: both halves.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedAttention {
    pub(crate) program: PackedProgram,
    pub(crate) client: PackedClient,
}

impl PackedAttention {
    /// The server's half.
    pub fn program(&self) -> &PackedProgram {
        &self.program
    }

    /// The client's half.
    pub fn client(&self) -> &PackedClient {
        &self.client
    }

    /// The attention in the clear: quantizes, evaluates without noise, and dequantizes. `[T, E] -> [T, O]`.
    ///
    /// # Errors
    /// As [`PackedClient::quantize_input`].
    pub fn evaluate_clear(&self, hidden: &Matrix<f32>) -> Result<Matrix<f32>, Error> {
        let input = self.client.quantize_input(hidden)?;
        let numbers = self.program.evaluate_clear(&mut ClearEvaluator::new(), &input, Span::all(hidden.rows()));
        Ok(self.client.dequantize_output(&numbers))
    }
}
