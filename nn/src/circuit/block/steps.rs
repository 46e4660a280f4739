//! The steps of a block, in the order of its data flow.

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

/// All of them: those of every block, and what follows the last.
const ALL: [&str; 16] = [
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
    LOGITS,
];

/// The steps of blocks, with logits after the last or without.
pub fn of(logits: bool) -> &'static [&'static str] {
    if logits { &ALL } else { &ALL[..ALL.len() - 1] }
}
