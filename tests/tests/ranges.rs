//! What is not as usual: channels without weight, scores far apart, inputs of another kind. The packed circuit takes it, with the
//! noise that is predicted, or refuses it.

use gpt2_fhe::run::{Attention, Lowering, MAX_EXPONENT_NOISE, MAX_SATURATION, Outcome, RunError, Session, packed};
use gpt2_fhe::track::Unobserved;
use integration_tests::layer::Layer;
use nn::attention::{AttentionWeights, Linear, Part};
use nn::matrix::{Matrix, relative_error};
use nn::packed::{PackedAttention, PackedOptions, Span};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::random::SampleSeed;

/// A head's size, a layer's, and the tokens of an input.
const HEAD: usize = 16;
const SIZE: usize = 3 * HEAD;
const TOKENS: usize = 5;

/// Three heads, calibrated on four inputs and on that which is run.
fn layer() -> Layer {
    let mut layer = Layer::synthetic(HEAD, TOKENS);
    layer.calibration.push(layer.unseen.clone());
    layer
}

/// The weights with every entry of `c_attn` and of `c_proj`, and of their biases (row `None`), changed.
fn changed(
    weights: &AttentionWeights,
    attention: impl Fn(Option<usize>, usize, f32) -> f32,
    output: impl Fn(Option<usize>, usize, f32) -> f32,
) -> AttentionWeights {
    fn linear(of: &Linear, change: impl Fn(Option<usize>, usize, f32) -> f32) -> Linear {
        let weight = of.weight();
        let weight = Matrix::from_fn(weight.rows(), weight.cols(), |i, j| change(Some(i), j, weight[(i, j)]));
        let bias = of.bias().iter().enumerate().map(|(j, &bias)| change(None, j, bias)).collect();
        Linear::new(weight, bias).unwrap()
    }
    let projection = linear(weights.projection(), attention);
    let output = linear(weights.output().unwrap(), output);
    AttentionWeights::new(projection, weights.heads()).unwrap().with_output(output).unwrap()
}

fn unchanged(_: Option<usize>, _: usize, entry: f32) -> f32 {
    entry
}

/// A column's weights become `factor` times themselves, its bias `bias`.
fn column(which: usize, factor: f32, bias: f32) -> impl Fn(Option<usize>, usize, f32) -> f32 {
    move |row, column, entry| match row {
        _ if column != which => entry,
        Some(_) => entry * factor,
        None => bias,
    }
}

/// Queries and keys, and so their biases, `factor` times as large.
fn scaled_scores(factor: f32) -> impl Fn(Option<usize>, usize, f32) -> f32 {
    move |_, column, entry| if column < 2 * SIZE { entry * factor } else { entry }
}

fn quantize(layer: &Layer, part: Part) -> PackedAttention {
    packed::calibrate(&layer.weights, part, &layer.calibration, &PackedOptions::new(5)).unwrap()
}

fn simulated(attention: &PackedAttention, hidden: &Matrix<f32>) -> Outcome {
    attention.run_simulated(hidden, Span::all(hidden.rows()), &SampleSeed::from_number(4), &mut Unobserved).unwrap()
}

/// ‖output − clear‖/‖clear‖.
fn noise(outcome: &Outcome) -> f64 {
    relative_error(&outcome.output, &outcome.clear_output)
}

/// What it is, the weights, and which channel of the output is constantly what.
type Weightless = (&'static str, AttentionWeights, Option<(usize, f32)>);

/// Layers with channels without weight: of `c_proj` and what they are constantly; of values, queries and keys of one head.
fn layers_without_weight() -> Vec<Weightless> {
    let weights = layer().weights;
    let of_output = |which, factor, bias| changed(&weights, unchanged, column(which, factor, bias));
    let of_heads = |which, bias| changed(&weights, column(which, 0.0, bias), unchanged);
    let few = |_: Option<usize>, column: usize, entry: f32| if column < 40 { 0.0 } else { entry };
    vec![
        ("a zero column", of_output(5, 0.0, 0.0), Some((5, 0.0))),
        ("a zero column with a bias", of_output(7, 0.0, 0.3), Some((7, 0.3))),
        ("a zero column with a large bias", of_output(0, 0.0, -4000.0), Some((0, -4000.0))),
        ("a column of hardly anything", of_output(47, 1e-30, 0.25), Some((47, 0.25))),
        ("most columns zero", changed(&weights, unchanged, few), Some((3, 0.0))),
        ("a channel of values", of_heads(2 * SIZE + HEAD + 3, 0.0), None),
        ("a channel of values with a bias", of_heads(2 * SIZE + HEAD + 4, 0.7), None),
        ("a channel of queries", of_heads(HEAD + 2, 0.0), None),
        ("a channel of queries with a bias", of_heads(HEAD + 2, 3.0), None),
        ("a channel of keys", of_heads(SIZE + HEAD + 5, 0.0), None),
        ("a channel of keys with a bias", of_heads(SIZE + HEAD + 5, -3.0), None),
    ]
}

/// Their outputs have as little noise as others, and are as near to f32; constants stay constant.
#[test]
fn channels_without_weight_are_their_constants() {
    let whole = layer();
    let reference = |layer: &Layer| layer.weights.attend(Part::Whole, &layer.unseen).unwrap();
    let usual = simulated(&quantize(&whole, Part::Whole), &whole.unseen);
    let (usual_noise, usual_error) = (noise(&usual), usual.clear_relative_error(&reference(&whole)));
    for (what, weights, constant) in layers_without_weight() {
        let layer = Layer { weights, ..layer() };
        let attention = quantize(&layer, Part::Whole);
        for hidden in [&layer.unseen, &layer.calibration[1]] {
            let outcome = simulated(&attention, hidden);
            outcome.check(false).unwrap();
            for row in 0..TOKENS {
                let Some((channel, constant)) = constant else { break };
                let found = outcome.output[(row, channel)];
                assert!((found - constant).abs() <= 1e-6 * constant.abs(), "{what}: {found} for {constant}");
            }
            assert!(noise(&outcome) < 1.5 * usual_noise, "{what}: noise {} for {usual_noise}", noise(&outcome));
        }
        let error = simulated(&attention, &layer.unseen).clear_relative_error(&reference(&layer));
        assert!(error < 1.5 * usual_error, "{what}: error {error} for {usual_error}");
    }
}

/// The same encrypted, on two inputs, of all heads and of the one.
#[test]
fn encrypted_channels_without_weight_are_those_of_the_clear_engine() {
    let mut session: Option<Session> = None;
    for (what, weights, constant) in layers_without_weight().into_iter().step_by(3) {
        let layer = Layer { weights, ..layer() };
        for part in [Part::Whole, Part::Head(1)] {
            let attention = Attention::Packed(Box::new(quantize(&layer, part)));
            let plan = attention.plan(Span::all(TOKENS)).unwrap();
            let session =
                session.get_or_insert_with(|| Session::new(&attention, &plan, &ClientSeed::from_number(6)).unwrap());
            for hidden in [&layer.unseen, &layer.calibration[2]] {
                let outcome = session.execute(&attention, hidden, Span::new(3, TOKENS), &mut Unobserved).unwrap();
                outcome.check(false).unwrap();
                let constant = constant.filter(|_| part == Part::Whole);
                assert!(constant.is_none_or(|(channel, constant)| {
                    (outcome.output[(1, channel)] - constant).abs() <= 1e-6 * constant.abs()
                }));
                assert!(noise(&outcome) < 0.5, "{what}, {part:?}: {}", noise(&outcome));
            }
        }
    }
}

/// A layer whose outputs are all constant, or all zero.
#[test]
fn layers_without_weight_are_constant() {
    for bias in [0.0, 0.4] {
        let layer = layer();
        let constant = move |row: Option<usize>, _: usize, _: f32| if row.is_none() { bias } else { 0.0 };
        let layer = Layer { weights: changed(&layer.weights, unchanged, constant), ..layer };
        let outcome = simulated(&quantize(&layer, Part::Whole), &layer.unseen);
        outcome.check(false).unwrap();
        assert!(outcome.output.iter().all(|x| (x - bias).abs() <= 1e-7), "{:?}", outcome.output);
    }
}

/// Scores 1 to 256 times as far apart: either the noise of simulated outputs is within what is predicted, or the plan refuses, and names
/// the head; the clear engine goes on all the same.
#[test]
fn scores_far_apart_are_computed_or_refused() {
    let mut refused = Vec::new();
    for factor in [1.0, 1.4, 2.0, 2.8, 4.0, 16.0] {
        let layer = layer();
        let layer = Layer { weights: changed(&layer.weights, scaled_scores(factor), unchanged), ..layer };
        let attention = quantize(&layer, Part::Whole);
        match attention.plan(Span::all(TOKENS)) {
            Ok(plan) => {
                assert!(plan.packing().unwrap().exponent_noise.iter().all(|noise| *noise <= MAX_EXPONENT_NOISE));
                for hidden in [&layer.unseen, &layer.calibration[0], &layer.calibration[3]] {
                    let outcome = simulated(&attention, hidden);
                    outcome.check(false).unwrap();
                    let squares =
                        |index: usize| (outcome.numbers.data()[index] - outcome.clear_numbers.data()[index]).powi(2);
                    let found = ((0..TOKENS * SIZE).map(squares).sum::<f64>() / (TOKENS * SIZE) as f64).sqrt();
                    let predicted = plan.packing().unwrap().output_noise(attention.program());
                    assert!(found < predicted && noise(&outcome) < 0.5, "{factor}: {found} for {predicted}");
                }
            }
            Err(error @ RunError::Noisy { noise, .. }) => {
                assert!(noise > MAX_EXPONENT_NOISE);
                let message = error.in_layer(2).to_string();
                assert!(
                    message.contains("of layer 2") && message.contains("leave this head or layer to the client"),
                    "{message}"
                );
                let clear = attention.run_clear(&layer.unseen, Span::all(TOKENS)).unwrap();
                assert!(clear.output.iter().all(|x| x.is_finite()));
                refused.push(factor);
            }
            Err(error) => panic!("{factor}: {error}"),
        }
    }
    assert!(refused.contains(&16.0) && !refused.contains(&1.0), "{refused:?}");
}

/// A channel of the input far larger than the others, in calibration too: computed as predicted, or refused.
#[test]
fn a_large_channel_of_the_input_is_computed_or_refused() {
    for (channel, factor) in [(7, 30.0), (7, 1000.0), (40, 1e6), (0, 1e15)] {
        let mut layer = layer();
        let grow = |hidden: &Matrix<f32>| {
            Matrix::from_fn(TOKENS, SIZE, |i, j| hidden[(i, j)] * if j == channel { factor } else { 1.0 })
        };
        layer.calibration = layer.calibration.iter().map(grow).collect();
        let hidden = grow(&layer.unseen);
        let run = packed::calibrate(&layer.weights, Part::Whole, &layer.calibration, &PackedOptions::new(5)).and_then(
            |attention| {
                attention.run_simulated(&hidden, Span::all(TOKENS), &SampleSeed::from_number(8), &mut Unobserved)
            },
        );
        match run {
            Ok(outcome) => {
                outcome.check(false).unwrap();
                assert!(noise(&outcome) < 0.5, "{factor}: {}", noise(&outcome));
            }
            Err(RunError::Noisy { .. } | RunError::Unreliable { .. } | RunError::Input(_)) => {}
            Err(error) => panic!("{factor}: {error}"),
        }
    }
}

/// Inputs far beyond their ranges are an error, with how far; a little beyond they are counted only. Scores beyond theirs are an error.
#[test]
fn what_leaves_its_range_is_an_error() {
    let layer = layer();
    let attention = quantize(&layer, Part::Head(1));
    let with = |ratio: f64| {
        let client = attention.client();
        let levels = f64::from(client.levels());
        let mut hidden = layer.unseen.clone();
        // Channel 9 of token 2 at so many times its range; its center is the calibration's mean.
        let rows = layer.calibration.iter().flat_map(|input| (0..TOKENS).map(|row| f64::from(input[(row, 9)])));
        let center = rows.sum::<f64>() / (layer.calibration.len() * TOKENS) as f64;
        hidden[(2, 9)] = (center + ratio * levels * client.input_scales()[9]) as f32;
        simulated(&attention, &hidden)
    };
    assert_eq!(with(0.5).saturation.count, 0);
    let little = with(0.9 * MAX_SATURATION);
    assert_eq!((little.saturation.count, little.check(false).is_ok()), (1, little.out_of_range == 0));
    let far = with(50.0 * MAX_SATURATION);
    let farthest = far.saturation.farthest.unwrap();
    assert_eq!((far.saturation.count, farthest.row, farthest.channel), (1, 2, 9));
    assert!((farthest.ratio / (50.0 * MAX_SATURATION) - 1.0).abs() < 1e-5);
    if far.out_of_range == 0 {
        assert!(far.check(false).unwrap_err().to_string().contains("channel 9 of token 2"));
    }
    far.check(true).unwrap();

    // Every entry near an end of its range, in signs that no text has: scores leave theirs.
    let options = PackedOptions { guard: 1.0, ..PackedOptions::new(5) };
    let attention = packed::calibrate(&layer.weights, Part::Head(0), &layer.calibration, &options).unwrap();
    let client = attention.client();
    let reach = f64::from(client.levels());
    let corner = |salt: usize| {
        let sign =
            |i: usize, j: usize| if ((i * SIZE + j + salt).pow(2) % 1009).is_multiple_of(2) { -0.9 } else { 0.9 };
        Matrix::from_fn(TOKENS, SIZE, |i, j| (sign(i, j) * reach * client.input_scales()[j]) as f32)
    };
    let outcomes: Vec<Outcome> = (0..20).map(|salt| simulated(&attention, &corner(salt))).collect();
    let beyond: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.out_of_range > 0).collect();
    assert!(beyond.len() > 1, "{}", beyond.len());
    for outcome in beyond {
        assert!(matches!(outcome.check(false), Err(RunError::OutOfRange { .. })));
        outcome.check(true).unwrap();
    }
}
