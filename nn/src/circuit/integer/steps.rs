//! The steps of the data flow, as methods of an [`Evaluator`](crate::evaluator::Evaluator) get them, in order.

use crate::attention::Part;

/// x·W.
pub const PROJECT: &str = "project";
/// Accumulators to q, k and v.
pub const QUERY_KEY_VALUE: &str = "query_key_value";
/// q·kᵀ.
pub const SCORES: &str = "scores";
/// Scores to n bits.
pub const QUANTIZE_SCORES: &str = "quantize_scores";
/// relu of differences, for the maximum of each row.
pub const MAXIMUM: &str = "maximum";
/// exp(score − maximum).
pub const EXPONENTIAL: &str = "exponential";
/// 1 / sum of a row.
pub const INVERSE: &str = "inverse";
/// Exponentials times the inverse.
pub const NORMALIZE: &str = "normalize";
/// The normalized exponentials to n bits.
pub const PROBABILITIES: &str = "probabilities";
/// Probabilities times v.
pub const OUTPUT: &str = "output";
/// Outputs of all heads to n bits, at one scale: whole attention only.
pub const QUANTIZE_OUTPUT: &str = "quantize_output";
/// The output projection: whole attention only.
pub const PROJECT_OUTPUT: &str = "project_output";
/// All of them: those of a whole attention.
pub const ALL: [&str; 12] = [
    PROJECT,
    QUERY_KEY_VALUE,
    SCORES,
    QUANTIZE_SCORES,
    MAXIMUM,
    EXPONENTIAL,
    INVERSE,
    NORMALIZE,
    PROBABILITIES,
    OUTPUT,
    QUANTIZE_OUTPUT,
    PROJECT_OUTPUT,
];

/// Those of a part of a layer's attention.
pub fn of(part: Part) -> &'static [&'static str] {
    match part {
        Part::Head(_) => &ALL[..10],
        Part::Whole => &ALL,
    }
}
