//! The integer head on the real layer 0 of GPT-2, against the f32 head.

mod common;

use common::shared_checkpoint;
use nn::attention::{AttentionWeights, Linear, Part};
use nn::checkpoint::Checkpoint;
use nn::clear::ClearEngine;
use nn::head::{HeadOptions, QuantizedHead, steps};
use nn::matrix::{Matrix, relative_error};
use nn::range::IntegerRange;

/// The weights of layer 0, and the inputs of three prompts with the outputs of every head.
fn layer_0() -> Option<(AttentionWeights, Checkpoint)> {
    let weights = shared_checkpoint("gpt2/layer0_attention.safetensors")?;
    let reference = shared_checkpoint("gpt2/layer0_reference.safetensors")?;
    Some((AttentionWeights::load(&weights, 0, None).unwrap(), reference))
}

fn hidden(reference: &Checkpoint, example: usize) -> Matrix<f32> {
    reference.any_matrix(&format!("ex{example}.hidden")).unwrap()
}

/// The relative error on an input that the quantizers are calibrated on; nothing may leave its range on the way.
fn calibrated_error(
    weights: &AttentionWeights,
    part: Part,
    hidden: &Matrix<f32>,
    expected: &Matrix<f32>,
    options: &HeadOptions,
) -> f64 {
    let quantized = QuantizedHead::calibrate(weights, part, std::slice::from_ref(hidden), options).unwrap();
    let (output, engine) = evaluated(&quantized, hidden);
    assert_eq!((engine.out_of_range(), engine.overflows()), (0, 0), "{part:?}, {options:?}");
    relative_error(&output, expected)
}

/// The output on an input, and what happened on the way.
fn evaluated(quantized: &QuantizedHead, hidden: &Matrix<f32>) -> (Matrix<f32>, ClearEngine) {
    let mut engine = ClearEngine::new();
    let input = quantized.client().quantize_input(hidden).unwrap();
    let output = quantized.program().evaluate_clear(&mut engine, &input);
    (quantized.client().dequantize_output(&output), engine)
}

/// Mean relative errors over examples and heads, for 2 ..= 11 bits.
fn mean_errors(weights: &AttentionWeights, reference: &Checkpoint, heads: &[usize], msbs: u32) -> Vec<f64> {
    let pairs: Vec<(usize, usize)> =
        (0..3).flat_map(|example| heads.iter().map(move |&head| (example, head))).collect();
    let error = |example, head, options: &HeadOptions| {
        let outputs = reference.tensor(&format!("ex{example}.head_out")).unwrap();
        let expected = outputs.part(head).unwrap().into_matrix().unwrap();
        calibrated_error(weights, Part::Head(head), &hidden(reference, example), &expected, options)
    };
    let mean = |bits| {
        let options = HeadOptions { msbs, ..HeadOptions::new(bits) };
        pairs.iter().map(|&(example, head)| error(example, head, &options)).sum::<f64>() / pairs.len() as f64
    };
    HeadOptions::BITS.map(mean).collect()
}

#[test]
fn error_falls_with_bits() {
    let Some((weights, reference)) = layer_0() else { return };
    let all: Vec<usize> = (0..weights.heads()).collect();
    let errors = mean_errors(&weights, &reference, &all, 10);
    println!("mean relative error of 12 heads at 2 ..= 11 bits, lookups of 10 bits: {errors:.3?}");
    // At 2 and 3 bits nearly all values are 0, and so is the output.
    assert!(errors[..2].iter().all(|error| (0.9..1.1).contains(error)), "{errors:.3?}");
    assert!(errors[2..].is_sorted_by(|a, b| a > b), "{errors:.3?}");
    assert!(errors[6] < 0.16 && errors[9] < 0.04, "{errors:.3?}");
}

/// What a prototype of the article's circuit gave on head 0, averaged over the same prompts.
#[test]
fn error_of_head_0_is_near_the_articles() {
    let Some((weights, reference)) = layer_0() else { return };
    let errors = mean_errors(&weights, &reference, &[0], 10);
    println!("mean relative error of head 0 at 2 ..= 11 bits, lookups of 10 bits: {errors:.3?}");
    for (bits, article) in [(4, 0.78), (7, 0.31), (8, 0.17)] {
        let ratio = errors[bits - 2] / article;
        assert!((0.8..1.25).contains(&ratio), "{bits} bits: {} against {article}", errors[bits - 2]);
    }
}

/// The whole attention, heads and output projection, on a prompt that it is calibrated on.
#[test]
fn error_of_the_whole_attention_falls_with_bits() {
    let Some((weights, reference)) = layer_0() else { return };
    let hidden = hidden(&reference, 0);
    let expected = weights.attend(Part::Whole, &hidden).unwrap();
    let error = |bits, msbs| {
        let options = HeadOptions { msbs, ..HeadOptions::new(bits) };
        calibrated_error(&weights, Part::Whole, &hidden, &expected, &options)
    };
    for msbs in [8, 10] {
        let errors: Vec<f64> = HeadOptions::BITS.map(|bits| error(bits, msbs)).collect();
        println!("relative error of the whole attention at 2 ..= 11 bits, lookups of {msbs} bits: {errors:.3?}");
        assert!(errors[2..7].is_sorted_by(|a, b| a > b), "{errors:.3?}");
    }
}

/// Up to 8 bits of activations, lookups rounded to 8 bits are hardly worse than those of 10; beyond, they set the
/// error.
#[test]
fn rounding_to_8_bits_costs_little_up_to_8_bits() {
    let Some((weights, reference)) = layer_0() else { return };
    let heads = [0, 5, 11];
    let finer = mean_errors(&weights, &reference, &heads, 10);
    let rounded = mean_errors(&weights, &reference, &heads, 8);
    println!("mean relative error of three heads, lookups of 8 bits: {rounded:.3?}, of 10 bits: {finer:.3?}");
    assert!(rounded[..7].iter().zip(&finer).all(|(rounded, finer)| *rounded < 1.3 * finer), "{rounded:.3?}");
    assert!(rounded[9] < 0.11, "{rounded:.3?}");
}

/// The article's demonstration, 4 bits and 6 tokens, needs 8 bits at most; so does head 0 here, with its guard.
#[test]
fn four_bits_need_lookups_of_eight() {
    let Some((weights, reference)) = layer_0() else { return };
    let widest = |example, head| {
        let input = [hidden(&reference, example)];
        let quantized = QuantizedHead::calibrate(&weights, Part::Head(head), &input, &HeadOptions::new(4)).unwrap();
        quantized.ranges().iter().map(|range| range.bits).max().unwrap()
    };
    for example in 0..3 {
        assert_eq!(widest(example, 0), 8);
        assert!((1..12).all(|head| widest(example, head) <= 9));
    }
}

/// Each head has ranges of its own, and what they make together is far from what its modulus holds.
#[test]
fn tables_of_the_whole_attention_are_as_wide_as_each_head_needs() {
    let Some((weights, reference)) = layer_0() else { return };
    let input = [hidden(&reference, 0)];
    let whole = QuantizedHead::calibrate(&weights, Part::Whole, &input, &HeadOptions::new(4)).unwrap();
    let bits = |step| whole.ranges().iter().filter(move |range| range.step == step).map(|range| range.bits);
    let extremes = |step| (bits(step).min().unwrap(), bits(step).max().unwrap());
    assert_eq!(extremes(steps::QUERY_KEY_VALUE), (7, 9));
    assert_eq!(extremes(steps::QUANTIZE_SCORES), (7, 9));
    assert_eq!(extremes(steps::QUANTIZE_OUTPUT), (2, 8));
    let sums = whole.ranges().last().unwrap();
    assert_eq!((sums.step, sums.bits, sums.observed), (steps::PROJECT_OUTPUT, 13, IntegerRange { min: -90, max: 79 }));
    // Alone, a head has the same tables.
    for index in 0..12 {
        let head = QuantizedHead::calibrate(&weights, Part::Head(index), &input, &HeadOptions::new(4)).unwrap();
        let tables =
            whole.ranges().iter().filter(|range| range.head == Some(index) && range.step != steps::QUANTIZE_OUTPUT);
        let alone = head.ranges().iter().filter(|range| range.step != steps::OUTPUT);
        assert!(tables.eq(alone), "head {index}");
    }
}

/// The guard holds what two prompts do not show of a third.
#[test]
fn a_prompt_that_was_not_calibrated_on_stays_in_range() {
    let Some((weights, reference)) = layer_0() else { return };
    let calibration = [hidden(&reference, 0), hidden(&reference, 1)];
    let other = hidden(&reference, 2);
    for (bits, head) in [(4, 0), (6, 5), (8, 0), (8, 5), (8, 11), (11, 0)] {
        let options = HeadOptions::new(bits);
        let quantized = QuantizedHead::calibrate(&weights, Part::Head(head), &calibration, &options).unwrap();
        let (_, engine) = evaluated(&quantized, &other);
        assert_eq!((engine.out_of_range(), engine.overflows()), (0, 0), "{bits} bits, head {head}");
    }
}

/// Of 19,440 lookups of the whole attention, at most one in a thousand leaves its range on a third prompt, and the
/// error is near that on a calibrated one.
#[test]
fn the_whole_attention_generalizes_to_another_prompt() {
    let Some((weights, reference)) = layer_0() else { return };
    let calibration = [hidden(&reference, 0), hidden(&reference, 1)];
    for bits in 4..=8 {
        let whole = QuantizedHead::calibrate(&weights, Part::Whole, &calibration, &HeadOptions::new(bits)).unwrap();
        let [(seen, _), (unseen, engine)] = [0, 2].map(|example| {
            let hidden = hidden(&reference, example);
            let (output, engine) = evaluated(&whole, &hidden);
            (relative_error(&output, &weights.attend(Part::Whole, &hidden).unwrap()), engine)
        });
        let (outside, lookups) = (engine.out_of_range(), engine.lookups());
        println!("{bits} bits: {outside} of {lookups} lookups out of range, error {unseen:.3} ({seen:.3} calibrated)");
        assert!(outside * 1000 <= lookups && engine.overflows() == 0, "{bits} bits: {outside}");
        assert!(unseen < 1.2 * seen, "{bits} bits: {unseen} against {seen}");
    }
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
        let quantized = QuantizedHead::calibrate(&layer, Part::Whole, &hidden[..1], &HeadOptions::new(5)).unwrap();
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
