//! Messages and keys of any sizes, whose layout is the document's; and those that cannot be written, belong to others, or say what is not so.

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::elements::pack;
use super::files::{COUNT, QUIET, Sample, TINY, TINY_LWE, client, context, file, rounded_answer, rounded_request};
use super::*;
use crate::derivation::{ClientSeed, RequestRandomness};
use crate::glwe::SeededGlweCiphertext;
use crate::key_graph::Node::{Arithmetic, Lookup};
use crate::key_graph::{Node, Parameters};
use crate::keys::{Answer, ClientKeys, Mismatch, Needs, Request, SeededEvaluationKeys};
use crate::noise::stored_bits;
use crate::random::SecretSeed;
use crate::sets;

proptest! {
    /// Whatever sizes and bits; and sizes are known before.
    #[test]
    fn messages_of_any_sizes_and_bits_are_read(
        k in 1..4_usize, log_n in 3..6_u32, count in 1..4_usize, bits in 1..=64_u32, bodies in 0..80_usize, first in 0..1_u64 << 47, seed: u64,
    ) {
        let shape = GlweShape::new(k, 1 << log_n).unwrap();
        let mut stream = SampleSeed::from_number(seed).stream(0);
        let mut elements = |count: usize| -> Vec<u64> {
            (0..count).map(|_| stream.uniform() >> (64 - bits) << (64 - bits)).collect()
        };
        let label = Contents::draw([0; 3], seed).label;
        let body = |stream| SeededGlweCiphertext::from_parts(shape, label.request, stream, elements(1 << log_n));
        let request = Request::from_parts(label.clone(), (first..first + count as u64).map(body).collect(), bits);
        let bytes = file(&header(), |encoder| encoder.request(&request));
        prop_assert_eq!(bytes.len() as u64, request_bytes(shape, count, bits));
        let identity = header().identity;
        let read = decode(&mut &bytes[..], bytes.len() as u64, LIMIT, |_, d| d.request(identity, shape, count, bits));
        prop_assert_eq!(read.unwrap(), request);

        let ciphertexts = (0..count).map(|_| GlweCiphertext::from_elements(shape, elements(shape.ciphertext_len())));
        let answer = Answer::new(&label, ciphertexts.collect(), bits).with_bodies_of(bodies);
        let bytes = file(&header(), |encoder| encoder.answer(&answer));
        prop_assert_eq!(bytes.len() as u64, answer_bytes(shape, count, (bits, bodies)));
        let read = decode(&mut &bytes[..], bytes.len() as u64, LIMIT, |_, d| d.answer(identity, shape, count, (bits, bodies)));
        prop_assert_eq!(read.unwrap(), answer.with_bodies_of(1 << log_n));
    }

    /// Any needs that a set can serve.
    #[test]
    fn evaluation_keys_of_any_needs_are_read(edges in prop::collection::vec(any::<prop::sample::Index>(), 0..5), m in 0..3_u32) {
        for client in [client(TINY), client(TINY_LWE)] {
            let choices = [
                Needs::keyswitch as fn(Needs, Node) -> Needs,
                Needs::relinearization,
                |needs, _| needs.bootstrapping(0),
            ];
            let needs = edges.iter().fold(Needs::default().automorphisms(Lookup, 0, m), |needs, edge| {
                choices[edge.index(choices.len())](needs, Arithmetic)
            });
            let keys = client.evaluation_keys(&needs).unwrap();
            let (header, parameters) = (keys_header(&keys), client.parameters());
            let bytes = file(&header, |encoder| encoder.evaluation_keys(&keys));
            prop_assert_eq!(bytes.len() as u64, evaluation_key_bytes(parameters, &needs).unwrap());
            let read = read_keys(&bytes, parameters, &needs);
            prop_assert_eq!(&read.unwrap(), &keys);
        }
    }
}

fn keys_header(keys: &SeededEvaluationKeys) -> Header {
    Header { kind: Kind::EVALUATION_KEYS, identity: *keys.identity(), context: context() }
}

/// As a server reads those of a client that it does not know.
fn read_keys(bytes: &[u8], parameters: &Parameters, needs: &Needs) -> Result<SeededEvaluationKeys, FormatError> {
    decode(&mut &bytes[..], bytes.len() as u64, LIMIT, |header, decoder| {
        header.check_of(Kind::EVALUATION_KEYS, &parameters.fingerprint(), &context())?;
        decoder.evaluation_keys(header.identity, parameters, needs)
    })
}

/// What a key computes is not changed by having been sent: a lookup in the toy set, with keys that were read.
#[test]
fn keys_that_were_read_compute() {
    use crate::programmable_bootstrap::{half_slot, table_accumulator};
    use crate::torus::{decode, encode};
    let client = client(sets::TOY);
    let (parameters, needs) = (client.parameters(), Needs::default().keyswitch(Lookup).bootstrapping(0));
    let keys = client.evaluation_keys(&needs).unwrap();
    let bytes = file(&keys_header(&keys), |encoder| encoder.evaluation_keys(&keys));
    let server = read_keys(&bytes, parameters, &needs).unwrap().prepare().unwrap();
    let mut plaintext = Zeroizing::new(vec![0; parameters.arithmetic().size().get()]);
    plaintext[0] = encode(2, 3) + half_slot(2);
    let request = client.encrypt(&[plaintext], &context(), 64).unwrap();
    let (header, shape) = (Header { kind: Kind::REQUEST, ..keys_header(&keys) }, parameters.arithmetic().shape);
    let bytes = file(&header, |encoder| encoder.request(&request));
    let received = super::decode(&mut &bytes[..], bytes.len() as u64, LIMIT, |header, decoder| {
        decoder.request(header.identity, shape, 1, 64)
    });
    let received = received.unwrap();
    let input = received.open(&server, &context(), 1).unwrap()[0].expand();
    let table = table_accumulator(parameters.lookup().shape, &[0, 1, 3, 2].map(|x| encode(x, 3)));
    let small = server.keyswitch(Lookup).unwrap().keyswitch(&[input.sample_extract(0)]);
    let answer =
        Answer::new(received.label(), server.bootstrapping_key(0).unwrap().blind_rotate(&small, &[&table]), 64);
    let header = Header { kind: Kind::ANSWER, ..header };
    let bytes = file(&header, |encoder| encoder.answer(&answer));
    let answer = super::decode(&mut &bytes[..], bytes.len() as u64, LIMIT, |header, decoder| {
        decoder.answer(header.identity, shape, 1, (64, usize::MAX))
    });
    let phase = client.decrypt(&answer.unwrap(), request.label(), 1).unwrap();
    assert_eq!(decode(phase[0][0], 3), 3);
}

#[test]
fn other_evaluation_keys_than_are_needed_are_refused() {
    let client = client(TINY);
    let parameters = client.parameters();
    let needs = || Needs::default().keyswitch(Lookup).automorphisms(Arithmetic, 0, 2).bootstrapping(1);
    let refused = |made: Needs, needed: Needs| {
        let keys = client.evaluation_keys(&made).unwrap();
        let bytes = file(&keys_header(&keys), |encoder| encoder.evaluation_keys(&keys));
        read_keys(&bytes, parameters, &needed).unwrap_err().to_string()
    };
    let fewer = Needs::default().keyswitch(Lookup).automorphisms(Arithmetic, 0, 2);
    let no_bootstrapping = "the evaluation keys have no key for bootstrapping with gadget number 1";
    assert_eq!(refused(fewer.clone(), needs()), no_bootstrapping);
    assert_eq!(
        refused(fewer.bootstrapping(0).relinearization(Arithmetic), needs()).split(": ").nth(1),
        Some("there is an evaluation key that is not needed")
    );
    let no_automorphisms = Needs::default().keyswitch(Lookup).bootstrapping(1);
    let missing = "the evaluation keys have no key for automorphisms of the arithmetic ring with gadget number 0";
    assert_eq!(refused(no_automorphisms, needs()), missing);
    let surplus = "its contents are not as they should be: there is an evaluation key that is not needed";
    assert_eq!(refused(needs().keyswitch(Arithmetic), needs()), surplus);
    assert_eq!(refused(needs().bootstrapping(0), needs()), surplus);
    assert_eq!(refused(needs(), Needs::default().keyswitch(Lookup)), surplus);
    // One automorphism more than is needed, and one less.
    for made in [1, 3] {
        let keys = Needs::default().keyswitch(Lookup).automorphisms(Arithmetic, 0, made).bootstrapping(1);
        let asked =
            "coefficients and more, where 2^2 are asked for: automorphisms of the arithmetic ring with gadget number 0";
        assert_eq!(
            refused(keys, needs()),
            format!("the evaluation keys have automorphisms for subrings of 2^{made} {asked}")
        );
    }
    // Needs that the set cannot serve are the reader's mistake.
    assert_eq!(
        refused(needs(), needs().bootstrapping(2)),
        "parameter set toy_tiny has no bootstrapping with gadget number 2"
    );
}

/// The set, the keys and the context are compared, each with a line of its own; and who reads a message is told if it is one of other keys.
#[test]
fn what_belongs_to_others_is_refused() {
    let (client, other) = (client(TINY), client(TINY_LWE));
    let needs = Needs::everything(client.parameters());
    let keys = client.evaluation_keys(&needs).unwrap();
    let bytes = file(&keys_header(&keys), |encoder| encoder.evaluation_keys(&keys));
    let of_other = read_keys(&bytes, other.parameters(), &Needs::default()).unwrap_err().to_string();
    assert_eq!(of_other, "it belongs to another parameter set");
    // Also for who does not look at the header.
    let (limit, parameters) = (bytes.len() as u64, other.parameters());
    let of_other = decode(&mut &bytes[..], limit, limit, |header, decoder| {
        decoder.evaluation_keys(header.identity, parameters, &Needs::default())
    });
    assert_eq!(of_other.unwrap_err().to_string(), "it belongs to another parameter set");
    let request = rounded_request(&client, 64);
    let theirs = ClientKeys::generate(client.parameters(), &ClientSeed::from_number(2)).unwrap();
    let header = Header { identity: *theirs.identity(), ..keys_header(&keys) };
    // Nobody writes what is not his by mistake.
    for written in [
        write(&mut Vec::new(), &header, |encoder| encoder.evaluation_keys(&keys)),
        write(&mut Vec::new(), &header, |encoder| encoder.request(&request)),
        write(&mut Vec::new(), &header, |encoder| encoder.answer(&rounded_answer(&request, 64))),
    ] {
        let refused = written.unwrap_err();
        assert_eq!(refused.to_string(), "what is written belongs to other keys than its envelope says");
    }
    // Whoever changes the envelope has a request to those keys, and is refused by what he asks.
    let header = Header { kind: Kind::REQUEST, ..keys_header(&keys) };
    let mut bytes = file(&header, |encoder| encoder.request(&request));
    bytes[52..84].copy_from_slice(theirs.identity().keys.as_bytes());
    let bytes = Sample::with_checksum(bytes);
    let shape = client.parameters().arithmetic().shape;
    let read = decode(&mut &bytes[..], bytes.len() as u64, LIMIT, |header, decoder| {
        decoder.request(header.identity, shape, COUNT, 64)
    });
    let server = keys.prepare().unwrap();
    assert_eq!(read.unwrap().open(&server, request.label().context(), COUNT), Err(Mismatch::Keys("request")));
}

#[test]
fn what_cannot_be_written_is_said() {
    let client = client(TINY);
    let (request, header) = (
        rounded_request(&client, 60),
        Header { kind: Kind::REQUEST, identity: *client.identity(), context: context() },
    );
    let refused = |request: &Request, bits: u32| {
        let (mut output, ciphertexts) = (Vec::new(), request.ciphertexts().to_vec());
        let request = Request::from_parts(request.label().clone(), ciphertexts, bits);
        let refused = write(&mut output, &header, |encoder| encoder.request(&request)).unwrap_err();
        assert_eq!((refused.kind(), output.len()), (ErrorKind::InvalidInput, 0));
        refused.to_string()
    };
    assert_eq!(refused(&request, 40), "a torus element has more bits than are written: round it before");
    for bits in [0, 65, u32::MAX] {
        assert_eq!(refused(&request, bits), "torus elements are written with 1 to 64 bits");
    }
    let label = request.label();
    assert_eq!(
        refused(&Request::from_parts(label.clone(), Vec::new(), 64), 64),
        "a message has one ciphertext at least"
    );
    let swapped = Request::from_parts(label.clone(), request.ciphertexts().iter().rev().cloned().collect(), 64);
    assert!(refused(&swapped, 64).starts_with("the masks of a request's ciphertexts"));
    let (shape, stream) = (GlweShape::new(1, 8).unwrap(), request.ciphertexts()[0].index() + 1);
    let smaller = SeededGlweCiphertext::from_parts(shape, label.request, stream, vec![0; 8]);
    let mixed = Request::from_parts(label.clone(), vec![request.ciphertexts()[0].clone(), smaller], 64);
    assert_eq!(refused(&mixed, 64), "ciphertexts of one list are of different sizes");
}

/// Counts that no memory could hold, of readers and of files, end in an error before memory is taken: of what follows, there is nothing.
#[test]
fn absurd_counts_are_refused() {
    let shape = GlweShape::new(1, 65536).unwrap();
    let label = [0; 64];
    for count in [1 << 32, 1 << 60, usize::MAX] {
        let numbers: Vec<u8> = [count as u64, 1, 65536, 64, 65536].iter().flat_map(|x| x.to_le_bytes()).collect();
        let contents = [&label[..], &numbers].concat();
        let bytes = file(&header(), |encoder| encoder.output.write_all(&contents));
        let read = |available: u64| {
            let refused = |answer: bool| {
                let identity = header().identity;
                let read = decode(&mut &bytes[..], available, u64::MAX, |_, decoder| match answer {
                    true => decoder.answer(identity, shape, count, (64, usize::MAX)).map(drop),
                    false => decoder.request(identity, shape, count, 64).map(drop),
                });
                read.unwrap_err().to_string()
            };
            [refused(true), refused(false)]
        };
        let [answer, request] = read(bytes.len() as u64);
        assert!(answer.contains("they end too early"), "{answer}");
        assert!(request.contains("they end too early") || request.contains("the masks' number"), "{request}");
        assert_eq!(request_bytes(shape, count, 64).min(answer_bytes(shape, count, (64, usize::MAX))), {
            let bytes = |elements: u128| u64::try_from(elements * 8 * count as u128).unwrap_or(u64::MAX);
            bytes(65536).saturating_add(ENVELOPE_BYTES + 64 + 40)
        });
    }
}

/// Whoever says that he sends much, and sends little, takes no more memory than what he sent, and a part of a key.
#[test]
fn what_is_promised_takes_no_memory() {
    /// Gives what there is, and says how much it was asked for at once.
    struct Watched<'a>(&'a [u8], usize);
    impl std::io::Read for Watched<'_> {
        fn read(&mut self, output: &mut [u8]) -> std::io::Result<usize> {
            self.1 = self.1.max(output.len());
            std::io::Read::read(&mut self.0, output)
        }
    }
    let count = 1 << 32;
    let shape = GlweShape::new(1, 16).unwrap();
    let numbers: Vec<u8> = [count as u64, 1, 16, 64, 16].iter().flat_map(|x| x.to_le_bytes()).collect();
    let contents = [&[0; 64][..], &numbers, &[7; 1000]].concat();
    let mut bytes = file(&header(), |encoder| encoder.output.write_all(&contents));
    let promised = answer_bytes(shape, count, (64, usize::MAX));
    bytes[116..124].copy_from_slice(&(promised - ENVELOPE_BYTES).to_le_bytes());
    let mut input = Watched(&bytes, 0);
    let identity = header().identity;
    let read =
        decode(&mut input, promised, promised, |_, decoder| decoder.answer(identity, shape, count, (64, usize::MAX)));
    let refused = read.unwrap_err();
    assert!(
        matches!(refused, FormatError::Truncated { expected, found } if expected == promised && found == bytes.len() as u64),
        "{refused}"
    );
    assert!(input.1 <= 1 << 16, "{}", input.1);
}

/// The layouts of `docs/formats.md` to the byte: they may not change without a new version.
#[test]
fn bytes_are_those_of_the_document() {
    let contents = |bytes: &[u8]| bytes[HEADER_BYTES..bytes.len() - CHECKSUM_BYTES].to_vec();
    let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let (shape, label) = (GlweShape::new(1, 8).unwrap(), Contents::draw([0; 3], 1).label);
    let label_bytes = [&label.context.as_bytes()[..], &[9; 32]].concat();
    // Elements of 12 bits: 0x123 and 0x456 are the bytes 23 61 45.
    let body = [0x123 << 52, 0x456 << 52, 0, 0, 0, 0, 0, 0xfff << 52].to_vec();
    let packed = [0x23, 0x61, 0x45, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0xff];
    let ciphertexts = vec![SeededGlweCiphertext::from_parts(shape, label.request, 7, body.clone())];
    let request = Request::from_parts(label.clone(), ciphertexts, 12);
    let bytes = contents(&file(&header(), |encoder| encoder.request(&request)));
    assert_eq!(bytes, [&label_bytes[..], &words(&[1, 1, 8, 12, 7]), &packed].concat());
    let answer = Answer::new(&label, vec![GlweCiphertext::from_elements(shape, [&body[..], &body].concat())], 12);
    let bytes = contents(&file(&header(), |encoder| encoder.answer(&answer)));
    assert_eq!(bytes, [&label_bytes[..], &words(&[1, 1, 8, 12, 8]), &packed, &packed].concat());
    let bytes = contents(&file(&header(), |encoder| encoder.answer(&answer.clone().with_bodies_of(2))));
    // 10 elements of 12 bits.
    assert_eq!(bytes, [&label_bytes[..], &words(&[1, 1, 8, 12, 2]), &packed, &packed[..3]].concat());

    let client = client(TINY_LWE);
    let needs = Needs::default().keyswitch(Lookup).automorphisms(Lookup, 0, 1).bootstrapping(0);
    let keys = client.evaluation_keys(&needs).unwrap();
    let bytes = contents(&file(&keys_header(&keys), |encoder| encoder.evaluation_keys(&keys)));
    let lwe = keys.lwe_keyswitch(Lookup).unwrap();
    let mut expected = words(&[3]);
    // From 8 bits to 3, 3 levels.
    expected.extend(words(&[1, 2, 0, 1, 0, 8, 3, 3, 1, 64]));
    expected.extend(lwe.seed().0);
    expected.extend(words(lwe.bodies()));
    // l = 2 and 3, 2 levels in a ring of 8.
    expected.extend(words(&[3, 2, 0, 2, 2, 1, 2, 1, 8, 64]));
    let automorphisms = expected.len();
    assert_eq!(bytes[..automorphisms], expected);
    // Of 3 bits, in two groups of three ciphertexts, 2 inputs each, one level.
    let bootstrapping = automorphisms + 32 + 2 * 2 * 8 * 8;
    let bits = stored_bits(QUIET.variance());
    assert!(bits < 64);
    assert_eq!(bytes[bootstrapping..][..80], words(&[5, 0, 0, 6, 0, 2, 1, 1, 8, bits.into()]));
    let ciphertexts = keys.bootstrapping_key(0).unwrap().ciphertexts();
    let mut bodies = ciphertexts[0].rows().seed().0.to_vec();
    for ggsw in ciphertexts {
        assert!(ggsw.rows().bodies().iter().all(|x| x.is_multiple_of(1 << (64 - bits))));
        pack(ggsw.rows().bodies(), bits, &mut bodies).unwrap();
    }
    assert_eq!(bytes[bootstrapping + 80..], bodies);
    let seed = SecretSeed::from_number(5);
    let bytes = contents(&file(&header(), |encoder| encoder.secret(&seed, RequestRandomness::Reproducible)));
    assert_eq!(bytes, [&seed.expose()[..], &words(&[1])].concat());
}
