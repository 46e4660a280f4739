//! The softmax of scores in turns, by lookups of smooth functions.

use super::steps;
use crate::evaluator::{EXPONENT_FACTOR, Rows, SmoothEvaluator, Use, exponents, look_up_rows, tree};
use crate::table::SmoothTable;

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
    let mut exponents = exponents(evaluator, scores, &logarithms, std::iter::repeat(EXPONENT_FACTOR));
    exponents.iter_mut().filter(|row| row.len() == 1).for_each(Vec::clear);
    let mut probabilities = look_up_rows(evaluator, steps::EXPONENTIAL, &exponents, &exponential, Use::default())?;
    probabilities.iter_mut().filter(|row| row.is_empty()).for_each(|row| row.push(evaluator.constant(one)));
    Ok(probabilities)
}
