//! A client with its half, a server with its own, and nothing but bytes between them.

use nn::block::ModelProgram;
use nn::clear::ClearEvaluator;
use nn::record::{ClientHalf, QuantizedFile, ServerHalf};
use tempfile::TempDir;
use tfhe_core::derivation::RequestRandomness;
use tfhe_core::format::{self, Encoder, FormatError, Header};
use tfhe_core::keys::EvaluationKeys;
use tfhe_core::random::{SampleSeed, SecretSeed};

use super::*;
use crate::block::agreement::{keys_file, parameters, read_keys};
use crate::block::circuit::BlockCircuit;
use crate::block::compute::{ComputeError, compute};
use crate::block::encoding::BlockEncoding;
use crate::block::forecast::forecast;
use crate::block::keys::needs;
use crate::encoding::Encoding;
use crate::run::block::BlockModel;
use crate::run::block::simulated::SimulatedText;
use crate::run::block::tiny::{REQUESTS, blocks};
use crate::secret::ClientSecret;
use crate::store::Store;
use crate::track::{EvaluationError, Observer, Unobserved};

fn bytes((header, contents): (Header, impl Fn(&mut Encoder<'_>) -> std::io::Result<()>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    format::write(&mut bytes, &header, contents).unwrap();
    bytes
}

/// What the server has.
struct Served {
    circuit: BlockCircuit,
    keys: EvaluationKeys,
}

impl Served {
    fn read(&self, request: &[u8]) -> Result<BlockRequest, FormatError> {
        self.circuit.agreement().read_request(&mut &request[..], request.len() as u64, self.circuit.fingerprint())
    }

    fn compute(&self, request: &[u8], text: &TempDir) -> Result<Vec<u8>, ComputeError> {
        self.observed(request, text, &mut Unobserved)
    }

    fn observed(&self, request: &[u8], text: &TempDir, observer: &mut dyn Observer) -> Result<Vec<u8>, ComputeError> {
        let (request, text) = (self.read(request).unwrap(), Store::open(&text.path().join("text")).unwrap());
        let (answer, _) = compute(&self.circuit, (&self.keys, None), &request, Some(text), observer)?;
        Ok(bytes(BlockAgreement::answer_file(&answer, self.circuit.fingerprint())))
    }
}

/// Client and server, each from its file.
fn parties(seed: u64) -> (BlockParty, Served) {
    let file = QuantizedFile::of_blocks(blocks(0.7).0).unwrap();
    let read = |file: QuantizedFile| QuantizedFile::from_bytes("a half", file.to_bytes().unwrap()).unwrap();
    let (client, server) = (read(file.client_half()), read(file.server_half()));
    let fingerprint = client.fingerprint();
    assert_eq!(fingerprint, server.fingerprint());
    let Some(ClientHalf::Blocks(half)) = client.client() else { panic!() };
    let Some(ServerHalf::Blocks(program)) = server.into_halves().0 else { panic!() };
    let secret = ClientSecret::new(SecretSeed::from_number(seed), RequestRandomness::Fresh);
    let client = secret.client(BlockEncoding::CIRCUIT, &parameters()).unwrap();
    let keys = bytes(keys_file(&client.evaluation_keys(&needs()).unwrap()));
    let keys = read_keys(&mut &keys[..], keys.len() as u64).unwrap().prepare().unwrap();
    let party = BlockParty::new(half.clone(), fingerprint, client).unwrap();
    (party, Served { circuit: BlockCircuit::new(*program, &fingerprint).unwrap(), keys })
}

/// Stops after so many operations.
struct StopAfter(usize);

impl Observer for StopAfter {
    fn begin(&mut self, _: &'static str, _: usize) {}

    fn advance(&mut self, operations: usize) -> bool {
        self.0 = self.0.saturating_sub(operations);
        self.0 > 0
    }
}

/// Counts what it is told before and after.
#[derive(Default)]
struct Count([usize; 2]);

impl Observer for Count {
    fn begin(&mut self, _: &'static str, operations: usize) {
        self.0[0] += operations;
    }

    fn advance(&mut self, operations: usize) -> bool {
        self.0[1] += operations;
        true
    }
}

/// Of each of the requests, how far each number may be from the clear engine's by noise: eight deviations, from 32 simulated texts.
fn tolerances(model: &ModelProgram, hidden: &Matrix<f32>) -> Vec<Matrix<f32>> {
    const SIMULATIONS: u64 = 32;
    let blocks = BlockModel::new(model.clone()).unwrap();
    let clear = model.evaluate_clear(&mut ClearEvaluator::new(), hidden).unwrap();
    let mut squares = REQUESTS.map(|rows| Matrix::from_fn(rows.len(), hidden.cols(), |_, _| 0.0_f32));
    for seed in 0..SIMULATIONS {
        let mut text = SimulatedText::new(blocks.circuit(), SampleSeed::from_number(seed));
        for (rows, squares) in REQUESTS.into_iter().zip(&mut squares) {
            let turns = model.client().encode(&hidden.row_range(rows.clone())).unwrap();
            let output = model.client().decode(&text.advance(&turns).unwrap().0).unwrap();
            *squares = Matrix::from_fn(rows.len(), hidden.cols(), |row, column| {
                squares[(row, column)] + (output[(row, column)] - clear[(rows.start + row, column)]).powi(2)
            });
        }
    }
    squares.into_iter().map(|squares| squares.map(|square| 8.0 * (square / SIMULATIONS as f32).sqrt())).collect()
}

/// Checks that numbers are the clear engine's, within noise.
fn assert_near(values: &Matrix<f32>, clear: &Matrix<f32>, tolerance: &Matrix<f32>) {
    for (index, (value, clear)) in values.iter().zip(clear.iter()).enumerate() {
        assert!(
            (value - clear).abs() <= tolerance.data()[index],
            "{index}: {value}, {clear}, {}",
            tolerance.data()[index]
        );
    }
}

/// The requests of a text, each of them sent again, stopped, or replaced by another of the same tokens: what is decrypted are the numbers of
/// the clear engine, within noise, and an answer is that to its own request.
#[test]
fn a_text_between_two_parties() {
    let (party, served) = parties(5);
    let (model, hidden) = blocks(0.7);
    let clear = model.evaluate_clear(&mut ClearEvaluator::new(), &hidden).unwrap();
    let text = tempfile::tempdir().unwrap();
    let make = |rows: std::ops::Range<usize>| {
        let request = party.request(&hidden.row_range(rows.clone()), rows.start).unwrap();
        let sent = bytes(BlockAgreement::request_file(&request, party.fingerprint()));
        assert_eq!(served.read(&sent).unwrap(), request);
        (request, sent)
    };
    let decrypt = |answer: &[u8], request: &BlockRequest| {
        let place = (party.client().identity(), request.tokens);
        let read = party.agreement().read_answer(&mut &answer[..], answer.len() as u64, place, party.fingerprint());
        party.output(&read.unwrap(), request)
    };
    let ((first, sent), (other, _)) = (make(REQUESTS[0].clone()), make(REQUESTS[0].clone()));
    let expected: Vec<usize> =
        forecast(&served.circuit, &[2, 1]).unwrap().iter().map(|forecast| forecast.operations).collect();
    let mut count = Count::default();
    let answer = served.observed(&sent, &text, &mut count).unwrap();
    assert_eq!(count.0, [expected[0]; 2]);
    assert_eq!(served.compute(&sent, &text).unwrap(), answer, "sent again");
    let values = decrypt(&answer, &first).unwrap();
    let tolerances = tolerances(&model, &hidden);
    assert_near(&values, &clear.row_range(0..2), &tolerances[0]);
    let refused = decrypt(&answer, &other).unwrap_err().to_string();
    assert_eq!(refused, "the answer is to another request");

    // The next one does not follow one token, and is stopped in the second block; another one takes its place.
    let ((next, sent), (_, stopped), (_, early)) = (make(2..3), make(2..3), make(1..2));
    let misplaced = served.compute(&early, &text).unwrap_err();
    assert!(matches!(misplaced, ComputeError::Place { asked: 1, kept: 2 }), "{misplaced}");
    let cancelled = served.observed(&stopped, &text, &mut StopAfter(expected[1] * 3 / 4)).unwrap_err();
    assert!(matches!(cancelled, ComputeError::Evaluation(EvaluationError::Cancelled)), "{cancelled}");
    let mut count = Count::default();
    let answer = served.observed(&sent, &text, &mut count).unwrap();
    assert_eq!(count.0, [expected[1]; 2], "all of it is computed anew");
    let values = decrypt(&answer, &next).unwrap();
    assert_near(&values, &clear.row_range(2..3), &tolerances[1]);
}

/// Files of another program, client, set or kind, and what lies about its size.
#[test]
fn what_does_not_belong_is_refused() {
    let (party, served) = parties(5);
    let (_, hidden) = blocks(0.7);
    let request = party.request(&hidden.row_range(0..1), 0).unwrap();
    let sent = bytes(BlockAgreement::request_file(&request, party.fingerprint()));
    let refused = |bytes: &[u8]| match served.read(bytes) {
        Ok(_) => "read".to_owned(),
        Err(error) => error.to_string(),
    };

    let other = QuantizedFile::of_blocks(blocks(0.9).0).unwrap();
    let Some(ClientHalf::Blocks(half)) = other.client() else { panic!() };
    let secret = ClientSecret::new(SecretSeed::from_number(5), RequestRandomness::Fresh);
    let client = secret.client(BlockEncoding::CIRCUIT, &parameters()).unwrap();
    let of_other = BlockParty::new(half.clone(), other.fingerprint(), client).unwrap();
    let foreign = of_other.request(&hidden.row_range(0..1), 0).unwrap();
    let foreign = refused(&bytes(BlockAgreement::request_file(&foreign, of_other.fingerprint())));
    assert!(foreign.starts_with("it belongs to another program"), "{foreign}");

    let (stranger, _) = parties(6);
    let strange = stranger.request(&hidden.row_range(0..1), 0).unwrap();
    let error =
        compute(&served.circuit, (&served.keys, None), &strange, None, &mut Unobserved).unwrap_err().to_string();
    assert!(error.starts_with("the request belongs to other keys"), "{error}");

    let late = BlockRequest { earlier: 1, ..request.clone() };
    let error = compute(&served.circuit, (&served.keys, None), &late, None, &mut Unobserved).unwrap_err();
    assert!(matches!(error, ComputeError::Place { asked: 1, kept: 0 }), "{error}");
    // Rows that no text has, and that the ciphertexts have not.
    for (earlier, tokens) in [(0, 0), (0, 2), (7, 1), (usize::MAX, 1), (0, usize::MAX), (1 << 32, 1 << 32)] {
        let lie = BlockRequest { earlier, tokens, ..request.clone() };
        let line = refused(&bytes(BlockAgreement::request_file(&lie, party.fingerprint())));
        assert!(line.starts_with("its contents are not as they should be: "), "{earlier}, {tokens}: {line}");
    }
    let mut keys_of_request = sent.clone();
    keys_of_request[12..20].copy_from_slice(b"evalkeys");
    let error = read_keys(&mut &keys_of_request[..], keys_of_request.len() as u64).unwrap_err();
    assert!(matches!(error, FormatError::Checksum), "{error}");
    let error = read_keys(&mut &sent[..], sent.len() as u64).unwrap_err();
    assert!(matches!(error, FormatError::Kind { .. }), "{error}");
    for (at, byte) in sent.iter().enumerate().step_by(997) {
        let mut damaged = sent.clone();
        damaged[at] = byte ^ 0x10;
        assert!(served.read(&damaged).is_err(), "{at}");
    }
    assert!(matches!(party.request(&hidden, 6), Err(RunError::Refused(_))), "no text is so long");
}
