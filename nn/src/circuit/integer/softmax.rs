//! The softmax of integer scores, by lookups and products.

use super::steps;
use super::tables::{factor_use, table_over};
use crate::engine::{Engine, FactorUse, LookupTable, Product, Use};
use crate::error::Error;
use crate::matrix::Matrix;
use crate::quantizers::Quantizer;
use crate::range::IntegerRange;

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
pub(super) fn evaluate<E: Engine>(
    engine: &mut E,
    softmaxes: &[&IntegerSoftmax],
    scores: &[Vec<E::Value>],
    result: Use,
) -> Result<Vec<Vec<E::Value>>, E::Error> {
    let normalized =
        softmaxes.iter().map(|softmax| softmax.normalized).reduce(FactorUse::union).expect("at least one row");
    let maxima = row_maxima(engine, softmaxes, scores)?;
    let differences: Vec<Vec<E::Value>> = scores
        .iter()
        .zip(&maxima)
        .map(|(row, maximum)| row.iter().map(|score| engine.subtract(score, maximum)).collect())
        .collect();
    let inverse_bits = widest(softmaxes, |softmax| softmax.inverse.bits());
    let summed = Use { factor: Some(normalized), ..Use::lookup(inverse_bits) };
    let tables = tables_of(softmaxes, |softmax| &softmax.exponential);
    let exponentials = lookup_rows(engine, steps::EXPONENTIAL, &differences, &tables, summed)?;
    let products = normalize(engine, softmaxes, &exponentials, normalized)?;
    let tables = tables_of(softmaxes, |softmax| &softmax.probability);
    lookup_rows(engine, steps::PROBABILITIES, &products, &tables, result)
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
fn row_maxima<E: Engine>(
    engine: &mut E,
    softmaxes: &[&IntegerSoftmax],
    rows: &[Vec<E::Value>],
) -> Result<Vec<E::Value>, E::Error> {
    let tables = tables_of(softmaxes, |softmax| &softmax.maximum);
    let mut level = rows.to_vec();
    while level.iter().any(|row| row.len() > 1) {
        let differences: Vec<Vec<E::Value>> = level
            .iter()
            .map(|row| row.chunks_exact(2).map(|pair| engine.subtract(&pair[0], &pair[1])).collect())
            .collect();
        let positive = lookup_rows(engine, steps::MAXIMUM, &differences, &tables, score_use(softmaxes))?;
        for (row, positive) in level.iter_mut().zip(&positive) {
            let pairs = row.chunks(2).enumerate();
            *row = pairs
                .map(|(index, pair)| match pair {
                    [_, second] => engine.add(second, &positive[index]),
                    pair => pair[0].clone(),
                })
                .collect();
        }
    }
    Ok(level.into_iter().map(|mut row| row.remove(0)).collect())
}

/// e·i of each row, with i the inverse of the row's sum.
fn normalize<E: Engine>(
    engine: &mut E,
    softmaxes: &[&IntegerSoftmax],
    rows: &[Vec<E::Value>],
    factor: FactorUse,
) -> Result<Vec<Vec<E::Value>>, E::Error> {
    let sums: Vec<E::Value> = rows
        .iter()
        .map(|row| row[1..].iter().fold(row[0].clone(), |sum, exponential| engine.add(&sum, exponential)))
        .collect();
    let tables = tables_of(softmaxes, |softmax| &softmax.inverse);
    let inverses = engine.lookup(steps::INVERSE, &sums, &tables, Use::factor(factor))?;
    let single = |value: &E::Value| Matrix::from_fn(1, 1, |_, _| Some(value.clone()));
    let inverses: Vec<_> = inverses.iter().map(single).collect();
    let matrices: Vec<_> = rows.iter().map(|row| Matrix::from_fn(1, row.len(), |_, col| row[col].clone())).collect();
    let needed: Vec<_> = rows.iter().map(|row| Matrix::from_fn(1, row.len(), |_, _| true)).collect();
    let products: Vec<Product<'_, E::Value>> = inverses
        .iter()
        .zip(&matrices)
        .zip(&needed)
        .map(|((left, right), needed)| Product { left, right, needed })
        .collect();
    let results = engine.matrix_products(steps::NORMALIZE, &products, factor)?;
    Ok(results.into_iter().map(|row| row.into_data().into_iter().flatten().collect()).collect())
}

/// The table of each row on all its entries, of rows of different lengths, in one call.
pub(super) fn lookup_rows<E: Engine>(
    engine: &mut E,
    step: &'static str,
    rows: &[Vec<E::Value>],
    tables: &[&LookupTable],
    result: Use,
) -> Result<Vec<Vec<E::Value>>, E::Error> {
    let values: Vec<E::Value> = rows.iter().flatten().cloned().collect();
    let tables: Vec<&LookupTable> =
        rows.iter().zip(tables).flat_map(|(row, &table)| std::iter::repeat_n(table, row.len())).collect();
    let mut results = engine.lookup(step, &values, &tables, result)?.into_iter();
    Ok(rows.iter().map(|row| results.by_ref().take(row.len()).collect()).collect())
}
