//! Files of every kind: what is written is read, what is read is written again to the byte, and every change of them is refused by what it is, or
//! is a file of something else.

use zeroize::Zeroizing;

use super::elements::packed_bytes;
use super::*;
use crate::derivation::{ClientSeed, RequestRandomness};
use crate::glwe::SeededGlweCiphertext;
use crate::key_graph::Node::{Arithmetic, Lookup, Small};
use crate::key_graph::{Edge, KeyLiteral, Node, ParametersLiteral, ShapeLiteral};
use crate::keys::{Answer, ClientKeys, Needs, Request};
use crate::params::{Grouping, NoiseDistribution, Precision};
use crate::random::SecretSeed;

pub(super) const QUIET: NoiseDistribution = NoiseDistribution::TUniform { bound_log: 3 };
const BITS: u32 = 61;
pub(super) const COUNT: usize = 2;

const fn glwe(nodes: &'static [Node], k: usize, n: usize) -> KeyLiteral {
    KeyLiteral { nodes, shape: ShapeLiteral::Glwe(k, n), noise: QUIET }
}

/// Every kind of edge, two of some, in the smallest rings that there are.
pub(super) const TINY: ParametersLiteral = ParametersLiteral {
    name: "toy_tiny",
    keys: &[glwe(&[Small], 1, 8), glwe(&[Lookup], 2, 8), glwe(&[Arithmetic], 1, 16)],
    keyswitches: &[(Arithmetic, (2, 3, Precision::Single)), (Lookup, (2, 2, Precision::Single))],
    bootstraps: &[
        (Lookup, (23, 1, Precision::Single), Grouping::One),
        (Arithmetic, (12, 2, Precision::Single), Grouping::One),
    ],
    automorphisms: &[(Lookup, (8, 2, Precision::Split)), (Arithmetic, (2, 3, Precision::Split))],
    relinearizations: &[(Arithmetic, (8, 2, Precision::Split))],
    lifts: &[(Lookup, Arithmetic, (9, 2, Precision::Single))],
    external_products: &[(Arithmetic, (6, 4, Precision::Single))],
};

/// With a small key without a ring.
pub(super) const TINY_LWE: ParametersLiteral = ParametersLiteral {
    name: "toy_tiny_lwe",
    keys: &[
        KeyLiteral { nodes: &[Small], shape: ShapeLiteral::Lwe(3), noise: QUIET },
        glwe(&[Lookup, Arithmetic], 1, 8),
    ],
    keyswitches: &[(Lookup, (2, 3, Precision::Single))],
    bootstraps: &[(Lookup, (23, 1, Precision::Single), Grouping::Two)],
    automorphisms: &[(Lookup, (8, 2, Precision::Split))],
    lifts: &[],
    external_products: &[],
    ..TINY
};

pub(super) fn client(literal: ParametersLiteral) -> ClientKeys {
    ClientKeys::generate(&literal.compile().unwrap(), &ClientSeed::from_number(1)).unwrap()
}

pub(super) fn context() -> Fingerprint {
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

pub(super) fn file(header: &Header, contents: impl Fn(&mut Encoder<'_>) -> std::io::Result<()>) -> Vec<u8> {
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
pub(super) struct Sample {
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
            bytes: file(&header, |encoder| encoder.request(&request)),
            reader: Reader::new(
                header,
                move |decoder| decoder.request(identity, shape, COUNT, BITS),
                |encoder, request| encoder.request(request),
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
            bytes: file(&header, |encoder| encoder.answer(&answer)),
            reader: Reader::new(
                header,
                move |decoder| decoder.answer(identity, shape, COUNT, (BITS, usize::MAX)),
                |encoder, answer| encoder.answer(answer),
            ),
            fields: vec![
                (64, FREE),
                (24, SIZES),
                (8, &["another number of bits"]),
                (8, SIZES),
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
            let before = [(24, EDGE), (8, KEY_SIZES), (8, first), (40, KEY_SIZES)];
            let bodies = sizes.parts * packed_bytes(sizes.part_len() as u64, sizes.bits) as usize;
            fields.extend(before.into_iter().chain([(32 + bodies, FREE)]));
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
    pub(super) fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
        let end = bytes.len() - CHECKSUM_BYTES;
        let checksum: [u8; CHECKSUM_BYTES] = Sha256::digest(&bytes[..end]).into();
        bytes[end..].copy_from_slice(&checksum);
        bytes
    }
}

/// A request whose elements have so many bits, as of a client that rounds them.
pub(super) fn rounded_request(client: &ClientKeys, bits: u32) -> Request {
    let plaintexts = vec![Zeroizing::new(vec![1 << 60; client.parameters().arithmetic().size().get()]); COUNT];
    client.encrypt(&plaintexts, &Fields::new("encoding").fingerprint(), bits).unwrap()
}

pub(super) fn rounded_answer(request: &Request, bits: u32) -> Answer {
    let ciphertexts = request.ciphertexts().iter().map(SeededGlweCiphertext::expand);
    Answer::new(request.label(), ciphertexts.collect(), bits)
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

/// What is written for somebody who needs fewer keys is the file of these keys alone; what is not there is not written.
#[test]
fn some_evaluation_keys_are_a_file_of_their_own() {
    let client = client(TINY);
    let (parameters, identity) = (client.parameters(), *client.identity());
    let header = Header { kind: Kind::EVALUATION_KEYS, identity, context: context() };
    let all = client.evaluation_keys(&Needs::everything(parameters)).unwrap();
    let needs = Needs::default().bootstrapping(1).automorphisms(Lookup, 0, 0);
    let made = client.evaluation_keys(&needs).unwrap();
    let written = file(&header, |encoder| encoder.some_evaluation_keys(&all, &needs));
    assert!(written == file(&header, |encoder| encoder.evaluation_keys(&made)));

    let refused = |needs: Needs| {
        let written = write(&mut Vec::new(), &header, |encoder| encoder.some_evaluation_keys(&made, &needs));
        written.unwrap_err().to_string()
    };
    assert!(refused(Needs::default().bootstrapping(0)).contains("no key for bootstrapping with gadget number 0"));
    assert!(refused(Needs::default().bootstrapping(7)).contains("has no bootstrapping with gadget number 7"));
    let automorphisms = refused(Needs::default().automorphisms(Lookup, 0, 1));
    assert!(automorphisms.contains("automorphisms for subrings of 2^0 coefficients"), "{automorphisms}");
}
