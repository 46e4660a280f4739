//! The server's half of the packed attention: weights, ranges, and the data flow.

use super::softmax;
use super::steps;
use crate::clear::{ClearEvaluator, ClearTensor};
use crate::evaluator::{EXPONENT_FACTOR, Entries, Form, LinearMap, Side, SmoothEvaluator};
use crate::matrix::Matrix;
use crate::table::{Smooth, SmoothTable};
use std::ops::Range;

/// Of a quarter of a turn for differences, and of half a turn for exponents, what is kept free for noise.
///
/// A logarithm of a sum carries the noise of as many lookups as its tree has levels.
pub(super) fn headroom(max_tokens: usize) -> f64 {
    let levels = (max_tokens as f64).log2().max(3.0);
    5.0 / 32.0 * (levels / 3.0).sqrt()
}

/// Scores that are treated together: those of more than one head, as long as they are no more than this. Each may be a ciphertext.
const BATCH_SCORES: usize = 1024;

/// Weights of queries, keys or values, with biases.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedProjection {
    /// `[E, d]`.
    pub(super) weight: Matrix<i32>,
    /// `[d]`.
    pub(super) bias: Vec<i64>,
}

/// One head of the attention that a server evaluates.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedHead {
    pub(super) query: PackedProjection,
    pub(super) key: PackedProjection,
    /// `[E, O]`: to what the head adds to each output, per unit of probability. Biases are [`PackedProgram::output_bias`].
    pub(super) value: Matrix<i32>,
    pub(super) log_modulus: u32,
    pub(super) score_turn: f64,
    pub(super) headroom: f64,
    /// In units of score.
    pub(super) score_difference_limit: f64,
    /// The root mean square over tokens of the norm of a value, `[O]` integers, if all its parts were as large as the largest.
    pub(super) value_norm: f64,
}

impl PackedHead {
    /// Integer weights `[E, d]` and biases `[d]` of queries.
    pub fn query(&self) -> (&Matrix<i32>, &[i64]) {
        (&self.query.weight, &self.query.bias)
    }

    /// Integer weights `[E, d]` and biases `[d]` of keys.
    pub fn key(&self) -> (&Matrix<i32>, &[i64]) {
        (&self.key.weight, &self.key.bias)
    }

    /// Integer weights `[E, O]` of values.
    pub fn value(&self) -> &Matrix<i32> {
        &self.value
    }

    /// log2 t: an integer q·kᵀ is that over t of a turn.
    pub fn log_modulus(&self) -> u32 {
        self.log_modulus
    }

    /// What one turn of score stands for.
    pub fn score_turn(&self) -> f64 {
        self.score_turn
    }

    /// What one turn of an exponential's argument stands for.
    pub fn exponent_turn(&self) -> f64 {
        self.score_turn / EXPONENT_FACTOR as f64
    }

    /// How far differences of scores, and of logarithms of sums of their exponentials, may be from zero: in turns, less than 1/4.
    pub fn difference_limit_turns(&self) -> f64 {
        self.score_difference_limit / self.score_turn
    }

    /// The part of the range of lookups that is kept free for noise: differences reach (1 − headroom)/4 of a turn, exponents twice
    /// that.
    pub fn headroom(&self) -> f64 {
        self.headroom
    }

    /// The root mean square over the calibration set's tokens of the norm of a value's O integers; if they are in parts, as it would be
    /// if all were as large as the largest one.
    pub fn value_norm(&self) -> f64 {
        self.value_norm
    }

    /// The largest integers of the weights of queries, keys and values.
    pub fn weight_levels(&self) -> [u32; 3] {
        [&self.query.weight, &self.key.weight, &self.value]
            .map(|weight| weight.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0))
    }

    /// The maps to queries, keys and values.
    pub fn maps(&self) -> [LinearMap<'_>; 3] {
        let Self { query, key, value, log_modulus, .. } = self;
        let factor = |side| Form::Cyclic(side, *log_modulus);
        let weighed = Form::Weighed { norm: self.value_norm };
        [
            LinearMap { weight: &query.weight, bias: &query.bias, form: factor(Side::Left) },
            LinearMap { weight: &key.weight, bias: &key.bias, form: factor(Side::Right) },
            LinearMap { weight: value, bias: &[], form: weighed },
        ]
    }

    /// What the softmax reads: [`Smooth::Softplus`] of differences, and [`Smooth::Exponential`] of exponents, a probability of one being
    /// `one` turns. Half of what is kept free for noise of exponents' half a turn is above zero.
    pub fn tables(&self, one: f64) -> [SmoothTable; 2] {
        let limit = self.difference_limit_turns();
        let exponential =
            SmoothTable::exponential(self.exponent_turn(), EXPONENT_FACTOR as f64 * limit, self.headroom / 4.0, one);
        [SmoothTable::softplus(self.score_turn, limit), exponential]
    }
}

/// The part of a layer's attention that a server evaluates: its heads, on one input.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedProgram {
    pub(super) heads: Vec<PackedHead>,
    pub(super) input_levels: i32,
    /// `[O]`, in units of the output's integers.
    pub(super) output_bias: Vec<f64>,
    pub(super) output_limit: f64,
    pub(super) max_tokens: usize,
}

impl PackedProgram {
    /// How many numbers a channel of the output has at most.
    pub(crate) const MOST_PARTS: usize = 4;

    /// The heads, whose outputs are added up.
    pub fn heads(&self) -> &[PackedHead] {
        &self.heads
    }

    /// E.
    pub fn embedding_size(&self) -> usize {
        self.heads[0].value.rows()
    }

    /// d.
    pub fn head_size(&self) -> usize {
        self.heads[0].query.weight.cols()
    }

    /// O, how many numbers an output has: one or some for each channel, of which there are d of one head, E of the whole attention.
    pub fn output_size(&self) -> usize {
        self.output_bias.len()
    }

    /// How many numbers a channel of the output has.
    pub(crate) fn output_parts(&self) -> usize {
        self.output_size() / if self.heads.len() == 1 { self.head_size() } else { self.embedding_size() }.max(1)
    }

    /// The most tokens of an input.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The largest absolute value of an input.
    pub fn input_levels(&self) -> i32 {
        self.input_levels
    }

    /// What is added to every output, `[O]`: the biases of values and of the output projection, and the image of the input's center.
    pub fn output_bias(&self) -> &[f64] {
        &self.output_bias
    }

    /// How far outputs may be from their biases, in their integers' units.
    pub fn output_limit(&self) -> f64 {
        self.output_limit
    }

    /// The part of half a turn that is kept free for noise beyond the limit of outputs: an eighth up to 64 tokens, more than 20 standard
    /// deviations of the whole attention's; and more for more, since an output has the noise of as many probabilities.
    pub fn output_headroom(&self) -> f64 {
        const TOKENS: f64 = 64.0;
        (self.max_tokens as f64 / TOKENS).max(1.0).sqrt() / 8.0
    }

    /// The turns that an output of one unit takes: outputs up to the limit take half a turn less what it keeps free.
    pub fn output_turns(&self) -> f64 {
        0.5 * (1.0 - self.output_headroom()) / self.output_limit
    }

    /// The rows of `span`, `[rows, O]`, of an input `[T, E]`; in turns, of which an output of one unit takes [`Self::output_turns`].
    ///
    /// # Errors
    /// The evaluator's.
    pub fn evaluate<E: SmoothEvaluator>(
        &self,
        evaluator: &mut E,
        input: &E::Tensor,
        span: Span,
    ) -> Result<E::Tensor, E::Error> {
        self.attend(evaluator, input, span, self.output_turns())
    }

    /// The rows of `span` without noise, `[rows, O]` in units of the output's integers. The evaluator can tell afterwards what happened.
    ///
    /// # Panics
    /// If the input is not of the program and the span.
    pub fn evaluate_clear(
        &self,
        evaluator: &mut ClearEvaluator<SmoothTable>,
        input: &Matrix<i32>,
        span: Span,
    ) -> Matrix<f64> {
        assert_eq!((input.rows(), input.cols()), (span.tokens(), self.embedding_size()), "an input of the span");
        let Ok(output) = self.attend(evaluator, &ClearTensor::input(input), span, 1.0);
        let numbers = output.matrix(|x| x);
        let deviations = numbers.iter().zip(self.output_bias.iter().cycle()).map(|(x, bias)| x - bias);
        evaluator.count_overflows(steps::OUTPUT, deviations.filter(|x| x.abs() > self.output_limit).count());
        numbers
    }

    /// The attention, an output of one unit being `one` turns.
    fn attend<E: SmoothEvaluator>(
        &self,
        evaluator: &mut E,
        input: &E::Tensor,
        span: Span,
        one: f64,
    ) -> Result<E::Tensor, E::Error> {
        let causal = Entries::Causal { first: span.rows().start };
        let mut sum = None;
        for heads in self.head_batches(span) {
            let (mut factors, mut values, mut tables) = (Vec::new(), Vec::new(), Vec::new());
            for head in &self.heads[heads] {
                let projected = evaluator.linear(steps::PROJECT, input, &head.maps())?;
                let Ok([query, key, value]) = <[E::Tensor; 3]>::try_from(projected) else {
                    unreachable!("one result to a map")
                };
                factors.push([query, key]);
                values.push(value);
                tables.extend(std::iter::repeat_n(head.tables(one), span.rows().len()));
            }
            let products = evaluator.multiply(steps::SCORES, factors, causal)?.into_iter();
            let scores = products.flat_map(|product| evaluator.lanes(product)).collect();
            let mut probabilities = softmax::evaluate(evaluator, scores, &tables, one)?.into_iter();
            for value in values {
                let weights = evaluator.pack(probabilities.by_ref().take(span.rows().len()).collect(), Form::Weights);
                sum = Some(evaluator.weigh(steps::OUTPUT, weights, value, sum)?);
            }
        }
        let biases: Vec<f64> = self.output_bias.iter().map(|bias| bias * one).collect();
        evaluator.add_constants(steps::OUTPUT, sum.expect("a program has a head"), &biases)
    }

    /// The heads, in batches that are treated together.
    pub fn head_batches(&self, span: Span) -> Vec<Range<usize>> {
        let scores: usize = span.rows().map(|row| row + 1).sum();
        let heads = self.heads.len();
        let batch = (BATCH_SCORES / scores).max(1);
        (0..heads).step_by(batch).map(|first| first..heads.min(first + batch)).collect()
    }
}

/// The tokens that a run is about: 0 .. `tokens` are attended to, by those from `first` on.
///
/// Rows of attention do not depend on later tokens, so what was computed for the tokens before `first` need not be computed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    first: usize,
    tokens: usize,
}

impl Span {
    /// Rows `first .. tokens`.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(first: usize, tokens: usize) -> Self {
        assert!(first < tokens, "rows {first} .. {tokens}");
        Self { first, tokens }
    }

    /// All rows of `tokens` tokens.
    ///
    /// # Panics
    /// If `tokens` is 0.
    pub fn all(tokens: usize) -> Self {
        Self::new(0, tokens)
    }

    /// T.
    pub fn tokens(self) -> usize {
        self.tokens
    }

    /// The rows that are computed.
    pub fn rows(self) -> Range<usize> {
        self.first..self.tokens
    }

    /// How many results of softplus a logarithm of a row may contain beside those that its readings contain: in a tree one, and where
    /// scores are added up one after the other as many as there are.
    pub fn results_of_logarithms(self) -> usize {
        if self.tokens > softmax::TREE { self.tokens - 1 } else { 1 }
    }

    /// The number of lookups of `function` of one head: i softplus in row i, and i + 1 exponentials, but none in row 0.
    pub fn lookups(self, function: Smooth) -> usize {
        let in_row = |row: usize| match function {
            Smooth::Softplus => row,
            Smooth::Exponential => (row + 1) * usize::from(row > 0),
            _ => 0,
        };
        self.rows().map(in_row).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head of one channel, whose scores are products of inputs over 2^8 turns.
    fn products() -> PackedProgram {
        let one = || Matrix::from_fn(1, 1, |_, _| 1);
        let projection = || PackedProjection { weight: one(), bias: vec![0] };
        let head = PackedHead {
            query: projection(),
            key: projection(),
            value: one(),
            log_modulus: 8,
            score_turn: 4.0,
            headroom: 0.2,
            score_difference_limit: 0.8,
            value_norm: 1.0,
        };
        PackedProgram {
            heads: vec![head],
            input_levels: 127,
            output_bias: vec![0.0],
            output_limit: 100.0,
            max_tokens: 2,
        }
    }

    /// Scores of 0 and s²/256 turns: the exponent of the smaller one, and then the softplus, are beyond their limits, also where the
    /// difference is one or several whole turns, which look like none. Outputs near s are beyond theirs from 100 on.
    #[test]
    fn differences_of_whole_turns_are_out_of_range() {
        let program = products();
        for (second, expected) in [(0, 0), (3, 0), (7, 1), (8, 2), (16, 2), (17, 2), (64, 2), (127, 2)] {
            let input = Matrix::new(2, 1, vec![0, second]).unwrap();
            let mut evaluator = ClearEvaluator::new();
            let numbers = program.evaluate_clear(&mut evaluator, &input, Span::all(2));
            assert_eq!(evaluator.out_of_range(), expected, "{second}");
            let difference = f64::from(second * second) / 256.0;
            assert_eq!(evaluator.record(steps::SOFTPLUS).unwrap().inputs, Some([-difference; 2]));
            assert_eq!(evaluator.overflows(), numbers.iter().filter(|x| x.abs() > 100.0).count(), "{second}");
        }
    }

    #[test]
    fn outputs_beyond_their_limit_are_counted() {
        let program = PackedProgram { output_limit: 0.5, output_bias: vec![3.0], ..products() };
        let input = Matrix::new(2, 1, vec![0, 3]).unwrap();
        let mut evaluator = ClearEvaluator::new();
        let numbers = program.evaluate_clear(&mut evaluator, &input, Span::all(2));
        // 3 and 0, weighed by probabilities of about one half each, from the bias of 3.
        assert!((numbers[(0, 0)] - 3.0).abs() < 1e-12 && numbers[(1, 0)] > 4.0, "{numbers:?}");
        assert_eq!((evaluator.out_of_range(), evaluator.overflows()), (0, 1));
    }
}
