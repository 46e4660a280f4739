//! Round trips, and everything that is refused.

use proptest::prelude::*;

use std::io::{self, ErrorKind, Read};

use super::*;
use crate::fingerprint::{Fields, Fingerprint};
use crate::glwe::GlweCiphertext;
use crate::keys::{Identity, KeyId, Label};
use crate::lwe::LweCiphertext;
use crate::params::{GlweShape, LweDimension};
use crate::random::{PublicSeed, SampleSeed};
use sha2::{Digest, Sha256};

mod files;
mod messages;

const LIMIT: u64 = 1 << 17;
const KIND: Kind = Kind(*b"test    ");

fn header() -> Header {
    let set = Fields::new("set").fingerprint();
    Header { kind: KIND, identity: Identity { set, keys: KeyId([7; 32]) }, context: Fields::new("this").fingerprint() }
}

/// One of everything.
#[derive(Clone, Debug, PartialEq)]
struct Contents {
    integer: u64,
    real: f64,
    bytes: Vec<u8>,
    glwes: Vec<GlweCiphertext>,
    lwes: Vec<LweCiphertext>,
    label: Label,
}

const DIMENSION: usize = 5;

fn shape() -> GlweShape {
    GlweShape::new(2, 16).unwrap()
}

fn dimension() -> LweDimension {
    LweDimension::new(DIMENSION).unwrap()
}

impl Contents {
    fn draw([glwes, lwes, bytes]: [usize; 3], seed: u64) -> Self {
        let mut stream = SampleSeed::from_number(seed).stream(0);
        let mut elements = |count: usize| {
            let mut elements = vec![0; count];
            stream.fill_uniform(&mut elements);
            elements
        };
        let glwe = |data: Vec<u64>| GlweCiphertext::from_raw(shape(), &data).unwrap();
        Self {
            integer: elements(1)[0],
            real: elements(1)[0] as f64 / 3.0,
            bytes: elements(bytes).into_iter().map(|x| x as u8).collect(),
            glwes: (0..glwes).map(|_| glwe(elements(shape().ciphertext_len()))).collect(),
            lwes: (0..lwes).map(|_| LweCiphertext::from_data(elements(DIMENSION + 1))).collect(),
            label: Label {
                identity: header().identity,
                context: Fields::new("encoding").fingerprint(),
                request: PublicSeed([9; 32]),
            },
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut output = Vec::new();
        let contents = |encoder: &mut Encoder<'_>| {
            encoder.integer(self.integer)?;
            encoder.real(self.real)?;
            encoder.bytes(&self.bytes)?;
            encoder.glwes(shape(), self.glwes.iter())?;
            encoder.lwes(dimension(), self.lwes.iter())?;
            encoder.label(&self.label)
        };
        write(&mut output, &header(), contents).unwrap();
        output
    }

    fn read(document: &Document, [glwes, lwes, bytes]: [usize; 3]) -> Result<Self, FormatError> {
        let mut decoder = document.open(&header())?;
        let contents = Self {
            integer: decoder.integer()?,
            real: decoder.real()?,
            bytes: decoder.bytes(bytes)?,
            glwes: decoder.glwes(shape(), glwes)?,
            lwes: decoder.lwes(dimension(), lwes)?,
            label: decoder.label(header().identity)?,
        };
        decoder.finish()?;
        Ok(contents)
    }
}

fn parse(bytes: &[u8]) -> Result<Document, FormatError> {
    read(&mut &bytes[..], bytes.len() as u64, LIMIT)
}

proptest! {
    #[test]
    fn what_is_written_is_read(glwes in 0..4_usize, lwes in 0..4_usize, bytes in 0..20_usize, seed: u64) {
        let sizes = [glwes, lwes, bytes];
        let contents = Contents::draw(sizes, seed);
        let document = parse(&contents.write()).unwrap();
        prop_assert_eq!(document.header(), &header());
        prop_assert_eq!(Contents::read(&document, sizes).unwrap(), contents);
    }

    /// Any bit, wherever it is.
    #[test]
    fn a_flipped_bit_is_noticed(position: prop::sample::Index, bit in 0..8_u32, seed: u64) {
        let mut bytes = Contents::draw([2, 2, 9], seed).write();
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        let refused = parse(&bytes).unwrap_err();
        let is_right = match position {
            0..8 => matches!(refused, FormatError::Foreign),
            8..12 => matches!(refused, FormatError::Version(_)),
            116..124 => matches!(
                refused,
                FormatError::Length { .. } | FormatError::Truncated { .. } | FormatError::Trailing { .. }
            ),
            _ => matches!(refused, FormatError::Checksum),
        };
        prop_assert!(is_right, "{position}: {refused}");
    }

    /// Bytes that nobody wrote end in an error, and in no panic.
    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), with_magic: bool) {
        let bytes = if with_magic { [&MAGIC[..], &VERSION.to_le_bytes(), &bytes].concat() } else { bytes };
        prop_assert!(parse(&bytes).is_err());
    }

    /// A checksum can be made by anybody: contents of any bytes are read without a panic, and without more memory than there are bytes.
    #[test]
    fn contents_of_any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), sizes: [u8; 3]) {
        let mut output = Vec::new();
        write(&mut output, &header(), |encoder| encoder.output.write_all(&bytes)).unwrap();
        let _ = Contents::read(&parse(&output).unwrap(), sizes.map(usize::from));
    }
}

#[test]
fn every_truncation_and_every_appended_byte_is_noticed() {
    let bytes = Contents::draw([1, 1, 3], 1).write();
    for length in 0..bytes.len() {
        let refused = parse(&bytes[..length]).unwrap_err();
        assert!(
            matches!(refused, FormatError::Truncated { found, .. } if found == length as u64),
            "{length}: {refused}"
        );
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(parse(&longer), Err(FormatError::Trailing { .. })));
    // A file that becomes shorter while it is read.
    let refused = read(&mut &bytes[..bytes.len() - 40], bytes.len() as u64, LIMIT).unwrap_err();
    assert!(matches!(refused, FormatError::Truncated { .. }), "{refused}");
}

/// Input that fails once, in the middle, and then goes on.
struct Stalls<'a> {
    before: &'a [u8],
    after: &'a [u8],
    has_failed: bool,
}

impl Read for Stalls<'_> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        match (self.before.is_empty(), self.has_failed) {
            (false, _) => self.before.read(output),
            (true, false) => {
                self.has_failed = true;
                Err(ErrorKind::TimedOut.into())
            }
            (true, true) => self.after.read(output),
        }
    }
}

/// What could not be read is not said to be damaged, whatever whoever decodes it makes of the error, and is not read further.
#[test]
fn input_that_fails_is_said_to_fail() {
    let bytes = Contents::draw([2, 2, 10], 1).write();
    for at in HEADER_BYTES..bytes.len() {
        let (before, after) = bytes.split_at(at);
        for goes_on in [false, true] {
            let mut input = Stalls { before, after, has_failed: false };
            let read = decode(&mut input, bytes.len() as u64, u64::MAX, |_, decoder| {
                while decoder.integer().is_ok() {}
                if goes_on { Ok(()) } else { Err(FormatError::Contents("not to be said")) }
            });
            assert!(matches!(read, Err(FormatError::Io(error)) if error.kind() == ErrorKind::TimedOut), "{at}");
        }
    }
}

/// No length takes memory before it is known to be right: of these, the system could not give any.
#[test]
fn absurd_lengths_are_refused() {
    let bytes = Contents::draw([1, 1, 3], 2).write();
    for length in [LIMIT + 1, 1 << 40, 1 << 63, u64::MAX - 100, u64::MAX] {
        let mut changed = bytes.clone();
        changed[116..124].copy_from_slice(&length.to_le_bytes());
        assert!(matches!(parse(&changed), Err(FormatError::Length { .. })), "{length}");
        // Nor where a limit and the system both say that it is possible.
        for available in [u64::MAX, length.saturating_add(ENVELOPE_BYTES)] {
            assert!(read(&mut &changed[..], available, u64::MAX).is_err(), "{length}");
            let all = |decoder: &mut Decoder<'_>| (0..1 << 20).try_for_each(|_| decoder.integer().map(drop));
            let refused = decode(&mut &changed[..], available, u64::MAX, |_, decoder| all(decoder)).unwrap_err();
            let is_right = matches!(
                refused,
                FormatError::Truncated { .. } | FormatError::Trailing { .. } | FormatError::Length { .. }
            );
            assert!(is_right, "{length}: {refused}");
        }
    }
    let of = |numbers: &[u64]| {
        let mut output = Vec::new();
        let contents = |encoder: &mut Encoder<'_>| numbers.iter().try_for_each(|&number| encoder.integer(number));
        write(&mut output, &header(), contents).unwrap();
        parse(&output).unwrap()
    };
    let huge = usize::MAX as u64;
    assert!(of(&[huge]).open(&header()).unwrap().bytes(usize::MAX).is_err());
    assert!(of(&[huge]).open(&header()).unwrap().count(5).is_err());
    assert!(of(&[huge, 2, 16]).open(&header()).unwrap().glwes(shape(), usize::MAX).is_err());
    assert!(of(&[1 << 40, 5]).open(&header()).unwrap().lwes(dimension(), 1 << 40).is_err());
    // More than is expected, and of another ring.
    assert!(of(&[2, 2, 16]).open(&header()).unwrap().glwes(shape(), 1).is_err());
    assert!(of(&[0, 1, 16]).open(&header()).unwrap().glwes(shape(), 0).is_err());
    assert_eq!(of(&[0, 2, 16]).open(&header()).unwrap().glwes(shape(), 0).unwrap(), []);
}

#[test]
fn what_belongs_elsewhere_is_refused() {
    let document = parse(&Contents::draw([0, 0, 0], 3).write()).unwrap();
    let expected = header();
    let refused = |expected: Header| document.open(&expected).unwrap_err().to_string();
    let other = Fields::new("other").fingerprint();
    let identity = expected.identity;
    assert_eq!(refused(Header { kind: Kind(*b"else    "), ..expected }), "it holds \"test\", and \"else\" is needed");
    let of_set = Identity { set: other, ..identity };
    assert_eq!(refused(Header { identity: of_set, ..expected }), "it belongs to another parameter set");
    let of_keys = Identity { keys: KeyId([8; 32]), ..identity };
    assert_eq!(refused(Header { identity: of_keys, ..expected }), "it belongs to other keys");
    assert_eq!(refused(Header { context: other, ..expected }), "it belongs to other work, or another part of it");
}

#[test]
fn ciphertexts_of_other_sizes_are_not_written() {
    let ciphertext = LweCiphertext::from_data(vec![0; DIMENSION]);
    let contents = |encoder: &mut Encoder<'_>| encoder.lwes(dimension(), std::iter::once(&ciphertext));
    let mut output = Vec::new();
    let refused = write(&mut output, &header(), contents).unwrap_err();
    assert_eq!((refused.kind(), output.len()), (ErrorKind::InvalidInput, 0));
}

/// A file of another version may be laid out in any way: that is the first thing that is said of it.
#[test]
fn another_version_is_said_to_be_one() {
    let mut bytes = Contents::draw([0, 0, 0], 4).write();
    bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
    let refused = parse(&bytes).unwrap_err().to_string();
    assert_eq!(refused, "it is of version 1 of the format, and only version 2 is read: use the program that wrote it");
    bytes[..8].copy_from_slice(b"%PDF-1.7");
    assert!(matches!(parse(&bytes), Err(FormatError::Foreign)));
}

/// The layout to the byte: it may not change without a new version.
#[test]
fn bytes_are_those_of_the_definition() {
    let mut output = Vec::new();
    let ciphertext = LweCiphertext::from_data(vec![1, 2, 3, 4, 5, 0x0102_0304_0506_0708]);
    write(&mut output, &header(), |encoder| encoder.lwes(dimension(), std::iter::once(&ciphertext))).unwrap();
    let Header { identity, context, .. } = header();
    let elements: Vec<u8> =
        [1, 5, 1, 2, 3, 4, 5, 0x0102_0304_0506_0708_u64].iter().flat_map(|x| x.to_le_bytes()).collect();
    let before = [
        &b"TFHECORE\x02\0\0\0test    "[..],
        identity.set.as_bytes(),
        &[7; 32],
        context.as_bytes(),
        &[64, 0, 0, 0, 0, 0, 0, 0],
        &elements,
    ]
    .concat();
    let checksum: [u8; 32] = Sha256::digest(&before).into();
    assert_eq!(output, [&before[..], &checksum].concat());
}
