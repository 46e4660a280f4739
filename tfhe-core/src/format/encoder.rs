//! Writing contents.

use std::io::{self, ErrorKind, Write};

use super::elements::{CHUNK, is_possible, pack};
use crate::glwe::GlweCiphertext;
use crate::keys::{Identity, Label};
use crate::lwe::LweCiphertext;
use crate::params::{GlweShape, LweDimension};

/// Writes contents.
pub struct Encoder<'a> {
    pub(super) output: &'a mut dyn Write,
    /// Of the envelope.
    identity: &'a Identity,
}

impl std::fmt::Debug for Encoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encoder")
    }
}

/// That something cannot be written, and why.
pub(super) fn check(is_right: bool, otherwise: &'static str) -> io::Result<()> {
    if is_right { Ok(()) } else { Err(io::Error::new(ErrorKind::InvalidInput, otherwise)) }
}

pub(super) const SIZES: &str = "ciphertexts of one list are of different sizes";

/// Each of these writes one of what [`Decoder`](super::Decoder) reads. Errors are those of what is written to.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl<'a> Encoder<'a> {
    /// In the envelope of whoever has these keys.
    pub(super) fn new(output: &'a mut dyn Write, identity: &'a Identity) -> Self {
        Self { output, identity }
    }

    /// An integer.
    pub fn integer(&mut self, integer: u64) -> io::Result<()> {
        self.output.write_all(&integer.to_le_bytes())
    }

    /// Integers, whose number is known.
    pub(super) fn integers<const COUNT: usize>(&mut self, integers: [u64; COUNT]) -> io::Result<()> {
        integers.into_iter().try_for_each(|integer| self.integer(integer))
    }

    /// A real number.
    pub fn real(&mut self, real: f64) -> io::Result<()> {
        self.integer(real.to_bits())
    }

    /// 32 bytes.
    pub fn digest(&mut self, digest: &[u8; 32]) -> io::Result<()> {
        self.output.write_all(digest)
    }

    /// Any number of bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.integer(bytes.len() as u64)?;
        self.output.write_all(bytes)
    }

    /// GLWE ciphertexts of one shape. That one is of another is an error.
    pub fn glwes<'c>(
        &mut self,
        shape: GlweShape,
        mut ciphertexts: impl ExactSizeIterator<Item = &'c GlweCiphertext>,
    ) -> io::Result<()> {
        let (k, n) = (shape.dimension.get(), shape.polynomial_size.get());
        self.integers([ciphertexts.len(), k, n].map(|size| size as u64))?;
        ciphertexts.try_for_each(|ciphertext| {
            check(ciphertext.shape() == shape, SIZES)?;
            self.elements(ciphertext.data(), u64::BITS)
        })
    }

    /// LWE ciphertexts of one dimension. That one is of another is an error.
    pub fn lwes<'c>(
        &mut self,
        dimension: LweDimension,
        mut ciphertexts: impl ExactSizeIterator<Item = &'c LweCiphertext>,
    ) -> io::Result<()> {
        self.integers([ciphertexts.len(), dimension.get()].map(|size| size as u64))?;
        ciphertexts.try_for_each(|ciphertext| {
            check(ciphertext.dimension() == dimension.get(), SIZES)?;
            self.elements(ciphertext.data(), u64::BITS)
        })
    }

    /// The label of a request, whose keys are those of the envelope. That they are others is an error.
    pub fn label(&mut self, label: &Label) -> io::Result<()> {
        self.check_identity(label.identity())?;
        self.digest(label.context.as_bytes())?;
        self.digest(&label.request.0)
    }

    /// Checks that something belongs to the keys of the envelope.
    pub(super) fn check_identity(&self, identity: &Identity) -> io::Result<()> {
        check(identity == self.identity, "what is written belongs to other keys than its envelope says")
    }

    /// Torus elements, the `bits` highest bits of each, without gaps; the last byte is filled up with zeros. That one is no multiple of
    /// 2^(64 − `bits`), or that `bits` is not 1 to 64, is an error.
    pub fn elements(&mut self, elements: &[u64], bits: u32) -> io::Result<()> {
        check(is_possible(bits), "torus elements are written with 1 to 64 bits")?;
        let mut bytes = Vec::with_capacity(size_of::<u64>() * CHUNK);
        for chunk in elements.chunks(CHUNK) {
            bytes.clear();
            let packed = pack(chunk, bits, &mut bytes);
            check(packed.is_some(), "a torus element has more bits than are written: round it before")?;
            self.output.write_all(&bytes)?;
        }
        Ok(())
    }
}
