//! The softmax of scores in turns, by lookups of smooth functions.

use super::steps;
use crate::evaluator::{EXPONENT_FACTOR, Rows, SmoothEvaluator, Use, exponents, look_up_rows, tree};
use crate::table::SmoothTable;

/// Rows up to so many scores have a balanced tree.
pub(super) const TREE: usize = 8;
/// How many lookups a round has at least, where readings one after the other have none that wait for others.
const ROUND: usize = 16;

/// Of how many neighbours the logarithms come from a tree, before they are added up one after the other.
///
/// What noise is read with a difference L(A) − L(B) comes into L(A ∪ B) with the slope of softplus, the share of A in the sum. At the root of
/// a tree of scores that are alike that is a half, and the variances of all readings add up to half of one reading's. If single scores are
/// added one after the other, each comes in with its own probability: of n the sum is 1/n of one reading's, by as many lookups, in n − 1 rounds.
/// Of short rows that gains little, and of few rows a round would be too few lookups.
fn group(rows: usize, longest: usize) -> usize {
    if longest > TREE && rows >= ROUND { 1 } else { TREE }
}

/// The probabilities of rows of scores, one being `one` turns; `tables` are [`PackedHead::tables`] of each row's head. The only
/// probability of a row of one score is one.
///
/// ```text
/// L = log Σ_j exp(s_j)          by trees of log(e^a + e^b) = b + softplus(a − b)
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
    let group = group(scores.len(), scores.iter().map(Vec::len).max().unwrap_or(0));
    let logarithms = tree(evaluator, scores.clone(), group, |evaluator, differences| {
        look_up_rows(evaluator, steps::SOFTPLUS, differences, &softplus, Use::default())
    })?;
    let mut exponents = exponents(evaluator, scores, &logarithms, std::iter::repeat(EXPONENT_FACTOR));
    exponents.iter_mut().filter(|row| row.len() == 1).for_each(Vec::clear);
    let mut probabilities = look_up_rows(evaluator, steps::EXPONENTIAL, &exponents, &exponential, Use::default())?;
    probabilities.iter_mut().filter(|row| row.is_empty()).for_each(|row| row.push(evaluator.constant(one)));
    Ok(probabilities)
}
