//! `evaluate`: encrypted positions against what simulation predicts of them, on the embedded model.

use std::path::Path;

use gpt2_fhe::evaluate::{Evaluation, Passage, sample, windows};

use gpt2_fhe::run::{Attention, Lowering, Plan, packed};
use gpt2_fhe::track::Unobserved;
use integration_tests::packed::simulate;
use nn::attention::Part;
use nn::gpt2::Gpt2;
use nn::matrix::Matrix;
use nn::packed::{PackedAttention, PackedOptions, Span};
use nn::tokenizer::Tokenizer;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::random::SampleSeed;

const TEXT: &str = "What, shall we part? The morning is not yet,\nAnd all the birds are silent in the wood.\nSay not a \
                    word: the watch will hear thy step,\nAnd I would have thee live another day.";
/// Tokens of a window, and how many positions are encrypted.
const WINDOW: usize = 16;
const POSITIONS: usize = 40;
/// Simulated samples from which the distribution of a sample's noise is estimated.
const SIMULATIONS: u64 = 40;
/// By what factor a standard deviation may differ from its prediction: that of each operation is within 10 %
/// (`packed_noise`).
const PREDICTION: f64 = 1.1;

/// The noise of a sample, s = ‖decrypted − clear‖, is compared with that of 40 simulations of the same positions by its
/// logarithm: errors of a position are shared by its channels through its probabilities, so s is a sum of few
/// independent squares, whose spread only simulation gives. The mean m and the standard deviation σ of log s are
/// estimated from the simulations; were log s Gaussian, |log s − m| > 5σ would have a chance of 2^-20. To that is added
/// what predictions may be off.
#[test]
fn encrypted_positions_have_the_noise_of_simulated_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded");
    let (model, tokenizer) = (Gpt2::load(&folder).unwrap(), Tokenizer::load(&folder).unwrap());
    let text = tokenizer.encode(TEXT).unwrap();
    let evaluation = Evaluation::new(&model, 0, Part::Head(0)).unwrap();
    let calibration = evaluation.inputs(&windows(&text, WINDOW, None).unwrap()).unwrap();
    let options = PackedOptions { max_tokens: Some(WINDOW), ..PackedOptions::new(5) };
    let weights = model.attention(0).unwrap();
    let quantized = packed::calibrate(weights, Part::Head(0), &calibration, &options).unwrap();
    let attention = Attention::Packed(Box::new(quantized.clone()));
    let passages = sample(&text, WINDOW, POSITIONS, &SampleSeed::from_number(1)).unwrap();

    let (seed, samples) = (ClientSeed::from_number(2), SampleSeed::from_number(2));
    let agreement = evaluation.execute(&passages, &attention, &seed, &samples, &mut Unobserved).unwrap();
    assert_eq!((agreement.mismatches, agreement.executed.positions), (0, POSITIONS));
    let hidden = evaluation.inputs(&passages).unwrap();
    let position = |(passage, hidden): (&Passage, &Matrix<f32>)| Position::new(&quantized, hidden, passage.span());
    let positions: Vec<Position> = passages.iter().zip(&hidden).map(position).collect();
    let simulation = |seed| simulated_noise(&quantized, &positions, &SampleSeed::from_number(1000 + seed));
    let simulated: Vec<f64> = (0..SIMULATIONS).map(simulation).collect();
    let count = SIMULATIONS as f64;
    let mean = simulated.iter().map(|noise| noise.ln()).sum::<f64>() / count;
    let deviation = (simulated.iter().map(|noise| (noise.ln() - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
    let found = agreement.executed_noise.ln() - mean;
    println!(
        "noise, relative: encrypted {:.4}, simulated {:.4} (standard deviation of a sample {:.1} %); same top-1 {:.2}",
        agreement.executed_noise,
        mean.exp(),
        100.0 * deviation,
        agreement.same_top_1
    );
    assert!(found.abs() <= 5.0 * deviation + PREDICTION.ln(), "encrypted differs from simulated by {found:.3} in log");
    // Errors against f32 are those of quantization and of noise together.
    let ratio = agreement.executed.relative_error / agreement.simulated.relative_error;
    assert!((0.5..2.0).contains(&ratio), "relative errors: {agreement:?}");
}

/// What is known of a position without drawing noise.
struct Position {
    plan: Plan,
    input: Matrix<i32>,
    clear: Matrix<f32>,
}

impl Position {
    fn new(attention: &PackedAttention, hidden: &Matrix<f32>, span: Span) -> Self {
        Self {
            plan: attention.plan(span).unwrap(),
            input: attention.client().quantize_input(hidden).unwrap(),
            clear: attention.run_clear(hidden, span).unwrap().output,
        }
    }
}

/// ‖simulated − clear‖/‖clear‖ over all positions.
fn simulated_noise(attention: &PackedAttention, positions: &[Position], seed: &SampleSeed) -> f64 {
    let (mut noise, mut clear) = (0.0, 0.0);
    for (position, index) in positions.iter().zip(0..) {
        let numbers = simulate(attention, &position.plan, &position.input, &seed.derive(index));
        let output = attention.client().dequantize_output(&numbers);
        let pairs = output.iter().zip(position.clear.iter());
        noise += pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        clear += position.clear.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
    }
    (noise / clear).sqrt()
}
