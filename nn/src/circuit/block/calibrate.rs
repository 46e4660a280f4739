//! From a layer's weights in f32 and hidden states to a block's program.

use super::attention::{AttentionProgram, HeadProgram, QueryProgram};
use super::last_state::{LIMIT, LastStateProgram};
use super::mlp::{FeedForward, MlpProgram};
use super::norm::NormProgram;
use super::observed::{Observed, Range};
use super::options::BlockOptions;
use super::program::BlockProgram;
use super::reading::{ChannelArgument, Reading};
use super::scale::{ANSWER_GUARD, AnswerScale, StreamScale, parts};
use super::softmax::SoftmaxProgram;
use crate::attention::Linear;
use crate::error::Error;
use crate::evaluator::SmoothUse;
use crate::gpt2::{Activation, Block};
use crate::matrix::Matrix;
use crate::rounding::Rounding;
use crate::table::{Smooth, SmoothTable};
use serde::{Deserialize, Serialize};

/// What is kept free for noise of the half turn that a table has.
const HEADROOM: f64 = 1.0 / 12.0;
/// The same where several tables share a lookup, which reads four times more coarsely.
const SHARED_HEADROOM: f64 = 0.2;
/// From how many squares on a variance needs more than that, by the root of their number: it bears the noise of as many lookups.
const SQUARES: usize = 128;
/// What is added to the diagonal of inputs' second moments, relative to its mean.
const DAMPING: f64 = 0.03;
/// The standard deviation of scores' noise, in turns: of queries that are looked up, and of others, which bear that of their products with
/// r. (Engines predict it exactly; here it decides how narrow ranges of exponents can be.)
const SCORE_NOISE: [f64; 2] = [0.0004, 0.003];
/// The ratio of what a row's size may reach, and be less by, to what it reached on the calibration set.
const VARIANCE_GUARD: f64 = 1.25;
/// The ratio of what keys may reach to what they reached on the calibration set, besides their headroom. (Other tables go on without a jump
/// where their half turn ends: the range that was seen is enough for them.)
const KEY_GUARD: f64 = 1.1;
/// How many times more turns a unit of the last hidden state may take than one of the stream: the stream's noise, 2^-24.3 after three
/// blocks, is a fiftieth of the room for it then.
const MAX_MULTIPLE: f64 = (1_u32 << 15) as f64;
/// By how much a gate may be off.
const GATE_TOLERANCE: f64 = 0.03;

/// Which part of a block is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockPart {
    /// The attention, its LayerNorm, and the sum with the stream.
    Attention,
    /// The feed-forward layer, its LayerNorm, and the sum with the stream.
    FeedForward,
    /// Both.
    Whole,
}

impl BlockPart {
    /// Whether the attention is part of it.
    pub fn has_attention(self) -> bool {
        self != Self::FeedForward
    }

    /// Whether the feed-forward layer is part of it.
    pub fn has_feed_forward(self) -> bool {
        self != Self::Attention
    }
}

impl BlockProgram {
    /// Of a layer, on hidden states before its first LayerNorm, each `[T, E]`, with the stream's scale. Their first `prefix` rows are of
    /// public tokens, the same in all.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if an option is out of its range, or the layer's activation is not half its argument and an even rest;
    /// [`Error::Shape`]; [`Error::NotFinite`].
    pub fn calibrate(
        block: &Block,
        part: BlockPart,
        scale: &StreamScale,
        (states, prefix): (&[Matrix<f32>], usize),
        options: &BlockOptions,
    ) -> Result<Self, Error> {
        options.check()?;
        let observed = Observed::new(block, states, prefix)?;
        let calibration = Calibration { scale, options: *options, of: Layer { block, observed: &observed } };
        let attention = part.has_attention().then(|| calibration.attention()).transpose()?;
        let feed_forward = part.has_feed_forward().then(|| calibration.feed_forward()).transpose()?;
        Ok(Self { attention, feed_forward })
    }
}

impl LastStateProgram {
    /// Of a model's last layer, as [`BlockProgram::calibrate`]; and what its numbers stand for.
    ///
    /// # Errors
    /// The same.
    pub(super) fn calibrate(
        block: &Block,
        scale: &StreamScale,
        (states, prefix): (&[Matrix<f32>], usize),
        options: &BlockOptions,
    ) -> Result<(Self, AnswerScale), Error> {
        options.check()?;
        let observed = Observed::new(block, states, prefix)?;
        Calibration { scale, options: *options, of: Layer { block, observed: &observed } }.last_state()
    }
}

/// Keys of all heads.
struct Keys {
    /// `[E + 1, E]`.
    weight: Matrix<i32>,
    reading: Reading,
    /// Of each channel, the middle of its range, and what one unit of its integers is.
    units: Vec<[f64; 2]>,
}

/// A feed-forward layer up to its sum.
struct Sum {
    layer: FeedForward,
    /// `[E + 1]`: biases, in units.
    constants: Vec<f64>,
    /// Of each channel, how much a unit is at most for each integer of weights.
    reach: Vec<f64>,
}

/// A head's weights of values, `[E + 1, E + 1]`, and values of public tokens.
type Values = (Matrix<i32>, Matrix<f64>);

/// What programs of what LayerNorm gives are made with, and what they are made of.
pub(super) struct Calibration<'a, T> {
    pub(super) scale: &'a StreamScale,
    pub(super) options: BlockOptions,
    pub(super) of: T,
}

/// A layer, and its numbers on the calibration set.
#[derive(Clone, Copy)]
struct Layer<'a> {
    block: &'a Block,
    observed: &'a Observed,
}

/// LayerNorm's factors: how they are found, and what one unit of their integers is.
pub(super) struct Norm {
    pub(super) program: NormProgram,
    /// The variance that a turn of the sum stands for.
    variance_turn: f64,
    /// The least and the largest sum, ε included, in turns.
    variance_range: [f64; 2],
    /// The largest factor.
    pub(super) largest: f64,
    /// The ratio of the largest to the least.
    ratio: f64,
}

impl<T> Calibration<'_, T> {
    /// A unit of integers of factors, of which the largest is `largest`.
    pub(super) fn factor_unit(&self, largest: f64) -> f64 {
        largest / self.options.factor_levels()
    }

    pub(super) fn norm(&self, states: &[Vec<f64>], epsilon: f64) -> Norm {
        let (guard, size) = (VARIANCE_GUARD, self.scale.size());
        let squared = self.squared(states);
        let headroom = HEADROOM * (squared.len() as f64 / SQUARES as f64).sqrt().max(1.0);
        let limit = 0.25 * (1.0 - headroom.min(0.5));
        let sums: Vec<f64> = states.iter().map(|row| row.iter().map(|x| x * x).sum()).collect();
        let (least, most) = sums.iter().fold((f64::MAX, 0.0_f64), |(low, high), &sum| (low.min(sum), high.max(sum)));
        let (least, most) = (least / guard.powi(2), (most * guard.powi(2)).max(f64::MIN_POSITIVE));
        let added = size as f64 * epsilon;
        let one = 2.0 * limit / (most - least).max(1e-3 * (most + added));
        let range = [(least + added) * one, (most + added) * one];
        let turn = 1.0 / (one * size as f64);
        let largest = 1.0 / (range[0] * turn).sqrt();
        let factor = SmoothTable::of(Smooth::InverseRoot, turn, range, 1.0 / self.factor_unit(largest));
        let squares = self.squares(states, &squared, one);
        Norm {
            program: NormProgram { squares: Some(squares), epsilon: added * one, factor },
            variance_turn: turn,
            variance_range: range,
            largest,
            ratio: (range[1] / range[0]).sqrt(),
        }
    }

    /// How squares are read, a square of one being `one` turns: of each channel, or of a pair's sum or difference, whose products cancel
    /// on average.
    fn squares(&self, states: &[Vec<f64>], squared: &[Vec<(usize, f64)>], one: f64) -> Reading {
        let (turns, limit) = (&self.scale.turns, 0.25 * (1.0 - HEADROOM));
        let argument = |terms: &[(usize, f64)]| {
            let sum = |row: &Vec<f64>| terms.iter().map(|&(channel, sign)| sign * row[channel]).sum::<f64>();
            let reach = states.iter().map(|row| sum(row).abs()).fold(f64::MIN_POSITIVE, f64::max);
            let unit = turns[terms[0].0];
            let factor = (limit / (reach * unit)).clamp(1.0, (1_u64 << 40) as f64).floor();
            let table = SmoothTable::of(Smooth::Square, 1.0 / (factor * unit), [-limit, limit], one).continued();
            let terms = terms.iter().map(|&(channel, sign)| (channel, (sign * factor) as i64)).collect();
            ChannelArgument { terms, constant: 0.0, table }
        };
        let channels = squared.iter().map(|terms| argument(terms)).collect();
        Reading { channels, result: SmoothUse::Read }
    }

    /// The channels whose squares are read: one by one, or as pairs with signs. Outliers are no part of a pair, and the largest of the others
    /// has the smallest beside it, so that products are small; signs are such that on these states they cancel as far as they can.
    fn squared(&self, states: &[Vec<f64>]) -> Vec<Vec<(usize, f64)>> {
        let turns = &self.scale.turns[..self.scale.size()];
        let usual = turns.iter().fold(0.0, |a, &b| f64::max(a, b));
        let (mut paired, mut single): (Vec<usize>, Vec<usize>) =
            (0..turns.len()).partition(|&channel| self.options.pairs && turns[channel] == usual);
        let product = |one: usize, other: usize| states.iter().map(|row| row[one] * row[other]).sum::<f64>();
        paired.sort_by(|&one, &other| product(one, one).total_cmp(&product(other, other)));
        let (small, large) = paired.split_at(paired.len() / 2);
        let mut sum = 0.0;
        let pairs = small.iter().zip(large.iter().rev()).map(|(&small, &large)| {
            let product = product(small, large);
            let sign = if sum * product > 0.0 { -1.0 } else { 1.0 };
            sum += sign * product;
            vec![(large, 1.0), (small, sign)]
        });
        let pairs: Vec<Vec<(usize, f64)>> = pairs.collect();
        // Of an odd number, the middle one.
        single.extend(large.first().filter(|_| paired.len() % 2 == 1));
        pairs.into_iter().chain(single.into_iter().map(|channel| vec![(channel, 1.0)])).collect()
    }

    /// The weights of a map of what LayerNorm gives, `[E + 1, C]`, in units of the result for a turn of the stream times one of the factor's
    /// integers; and its bias with the image of LayerNorm's. Means are not read.
    pub(super) fn fold(
        &self,
        (gain, shift): (&[f32], &[f32]),
        map: &Linear,
        factor_unit: f64,
    ) -> (Matrix<f64>, Vec<f64>) {
        let weight = map.weight();
        let entry = |e: usize, c: usize| {
            let Some(gain) = gain.get(e) else { return 0.0 };
            f64::from(weight[(e, c)]) * f64::from(*gain) * factor_unit / self.scale.turns[e]
        };
        let folded = Matrix::from_fn(weight.rows() + 1, weight.cols(), entry);
        let image = |c: usize| (0..weight.rows()).map(|e| f64::from(shift[e]) * f64::from(weight[(e, c)])).sum::<f64>();
        let bias = map.bias().iter().enumerate().map(|(c, &bias)| f64::from(bias) + image(c)).collect();
        (folded, bias)
    }

    /// Rounding for inputs like the stream's after LayerNorm.
    pub(super) fn rounding(&self, states: &[Vec<f64>], epsilon: f64) -> Rounding {
        let size = self.scale.size();
        let normalized: Vec<f64> = states
            .iter()
            .flat_map(|row| {
                let factor = 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / size as f64 + epsilon).sqrt();
                row.iter().zip(&self.scale.turns).map(move |(x, turns)| x * turns * factor).chain([0.0])
            })
            .collect();
        Rounding::new(size + 1, DAMPING, normalized.chunks(size + 1))
    }

    /// Of a channel whose numbers lie in a range, and which is a sum of terms of which a unit is `reach` at most for each integer of weights:
    /// the turns of a unit, and how many times more are read.
    fn fit(&self, half: f64, reach: f64, headroom: f64) -> (f64, f64) {
        let limit = 0.25 * (1.0 - headroom);
        let most = (self.options.weight_levels() / reach).min(limit / half);
        let factor = (limit / half / most).ceil().clamp(1.0, (1_u64 << 40) as f64);
        (limit / half / factor, factor)
    }
}

impl Calibration<'_, Layer<'_>> {
    fn attention(&self) -> Result<AttentionProgram, Error> {
        let Layer { block, observed } = self.of;
        let norm_weights = (&block.attention_norm.weight[..], &block.attention_norm.bias[..]);
        let epsilon = f64::from(block.attention_norm.epsilon);
        let norm = self.norm(&observed.before, epsilon);
        let rounding = self.rounding(&observed.before, epsilon);
        let unit = self.factor_unit(norm.largest);
        let Keys { weight: key, reading: keys, units: key_units } = self.keys(norm_weights, unit, &rounding)?;
        let (values, update) = self.values(norm_weights, unit, &rounding)?;
        let of_heads = key_units.chunks(block.attention.head_size()).zip(values);
        let heads: Vec<HeadProgram> =
            of_heads.enumerate().map(|(index, (units, value))| self.head(index, &norm, units, value)).collect();
        // Turns of a query's unit: those of a score, over √d, for each unit of the key's integers.
        let root = (block.attention.head_size() as f64).sqrt();
        let of_channel = |(channel, [_, unit]): (usize, &[f64; 2])| {
            unit / (root * heads[channel / block.attention.head_size()].softmax.score_turn())
        };
        let query_turns: Vec<f64> = key_units.iter().enumerate().map(of_channel).collect();
        let queries = self.queries(&norm, norm_weights, &query_turns, &rounding);
        let prefix = observed.known_keys[0].rows();
        Ok(AttentionProgram { norm: norm.program, queries, key, keys, heads, update, prefix })
    }

    /// Queries, of which a unit of each channel takes `turns`.
    fn queries(&self, norm: &Norm, norm_weights: (&[f32], &[f32]), turns: &[f64], rounding: &Rounding) -> QueryProgram {
        let (attention, size) = (&self.of.block.attention, self.scale.size());
        let map = attention.projection().columns(0..size);
        let Some(bits) = self.options.query_bits else {
            let (weight, bias) = self.fold(norm_weights, &map, self.factor_unit(norm.largest));
            let reach = (0..size).map(|channel| column_reach(&weight, channel));
            let (scales, reading) = self.identity(&self.of.observed.queries, (&bias, SmoothUse::Feature), reach, turns);
            return QueryProgram::Read { weight: rounding.round(&weight, &scales), reading };
        };
        let unit = norm.largest / f64::from((1_i32 << bits) - 1);
        let factor = SmoothTable::of(Smooth::InverseRoot, norm.variance_turn, norm.variance_range, 1.0 / unit);
        let (weight, bias) = self.fold(norm_weights, &map, unit);
        let scales: Vec<f64> = turns.iter().map(|turns| 1.0 / turns).collect();
        let weight = rounding.round(&weight, &scales);
        let bias: Vec<f64> = bias.iter().zip(turns).map(|(bias, turns)| bias * turns).collect();
        let channels = |head: usize| head * attention.head_size()..(head + 1) * attention.head_size();
        let head = |head: usize| (weight.columns(channels(head)), bias[channels(head)].to_vec());
        QueryProgram::Scaled { factor, heads: (0..attention.heads()).map(head).collect() }
    }

    /// Keys of all heads, counted from the middle of their range: what all keys have in common changes no softmax. And of each channel that
    /// middle, and what one unit of its integers is.
    fn keys(&self, norm: (&[f32], &[f32]), factor_unit: f64, rounding: &Rounding) -> Result<Keys, Error> {
        let size = self.scale.size();
        let map = self.of.block.attention.projection().columns(size..2 * size);
        let (weight, bias) = self.fold(norm, &map, factor_unit);
        let limit = 0.25 * (1.0 - SHARED_HEADROOM);
        let table = SmoothTable::of(Smooth::Identity, 1.0, [-limit, limit], self.options.key_levels() / limit);
        let (mut scales, mut units, mut channels) = (Vec::new(), Vec::new(), Vec::new());
        for (channel, range) in self.of.observed.keys.iter().enumerate() {
            let half = range.half(KEY_GUARD);
            let (turns, factor) = self.fit(half, column_reach(&weight, channel), SHARED_HEADROOM);
            let constant = (bias[channel] - range.middle()) * turns * factor;
            channels.push(ChannelArgument { terms: vec![(channel, factor as i64)], constant, table });
            scales.push(1.0 / turns);
            units.push([range.middle(), half / self.options.key_levels()]);
        }
        Ok(Keys {
            weight: rounding.round(&weight, &scales),
            reading: Reading { channels, result: SmoothUse::Multiplier { log_shared: 2 } },
            units,
        })
    }

    /// Values of each head, folded with the output projection; those of public tokens, in turns; and how their weighted sum is read.
    fn values(
        &self,
        norm: (&[f32], &[f32]),
        factor_unit: f64,
        rounding: &Rounding,
    ) -> Result<(Vec<Values>, Reading), Error> {
        let (attention, size) = (&self.of.block.attention, self.scale.size());
        let mut constants = parts(attention.output()?.bias());
        let (mut folded, mut known) = (Vec::new(), Vec::new());
        for (index, head) in attention.heads_of(crate::attention::Part::Whole)?.iter().enumerate() {
            let output = attention.output_rows(index)?;
            let (weight, bias) = self.fold(norm, &with_means(&head.value.then(&output)?)?, factor_unit);
            constants.iter_mut().zip(&bias).for_each(|(sum, bias)| *sum += bias);
            folded.push(weight);
            let values = self.of.observed.known_values[index].multiply(&output);
            let less_bias = |row: usize, channel: usize| parts(values.row(row))[channel] - bias[channel];
            known.push(Matrix::from_fn(values.rows(), size + 1, less_bias));
        }
        let reach = |channel| folded.iter().map(|weight| column_reach(weight, channel)).fold(0.0, f64::max);
        let (scales, update) = self.update(&self.of.observed.attention, &constants, (0..=size).map(reach));
        let levels = self.options.factor_levels();
        let in_turns = |known: &Matrix<f64>| {
            Matrix::from_fn(known.rows(), size + 1, |row, channel| known[(row, channel)] / (scales[channel] * levels))
        };
        let known = known.iter().map(in_turns);
        Ok((folded.iter().map(|weight| rounding.round(weight, &scales)).zip(known).collect(), update))
    }

    /// How an update is read.
    fn update(&self, ranges: &[Range], constants: &[f64], reach: impl Iterator<Item = f64>) -> (Vec<f64>, Reading) {
        self.identity(ranges, (constants, SmoothUse::Update), reach, &self.scale.turns)
    }

    /// How numbers are read that are to take `results` turns a unit: what of each channel's weights is one integer, and the tables.
    fn identity(
        &self,
        ranges: &[Range],
        (constants, result): (&[f64], SmoothUse),
        reach: impl Iterator<Item = f64>,
        results: &[f64],
    ) -> (Vec<f64>, Reading) {
        let (mut scales, mut channels) = (Vec::new(), Vec::new());
        for (channel, (range, reach)) in ranges.iter().zip(reach).enumerate() {
            let half = range.half(1.0);
            let (turns, factor) = self.fit(half, reach, HEADROOM);
            let all = turns * factor;
            let bounds = [range.middle() - half, range.middle() + half].map(|x| x * all);
            let table = SmoothTable::of(Smooth::Identity, 1.0 / all, bounds, results[channel]).continued();
            channels.push(ChannelArgument {
                terms: vec![(channel, factor as i64)],
                constant: constants[channel] * all,
                table,
            });
            scales.push(1.0 / turns);
        }
        (scales, Reading { channels, result })
    }

    fn head(&self, index: usize, norm: &Norm, key_units: &[[f64; 2]], (value, known_values): Values) -> HeadProgram {
        let ratio = norm.ratio.ln();
        let noise = SCORE_NOISE[usize::from(self.options.query_bits.is_some())];
        let softmax = SoftmaxProgram::new(
            &self.of.observed.scores[index],
            noise,
            (self.options.guard, ratio),
            self.options.factor_levels(),
        );
        let clipped_turn = softmax.clipped_turn();
        let log_factor =
            SmoothTable::of(Smooth::Logarithm, norm.variance_turn, norm.variance_range, -0.5 / clipped_turn);
        let known = &self.of.observed.known_keys[index];
        let known_key = |row: usize, channel: usize| {
            let [middle, unit] = key_units[channel];
            ((f64::from(known[(row, channel)]) - middle) / unit).round_ties_even() as i64
        };
        HeadProgram {
            value,
            known_keys: Matrix::from_fn(known.rows(), known.cols(), known_key),
            known_values,
            log_factor,
            log_constant: -norm.largest.ln() / clipped_turn,
            softmax,
        }
    }

    fn feed_forward(&self) -> Result<MlpProgram, Error> {
        let ranges = &self.of.observed.feed_forward;
        let turns = |channel: usize, reach: f64| self.fit(ranges[channel].half(1.0), reach, HEADROOM).0;
        let Sum { layer, constants, reach } = self.sum(&turns)?;
        let (_, update) = self.update(ranges, &constants, reach.into_iter());
        Ok(MlpProgram { layer, update })
    }

    fn last_state(&self) -> Result<(LastStateProgram, AnswerScale), Error> {
        let (ranges, stream) = (&self.of.observed.after, &self.scale.turns);
        let multiple = |channel: usize, reach: f64| {
            let most = (self.options.weight_levels() / reach).min(LIMIT / ranges[channel].half(ANSWER_GUARD));
            (most / stream[channel]).floor().clamp(1.0, MAX_MULTIPLE)
        };
        let turns = |channel: usize, reach: f64| multiple(channel, reach) * stream[channel];
        let Sum { layer, constants, reach } = self.sum(&turns)?;
        let middles: Vec<f64> = ranges.iter().map(Range::middle).collect();
        let of_channels = || reach.iter().copied().enumerate();
        let turns: Vec<f64> = of_channels().map(|(channel, reach)| turns(channel, reach)).collect();
        let constant = |((constant, middle), turns): ((&f64, &f64), &f64)| (constant - middle) * turns;
        let program = LastStateProgram {
            layer,
            multiples: of_channels().map(|(channel, reach)| multiple(channel, reach) as i32).collect(),
            constants: constants.iter().zip(&middles).zip(&turns).map(constant).collect(),
        };
        Ok((program, AnswerScale { turns, middles }))
    }

    /// The layer up to its sum, of which a unit of a channel takes `turns`, if a unit of it is at most so much for each integer of weights.
    fn sum(&self, turns: &dyn Fn(usize, f64) -> f64) -> Result<Sum, Error> {
        let Layer { block, observed } = self.of;
        let activation = gate_of(&block.nonlinearity)?;
        let first = block.feed_forward.weight();
        if first.cols() == 0 {
            let shape = [first.rows(), first.cols()];
            return Err(Error::shape("the first map of the feed-forward layer", "at least one result", &shape));
        }
        let norm_weights = (&block.feed_forward_norm.weight[..], &block.feed_forward_norm.bias[..]);
        let epsilon = f64::from(block.feed_forward_norm.epsilon);
        let norm = self.norm(&observed.between, epsilon);
        let rounding = self.rounding(&observed.between, epsilon);
        let unit = self.factor_unit(norm.largest);
        let (expand, expand_bias) = self.fold(norm_weights, &block.feed_forward, unit);
        // The second map, of the rest; and of half its argument, with the image of the first map's bias.
        let contract = with_means(&block.feed_forward_projection)?;
        let halved = contract.weight().map(|&w| w / 2.0);
        let (half, half_bias) = self.fold(norm_weights, &block.feed_forward.then(&halved)?, unit);
        let rest = self.rest(contract.weight(), &half, turns);
        let (scales, activation) = self.activation(activation, &expand, &expand_bias, rest);
        // Gates are less than the rest by an eighth of their turn.
        let less = |c: usize| -> f64 {
            let of_gate = |(f, gate): (usize, &SmoothTable)| f64::from(contract.weight()[(f, c)]) * gate.turn() / 8.0;
            activation.tables().enumerate().map(of_gate).sum()
        };
        let biases = contract.bias().iter().zip(&half_bias).enumerate();
        let constants: Vec<f64> = biases.map(|(c, (&bias, half))| f64::from(bias) + half + less(c)).collect();
        let contract = contract.weight().map(|&w| f64::from(w) / rest);
        let reach = |c| column_reach(&contract, c).max(column_reach(&half, c));
        let reach: Vec<f64> = (0..=self.scale.size()).map(reach).collect();
        let sum_scales: Vec<f64> = reach.iter().enumerate().map(|(c, &reach)| 1.0 / turns(c, reach)).collect();
        let gate = |(&h, table): (&f64, &SmoothTable)| table.at(h / table.turn());
        let rests: Vec<f64> =
            observed.arguments.iter().flat_map(|row| row.iter().zip(activation.tables()).map(gate)).collect();
        let of_rests = Rounding::new(contract.rows(), DAMPING, rests.chunks(contract.rows()));
        let layer = FeedForward {
            norm: norm.program,
            expand: rounding.round(&expand, &scales),
            activation,
            contract: of_rests.round(&contract, &sum_scales),
            half: rounding.round(&half, &sum_scales),
        };
        Ok(Sum { layer, constants, reach })
    }

    /// The turns that a rest of one takes: so few that the weights of the second map have all their levels where those of half the argument,
    /// which are summed up with them, have.
    fn rest(&self, contract: &Matrix<f32>, half: &Matrix<f64>, turns: &dyn Fn(usize, f64) -> f64) -> f64 {
        let contract = contract.map(|&w| f64::from(w));
        let of_channel =
            |c| column_reach(&contract, c) * turns(c, column_reach(half, c)) / self.options.weight_levels();
        (0..=self.scale.size()).map(of_channel).fold(f64::MIN_POSITIVE, f64::max)
    }

    /// How gates of the first map's results are read, a rest of one being `rest` turns.
    fn activation(&self, activation: Activation, weight: &Matrix<f64>, bias: &[f64], rest: f64) -> (Vec<f64>, Reading) {
        let (mut scales, mut channels) = (Vec::new(), Vec::new());
        for channel in 0..weight.cols() {
            let reach = self.of.observed.arguments.iter().map(|row| row[channel].abs()).fold(0.0, f64::max);

            let turn = gate_turn(activation, reach);
            let most = self.options.weight_levels() / column_reach(weight, channel);
            let factor = (1.0 / (turn * most)).ceil().clamp(1.0, (1_u64 << 40) as f64);
            let table = SmoothTable::gate(activation, turn, reach / turn, rest);
            channels.push(ChannelArgument {
                terms: vec![(channel, factor as i64)],
                constant: bias[channel] / turn,
                table,
            });
            scales.push(turn * factor);
        }
        (scales, Reading { channels, result: SmoothUse::Feature })
    }
}

/// The least turn, of a few that there are, on which a gate of arguments up to `reach` is right.
fn gate_turn(activation: Activation, reach: f64) -> f64 {
    const STEPS_TO_TWICE: i32 = 8;
    let is_right = |turn: f64| {
        if reach > turn / 2.0 {
            return false;
        }
        let table = SmoothTable::gate(activation, turn, 0.5, 1.0);
        let miss = |step: usize| {
            let x = reach * step as f64 / 64.0;
            (table.at(x / turn) + turn / 8.0 - (f64::from(activation.apply(x as f32)) - x / 2.0)).abs()
        };
        (0..=64).map(miss).fold(0.0, f64::max) <= GATE_TOLERANCE
    };
    let turns = (-4 * STEPS_TO_TWICE..).map(|step| (f64::from(step) / f64::from(STEPS_TO_TWICE)).exp2());
    turns.into_iter().find(|&turn| is_right(turn)).expect("a turn of four times the reach is right")
}

/// The activation, if it is half its argument and an even rest.
pub(super) fn gate_of(nonlinearity: &crate::gpt2::Nonlinearity) -> Result<Activation, Error> {
    let allowed = "half its argument and a rest that is the same on either side of zero, as GELU, SiLU and ReLU are";
    let refused =
        |name: String| Error::out_of_range("the activation of an encrypted feed-forward layer", name, allowed);
    let crate::gpt2::Nonlinearity::Fixed(activation) = *nonlinearity else {
        return Err(refused(format!("{nonlinearity:?}")));
    };
    let rest = |x: f32| f64::from(activation.apply(x)) - f64::from(x) / 2.0;
    let even = |step: u8| {
        let x = f32::from(step) / 8.0;
        (rest(x) - rest(-x)).abs() < 1e-4 && (step < 64 || (rest(x) - f64::from(x) / 2.0).abs() < 0.01)
    };
    if (0..=128).all(even) { Ok(activation) } else { Err(refused(format!("{activation:?}"))) }
}

/// A map whose results, of each row, are those of `map` less their mean, and that: `[in, out + 1]`.
fn with_means(map: &Linear) -> Result<Linear, Error> {
    let parts = |row: &[f32]| parts(row).into_iter().map(|x| x as f32).collect::<Vec<_>>();
    let rows: Vec<Vec<f32>> = (0..map.weight().rows()).map(|row| parts(map.weight().row(row))).collect();
    Linear::new(Matrix::new(rows.len(), map.weight().cols() + 1, rows.concat())?, parts(map.bias()))
}

/// The largest absolute value of a column.
pub(super) fn column_reach(matrix: &Matrix<f64>, column: usize) -> f64 {
    (0..matrix.rows()).map(|row| matrix[(row, column)].abs()).fold(f64::MIN_POSITIVE, f64::max)
}
