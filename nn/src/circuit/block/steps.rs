//! The steps of a block, in the order of its data flow.

use super::ending::Ending;

/// x², of channels or of pairs of them.
pub const SQUARES: &str = "squares";
/// 1/√variance, and its logarithm.
pub const NORM: &str = "norm";
/// Maps of what LayerNorm gives.
pub const PROJECT: &str = "project";
/// Queries, where they are looked up.
pub const QUERIES: &str = "queries";
/// Keys become integers that multiply.
pub const KEYS: &str = "keys";
/// q·kᵀ.
pub const SCORES: &str = "scores";
/// log Σ exp of pairs.
pub const SOFTPLUS: &str = "softplus";
/// Σ exp, to be compared with one.
pub const REFINE: &str = "refine";
/// Exponents far below zero.
pub const CLIP: &str = "clip";
/// Probabilities become integers that multiply.
pub const PROBABILITIES: &str = "probabilities";
/// Probabilities times values.
pub const WEIGH: &str = "weigh";
/// The attention's output becomes part of the stream.
pub const ATTENTION: &str = "attention update";
/// The feed-forward layer's activation.
pub const ACTIVATION: &str = "activation";
/// Its second map.
pub const CONTRACT: &str = "contract";
/// The feed-forward layer's output becomes part of the stream.
pub const FEED_FORWARD: &str = "feed-forward update";

/// After the last block: the map to the vocabulary.
pub const LOGITS: &str = "logits";
/// Instead of the last block's feed-forward update, where only the last token's hidden state is answered.
pub const LAST_STATE: &str = "last hidden state";

/// Those of every block.
const OF_BLOCKS: [&str; 15] = [
    SQUARES,
    NORM,
    PROJECT,
    QUERIES,
    KEYS,
    SCORES,
    SOFTPLUS,
    REFINE,
    CLIP,
    PROBABILITIES,
    WEIGH,
    ATTENTION,
    ACTIVATION,
    CONTRACT,
    FEED_FORWARD,
];

const WITH_LAST_STATE: [&str; 16] = with(LAST_STATE);
const WITH_LOGITS: [&str; 16] = with(LOGITS);

const fn with(end: &str) -> [&str; 16] {
    let (mut all, mut index) = ([end; 16], 0);
    while index < OF_BLOCKS.len() {
        all[index] = OF_BLOCKS[index];
        index += 1;
    }
    all
}

/// The steps of blocks that end so.
pub fn of(ending: Ending) -> &'static [&'static str] {
    match ending {
        Ending::Stream => &OF_BLOCKS,
        Ending::LastState => &WITH_LAST_STATE,
        Ending::Logits => &WITH_LOGITS,
    }
}
