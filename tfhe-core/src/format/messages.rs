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

/// Bytes of a whole file of an answer: `count` ciphertexts of shape `shape`, elements of `bits` bits.
pub fn answer_bytes(shape: GlweShape, count: usize, bits: u32) -> u64 {
    const SIZES: u64 = 8 * 4;
    ciphertext_bytes(shape.ciphertext_len(), count, bits).saturating_add(ENVELOPE_BYTES + LABEL_BYTES + SIZES)
}

fn ciphertext_bytes(elements: usize, count: usize, bits: u32) -> u64 {
    packed_bytes(elements as u64, bits).saturating_mul(count as u64)
}

impl Request {
    /// [`request_bytes`], with elements of 64 bits. None if it has no ciphertext: then it cannot be written.
    pub fn bytes(&self) -> usize {
        let shape = self.ciphertexts().first().map(SeededGlweCiphertext::shape);
        shape.map_or(0, |shape| request_bytes(shape, self.ciphertexts().len(), u64::BITS) as usize)
    }
}

impl Answer {
    /// [`answer_bytes`], with elements of 64 bits. None if it has no ciphertext: then it cannot be written.
    pub fn bytes(&self) -> usize {
        let shape = self.ciphertexts().first().map(GlweCiphertext::shape);
        shape.map_or(0, |shape| answer_bytes(shape, self.ciphertexts().len(), u64::BITS) as usize)
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
    /// A request, the `bits` highest bits of each element. That an element has more is an error.
    pub fn request(&mut self, request: &Request, bits: u32) -> io::Result<()> {
        let (label, ciphertexts) = (request.label(), request.ciphertexts());
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

    /// An answer, the `bits` highest bits of each element. That an element has more is an error.
    pub fn answer(&mut self, answer: &Answer, bits: u32) -> io::Result<()> {
        let ciphertexts = answer.ciphertexts();
        let Some(first) = ciphertexts.first() else { return check(false, EMPTY) };
        self.label(answer.label())?;
        self.integers(sizes(ciphertexts.len(), first.shape()))?;
        self.integer(bits.into())?;
        self.glwe_elements(first.shape(), bits, ciphertexts.iter())
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
        Ok(Request::from_parts(label, ciphertexts))
    }

    /// An answer under keys `identity`, of `count` ciphertexts of shape `shape`, elements of `bits` bits. It says of itself which request it
    /// is to, which [`ClientKeys::decrypt`](crate::keys::ClientKeys::decrypt) compares.
    pub fn answer(
        &mut self,
        identity: Identity,
        shape: GlweShape,
        count: usize,
        bits: u32,
    ) -> Result<Answer, FormatError> {
        let label = self.label(identity)?;
        self.sizes(sizes(count, shape))?;
        self.bits(bits)?;
        Ok(Answer::new(&label, self.glwe_elements(shape, bits, count)?))
    }
}
