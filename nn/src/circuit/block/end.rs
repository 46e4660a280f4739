//! How blocks end: what of the stream after them is answered.

use super::attention::one;
use super::ending::Ending;
use super::logits::LogitsProgram;
use super::mlp::FeedForward;
use super::scale::{AnswerScale, LIMIT};
use super::steps;
use crate::evaluator::{BlockEvaluator, Form, LinearMap};
use crate::matrix::Matrix;

/// What a server does after the last block, or in place of its end.
#[derive(Clone, Debug, PartialEq)]
pub enum EndProgram {
    /// Nothing.
    Stream,
    /// The last block's feed-forward layer, and its sum with the stream.
    LastState(LastStateProgram),
    /// The final LayerNorm and the map to the vocabulary.
    Logits(LogitsProgram),
}

/// What a client needs to know of it.
#[derive(Clone, Debug, PartialEq)]
pub enum EndScale {
    /// Nothing: it knows the stream.
    Stream,
    /// Of a hidden state less its mean, and of that.
    LastState(AnswerScale),
    /// Of logits.
    Logits(AnswerScale),
}

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

impl EndProgram {
    /// What is answered.
    pub fn ending(&self) -> Ending {
        match self {
            Self::Stream => Ending::Stream,
            Self::LastState(_) => Ending::LastState,
            Self::Logits(_) => Ending::Logits,
        }
    }

    /// How many numbers are answered of the last token, if it is not the stream.
    pub fn size(&self) -> Option<usize> {
        match self {
            Self::Stream => None,
            Self::LastState(state) => Some(state.constants.len()),
            Self::Logits(logits) => Some(logits.size()),
        }
    }
}

impl EndScale {
    /// What is answered.
    pub fn ending(&self) -> Ending {
        match self {
            Self::Stream => Ending::Stream,
            Self::LastState(_) => Ending::LastState,
            Self::Logits(_) => Ending::Logits,
        }
    }

    /// What numbers of the last token stand for, if it is not the stream that is answered.
    pub fn last(&self) -> Option<&AnswerScale> {
        match self {
            Self::Stream => None,
            Self::LastState(scale) | Self::Logits(scale) => Some(scale),
        }
    }

    /// How many numbers are answered of the last token, if it is not the stream.
    pub fn size(&self) -> Option<usize> {
        self.last().map(AnswerScale::size)
    }
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
        let update = self.layer.evaluate(evaluator, stream)?;
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
