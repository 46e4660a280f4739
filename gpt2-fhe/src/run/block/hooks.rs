//! Blocks in their place in a model.

use std::ops::Range;

use nn::gpt2::{ForwardHooks, HookError, Intermediate, Site};
use nn::matrix::Matrix;

use super::{BlockOutcome, BlockText};
use crate::run::error::RunError;

/// Some of a model's blocks, or parts of them, in a forward pass: computed where their texts are. The client computes the rest in f32.
pub struct ReplacedBlocks<'t, 'a> {
    texts: &'t mut [BlockText<'a>],
    /// Results are given although numbers left their ranges.
    allow_out_of_range: bool,
    outcomes: Vec<BlockOutcome>,
}

impl<'t, 'a> ReplacedBlocks<'t, 'a> {
    /// Of texts that have seen what the model has.
    pub fn new(texts: &'t mut [BlockText<'a>], allow_out_of_range: bool) -> Self {
        Self { texts, allow_out_of_range, outcomes: Vec::new() }
    }

    /// What the requests gave, in the order of their layers.
    pub fn into_outcomes(self) -> Vec<BlockOutcome> {
        self.outcomes
    }

    fn answer(&mut self, text: usize, before: &Matrix<f32>) -> Result<Matrix<f32>, RunError> {
        let outcome = self.texts[text].advance(before)?;
        outcome.run.check(self.allow_out_of_range)?;
        let output = outcome.run.output.clone();
        self.outcomes.push(outcome);
        Ok(output)
    }
}

impl BlockText<'_> {
    /// Whether a request is answered with the logits after its last token, instead of hidden states.
    fn gives_logits(&self) -> bool {
        self.circuit.program().logits().is_some()
    }

    /// The layers, and whether their attentions and feed-forward layers are part of it.
    fn place(&self) -> (Range<usize>, [bool; 2]) {
        let program = self.circuit.program();
        let (first, blocks) = (program.first(), program.blocks());
        let any = |has: fn(&nn::block::BlockProgram) -> bool| blocks.iter().any(has);
        let parts = [any(|block| block.attention().is_some()), any(|block| block.feed_forward().is_some())];
        (first..first + blocks.len(), parts)
    }
}

impl ForwardHooks for ReplacedBlocks<'_, '_> {
    /// Of whole blocks, the first one's output is that of all; before and after it the stream goes on as it is. So it does through all
    /// blocks where they end with logits, which take its place.
    fn replace_stream(&mut self, site: Site, before: &Matrix<f32>) -> Result<Option<Matrix<f32>>, HookError> {
        let Some(layer) = site.layer else { return Ok(None) };
        let found =
            self.texts.iter().map(BlockText::place).enumerate().find(|(_, (layers, _))| layers.contains(&layer));
        let Some((text, (layers, parts))) = found else { return Ok(None) };
        let is_computed_here = match (parts, site.what) {
            ([true, false], Intermediate::AttentionResidual) | ([false, true], Intermediate::Block) => true,
            ([true, true], Intermediate::Block) => layer == layers.start && !self.texts[text].gives_logits(),
            ([true, true], Intermediate::AttentionResidual) => false,
            _ => return Ok(None),
        };
        Ok(Some(if is_computed_here { self.answer(text, before)? } else { before.clone() }))
    }

    fn replace_logits(&mut self, before: &Matrix<f32>) -> Result<Option<Matrix<f32>>, HookError> {
        let text = self.texts.iter().position(BlockText::gives_logits);
        Ok(text.map(|text| self.answer(text, before)).transpose()?)
    }
}
