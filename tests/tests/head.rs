//! The encrypted head equals the clear one, integer by integer.

use gpt2_fhe::integer::backend::IntegerBackend;
use gpt2_fhe::integer::ciphertexts::IntegerCiphertexts;
use gpt2_fhe::integer::multiply::Multiply;
use gpt2_fhe::run::exact::ExactAttention;
use gpt2_fhe::run::{Attention, Lowering, Plan, Session};
use gpt2_fhe::track::Unobserved;
use integration_tests::layer::Layer;
use nn::attention::{AttentionWeights, Linear, Part};
use nn::clear::StepRecord;
use nn::integer::{IntegerAttention, IntegerOptions};
use nn::matrix::Matrix;
use nn::packed::Span;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::Node;
use tfhe_core::keys::{ClientKeys, Needs};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::random::SampleSeed;
use tfhe_core::sets;

/// A pseudo-random number in [−1, 1].
fn noise(index: usize) -> f32 {
    let hash =
        (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (hash >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// A part of a layer of three heads of size 4, embeddings of size 12, and an input of three tokens.
fn small_head(part: Part, bits: u32) -> (IntegerAttention, Matrix<f32>) {
    let weight = Matrix::from_fn(12, 36, |i, j| noise(i * 36 + j));
    let bias = (0..36).map(|j| 0.3 * noise(1000 + j)).collect();
    let output = Matrix::from_fn(12, 12, |i, j| noise(3000 + i * 12 + j));
    let output_bias = (0..12).map(|j| 0.3 * noise(4000 + j)).collect();
    let weights = AttentionWeights::new(Linear::new(weight, bias).unwrap(), 3).unwrap();
    let weights = weights.with_output(Linear::new(output, output_bias).unwrap()).unwrap();
    let hidden = Matrix::from_fn(3, 12, |i, j| 2.0 * noise(2000 + i * 12 + j));
    let head =
        IntegerAttention::calibrate(&weights, part, std::slice::from_ref(&hidden), &IntegerOptions::new(bits)).unwrap();
    (head, hidden)
}

/// A part of a layer's attention, calibrated on one input.
fn quantized(layer: &Layer, part: Part, hidden: &Matrix<f32>, bits: u32) -> IntegerAttention {
    IntegerAttention::calibrate(&layer.weights, part, std::slice::from_ref(hidden), &IntegerOptions::new(bits)).unwrap()
}

fn execute(head: &IntegerAttention, hidden: &Matrix<f32>, multiply: Multiply, what: &str) {
    let seed = ClientSeed::from_number(9);
    let exact = Attention::Exact(Box::new(ExactAttention { quantized: head.clone(), multiply }));
    let span = Span::all(hidden.rows());
    let plan = exact.plan(span).expect("a reliable plan");
    assert!(plan.log2_failure_probability <= -40.0);
    let planned = (plan.statistics.lookups(), plan.statistics.pbs(), plan.statistics.key_switches());
    let mut session = Session::new(&exact, &plan, &seed).expect("its own plan");
    let outcome = session.execute(&exact, hidden, span, &mut Unobserved).expect("a finished run");
    assert_eq!(outcome.mismatches(), 0, "{what}: {:?} against {:?}", outcome.numbers, outcome.clear_numbers);
    let done = (outcome.statistics.lookups(), outcome.statistics.pbs(), outcome.statistics.key_switches());
    assert_eq!(done, planned, "{what}: what was done is what was planned");
    println!("{what}: {} lookups, {} PBS, {:.1} s", done.0, done.1, outcome.seconds.evaluate);
}

/// One head, at each of the numbers of bits.
fn heads_match(widths: &[u32], multiply: Multiply) {
    for &bits in widths {
        let (head, hidden) = small_head(Part::Head(1), bits);
        execute(&head, &hidden, multiply, &format!("{bits} bits, {}", multiply.name()));
    }
}

/// All heads.
fn attention_matches(bits: u32, multiply: Multiply) {
    let (whole, hidden) = small_head(Part::Whole, bits);
    execute(&whole, &hidden, multiply, &format!("all heads, {bits} bits, {}", multiply.name()));
}

#[test]
fn small_heads_match_with_products() {
    heads_match(&[2, 4, 6], Multiply::Product);
}

#[test]
fn small_heads_match_with_lookups() {
    heads_match(&[2, 4], Multiply::Lut);
}

#[test]
fn small_attentions_match() {
    attention_matches(3, Multiply::Product);
    attention_matches(3, Multiply::Lut);
}

#[test]
fn two_tokens_of_a_head_of_gpt2s_size_match() {
    let layer = Layer::like_gpt2();
    let hidden = &layer.calibration[0];
    let head = quantized(&layer, Part::Head(0), hidden, 4);
    execute(&head, &hidden.row_range(0..2), Multiply::Product, "head 0, two tokens");
}

/// The whole attention on the first tokens of the first input.
fn execute_whole(layer: &Layer, tokens: usize, what: &str) {
    let hidden = &layer.calibration[0];
    let whole = quantized(layer, Part::Whole, hidden, 4);
    execute(&whole, &hidden.row_range(0..tokens), Multiply::Product, what);
}

/// `.ci/run` runs what is in here, with or without what else is ignored.
mod long {
    use super::*;

    #[test]
    #[ignore = "long: half a minute"]
    fn small_heads_of_the_other_widths_match() {
        heads_match(&[3, 5], Multiply::Product);
        heads_match(&[6], Multiply::Lut);
    }

    #[test]
    #[ignore = "long: half a minute"]
    fn small_attentions_of_more_bits_match() {
        attention_matches(4, Multiply::Product);
        attention_matches(4, Multiply::Lut);
    }
}

/// `.ci/run --long` runs what is in here.
mod minutes {
    use super::*;

    #[test]
    #[ignore = "minutes: nearly 10,000 bootstrappings, three to eight minutes"]
    fn the_attention_of_gpt2s_size_matches_on_one_token() {
        execute_whole(&Layer::like_gpt2(), 1, "all heads, one token");
    }
}

/// Longer than anyone waits for.
mod by_hand {
    use super::*;

    #[test]
    #[ignore = "by hand: 59,676 bootstrappings, 36 minutes of CPU time; needs ../shared"]
    fn the_attention_of_gpt2_matches_on_six_tokens() {
        execute_whole(&Layer::of_gpt2(), 6, "GPT-2 layer 0, all heads, six tokens");
    }
}

/// All twelve heads, three inputs, 2 to 6 bits, both ways of multiplying: the noise that the circuit is predicted to have never
/// changes an integer.
#[test]
fn simulated_heads_match() {
    let layer = Layer::like_gpt2();
    let seed = SampleSeed::from_number(4);
    let inputs = &layer.calibration[..3];
    let cases =
        inputs.iter().flat_map(|hidden| (0..12).flat_map(move |head| (2..=6).map(move |bits| (hidden, head, bits))));
    for (hidden, head, bits) in cases {
        let quantized = quantized(&layer, Part::Head(head), hidden, bits);
        for multiply in [Multiply::Product, Multiply::Lut] {
            let what = format!("head {head}, {bits} bits, {multiply:?}");
            let exact = ExactAttention { quantized: quantized.clone(), multiply };
            let outcome = match exact.run_simulated(hidden, Span::all(hidden.rows()), &seed, &mut Unobserved) {
                Ok(outcome) => outcome,
                // The widest heads at 6 bits: refused, with the reason, rather than run unreliably.
                Err(error) => {
                    assert_eq!(bits, 6, "{what}: {error}");
                    println!("{what}: {error}");
                    continue;
                }
            };
            assert_eq!(outcome.mismatches(), 0, "{what}");
        }
    }
}

/// All heads together, both ways of multiplying.
fn simulate_whole(layer: &Layer, bits: std::ops::RangeInclusive<u32>) {
    let seed = SampleSeed::from_number(5);
    let hidden = &layer.calibration[0];
    for (bits, multiply) in bits.flat_map(|bits| [Multiply::Product, Multiply::Lut].map(|way| (bits, way))) {
        let whole = quantized(layer, Part::Whole, hidden, bits);
        assert_eq!(whole.program().operations(6).iter().map(StepRecord::lookup_count).sum::<usize>(), 12 * 1236 + 4608);
        let what = format!("all heads, {bits} bits, {}", multiply.name());
        let exact = ExactAttention { quantized: whole, multiply };
        let outcome = match exact.run_simulated(hidden, Span::all(6), &seed, &mut Unobserved) {
            Ok(outcome) => outcome,
            Err(error) => {
                // The widest heads, as above.
                assert_eq!(bits, 6, "{what}: {error}");
                println!("{what}: {error}");
                continue;
            }
        };
        let Some(plan) = &outcome.plan else { panic!("{what}: no plan") };
        print_plan(&what, plan);
        assert_eq!(outcome.mismatches(), 0, "{what}");
    }
}

#[test]
fn the_simulated_attention_matches() {
    simulate_whole(&Layer::like_gpt2(), 2..=6);
}

#[test]
#[ignore = "needs ../shared: the plans of GPT-2's attention"]
fn the_simulated_attention_of_gpt2_matches() {
    simulate_whole(&Layer::of_gpt2(), 2..=6);
}

fn print_plan(what: &str, plan: &Plan) {
    let (statistics, bytes) = (&plan.statistics, &plan.bytes);
    println!(
        "{what}, {}: {} lookups, {} PBS, {} products, failure 2^{:.1}, {} bytes of keys, {} of request, {} of response",
        plan.parameters.name(),
        statistics.lookups(),
        statistics.pbs(),
        statistics.tensor_products(),
        plan.log2_failure_probability,
        bytes.evaluation_key,
        bytes.request,
        bytes.response
    );
    for step in statistics.steps.iter().filter(|step| step.lookups > 0) {
        println!(
            "  {}: {} lookups, {} PBS, failure 2^{:.1}",
            step.name, step.lookups, step.pbs, step.log2_failure_probability
        );
    }
}

/// Sums of ciphertexts are sums of their words, also where there are more columns than are computed together.
#[test]
fn weighted_sums_are_those_of_words() {
    let parameters = sets::TOY.compile().unwrap();
    let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(6)).unwrap();
    let needs = Needs::default().keyswitch(Node::Lookup).automorphisms(Node::Lookup, 0, 0);
    let keys = client.evaluation_keys(&needs).unwrap().prepare().unwrap();
    let words = parameters.lookup().lwe_dimension().get() + 1;
    let word = |row: usize, index: usize| (noise(row * words + index) * 1e6) as i64 as u64;
    let values: Vec<LweCiphertext> =
        (0..7).map(|row| LweCiphertext::from_data((0..words).map(|index| word(row, index)).collect())).collect();
    let weight = Matrix::from_fn(7, 37, |row, column| (3.5 * noise(7000 + row * 37 + column)) as i32);
    let constants: Vec<u64> = (0..37).map(|column| 1 << column).collect();
    let sums = IntegerCiphertexts::new(&keys, &[], false).unwrap().weighted_sums(
        &values.iter().collect::<Vec<_>>(),
        &weight,
        &constants,
    );
    assert_eq!(sums.len(), 37);
    for (column, sum) in sums.iter().enumerate() {
        for (index, &found) in sum.data().iter().enumerate() {
            let terms = (0..7).map(|row| word(row, index).wrapping_mul(weight[(row, column)] as u64));
            let constant = if index + 1 == words { constants[column] } else { 0 };
            assert_eq!(found, terms.fold(constant, u64::wrapping_add), "column {column}, word {index}");
        }
    }
}
