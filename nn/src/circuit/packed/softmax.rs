//! The softmax of scores in turns, by lookups of smooth functions.

use super::steps;
use crate::evaluator::{Rows, SmoothEvaluator, Use, look_up_rows, tree};
use crate::table::SmoothTable;

/// How many times more turns an exponential's argument has than a difference of scores: it has one sign only.
pub(super) const EXPONENT_FACTOR: i64 = 2;

/// The probabilities of rows of scores, one being `one` turns; `tables` are [`PackedHead::tables`] of each row's head. The only
/// probability of a row of one score is one.
///
/// ```text
/// L = log Σ_j exp(s_j)          by a tree of log(e^a + e^b) = b + softplus(a − b)
/// p = exp(s − L)
/// ```
///
/// # Errors
/// The evaluator's.
///
/// [`PackedHead::tables`]: super::PackedHead::tables
pub(super) fn evaluate<E: SmoothEvaluator>(
    evaluator: &mut E,
    scores: Rows<E::Lane>,
    tables: &[[SmoothTable; 2]],
    one: f64,
) -> Result<Rows<E::Lane>, E::Error> {
    let (softplus, exponential): (Vec<_>, Vec<_>) = tables.iter().map(|[first, second]| (first, second)).unzip();
    let logarithms = tree(evaluator, scores.clone(), |evaluator, differences| {
        look_up_rows(evaluator, steps::SOFTPLUS, differences, &softplus, Use::default())
    })?;
    let mut exponents = scores;
    for (row, logarithm) in exponents.iter_mut().zip(&logarithms) {
        if row.len() == 1 {
            row.clear();
        }
        for score in row {
            evaluator.add_scaled(score, logarithm, -1);
            let single = score.clone();
            evaluator.add_scaled(score, &single, EXPONENT_FACTOR - 1);
        }
    }
    let mut probabilities = look_up_rows(evaluator, steps::EXPONENTIAL, &exponents, &exponential, Use::default())?;
    probabilities.iter_mut().filter(|row| row.is_empty()).for_each(|row| row.push(evaluator.constant(one)));
    Ok(probabilities)
}
