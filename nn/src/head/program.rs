//! The server's half of a head: its integers, and the data flow.

use super::softmax::{IntegerSoftmax, lookup_rows};
use super::{HeadOptions, steps};
use crate::engine::{Engine, FactorUse, LookupTable, Product, Use};
use crate::error::Error;
use crate::matrix::Matrix;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Everything that a server needs to compute a head, and nothing that only the client needs.
///
/// E is the size of an embedding, d that of the head, T the number of tokens of an input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct HeadProgram {
    pub(super) projection: Projection,
    pub(super) scores: Scores,
    pub(super) softmax: IntegerSoftmax,
    pub(super) output: FactorUse,
    pub(super) max_tokens: usize,
}

/// From the input to q, k and v.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Projection {
    /// Bits of the input, with the sign.
    pub(super) input_bits: u32,
    /// `[E, 3d]`: to q, to k, to v.
    pub(super) weight: Matrix<i32>,
    /// Bits of the widest table below.
    pub(super) accumulator_bits: u32,
    /// Tables from accumulators to q, k and v.
    pub(super) tables: Vec<LookupTable>,
    /// `[3d]`: which table each channel has. Channels whose biases round to the same integer share one.
    pub(super) table_of_channel: Vec<usize>,
}

/// From q and k to the scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Scores {
    pub(super) factor: FactorUse,
    pub(super) table: LookupTable,
}

/// What a program is read from; it is checked before it becomes one.
#[derive(Deserialize)]
struct Parts {
    projection: Projection,
    scores: Scores,
    softmax: IntegerSoftmax,
    output: FactorUse,
    max_tokens: usize,
}

impl TryFrom<Parts> for HeadProgram {
    type Error = Error;

    fn try_from(Parts { projection, scores, softmax, output, max_tokens }: Parts) -> Result<Self, Error> {
        let Projection { input_bits, weight, accumulator_bits, tables, table_of_channel } = &projection;
        let channels = weight.cols();
        if weight.rows() == 0 || channels == 0 || channels % 3 != 0 || table_of_channel.len() != channels {
            let expected = format!("[E, 3d], with a table for each of the {} channels", table_of_channel.len());
            return Err(Error::shape("the weight of a head", expected, &[weight.rows(), channels]));
        }
        let factors = [scores.factor, softmax.normalized(), output];
        let bits_are_valid = HeadOptions::BITS.contains(input_bits)
            && tables.iter().all(|table| table.bits() <= *accumulator_bits)
            && *accumulator_bits <= LookupTable::MAX_BITS
            && factors.iter().all(|factor| factor.product_bits <= 40 && factor.operand_bits <= 40)
            && weight.iter().all(|entry| entry.unsigned_abs() < 1 << input_bits);
        if !bits_are_valid {
            return Err(Error::out_of_range(
                "the bits of a head program",
                "inconsistent",
                "those that calibration gave",
            ));
        }
        if table_of_channel.iter().any(|&table| table >= tables.len()) {
            return Err(Error::out_of_range("the table of a channel", "missing", "one of the program's tables"));
        }
        check_tokens(max_tokens)?;
        Ok(Self { projection, scores, softmax, output, max_tokens })
    }
}

/// Checks the largest number of tokens of a head.
pub(super) fn check_tokens(tokens: usize) -> Result<(), Error> {
    if (1..=HeadOptions::MAX_TOKENS).contains(&tokens) {
        return Ok(());
    }
    Err(Error::out_of_range("the largest number of tokens", tokens, format!("in 1 ..= {}", HeadOptions::MAX_TOKENS)))
}

impl HeadProgram {
    /// E, the size of an embedding.
    pub fn embedding_size(&self) -> usize {
        self.projection.weight.rows()
    }

    /// d, the size of the head.
    pub fn head_size(&self) -> usize {
        self.projection.weight.cols() / 3
    }

    /// The most tokens of an input.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Bits of the input's integers, with the sign: they lie in `−(2^(bits−1) − 1) ..= 2^(bits−1) − 1`.
    pub fn input_bits(&self) -> u32 {
        self.projection.input_bits
    }

    /// The integer weights, `[E, 3d]`: to q, to k, to v.
    pub fn weight(&self) -> &Matrix<i32> {
        &self.projection.weight
    }

    /// The bits that [`Engine::project`] is called with.
    pub fn accumulator_bits(&self) -> u32 {
        self.projection.accumulator_bits
    }

    /// Every different lookup table, each with its step.
    pub fn tables(&self) -> impl Iterator<Item = (&'static str, &LookupTable)> {
        let projection = self.projection.tables.iter().map(|table| (steps::QUERY_KEY_VALUE, table));
        projection.chain([(steps::QUANTIZE_SCORES, &self.scores.table)]).chain(self.softmax.tables())
    }

    /// The use of the factors of every kind of product, each with its step.
    pub fn factors(&self) -> [(&'static str, FactorUse); 3] {
        [
            (steps::SCORES, self.scores.factor),
            (steps::NORMALIZE, self.softmax.normalized()),
            (steps::OUTPUT, self.output),
        ]
    }

    /// The head on an input of `tokens` tokens: `[T, E] -> [T, d]`, in units of [`HeadClient::output_scale`].
    ///
    /// T·3d lookups for q, k and v; T(T+1)/2 for each of the scores, exponentials and probabilities; T(T−1)/2 for the
    /// maxima; T inverses.
    ///
    /// # Errors
    /// Those of the engine.
    ///
    /// # Panics
    /// If `tokens` is 0 or more than [`Self::max_tokens`], or the engine's matrices do not have that many rows.
    ///
    /// [`HeadClient::output_scale`]: super::HeadClient::output_scale
    pub fn evaluate<E: Engine>(
        &self,
        engine: &mut E,
        input: &E::Input,
        tokens: usize,
    ) -> Result<Matrix<E::Value>, E::Error> {
        assert!((1..=self.max_tokens).contains(&tokens), "{tokens} tokens, at most {}", self.max_tokens);
        let size = self.head_size();
        let Projection { weight, accumulator_bits, .. } = &self.projection;
        let accumulators = engine.project(steps::PROJECT, input, weight, *accumulator_bits)?; // [T, 3d]
        assert_eq!((accumulators.rows(), accumulators.cols()), (tokens, 3 * size), "shape of the projection");
        let query_key = self.projection.requantize(engine, &accumulators, 0..2 * size, self.scores.factor)?; // [T, 2d]
        let value = self.projection.requantize(engine, &accumulators, 2 * size..3 * size, self.output)?; // [T, d]
        let scores = self.scores.evaluate(engine, &query_key, self.softmax.score_use())?; // rows of 1 ..= T
        let probability_use = Use { lookup_bits: None, factor: Some(self.output) };
        let probabilities = self.softmax.evaluate(engine, &scores, probability_use)?;
        let left = Matrix::from_fn(tokens, tokens, |row, col| probabilities[row].get(col).cloned());
        let needed = Matrix::from_fn(tokens, size, |_, _| true);
        let product = Product { left: &left, right: &value, needed: &needed };
        let output = engine.matrix_products(steps::OUTPUT, &[product], self.output)?.remove(0);
        Ok(output.map(|entry| entry.clone().expect("every entry of the output is needed")))
    }
}

impl Projection {
    /// q, k or v: the tables of some channels on their accumulators. `[T, 3d] -> [T, columns]`.
    fn requantize<E: Engine>(
        &self,
        engine: &mut E,
        accumulators: &Matrix<E::Value>,
        columns: Range<usize>,
        factor: FactorUse,
    ) -> Result<Matrix<E::Value>, E::Error> {
        let values = accumulators.columns(columns.clone());
        let channels = &self.table_of_channel[columns.clone()];
        let tables: Vec<&LookupTable> =
            (0..values.rows()).flat_map(|_| channels.iter().map(|&table| &self.tables[table])).collect();
        let result = Use { lookup_bits: None, factor: Some(factor) };
        let results = engine.lookup(steps::QUERY_KEY_VALUE, values.data(), &tables, result)?;
        Ok(Matrix::new(values.rows(), columns.len(), results).expect("an engine returns one result per lookup"))
    }
}

impl Scores {
    /// The quantized scores of q and k, `[T, 2d]`; row i has those of the tokens up to i.
    fn evaluate<E: Engine>(
        &self,
        engine: &mut E,
        query_key: &Matrix<E::Value>,
        result: Use,
    ) -> Result<Vec<Vec<E::Value>>, E::Error> {
        let (tokens, size) = (query_key.rows(), query_key.cols() / 2);
        let query = query_key.columns(0..size).map(|value| Some(value.clone()));
        let key = query_key.columns(size..2 * size).transpose();
        let causal = Matrix::from_fn(tokens, tokens, |row, col| col <= row);
        let product = Product { left: &query, right: &key, needed: &causal };
        let scores = engine.matrix_products(steps::SCORES, &[product], self.factor)?.remove(0);
        let rows: Vec<Vec<E::Value>> =
            (0..tokens).map(|row| scores.row(row).iter().flatten().cloned().collect()).collect();
        lookup_rows(engine, steps::QUANTIZE_SCORES, &rows, &self.table, result)
    }
}
