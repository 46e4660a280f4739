//! The end of a model: the final LayerNorm, and the map to the vocabulary.
//!
//! Softmax, and which logit is largest, stay what they are when all logits of a row grow by one number. So the map is centered over the
//! vocabulary, and logits are those of the model less their mean: a much smaller range. They are not read by tables, but decrypted, each
//! modulo one turn: all of a turn is range, but for what is left on either side of it ([`LIMIT`]).

use super::attention::one;
use super::calibrate::{Calibration, column_reach};
use super::norm::NormProgram;
use super::options::BlockOptions;
use super::scale::{ANSWER_GUARD, AnswerScale, StreamScale, centered};
use super::steps;
use crate::attention::Linear;
use crate::error::Error;
use crate::evaluator::{BlockEvaluator, Form, LinearMap};
use crate::gpt2::Gpt2;
use crate::matrix::Matrix;

/// How far from zero a logit may be, in turns. Beyond it is out of range, and from half a turn on it would be decrypted as another
/// number: what is between is for noise, and tells the client that logits have grown beyond what was calibrated for.
const LIMIT: f64 = 0.5 - 1.0 / 32.0;

/// The logits of the token after the last of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct LogitsProgram {
    pub(super) norm: NormProgram,
    /// `[E + 1, V]`.
    pub(super) weight: Matrix<i32>,
    /// `[V]`, in turns: the image of LayerNorm's bias, less the middles of logits.
    pub(super) constants: Vec<f64>,
}

impl LogitsProgram {
    /// Of a model whose stream has `scale`, on hidden states after its last block, each `[T, E]`; and what its numbers stand for.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if an option is out of its range; [`Error::Shape`] if there is no hidden state.
    pub(super) fn calibrate(
        model: &Gpt2,
        scale: &StreamScale,
        states: &[Matrix<f32>],
        options: &BlockOptions,
    ) -> Result<(Self, AnswerScale), Error> {
        options.check()?;
        let row = |state: &Matrix<f32>, row: usize| centered(state.row(row)).collect::<Vec<f64>>();
        let rows: Vec<Vec<f64>> =
            states.iter().flat_map(|state| (0..state.rows()).map(move |index| row(state, index))).collect();
        if rows.is_empty() {
            return Err(Error::shape("the calibration set", "at least one hidden state", &[0]));
        }
        let calibration = Calibration { scale, options: *options, of: () };
        let layer_norm = model.final_norm();
        let epsilon = f64::from(layer_norm.epsilon);
        let norm = calibration.norm(&rows, epsilon);
        let map = centered_map(model.output_matrix())?;
        let gain = (&layer_norm.weight[..], &layer_norm.bias[..]);
        let (weight, bias) = calibration.fold(gain, &map, calibration.factor_unit(norm.largest));
        let most = (0..weight.cols()).map(|token| options.weight_levels() / column_reach(&weight, token));
        let scale = Ranges::of(model, states).scale(most);
        let units: Vec<f64> = scale.turns.iter().map(|turns| 1.0 / turns).collect();
        let constant = |((&bias, middle), turns): ((&f64, &f64), &f64)| (bias - middle) * turns;
        let program = Self {
            norm: norm.program,
            weight: calibration.rounding(&rows, epsilon).round(&weight, &units),
            constants: bias.iter().zip(&scale.middles).zip(&scale.turns).map(constant).collect(),
        };
        Ok((program, scale))
    }

    /// V.
    pub fn size(&self) -> usize {
        self.constants.len()
    }

    /// The factor of the final LayerNorm.
    pub fn norm(&self) -> &NormProgram {
        &self.norm
    }

    /// The logits of the token after the one of which `[1, E + 1]` is the stream after the last block: `[1, V]`, in turns.
    ///
    /// # Errors
    /// The evaluator's.
    pub fn evaluate<E: BlockEvaluator>(&self, evaluator: &mut E, stream: &E::Tensor) -> Result<E::Tensor, E::Error> {
        let variances = self.norm.variances(evaluator, stream, None)?;
        let factors = NormProgram::factors(evaluator, &variances, self.norm.factor_table())?;
        let map = LinearMap { weight: &self.weight, bias: &[], form: Form::Image };
        let projected = one(evaluator.linear(steps::LOGITS, stream, &[map])?);
        let scaled = evaluator.scale_rows(steps::LOGITS, projected, &factors)?;
        let logits = evaluator.add_constants(steps::LOGITS, scaled, &self.constants)?;
        evaluator.note_decrypted(steps::LOGITS, &logits, LIMIT);
        Ok(logits)
    }
}

/// x ↦ x·Wᵀ less the mean over the vocabulary of each row, of W `[V, E]`.
fn centered_map(output: &Matrix<f32>) -> Result<Linear, Error> {
    let count = output.rows() as f64;
    let mean =
        |channel: usize| (0..output.rows()).map(|token| f64::from(output[(token, channel)])).sum::<f64>() / count;
    let means: Vec<f64> = (0..output.cols()).map(mean).collect();
    let entry = |channel: usize, token: usize| (f64::from(output[(token, channel)]) - means[channel]) as f32;
    Linear::new(Matrix::from_fn(output.cols(), output.rows(), entry), vec![0.0; output.rows()])
}

/// The logits of each token of the vocabulary on the calibration set, less the mean of each row.
struct Ranges {
    rows: f64,
    tokens: Vec<TokenRange>,
}

#[derive(Clone)]
struct TokenRange {
    sum: f64,
    squares: f64,
    low: f64,
    high: f64,
}

impl TokenRange {
    fn hold(&mut self, logit: f64) {
        self.sum += logit;
        self.squares += logit * logit;
        (self.low, self.high) = (self.low.min(logit), self.high.max(logit));
    }
}

impl Ranges {
    fn of(model: &Gpt2, states: &[Matrix<f32>]) -> Self {
        let none = TokenRange { sum: 0.0, squares: 0.0, low: f64::INFINITY, high: f64::NEG_INFINITY };
        let mut ranges = Self { rows: 0.0, tokens: vec![none; model.config().vocab_size] };
        for state in states {
            let logits = model.logits_of(state);
            for row in 0..logits.rows() {
                ranges.tokens.iter_mut().zip(centered(logits.row(row))).for_each(|(range, logit)| range.hold(logit));
            }
            ranges.rows += logits.rows() as f64;
        }
        ranges
    }

    /// A scale for logits that are as many of their standard deviations from their mean as any was on the calibration set, and some more;
    /// with at most `most` turns for a unit of each.
    ///
    /// Most tokens of a vocabulary follow nowhere in a calibration set. What their logits are where they do is told by those of others.
    fn scale(&self, most: impl Iterator<Item = f64>) -> AnswerScale {
        let mean = |range: &TokenRange| range.sum / self.rows;
        let variance = |range: &TokenRange| (range.squares / self.rows - mean(range).powi(2)).max(0.0);
        let usual = (self.tokens.iter().map(variance).sum::<f64>() / self.tokens.len() as f64).sqrt();
        // Of logits that are always the same, nothing is known.
        let least = if usual > 0.0 { usual / 16.0 } else { 1.0 };
        let deviation = |range: &TokenRange| variance(range).sqrt().max(least);
        let farthest = |distance: fn(&TokenRange, f64) -> f64| {
            self.tokens.iter().map(|range| distance(range, mean(range)) / deviation(range)).fold(1.0, f64::max)
        };
        let below = farthest(|range, mean| mean - range.low);
        let above = farthest(|range, mean| range.high - mean);
        let half = |range: &TokenRange| ANSWER_GUARD * (above + below) / 2.0 * deviation(range);
        AnswerScale {
            turns: self.tokens.iter().zip(most).map(|(range, most)| most.min(LIMIT / half(range))).collect(),
            middles: self.tokens.iter().map(|range| mean(range) + (above - below) / 2.0 * deviation(range)).collect(),
        }
    }
}
