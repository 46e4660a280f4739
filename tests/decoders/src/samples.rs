//! Files that are accepted, from which others are made: small, of the toy set, and the same each time.

use std::io;

use gpt2_fhe::block::state::{KeptRequest, encode_stream};
use gpt2_fhe_worker::batch::{Batch, BatchId, BatchResult, KeyName};
use gpt2_fhe_worker::keys::write_keys;
use tfhe_core::derivation::{ClientSeed, RequestRandomness};
use tfhe_core::fingerprint::Fields;
use tfhe_core::format::{Encoder, Header};
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::keys::{Answer, ClientKeys, Identity, Request};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::random::{SampleSeed, SecretSeed};
use zeroize::Zeroizing;

use super::{ANSWER_BITS, ARITHMETIC, COUNT, Target, context, file, needs, parameters, shape};

/// A client, and what it and its server send.
struct Parties {
    client: ClientKeys,
    requests: [Request; 2],
}

impl Parties {
    fn new() -> Self {
        let client = ClientKeys::generate(&parameters(), &ClientSeed::from_number(1)).expect("a backend");
        let encoding = Fields::new("encoding").fingerprint();
        let requests = [1, 2].map(|first| {
            let plaintexts: Vec<_> =
                (first..).take(COUNT).map(|m| Zeroizing::new(vec![m << 60; shape().polynomial_size.get()])).collect();
            client.encrypt(&plaintexts, &encoding, u64::BITS).expect("equal requests are equal, and take no randomness")
        });
        Self { client, requests }
    }

    fn file(&self, target: Target, contents: impl Fn(&mut Encoder<'_>) -> io::Result<()>) -> Vec<u8> {
        file(&Header { kind: target.kind(), identity: *self.client.identity(), context: context() }, contents)
    }

    /// The ciphertexts of a request, as a server has them.
    fn ciphertexts(&self, request: usize) -> Vec<GlweCiphertext> {
        self.requests[request].ciphertexts().iter().map(|ciphertext| ciphertext.expand()).collect()
    }

    /// The stream of two requests of so many tokens after `done` blocks, of rows of the same ciphertexts.
    fn stream(&self, tokens: [usize; 2], done: usize, rows: usize) -> Vec<u8> {
        let requests = tokens.into_iter().zip(&self.requests);
        let requests: Vec<_> = requests.map(|(tokens, request)| KeptRequest::new(request.label(), tokens)).collect();
        let ciphertexts: Vec<_> = (0..rows).flat_map(|row| self.ciphertexts(row % 2)).collect();
        let ciphertexts: Vec<_> = ciphertexts.iter().collect();
        self.file(Target::Stream, |encoder| encode_stream(encoder, &requests, done, (shape(), &ciphertexts)))
    }
}

/// Whose keys there are.
pub(crate) fn identity() -> Identity {
    *Parties::new().client.identity()
}

/// Three blind rotations of two polynomials, of the first client's keys.
pub(crate) fn batch() -> Batch {
    let (identity, shape) = (identity(), shape());
    let mut stream = SampleSeed::from_number(1).stream(0);
    let exponents = shape.polynomial_size.log2() + 1;
    let mut elements = |count: usize, bits: u32| -> Vec<u64> {
        (0..count).map(|_| stream.uniform() >> (64 - bits) << (64 - bits)).collect()
    };
    let dimension = parameters().small().lwe_dimension().get();
    Batch {
        id: BatchId { run: *b"the run of tests", number: 5 },
        identity,
        keys: KeyName([7; 32]),
        gadget: 0,
        bits: 21,
        inputs: (0..3).map(|_| LweCiphertext::from_data(elements(dimension + 1, exponents))).collect(),
        polynomials: (0..2)
            .map(|_| GlweCiphertext::trivial(shape, &elements(shape.polynomial_size.get(), u64::BITS)))
            .collect(),
        lookups: vec![(1, 1), (0, 5), (1, 64)],
    }
}

/// What a worker may answer to it: ciphertexts of nothing in particular.
fn result(outcome: Result<(), &str>) -> Vec<u8> {
    let (batch, mut stream) = (batch(), SampleSeed::from_number(2).stream(0));
    let expected = batch.expected().expect("it has polynomials");
    let mut result = |bodies: usize| {
        let mut result = GlweCiphertext::zero(expected.shape);
        let sent = expected.shape.extracted_lwe_dimension().get() + bodies;
        result.data_mut()[..sent].iter_mut().for_each(|x| *x = stream.uniform() >> 43 << 43);
        result
    };
    let outcome = match outcome {
        Ok(()) => Ok(expected.bodies.iter().map(|&bodies| result(bodies)).collect()),
        Err(line) => Err(line.to_owned()),
    };
    let (id, identity, worker) = (batch.id, batch.identity, "worker 1".to_owned());
    let result = BatchResult { id, identity, worker, seconds: 0.25, outcome };
    result.encode(Some(&expected)).expect("it is as expected")
}

/// Files of a target that are whole but for a number that cannot be, and what that is.
///
/// # Panics
/// As [`samples`].
pub fn wrong() -> [(&'static str, Target, Vec<u8>); 2] {
    let parties = Parties::new();
    [
        ("a stream before all blocks", Target::Stream, parties.stream([1, 3], 0, 3)),
        ("a request without tokens", Target::Stream, parties.stream([0, 3], 1, 3)),
    ]
}

/// The names and bytes of the files of a target.
///
/// # Panics
/// If the environment asks for a backend that cannot be used.
pub fn samples(target: Target) -> Vec<(&'static str, Vec<u8>)> {
    let parties = Parties::new();
    let secret = |seed, requests| {
        parties.file(Target::Secret, |encoder| encoder.secret(&SecretSeed::from_number(seed), requests))
    };
    let request = |i: usize| parties.file(Target::Request, |encoder| encoder.request(&parties.requests[i]));
    let answer = |i: usize| {
        let mut ciphertexts = parties.ciphertexts(i);
        let unused = u64::BITS - ANSWER_BITS;
        ciphertexts.iter_mut().flat_map(GlweCiphertext::data_mut).for_each(|x| *x = *x >> unused << unused);
        let answer = Answer::new(parties.requests[i].label(), ciphertexts, ANSWER_BITS);
        parties.file(Target::Answer, |encoder| encoder.answer(&answer))
    };
    match target {
        Target::Envelope => vec![
            ("nothing", parties.file(target, |_| Ok(()))),
            ("integers", parties.file(target, |encoder| (1..=9).try_for_each(|i| encoder.integer(i << 56 | i)))),
            ("bytes", parties.file(target, |encoder| encoder.bytes(b"of any number"))),
            ("reals", parties.file(target, |encoder| encoder.real(-0.5).and_then(|()| encoder.real(f64::NAN)))),
        ],
        Target::Request => vec![("first", request(0)), ("second", request(1))],
        Target::Answer => vec![("first", answer(0)), ("second", answer(1))],
        Target::EvaluationKeys => {
            let keys = parties.client.evaluation_keys(&needs()).expect("edges of the set");
            vec![("one_of_each_kind", parties.file(target, |encoder| encoder.evaluation_keys(&keys)))]
        }
        Target::Secret => vec![
            ("fresh", secret(1, RequestRandomness::Fresh)),
            ("reproducible", secret(2, RequestRandomness::Reproducible)),
        ],
        Target::Batch => vec![("three", batch().encode_for(ARITHMETIC).expect("a batch"))],
        Target::BatchResult => vec![("computed", result(Ok(()))), ("refused", result(Err("for some reason")))],
        Target::WorkerKeys => {
            let keys = parties.client.evaluation_keys(&needs()).expect("edges of the set");
            let mut bytes = Vec::new();
            write_keys(&keys, &mut bytes).expect("keys that are there");
            vec![("bootstrapping", bytes)]
        }
        Target::Stream => vec![("in_work", parties.stream([1, 3], 1, 3)), ("done", parties.stream([1, 3], 3, 1))],
    }
}
