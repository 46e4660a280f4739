//! A block, and a model of blocks.

use super::attention::{AttentionCache, AttentionProgram, Needed};
use super::mlp::MlpProgram;
use crate::evaluator::BlockEvaluator;

/// One block: attention and feed-forward layer, each of which adds to the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockProgram {
    pub(super) attention: Option<AttentionProgram>,
    pub(super) feed_forward: Option<MlpProgram>,
}

impl BlockProgram {
    /// The attention, if it is part of it.
    pub fn attention(&self) -> Option<&AttentionProgram> {
        self.attention.as_ref()
    }

    /// The feed-forward layer, if it is part of it, and not of how the blocks end.
    pub fn feed_forward(&self) -> Option<&MlpProgram> {
        self.feed_forward.as_ref()
    }

    /// What it keeps before the first token that is not public.
    pub fn cache<E: BlockEvaluator>(&self, evaluator: &mut E) -> BlockCache<E> {
        BlockCache { attention: self.attention.as_ref().map(|attention| attention.cache(evaluator)) }
    }

    /// From now on the variance of rows is sent with them, which its first LayerNorm needs. The turns that it takes, of a variance of one.
    ///
    /// # Panics
    /// If the block has neither part.
    pub(super) fn expect_variance(&mut self) -> f64 {
        let of_attention = self.attention.as_mut().map(|attention| &mut attention.norm);
        let norm = of_attention.or(self.feed_forward.as_mut().map(|feed_forward| &mut feed_forward.layer.norm));
        norm.expect("a block has one of its parts").expect_variance()
    }

    /// Rows `[n, E + 1]` of the stream after the block, of tokens that follow those of the cache; of those that are needed. `variances`: of
    /// the rows, where they were sent with them.
    ///
    /// # Errors
    /// The evaluator's.
    pub fn evaluate<E: BlockEvaluator>(
        &self,
        evaluator: &mut E,
        (stream, mut variances): (&mut E::Tensor, Option<Vec<E::Lane>>),
        cache: &mut BlockCache<E>,
        needed: Needed,
    ) -> Result<(), E::Error> {
        if let (Some(attention), Some(cache)) = (&self.attention, &mut cache.attention) {
            let update = attention.evaluate(evaluator, (stream, variances.take()), cache, needed)?;
            if needed == Needed::Last {
                *stream = evaluator.last_row(stream);
            }
            evaluator.add(stream, &update);
        }
        if let Some(feed_forward) = &self.feed_forward {
            let update = feed_forward.evaluate(evaluator, (stream, variances))?;
            evaluator.add(stream, &update);
        }
        Ok(())
    }
}

/// What a block keeps of earlier tokens.
#[expect(missing_debug_implementations, reason = "an evaluator's tensors need none")]
pub struct BlockCache<E: BlockEvaluator> {
    attention: Option<AttentionCache<E>>,
}

impl<E: BlockEvaluator> BlockCache<E> {
    /// What the attention keeps, if it is part of the block.
    pub fn attention(&mut self) -> Option<&mut AttentionCache<E>> {
        self.attention.as_mut()
    }
}
