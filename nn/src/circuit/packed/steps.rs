//! The steps of the data flow, in order.

/// x·W for queries, keys and values.
pub const PROJECT: &str = "project";
/// q·kᵀ.
pub const SCORES: &str = "scores";
/// log Σ exp of pairs.
pub const SOFTPLUS: &str = "softplus";
/// Probabilities.
pub const EXPONENTIAL: &str = "exponential";
/// Probabilities times values.
pub const OUTPUT: &str = "output";
/// All of them.
pub const ALL: [&str; 5] = [PROJECT, SCORES, SOFTPLUS, EXPONENTIAL, OUTPUT];
