//! The packed head, encrypted, against the clear engine, the simulation, and f32.

use gpt2_fhe::run::packed::{PackedPlan, simulate};
use integration_tests::packed::{Layer, execute};
use nn::attention::Part;
use nn::matrix::{Matrix, relative_error};
use nn::packed::{ClearPackedEngine, Function, PackedOptions, Span};
use tfhe_core::random::SampleSeed;

/// All heads of GPT-2's layer 0 on a prompt that they were not calibrated on: as near to the clear engine's as the noise
/// allows, and to f32.
#[test]
fn heads_of_gpt2_are_close_to_f32_on_an_unseen_prompt() {
    let Some(layer) = Layer::of_gpt2() else { return };
    let mut errors: Vec<f64> = (0..12)
        .map(|number| {
            let head = layer.quantize(Part::Head(number), &PackedOptions::new(5));
            let outcome = execute(&head, &layer.unseen, Span::all(6), 100 + number as u64);
            assert_eq!((outcome.mismatches(), outcome.out_of_range), (0, 0), "head {number}");
            assert_eq!(outcome.statistics.pbs(), 35);
            let error = outcome.relative_error(&layer.weights.attend(Part::Head(number), &layer.unseen).unwrap());
            let to_clear = relative_error(&outcome.output, &outcome.clear_output);
            println!("head {number:>2}: relative error to f32 {error:.4}, to the clear engine {to_clear:.4}");
            error
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    let (median, worst) = ((errors[5] + errors[6]) / 2.0, errors[11]);
    println!("median {median:.4}, worst {worst:.4}");
    assert!(median <= 0.08 && worst <= 0.25, "median {median}, worst {worst}");
}

/// All heads with the output projection, on the same prompt: as near to the clear engine's as the noise allows, and to f32.
#[test]
fn the_whole_attention_of_gpt2_is_close_to_f32_on_an_unseen_prompt() {
    let Some(layer) = Layer::of_gpt2() else { return };
    let attention = layer.quantize(Part::Whole, &PackedOptions::new(5));
    let outcome = execute(&attention, &layer.unseen, Span::all(6), 90);
    assert_eq!((outcome.mismatches(), outcome.out_of_range), (0, 0));
    assert_eq!(outcome.statistics.pbs(), 12 * 35);
    let reference = layer.weights.attend(Part::Whole, &layer.unseen).unwrap();
    let (error, clear) = (outcome.relative_error(&reference), outcome.clear_relative_error(&reference));
    println!("12 heads and c_proj: relative error to f32 {error:.4}, of the clear engine {clear:.4}");
    println!("answer {} bytes, {:?}", outcome.bytes.response, outcome.seconds);
    assert!(error <= 0.1, "{error}");
    assert!(outcome.bytes.response <= 2 << 20);
}

/// Head sizes 16 to 128 (and one that is no power of two), 1 to 17 tokens, embeddings of any width; one head on all rows, and all
/// heads with the output projection on the last rows.
#[test]
fn every_head_size_and_number_of_tokens() {
    for (size, tokens) in [(16, 1), (16, 5), (20, 3), (32, 2), (32, 9), (64, 8), (64, 17), (128, 6)] {
        let mut layer = Layer::synthetic(size, tokens);
        // So few tokens would say little of the ranges of others.
        layer.calibration.push(layer.unseen.clone());
        check_against_clear(&layer, Part::Head(1), Span::all(tokens), 0.2);
        // Three heads add up to an output with three times the noise of one, not always more.
        check_against_clear(&layer, Part::Whole, Span::new(tokens - 1, tokens), 0.4);
    }
}

/// One run against the clear engine, and against its plan.
fn check_against_clear(layer: &Layer, part: Part, span: Span, allowed: f64) {
    let attention = layer.quantize(part, &PackedOptions::new(5));
    let outcome = execute(&attention, &layer.unseen, span, span.tokens() as u64);
    assert_eq!(outcome.out_of_range, 0);
    let difference = relative_error(&outcome.output, &outcome.clear_output);
    let what = format!("{part:?} of size {}, {span:?}", layer.weights.head_size());
    println!("{what}: relative difference from the clear engine {difference:.4}");
    assert_eq!(outcome.mismatches(), 0, "{what}");
    assert!(difference < allowed, "{what}: {difference}");
    let heads = attention.program().heads().len();
    let lookups: usize =
        [Function::Softplus, Function::Exponential].map(|function| span.lookups(function)).iter().sum();
    assert_eq!(outcome.statistics.pbs(), heads * lookups);
    let plan = PackedPlan::new(&attention, span).unwrap();
    assert_eq!(plan.statistics.pbs(), outcome.statistics.pbs());
    assert_eq!(plan.statistics.key_switches(), outcome.statistics.key_switches());
    assert_eq!(plan.statistics.automorphisms(), outcome.statistics.automorphisms());
    assert_eq!(plan.statistics.tensor_products(), outcome.statistics.tensor_products());
    assert_eq!(plan.statistics.external_products(), outcome.statistics.external_products());
    assert_eq!(plan.bytes.request, outcome.bytes.request);
    assert_eq!(plan.bytes.response, outcome.bytes.response);
    assert_eq!(plan.bytes.evaluation_key, outcome.bytes.evaluation_key);
    assert!(plan.log2_failure_probability <= -40.0);
}

/// The errors that encryption causes have the distribution of simulated ones. The entries of a row share the errors of a few
/// probabilities, so what is compared is the norm of each row's error, by the two-sample Kolmogorov–Smirnov distance, and the
/// mean squares.
#[test]
fn simulated_errors_have_the_distribution_of_encrypted_ones() {
    let Some(layer) = Layer::of_gpt2() else { return };
    const RUNS: u64 = 20;
    for number in [0, 5, 9] {
        let head = layer.quantize(Part::Head(number), &PackedOptions::new(5));
        let plan = PackedPlan::new(&head, Span::all(layer.unseen.rows())).unwrap();
        let input = head.client().quantize_input(&layer.unseen).unwrap();
        let clear = ClearPackedEngine::new(head.program(), &input, Span::all(input.rows())).evaluate().numbers;
        let row_norms = |numbers: &Matrix<f64>| -> Vec<f64> {
            let square = |row: usize| numbers.row(row).iter().zip(clear.row(row)).map(|(a, b)| (a - b).powi(2)).sum();
            // The first token attends to itself alone: its probability is known.
            (1..clear.rows()).map(|row| f64::sqrt(square(row))).collect()
        };
        let simulated: Vec<Vec<f64>> = (0..400)
            .map(|seed| row_norms(&simulate(&head, &plan, &input, &SampleSeed::from_number(1000 + seed)).0))
            .collect();
        let encrypted: Vec<Vec<f64>> = (0..RUNS)
            .map(|seed| row_norms(&execute(&head, &layer.unseen, Span::all(layer.unseen.rows()), 500 + seed).numbers))
            .collect();
        let scale: Vec<f64> = (0..clear.rows() - 1)
            .map(|row| (simulated.iter().map(|run| run[row].powi(2)).sum::<f64>() / simulated.len() as f64).sqrt())
            .collect();
        let pool = |runs: &[Vec<f64>]| -> Vec<f64> {
            runs.iter().flat_map(|run| run.iter().zip(&scale).map(|(norm, scale)| norm / scale)).collect()
        };
        let (simulated, encrypted) = (pool(&simulated), pool(&encrypted));
        let count = encrypted.len() as f64;
        let mean_square = encrypted.iter().map(|x| x * x).sum::<f64>() / count;
        let distance = kolmogorov_smirnov(simulated, encrypted);
        println!("head {number}: mean square of encrypted over simulated {mean_square:.3}, distance {distance:.4}");
        // The distance that two samples of one distribution exceed once in a thousand times, 1.95/√count.
        assert!(distance < 1.95 / count.sqrt(), "head {number}: {distance}");
        // A row's squared norm, of a handful of independent errors, varies by about itself.
        assert!((mean_square - 1.0).abs() < 4.0 / count.sqrt(), "head {number}: {mean_square}");
    }
}

/// The largest difference of two samples' distribution functions.
fn kolmogorov_smirnov(mut a: Vec<f64>, mut b: Vec<f64>) -> f64 {
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let below = |sorted: &[f64], x: f64| sorted.partition_point(|&y| y <= x) as f64 / sorted.len() as f64;
    b.iter().map(|&x| (below(&a, x) - below(&b, x)).abs()).fold(0.0, f64::max)
}
