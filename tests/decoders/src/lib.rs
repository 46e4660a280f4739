//! Everything that reads bytes of others, as functions of any bytes. Each panics if the decoder does, or if it is not what a decoder of this
//! project is: what it accepts is written again to the byte, and it says the same of a whole file as of one that comes in a byte at a time.
//!
//! The bytes are a file. Its length and its checksum are made right before it is read, for else nothing that was changed would ever be looked
//! at; [`Target::Envelope`] alone takes it as it is. What reads it expects what the files of [`samples`] are: those of a client of the toy set.

#![deny(unsafe_code)]

mod samples;

use std::io::{self, Read};
use std::sync::LazyLock;

use gpt2_fhe::block::state::{StreamSizes, encode_stream};
use gpt2_fhe_worker::batch::{BATCH, Batch, BatchResult, ExpectedResult, KeyName, RESULT};
use gpt2_fhe_worker::keys::{read_keys, write_keys};
use sha2::{Digest, Sha256};
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::format::{
    self, CHECKSUM_BYTES, Decoder, ENVELOPE_BYTES, Encoder, FormatError, HEADER_BYTES, Header, Kind,
};
use tfhe_core::key_graph::Node::{Arithmetic, Lookup};
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::{Identity, Needs};
use tfhe_core::params::GlweShape;
use tfhe_core::sets;

pub use samples::{samples, wrong};

/// The most bytes that contents may have here.
const LIMIT: u64 = 1 << 20;
/// Ciphertexts of a message.
const COUNT: usize = 2;
/// Bits of the elements of an answer. Those of a request are all 64, as a client makes them.
const ANSWER_BITS: u32 = 45;
/// For which processors a batch is.
const ARITHMETIC: &str = "portable";
/// Whose keys a worker has.
static IDENTITY: LazyLock<Identity> = LazyLock::new(samples::identity);
/// What whoever has made the batch expects.
static EXPECTED: LazyLock<Option<ExpectedResult>> = LazyLock::new(|| samples::batch().expected());

/// What reads bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An envelope of any kind.
    Envelope,
    /// A request, by a server.
    Request,
    /// An answer, by a client.
    Answer,
    /// Evaluation keys, by a server.
    EvaluationKeys,
    /// A client's secret.
    Secret,
    /// The stream of a checkpoint.
    Stream,
    /// A batch of blind rotations, by a worker.
    Batch,
    /// The result of a batch, by a server.
    BatchResult,
    /// The keys of a worker.
    WorkerKeys,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Envelope,
        Self::Request,
        Self::Answer,
        Self::EvaluationKeys,
        Self::Secret,
        Self::Stream,
        Self::Batch,
        Self::BatchResult,
        Self::WorkerKeys,
    ];

    /// What its fuzz target is called, and the folder of its files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Envelope => "envelope",
            Self::Request => "request",
            Self::Answer => "answer",
            Self::EvaluationKeys => "evaluation_keys",
            Self::Secret => "secret",
            Self::Stream => "stream",
            Self::Batch => "batch",
            Self::BatchResult => "batch_result",
            Self::WorkerKeys => "worker_keys",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Envelope => Kind(*b"any     "),
            Self::Request => Kind::REQUEST,
            Self::Answer => Kind::ANSWER,
            Self::EvaluationKeys | Self::WorkerKeys => Kind::EVALUATION_KEYS,
            Self::Secret => Kind::SECRET,
            Self::Stream => Kind(*b"stream  "),
            Self::Batch => BATCH,
            Self::BatchResult => RESULT,
        }
    }

    /// Reads a file: whether it was accepted.
    ///
    /// # Panics
    /// If the decoder is not what it should be.
    pub fn read(self, file: &[u8]) -> bool {
        match self {
            Self::Envelope => read_envelope(file),
            Self::Batch => is_written_again(&repaired(file), |file| {
                let batch = Batch::decode_for(ARITHMETIC, file).ok()?;
                batch.encode_for(ARITHMETIC).ok()
            }),
            Self::BatchResult => is_written_again(&repaired(file), |file| {
                let expected = &*EXPECTED;
                let result = BatchResult::decode(file, |_, _| expected.clone()).ok()?;
                result.encode(expected.as_ref()).ok()
            }),
            Self::WorkerKeys => is_written_again(&repaired(file), |file| {
                let (name, mut input, parameters) = (KeyName::of_bytes(file), file, parameters());
                let of = (*IDENTITY, &parameters);
                let keys = read_keys(name, &mut input, file.len() as u64, of).ok()?;
                let mut again = Vec::new();
                write_keys(&keys, &mut again).ok()?;
                Some(again)
            }),
            _ => self.read_contents(&repaired(file)),
        }
    }

    fn read_contents(self, file: &[u8]) -> bool {
        let expected = |header: &Header| header.check_of(self.kind(), &parameters().fingerprint(), &context());
        let streamed = streamed(file, |header, decoder| {
            expected(header)?;
            self.again(header, decoder)
        });
        let whole = format::read(&mut &file[..], file.len() as u64, LIMIT).and_then(|document| {
            expected(document.header())?;
            let mut decoder = document.open_of(self.kind())?;
            let again = self.again(document.header(), &mut decoder)?;
            decoder.finish()?;
            Ok(again)
        });
        assert_eq!(in_words(&whole), in_words(&streamed), "a whole file, and one that comes in");
        streamed.is_ok_and(|again| {
            assert!(again == file, "what was read is written again to the byte");
            true
        })
    }

    /// Reads contents, does what their reader does first, and writes them again.
    fn again(self, header: &Header, decoder: &mut Decoder<'_>) -> Result<Vec<u8>, FormatError> {
        let (identity, shape, parameters) = (header.identity, shape(), parameters());
        match self {
            // They are read otherwise.
            Self::Envelope | Self::Batch | Self::BatchResult | Self::WorkerKeys => Ok(Vec::new()),
            Self::Request => {
                let request = decoder.request(identity, shape, COUNT, u64::BITS)?;
                request.ciphertexts().iter().for_each(|ciphertext| drop(ciphertext.expand()));
                Ok(file(header, |encoder| encoder.request(&request)))
            }
            Self::Answer => {
                let answer = decoder.answer(identity, shape, COUNT, (ANSWER_BITS, usize::MAX))?;
                Ok(file(header, |encoder| encoder.answer(&answer)))
            }
            Self::EvaluationKeys => {
                let keys = decoder.evaluation_keys(identity, &parameters, &needs())?;
                Ok(file(header, |encoder| encoder.evaluation_keys(&keys)))
            }
            Self::Secret => {
                let (seed, requests) = decoder.secret()?;
                Ok(file(header, |encoder| encoder.secret(&seed, requests)))
            }
            Self::Stream => {
                let (requests, stream) = stream_sizes().decode(decoder, identity)?;
                let rows: Vec<_> = stream.rows.iter().flatten().collect();
                Ok(file(header, |encoder| encode_stream(encoder, &requests, stream.done, (shape, &rows))))
            }
        }
    }
}

/// Whether a file is accepted by what reads it and writes it again.
fn is_written_again(file: &[u8], again: impl Fn(&[u8]) -> Option<Vec<u8>>) -> bool {
    again(file).is_some_and(|again| {
        assert!(again == file, "what was read is written again to the byte");
        true
    })
}

/// An envelope as it is, whatever is in it: the same by both ways of reading it.
fn read_envelope(bytes: &[u8]) -> bool {
    let whole = format::read(&mut &bytes[..], bytes.len() as u64, LIMIT).map(|document| *document.header());
    let streamed = streamed(bytes, |header, decoder| {
        // All that is in it.
        let length = bytes.len() as u64 - ENVELOPE_BYTES;
        (0..length / 8).try_for_each(|_| decoder.integer().map(drop))?;
        (0..length % 8).try_for_each(|_| decoder.elements(1, 8).map(drop))?;
        Ok(*header)
    });
    assert_eq!(in_words(&whole), in_words(&streamed), "a whole file, and one that comes in");
    whole.is_ok()
}

/// Bytes that come in one by one.
fn streamed<T>(
    bytes: &[u8],
    decode: impl FnOnce(&Header, &mut Decoder<'_>) -> Result<T, FormatError>,
) -> Result<T, FormatError> {
    struct OneByOne<'a>(&'a [u8]);
    impl Read for OneByOne<'_> {
        fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
            let next = output.len().min(1);
            self.0.read(&mut output[..next])
        }
    }
    format::decode(&mut OneByOne(bytes), bytes.len() as u64, LIMIT, decode)
}

/// The error in words, or what there is.
fn in_words<T: std::fmt::Debug>(result: &Result<T, FormatError>) -> String {
    result.as_ref().map_or_else(FormatError::to_string, |contents| format!("{contents:?}"))
}

/// With the length that it has, and the checksum of what is before it, if it is long enough for an envelope.
fn repaired(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    if let Some(length) = (file.len() as u64).checked_sub(ENVELOPE_BYTES) {
        let end = file.len() - CHECKSUM_BYTES;
        file[HEADER_BYTES - 8..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
        let checksum = Sha256::digest(&file[..end]);
        file[end..].copy_from_slice(&checksum);
    }
    file
}

fn file(header: &Header, contents: impl Fn(&mut Encoder<'_>) -> io::Result<()>) -> Vec<u8> {
    let mut output = Vec::new();
    format::write(&mut output, header, contents).expect("what was read can be written");
    output
}

fn parameters() -> Parameters {
    sets::TOY.compile().expect("named sets are valid")
}

fn shape() -> GlweShape {
    parameters().arithmetic().shape
}

/// One key of each kind.
fn needs() -> Needs {
    let needs = Needs::default().keyswitch(Lookup).automorphisms(Lookup, 0, 4);
    needs.relinearization(Arithmetic).bootstrapping(0)
}

fn context() -> Fingerprint {
    Fields::new("fuzzed").fingerprint()
}

fn stream_sizes() -> StreamSizes {
    StreamSizes { tokens: 5, blocks: 3, row: (2, shape()), ends_with_last_row: true }
}
