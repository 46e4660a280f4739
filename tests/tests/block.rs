//! A whole block of the embedded model on ciphertexts, from a client's request to its decrypted answer: errors as in simulations.

use std::path::Path;

use gpt2_fhe::block::encoding::BlockEncoding;
use gpt2_fhe::block::evaluator::StreamEvaluator;
use gpt2_fhe::block::keys::needs;
use gpt2_fhe::block::layout::BlockLayout;
use gpt2_fhe::block::prediction::BlockPrediction;
use gpt2_fhe::block::prepared::PreparedBlocks;
use gpt2_fhe::block::simulated::SimulatedBlock;
use gpt2_fhe::block::tensor::StreamTensor;
use gpt2_fhe::boundary::Refused;
use gpt2_fhe::client::Client;
use gpt2_fhe::encoding::Encoding;
use gpt2_fhe::server::{Prepared, Server};
use gpt2_fhe::track::{EvaluationError, Observer, Unobserved};
use nn::block::{BlockOptions, BlockPart, ModelProgram};
use nn::clear::{ClearEvaluator, ClearTensor};
use nn::evaluator::{BlockEvaluator, Form};
use nn::gpt2::Gpt2;
use nn::matrix::Matrix;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::keys::{ClientKeys, Needs};
use tfhe_core::random::SampleSeed;
use tfhe_core::sets::{HEAD_EXACT, PACKED_BLOCK, PACKED_HEAD};

/// Public tokens before the others.
const PREFIX: usize = 1;
const TOKENS: usize = 2;
const SIMULATIONS: u64 = 12;

/// Layer 1 of the model, whose heads have 64 channels, and the stream before it, of a text that was not calibrated on.
fn block() -> (ModelProgram, BlockLayout, Matrix<f64>) {
    let model = Gpt2::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded")).unwrap();
    let mut texts = model.draw_texts((129, 32), 1).unwrap();
    let unseen = texts.pop().unwrap();
    let options = BlockOptions::default();
    let program = ModelProgram::calibrate(&model, 1..2, BlockPart::Whole, (&texts, PREFIX), &options).unwrap();
    let hidden = model.hidden_states(&unseen[..PREFIX + TOKENS], 1).unwrap().remove(1);
    let stream = program.scale().encode(&hidden.row_range(PREFIX..PREFIX + TOKENS)).unwrap();
    let layout = BlockLayout::new(&PACKED_BLOCK.compile().unwrap(), model.config().head_size()).unwrap();
    (program, layout, stream)
}

fn evaluate<E: BlockEvaluator>(program: &ModelProgram, evaluator: &mut E, mut stream: E::Tensor) -> E::Tensor {
    let mut caches = program.caches(evaluator);
    program.evaluate(evaluator, &mut stream, &mut caches).unwrap();
    stream
}

/// Without noise.
fn clear(program: &ModelProgram, stream: &Matrix<f64>) -> Vec<Vec<f64>> {
    let evaluator = &mut ClearEvaluator::new();
    let rows = (0..stream.rows()).map(|row| stream.row(row).to_vec()).collect();
    let stream: ClearTensor = evaluator.known(rows, Form::Features);
    let result = evaluate(program, evaluator, stream).rows().to_vec();
    assert_eq!(evaluator.out_of_range(), 0, "the text is as those that were calibrated on");
    result
}

/// The root mean square of errors in the stream's channels but for the mean, which has a scale of its own.
fn error<'a>(rows: impl Iterator<Item = &'a [f64]>, clear: &[Vec<f64>]) -> f64 {
    let channels = clear[0].len() - 1;
    let squares =
        rows.zip(clear).flat_map(|(row, clear)| row[..channels].iter().zip(clear).map(|(x, y)| (x - y).powi(2)));
    (squares.sum::<f64>() / (clear.len() * channels) as f64).sqrt()
}

/// Has seen enough at once.
struct Stop;

impl Observer for Stop {
    fn begin(&mut self, _step: &'static str, _operations: usize) {}

    fn advance(&mut self, _operations: usize) -> bool {
        false
    }
}

#[test]
fn a_block_on_ciphertexts_has_the_errors_of_simulated_ones() {
    let (program, layout, stream) = block();
    let (tokens, channels) = (stream.rows(), stream.cols());
    let expected = clear(&program, &stream);
    let (parameters, seed) = (PACKED_BLOCK.compile().unwrap(), ClientSeed::from_number(3));

    let prepared = PreparedBlocks::new(&parameters, &program, layout, TOKENS).unwrap();
    let encoding = prepared.encoding(tokens);
    let client = Client::new(BlockEncoding::CIRCUIT, &parameters, &seed).unwrap();
    let request = client.encrypt(&encoding.integers(&stream).unwrap(), &encoding).unwrap();
    let keys = client.evaluation_keys(&needs()).unwrap().prepare().unwrap();
    let server = Server::new(&prepared, &keys).unwrap();
    assert_eq!(server.evaluate(&request, &encoding, &mut Stop).unwrap_err(), EvaluationError::Cancelled);
    let (answer, statistics) = server.evaluate(&request, &encoding, &mut Unobserved).unwrap();
    let answer = client.decrypt(&answer, &encoding, request.label()).unwrap();
    let found = error((0..tokens).map(|row| answer.row(row)), &expected);

    let prediction = BlockPrediction::on(keys.arithmetic_fft().transforms(), &parameters, layout).unwrap();
    let simulate = |number| {
        let mut backend = SimulatedBlock::new(layout, parameters.lookup().size(), &SampleSeed::from_number(number));
        let input = backend.encrypt(&stream, prediction.fresh());
        let observer = &mut Unobserved;
        let mut evaluator = StreamEvaluator::new(backend, &prediction, observer);
        let input = StreamTensor::<SimulatedBlock>::fresh(input, [tokens, channels], prediction.fresh());
        let result = evaluate(&program, &mut evaluator, input).into_reals();
        error((0..tokens).map(|row| result.turns().row(row)), &expected)
    };
    let simulated: Vec<f64> = (0..SIMULATIONS).map(simulate).collect();
    let mean = simulated.iter().map(|error| error.ln()).sum::<f64>() / SIMULATIONS as f64;
    let deviation =
        (simulated.iter().map(|error| (error.ln() - mean).powi(2)).sum::<f64>() / (SIMULATIONS - 1) as f64).sqrt();
    println!(
        "errors, log2 of turns: encrypted {:.2}, simulated {:.2} (standard deviation of one {:.2}); {} lookups, failure 2^{:.0}",
        found.log2(),
        mean / 2f64.ln(),
        deviation / 2f64.ln(),
        statistics.lookups(),
        statistics.log2_failure_probability()
    );
    // A normal number is that far off its mean with a probability of 2^-20; and predictions of operations are within 10 %.
    assert!((found.ln() - mean).abs() <= 5.0 * deviation + 1.1_f64.ln());
}

#[test]
fn what_is_not_prepared_is_refused() {
    let (program, layout, _) = block();
    let parameters = PACKED_BLOCK.compile().unwrap();
    let prepare = |parameters, layout| PreparedBlocks::new(parameters, &program, layout, TOKENS);
    let small = BlockLayout::new(&parameters, 32).unwrap();
    assert_eq!(prepare(&parameters, small).unwrap_err(), Refused::Layout);
    let other = HEAD_EXACT.compile().unwrap();
    assert!(matches!(prepare(&other, layout).unwrap_err(), Refused::Set(_)));

    let prepared = prepare(&parameters, layout).unwrap();
    let refused = |encoding| prepared.check(&encoding, &parameters).unwrap_err();
    for tokens in [0, TOKENS + 1, usize::MAX] {
        assert_eq!(refused(prepared.encoding(tokens)), Refused::Tokens { tokens, most: TOKENS });
    }
    let own = prepared.encoding(TOKENS);
    assert_eq!(prepared.check(&own, &parameters), Ok(()));
    for other in [BlockEncoding { layout: small, ..own }, BlockEncoding { channels: own.channels + 1, ..own }] {
        assert_eq!(refused(other), Refused::Layout);
    }
    let keys = ClientKeys::generate(&PACKED_HEAD.compile().unwrap(), &ClientSeed::from_number(1)).unwrap();
    let keys = keys.evaluation_keys(&Needs::default()).unwrap().prepare().unwrap();
    assert_eq!(Server::new(&prepared, &keys).unwrap_err(), Refused::Prepared("packed_head"));
}
