//! How blocks end: what of the stream after them is answered.

use super::ending::Ending;
use super::last_state::LastStateProgram;
use super::logits::LogitsProgram;
use super::scale::AnswerScale;

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
