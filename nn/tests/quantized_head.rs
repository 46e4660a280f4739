//! The integer head on a layer with the statistics of GPT-2's layer 0, against the f32 head.

mod common;

use common::random_layer;
use common::shared::layer_0;
use nn::attention::{AttentionWeights, Linear, Part};
use nn::clear::ClearEvaluator;
use nn::integer::{IntegerAttention, IntegerOptions, steps};
use nn::matrix::{Matrix, relative_error};
use nn::range::IntegerRange;
use nn::table::LookupTable;

/// The relative error on an input that the quantizers are calibrated on; nothing may leave its range on the way.
fn calibrated_error(
    weights: &AttentionWeights,
    part: Part,
    hidden: &Matrix<f32>,
    expected: &Matrix<f32>,
    options: &IntegerOptions,
) -> f64 {
    let quantized = IntegerAttention::calibrate(weights, part, std::slice::from_ref(hidden), options).unwrap();
    let (output, evaluator) = evaluated(&quantized, hidden);
    assert_eq!((evaluator.out_of_range(), evaluator.overflows()), (0, 0), "{part:?}, {options:?}");
    relative_error(&output, expected)
}

/// The output on an input, and what happened on the way.
fn evaluated(quantized: &IntegerAttention, hidden: &Matrix<f32>) -> (Matrix<f32>, ClearEvaluator<LookupTable>) {
    let mut evaluator = ClearEvaluator::new();
    let input = quantized.client().quantize_input(hidden).unwrap();
    let output = quantized.program().evaluate_clear(&mut evaluator, &input);
    (quantized.client().dequantize_output(&output), evaluator)
}

/// Mean relative errors over inputs and heads, for 2 ..= 11 bits.
fn mean_errors(weights: &AttentionWeights, inputs: &[Matrix<f32>], heads: &[usize], msbs: u32) -> Vec<f64> {
    let pairs: Vec<(&Matrix<f32>, usize)> =
        inputs.iter().flat_map(|hidden| heads.iter().map(move |&head| (hidden, head))).collect();
    let error = |hidden: &Matrix<f32>, head, options: &IntegerOptions| {
        let expected = weights.head(head).unwrap().attend(hidden).output;
        calibrated_error(weights, Part::Head(head), hidden, &expected, options)
    };
    let mean = |bits| {
        let options = IntegerOptions { msbs, ..IntegerOptions::new(bits) };
        pairs.iter().map(|&(hidden, head)| error(hidden, head, &options)).sum::<f64>() / pairs.len() as f64
    };
    IntegerOptions::BITS.map(mean).collect()
}

#[test]
fn error_falls_with_bits() {
    let (weights, inputs) = random_layer();
    let all: Vec<usize> = (0..weights.heads()).collect();
    let errors = mean_errors(&weights, &inputs[..3], &all, 10);
    println!("mean relative error of 12 heads at 2 ..= 11 bits, lookups of 10 bits: {errors:.3?}");
    // At 2 and 3 bits nearly all values are 0, and so is the output.
    assert!(errors[..2].iter().all(|error| (0.9..1.1).contains(error)), "{errors:.3?}");
    assert!(errors[2..].is_sorted_by(|a, b| a > b), "{errors:.3?}");
    assert!(errors[6] < 0.16 && errors[9] < 0.04, "{errors:.3?}");
}

/// What a prototype of the article's circuit gave on head 0, averaged over the same prompts.
#[test]
#[ignore = "needs ../shared: the article's head is GPT-2's"]
fn error_of_head_0_is_near_the_articles() {
    let (weights, inputs) = layer_0();
    let errors = mean_errors(&weights, &inputs[..3], &[0], 10);
    println!("mean relative error of head 0 at 2 ..= 11 bits, lookups of 10 bits: {errors:.3?}");
    for (bits, article) in [(4, 0.78), (7, 0.31), (8, 0.17)] {
        let ratio = errors[bits - 2] / article;
        assert!((0.8..1.25).contains(&ratio), "{bits} bits: {} against {article}", errors[bits - 2]);
    }
}

/// The whole attention, heads and output projection, on an input that it is calibrated on.
fn assert_whole_error_falls_with_bits(weights: &AttentionWeights, hidden: &Matrix<f32>) {
    let expected = weights.attend(Part::Whole, hidden).unwrap();
    let error = |bits, msbs| {
        let options = IntegerOptions { msbs, ..IntegerOptions::new(bits) };
        calibrated_error(weights, Part::Whole, hidden, &expected, &options)
    };
    for msbs in [8, 10] {
        let errors: Vec<f64> = IntegerOptions::BITS.map(|bits| error(bits, msbs)).collect();
        println!("relative error of the whole attention at 2 ..= 11 bits, lookups of {msbs} bits: {errors:.3?}");
        assert!(errors[2..7].is_sorted_by(|a, b| a > b), "{errors:.3?}");
    }
}

#[test]
fn error_of_the_whole_attention_falls_with_bits() {
    let (weights, inputs) = random_layer();
    assert_whole_error_falls_with_bits(&weights, &inputs[0]);
}

/// Up to 8 bits of activations, lookups rounded to 8 bits are hardly worse than those of 10; beyond, they set the
/// error.
#[test]
fn rounding_to_8_bits_costs_little_up_to_8_bits() {
    let (weights, inputs) = random_layer();
    let heads = [0, 5, 11];
    let finer = mean_errors(&weights, &inputs[..3], &heads, 10);
    let rounded = mean_errors(&weights, &inputs[..3], &heads, 8);
    println!("mean relative error of three heads, lookups of 8 bits: {rounded:.3?}, of 10 bits: {finer:.3?}");
    assert!(rounded[..7].iter().zip(&finer).all(|(rounded, finer)| *rounded < 1.3 * finer), "{rounded:.3?}");
    assert!(rounded[9] < 0.11, "{rounded:.3?}");
}

/// How wide the widest lookup of a head is at 4 bits, calibrated on one input.
fn widest_lookup(weights: &AttentionWeights, hidden: &Matrix<f32>, head: usize) -> u32 {
    let input = std::slice::from_ref(hidden);
    let quantized = IntegerAttention::calibrate(weights, Part::Head(head), input, &IntegerOptions::new(4)).unwrap();
    quantized.ranges().iter().map(|range| range.bits).max().unwrap()
}

/// The article's demonstration, 4 bits and 6 tokens, needs 8 bits at most; so does GPT-2's head 0 here, with its guard.
#[test]
#[ignore = "needs ../shared: the article's head is GPT-2's"]
fn four_bits_of_gpt2_need_lookups_of_eight() {
    let (weights, inputs) = layer_0();
    for hidden in &inputs {
        assert_eq!(widest_lookup(&weights, hidden, 0), 8);
        assert!((1..12).all(|head| widest_lookup(&weights, hidden, head) <= 9));
    }
}

/// The fewest and the most bits of lookups of a step.
fn extremes(quantized: &IntegerAttention, step: &str) -> (u32, u32) {
    let bits = quantized.ranges().iter().filter(|range| range.step == step).map(|range| range.bits);
    (bits.clone().min().unwrap(), bits.max().unwrap())
}

/// Each head has ranges of its own: alone, it has the same tables as in the whole attention.
#[test]
fn tables_of_the_whole_attention_are_as_wide_as_each_head_needs() {
    let (weights, inputs) = random_layer();
    let input = &inputs[..1];
    let whole = IntegerAttention::calibrate(&weights, Part::Whole, input, &IntegerOptions::new(4)).unwrap();
    for step in [steps::QUERY_KEY_VALUE, steps::QUANTIZE_SCORES, steps::QUANTIZE_OUTPUT] {
        let (narrowest, widest) = extremes(&whole, step);
        println!("{step}: {narrowest} to {widest} bits");
        assert!(narrowest < widest, "{step}");
    }
    for index in 0..12 {
        let head = IntegerAttention::calibrate(&weights, Part::Head(index), input, &IntegerOptions::new(4)).unwrap();
        let tables =
            whole.ranges().iter().filter(|range| range.head == Some(index) && range.step != steps::QUANTIZE_OUTPUT);
        let alone = head.ranges().iter().filter(|range| range.step != steps::OUTPUT);
        assert!(tables.eq(alone), "head {index}");
    }
}

/// What the heads make together is far from what its modulus holds.
#[test]
#[ignore = "needs ../shared: the widths of GPT-2's tables"]
fn tables_of_gpt2_have_the_documented_widths() {
    let (weights, inputs) = layer_0();
    let whole = IntegerAttention::calibrate(&weights, Part::Whole, &inputs[..1], &IntegerOptions::new(4)).unwrap();
    assert_eq!(extremes(&whole, steps::QUERY_KEY_VALUE), (7, 9));
    assert_eq!(extremes(&whole, steps::QUANTIZE_SCORES), (7, 9));
    assert_eq!(extremes(&whole, steps::QUANTIZE_OUTPUT), (2, 8));
    let sums = whole.ranges().last().unwrap();
    assert_eq!((sums.step, sums.bits, sums.observed), (steps::PROJECT_OUTPUT, 13, IntegerRange { min: -90, max: 79 }));
}

/// The guard holds what the inputs of the calibration set do not show of another.
#[test]
fn a_prompt_that_was_not_calibrated_on_stays_in_range() {
    let (weights, inputs) = random_layer();
    let (other, calibration) = inputs.split_last().unwrap();
    for (bits, head) in [(4, 0), (6, 5), (8, 0), (8, 5), (8, 11), (11, 0)] {
        let options = IntegerOptions::new(bits);
        let quantized = IntegerAttention::calibrate(&weights, Part::Head(head), calibration, &options).unwrap();
        let (_, evaluator) = evaluated(&quantized, other);
        assert_eq!((evaluator.out_of_range(), evaluator.overflows()), (0, 0), "{bits} bits, head {head}");
    }
}

/// Of 19,440 lookups of the whole attention, at most one in a thousand leaves its range on an input that it was not
/// calibrated on, and the error is near that on a calibrated one.
fn assert_generalizes(weights: &AttentionWeights, inputs: &[Matrix<f32>]) {
    let (other, calibration) = inputs.split_last().unwrap();
    for bits in 4..=8 {
        let whole = IntegerAttention::calibrate(weights, Part::Whole, calibration, &IntegerOptions::new(bits)).unwrap();
        let [(seen, _), (unseen, evaluator)] = [&inputs[0], other].map(|hidden| {
            let (output, evaluator) = evaluated(&whole, hidden);
            (relative_error(&output, &weights.attend(Part::Whole, hidden).unwrap()), evaluator)
        });
        let (outside, lookups) = (evaluator.out_of_range(), evaluator.lookups());
        println!("{bits} bits: {outside} of {lookups} lookups out of range, error {unseen:.3} ({seen:.3} calibrated)");
        assert!(outside * 1000 <= lookups && evaluator.overflows() == 0, "{bits} bits: {outside}");
        assert!(unseen < 1.2 * seen, "{bits} bits: {unseen} against {seen}");
    }
}

#[test]
fn the_whole_attention_generalizes_to_another_input() {
    let (weights, inputs) = random_layer();
    assert_generalizes(&weights, &inputs);
}

#[test]
#[ignore = "needs ../shared: the figures of GPT-2's attention"]
fn the_whole_attention_of_gpt2_is_as_documented() {
    let (weights, inputs) = layer_0();
    assert_whole_error_falls_with_bits(&weights, &inputs[0]);
    assert_generalizes(&weights, &inputs);
}

/// Where the output projection has no weights, or the heads no values, the output is the projection's bias, to the precision that products
/// would have.
#[test]
fn an_attention_without_weight_is_its_bias() {
    let weights = common::random_attention(8, 2);
    let hidden =
        [0, 3, 7].map(|salt| Matrix::from_fn(4, 8, |row, column| ((salt + 3 * row + 5 * column) as f32).sin()));
    let bias: Vec<f32> = (0..8).map(|channel| 0.004 * channel as f32 - 0.01).collect();
    let zeros = Linear::new(Matrix::from_fn(8, 8, |_, _| 0.0), bias.clone()).unwrap();
    let ones = Linear::new(Matrix::from_fn(8, 8, |row, column| (row + column) as f32), bias.clone()).unwrap();
    let without_values =
        |row: usize, column: usize| if column < 16 { weights.projection().weight()[(row, column)] } else { 0.0 };
    let projection = Linear::new(Matrix::from_fn(8, 24, without_values), vec![0.0; 24]).unwrap();
    let dead = AttentionWeights::new(projection, 2).unwrap();
    for layer in [weights.with_output(zeros.clone()), dead.clone().with_output(ones), dead.with_output(zeros)] {
        let layer = layer.unwrap();
        let quantized =
            IntegerAttention::calibrate(&layer, Part::Whole, &hidden[..1], &IntegerOptions::new(5)).unwrap();
        for hidden in &hidden {
            let output = quantized.evaluate_clear(hidden).unwrap();
            for row in 0..4 {
                for (found, expected) in output.row(row).iter().zip(&bias) {
                    assert!((found - expected).abs() < 0.018 / 225.0, "{found} for {expected}");
                }
            }
        }
    }
}
