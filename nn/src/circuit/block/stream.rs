//! Blocks one after the other on the stream, up to a whole model: what a server evaluates.

use super::attention::Needed;
use super::calibrate::BlockPart;
use super::end::EndProgram;
use super::program::{BlockCache, BlockProgram};
use crate::evaluator::{BlockEvaluator, Rows};
use crate::watched::{Inspected, Operation, Watched, WatchedBy, WatchedError};
use std::ops::ControlFlow;

/// Some of a model's blocks, and how they end: weights and tables, and nothing of what numbers of the stream stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamProgram {
    pub(super) first: usize,
    pub(super) part: BlockPart,
    pub(super) blocks: Vec<BlockProgram>,
    /// Where it is the last hidden state, the last block's feed-forward layer is part of that.
    pub(super) end: EndProgram,
    /// E + 1.
    pub(super) channels: usize,
    /// Of queries and keys of one head.
    pub(super) head_size: usize,
    /// The number of public tokens before all others.
    pub(super) prefix: usize,
    /// The most tokens of a text, public ones included.
    pub(super) max_tokens: usize,
}

impl StreamProgram {
    /// The most tokens that a text may have, of any model: far more than a GPT-2 has positions.
    pub const MAX_TOKENS: usize = 1 << 16;

    /// The first layer.
    pub fn first(&self) -> usize {
        self.first
    }

    /// What of each block it has.
    pub fn part(&self) -> BlockPart {
        self.part
    }

    /// The blocks.
    pub fn blocks(&self) -> &[BlockProgram] {
        &self.blocks
    }

    /// How they end.
    pub fn end(&self) -> &EndProgram {
        &self.end
    }

    /// E + 1: the channels of the stream.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// d, the channels of a head.
    pub fn head_size(&self) -> usize {
        self.head_size
    }

    /// The number of public tokens before all others.
    pub fn prefix(&self) -> usize {
        self.prefix
    }

    /// The most tokens of a text, public ones included: the model's positions.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// What the blocks keep before the first token that is not public.
    pub fn caches<E: BlockEvaluator>(&self, evaluator: &mut E) -> Vec<BlockCache<E>> {
        self.blocks.iter().map(|block| block.cache(evaluator)).collect()
    }

    /// E + 2: the numbers of a token of a request. Those of the stream, and the variance of its hidden state.
    pub fn sent_channels(&self) -> usize {
        self.channels + 1
    }

    /// From rows `[n, E + 2]` of a request to rows `[n, E + 1]` of the stream after the blocks, of tokens that follow those of the caches,
    /// without what follows them.
    ///
    /// # Errors
    /// The evaluator's.
    pub fn evaluate<E: BlockEvaluator>(
        &self,
        evaluator: &mut E,
        stream: &mut E::Tensor,
        caches: &mut [BlockCache<E>],
    ) -> Result<(), E::Error> {
        self.run(Needed::All, 0, evaluator, stream, caches, |_, _, _| Ok(()))
    }

    /// From block `first` of these on, of which rows of the last are needed. Before the first one the stream is that of a request.
    fn run<E: BlockEvaluator>(
        &self,
        needed: Needed,
        first: usize,
        evaluator: &mut E,
        stream: &mut E::Tensor,
        caches: &mut [BlockCache<E>],
        mut after: impl FnMut(usize, &E::Tensor, &mut BlockCache<E>) -> Result<(), E::Error>,
    ) -> Result<(), E::Error> {
        let mut variances = None;
        if first == 0 {
            let (rows, sent) = evaluator.split_last(stream);
            (*stream, variances) = (rows, Some(sent));
        }
        let blocks = self.blocks.iter().zip(caches).zip(1..);
        blocks.skip(first).try_for_each(|((block, cache), done)| {
            evaluator.enter_block(done - 1);
            // Later blocks read all rows of earlier ones.
            let needed = if done == self.blocks.len() { needed } else { Needed::All };
            block.evaluate(evaluator, (stream, variances.take()), cache, needed)?;
            after(done, stream, cache)
        })
    }

    /// What is answered of rows `[n, E + 2]` of a request, of tokens that follow those of the caches, in turns: the stream `[n, E + 1]`
    /// after the blocks; or of the last of them its hidden state, `[1, E + 1]`, or the logits of the token after it, `[1, V]`.
    ///
    /// # Errors
    /// The evaluator's.
    pub fn answer<E: BlockEvaluator>(
        &self,
        evaluator: &mut E,
        stream: E::Tensor,
        caches: &mut [BlockCache<E>],
    ) -> Result<E::Tensor, E::Error> {
        self.answer_from(0, evaluator, stream, caches, |_, _, _| Ok(()))
    }

    /// The same from block `first` of these on. Where that is not the first, the stream is that before it, `[n, E + 1]`. `after` is told after
    /// each block how many of all are done, with the stream after it and what it keeps, and may end the computation.
    ///
    /// # Errors
    /// The evaluator's, and those of `after`.
    pub fn answer_from<E: BlockEvaluator>(
        &self,
        first: usize,
        evaluator: &mut E,
        mut stream: E::Tensor,
        caches: &mut [BlockCache<E>],
        after: impl FnMut(usize, &E::Tensor, &mut BlockCache<E>) -> Result<(), E::Error>,
    ) -> Result<E::Tensor, E::Error> {
        let needed = if self.end == EndProgram::Stream { Needed::All } else { Needed::Last };
        self.run(needed, first, evaluator, &mut stream, caches, after)?;
        match &self.end {
            EndProgram::Stream => Ok(stream),
            EndProgram::LastState(state) => state.evaluate(evaluator, &stream),
            EndProgram::Logits(logits) => logits.evaluate(evaluator, &stream),
        }
    }

    /// The same of a text's first tokens, on an evaluator of which `watcher` sees what each operation gives, and may stop it.
    ///
    /// # Errors
    /// [`WatchedError::Stopped`] if it does; the evaluator's.
    pub fn watch<E, W>(
        &self,
        evaluator: &mut E,
        stream: E::Tensor,
        watcher: W,
    ) -> Result<E::Tensor, WatchedError<E::Error>>
    where
        E: BlockEvaluator + Inspected,
        W: FnMut(Operation, Rows<E::Shown>) -> ControlFlow<()>,
    {
        let mut watcher = WatchedBy(watcher);
        let mut watched = Watched::new(evaluator, &mut watcher);
        let mut caches = self.caches(&mut watched);
        self.answer(&mut watched, stream, &mut caches)
    }
}
