//! From weights in f32 and a calibration set to packed attention.

use super::attention::PackedAttention;
use super::client::PackedClient;
use super::options::{PackedOptions, check_log_modulus};
use super::program::{PackedHead, PackedProgram, PackedProjection, Span, headroom};
use super::softmax;
use super::steps;
use crate::attention::{AttentionWeights, HeadWeights, Linear, Part};
use crate::calibration::check_inputs;
use crate::clear::ClearEvaluator;
use crate::error::{Error, check_finite, check_within};
use crate::evaluator::{EXPONENT_FACTOR, Rows};
use crate::matrix::Matrix;
use crate::quantizers::{ChannelQuantizer, levels};
use crate::rounding::Rounding;
use crate::table::SmoothTable;

/// Up to so many tokens a channel's weights are taken apart into two numbers, and for more into four. With four, probabilities' noise counts
/// 0.6 times as much (head 0 of GPT-2), of which an output has as many as there are tokens; and products are twice as many, which is little beside the lookups,
/// whose number grows with the square of the tokens.
const TOKENS_OF_TWO_PARTS: usize = 16;
/// How many times less than a whole weight the last of its parts is taken to reach, for a first look.
const FIRST_LOOK: f64 = 16.0;
/// How many times the median channel's standard deviation that of all channels of the input is taken to be at most.
const OUTLIER: f64 = 8.0;
/// Of the rounding of weights: as much as the mean of the inputs' second moments, for calibration sets of few rows.
const DAMPING: f64 = 1.0;
/// What a unit of an output may be at least, relative to the output's constant: 256 times less than f32 tells apart. It also keeps the
/// constant within 2^32 units, where f64 has 2^20 steps to a unit.
const FINEST_OF_CONSTANT: f64 = 1.0 / (1_u64 << 32) as f64;

/// What a unit of an output stands for that is always zero: so little that its noise is zero in f32, and less than any product of weights.
const ZERO_SCALE: f64 = f64::from_bits((1023 - 200) << 52);

/// What quantizing any part of a layer's attention needs of the calibration set.
#[derive(Clone, Debug)]
pub struct Calibration<'a> {
    weights: &'a AttentionWeights,
    inputs: &'a [Matrix<f32>],
    options: PackedOptions,
    max_tokens: usize,
    input: ChannelQuantizer,
    rounding: Rounding,
}

impl<'a> Calibration<'a> {
    /// Of a layer on `inputs`, each `[T, E]`. O(E³) once for all parts.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if an option is out of its range, [`Error::Shape`] if there is no input or one does not fit,
    /// [`Error::NotFinite`].
    pub fn new(
        weights: &'a AttentionWeights,
        inputs: &'a [Matrix<f32>],
        options: &PackedOptions,
    ) -> Result<Self, Error> {
        let max_tokens = check(weights, inputs, options)?;
        let input = calibrate_input(inputs, levels(options.input_bits)?)?;
        let quantize = |hidden| Ok(input.quantize_matrix(hidden)?.map(|&x| f64::from(x)));
        let quantized = inputs.iter().map(quantize).collect::<Result<Vec<Matrix<f64>>, Error>>()?;
        let size = weights.embedding_size();
        let rounding = Rounding::new(size, DAMPING, quantized.iter().flat_map(|hidden| hidden.data().chunks(size)));
        Ok(Self { weights, inputs, options: *options, max_tokens, input, rounding })
    }

    /// Quantizes a part, with log2 t of at most the given one for each of its heads.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if there is no such head, log2 t is not in 8 ..= 32, or the whole attention's output projection is not
    /// known; [`Error::Shape`] if there is not one modulus for each head.
    pub fn quantize(&self, part: Part, log_moduli: &[u32]) -> Result<PackedAttention, Error> {
        let heads = self.weights.heads_of(part)?;
        if log_moduli.len() != heads.len() {
            return Err(Error::shape("the moduli of scores", format!("[{}]", heads.len()), &[log_moduli.len()]));
        }
        log_moduli.iter().try_for_each(|&log_modulus| check_log_modulus(log_modulus))?;
        let (options, max_tokens) = (&self.options, self.max_tokens);
        let longest = self.inputs.iter().map(Matrix::rows).max().unwrap_or(1);
        let headroom = headroom(max_tokens);
        let quantize = |(head, &log_modulus): (&HeadWeights, &u32)| {
            let score_difference_limit = Ranges::observe(head, self.inputs)?.limit(options.guard, longest, max_tokens);
            // A difference reaches a quarter of a turn at most.
            let score_turn = 4.0 * score_difference_limit / (1.0 - headroom);
            let (log_modulus, query, key) = self.scores(head, log_modulus, score_turn)?;
            // These come last.
            let (value, value_norm) = (Matrix::from_fn(head.value.weight().rows(), 0, |_, _| 0), 0.0);
            Ok(PackedHead { query, key, value, log_modulus, score_turn, headroom, score_difference_limit, value_norm })
        };
        let heads: Vec<PackedHead> = heads.iter().zip(log_moduli).map(quantize).collect::<Result<_, Error>>()?;
        let program = PackedProgram {
            heads,
            input_levels: self.input.levels(),
            output_bias: Vec::new(),
            output_limit: f64::INFINITY,
            max_tokens: max_tokens.max(longest),
        };
        let client = PackedClient {
            input: self.input.clone(),
            output_centers: Vec::new(),
            output_scales: Vec::new(),
            output_parts: 1,
            max_tokens: program.max_tokens,
        };
        let (values, mut attention) = (self.values(part)?, PackedAttention { program, client });
        let parts = if max_tokens > TOKENS_OF_TWO_PARTS { PackedProgram::MOST_PARTS } else { 2 };
        let first = FIRST_LOOK.powf(1.0 / parts as f64).round_ties_even() as i32;
        attention.set_values(&values.split(first, parts))?;
        let mut found = run_calibration(&attention, self.inputs)?;
        let factor = found.even_factor(first).min(levels(options.value_bits)?);
        if factor != first {
            attention.set_values(&values.split(factor, parts))?;
            found = run_calibration(&attention, self.inputs)?;
        }
        let PackedAttention { mut program, client } = attention;
        // An output beyond its range would be wrong in the worst way, and the range costs little: twice the guard. Outputs are
        // linear in deviations from the calibration set's mean, of which those of its own n rows are too small by √((n−1)/(n+1)).
        let rows: usize = self.inputs.iter().map(Matrix::rows).sum();
        let bias = ((rows + 1) as f64 / rows.saturating_sub(1).max(1) as f64).sqrt();
        program.output_limit = 2.0 * options.guard * bias * found.largest().max(1.0);
        program.heads.iter_mut().zip(found.norms()).for_each(|(head, norm)| head.value_norm = norm);
        program.max_tokens = max_tokens;
        Ok(PackedAttention { program, client: PackedClient { max_tokens, ..client } })
    }
}

impl PackedAttention {
    /// Quantizes a part of a layer's attention, with scales and ranges of the calibration inputs, each `[T, E]`.
    ///
    /// # Errors
    /// As [`Calibration::new`] and [`Calibration::quantize`].
    pub fn calibrate(
        weights: &AttentionWeights,
        part: Part,
        inputs: &[Matrix<f32>],
        options: &PackedOptions,
    ) -> Result<Self, Error> {
        let heads = weights.heads_of(part)?.len();
        Calibration::new(weights, inputs, options)?.quantize(part, &vec![options.log_modulus; heads])
    }
}

/// What outputs and values are on the calibration set.
struct Found {
    /// Of each part of the output, the largest distance of a number from its bias.
    largest: Vec<f64>,
    /// Of each head and part, the mean over tokens of the sum of squares of a value.
    squares: Vec<Vec<f64>>,
}

impl Found {
    fn largest(&self) -> f64 {
        self.largest.iter().copied().fold(0.0, f64::max)
    }

    /// [`PackedHead::value_norm`].
    fn norms(&self) -> impl Iterator<Item = f64> {
        let parts = self.largest.len() as f64;
        self.squares.iter().map(move |squares| (parts * squares.iter().copied().fold(0.0, f64::max)).sqrt())
    }

    /// The factor with which all parts of the output reach as far, if this is what was found with `factor`: the first of n is inversely
    /// proportional to its power n − 1, the others are proportional to it. 1 if there is nothing to be gained.
    fn even_factor(&self, factor: i32) -> i32 {
        let Some((&first, others)) = self.largest.split_first() else { return 1 };
        let other = others.iter().copied().fold(0.0, f64::max);
        if first == 0.0 || other == 0.0 {
            return 1;
        }
        let ratio = (first / other).powf(1.0 / self.largest.len() as f64);
        (f64::from(factor) * ratio).round_ties_even().clamp(1.0, 256.0) as i32
    }
}

/// What a part's numbers are on the calibration set.
fn run_calibration(attention: &PackedAttention, calibration: &[Matrix<f32>]) -> Result<Found, Error> {
    let PackedAttention { program, client } = attention;
    let (parts, channels) = (client.output_parts, client.output_size());
    let (mut largest, mut squares) = (vec![0.0_f64; parts], vec![vec![0.0; parts]; program.heads.len()]);
    for hidden in calibration {
        let input = client.quantize_input(hidden)?;
        for (sums, head) in squares.iter_mut().zip(&program.heads) {
            let values = input.multiply_exact(&head.value);
            for row in 0..values.rows() {
                let parts =
                    values.row(row).chunks(channels).map(|part| part.iter().map(|&v| (v as f64).powi(2)).sum::<f64>());
                sums.iter_mut().zip(parts).for_each(|(sum, of_row)| *sum += of_row);
            }
        }
        let numbers = program.evaluate_clear(&mut ClearEvaluator::new(), &input, Span::all(hidden.rows()));
        for row in 0..numbers.rows() {
            let distances = numbers.row(row).iter().zip(&program.output_bias).map(|(x, bias)| (x - bias).abs());
            distances.enumerate().for_each(|(i, distance)| largest[i / channels] = largest[i / channels].max(distance));
        }
    }
    let tokens: usize = calibration.iter().map(Matrix::rows).sum();
    squares.iter_mut().flatten().for_each(|sum| *sum /= tokens as f64);
    Ok(Found { largest, squares })
}

/// Checks everything but the values, and returns the most tokens of an input.
fn check(weights: &AttentionWeights, calibration: &[Matrix<f32>], options: &PackedOptions) -> Result<usize, Error> {
    for (what, bits) in [
        ("the number of bits of the packed circuit's input", options.input_bits),
        ("the number of bits of the packed circuit's query and key weights", options.weight_bits),
        ("the number of bits of the packed circuit's value weights", options.value_bits),
    ] {
        check_within(what, bits, PackedOptions::BITS)?;
    }
    check_log_modulus(options.log_modulus)?;
    check_within("the guard of ranges", options.guard, 1.0..=16.0)?;
    check_inputs(weights.embedding_size(), calibration, options.max_tokens, PackedOptions::MAX_TOKENS)
}

/// How far arguments of lookups are from zero in the calibration set, in units of score.
#[derive(Default)]
struct Ranges {
    /// Differences of logarithms of sums, and logarithms of probabilities.
    argument: f64,
    /// Differences of scores of a row.
    spread: f64,
}

impl Ranges {
    fn observe(head: &HeadWeights, calibration: &[Matrix<f32>]) -> Result<Self, Error> {
        // So many units of score to a turn that none is a whole turn apart: a power of two, with which nothing is rounded.
        const TURN: f64 = (1_u64 << 40) as f64;
        let tables = [SmoothTable::softplus(TURN, 0.25), SmoothTable::exponential(TURN, 0.5, 0.0, 1.0)];
        let mut ranges = Self::default();
        let mut evaluator = ClearEvaluator::new();
        for hidden in calibration {
            let scores = head.attend(hidden).scores;
            check_finite("the scores of a calibration input", scores.data())?;
            let visible =
                |row: usize| scores.row(row)[..=row].iter().map(|&s| f64::from(s) / TURN).collect::<Vec<f64>>();
            let rows: Rows<f64> = (0..scores.rows()).map(visible).collect();
            for row in &rows {
                let (low, high) = row.iter().fold((f64::MAX, f64::MIN), |(low, high), &s| (low.min(s), high.max(s)));
                ranges.spread = ranges.spread.max((high - low) * TURN);
            }
            let Ok(_) = softmax::evaluate(&mut evaluator, rows, &vec![tables; scores.rows()], 1.0);
        }
        let farthest = |step, factor: f64| {
            let inputs = evaluator.record(step).and_then(|record| record.inputs).unwrap_or_default();
            inputs.into_iter().fold(0.0, |farthest: f64, input| farthest.max(input.abs())) * TURN / factor
        };
        ranges.argument = farthest(steps::SOFTPLUS, 1.0).max(farthest(steps::EXPONENTIAL, EXPONENT_FACTOR as f64));
        Ok(ranges)
    }

    /// The limit of arguments: for inputs longer by a factor, logarithms of sums grow by its logarithm; the scores' part may grow by
    /// the guard.
    fn limit(&self, guard: f64, longest: usize, max_tokens: usize) -> f64 {
        let longer = (max_tokens as f64 / longest as f64).ln().max(0.0);
        // Without any difference in the calibration set there is still a range to be had.
        (self.argument + (guard - 1.0) * self.spread + longer).max(1.0 / 16.0)
    }
}

/// Each channel's mean, and a scale that reaches its largest deviation and a fifth more.
///
/// From n rows a channel's largest deviation is badly known, so it is taken to be at least twice the channel's standard deviation,
/// and at least 8/√(n + 4) times that of all channels: their root mean square, but at most [`OUTLIER`] times their median, for a few
/// channels that vary far more than the others say nothing about those. Where nothing varies, at least the size of the centers.
fn calibrate_input(calibration: &[Matrix<f32>], levels: i32) -> Result<ChannelQuantizer, Error> {
    let size = calibration[0].cols();
    let rows: usize = calibration.iter().map(Matrix::rows).sum();
    let column = |channel: usize| {
        calibration.iter().flat_map(move |m| (0..m.rows()).map(move |row| f64::from(m[(row, channel)])))
    };
    let centers: Vec<f64> = (0..size).map(|channel| column(channel).sum::<f64>() / rows as f64).collect();
    let deviations: Vec<(f64, f64)> = (0..size)
        .map(|channel| {
            let deviations = || column(channel).map(|x| x - centers[channel]);
            let squares: f64 = deviations().map(|x| x * x).sum();
            (deviations().fold(0.0, |largest: f64, x| largest.max(x.abs())), squares / rows as f64)
        })
        .collect();
    let mean_square = |values: &mut dyn Iterator<Item = f64>| (values.sum::<f64>() / size as f64).sqrt();
    let overall = mean_square(&mut deviations.iter().map(|(_, variance)| *variance));
    let median = median(deviations.iter().map(|(_, variance)| variance.sqrt()).filter(|std| *std > 0.0));
    let floor = match median {
        Some(median) => overall.min(OUTLIER * median) * 8.0 / (rows as f64 + 4.0).sqrt(),
        None => mean_square(&mut centers.iter().map(|center| center * center)),
    };
    let scale = |&(largest, variance): &(f64, f64)| {
        let reach = 1.2 * largest.max(2.0 * variance.sqrt()).max(floor);
        // Of inputs that are all zero: any range is as good as any other.
        if reach > 0.0 { reach / f64::from(levels) } else { 1.0 }
    };
    let scales = deviations.iter().map(scale).collect();
    ChannelQuantizer::new(levels, centers, scales)
}

/// The weight's rows times the input's scales, `[E, d]`, and the bias with the center's image, `[d]`.
fn fold(input: &ChannelQuantizer, linear: &Linear) -> (Matrix<f64>, Vec<f64>) {
    let weight = linear.weight();
    let folded = Matrix::from_fn(weight.rows(), weight.cols(), |row, column| {
        f64::from(weight[(row, column)]) * input.scales()[row]
    });
    let image = |column: usize| -> f64 {
        (0..weight.rows()).map(|row| input.centers()[row] * f64::from(weight[(row, column)])).sum()
    };
    let bias = linear.bias().iter().enumerate().map(|(column, &bias)| f64::from(bias) + image(column)).collect();
    (folded, bias)
}

/// What heads add to the output, per unit of probability.
struct Values {
    /// Of each head, `[E, O]`.
    weights: Vec<Matrix<i32>>,
    /// `[O]`.
    scales: Vec<f64>,
    /// `[O]`.
    offsets: Vec<f64>,
}

/// The numbers of an output: for each channel one, or some in which its weights are taken apart.
struct Parts {
    /// How many numbers there are to a channel.
    count: usize,
    /// Of each head, `[E, count·C]`: first the numbers of all channels that count most, then the next.
    weights: Vec<Matrix<i32>>,
    /// What each number counts in the channel's value, `[count·C]`.
    scales: Vec<f64>,
    /// `[count·C]`, in units of the numbers.
    biases: Vec<f64>,
}

impl Values {
    /// Takes each weight apart into digits of base c = `factor`, w = Σ cⁱ·wᵢ, i < `count`, all but the first at most c/2 in size: an output is
    /// the sum of those with each digit, times its power. All are smaller, and so have more turns to a unit: the same probabilities, with the
    /// same noise, give all of them.
    fn split(&self, factor: i32, count: usize) -> Parts {
        let count = if factor == 1 { 1 } else { count };
        let channels = self.scales.len();
        let split = |weight: &Matrix<i32>| {
            let mut parts = Matrix::from_fn(weight.rows(), count * channels, |_, _| 0);
            for (row, channel) in (0..weight.rows()).flat_map(|row| (0..channels).map(move |channel| (row, channel))) {
                let mut rest = weight[(row, channel)];
                for part in (1..count).rev() {
                    let upper = (f64::from(rest) / f64::from(factor)).round_ties_even() as i32;
                    parts[(row, part * channels + channel)] = rest - factor * upper;
                    rest = upper;
                }
                parts[(row, channel)] = rest;
            }
            parts
        };
        let power = |part: usize| f64::from(factor).powi((count - 1 - part) as i32);
        let of_first = |(offset, scale): (&f64, &f64)| offset / scale / power(0);
        Parts {
            count,
            weights: self.weights.iter().map(split).collect(),
            scales: (0..count).flat_map(|part| self.scales.iter().map(move |scale| scale * power(part))).collect(),
            biases: self
                .offsets
                .iter()
                .zip(&self.scales)
                .map(of_first)
                .chain(std::iter::repeat_n(0.0, (count - 1) * channels))
                .collect(),
        }
    }
}

impl PackedAttention {
    /// With these values.
    ///
    /// # Errors
    /// As `PackedHead::check`.
    fn set_values(&mut self, parts: &Parts) -> Result<(), Error> {
        let Self { program, client } = self;
        program.heads.iter_mut().zip(&parts.weights).for_each(|(head, weight)| head.value = weight.clone());
        program.output_bias = parts.biases.clone();
        client.output_centers = parts.biases.clone();
        client.output_scales = parts.scales.clone();
        client.output_parts = parts.count;
        program.heads.iter().try_for_each(|head| head.check(program.input_levels))
    }
}

impl Calibration<'_> {
    /// log2 t, and the projections to queries and keys whose scores are integers over t in turns.
    ///
    /// With channel scales a_d and b_d, a_d·b_d = κ, a turn is t·κ/√d units of score.
    fn scores(
        &self,
        head: &HeadWeights,
        log_modulus: u32,
        score_turn: f64,
    ) -> Result<(u32, PackedProjection, PackedProjection), Error> {
        let (query, key) = (fold(&self.input, &head.query), fold(&self.input, &head.key));
        let unscaled = score_turn * (query.0.cols() as f64).sqrt();
        let channels = self.score_channels(&query, &key);
        let levels = f64::from(levels(self.options.weight_bits)?) + 0.5;
        let largest = channels.iter().map(ScoreChannel::reach).fold(0.0, f64::max);
        // The largest t for which the largest weight, √(reach·reach/κ), has the bits it may have.
        let fits = |log: &u32| largest / (unscaled * 2f64.powi(-(*log as i32))).sqrt() <= levels;
        let log_modulus = (8..=log_modulus).rev().find(fits).unwrap_or(8);
        let kappa = unscaled * 2f64.powi(-(log_modulus as i32));
        let (query_scale, key_scale): (Vec<f64>, Vec<f64>) =
            channels.iter().map(|channel| channel.scales(kappa, levels)).unzip();
        let project = |(weight, bias): &(Matrix<f64>, Vec<f64>), scales: &[f64]| PackedProjection {
            weight: self.rounding.round(weight, scales),
            bias: bias.iter().zip(scales).map(|(bias, scale)| (bias / scale).round_ties_even() as i64).collect(),
        };
        Ok((log_modulus, project(&query, &query_scale), project(&key, &key_scale)))
    }

    /// What each channel of folded queries and keys is.
    fn score_channels(&self, query: &(Matrix<f64>, Vec<f64>), key: &(Matrix<f64>, Vec<f64>)) -> Vec<ScoreChannel> {
        // More than all weights of a column together can give.
        let most = self.input.levels() as f64 * query.0.rows() as f64;
        let (query_reach, key_reach) = (column_reach(&query.0), column_reach(&key.0));
        let channel = |d: usize| match (query_reach[d], key_reach[d], query.1[d].abs()) {
            (query, key, bias) if key == 0.0 || query.max(bias) == 0.0 => ScoreChannel::Nothing,
            (query, key, bias) if bias > most * query => ScoreChannel::Constant { bias, key },
            (query, key, _) => ScoreChannel::Varying { query, key },
        };
        (0..query_reach.len()).map(channel).collect()
    }

    /// The weights of values, folded with those of the output projection where the part has one: O = Σ_h P_h·X·(W_v,h·W_o,h), so
    /// that the projection takes no step of its own and its weights no rounding of their own.
    ///
    /// All channels of an output have one range, so the noise on a channel is proportional to its scale, and the scale of a channel
    /// whose outputs vary most, relative to its weights, would give all others too little of that range: scales are
    /// at least so large that a channel's outputs take no more of it than the median channel's.
    fn values(&self, part: Part) -> Result<Values, Error> {
        let weights = self.weights;
        let mut offsets = vec![0.0; weights.output_size(part)];
        let mut folded = Vec::new();
        for (index, head) in weights.heads_of(part)?.iter().enumerate() {
            let map = match part {
                Part::Head(_) => head.value.clone(),
                Part::Whole => head.value.then(&weights.output_rows(index)?)?,
            };
            let (weight, bias) = fold(&self.input, &map);
            offsets.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
            folded.push(weight);
        }
        if part == Part::Whole {
            offsets.iter_mut().zip(weights.output()?.bias()).for_each(|(sum, &bias)| *sum += f64::from(bias));
        }
        let mut reach = vec![0.0_f64; offsets.len()];
        for hidden in self.inputs {
            let output = weights.attend(part, hidden)?;
            check_finite("the attention's output on a calibration input", output.data())?;
            for row in 0..output.rows() {
                for (channel, reach) in reach.iter_mut().enumerate() {
                    *reach = reach.max((f64::from(output[(row, channel)]) - offsets[channel]).abs());
                }
            }
        }
        let reaches: Vec<Vec<f64>> = folded.iter().map(column_reach).collect();
        let largest = |channel: usize| reaches.iter().map(|reach| reach[channel]).fold(0.0, f64::max);
        let value_levels = f64::from(levels(self.options.value_bits)?);
        let finest: Vec<f64> = (0..offsets.len()).map(|channel| largest(channel) / value_levels).collect();
        let ratios = reach.iter().zip(&finest).map(|(r, f)| r / f).filter(|r| r.is_finite());
        let typical = median(ratios).unwrap_or(0.0).max(1.0);
        // A channel without weights is its constant, and what else its number holds is noise alone: it must not show beside that constant,
        // however large the other channels' numbers are. The same of one whose weights are next to nothing.
        let least = |offset: f64| (offset.abs() * FINEST_OF_CONSTANT).max(ZERO_SCALE);
        let scale = |((&reach, &finest), &offset): ((&f64, &f64), &f64)| finest.max(reach / typical).max(least(offset));
        let scales: Vec<f64> = reach.iter().zip(&finest).zip(&offsets).map(scale).collect();
        let weights = folded.iter().map(|weight| self.rounding.round(weight, &scales)).collect();
        Ok(Values { weights, scales, offsets })
    }
}

/// What a channel of queries and keys adds to differences of a row's scores. That all keys have a constant in common changes none.
enum ScoreChannel {
    /// Nothing: the keys or the queries have neither weights nor anything else that differs.
    Nothing,
    /// A multiple of the keys: the query's bias is beyond all that its weights can add.
    Constant { bias: f64, key: f64 },
    /// Products; with the largest weights of both.
    Varying { query: f64, key: f64 },
}

impl ScoreChannel {
    /// √(query·key), the largest integer of both times √κ; 0 where the weights of only one count.
    fn reach(&self) -> f64 {
        match *self {
            Self::Varying { query, key } => (query * key).sqrt(),
            Self::Nothing | Self::Constant { .. } => 0.0,
        }
    }

    /// The scales of queries and keys, with the product `kappa`; infinite where the integers are to be zero.
    ///
    /// Of κ, queries and keys get such shares that the largest integers of both are the same, for a constant query that of its bias. But
    /// weights of keys may be `levels` at most, and a bias more.
    fn scales(&self, kappa: f64, levels: f64) -> (f64, f64) {
        let (ratio, finest) = match *self {
            Self::Nothing => return (f64::INFINITY, f64::INFINITY),
            Self::Constant { bias, key } => ((bias / key).sqrt(), key / levels),
            Self::Varying { query, key } => ((query / key).sqrt(), 0.0),
        };
        if kappa.sqrt() / ratio < finest {
            return (kappa / finest, finest);
        }
        (kappa.sqrt() * ratio, kappa.sqrt() / ratio)
    }
}

/// The upper median of positive values; `None` of none.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The largest absolute value of each column.
fn column_reach(matrix: &Matrix<f64>) -> Vec<f64> {
    let reach = |column| (0..matrix.rows()).map(|row| matrix[(row, column)].abs()).fold(0.0, f64::max);
    (0..matrix.cols()).map(reach).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        let weight =
            |seed: usize| Matrix::from_fn(5, 3, |row, column| (37 * (7 * row + column + seed) % 127) as i32 - 63);
        Values { weights: vec![weight(1), weight(2)], scales: vec![0.5, 2.0, 3.0], offsets: vec![1.0, -4.0, 0.0] }
    }

    /// The parts add up to the weights and to the biases, and all but the first are at most half of the factor.
    #[test]
    fn parts_of_values_add_up_to_them() {
        let values = values();
        for (factor, count) in [(1, 2), (2, 2), (3, 2), (4, 2), (7, 2), (64, 2), (2, 4), (3, 4), (5, 3)] {
            let parts = values.split(factor, count);
            assert_eq!(parts.count, if factor == 1 { 1 } else { count });
            assert_eq!([parts.scales.len(), parts.biases.len()], [3 * parts.count; 2]);
            for (weight, whole) in parts.weights.iter().zip(&values.weights) {
                assert_eq!((weight.rows(), weight.cols()), (5, 3 * parts.count));
                for (row, column) in (0..5).flat_map(|row| (0..3).map(move |column| (row, column))) {
                    let of_part = |part: usize| weight[(row, 3 * part + column)];
                    let numbers =
                        (0..parts.count).map(|part| f64::from(of_part(part)) * parts.scales[3 * part + column]);
                    assert_eq!(numbers.sum::<f64>(), f64::from(whole[(row, column)]) * values.scales[column]);
                    assert!((1..parts.count).all(|part| 2 * of_part(part).abs() <= factor));
                    // The first is the nearest, or next to it.
                    let first = f64::from(whole[(row, column)]) / f64::from(factor).powi(parts.count as i32 - 1);
                    assert!((f64::from(of_part(0)) - first).abs() <= 1.0);
                }
            }
            for column in 0..3 {
                let numbers = (column..3 * parts.count).step_by(3).map(|i| parts.biases[i] * parts.scales[i]);
                assert!((numbers.sum::<f64>() - values.offsets[column]).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn the_factor_makes_all_parts_reach_as_far() {
        let factor =
            |factor, largest: &[f64]| Found { largest: largest.to_vec(), squares: Vec::new() }.even_factor(factor);
        assert_eq!([factor(4, &[100.0, 100.0]), factor(4, &[400.0, 100.0]), factor(4, &[100.0, 400.0])], [4, 8, 2]);
        // Of four, the first is divided by 2³ and the others are multiplied by 2.
        assert_eq!(factor(2, &[1600.0, 100.0, 90.0, 80.0]), 4);
        // Nothing is gained where one part is all there is.
        assert_eq!([factor(4, &[100.0, 0.0]), factor(4, &[0.0, 100.0]), factor(4, &[100.0])], [1; 3]);
    }
}
