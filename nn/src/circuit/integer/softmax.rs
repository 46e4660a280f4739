//! The softmax of integer scores, by lookups and products.

use super::steps;
use super::tables::{factor_use, table_over};
use crate::error::Error;
use crate::evaluator::{Entries, Evaluator, FactorUse, Form, Rows, Side, Use, look_up_rows, tree};
use crate::quantizers::Quantizer;
use crate::range::IntegerRange;
use crate::table::LookupTable;

/// The tables of the softmax of rows of quantized scores u, and how its intermediates are used.
///
/// ```text
/// m  = max(row)                by a tree of max(a, b) = b + relu(a − b)
/// e  = round(exp(u − m) / s)   s = 1/L, L the largest level
/// i  = round(1 / (Σe·s) / s)
/// p  = round(e·i·s·s / s)
/// ```
///
/// Every range here follows from the ranges of the levels, so that no lookup can leave its table.
///
/// # A rounded maximum
/// When the table of relu rounds r low bits away, a step of the tree errs by −(2^(r−1) − 1) ..= 2^(r−1), and after all
/// levels of the tree m may exceed the true maximum, or fall short of it, by as many times that. A softmax does not
/// depend on what is subtracted, but the tables do: [`unused_levels`] is the number of levels of u that stay unused so
/// that all differences still fit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct IntegerSoftmax {
    maximum: LookupTable,
    exponential: LookupTable,
    inverse: LookupTable,
    normalized: FactorUse,
    probability: LookupTable,
}

/// How far a maximum by a tree can be above and below the true one.
#[derive(Clone, Copy)]
struct MaximumError {
    above: i64,
    below: i64,
}

impl MaximumError {
    /// Of the maximum of at most `tokens` integers by lookups of `bits` bits, at most `msbs` of which are kept.
    fn of(bits: u32, msbs: u32, tokens: usize) -> Self {
        let half = (1_i64 << bits.saturating_sub(msbs)) / 2;
        let depth = tokens.next_power_of_two().trailing_zeros() as i64;
        Self { above: depth * half, below: depth * (half - 1).max(0) }
    }
}

/// The levels of the scores that stay unused for the sake of the maximum; see [`IntegerSoftmax`].
///
/// With U the largest level in use, the maximum is in −U ..= U + above, so that the differences of the tree need
/// 2(2U + above) + 1 <= 2^(bits+1) integers, and those with the maximum 2U + above + below + 1 <= 2^bits. As
/// 2^bits = 2L + 2, both hold when 2(L − U) >= above + below − 1.
pub(super) fn unused_levels(bits: u32, msbs: u32, tokens: usize) -> i32 {
    let MaximumError { above, below } = MaximumError::of(bits + 1, msbs, tokens);
    i32::try_from(((above + below) / 2).max(0)).unwrap_or(i32::MAX)
}

impl IntegerSoftmax {
    /// The tables for rows of at most `tokens` scores, quantized by `scores`, to probabilities quantized by `levels`
    /// (both of `bits` bits).
    pub(super) fn new(
        bits: u32,
        msbs: u32,
        tokens: usize,
        scores: &Quantizer,
        levels: &Quantizer,
    ) -> Result<Self, Error> {
        let used = scores.levels() as i64;
        let top = levels.levels() as i64;
        let error = MaximumError::of(bits + 1, msbs, tokens);
        let difference = 2 * used + error.above;
        let relu = |a: i64| a.max(0);
        let maximum = table_over(steps::MAXIMUM, IntegerRange::symmetric(difference), msbs, relu)?;
        let exponential =
            table_over(steps::EXPONENTIAL, IntegerRange { min: -difference, max: error.below }, msbs, |difference| {
                levels.quantize(scores.dequantize(difference).exp()) as i64
            })?;
        // The largest score of a row differs from its maximum by at most the error of the maximum.
        let largest = (-error.above..=error.below).map(|difference| exponential.evaluate(difference));
        let sums = IntegerRange { min: largest.min().unwrap_or(0), max: tokens as i64 * top };
        let inverse = table_over(steps::INVERSE, sums, msbs, |sum| {
            levels.quantize(1.0 / levels.dequantize(sum).max(f64::MIN_POSITIVE)) as i64
        })?;
        let products = IntegerRange { min: 0, max: top * top };
        let probability = table_over(steps::PROBABILITIES, products, msbs, |product| {
            levels.quantize(levels.scale() * levels.dequantize(product)) as i64
        })?;
        let normalized = factor_use(products, Some(&probability), levels.levels(), levels.levels());
        Ok(Self { maximum, exponential, inverse, normalized, probability })
    }

    /// Of the tables in the order of [`Self::tables`], and the use of the factors of the normalization.
    pub(super) fn from_tables(tables: [LookupTable; 4], normalized: FactorUse) -> Self {
        let [maximum, exponential, inverse, probability] = tables;
        Self { maximum, exponential, inverse, normalized, probability }
    }

    /// The tables, each with its step.
    pub(super) fn tables(&self) -> [(&'static str, &LookupTable); 4] {
        [
            (steps::MAXIMUM, &self.maximum),
            (steps::EXPONENTIAL, &self.exponential),
            (steps::INVERSE, &self.inverse),
            (steps::PROBABILITIES, &self.probability),
        ]
    }

    /// The use of the factors of the normalization.
    pub(super) fn normalized(&self) -> FactorUse {
        self.normalized
    }

    /// Bits of the table that reads the normalized exponentials.
    pub(super) fn probability_bits(&self) -> u32 {
        self.probability.bits()
    }

    /// A bound of Σp over a row of at most `tokens` scores.
    ///
    /// Each p is at most (e·i + r)/L + 1/2, with r what rounding can add before the table is read. So Σp is at most
    /// (Σe·i(Σe) + tokens·r)/L + tokens/2; the bound is the largest over all sums.
    pub(super) fn sum_bound(&self, tokens: usize, levels: &Quantizer) -> i64 {
        let top = levels.levels() as i64;
        let sums = self.inverse.first().max(0)..=tokens as i64 * top;
        let scaled = sums.map(|sum| sum * self.inverse.evaluate(sum)).max().unwrap_or(0);
        (scaled + tokens as i64 * self.probability.rounding_offset()) / top + tokens as i64 / 2 + 1
    }
}

/// What the scores of rows, each with its tables, are needed for.
pub(super) fn score_use(softmaxes: &[&IntegerSoftmax]) -> Use {
    let bits = |softmax: &&IntegerSoftmax| softmax.maximum.bits().max(softmax.exponential.bits());
    Use::lookup(widest(softmaxes, bits))
}

/// The probabilities of rows of quantized scores, by the tables of each row: those of its head.
pub(super) fn evaluate<E: Evaluator<Table = LookupTable>>(
    evaluator: &mut E,
    softmaxes: &[&IntegerSoftmax],
    scores: &[Vec<E::Lane>],
    result: Use,
) -> Result<Rows<E::Lane>, E::Error> {
    let normalized =
        softmaxes.iter().map(|softmax| softmax.normalized).reduce(FactorUse::union).expect("at least one row");
    let maxima = row_maxima(evaluator, softmaxes, scores)?;
    let mut differences = scores.to_vec();
    for (row, maximum) in differences.iter_mut().zip(&maxima) {
        row.iter_mut().for_each(|score| evaluator.add_scaled(score, maximum, -1));
    }
    let inverse_bits = widest(softmaxes, |softmax| softmax.inverse.bits());
    let summed = Use { factor: Some(normalized), ..Use::lookup(inverse_bits) };
    let tables = tables_of(softmaxes, |softmax| &softmax.exponential);
    let exponentials = look_up_rows(evaluator, steps::EXPONENTIAL, &differences, &tables, summed)?;
    let products = normalize(evaluator, softmaxes, exponentials, normalized)?;
    let tables = tables_of(softmaxes, |softmax| &softmax.probability);
    look_up_rows(evaluator, steps::PROBABILITIES, &products, &tables, result)
}

/// The most bits of a table of any row.
fn widest(softmaxes: &[&IntegerSoftmax], bits: impl Fn(&&IntegerSoftmax) -> u32) -> u32 {
    softmaxes.iter().map(bits).max().unwrap_or(0)
}

/// One of the tables of each row.
fn tables_of<'a>(
    softmaxes: &[&'a IntegerSoftmax],
    table: impl Fn(&'a IntegerSoftmax) -> &'a LookupTable,
) -> Vec<&'a LookupTable> {
    softmaxes.iter().map(|&softmax| table(softmax)).collect()
}

/// The maximum of each row, all rows together, one level of the tree after the other.
fn row_maxima<E: Evaluator<Table = LookupTable>>(
    evaluator: &mut E,
    softmaxes: &[&IntegerSoftmax],
    rows: &[Vec<E::Lane>],
) -> Result<Vec<E::Lane>, E::Error> {
    let tables = tables_of(softmaxes, |softmax| &softmax.maximum);
    let score_use = score_use(softmaxes);
    tree(evaluator, rows.to_vec(), usize::MAX, |evaluator, differences| {
        look_up_rows(evaluator, steps::MAXIMUM, differences, &tables, score_use)
    })
}

/// e·i of each row, with i the inverse of the row's sum.
fn normalize<E: Evaluator<Table = LookupTable>>(
    evaluator: &mut E,
    softmaxes: &[&IntegerSoftmax],
    rows: Rows<E::Lane>,
    factor: FactorUse,
) -> Result<Rows<E::Lane>, E::Error> {
    let sum = |row: &Vec<E::Lane>| {
        let mut sum = row[0].clone();
        row[1..].iter().for_each(|exponential| evaluator.add_scaled(&mut sum, exponential, 1));
        sum
    };
    let sums: Vec<E::Lane> = rows.iter().map(sum).collect();
    let tables = tables_of(softmaxes, |softmax| &softmax.inverse);
    let inverses = evaluator.look_up(steps::INVERSE, &sums, &tables, Use::factor(factor))?;
    let mut pack = |row, side| evaluator.pack(vec![row], Form::Factor(side, factor));
    let pairs = inverses.into_iter().zip(rows);
    let pairs = pairs.map(|(inverse, row)| [pack(vec![inverse], Side::Left), pack(row, Side::Right)]).collect();
    let products = evaluator.multiply(steps::NORMALIZE, pairs, Entries::All)?;
    Ok(products.into_iter().flat_map(|product| evaluator.lanes(product)).collect())
}
