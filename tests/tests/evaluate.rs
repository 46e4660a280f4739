//! `evaluate`: encrypted positions against what simulation predicts of them, on the embedded model.

use std::path::Path;

use gpt2_fhe::engine::Unobserved;
use gpt2_fhe::evaluate::{Evaluation, Passage, sample, windows};
use gpt2_fhe::run::{Attention, packed};
use nn::attention::Part;
use nn::gpt2::Gpt2;
use nn::matrix::Matrix;
use nn::packed::{PackedOptions, Span};
use nn::tokenizer::Tokenizer;
use tfhe_core::random::SecretSeed;

const TEXT: &str = "What, shall we part? The morning is not yet,\nAnd all the birds are silent in the wood.\nSay not a \
                    word: the watch will hear thy step,\nAnd I would have thee live another day.";
/// Tokens of a window, and how many positions are encrypted.
const WINDOW: usize = 16;
const POSITIONS: usize = 12;
/// Simulated samples from which the distribution of a sample's noise is estimated.
const SIMULATIONS: u64 = 40;
/// By what factor the noise of an operation may differ from its prediction, as `packed_noise` allows.
const PREDICTION: f64 = 1.25;

/// The noise of a sample, s = ‖decrypted − clear‖, is compared with that of 40 simulations of the same positions by its logarithm:
/// errors of a position are shared by its channels through its probabilities, so s is a sum of few independent squares, whose
/// spread only simulation gives. The mean m and the standard deviation σ of log s are estimated from the simulations; were
/// log s Gaussian, |log s − m| > 5σ would have a chance of 2^-20. To that is added what predictions may be off.
#[test]
fn encrypted_positions_have_the_noise_of_simulated_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded");
    let (model, tokenizer) = (Gpt2::load(&folder).unwrap(), Tokenizer::load(&folder).unwrap());
    let text = tokenizer.encode(TEXT).unwrap();
    let evaluation = Evaluation::new(&model, 0, Part::Head(0)).unwrap();
    let calibration = evaluation.inputs(&windows(&text, WINDOW, None).unwrap()).unwrap();
    let options = PackedOptions { max_tokens: Some(WINDOW), ..PackedOptions::new(5) };
    let weights = model.attention(0).unwrap();
    let attention =
        Attention::Packed(Box::new(packed::calibrate(weights, Part::Head(0), &calibration, &options).unwrap()));
    let passages = sample(&text, WINDOW, POSITIONS, &SecretSeed::from_number(1)).unwrap();

    let agreement = evaluation.execute(&passages, &attention, &SecretSeed::from_number(2), &mut Unobserved).unwrap();
    assert_eq!((agreement.mismatches, agreement.executed.positions), (0, POSITIONS));
    let hidden = evaluation.inputs(&passages).unwrap();
    let inputs: Vec<_> = hidden.into_iter().zip(passages.iter().map(Passage::span)).collect();
    let simulated: Vec<f64> = (0..SIMULATIONS).map(|seed| simulated_noise(&inputs, &attention, seed)).collect();
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

/// ‖simulated − clear‖/‖clear‖ over all passages' rows.
fn simulated_noise(inputs: &[(Matrix<f32>, Span)], attention: &Attention, seed: u64) -> f64 {
    let seed = SecretSeed::from_number(1000 + seed);
    let (mut noise, mut clear) = (0.0, 0.0);
    for ((hidden, span), index) in inputs.iter().zip(0..) {
        let outcome = attention.run_simulated(hidden, *span, &seed.derive(index), &mut Unobserved).unwrap();
        noise +=
            outcome.output.iter().zip(outcome.clear_output.iter()).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        clear += outcome.clear_output.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
    }
    (noise / clear).sqrt()
}
