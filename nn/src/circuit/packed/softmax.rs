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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clear::ClearEvaluator;

    /// Rows of 1, 2 … scores are the softmax of these however logarithms are added up: by a tree, one score after the other, and by trees of
    /// eight one after the other, where there are few rows. Each way takes n − 1 lookups of softplus.
    #[test]
    fn probabilities_are_those_of_the_softmax_in_any_order() {
        const TURN: f64 = 48.0;
        let score = |row: usize, column: usize| f64::from(((37 * row + 11 * column) % 23) as u32) / 4.0;
        for (rows, groups) in [(1..=8, 8), (1..=20, 1), (9..=20, 8), (60..=64, 8)] {
            let rows: Vec<usize> = rows.collect();
            assert_eq!(group(rows.len(), *rows.last().unwrap()), groups);
            let scores: Rows<f64> = rows.iter().map(|&n| (0..n).map(|j| score(n, j) / TURN).collect()).collect();
            let tables = [SmoothTable::softplus(TURN, 0.24), SmoothTable::exponential(TURN / 2.0, 0.48, 0.0, 1.0)];
            let mut evaluator = ClearEvaluator::new();
            let Ok(found) = evaluate(&mut evaluator, scores, &vec![tables; rows.len()], 1.0);
            for (&n, found) in rows.iter().zip(found) {
                let exponentials: Vec<f64> = (0..n).map(|j| score(n, j).exp()).collect();
                let sum: f64 = exponentials.iter().sum();
                assert!(exponentials.iter().zip(&found).all(|(x, p)| (x / sum - p).abs() < 1e-12), "{n}: {found:?}");
            }
            let softplus: usize = rows.iter().map(|n| n - 1).sum();
            let exponentials: usize = rows.iter().filter(|&&n| n > 1).sum();
            assert_eq!((evaluator.lookups(), evaluator.out_of_range()), (softplus + exponentials, 0));
        }
    }
}
