//! Files of every kind: what is written is read, what is read is written again to the byte, and every change of them is refused by what it is, or
//! is a file of something else.

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::derivation::{ClientSeed, RequestRandomness};
use crate::glwe::SeededGlweCiphertext;
use crate::key_graph::Node::{Arithmetic, Lookup, Small};
use crate::key_graph::{Edge, KeyLiteral, Node, Parameters, ParametersLiteral, ShapeLiteral};
use crate::keys::{Answer, ClientKeys, Mismatch, Needs, Request, SeededEvaluationKeys};
use crate::params::{NoiseDistribution, Precision};
use crate::random::SecretSeed;
use crate::sets;

const QUIET: NoiseDistribution = NoiseDistribution::TUniform { bound_log: 3 };
const BITS: u32 = 61;
const COUNT: usize = 2;

const fn glwe(nodes: &'static [Node], k: usize, n: usize) -> KeyLiteral {
    KeyLiteral { nodes, shape: ShapeLiteral::Glwe(k, n), noise: QUIET }
}

/// Every kind of edge, two of some, in the smallest rings that there are.
const TINY: ParametersLiteral = ParametersLiteral {
    name: "toy_tiny",
    keys: &[glwe(&[Small], 1, 8), glwe(&[Lookup], 2, 8), glwe(&[Arithmetic], 1, 16)],
    keyswitches: &[(Arithmetic, (2, 3, Precision::Single)), (Lookup, (2, 2, Precision::Single))],
    bootstraps: &[(Lookup, (23, 1, Precision::Single)), (Arithmetic, (12, 2, Precision::Single))],
    automorphisms: &[(Lookup, (8, 2, Precision::Split)), (Arithmetic, (2, 3, Precision::Split))],
    relinearizations: &[(Arithmetic, (8, 2, Precision::Split))],
    lifts: &[(Lookup, Arithmetic, (9, 2, Precision::Single))],
    external_products: &[(Arithmetic, (6, 4, Precision::Single))],
};

/// With a small key without a ring.
const TINY_LWE: ParametersLiteral = ParametersLiteral {
    name: "toy_tiny_lwe",
    keys: &[
        KeyLiteral { nodes: &[Small], shape: ShapeLiteral::Lwe(3), noise: QUIET },
        glwe(&[Lookup, Arithmetic], 1, 8),
    ],
    keyswitches: &[(Lookup, (2, 3, Precision::Single))],
    bootstraps: &[(Lookup, (23, 1, Precision::Single))],
    automorphisms: &[(Lookup, (8, 2, Precision::Split))],
    lifts: &[],
    external_products: &[],
    ..TINY
};

fn client(literal: ParametersLiteral) -> ClientKeys {
    ClientKeys::generate(&literal.compile().unwrap(), &ClientSeed::from_number(1)).unwrap()
}

fn context() -> Fingerprint {
    Fields::new("of the file").fingerprint()
}

/// Reads contents, and writes what they were again.
type Again = dyn Fn(&mut Decoder<'_>) -> Result<Vec<u8>, FormatError>;

/// What can be done with the bytes of a file.
struct Reader {
    header: Header,
    again: Box<Again>,
}

impl Reader {
    fn new<T>(
        header: Header,
        read: impl Fn(&mut Decoder<'_>) -> Result<T, FormatError> + 'static,
        write: impl Fn(&mut Encoder<'_>, &T) -> std::io::Result<()> + 'static,
    ) -> Self {
        let again = move |decoder: &mut Decoder<'_>| {
            let contents = read(decoder)?;
            Ok(file(&header, |encoder| write(encoder, &contents)))
        };
        Self { header, again: Box::new(again) }
    }

    /// Of all bytes at once, and while they come in: both are the same.
    fn read(&self, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
        let (available, limit) = (bytes.len() as u64, LIMIT);
        let whole = read(&mut &bytes[..], available, limit).and_then(|document| {
            let mut decoder = document.open(&self.header)?;
            let again = (self.again)(&mut decoder)?;
            decoder.finish()?;
            Ok(again)
        });
        let streamed = decode(&mut OneByOne(bytes), available, limit, |header, decoder| {
            header.check(&self.header)?;
            (self.again)(decoder)
        });
        assert_eq!(format!("{whole:?}"), format!("{streamed:?}"));
        streamed
    }
}

/// Gives a byte at a time.
struct OneByOne<'a>(&'a [u8]);

impl std::io::Read for OneByOne<'_> {
    fn read(&mut self, output: &mut [u8]) -> std::io::Result<usize> {
        let next = output.len().min(1);
        std::io::Read::read(&mut self.0, &mut output[..next])
    }
}

fn file(header: &Header, contents: impl Fn(&mut Encoder<'_>) -> std::io::Result<()>) -> Vec<u8> {
    let mut output = Vec::new();
    write(&mut output, header, contents).unwrap();
    output
}

/// What a change of contents leads to.
type Expected = &'static [&'static str];
/// It is another file.
const FREE: Expected = &[];
const SIZES: Expected = &["another number of ciphertexts, or another ring"];
const EDGE: Expected = &["no key for", "an evaluation key that is not needed"];
const KEY_SIZES: Expected = &["an evaluation key has other sizes"];

/// A file of some kind: its bytes, who reads it, and of its contents how many bytes are what.
struct Sample {
    bytes: Vec<u8>,
    reader: Reader,
    fields: Vec<(usize, Expected)>,
}

impl Sample {
    fn all() -> Vec<Self> {
        let (client, other) = (client(TINY), client(TINY_LWE));
        vec![
            Self::request(&client),
            Self::answer(&client),
            Self::evaluation_keys(&client),
            Self::evaluation_keys(&other),
            Self::secret(&client),
        ]
    }

    fn request(client: &ClientKeys) -> Self {
        let request = rounded_request(client, BITS);
        let (identity, shape) = (*client.identity(), client.parameters().arithmetic().shape);
        let header = Header { kind: Kind::REQUEST, identity, context: context() };
        Self {
            bytes: file(&header, |encoder| encoder.request(&request, BITS)),
            reader: Reader::new(
                header,
                move |decoder| decoder.request(identity, shape, COUNT, BITS),
                |encoder, request| encoder.request(request, BITS),
            ),
            fields: vec![
                (64, FREE),
                (24, SIZES),
                (8, &["another number of bits"]),
                (6, FREE),
                (2, &["the masks' number is larger"]),
                (COUNT * 16 * BITS as usize / 8, FREE),
            ],
        }
    }

    fn answer(client: &ClientKeys) -> Self {
        let request = rounded_request(client, BITS);
        let answer = rounded_answer(&request, BITS);
        let (identity, shape) = (*client.identity(), client.parameters().arithmetic().shape);
        let header = Header { kind: Kind::ANSWER, identity, context: context() };
        Self {
            bytes: file(&header, |encoder| encoder.answer(&answer, BITS)),
            reader: Reader::new(
                header,
                move |decoder| decoder.answer(identity, shape, COUNT, BITS),
                |encoder, answer| encoder.answer(answer, BITS),
            ),
            fields: vec![
                (64, FREE),
                (24, SIZES),
                (8, &["another number of bits"]),
                (COUNT * 2 * 16 * BITS as usize / 8, FREE),
            ],
        }
    }

    fn evaluation_keys(client: &ClientKeys) -> Self {
        let (parameters, identity) = (client.parameters().clone(), *client.identity());
        let needs = Needs::everything(&parameters);
        let keys = client.evaluation_keys(&needs).unwrap();
        let header = Header { kind: Kind::EVALUATION_KEYS, identity, context: context() };
        let mut fields = vec![(8, EDGE)];
        for need in needs.of_set(&parameters).unwrap() {
            let sizes = need.sizes(&parameters);
            let first: Expected = match need.edge {
                Edge::Automorphisms { .. } => &["automorphisms for subrings", "other sizes"],
                _ => KEY_SIZES,
            };
            let before = [(24, EDGE), (8, KEY_SIZES), (8, first), (32, KEY_SIZES)];
            fields.extend(before.into_iter().chain([(32 + 8 * sizes.parts * sizes.part_len(), FREE)]));
        }
        Self {
            bytes: file(&header, |encoder| encoder.evaluation_keys(&keys)),
            reader: Reader::new(
                header,
                move |decoder| decoder.evaluation_keys(identity, &parameters, &needs),
                |encoder, keys| encoder.evaluation_keys(keys),
            ),
            fields,
        }
    }

    fn secret(client: &ClientKeys) -> Self {
        let header = Header { kind: Kind::SECRET, identity: *client.identity(), context: context() };
        let seed = SecretSeed::from_number(1);
        let bytes = file(&header, |encoder| encoder.secret(&seed, RequestRandomness::Reproducible));
        assert_eq!(bytes.len() as u64, SECRET_BYTES);
        Self {
            bytes,
            reader: Reader::new(
                header,
                |decoder| decoder.secret(),
                |encoder, (seed, requests)| encoder.secret(seed, *requests),
            ),
            // The lowest bit of the flag alone may change.
            fields: vec![(32, FREE), (8, &["", "a number is larger than is possible"])],
        }
    }

    /// What a change of byte `at` leads to, where the checksum is made anew.
    fn expected(&self, at: usize) -> Expected {
        match at {
            0..8 => return &["no file of this program"],
            8..12 => return &["version"],
            12..20 => return &["is needed"],
            20..52 => return &["it belongs to another parameter set"],
            52..84 => return &["it belongs to other keys"],
            84..116 => return &["it belongs to other work"],
            116..HEADER_BYTES => return &["bytes are possible", "are possible", "cut off", "and should have"],
            _ => {}
        }
        let mut end = HEADER_BYTES;
        for &(bytes, expected) in &self.fields {
            end += bytes;
            if at < end {
                return expected;
            }
        }
        panic!("the contents end at {end}, before {at}")
    }

    /// With the checksum of what is before it.
    fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
        let end = bytes.len() - CHECKSUM_BYTES;
        let checksum: [u8; CHECKSUM_BYTES] = Sha256::digest(&bytes[..end]).into();
        bytes[end..].copy_from_slice(&checksum);
        bytes
    }
}

/// A request whose elements have so many bits, as of a client that rounds them.
fn rounded_request(client: &ClientKeys, bits: u32) -> Request {
    let plaintexts = vec![Zeroizing::new(vec![1 << 60; client.parameters().arithmetic().size().get()]); COUNT];
    let request = client.encrypt(&plaintexts, &Fields::new("encoding").fingerprint()).unwrap();
    let round = |x: &u64| x >> (64 - bits) << (64 - bits);
    let ciphertext = |ciphertext: &SeededGlweCiphertext| {
        let body = ciphertext.body().iter().map(round).collect();
        SeededGlweCiphertext::from_parts(ciphertext.shape(), ciphertext.masks(), ciphertext.index(), body)
    };
    Request::from_parts(request.label().clone(), request.ciphertexts().iter().map(ciphertext).collect())
}

fn rounded_answer(request: &Request, bits: u32) -> Answer {
    let ciphertexts = request.ciphertexts().iter().map(|ciphertext| {
        let mut expanded = ciphertext.expand();
        expanded.data_mut().iter_mut().for_each(|x| *x = *x >> (64 - bits) << (64 - bits));
        expanded
    });
    Answer::new(request.label(), ciphertexts.collect())
}

#[test]
fn what_is_read_is_written_again_to_the_byte() {
    for Sample { bytes, reader, fields } in Sample::all() {
        assert_eq!(reader.read(&bytes).unwrap(), bytes);
        let contents: usize = fields.iter().map(|(bytes, _)| bytes).sum();
        assert_eq!(bytes.len() as u64, ENVELOPE_BYTES + contents as u64);
    }
}

/// Whoever changes a byte of a file is found out by its checksum, but for what is looked at before.
#[test]
fn every_changed_byte_is_refused() {
    for sample in Sample::all() {
        for at in 0..sample.bytes.len() {
            let mut changed = sample.bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let refused = sample.reader.read(&changed).unwrap_err().to_string();
            let expected = match at {
                0..12 | 116..HEADER_BYTES => sample.expected(at),
                _ => &["its checksum is wrong"],
            };
            assert!(expected.iter().any(|expected| refused.contains(expected)), "{at}: {refused}");
        }
    }
}

/// Whoever makes the checksum anew is found out by what the byte is, or has made a file of something else: which is read as that, and written
/// again to the byte.
#[test]
fn every_changed_byte_with_its_checksum_is_refused_or_another_file() {
    for sample in Sample::all() {
        for at in 0..sample.bytes.len() - CHECKSUM_BYTES {
            let mut changed = sample.bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let changed = Sample::with_checksum(changed);
            let expected = sample.expected(at);
            match sample.reader.read(&changed) {
                Ok(again) => {
                    assert!(expected.is_empty() || expected.contains(&""), "{at} was accepted");
                    assert_eq!(again, changed, "{at}");
                }
                Err(refused) => {
                    let refused = refused.to_string();
                    let is_right = expected.iter().any(|expected| !expected.is_empty() && refused.contains(expected));
                    assert!(is_right, "{at}: {refused}");
                }
            }
        }
    }
}

#[test]
fn every_other_length_is_refused() {
    for sample in Sample::all() {
        let bytes = &sample.bytes;
        for length in 0..bytes.len() {
            let refused = sample.reader.read(&bytes[..length]).unwrap_err();
            assert!(matches!(refused, FormatError::Truncated { found, .. } if found == length as u64), "{refused}");
            // Whoever sends it says that it is as long as it was, and stops.
            let limit = bytes.len() as u64;
            let stopped =
                decode(&mut &bytes[..length], bytes.len() as u64, limit, |_, decoder| (sample.reader.again)(decoder));
            let refused = stopped.unwrap_err();
            let is_right = match length {
                0..HEADER_BYTES => matches!(refused, FormatError::Truncated { .. }),
                _ => matches!(refused, FormatError::Truncated { found, .. } if found == length as u64),
            };
            assert!(is_right, "{length}: {refused}");
        }
        let refused = sample.reader.read(&[bytes, &[0][..]].concat()).unwrap_err();
        assert!(matches!(refused, FormatError::Trailing { .. }), "{refused}");
        // Contents that are shorter or longer than they should be, in a right envelope.
        let contents = &bytes[HEADER_BYTES..bytes.len() - CHECKSUM_BYTES];
        let of = |contents: &[u8]| file(&sample.reader.header, |encoder| encoder.output.write_all(contents));
        let longer = sample.reader.read(&of(&[contents, &[0]].concat())).unwrap_err();
        assert!(longer.to_string().contains("there is more than there should be"), "{longer}");
        for length in (0..contents.len()).step_by(7).chain([contents.len() - 1]) {
            let shorter = sample.reader.read(&of(&contents[..length])).unwrap_err();
            assert!(shorter.to_string().contains("they end too early"), "{length}: {shorter}");
        }
    }
}

proptest! {
    /// Whatever sizes and bits; and sizes are known before.
    #[test]
    fn messages_of_any_sizes_and_bits_are_read(
        k in 1..4_usize, log_n in 3..6_u32, count in 1..4_usize, bits in 1..=64_u32, first in 0..1_u64 << 47, seed: u64,
    ) {
        let shape = GlweShape::new(k, 1 << log_n).unwrap();
        let mut stream = SampleSeed::from_number(seed).stream(0);
        let mut elements = |count: usize| -> Vec<u64> {
            (0..count).map(|_| stream.uniform() >> (64 - bits) << (64 - bits)).collect()
        };
        let label = Contents::draw([0; 3], seed).label;
        let body = |stream| SeededGlweCiphertext::from_parts(shape, label.request, stream, elements(1 << log_n));
        let request = Request::from_parts(label.clone(), (first..first + count as u64).map(body).collect());
        let bytes = file(&header(), |encoder| encoder.request(&request, bits));
        prop_assert_eq!(bytes.len() as u64, request_bytes(shape, count, bits));
        let identity = header().identity;
        let read = decode(&mut &bytes[..], bytes.len() as u64, LIMIT, |_, d| d.request(identity, shape, count, bits));
        prop_assert_eq!(read.unwrap(), request);

        let ciphertexts = (0..count).map(|_| GlweCiphertext::from_elements(shape, elements(shape.ciphertext_len())));
        let answer = Answer::new(&label, ciphertexts.collect());
        let bytes = file(&header(), |encoder| encoder.answer(&answer, bits));
        prop_assert_eq!(bytes.len() as u64, answer_bytes(shape, count, bits));
        let read = decode(&mut &bytes[..], bytes.len() as u64, LIMIT, |_, d| d.answer(identity, shape, count, bits));
        prop_assert_eq!(read.unwrap(), answer);
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
    let request = client.encrypt(&[plaintext], &context()).unwrap();
    let (header, shape) = (Header { kind: Kind::REQUEST, ..keys_header(&keys) }, parameters.arithmetic().shape);
    let bytes = file(&header, |encoder| encoder.request(&request, 64));
    let received = super::decode(&mut &bytes[..], bytes.len() as u64, LIMIT, |header, decoder| {
        decoder.request(header.identity, shape, 1, 64)
    });
    let received = received.unwrap();
    let input = received.open(&server, &context(), 1).unwrap()[0].expand();
    let table = table_accumulator(parameters.lookup().shape, &[0, 1, 3, 2].map(|x| encode(x, 3)));
    let small = server.keyswitch(Lookup).unwrap().keyswitch(&[input.sample_extract(0)]);
    let answer = Answer::new(received.label(), server.bootstrapping_key(0).unwrap().blind_rotate(&small, &[&table]));
    let header = Header { kind: Kind::ANSWER, ..header };
    let bytes = file(&header, |encoder| encoder.answer(&answer, 64));
    let answer = super::decode(&mut &bytes[..], bytes.len() as u64, LIMIT, |header, decoder| {
        decoder.answer(header.identity, shape, 1, 64)
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
        write(&mut Vec::new(), &header, |encoder| encoder.request(&request, 64)),
        write(&mut Vec::new(), &header, |encoder| encoder.answer(&rounded_answer(&request, 64), 64)),
    ] {
        let refused = written.unwrap_err();
        assert_eq!(refused.to_string(), "what is written belongs to other keys than its envelope says");
    }
    // Whoever changes the envelope has a request to those keys, and is refused by what he asks.
    let header = Header { kind: Kind::REQUEST, ..keys_header(&keys) };
    let mut bytes = file(&header, |encoder| encoder.request(&request, 64));
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
        let mut output = Vec::new();
        let refused = write(&mut output, &header, |encoder| encoder.request(request, bits)).unwrap_err();
        assert_eq!((refused.kind(), output.len()), (ErrorKind::InvalidInput, 0));
        refused.to_string()
    };
    assert_eq!(refused(&request, 40), "a torus element has more bits than are written: round it before");
    for bits in [0, 65, u32::MAX] {
        assert_eq!(refused(&request, bits), "torus elements are written with 1 to 64 bits");
    }
    let label = request.label();
    assert_eq!(refused(&Request::from_parts(label.clone(), Vec::new()), 64), "a message has one ciphertext at least");
    let swapped = Request::from_parts(label.clone(), request.ciphertexts().iter().rev().cloned().collect());
    assert!(refused(&swapped, 64).starts_with("the masks of a request's ciphertexts"));
    let (shape, stream) = (GlweShape::new(1, 8).unwrap(), request.ciphertexts()[0].index() + 1);
    let smaller = SeededGlweCiphertext::from_parts(shape, label.request, stream, vec![0; 8]);
    let mixed = Request::from_parts(label.clone(), vec![request.ciphertexts()[0].clone(), smaller]);
    assert_eq!(refused(&mixed, 64), "ciphertexts of one list are of different sizes");
}

/// Counts that no memory could hold, of readers and of files, end in an error before memory is taken: of what follows, there is nothing.
#[test]
fn absurd_counts_are_refused() {
    let shape = GlweShape::new(1, 65536).unwrap();
    let label = [0; 64];
    for count in [1 << 32, 1 << 60, usize::MAX] {
        let numbers: Vec<u8> = [count as u64, 1, 65536, 64, 0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let contents = [&label[..], &numbers].concat();
        let bytes = file(&header(), |encoder| encoder.output.write_all(&contents));
        let read = |available: u64| {
            let refused = |answer: bool| {
                let identity = header().identity;
                let read = decode(&mut &bytes[..], available, u64::MAX, |_, decoder| match answer {
                    true => decoder.answer(identity, shape, count, 64).map(drop),
                    false => decoder.request(identity, shape, count, 64).map(drop),
                });
                read.unwrap_err().to_string()
            };
            [refused(true), refused(false)]
        };
        let [answer, request] = read(bytes.len() as u64);
        assert!(answer.contains("they end too early"), "{answer}");
        assert!(request.contains("they end too early") || request.contains("the masks' number"), "{request}");
        assert_eq!(request_bytes(shape, count, 64).min(answer_bytes(shape, count, 64)), {
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
    let numbers: Vec<u8> = [count as u64, 1, 16, 64].iter().flat_map(|x| x.to_le_bytes()).collect();
    let contents = [&[0; 64][..], &numbers, &[7; 1000]].concat();
    let mut bytes = file(&header(), |encoder| encoder.output.write_all(&contents));
    let promised = answer_bytes(shape, count, 64);
    bytes[116..124].copy_from_slice(&(promised - ENVELOPE_BYTES).to_le_bytes());
    let mut input = Watched(&bytes, 0);
    let identity = header().identity;
    let read = decode(&mut input, promised, promised, |_, decoder| decoder.answer(identity, shape, count, 64));
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
    let request = Request::from_parts(label.clone(), ciphertexts);
    let bytes = contents(&file(&header(), |encoder| encoder.request(&request, 12)));
    assert_eq!(bytes, [&label_bytes[..], &words(&[1, 1, 8, 12, 7]), &packed].concat());
    let answer = Answer::new(&label, vec![GlweCiphertext::from_elements(shape, [&body[..], &body].concat())]);
    let bytes = contents(&file(&header(), |encoder| encoder.answer(&answer, 12)));
    assert_eq!(bytes, [&label_bytes[..], &words(&[1, 1, 8, 12]), &packed, &packed].concat());

    let client = client(TINY_LWE);
    let needs = Needs::default().keyswitch(Lookup).automorphisms(Lookup, 0, 1).bootstrapping(0);
    let keys = client.evaluation_keys(&needs).unwrap();
    let bytes = contents(&file(&keys_header(&keys), |encoder| encoder.evaluation_keys(&keys)));
    let lwe = keys.lwe_keyswitch(Lookup).unwrap();
    let mut expected = words(&[3]);
    // From 8 bits to 3, 3 levels.
    expected.extend(words(&[1, 2, 0, 1, 0, 8, 3, 3, 1]));
    expected.extend(lwe.seed().0);
    expected.extend(words(lwe.bodies()));
    // l = 2 and 3, 2 levels in a ring of 8.
    expected.extend(words(&[3, 2, 0, 2, 2, 1, 2, 1, 8]));
    let automorphisms = expected.len();
    assert_eq!(bytes[..automorphisms], expected);
    // Of each of 3 bits 2 inputs, one level.
    let bootstrapping = automorphisms + 32 + 2 * 2 * 8 * 8;
    assert_eq!(bytes[bootstrapping..][..72], words(&[5, 0, 0, 3, 0, 2, 1, 1, 8]));
    let bits = keys.bootstrapping_key(0).unwrap().bits();
    let bodies: Vec<u8> = bits.iter().flat_map(|bit| words(bit.rows().bodies())).collect();
    assert_eq!(bytes[bootstrapping + 72..], [&bits[0].rows().seed().0[..], &bodies].concat());
    let seed = SecretSeed::from_number(5);
    let bytes = contents(&file(&header(), |encoder| encoder.secret(&seed, RequestRandomness::Reproducible)));
    assert_eq!(bytes, [&seed.expose()[..], &words(&[1])].concat());
}
