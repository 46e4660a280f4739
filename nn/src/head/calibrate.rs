//! From weights in f32 and a calibration set to a head in integers.

use super::program::{HeadProgram, Projection, Scores, check_tokens};
use super::softmax::{IntegerSoftmax, headroom};
use super::{HeadClient, HeadOptions, QuantizedHead, RangeReport, steps};
use crate::attention::{AttentionWeights, Linear};
use crate::clear::ClearEngine;
use crate::engine::{FactorUse, LookupTable};
use crate::error::Error;
use crate::matrix::Matrix;
use crate::quantize::Quantizer;
use crate::range::IntegerRange;

impl QuantizedHead {
    /// Quantizes one head of a layer so that the calibration inputs, each `[T, E]`, stay in range.
    ///
    /// The head runs on them stage by stage, in integers, so that each scale is that of the values which its quantizer
    /// will see. O(Σ T·(E + T)·d) over the inputs.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if an option is out of its range or there is no such head, [`Error::Shape`] if there is no
    /// calibration input or one does not fit, [`Error::NotFinite`], [`Error::TooWide`].
    pub fn calibrate(
        weights: &AttentionWeights,
        head: usize,
        calibration: &[Matrix<f32>],
        options: &HeadOptions,
    ) -> Result<Self, Error> {
        let bits = options.bits;
        let max_tokens = check(weights, calibration, options)?;
        let input = Quantizer::calibrate(bits, calibration.iter().flat_map(|hidden| hidden.iter().map(|&x| x as f64)))?;
        let inputs = calibration.iter().map(|hidden| input.quantize_matrix(hidden)).collect::<Result<Vec<_>, _>>()?;

        let parts = Part::calibrate(weights, head, &input, &inputs, bits)?;
        let projection = Projection::new(&parts, options)?;
        let (scores, score_quantizer) = calibrate_scores(&parts, &projection, max_tokens, options)?;
        let value = parts[2].quantizer;
        // Exponentials, inverses of their sums and probabilities all go up to 1, and reach it in the first row.
        let levels = Quantizer::calibrate(bits, [1.0])?;
        let softmax = IntegerSoftmax::new(bits, options.msbs, max_tokens, &score_quantizer, &levels)?;
        let bound = softmax.sum_bound(max_tokens, &levels) * value.levels() as i64;
        let output = factor_use(IntegerRange::symmetric(bound), None, levels.levels(), value.levels());
        let output_scale = levels.scale() * value.scale();

        let program = HeadProgram { projection, scores, softmax, output, max_tokens };
        let client = HeadClient { input, output_scale, embedding_size: weights.embedding_size(), max_tokens };
        let ranges = analyse(&program, &inputs);
        Ok(Self { program, client, ranges })
    }
}

/// Checks everything but the values, and returns the most tokens of an input.
fn check(weights: &AttentionWeights, calibration: &[Matrix<f32>], options: &HeadOptions) -> Result<usize, Error> {
    if !HeadOptions::BITS.contains(&options.bits) {
        return Err(Error::out_of_range("the number of bits of the head", options.bits, "in 2 ..= 11"));
    }
    if !HeadOptions::MSBS.contains(&options.msbs) {
        return Err(Error::out_of_range("the number of bits kept of a lookup", options.msbs, "in 6 ..= 10"));
    }
    let size = weights.embedding_size();
    let unfit = calibration.iter().find(|hidden| hidden.rows() == 0 || hidden.cols() != size);
    if let Some(hidden) = unfit {
        let expected = format!("[T, {size}] with T at least 1");
        return Err(Error::shape("a calibration input", expected, &[hidden.rows(), hidden.cols()]));
    }
    let Some(longest) = calibration.iter().map(Matrix::rows).max() else {
        return Err(Error::shape("the calibration set", "at least one input", &[0]));
    };
    let max_tokens = options.max_tokens.unwrap_or(longest);
    check_tokens(max_tokens)?;
    Ok(max_tokens)
}

/// Queries, keys or values on the calibration set.
struct Part {
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

impl Part {
    /// Queries, keys and values.
    fn calibrate(
        weights: &AttentionWeights,
        head: usize,
        input: &Quantizer,
        inputs: &[Matrix<i32>],
        bits: u32,
    ) -> Result<[Self; 3], Error> {
        // One scale for the weights of the whole layer, as in the article.
        let layer = weights.projection().weight().iter().map(|&weight| weight as f64);
        let quantizer = Quantizer::calibrate(bits, layer)?;
        let head = weights.head(head)?;
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
    /// The weights and the tables of queries, keys and values.
    fn new(parts: &[Part; 3], options: &HeadOptions) -> Result<Self, Error> {
        let size = parts[0].bias.len();
        let levels = parts[0].quantizer.levels() as i64;
        let mut weight = Matrix::from_fn(parts[0].weight.rows(), 3 * size, |_, _| 0);
        parts.iter().enumerate().for_each(|(index, part)| weight.set_columns(index * size, &part.weight));
        let column_sum = |col| (0..weight.rows()).map(|row| weight[(row, col)].unsigned_abs() as i64).sum::<i64>();
        let limit = levels * (0..weight.cols()).map(column_sum).max().unwrap_or(0);
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
        Ok(Self { input_bits: options.bits, weight, accumulator_bits: range.bits(), tables, table_of_channel })
    }

    /// What the tables make of accumulators `[T, d]`; `first` is the channel of the first column.
    fn look_up(&self, accumulators: &Matrix<i64>, first: usize) -> Matrix<i32> {
        Matrix::from_fn(accumulators.rows(), accumulators.cols(), |row, col| {
            let table = &self.tables[self.table_of_channel[first + col]];
            table.evaluate(accumulators[(row, col)]) as i32 // a level of at most 11 bits
        })
    }
}

/// The product and the table of the scores, and the quantizer that the table applies.
fn calibrate_scores(
    [query, key, _]: &[Part; 3],
    projection: &Projection,
    max_tokens: usize,
    options: &HeadOptions,
) -> Result<(Scores, Quantizer), Error> {
    let size = query.bias.len();
    let inputs = query.accumulators.iter().zip(&key.accumulators);
    let products: Vec<i64> = inputs
        .flat_map(|(query, key)| causal_products(&projection.look_up(query, 0), &projection.look_up(key, size)))
        .collect();
    let (query, key) = (query.quantizer, key.quantizer);
    let unit = query.scale() * key.scale() / (size as f64).sqrt();
    let headroom = headroom(options.bits, options.msbs, max_tokens);
    let real = products.iter().map(|&product| product as f64 * unit);
    let quantizer = Quantizer::calibrate_with_headroom(options.bits, headroom, real)?;
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

/// The range of `observed`, guarded; −limit ..= limit is the worst case.
fn guarded(observed: impl IntoIterator<Item = i64>, limit: i64) -> IntegerRange {
    let observed = IntegerRange::covering(observed).unwrap_or(IntegerRange::of(0));
    observed.guarded(IntegerRange::symmetric(limit))
}

/// The table of `function` over a range, which is centred in it; more than `msbs` bits are rounded to as many.
pub(super) fn table_over(
    step: &'static str,
    range: IntegerRange,
    msbs: u32,
    function: impl Fn(i64) -> i64,
) -> Result<LookupTable, Error> {
    let bits = range.bits();
    if bits > LookupTable::MAX_BITS {
        return Err(Error::TooWide { step, bits, limit: LookupTable::MAX_BITS });
    }
    let rounded_bits = bits.saturating_sub(msbs);
    let slack = (1 << bits) - range.width();
    // With rounding, the inputs are those from half a step below `first`.
    let half_step = (1 << rounded_bits) / 2;
    Ok(LookupTable::tabulate(range.min - slack / 2 + half_step, bits, rounded_bits, function))
}

/// The use of factors of at most `left` and `right` in size, whose products lie in `range` and are read by `table`.
pub(super) fn factor_use(range: IntegerRange, table: Option<&LookupTable>, left: i32, right: i32) -> FactorUse {
    let operands = IntegerRange::symmetric(left as i64 + right as i64);
    FactorUse {
        product_bits: range.signed_bits().max(table.map_or(0, LookupTable::bits)),
        operand_bits: operands.signed_bits() + 1,
    }
}

/// What each intermediate takes on the calibration set, and what its tables cover.
fn analyse(program: &HeadProgram, inputs: &[Matrix<i32>]) -> Vec<RangeReport> {
    let mut engine = ClearEngine::new();
    inputs.iter().for_each(|input| {
        // Only the record of the engine is of interest; an input may be longer than the program's limit.
        let tokens = input.rows().min(program.max_tokens);
        program.evaluate_clear(&mut engine, &Matrix::from_fn(tokens, input.cols(), |row, col| input[(row, col)]));
    });
    let record = |name| engine.steps().iter().find(move |step| step.name == name);
    let mut reports: Vec<RangeReport> = Vec::new();
    for (step, table) in program.tables() {
        let Some(observed) = record(step).and_then(|record| record.inputs) else { continue };
        let min = table.first() - table.rounding_offset();
        let covered = IntegerRange { min, max: min + (1 << table.bits()) - 1 };
        let report = RangeReport { step, observed, covered, bits: table.bits(), rounded_bits: table.rounded_bits() };
        if reports.last() != Some(&report) {
            reports.push(report);
        }
    }
    let bits = program.output.product_bits;
    let covered = IntegerRange { min: -(1 << bits), max: (1 << bits) - 1 };
    let observed = record(steps::OUTPUT).and_then(|record| record.outputs);
    reports.extend(observed.map(|observed| RangeReport {
        step: steps::OUTPUT,
        observed,
        covered,
        bits,
        rounded_bits: 0,
    }));
    reports
}
