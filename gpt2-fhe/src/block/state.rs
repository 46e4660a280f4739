//! What a server has of a text, kept in a folder, from which it goes on after an interruption.
//!
//! After each block it writes two files: what the request's tokens left in the block's cache, which never changes after, and then the stream
//! after that block, in the place of the one before. The latter is what counts: what it does not speak of is not there, so the folder is whole
//! whenever the process ends. All of it is ciphertexts and what is public.
//!
//! | file | kind | contents ([`tfhe_core::format`]) |
//! |---|---|---|
//! | `stream` | `stream` | the number of requests; of each, its number of tokens and its label; how many blocks of the last one are done; its stream after them, as GLWE ciphertexts, row by row |
//! | `request-R-block-B` | `cache` | of each head: keys, as the levels of their GGSW ciphertexts; values, row by row; logarithms of r, as LWE ciphertexts |
//!
//! GGSW ciphertexts are made anew from their levels, by the relinearization key, as they were made the first time: half the bytes,
//! and the same on every processor.

use std::io;
use std::sync::Arc;

use nn::block::{BlockProgram, Ending};
use nn::evaluator::{Form, Rows};
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::format::{Decoder, ENVELOPE_BYTES, Encoder, FormatError, Header, Kind};
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::{MissingEdge, Parameters};
use tfhe_core::keys::{Identity, Label};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::params::{Gadget, GlweShape, LweDimension};

use super::ciphertexts::{BlockCiphertexts, EncryptedReals, Levels};
use super::circuit::BlockCircuit;
use super::keys::PRODUCT;
use crate::store::{Store, StoreError};

const STREAM: &str = "stream";

/// The name of what request `request` left in the cache of block `block`.
fn cache_name(request: usize, block: usize) -> String {
    format!("request-{request}-block-{block}")
}

/// Whether a file is one of a server's state.
pub fn is_state(name: &str) -> bool {
    name == STREAM || name.starts_with("request-")
}

/// A request that was answered, or is in work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRequest {
    pub(super) label: Label,
    /// How many new tokens it has.
    pub(super) tokens: usize,
}

/// What tokens left in the cache of a head.
pub(super) struct HeadRows {
    /// Of each token, the levels of its key.
    pub(super) keys: Vec<Levels>,
    /// Of each token.
    pub(super) values: Rows<Arc<GlweCiphertext>>,
    /// Of each token.
    pub(super) log_factors: Vec<LweCiphertext>,
}

impl KeptRequest {
    /// A request of `tokens` new tokens.
    pub fn new(label: &Label, tokens: usize) -> Self {
        Self { label: label.clone(), tokens }
    }
}

/// The sizes of the stream of a text.
#[derive(Clone, Copy, Debug)]
pub struct StreamSizes {
    /// The most tokens that a text can have.
    pub tokens: usize,
    /// How many blocks there are.
    pub blocks: usize,
    /// How many ciphertexts a row has, and of which shape.
    pub row: (usize, GlweShape),
    /// Whether the last block gives the last row only.
    pub ends_with_last_row: bool,
}

/// The sizes of what tokens leave in the cache of a head.
struct RowSizes {
    shape: GlweShape,
    /// Of a key's GGSW ciphertext.
    levels: usize,
    /// Of the logarithms.
    dimension: LweDimension,
}

impl RowSizes {
    fn new(parameters: &Parameters, product: Gadget) -> Self {
        let (shape, dimension) = (parameters.arithmetic().shape, parameters.lookup().lwe_dimension());
        Self { shape, levels: product.levels(), dimension }
    }

    /// The most bytes that the contents of a cache's file can have, of heads whose values have so many ciphertexts.
    fn cache_bytes(&self, values: &[usize], tokens: usize) -> u64 {
        let lwe_bytes = 8 * (self.dimension.get() + 1);
        let of_token = |values: usize| (self.levels + values) * 8 * self.shape.ciphertext_len() + lwe_bytes;
        values.iter().map(|&values| (64 + tokens * of_token(values)) as u64).sum()
    }
}

/// Of each block and head, the number of ciphertexts of a value.
fn values(circuit: &BlockCircuit) -> Vec<Vec<usize>> {
    let layout = circuit.prediction().layout();
    let heads = |block: &BlockProgram| {
        let heads = block.attention().map_or(&[][..], |attention| attention.heads());
        heads.iter().map(|head| layout.ciphertexts(Form::Image, head.value_channels())).collect()
    };
    circuit.program().blocks().iter().map(heads).collect()
}

/// The most bytes that a request of `tokens` new tokens leaves in the folder of its text.
///
/// # Errors
/// If the set is not one of this circuit.
pub fn kept_bytes(circuit: &BlockCircuit, tokens: usize) -> Result<u64, MissingEdge> {
    let rows = RowSizes::new(circuit.parameters(), circuit.parameters().gadget(PRODUCT)?);
    let caches = values(circuit).iter().map(|values| ENVELOPE_BYTES + rows.cache_bytes(values, tokens)).sum::<u64>();
    Ok(caches + ENVELOPE_BYTES + StreamSizes::of(circuit, tokens).limit())
}

impl StreamSizes {
    /// Of a text of at most `tokens` tokens.
    pub(super) fn of(circuit: &BlockCircuit, tokens: usize) -> Self {
        Self {
            tokens,
            blocks: circuit.program().blocks().len(),
            row: (circuit.encoding(1).stream_len(), circuit.parameters().arithmetic().shape),
            ends_with_last_row: circuit.program().end().ending() != Ending::Stream,
        }
    }

    /// The rows of the stream of so many tokens after so many blocks.
    fn rows(&self, done: usize, tokens: usize) -> usize {
        if self.ends_with_last_row && done == self.blocks { 1 } else { tokens }
    }

    /// The most bytes that the contents of `stream` can have.
    pub fn limit(&self) -> u64 {
        let (row, shape) = self.row;
        // Of each token a row, and a request with its label at most.
        let of_token = 256 + row * (8 + 8 * shape.ciphertext_len());
        256 + (self.tokens * of_token) as u64
    }

    /// The contents of `stream`, under keys `identity`: the requests, and the stream of the last one.
    ///
    /// # Errors
    /// That they are not as they should be.
    pub fn decode(
        &self,
        decoder: &mut Decoder<'_>,
        identity: Identity,
    ) -> Result<(Vec<KeptRequest>, KeptStream), FormatError> {
        let (mut requests, mut left) = (Vec::new(), self.tokens);
        for _ in 0..decoder.count(self.tokens)? {
            let tokens = decoder.count(left)?;
            if tokens == 0 {
                return Err(FormatError::Contents("a request has one new token at least"));
            }
            left -= tokens;
            requests.push(KeptRequest { tokens, label: decoder.label(identity)? });
        }
        let last = requests.last().ok_or(FormatError::Contents("there is no request"))?;
        let done = decoder.count(self.blocks)?;
        if done == 0 {
            return Err(FormatError::Contents("no block of the last request is done"));
        }
        let (row, shape) = self.row;
        let ciphertexts = decoder.glwes(shape, self.rows(done, last.tokens) * row)?;
        Ok((requests, KeptStream { done, rows: ciphertexts.chunks(row).map(<[_]>::to_vec).collect() }))
    }
}

/// Writes the contents of `stream`: what [`StreamSizes::decode`] reads.
///
/// # Errors
/// Those of what is written to, and that a ciphertext is of another shape.
pub fn encode_stream(
    encoder: &mut Encoder<'_>,
    requests: &[KeptRequest],
    done: usize,
    (shape, ciphertexts): (GlweShape, &[&GlweCiphertext]),
) -> io::Result<()> {
    encoder.integer(requests.len() as u64)?;
    for request in requests {
        encoder.integer(request.tokens as u64)?;
        encoder.label(&request.label)?;
    }
    encoder.integer(done as u64)?;
    encoder.glwes(shape, ciphertexts.iter().copied())
}

/// The state of a text in a folder.
pub(super) struct KeptState {
    store: Store,
    identity: Identity,
    work: Fingerprint,
    /// Of each block and head, how many ciphertexts a value has.
    values: Vec<Vec<usize>>,
    pub(super) requests: Vec<KeptRequest>,
}

/// The stream of the last request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptStream {
    /// After so many blocks.
    pub done: usize,
    /// Its rows.
    pub rows: Rows<GlweCiphertext>,
}

impl KeptState {
    /// The state in a folder, if there is one, of a text of at most `most` tokens.
    pub(super) fn open(
        store: Store,
        circuit: &BlockCircuit,
        (identity, most): (Identity, usize),
    ) -> Result<(Self, Option<KeptStream>), StoreError> {
        let (values, sizes) = (values(circuit), StreamSizes::of(circuit, most));
        let mut state = Self { store, identity, work: *circuit.fingerprint(), values, requests: Vec::new() };
        let Some(document) = state.store.read(STREAM, sizes.limit())? else {
            return Ok((state, None));
        };
        let decoded = document.open(&state.stream_header()).and_then(|mut decoder| {
            let decoded = sizes.decode(&mut decoder, identity)?;
            decoder.finish()?;
            Ok(decoded)
        });
        let (requests, stream) = decoded.map_err(|error| state.store.refused(STREAM, error))?;
        state.requests = requests;
        Ok((state, Some(stream)))
    }

    fn stream_header(&self) -> Header {
        Header { kind: Kind(*b"stream  "), identity: self.identity, context: self.work }
    }

    fn cache_header(&self, request: usize, block: usize) -> Header {
        let fields = Fields::new("cache of a block").of(&self.work).integer(request as u64).integer(block as u64);
        let fields = fields.of(&self.requests[request].label.fingerprint());
        Header { kind: Kind(*b"cache   "), identity: self.identity, context: fields.fingerprint() }
    }

    /// A request begins.
    pub(super) fn begin(&mut self, label: &Label, tokens: usize) {
        self.requests.push(KeptRequest::new(label, tokens));
    }

    /// Keeps what the last request left in the cache of the block after which `done` are done, and the stream.
    pub(super) fn save(
        &self,
        done: usize,
        heads: &[HeadRows],
        stream: &EncryptedReals,
        backend: &BlockCiphertexts<'_>,
    ) -> Result<(), StoreError> {
        let (shape, request) = (backend.shape(), self.requests.len() - 1);
        if !heads.is_empty() {
            let contents = |encoder: &mut Encoder<'_>| {
                heads.iter().try_for_each(|head| {
                    let keys: Vec<&GlweCiphertext> = head.keys.iter().flat_map(|levels| levels.iter()).collect();
                    encoder.glwes(shape, keys.into_iter())?;
                    encoder.glwes(shape, flat(&head.values).into_iter())?;
                    encoder.lwes(backend.lookup_dimension(), head.log_factors.iter())
                })
            };
            self.store.write(&cache_name(request, done - 1), &self.cache_header(request, done - 1), contents)?;
        }
        let contents =
            |encoder: &mut Encoder<'_>| encode_stream(encoder, &self.requests, done, (shape, &flat(stream.rows())));
        self.store.write(STREAM, &self.stream_header(), contents)
    }

    /// What request `request` left in the cache of block `block`.
    pub(super) fn cache(
        &self,
        request: usize,
        block: usize,
        backend: &BlockCiphertexts<'_>,
    ) -> Result<Vec<HeadRows>, StoreError> {
        let (tokens, values) = (self.requests[request].tokens, &self.values[block]);
        let sizes = RowSizes::new(backend.keys.parameters, backend.keys.product);
        let (limit, RowSizes { shape, levels, dimension }) = (sizes.cache_bytes(values, tokens), sizes);
        let name = cache_name(request, block);
        let read = |decoder: &mut Decoder<'_>, values: usize| {
            let keys = decoder.glwes(shape, tokens * levels)?;
            let rows = decoder.glwes(shape, tokens * values)?;
            let log_factors = decoder.lwes(dimension, tokens)?;
            let rows: Vec<Arc<GlweCiphertext>> = rows.into_iter().map(Arc::new).collect();
            let (keys, values) = (keys.chunks(levels), rows.chunks(values));
            Ok::<_, FormatError>(HeadRows {
                keys: keys.map(|levels| Arc::new(levels.to_vec())).collect(),
                values: values.map(<[_]>::to_vec).collect(),
                log_factors,
            })
        };
        let heads = match self.store.read(&name, limit)? {
            None => Err(FormatError::Contents("this file of the checkpoint is not there")),
            Some(document) => document.open(&self.cache_header(request, block)).and_then(|mut decoder| {
                let heads = values.iter().map(|&values| read(&mut decoder, values)).collect::<Result<_, _>>()?;
                decoder.finish()?;
                Ok(heads)
            }),
        };
        heads.map_err(|error| self.store.refused(&name, error))
    }

    /// Whether a block keeps something.
    pub(super) fn has_cache(&self, block: usize) -> bool {
        !self.values[block].is_empty()
    }
}

fn flat(rows: &[Vec<Arc<GlweCiphertext>>]) -> Vec<&GlweCiphertext> {
    rows.iter().flatten().map(|ciphertext| &**ciphertext).collect()
}
