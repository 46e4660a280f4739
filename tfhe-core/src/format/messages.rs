//! Requests and answers.

use std::io;

use super::decoder::Decoder;
use super::elements::packed_bytes;
use super::encoder::{Encoder, SIZES, check};
use super::error::FormatError;
use super::header::ENVELOPE_BYTES;
use crate::glwe::{GlweCiphertext, SeededGlweCiphertext};
use crate::keys::{Answer, Identity, Request};
use crate::params::GlweShape;
use crate::random::PublicSeed;

/// Bytes of a label.
const LABEL_BYTES: u64 = 64;

/// Bytes of a whole file of a request: `count` ciphertexts of shape `shape`, elements of `bits` bits.
pub fn request_bytes(shape: GlweShape, count: usize, bits: u32) -> u64 {
    const SIZES: u64 = 8 * 5;
    ciphertext_bytes(shape.polynomial_size.get(), count, bits).saturating_add(ENVELOPE_BYTES + LABEL_BYTES + SIZES)
}

/// Bytes of a whole file of an answer: `count` ciphertexts of shape `shape`, elements of `bits` bits, and of each body the first `bodies`
/// coefficients, all if it has fewer.
pub fn answer_bytes(shape: GlweShape, count: usize, (bits, bodies): (u32, usize)) -> u64 {
    const SIZES: u64 = 8 * 5;
    ciphertext_bytes(sent_len(shape, bodies), count, bits).saturating_add(ENVELOPE_BYTES + LABEL_BYTES + SIZES)
}

/// The elements of a ciphertext of an answer that are sent.
fn sent_len(shape: GlweShape, bodies: usize) -> usize {
    shape.extracted_lwe_dimension().get() + bodies.min(shape.polynomial_size.get())
}

fn ciphertext_bytes(elements: usize, count: usize, bits: u32) -> u64 {
    packed_bytes(elements as u64, bits).saturating_mul(count as u64)
}

impl Request {
    /// [`request_bytes`]. None if it has no ciphertext: then it cannot be written.
    pub fn bytes(&self) -> usize {
        let shape = self.ciphertexts().first().map(SeededGlweCiphertext::shape);
        shape.map_or(0, |shape| request_bytes(shape, self.ciphertexts().len(), self.bits()) as usize)
    }
}

impl Answer {
    /// [`answer_bytes`]. None if it has no ciphertext: then it cannot be written.
    pub fn bytes(&self) -> usize {
        let shape = self.ciphertexts().first().map(GlweCiphertext::shape);
        let bytes = |shape: GlweShape| {
            let bodies = self.bodies(shape.polynomial_size);
            answer_bytes(shape, self.ciphertexts().len(), (self.bits(), bodies)) as usize
        };
        shape.map_or(0, bytes)
    }
}

/// How many ciphertexts there are, and of which shape.
fn sizes(count: usize, shape: GlweShape) -> [u64; 3] {
    [count, shape.dimension.get(), shape.polynomial_size.get()].map(|size| size as u64)
}

const EMPTY: &str = "a message has one ciphertext at least";
const STREAMS: &str = "the masks of a request's ciphertexts are not those of its label, one stream after the other";

/// Errors are those of what is written to, and that something cannot be written.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Encoder<'_> {
    /// A request, as many of the highest bits of each element as it has. That an element has more is an error.
    pub fn request(&mut self, request: &Request) -> io::Result<()> {
        let (label, ciphertexts, bits) = (request.label(), request.ciphertexts(), request.bits());
        let Some(first) = ciphertexts.first() else { return check(false, EMPTY) };
        self.label(label)?;
        self.integers(sizes(ciphertexts.len(), first.shape()))?;
        self.integers([bits.into(), first.index()])?;
        for (ciphertext, stream) in ciphertexts.iter().zip(first.index()..) {
            check(ciphertext.shape() == first.shape(), SIZES)?;
            check((ciphertext.masks(), ciphertext.index()) == (label.request, stream), STREAMS)?;
            self.elements(ciphertext.body(), bits)?;
        }
        Ok(())
    }

    /// An answer, as many of the highest bits of each element, and of the coefficients of each body, as it has. That an element has
    /// more is an error.
    pub fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        let (ciphertexts, bits) = (answer.ciphertexts(), answer.bits());
        let Some(first) = ciphertexts.first() else { return check(false, EMPTY) };
        let (shape, bodies) = (first.shape(), answer.bodies(first.shape().polynomial_size));
        self.label(answer.label())?;
        self.integers(sizes(ciphertexts.len(), shape))?;
        self.integers([bits.into(), bodies as u64])?;
        ciphertexts.iter().try_for_each(|ciphertext| {
            check(ciphertext.shape() == shape, SIZES)?;
            // The others are zero.
            self.elements(&ciphertext.data()[..sent_len(shape, bodies)], bits)
        })
    }
}

/// Errors are [`FormatError::Contents`].
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Decoder<'_> {
    /// A request to keys `identity`, of `count` ciphertexts of shape `shape`, elements of `bits` bits. It says of itself how it is encoded,
    /// which [`Request::open`] compares.
    pub fn request(
        &mut self,
        identity: Identity,
        shape: GlweShape,
        count: usize,
        bits: u32,
    ) -> Result<Request, FormatError> {
        let label = self.label(identity)?;
        self.sizes(sizes(count, shape))?;
        self.bits(bits)?;
        let first = self.integer()?;
        if first.checked_add(count as u64).is_none_or(|end| end > PublicSeed::STREAMS) {
            return Err(FormatError::Contents("the masks' number is larger than is possible"));
        }
        let bodies = self.list(count, shape.polynomial_size.get(), bits, |body| body)?;
        let ciphertext = |(body, stream)| SeededGlweCiphertext::from_parts(shape, label.request, stream, body);
        let ciphertexts = bodies.into_iter().zip(first..).map(ciphertext).collect();
        Ok(Request::from_parts(label, ciphertexts, bits))
    }

    /// An answer under keys `identity`, of `count` ciphertexts of shape `shape`, elements of `bits` bits, and of each body the first `bodies`
    /// coefficients. It says of itself which request it is to, which [`ClientKeys::decrypt`](crate::keys::ClientKeys::decrypt) compares.
    pub fn answer(
        &mut self,
        identity: Identity,
        shape: GlweShape,
        count: usize,
        (bits, bodies): (u32, usize),
    ) -> Result<Answer, FormatError> {
        let label = self.label(identity)?;
        let bodies = bodies.min(shape.polynomial_size.get());
        self.sizes(sizes(count, shape))?;
        self.bits(bits)?;
        self.sizes([bodies as u64])?;
        let whole = |mut elements: Vec<u64>| {
            elements.resize(shape.ciphertext_len(), 0);
            GlweCiphertext::from_elements(shape, elements)
        };
        let ciphertexts = self.list(count, sent_len(shape, bodies), bits, whole)?;
        Ok(Answer::new(&label, ciphertexts, bits).with_bodies_of(bodies))
    }
}
