//! The client's half: hidden states become the stream's numbers, and answers what they stand for.

use super::calibrate::BlockPart;
use super::end::EndScale;
use super::scale::{StreamScale, centered, joined};
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
    /// The turns that a variance of one takes.
    pub(super) variance: f64,
    pub(super) end: EndScale,
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

    /// What is answered, and what its numbers stand for.
    pub fn end(&self) -> &EndScale {
        &self.end
    }

    /// The numbers `[n, E + 2]`, in turns, of hidden states `[n, E]` before the first of the blocks, of tokens that are not public.
    /// Those of the stream, and the variance of each row, which may be any number of turns.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not E columns, no row, or more rows than a text may have tokens; [`Error::NotFinite`].
    pub fn encode(&self, hidden: &Matrix<f32>) -> Result<Matrix<f64>, Error> {
        let most = self.max_tokens.saturating_sub(self.public_tokens.len());
        if !(1..=most).contains(&hidden.rows()) {
            let expected = format!("[T, {}] with T in 1 ..= {most}", self.embedding_size());
            return Err(Error::shape("hidden states", expected, &[hidden.rows(), hidden.cols()]));
        }
        let stream = self.stream.encode(hidden)?;
        let variance = |row: usize| {
            let squares = centered(hidden.row(row)).map(|x| x * x).sum::<f64>();
            squares / hidden.cols() as f64 * self.variance
        };
        let number = |row, column| if column < stream.cols() { stream[(row, column)] } else { variance(row) };
        Ok(Matrix::from_fn(stream.rows(), stream.cols() + 1, number))
    }

    /// What the numbers of an answer stand for, in turns: hidden states after the blocks, `[n, E]` of all tokens or `[1, E]` of the last, or
    /// the logits `[1, V]` of the token after it.
    ///
    /// # Errors
    /// [`Error::Shape`] if they have another number of columns.
    pub fn decode(&self, answer: &Matrix<f64>) -> Result<Matrix<f32>, Error> {
        let size = self.end.size().unwrap_or(self.stream.turns().len());
        if answer.cols() != size {
            let found = [answer.rows(), answer.cols()];
            return Err(Error::shape("an answer", format!("[n, {size}]"), &found));
        }
        Ok(match &self.end {
            EndScale::Stream => self.stream.decode(answer),
            EndScale::LastState(scale) => joined(&scale.decode(answer)),
            EndScale::Logits(scale) => scale.decode(answer).map(|&logit| logit as f32),
        })
    }
}
