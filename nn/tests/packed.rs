//! The packed head, without noise.

mod common;

use nn::attention::{AttentionWeights, Linear, Part};
use nn::clear::ClearEvaluator;
use nn::matrix::{Matrix, relative_error};
use nn::packed::{PackedAttention, PackedOptions, Span};
use nn::table::Smooth;

/// Calibrated on all inputs but the last, measured on that: what quantization alone costs a part.
fn unseen_error(weights: &AttentionWeights, inputs: &[Matrix<f32>], part: Part) -> f64 {
    let (unseen, calibration) = inputs.split_last().unwrap();
    let packed = PackedAttention::calibrate(weights, part, calibration, &PackedOptions::new(5)).unwrap();
    let expected = weights.attend(part, unseen).unwrap();
    let input = packed.client().quantize_input(unseen).unwrap();
    let mut evaluator = ClearEvaluator::new();
    let numbers = packed.program().evaluate_clear(&mut evaluator, &input, Span::all(unseen.rows()));
    assert_eq!((evaluator.out_of_range(), evaluator.overflows()), (0, 0), "{part:?}");
    let error = relative_error(&packed.client().dequantize_output(&numbers), &expected);
    println!("{part:?}: relative error {error:.4}, {:?}", packed.program().heads()[0].weight_levels());
    error
}

/// The errors of the twelve heads alone, from the least, and of the whole attention.
fn unseen_errors((weights, inputs): (AttentionWeights, Vec<Matrix<f32>>)) -> (Vec<f64>, f64) {
    let mut errors: Vec<f64> = (0..12).map(|head| unseen_error(&weights, &inputs, Part::Head(head))).collect();
    errors.sort_by(f64::total_cmp);
    println!("median {:.4}, worst {:.4}", (errors[5] + errors[6]) / 2.0, errors[11]);
    (errors, unseen_error(&weights, &inputs, Part::Whole))
}

#[test]
fn heads_stay_close_to_f32_on_an_unseen_input() {
    let (errors, whole) = unseen_errors(common::random_layer());
    assert!(errors[6] < 0.05 && errors[11] < 0.07 && whole < 0.045, "{errors:?}, {whole}");
}

#[test]
#[ignore = "needs ../shared: the error of GPT-2's own heads"]
fn heads_of_gpt2_stay_close_to_f32_on_an_unseen_prompt() {
    let (errors, whole) = unseen_errors(common::shared::layer_0());
    assert!(errors[6] < 0.05 && errors[11] < 0.07 && whole < 0.045, "{errors:?}, {whole}");
}

/// The rows of a span are those of the whole, and the whole attention is that of all heads.
#[test]
fn rows_can_be_computed_alone() {
    let weights = common::random_attention(8, 2);
    let projection = Matrix::from_fn(8, 8, |row, column| ((5 * row + 3 * column) as f32).cos() / 3.0);
    let bias = (0..8).map(|x| x as f32 / 8.0).collect();
    let weights = weights.with_output(Linear::new(projection, bias).unwrap()).unwrap();
    let hidden = Matrix::from_fn(5, 8, |row, column| ((3 * row + 5 * column) as f32).sin());
    let options = PackedOptions { max_tokens: Some(6), ..PackedOptions::new(8) };
    let packed = PackedAttention::calibrate(&weights, Part::Whole, std::slice::from_ref(&hidden), &options).unwrap();
    let expected = weights.attend(Part::Whole, &hidden).unwrap();
    assert!(relative_error(&packed.evaluate_clear(&hidden).unwrap(), &expected) < 0.02);
    let input = packed.client().quantize_input(&hidden).unwrap();
    let run = |span| packed.program().evaluate_clear(&mut ClearEvaluator::new(), &input, span);
    let all = run(Span::all(5));
    for first in 1..5 {
        let rows = run(Span::new(first, 5));
        assert_eq!(rows.data(), &all.data()[first * all.cols()..], "from row {first}");
    }
    assert_eq!(Span::all(5).lookups(Smooth::Softplus), 10);
    assert_eq!(Span::all(5).lookups(Smooth::Exponential), 14);
    assert_eq!(Span::new(4, 5).lookups(Smooth::Exponential), 5);
}

#[test]
fn one_token_attends_to_itself() {
    let weights = common::random_attention(8, 2);
    let hidden = Matrix::from_fn(1, 8, |_, column| (column as f32).sin());
    let options = PackedOptions { max_tokens: Some(4), ..PackedOptions::new(8) };
    let packed = PackedAttention::calibrate(&weights, Part::Head(1), std::slice::from_ref(&hidden), &options).unwrap();
    let output = packed.evaluate_clear(&hidden).unwrap();
    let expected = weights.head(1).unwrap().attend(&hidden).output;
    assert!(relative_error(&output, &expected) < 0.01);
}

/// Numbers that are known modulo a period come back where outputs lie: within half a period of the centers.
#[test]
fn numbers_are_unwrapped_to_the_nearest_of_the_centers() {
    let (weights, inputs) =
        (common::random_attention(8, 2), [Matrix::from_fn(3, 8, |i, j| ((i + 3 * j) as f32).sin())]);
    let attention = PackedAttention::calibrate(&weights, Part::Head(0), &inputs, &PackedOptions::new(6)).unwrap();
    let (client, period) = (attention.client(), 1024.0);
    let centers = client.output_centers();
    // Two numbers to each of four channels.
    assert_eq!((client.output_size(), centers.len()), (4, 8));
    let offset = |row: usize, channel: usize| (row as f64 - 2.0) * 200.0 + channel as f64;
    let meant = Matrix::from_fn(5, 8, |row, channel| centers[channel] + offset(row, channel));
    let turned = Matrix::from_fn(5, 8, |row, channel| meant[(row, channel)] + (3.0 * row as f64 - 7.0) * period);
    let nearest = client.nearest(&turned, period).unwrap();
    assert!(nearest.iter().zip(meant.iter()).all(|(a, b)| (a - b).abs() < 1e-6), "{nearest:?} {meant:?}");
    assert_eq!(client.nearest(&nearest, period).unwrap(), nearest);
    assert!(client.nearest(&Matrix::from_fn(1, 5, |_, _| 0.0), period).is_err());
}

#[test]
fn bad_options_and_inputs_are_refused() {
    let weights = common::random_attention(8, 2);
    let hidden = Matrix::from_fn(3, 8, |row, column| ((row + 3 * column) as f32).sin());
    let calibrate =
        |options| PackedAttention::calibrate(&weights, Part::Head(0), std::slice::from_ref(&hidden), &options);
    let options = PackedOptions::new(6);
    for wrong in [
        PackedOptions { input_bits: 9, ..options },
        PackedOptions { weight_bits: 1, ..options },
        PackedOptions { value_bits: 0, ..options },
        PackedOptions { guard: f64::NAN, ..options },
        PackedOptions { log_modulus: 64, ..options },
        PackedOptions { max_tokens: Some(65), ..options },
        PackedOptions { max_tokens: Some(0), ..options },
    ] {
        assert!(calibrate(wrong).is_err(), "{wrong:?}");
    }
    let packed = calibrate(options).unwrap();
    for rows in [0, 4] {
        assert!(packed.client().quantize_input(&Matrix::from_fn(rows, 8, |_, _| 0.0)).is_err());
    }
    assert!(packed.client().quantize_input(&Matrix::from_fn(1, 8, |_, _| f32::NAN)).is_err());
    assert!(PackedAttention::calibrate(&weights, Part::Head(2), &[hidden], &options).is_err());
    assert!(PackedAttention::calibrate(&weights, Part::Head(0), &[], &options).is_err());
    let unknown = PackedAttention::calibrate(&weights, Part::Whole, &[Matrix::from_fn(3, 8, |_, _| 0.5)], &options);
    assert!(unknown.unwrap_err().to_string().contains("c_proj"));
}
