//! What the client and the server of blocks agree on before any request, and what they give each other as bytes.
//!
//! Requests, answers and keys are in the envelope of [`tfhe_core::format`], which names the parameter set, the keys, and what else it
//! belongs to: of requests and answers the program, that is all weights, tables and scales, and where numbers lie in ciphertexts; of keys
//! that they are for blocks. `docs/formats.md` has every byte.

use std::io::{self, Read, Write};

use nn::block::{BlocksClient, StreamProgram};
use nn::record::AttentionFingerprint;
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::format::{self, ENVELOPE_BYTES, Encoder, FormatError, Header, Kind};
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::{Answer, EvaluationKeys, Identity, Request, SeededEvaluationKeys};
use tfhe_core::sets;

use super::encoding::{BlockAnswer, BlockEncoding};
use super::keys::needs;
use super::layout::{BlockLayout, HeadBeyondRing};
use crate::boundary::Refused;
use crate::encoding::Encoding;

/// Bytes of a request before its ciphertexts, and more.
const BEFORE_CIPHERTEXTS: u64 = 1 << 10;

/// What client and server agree on of blocks.
#[derive(Clone, Debug)]
pub struct BlockAgreement {
    parameters: Parameters,
    layout: BlockLayout,
    channels: usize,
    answer: BlockAnswer,
    max_tokens: usize,
}

/// The sizes of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSizes {
    /// d, the channels of a head.
    pub head: usize,
    /// E.
    pub embedding: usize,
    /// The numbers of the last token that are answered, if it is not the stream.
    pub last: Option<usize>,
    /// The most tokens of a text that are encrypted.
    pub max_tokens: usize,
}

impl BlockSizes {
    /// Of blocks of which this is the client's half.
    pub fn of(half: &BlocksClient) -> Self {
        Self {
            head: half.head_size(),
            embedding: half.embedding_size(),
            last: half.end().size(),
            max_tokens: half.max_tokens().saturating_sub(half.public_tokens().len()),
        }
    }

    /// Of blocks of which this is the server's half.
    pub fn of_program(program: &StreamProgram) -> Self {
        Self {
            head: program.head_size(),
            embedding: program.channels() - 1,
            last: program.end().size(),
            max_tokens: program.max_tokens().saturating_sub(program.prefix()),
        }
    }
}

/// New tokens of a text, encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRequest {
    /// How many tokens came before, whose keys and values the server has.
    pub earlier: usize,
    /// How many are new.
    pub tokens: usize,
    /// Their ciphertexts.
    pub request: Request,
}

/// The parameter set of blocks.
pub fn parameters() -> Parameters {
    sets::PACKED_BLOCK.compile().expect("named sets are valid")
}

/// What evaluation keys for blocks belong to, beside their set and their client.
fn keys_context() -> Fingerprint {
    Fields::new("evaluation keys").name(BlockEncoding::CIRCUIT).fingerprint()
}

/// Writes evaluation keys for blocks.
///
/// # Errors
/// Those of `output`.
pub fn write_keys(output: &mut dyn Write, keys: &SeededEvaluationKeys) -> io::Result<()> {
    let (header, contents) = keys_file(keys);
    format::write(output, &header, contents)
}

/// The header of a file of evaluation keys for blocks, and what writes its contents.
pub fn keys_file(keys: &SeededEvaluationKeys) -> (Header, impl Fn(&mut Encoder<'_>) -> io::Result<()>) {
    let header = Header { kind: Kind::EVALUATION_KEYS, identity: *keys.identity(), context: keys_context() };
    (header, |encoder| encoder.evaluation_keys(keys))
}

/// Bytes of such a file.
pub fn keys_bytes() -> u64 {
    format::evaluation_key_bytes(&parameters(), &needs()).expect("the set has what blocks need")
}

/// Bytes of memory that a client's keys take when they are prepared.
pub fn prepared_keys_bytes() -> u64 {
    EvaluationKeys::predicted_bytes(&parameters(), &needs()).expect("the set has what blocks need") as u64
}

/// Reads evaluation keys for blocks of any client from `available` bytes.
///
/// # Errors
/// [`FormatError`]: what is wrong with them.
pub fn read_keys(input: &mut dyn Read, available: u64) -> Result<SeededEvaluationKeys, FormatError> {
    let parameters = parameters();
    format::decode(input, available, keys_bytes() - ENVELOPE_BYTES, |header, decoder| {
        check(header, Kind::EVALUATION_KEYS, &parameters, "evaluation keys for another circuit", &keys_context())?;
        decoder.evaluation_keys(header.identity, &parameters, &needs())
    })
}

/// Checks what contents are of, whosever they are.
fn check(
    header: &Header,
    kind: Kind,
    parameters: &Parameters,
    other: &'static str,
    context: &Fingerprint,
) -> Result<(), FormatError> {
    if header.kind == kind && header.context != *context && header.identity.set == parameters.fingerprint() {
        return Err(FormatError::Other(other));
    }
    header.check_of(kind, &parameters.fingerprint(), context)
}

const OTHER_PROGRAM: &str =
    "another program: to blocks of other weights, of another calibration, or to others of the model's blocks";

impl BlockAgreement {
    /// On blocks of such sizes.
    ///
    /// # Errors
    /// If a head does not fit a ciphertext.
    pub fn new(sizes: BlockSizes) -> Result<Self, HeadBeyondRing> {
        let parameters = parameters();
        let layout = BlockLayout::new(&parameters, sizes.head)?;
        let answer = sizes.last.map_or(BlockAnswer::Stream, BlockAnswer::Last);
        Ok(Self { parameters, layout, channels: sizes.embedding + 1, answer, max_tokens: sizes.max_tokens })
    }

    /// The parameter set.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Where numbers lie.
    pub fn layout(&self) -> &BlockLayout {
        &self.layout
    }

    /// E + 1: the channels of the stream.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The most tokens of a text that are encrypted.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// How requests of so many new tokens are encoded.
    pub fn encoding(&self, tokens: usize) -> BlockEncoding {
        BlockEncoding { layout: self.layout, tokens, channels: self.channels, answer: self.answer }
    }

    /// Checks that so many new tokens may follow so many earlier ones.
    ///
    /// # Errors
    /// [`Refused::Tokens`].
    pub fn check_place(&self, earlier: usize, tokens: usize) -> Result<(), Refused> {
        Refused::check_tokens(tokens, self.max_tokens.saturating_sub(earlier))
    }

    /// Of the program of that fingerprint, and of where its numbers lie: what requests, answers and whatever is kept of a text belong to.
    pub fn fingerprint(&self, program: &AttentionFingerprint) -> Fingerprint {
        Fields::new("blocks").name(&program.to_string()).of(&self.encoding(1).context()).fingerprint()
    }

    /// The most bytes of a request.
    pub fn request_limit(&self) -> u64 {
        let bytes = self.encoding(self.max_tokens).request_bytes(self.parameters.arithmetic().shape);
        (bytes as u64).saturating_add(BEFORE_CIPHERTEXTS)
    }

    /// Bytes of the file of an answer to a request of so many new tokens.
    pub fn answer_bytes(&self, tokens: usize) -> u64 {
        self.encoding(tokens).answer_bytes(self.parameters.arithmetic().shape) as u64
    }

    /// The header of a request to the program `fingerprint`, and what writes its contents.
    pub fn request_file(
        request: &BlockRequest,
        fingerprint: &Fingerprint,
    ) -> (Header, impl Fn(&mut Encoder<'_>) -> io::Result<()>) {
        let identity = *request.request.label().identity();
        let header = Header { kind: Kind::REQUEST, identity, context: *fingerprint };
        let contents = |encoder: &mut Encoder<'_>| {
            encoder.integer(request.earlier as u64)?;
            encoder.integer(request.tokens as u64)?;
            encoder.request(&request.request)
        };
        (header, contents)
    }

    /// Reads a request to the program `fingerprint`, of any client, from `available` bytes.
    ///
    /// # Errors
    /// [`FormatError`]: what is wrong with it.
    pub fn read_request(
        &self,
        input: &mut dyn Read,
        available: u64,
        fingerprint: &Fingerprint,
    ) -> Result<BlockRequest, FormatError> {
        format::decode(input, available, self.request_limit(), |header, decoder| {
            check(header, Kind::REQUEST, &self.parameters, OTHER_PROGRAM, fingerprint)?;
            let earlier = decoder.count(self.max_tokens)?;
            let tokens = decoder.count(self.max_tokens - earlier)?;
            if tokens == 0 {
                return Err(FormatError::Contents("a request has one new token at least"));
            }
            let (shape, encoding) = (self.parameters.arithmetic().shape, self.encoding(tokens));
            let (count, bits) = (encoding.request_len(), encoding.request_bits());
            let request = decoder.request(header.identity, shape, count, bits)?;
            // Dense ciphertexts are as many for several numbers of tokens.
            if *request.label().context() != encoding.context() {
                return Err(FormatError::Contents("it is encoded for another number of tokens than it says"));
            }
            Ok(BlockRequest { earlier, tokens, request })
        })
    }

    /// The header of an answer of the program `fingerprint`, and what writes its contents.
    pub fn answer_file(
        answer: &Answer,
        fingerprint: &Fingerprint,
    ) -> (Header, impl Fn(&mut Encoder<'_>) -> io::Result<()>) {
        let header = Header { kind: Kind::ANSWER, identity: *answer.label().identity(), context: *fingerprint };
        (header, |encoder| encoder.answer(answer))
    }

    /// Reads the answer of the program `fingerprint` to a request of `tokens` new tokens under keys `identity`, from `available` bytes.
    ///
    /// # Errors
    /// [`FormatError`]: what is wrong with it.
    pub fn read_answer(
        &self,
        input: &mut dyn Read,
        available: u64,
        (identity, tokens): (&Identity, usize),
        fingerprint: &Fingerprint,
    ) -> Result<Answer, FormatError> {
        let (shape, encoding) = (self.parameters.arithmetic().shape, self.encoding(tokens));
        let sent = (encoding.answer_bits(), encoding.answer_bodies());
        format::decode(input, available, self.answer_bytes(tokens) - ENVELOPE_BYTES, |header, decoder| {
            check(header, Kind::ANSWER, &self.parameters, OTHER_PROGRAM, fingerprint)?;
            header.check(&Header { kind: Kind::ANSWER, identity: *identity, context: *fingerprint })?;
            decoder.answer(*identity, shape, encoding.answer_len(), sent)
        })
    }
}
