//! The last hidden state, where it is all that is answered.

use super::attention::one;
use super::mlp::FeedForward;
use super::steps;
use crate::evaluator::{BlockEvaluator, Form, LinearMap};
use crate::matrix::Matrix;

/// How far from zero a number may be, in turns: beyond it is out of range. What is left to half a turn is for noise, which is that of an update
/// before it is looked up.
pub(super) const LIMIT: f64 = 0.5 - 1.0 / 12.0;

/// The last hidden state, by the last block's feed-forward layer.
///
/// Nothing on the server reads what that layer adds to the stream. So it is not looked up: the stream is mapped to the turns in which the
/// layer's sum is known, and both are decrypted together, modulo one turn.
#[derive(Clone, Debug, PartialEq)]
pub struct LastStateProgram {
    pub(super) layer: FeedForward,
    /// `[E + 1]`: how many times more turns a unit of the sum takes than one of the stream.
    pub(super) multiples: Vec<i32>,
    /// `[E + 1]`, in turns: biases, less the middles of hidden states.
    pub(super) constants: Vec<f64>,
}

impl LastStateProgram {
    /// The layer.
    pub fn layer(&self) -> &FeedForward {
        &self.layer
    }

    /// The hidden state of a token of which `[1, E + 1]` is the stream before the layer: `[1, E + 1]`, in turns.
    ///
    /// # Errors
    /// The evaluator's.
    pub fn evaluate<E: BlockEvaluator>(&self, evaluator: &mut E, stream: &E::Tensor) -> Result<E::Tensor, E::Error> {
        let update = self.layer.evaluate(evaluator, (stream, None))?;
        let channels = self.multiples.len();
        let multiple = |row: usize, column: usize| if row == column { self.multiples[row] } else { 0 };
        let weight = Matrix::from_fn(channels, channels, multiple);
        let map = LinearMap { weight: &weight, bias: &[], form: Form::Image };
        let mut state = one(evaluator.linear(steps::LAST_STATE, stream, &[map])?);
        evaluator.add(&mut state, &update);
        let state = evaluator.add_constants(steps::LAST_STATE, state, &self.constants)?;
        evaluator.note_decrypted(steps::LAST_STATE, &state, LIMIT);
        Ok(state)
    }
}
