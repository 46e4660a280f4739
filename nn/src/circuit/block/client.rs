//! The client's half: hidden states become the stream's numbers, and answers what they stand for.

use super::calibrate::BlockPart;
use super::scale::{LogitsScale, StreamScale};
use crate::error::Error;
use crate::matrix::Matrix;
use std::ops::Range;

/// What a client needs of blocks that a server evaluates: how to make requests, what answers mean, and which part of a model they are.
#[derive(Clone, Debug, PartialEq)]
pub struct BlocksClient {
    pub(super) first: usize,
    pub(super) blocks: usize,
    pub(super) part: BlockPart,
    pub(super) head_size: usize,
    pub(super) max_tokens: usize,
    pub(super) public_tokens: Vec<u32>,
    pub(super) stream: StreamScale,
    pub(super) logits: Option<LogitsScale>,
}

impl BlocksClient {
    /// The layers whose blocks they are.
    pub fn layers(&self) -> Range<usize> {
        self.first..self.first + self.blocks
    }

    /// What of each block it is.
    pub fn part(&self) -> BlockPart {
        self.part
    }

    /// E.
    pub fn embedding_size(&self) -> usize {
        self.stream.size()
    }

    /// d, the channels of a head: with them client and server know where numbers lie in ciphertexts.
    pub fn head_size(&self) -> usize {
        self.head_size
    }

    /// The most tokens of a text, public ones included.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The tokens that every text begins with, which the server knows.
    pub fn public_tokens(&self) -> &[u32] {
        &self.public_tokens
    }

    /// What numbers of the stream stand for.
    pub fn scale(&self) -> &StreamScale {
        &self.stream
    }

    /// What numbers of logits stand for, where the server computes them: answers are logits then, and hidden states where not.
    pub fn logits(&self) -> Option<&LogitsScale> {
        self.logits.as_ref()
    }

    /// The numbers `[n, E + 1]`, in turns, of hidden states `[n, E]` before the first of the blocks, of tokens that are not public.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not E columns, no row, or more rows than a text may have tokens; [`Error::NotFinite`].
    pub fn encode(&self, hidden: &Matrix<f32>) -> Result<Matrix<f64>, Error> {
        let most = self.max_tokens.saturating_sub(self.public_tokens.len());
        if !(1..=most).contains(&hidden.rows()) {
            let expected = format!("[T, {}] with T in 1 ..= {most}", self.embedding_size());
            return Err(Error::shape("hidden states", expected, &[hidden.rows(), hidden.cols()]));
        }
        self.stream.encode(hidden)
    }

    /// What the numbers of an answer stand for, in turns: hidden states `[n, E]` after the blocks, or the logits `[1, V]` of the token after the
    /// last.
    ///
    /// # Errors
    /// [`Error::Shape`] if they have another number of columns.
    pub fn decode(&self, answer: &Matrix<f64>) -> Result<Matrix<f32>, Error> {
        let turns = self.logits.as_ref().map_or(self.stream.turns(), LogitsScale::turns);
        if answer.cols() != turns.len() {
            let found = [answer.rows(), answer.cols()];
            return Err(Error::shape("an answer", format!("[n, {}]", turns.len()), &found));
        }
        Ok(self.logits.as_ref().map_or_else(|| self.stream.decode(answer), |logits| logits.decode(answer)))
    }
}
