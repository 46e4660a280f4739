//! A block, and a model of blocks.

use super::attention::{AttentionCache, AttentionProgram};
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

    /// The feed-forward layer, if it is part of it.
    pub fn feed_forward(&self) -> Option<&MlpProgram> {
        self.feed_forward.as_ref()
    }

    /// What it keeps before the first token that is not public.
    pub fn cache<E: BlockEvaluator>(&self, evaluator: &mut E) -> BlockCache<E> {
        BlockCache { attention: self.attention.as_ref().map(|attention| attention.cache(evaluator)) }
    }

    /// Rows `[n, E + 1]` of the stream after the block, of tokens that follow those of the cache.
    ///
    /// # Errors
    /// The evaluator's.
    pub fn evaluate<E: BlockEvaluator>(
        &self,
        evaluator: &mut E,
        stream: &mut E::Tensor,
        cache: &mut BlockCache<E>,
    ) -> Result<(), E::Error> {
        if let (Some(attention), Some(cache)) = (&self.attention, &mut cache.attention) {
            let update = attention.evaluate(evaluator, stream, cache)?;
            evaluator.add(stream, &update);
        }
        if let Some(feed_forward) = &self.feed_forward {
            let update = feed_forward.evaluate(evaluator, stream)?;
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

impl BlockProgram {
    pub fn describe(&self) -> String {
        use crate::matrix::Matrix;
        let levels = |m: &Matrix<i32>| {
            let mut of_columns: Vec<u32> =
                (0..m.cols()).map(|c| (0..m.rows()).map(|r| m[(r, c)].unsigned_abs()).max().unwrap()).collect();
            of_columns.sort();
            format!("{}..{}..{}", of_columns[0], of_columns[of_columns.len() / 2], of_columns[of_columns.len() - 1])
        };
        let factors = |r: &crate::block::Reading| {
            let mut f: Vec<i64> = r.channels.iter().map(|c| c.terms[0].1.abs()).collect();
            f.sort();
            format!("{}..{}..{}", f[0], f[f.len() / 2], f[f.len() - 1])
        };
        let a = self.attention.as_ref().unwrap();
        let m = self.feed_forward.as_ref().unwrap();
        let mut gates: Vec<i32> = m.activation.tables().map(|t| t.turn() as i32).collect();
        gates.sort();
        format!(
            "query {} (turn {:.1}, {:.1} clip x{}) key {} x{} value {} update x{} squares x{} | expand {} x{} gates {}..{}..{} rest 2^{:.1} contract {} half {} x{}",
            levels(&a.heads[0].query),
            a.heads[0].score_turn,
            a.heads[1].score_turn,
            a.heads[0].clipped_factor,
            levels(&a.key),
            factors(&a.keys),
            levels(&a.heads[0].value),
            factors(&a.update),
            factors(&a.norm.squares),
            levels(&m.expand),
            factors(&m.activation),
            gates[0],
            gates[gates.len() / 2],
            gates[gates.len() - 1],
            m.activation.tables().next().unwrap().one().log2(),
            levels(&m.contract),
            levels(&m.half),
            factors(&m.update)
        )
    }
}
