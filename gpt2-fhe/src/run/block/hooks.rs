//! Blocks in their place in a model.

use std::ops::Range;

use nn::block::{BlockPart, Ending};
use nn::gpt2::{ForwardHooks, HookError, Intermediate, Site};
use nn::matrix::Matrix;

use super::{BlockOutcome, BlockText};
use crate::run::error::RunError;

/// One text, of which blocks, or parts of them, are computed elsewhere than in the model.
pub trait BlockSource {
    /// What one request gives besides its output.
    type Outcome;

    /// The layers of the blocks, and what of each is computed.
    fn place(&self) -> (Range<usize>, BlockPart);

    /// What a request is answered with.
    fn ending(&self) -> Ending;

    /// Hidden states after the blocks, `[n, E]` or `[1, E]`, or logits `[1, V]`, of new tokens with hidden states `before: [n, E]`.
    ///
    /// # Errors
    /// [`RunError`]: that there is no result, or not one that can be relied on. `allow_out_of_range`: it is given although numbers left their
    /// ranges.
    fn answer(
        &mut self,
        before: &Matrix<f32>,
        allow_out_of_range: bool,
    ) -> Result<(Matrix<f32>, Self::Outcome), RunError>;
}

/// Some of a model's blocks, or parts of them, in a forward pass: computed where their texts are. The client computes the rest in f32.
pub struct ReplacedBlocks<'t, S: BlockSource> {
    texts: &'t mut [S],
    allow_out_of_range: bool,
    outcomes: Vec<S::Outcome>,
}

impl<'t, S: BlockSource> ReplacedBlocks<'t, S> {
    /// Of texts that have seen what the model has. `allow_out_of_range`: results are given although numbers left their ranges.
    pub fn new(texts: &'t mut [S], allow_out_of_range: bool) -> Self {
        Self { texts, allow_out_of_range, outcomes: Vec::new() }
    }

    /// What the requests gave, in the order of their layers.
    pub fn into_outcomes(self) -> Vec<S::Outcome> {
        self.outcomes
    }

    fn answer(&mut self, text: usize, before: &Matrix<f32>) -> Result<Matrix<f32>, RunError> {
        let (output, outcome) = self.texts[text].answer(before, self.allow_out_of_range)?;
        self.outcomes.push(outcome);
        Ok(output)
    }

    /// The answer of blocks that end so, if there are any.
    fn end(&mut self, ending: Ending, before: &Matrix<f32>) -> Result<Option<Matrix<f32>>, HookError> {
        let text = self.texts.iter().position(|text| text.ending() == ending);
        Ok(text.map(|text| self.answer(text, before)).transpose()?)
    }
}

impl BlockSource for BlockText<'_> {
    type Outcome = BlockOutcome;

    fn place(&self) -> (Range<usize>, BlockPart) {
        let half = self.model.client();
        (half.layers(), half.part())
    }

    fn ending(&self) -> Ending {
        self.model.client().end().ending()
    }

    fn answer(
        &mut self,
        before: &Matrix<f32>,
        allow_out_of_range: bool,
    ) -> Result<(Matrix<f32>, BlockOutcome), RunError> {
        let outcome = self.advance(before)?;
        outcome.run.check(allow_out_of_range)?;
        Ok((outcome.run.output.clone(), outcome))
    }
}

impl<S: BlockSource> ForwardHooks for ReplacedBlocks<'_, S> {
    /// Of whole blocks, the first one's output is that of all; before and after it the stream goes on as it is. So it does through all
    /// blocks where only the last token's hidden state is known after them, or logits, which take its place.
    fn replace_stream(&mut self, site: Site, before: &Matrix<f32>) -> Result<Option<Matrix<f32>>, HookError> {
        let Some(layer) = site.layer else { return Ok(None) };
        let found = self.texts.iter().map(S::place).enumerate().find(|(_, (layers, _))| layers.contains(&layer));
        let Some((text, (layers, part))) = found else { return Ok(None) };
        let is_computed_here = match (part, site.what) {
            (BlockPart::Attention, Intermediate::AttentionResidual) | (BlockPart::FeedForward, Intermediate::Block) => {
                true
            }
            (BlockPart::Whole, Intermediate::Block) => {
                layer == layers.start && self.texts[text].ending() == Ending::Stream
            }
            (BlockPart::Whole, Intermediate::AttentionResidual) => false,
            _ => return Ok(None),
        };
        Ok(Some(if is_computed_here { self.answer(text, before)? } else { before.clone() }))
    }

    fn replace_last_state(&mut self, before: &Matrix<f32>) -> Result<Option<Matrix<f32>>, HookError> {
        self.end(Ending::LastState, before)
    }

    fn replace_logits(&mut self, before: &Matrix<f32>) -> Result<Option<Matrix<f32>>, HookError> {
        self.end(Ending::Logits, before)
    }
}
