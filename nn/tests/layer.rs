//! The layer that tests draw has the statistics that it is drawn by, and these are GPT-2's.

mod common;

use common::layer::{HEAD_SIZE, HEADS, HeadStatistics, RandomLayer};
use nn::attention::AttentionWeights;
use nn::matrix::Matrix;

/// The statistics of every head beside [`HEADS`]: root mean squares within `relative` of them, cosines within `absolute`.
fn assert_statistics(weights: &AttentionWeights, inputs: &[Matrix<f32>], relative: f32, absolute: f32) {
    for (head, (found, expected)) in HeadStatistics::measure(weights, inputs).iter().zip(&HEADS).enumerate() {
        let what = format!("head {head}: {found:.3?} against {expected:?}");
        let sizes = |of: &HeadStatistics| [of.mean, of.deviation, of.bias].concat();
        for (found, expected) in sizes(found).into_iter().zip(sizes(expected)) {
            assert!((found / expected - 1.0).abs() < relative, "{what}");
        }
        for (found, expected) in [(found.mean_cosine, expected.mean_cosine), (found.cosine, expected.cosine)] {
            assert!((found - expected).abs() < absolute, "{what}");
        }
    }
}

/// The smallest and the largest score of a head, the future included.
fn extremes(weights: &AttentionWeights, inputs: &[Matrix<f32>], head: usize) -> (f32, f32) {
    let scores = inputs.iter().flat_map(|input| weights.head(head).unwrap().attend(input).scores.into_data());
    scores.fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), score| (min.min(score), max.max(score)))
}

#[test]
fn the_random_layer_has_the_statistics_it_is_drawn_by() {
    let layer = RandomLayer::new(7);
    let inputs: Vec<_> = (0..8).map(|number| layer.input(24, number)).collect();
    // The mean of 192 tokens is off by 1/14 of a deviation; a root mean square of 64 biases by 1/11 of itself.
    assert_statistics(&layer.weights, &inputs, 0.35, 0.12);
    // As in GPT-2, most heads' scores are small, and some are not.
    let (weights, inputs) = common::random_layer();
    for head in 0..HEADS.len() {
        let (min, max) = extremes(&weights, &inputs, head);
        println!("head {head}: scores from {min:.1} to {max:.1}");
    }
    let (min, max) = extremes(&weights, &inputs, 0);
    assert!(-5.0 < min && max < 2.5, "{min} to {max}");
    let (_, max) = extremes(&weights, &inputs, 5);
    assert!((10.0..20.0).contains(&max), "{max}");
}

/// Outlier channels: the largest mean of an input is many times the root mean square, as is the largest bias of `c_proj`.
#[test]
fn some_channels_are_many_times_the_others() {
    let (weights, inputs) = common::random_layer();
    let columns = inputs[0].cols();
    let tokens: Vec<&[f32]> = inputs.iter().flat_map(|input| (0..input.rows()).map(|row| input.row(row))).collect();
    let mean = |column: usize| tokens.iter().map(|token| token[column]).sum::<f32>() / tokens.len() as f32;
    let means: Vec<f32> = (0..columns).map(mean).collect();
    for values in [&means[..], weights.output().unwrap().bias()] {
        let square = values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32;
        let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        assert!(largest > 8.0 * square.sqrt(), "{largest} against {}", square.sqrt());
    }
    assert_eq!((columns, weights.head_size()), (768, HEAD_SIZE));
}

#[test]
#[ignore = "needs ../shared: GPT-2's layer 0"]
fn the_statistics_are_those_of_gpt2() {
    let (weights, inputs) = common::shared::layer_0();
    // Three decimals are written down, of numbers from 0.015.
    assert_statistics(&weights, &inputs, 0.035, 0.0051);
    let (min, max) = extremes(&weights, &inputs, 0);
    println!("scores of head 0 from {min:.1} to {max:.1}");
    assert!(-4.0 < min && max < 1.0, "{min} to {max}");
}
