//! A whole block of the embedded model on ciphertexts, from requests of a client to decrypted answers: errors as in simulations.

use std::path::Path;

use gpt2_fhe::block::circuit::BlockCircuit;
use gpt2_fhe::block::encoding::BlockEncoding;
use gpt2_fhe::block::evaluator::StreamEvaluator;
use gpt2_fhe::block::keys::needs;
use gpt2_fhe::block::prediction::BlockPrediction;
use gpt2_fhe::block::server::BlockServer;
use gpt2_fhe::block::simulated::SimulatedBlock;
use gpt2_fhe::block::tensor::StreamTensor;
use gpt2_fhe::boundary::Refused;
use gpt2_fhe::client::Client;
use gpt2_fhe::encoding::Encoding;
use gpt2_fhe::run::block::BlockModel;
use gpt2_fhe::track::statistics::Statistics;
use gpt2_fhe::track::{EvaluationError, Observer, Unobserved};
use nn::block::{BlockOptions, BlockPart, ModelProgram, StreamProgram};
use nn::clear::{ClearEvaluator, ClearTensor};
use nn::evaluator::{BlockEvaluator, Form};
use nn::gpt2::Gpt2;
use nn::matrix::Matrix;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::{Edge, Node, ParametersLiteral};
use tfhe_core::keys::{ClientKeys, MissingKey, Needs};
use tfhe_core::noise::log2_sum;
use tfhe_core::random::SampleSeed;
use tfhe_core::sets::{PACKED_BLOCK, PACKED_HEAD};

/// Public tokens before the others.
const PREFIX: usize = 1;
const TOKENS: usize = 2;
const SIMULATIONS: u64 = 12;

/// Layer 1 of the model, and the stream before it, of a text that was not calibrated on.
fn block(options: &BlockOptions) -> (BlockCircuit, Matrix<f64>) {
    let model = Gpt2::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/embedded")).unwrap();
    let mut texts = model.draw_texts((129, 32), 1).unwrap();
    let unseen = texts.pop().unwrap();
    let program = ModelProgram::calibrate(&model, 1..2, BlockPart::Whole, (&texts, PREFIX), options).unwrap();
    let hidden = model.hidden_states(&unseen[..PREFIX + TOKENS], 1).unwrap().remove(1);
    let stream = program.client().encode(&hidden.row_range(PREFIX..PREFIX + TOKENS)).unwrap();
    (BlockModel::new(program).unwrap().circuit().clone(), stream)
}

fn evaluate<E: BlockEvaluator>(program: &StreamProgram, evaluator: &mut E, mut stream: E::Tensor) -> E::Tensor {
    let mut caches = program.caches(evaluator);
    program.evaluate(evaluator, &mut stream, &mut caches).unwrap();
    stream
}

/// Without noise.
fn clear(program: &StreamProgram, stream: &Matrix<f64>) -> Vec<Vec<f64>> {
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
    check(&BlockOptions::default());
}

/// With pairs of squares, and queries that are not looked up.
#[test]
fn so_has_one_with_the_options_of_wide_ones() {
    let options = BlockOptions::of_width(768);
    assert!(options.pairs && options.query_bits.is_some());
    check(&options);
}

/// Two tokens, one after the other: the second meets keys and values that the server kept of the first, and public ones.
fn check(options: &BlockOptions) {
    let (circuit, stream) = block(options);
    let (program, parameters, layout) = (circuit.program(), circuit.parameters(), *circuit.prediction().layout());
    let expected = clear(program, &stream);

    let client = Client::new(BlockEncoding::CIRCUIT, parameters, &ClientSeed::from_number(3)).unwrap();
    let keys = client.evaluation_keys(&needs()).unwrap().prepare().unwrap();
    let encoding = circuit.encoding(1);
    let encrypt =
        |token: usize| client.encrypt(&encoding.integers(&stream.row_range(token..token + 1)).unwrap(), &encoding);
    let stopped = BlockServer::new(&circuit, &keys, &mut Stop).unwrap().evaluate(&encrypt(0).unwrap(), &encoding);
    assert_eq!(stopped.unwrap_err(), EvaluationError::Cancelled);
    let (observer, mut statistics) = (&mut Unobserved, Vec::new());
    let mut server = BlockServer::new(&circuit, &keys, observer).unwrap();
    let answers = [0, 1].map(|token| {
        let request = encrypt(token).unwrap();
        let (answer, of_request) = server.evaluate(&request, &encoding).unwrap();
        statistics.push(of_request);
        client.decrypt(&answer, &encoding, request.label()).unwrap()
    });
    let found = error(answers.iter().map(|answer| answer.row(0)), &expected);

    let (tokens, channels) = (stream.rows(), stream.cols());
    let prediction = BlockPrediction::on(keys.arithmetic_fft().transforms(), parameters, layout).unwrap();
    let simulate = |number| {
        let mut backend = SimulatedBlock::new(layout, parameters.lookup().size(), &SampleSeed::from_number(number));
        let input = backend.encrypt(&stream, prediction.fresh());
        let observer = &mut Unobserved;
        let mut evaluator = StreamEvaluator::new(backend, &prediction, observer);
        let input = StreamTensor::<SimulatedBlock>::fresh(input, [tokens, channels], prediction.fresh());
        let result = evaluate(program, &mut evaluator, input).into_reals();
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
        statistics.iter().map(Statistics::lookups).sum::<usize>(),
        statistics.iter().map(Statistics::log2_failure_probability).fold(f64::NEG_INFINITY, log2_sum)
    );
    // A normal number is that far off its mean with a probability of 2^-20; and predictions of operations are within 10 %.
    assert!((found.ln() - mean).abs() <= 5.0 * deviation + 1.1_f64.ln());
}

#[test]
fn what_is_not_of_the_blocks_is_refused() {
    let (circuit, _) = block(&BlockOptions::default());
    let seed = ClientSeed::from_number(1);
    let refused = |literal: ParametersLiteral| {
        let keys = ClientKeys::generate(&literal.compile().unwrap(), &seed).unwrap();
        let keys = keys.evaluation_keys(&Needs::default()).unwrap().prepare().unwrap();
        BlockServer::new(&circuit, &keys, &mut Unobserved).map(|_| ()).unwrap_err()
    };
    assert_eq!(refused(PACKED_HEAD), Refused::Prepared("packed_head"));
    let missing = MissingKey::Edge(Edge::Keyswitch { from: Node::Lookup });
    assert_eq!(refused(PACKED_BLOCK), Refused::Keys(missing));
}
