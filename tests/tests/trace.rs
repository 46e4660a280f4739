//! What a trace says of a run is what the run had, and the run is what it is without one.

use gpt2_fhe::integer::multiply::Multiply;
use gpt2_fhe::run::exact::ExactAttention;
use gpt2_fhe::run::trace::{KEPT_NUMBERS, TracePlace};
use gpt2_fhe::run::{Attention, Outcome, Session};
use gpt2_fhe::track::Unobserved;
use integration_tests::layer::Layer;
use nn::attention::Part;
use nn::integer::{self, IntegerAttention, IntegerOptions};
use nn::matrix::Matrix;
use nn::packed::{self, PackedOptions, Span};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::random::SampleSeed;

/// Heads of 16 channels, on 5 tokens.
fn layer() -> Layer {
    Layer::synthetic(16, 5)
}

fn packed(part: Part) -> (Attention, Matrix<f32>) {
    let layer = layer();
    let quantized = gpt2_fhe::run::packed::calibrate(&layer.weights, part, &layer.calibration, &PackedOptions::new(6));
    (Attention::Packed(Box::new(quantized.unwrap())), layer.unseen)
}

fn exact(part: Part, bits: u32, multiply: Multiply) -> (Attention, Matrix<f32>) {
    let layer = Layer::synthetic(4, 3);
    let hidden = layer.unseen;
    let quantized =
        IntegerAttention::calibrate(&layer.weights, part, std::slice::from_ref(&hidden), &IntegerOptions::new(bits));
    (Attention::Exact(Box::new(ExactAttention { quantized: quantized.unwrap(), multiply })), hidden)
}

/// A run with a trace, and the same without.
fn executed((attention, hidden): &(Attention, Matrix<f32>)) -> (Outcome, Vec<TracePlace>) {
    let (span, seed) = (Span::all(hidden.rows()), ClientSeed::from_number(5));
    let plan = attention.plan(span).expect("a reliable plan");
    let session = || Session::new(attention, &plan, &seed).expect("its own plan");
    let (outcome, places) = session().trace(attention, hidden, &mut Unobserved).expect("a finished run");
    let plain = session().execute(attention, hidden, span, &mut Unobserved).expect("a finished run");
    assert_eq!(outcome.numbers, plain.numbers, "a trace changes nothing");
    (outcome, places)
}

fn simulated((attention, hidden): &(Attention, Matrix<f32>), seed: u64) -> (Outcome, Vec<TracePlace>) {
    let (span, seed) = (Span::all(hidden.rows()), SampleSeed::from_number(seed));
    let (outcome, places) = attention.trace_simulated(hidden, &seed, &mut Unobserved).expect("a finished run");
    let plain = attention.run_simulated(hidden, span, &seed, &mut Unobserved).expect("a finished run");
    assert_eq!(outcome.numbers, plain.numbers, "a trace changes nothing");
    (outcome, places)
}

/// What every trace of a run without mistakes has.
fn check(outcome: &Outcome, places: &[TracePlace], steps: &[&str]) {
    let mut seen: Vec<&str> = places.iter().map(|place| place.step.as_str()).collect();
    seen.dedup();
    let (answer, seen) = seen.split_last().expect("places");
    assert_eq!((seen, *answer), (steps, "answer"));
    assert_eq!((outcome.mismatches(), outcome.out_of_range), (0, 0));
    for place in places {
        let name = format!("{} {} {} {}", place.step, place.operation, place.numbers_of, place.round);
        assert_eq!(place.contradiction(), None, "{name}");
        assert_eq!((place.out_of_range, place.numbers.len()), (0, place.count.min(KEPT_NUMBERS)), "{name}");
        assert!(place.headroom.is_none_or(|headroom| headroom > 6.0), "{name}: {:?}", place.headroom);
        assert!(place.range_left.is_none_or(|left| left >= 0.0), "{name}: {:?}", place.range_left);
        for number in place.numbers.iter().chain(&place.narrowest) {
            if let (Some(noise), Some(predicted)) = (number.noise, number.predicted) {
                assert!(noise.abs() <= 9.0 * predicted, "{name}: {number:?}");
            }
        }
    }
    // The answer is the outcome's.
    let answer = places.last().expect("an answer");
    assert_eq!(answer.count, outcome.numbers.data().len());
    for (number, (decrypted, clear)) in
        answer.numbers.iter().zip(outcome.numbers.iter().zip(outcome.clear_numbers.iter()))
    {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1.0);
        assert!(
            near(number.decrypted.unwrap(), *decrypted) && near(number.clear, *clear),
            "{number:?} {decrypted} {clear}"
        );
    }
}

fn find<'a>(places: &'a [TracePlace], step: &str, operation: &str) -> impl Iterator<Item = &'a TracePlace> {
    let (step, operation) = (step.to_owned(), operation.to_owned());
    places.iter().filter(move |place| (&place.step, &place.operation) == (&step, &operation))
}

/// Numbers of one run have errors in common, by its keys and its ciphertexts: so many independent ones, at the least, are worth a place's.
/// What simulated runs scatter says how many; with a formula alone, 4 of 64 numbers in one ciphertext. Of fewer than two, errors may be as small as
/// they like: one of sixteen normal numbers is below a twelfth of a standard deviation.
fn is_as_predicted(place: &TracePlace) -> bool {
    let (Some(ratio), spread) = (place.noise_ratio(), place.simulated_spread) else { return true };
    let independent = place.count as f64 / 16.0;
    let reach = 5.0 * spread.unwrap_or(0.0).max((0.5 / independent.max(2.0)).sqrt());
    ratio.ln() <= reach && (independent < 2.0 || ratio.ln() >= -reach)
}

#[test]
fn a_packed_head_in_numbers() {
    for part in [Part::Head(1), Part::Whole] {
        let head = packed(part);
        let (outcome, places) = executed(&head);
        check(&outcome, &places, &packed::steps::ALL);
        for place in &places {
            println!(
                "{} {} {} {}: {} numbers, noise by prediction {:?} ± {:?}, headroom {:?}, left {:?}",
                place.step,
                place.operation,
                place.numbers_of,
                place.round,
                place.count,
                place.noise_ratio(),
                place.simulated_spread,
                place.headroom,
                place.range_left
            );
            assert!(place.measured_noise.is_some_and(|noise| noise > 0.0), "{place:?}");
            // After a lookup formulas are bounds, and simulations are not.
            assert!(place.noise_ratio().is_some() && is_as_predicted(place), "{place:?}");
        }
        let maps: Vec<&str> = find(&places, "project", "linear map").map(|place| place.numbers_of.as_str()).collect();
        assert_eq!(maps, ["queries", "keys", "values"]);
        // Five scores are merged in three rounds.
        assert_eq!(find(&places, "softplus", "arguments of lookups").count(), 3);
        // Lookups are counted, and so is what they leave as room.
        let lookups: usize = places.iter().filter(|place| place.operation == "lookups").map(|place| place.count).sum();
        assert_eq!(lookups, outcome.statistics.lookups());
        for step in ["softplus", "exponential"] {
            let planned = outcome.statistics.steps.iter().find(|of| of.name == step).expect("a step").headroom;
            let least = find(&places, step, "arguments of lookups").filter_map(|place| place.headroom);
            assert!(least.fold(f64::INFINITY, f64::min) >= planned * 0.999, "{step}: {planned}");
        }
        let probabilities = find(&places, "exponential", "lookups").next().expect("probabilities");
        assert!(
            probabilities.clear_range[0] > 0.0 && probabilities.clear_range[1] <= 1.0,
            "{:?}",
            probabilities.clear_range
        );
        let answer = places.last().unwrap();
        let difference = answer.largest_noise.unwrap() - outcome.max_abs_difference();
        assert!(difference.abs() < 1e-9, "{difference}");
        // What is decrypted at the end is what the last operation gave, packed.
        let before = find(&places, "output", "constants added").next().expect("outputs");
        for (a, b) in before.numbers.iter().zip(&answer.numbers) {
            assert!((a.decrypted.unwrap() - b.decrypted.unwrap()).abs() < b.predicted.unwrap(), "{a:?} {b:?}");
        }
    }
}

#[test]
fn a_simulated_packed_head_in_numbers() {
    let (mut beyond, mut all) = (0, 0);
    for seed in 0..6 {
        let (outcome, places) = simulated(&packed(Part::Whole), seed);
        check(&outcome, &places, &packed::steps::ALL);
        for place in &places {
            // Noise of maps is drawn with scores, and that of weighted sums with constants.
            let is_drawn = !["linear map", "weighted sum"].contains(&place.operation.as_str());
            assert_eq!(place.measured_noise.is_some(), is_drawn, "{place:?}");
            assert!(place.numbers.iter().all(|number| number.decrypted.is_some() == is_drawn));
            if let (Some(ratio), Some(spread)) = (place.noise_ratio(), place.simulated_spread) {
                all += 1;
                beyond += usize::from(ratio.ln().abs() > 2.0 * spread);
            }
        }
    }
    // A twentieth of normal ratios; the means themselves scatter, too.
    assert!(beyond <= all / 5, "{beyond} of {all}");
}

#[test]
fn an_exact_head_in_numbers() {
    for (multiply, part) in
        [(Multiply::Product, Part::Head(1)), (Multiply::Product, Part::Whole), (Multiply::Lut, Part::Head(0))]
    {
        let head = exact(part, 3, multiply);
        let first = if part == Part::Whole { simulated(&head, 3) } else { executed(&head) };
        let runs = [first, simulated(&head, 4)];
        for (outcome, places) in &runs {
            check(outcome, places, integer::steps::of(part));
            for place in places.split_last().unwrap().1 {
                let ratio = place.noise_ratio().unwrap_or_else(|| panic!("{place:?}"));
                println!("{} {} {}: {} numbers, {ratio:.2}", place.step, place.operation, place.round, place.count);
                assert!(is_as_predicted(place), "{ratio}: {place:?}");
                assert!(place.largest_noise.unwrap() < 0.5, "{place:?}");
            }
            // Integers are rounded when they are decrypted.
            let answer = places.last().unwrap();
            assert_eq!((answer.measured_noise, answer.numbers[0].noise), (None, None));
            assert!(answer.headroom.unwrap() > 6.0);
            let read = places.iter().filter(|place| place.operation == "arguments of lookups");
            assert!(read.clone().count() >= 6 && read.clone().all(|place| place.headroom.is_some()));
            let by_lookup = find(places, "scores", "products").next().expect("scores").headroom;
            assert_eq!(by_lookup.is_some(), multiply == Multiply::Lut);
        }
        // Both have the same places, and the clear engine's numbers.
        for (a, b) in runs[0].1.iter().zip(&runs[1].1) {
            assert_eq!(
                (&a.step, &a.operation, a.count, a.clear_range),
                (&b.step, &b.operation, b.count, b.clear_range)
            );
            assert_eq!((a.predicted_noise, a.headroom, a.range_left), (b.predicted_noise, b.headroom, b.range_left));
        }
    }
}

/// As many numbers as it may: places are those of one head, and no more numbers are kept.
#[test]
fn a_trace_does_not_grow_with_heads_and_tokens() {
    let layer = Layer::synthetic(16, 24);
    let quantize = |part| {
        let quantized =
            gpt2_fhe::run::packed::calibrate(&layer.weights, part, &layer.calibration, &PackedOptions::new(6));
        (Attention::Packed(Box::new(quantized.unwrap())), layer.unseen.clone())
    };
    let [one, three] = [Part::Head(0), Part::Whole].map(|part| simulated(&quantize(part), 1).1);
    assert_eq!(one.len(), three.len());
    assert!(three.iter().all(|place| place.numbers.len() <= KEPT_NUMBERS));
    let count = |places: &[TracePlace]| find(places, "scores", "products").map(|place| place.count).sum::<usize>();
    assert_eq!((count(&one), count(&three)), (300, 900));
    assert_eq!(find(&three, "scores", "products").next().unwrap().left_out(), 900 - KEPT_NUMBERS);
}
