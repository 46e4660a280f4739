//! From weights in f32 and a calibration set to a head, or a whole attention, in integers.

use super::attention::IntegerAttention;
use super::client::IntegerClient;
use super::combination::Combination;
use super::options::IntegerOptions;
use super::program::{HeadTables, IntegerProgram, Projection, Scores};
use super::ranges::{RangeReport, modulus_report, table_reports};
use super::softmax::{IntegerSoftmax, unused_levels};
use super::steps;
use super::tables::{factor_use, guarded, product_bits, table_over};
use crate::attention::{AttentionWeights, HeadWeights, Linear, Part};
use crate::calibration::check_inputs;
use crate::clear::{ClearEvaluator, StepRecord};
use crate::error::{Error, check_within};
use crate::matrix::Matrix;
use crate::quantizers::Quantizer;
use crate::range::IntegerRange;
use crate::table::LookupTable;

impl IntegerAttention {
    /// Quantizes a part of a layer's attention so that the calibration inputs, each `[T, E]`, stay in range.
    ///
    /// It runs on them stage by stage, in integers, so that each scale is that of the values which its quantizer
    /// will see. O(Σ T·(E + T)·d) over the inputs for each head, O(Σ T·E²) for the output projection.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if an option is out of its range, there is no such head, or the whole attention is asked
    /// for and its output projection is not known; [`Error::Shape`] if there is no calibration input or one does not
    /// fit; [`Error::NotFinite`], [`Error::TooWide`].
    pub fn calibrate(
        weights: &AttentionWeights,
        part: Part,
        calibration: &[Matrix<f32>],
        options: &IntegerOptions,
    ) -> Result<Self, Error> {
        check_within("the number of bits of the integer attention", options.bits, IntegerOptions::BITS)?;
        check_within("the number of bits kept of a lookup", options.msbs, IntegerOptions::MSBS)?;
        let limit = IntegerOptions::MAX_TOKENS;
        let max_tokens = check_inputs(weights.embedding_size(), calibration, options.max_tokens, limit)?;
        let calibration = Calibration::new(weights, calibration, max_tokens, options)?;
        let heads = weights.heads_of(part)?;
        let heads = heads.iter().map(|head| CalibratedHead::new(head, &calibration)).collect::<Result<Vec<_>, _>>()?;
        let Calibrated { program, output_scale, ranges } = match part {
            Part::Head(index) => heads.into_iter().next().expect("one head").alone(index),
            Part::Whole => combine(heads, weights.output()?, &calibration)?,
        };
        let embedding_size = weights.embedding_size();
        let client = IntegerClient { input: calibration.input, output_scale, embedding_size, max_tokens };
        Ok(Self { part, program, client, ranges })
    }
}

/// What all heads are calibrated with.
struct Calibration<'a> {
    options: &'a IntegerOptions,
    max_tokens: usize,
    input: Quantizer,
    /// Of the weights of the whole layer, as in the article.
    weight: Quantizer,
    /// `[T, E]` each.
    inputs: Vec<Matrix<i32>>,
}

impl<'a> Calibration<'a> {
    fn new(
        weights: &AttentionWeights,
        calibration: &[Matrix<f32>],
        max_tokens: usize,
        options: &'a IntegerOptions,
    ) -> Result<Self, Error> {
        let values = calibration.iter().flat_map(|hidden| hidden.iter().map(|&x| x as f64));
        let input = Quantizer::calibrate(options.bits, values)?;
        let layer = weights.projection().weight().iter().map(|&weight| weight as f64);
        let weight = Quantizer::calibrate(options.bits, layer)?;
        let inputs = calibration.iter().map(|hidden| input.quantize_matrix(hidden)).collect::<Result<_, _>>()?;
        Ok(Self { options, max_tokens, input, weight, inputs })
    }

    /// Runs a program on the inputs, as far as they are not longer than its limit.
    fn run(&self, program: &IntegerProgram) -> (Vec<Matrix<i64>>, ClearEvaluator<LookupTable>) {
        let mut evaluator = ClearEvaluator::new();
        let run = |input: &Matrix<i32>| {
            let tokens = input.rows().min(program.max_tokens);
            let beginning = Matrix::from_fn(tokens, input.cols(), |row, col| input[(row, col)]);
            program.evaluate_clear(&mut evaluator, &beginning)
        };
        (self.inputs.iter().map(run).collect(), evaluator)
    }
}

/// A program, what a unit of its output stands for, and what its intermediates take on the calibration set.
struct Calibrated {
    program: IntegerProgram,
    output_scale: f64,
    ranges: Vec<RangeReport>,
}

/// One head, and what it does on the calibration set.
struct CalibratedHead {
    program: IntegerProgram,
    /// s_p·s_v.
    output_scale: f64,
    /// What the absolute value of an output is at most, whatever the input.
    output_bound: i64,
    /// `[T, d]` for each input.
    outputs: Vec<Matrix<i64>>,
    evaluator: ClearEvaluator<LookupTable>,
}

impl CalibratedHead {
    fn new(head: &HeadWeights, calibration: &Calibration<'_>) -> Result<Self, Error> {
        let &Calibration { options, max_tokens, .. } = calibration;
        let IntegerOptions { bits, msbs, .. } = *options;
        let projected = Projected::calibrate(head, calibration)?;
        let (projection, accumulator_bits) = Projection::new(&projected, options)?;
        let (scores, score_quantizer) = calibrate_scores(&projected, &projection, max_tokens, options)?;
        let value = projected[2].quantizer;
        // Exponentials, inverses of their sums and probabilities all go up to 1, and reach it in the first row.
        let levels = Quantizer::calibrate(bits, [1.0])?;
        let softmax = IntegerSoftmax::new(bits, msbs, max_tokens, &score_quantizer, &levels)?;
        let output_bound = softmax.sum_bound(max_tokens, &levels) * value.levels() as i64;
        let output = factor_use(IntegerRange::symmetric(output_bound), None, levels.levels(), value.levels());
        let program = IntegerProgram {
            input_bits: bits,
            weight: side_by_side(&projected.each_ref().map(|part| &part.weight)),
            accumulator_bits,
            heads: vec![HeadTables { projection, scores, softmax, output }],
            combination: None,
            max_tokens,
        };
        let (outputs, evaluator) = calibration.run(&program);
        Ok(Self { program, output_scale: levels.scale() * value.scale(), output_bound, outputs, evaluator })
    }

    fn tables(&self) -> &HeadTables {
        &self.program.heads[0]
    }

    /// As head `index`, whose output is the result.
    fn alone(self, index: usize) -> Calibrated {
        let mut ranges = table_reports(Some(index), self.program.tables(), &self.evaluator);
        let bits = self.tables().output.product_bits;
        ranges.extend(modulus_report(Some(index), steps::OUTPUT, bits, &self.evaluator));
        Calibrated { program: self.program, output_scale: self.output_scale, ranges }
    }

    /// The range of the output, guarded.
    fn output_range(&self) -> IntegerRange {
        let observed = self.outputs.iter().flat_map(|output| output.iter().copied());
        guarded(observed, self.output_bound)
    }

    /// The outputs' values.
    fn output_values(&self) -> impl Iterator<Item = f64> {
        let outputs = self.outputs.iter().flat_map(|output| output.iter());
        outputs.map(|&output| output as f64 * self.output_scale)
    }
}

/// All heads, brought to one scale, and the output projection.
fn combine(
    mut heads: Vec<CalibratedHead>,
    output: &Linear,
    calibration: &Calibration<'_>,
) -> Result<Calibrated, Error> {
    let IntegerOptions { bits, msbs, .. } = *calibration.options;
    let (quantizer, weights) = output_quantizers(bits, &heads, output)?;
    let mut tables = Vec::with_capacity(heads.len());
    for head in &mut heads {
        let unit = head.output_scale;
        let function = |product| quantizer.quantize(product as f64 * unit) as i64;
        let range = head.output_range();
        let table = table_over(steps::QUANTIZE_OUTPUT, range, msbs, function)?;
        // A table reads the product now, which need not hold what the table does not.
        head.program.heads[0].output.product_bits = product_bits(range, Some(&table));
        tables.push(table);
    }
    let output_scale = quantizer.scale() * weights.scale();
    let combination = Combination::new(output, &weights, output_scale, (tables, quantizer.levels()))?;
    let mut ranges: Vec<RangeReport> = Vec::new();
    for (index, head) in heads.iter().enumerate() {
        ranges.extend(table_reports(Some(index), head.program.tables(), &head.evaluator));
        let observed = head.evaluator.record(steps::OUTPUT).and_then(StepRecord::integer_outputs);
        ranges.extend(observed.map(|observed| {
            RangeReport::of_table(Some(index), steps::QUANTIZE_OUTPUT, observed, &combination.tables[index])
        }));
    }
    let sum_bits = combination.sum_bits;
    let program = merge(heads, combination);
    let (_, evaluator) = calibration.run(&program);
    ranges.extend(modulus_report(None, steps::PROJECT_OUTPUT, sum_bits, &evaluator));
    Ok(Calibrated { program, output_scale, ranges })
}

/// The quantizers of heads' outputs and of the output projection's weights, whose scales' product is the unit of the biases.
///
/// Where outputs or weights are all zero, that product is free, and such that the largest bias is L²: rounded to within a unit, it keeps
/// as many bits as a product has.
fn output_quantizers(bits: u32, heads: &[CalibratedHead], output: &Linear) -> Result<(Quantizer, Quantizer), Error> {
    let weights = |scale| Quantizer::calibrate_beside(bits, output.weight().iter().map(|&weight| weight as f64), scale);
    let first = weights(1.0)?;
    let largest = output.bias().iter().fold(0.0, |largest: f64, &bias| largest.max((bias as f64).abs()));
    let unit = if largest > 0.0 { largest / (first.levels() as f64).powi(2) } else { 1.0 };
    let values = heads.iter().flat_map(CalibratedHead::output_values);
    let outputs = Quantizer::calibrate_beside(bits, values, unit / first.scale())?;
    Ok((outputs, weights(unit / outputs.scale())?))
}

/// One program of several heads.
fn merge(heads: Vec<CalibratedHead>, combination: Combination) -> IntegerProgram {
    let programs: Vec<IntegerProgram> = heads.into_iter().map(|head| head.program).collect();
    IntegerProgram {
        input_bits: programs[0].input_bits,
        weight: side_by_side(&programs.iter().map(|program| &program.weight).collect::<Vec<_>>()),
        accumulator_bits: programs.iter().map(|program| program.accumulator_bits).max().unwrap_or(0),
        max_tokens: programs[0].max_tokens,
        heads: programs.into_iter().flat_map(|program| program.heads).collect(),
        combination: Some(combination),
    }
}

impl Combination {
    /// Of an output projection with the given quantizer of weights, results in units of `scale`, and tables of terms of
    /// at most `largest`.
    fn new(
        output: &Linear,
        quantizer: &Quantizer,
        scale: f64,
        (tables, largest): (Vec<LookupTable>, i32),
    ) -> Result<Self, Error> {
        let weight = output.weight().map(|&weight| quantizer.quantize(weight as f64));
        let bias: Vec<i64> = output.bias().iter().map(|&b| (b as f64 / scale).round_ties_even() as i64).collect();
        let sum_bits = Self::bits_of(&weight, &bias, largest as i64);
        if sum_bits > Self::MAX_SUM_BITS {
            let allowed = format!("at most {}: the bias dwarfs everything else", Self::MAX_SUM_BITS);
            return Err(Error::out_of_range("the number of bits of the output projection", sum_bits, allowed));
        }
        Ok(Self { tables, weight, bias, sum_bits })
    }
}

/// Matrices of as many rows, one to the right of the other.
fn side_by_side(parts: &[&Matrix<i32>]) -> Matrix<i32> {
    let columns = parts.iter().map(|part| part.cols()).sum();
    let mut whole = Matrix::from_fn(parts[0].rows(), columns, |_, _| 0);
    let mut first = 0;
    for part in parts {
        whole.set_columns(first, part);
        first += part.cols();
    }
    whole
}

/// Queries, keys or values on the calibration set.
struct Projected {
    /// `[E, d]`.
    weight: Matrix<i32>,
    /// `[d]`, in units of the accumulators' requantization.
    bias: Vec<i32>,
    /// x·W, for each input `[T, d]`.
    accumulators: Vec<Matrix<i64>>,
    requantize: Requantization,
    quantizer: Quantizer,
}

/// From an accumulator a to y: round(a·unit / s) + bias.
#[derive(Clone, Copy)]
struct Requantization {
    /// s_x·s_w.
    unit: f64,
    quantizer: Quantizer,
}

impl Requantization {
    fn apply(&self, accumulator: i64, bias: i32) -> i64 {
        (self.quantizer.quantize(accumulator as f64 * self.unit) + bias) as i64
    }

    fn dequantize(&self, value: i64) -> f64 {
        self.quantizer.dequantize(value)
    }
}

impl Projected {
    /// Queries, keys and values.
    fn calibrate(head: &HeadWeights, calibration: &Calibration<'_>) -> Result<[Self; 3], Error> {
        let &Calibration { options: &IntegerOptions { bits, .. }, input, weight: quantizer, ref inputs, .. } =
            calibration;
        let layers = [&head.query, &head.key, &head.value];
        let unit = input.scale() * quantizer.scale();
        let projected = layers.map(|layer| project(layer, &quantizer, inputs));
        let products = projected.iter().flat_map(|(_, accumulators)| accumulators.iter().flat_map(Matrix::iter));
        let biases = layers.iter().flat_map(|layer| layer.bias().iter().map(|&bias| bias as f64));
        let sums = Quantizer::calibrate(bits, products.map(|&product| product as f64 * unit).chain(biases))?;
        let requantize = Requantization { unit, quantizer: sums };
        let mut parts = layers.iter().zip(projected).map(|(layer, (weight, accumulators))| {
            let bias: Vec<i32> = layer.bias().iter().map(|&bias| sums.quantize(bias as f64)).collect();
            let rows = accumulators.iter().flat_map(|matrix| (0..matrix.rows()).map(|row| matrix.row(row)));
            let sums = rows.flat_map(|row| row.iter().zip(&bias).map(|(&sum, &bias)| requantize.apply(sum, bias)));
            let quantizer = Quantizer::calibrate(bits, sums.map(|sum| requantize.dequantize(sum)))?;
            Ok(Self { weight, bias, accumulators, requantize, quantizer })
        });
        let mut next = || parts.next().expect("three parts");
        Ok([next()?, next()?, next()?])
    }

    /// The integer of an accumulator of a channel with a bias of `bias` units.
    fn quantize(&self, accumulator: i64, bias: i32) -> i32 {
        self.quantizer.quantize(self.requantize.dequantize(self.requantize.apply(accumulator, bias)))
    }
}

/// The integer weights `[E, d]` of a layer, and the accumulators `[T, d]` of each input.
fn project(layer: &Linear, quantizer: &Quantizer, inputs: &[Matrix<i32>]) -> (Matrix<i32>, Vec<Matrix<i64>>) {
    let weight = layer.weight().map(|&weight| quantizer.quantize(weight as f64));
    let accumulators = inputs.iter().map(|input| input.multiply_exact(&weight)).collect();
    (weight, accumulators)
}

impl Projection {
    /// The tables of queries, keys and values, and the bits of the widest.
    fn new(parts: &[Projected; 3], options: &IntegerOptions) -> Result<(Self, u32), Error> {
        let levels = parts[0].quantizer.levels() as i64;
        let column_sum = |weight: &Matrix<i32>, col| {
            (0..weight.rows()).map(|row| weight[(row, col)].unsigned_abs() as i64).sum::<i64>()
        };
        let largest = |weight| (0..Matrix::cols(weight)).map(|col| column_sum(weight, col)).max().unwrap_or(0);
        let limit = levels * parts.iter().map(|part| largest(&part.weight)).max().unwrap_or(0);
        let accumulators = parts.iter().flat_map(|part| part.accumulators.iter().flat_map(Matrix::iter).copied());
        let range = guarded(accumulators, limit);
        let mut tables = Vec::new();
        let mut table_of_channel = Vec::new();
        for part in parts {
            let first = tables.len();
            let mut biases: Vec<i32> = Vec::new();
            for &bias in &part.bias {
                let index = biases.iter().position(|&other| other == bias).unwrap_or(biases.len());
                if index == biases.len() {
                    let function = |accumulator| part.quantize(accumulator, bias) as i64;
                    tables.push(table_over(steps::QUERY_KEY_VALUE, range, options.msbs, function)?);
                    biases.push(bias);
                }
                table_of_channel.push(first + index);
            }
        }
        Ok((Self { tables, table_of_channel }, range.bits()))
    }
}

/// The product and the table of the scores, and the quantizer that the table applies.
fn calibrate_scores(
    [query, key, _]: &[Projected; 3],
    projection: &Projection,
    max_tokens: usize,
    options: &IntegerOptions,
) -> Result<(Scores, Quantizer), Error> {
    let size = query.bias.len();
    let inputs = query.accumulators.iter().zip(&key.accumulators);
    let products: Vec<i64> = inputs
        .flat_map(|(query, key)| causal_products(&projection.look_up(query, 0), &projection.look_up(key, size)))
        .collect();
    let (query, key) = (query.quantizer, key.quantizer);
    let unit = query.scale() * key.scale() / (size as f64).sqrt();
    let unused = unused_levels(options.bits, options.msbs, max_tokens);
    let real = products.iter().map(|&product| product as f64 * unit);
    let quantizer = Quantizer::calibrate_leaving(options.bits, unused, real)?;
    let range = guarded(products, size as i64 * query.levels() as i64 * key.levels() as i64);
    let function = |product| quantizer.quantize(product as f64 * unit) as i64;
    let table = table_over(steps::QUANTIZE_SCORES, range, options.msbs, function)?;
    let factor = factor_use(range, Some(&table), query.levels(), key.levels());
    Ok((Scores { factor, table }, quantizer))
}

/// The entries of q·kᵀ up to the diagonal, for q and k of shape `[T, d]`.
fn causal_products(query: &Matrix<i32>, key: &Matrix<i32>) -> Vec<i64> {
    let products = query.multiply_exact(&key.transpose());
    (0..products.rows()).flat_map(|row| products.row(row)[..=row].to_vec()).collect()
}
