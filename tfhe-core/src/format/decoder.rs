//! Reading contents.

use std::io::Read;

use super::elements::{CHUNK, is_possible, packed_bytes, unpack};
use super::error::FormatError;
use crate::fingerprint::Fingerprint;
use crate::glwe::GlweCiphertext;
use crate::keys::{Identity, Label};
use crate::lwe::LweCiphertext;
use crate::params::{GlweShape, LweDimension};
use crate::random::PublicSeed;

/// Reads contents, one after the other, as [`Encoder`](super::Encoder) wrote them. How many there are of anything is known to the reader, or
/// limited by it.
pub struct Decoder<'a> {
    input: Box<dyn Read + 'a>,
    /// Bytes that were not read.
    left: u64,
}

impl std::fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decoder({} bytes left)", self.left)
    }
}

const ENDS: FormatError = FormatError::Contents("they end too early");
const SIZES: FormatError = FormatError::Contents("another number of ciphertexts, or another ring, than is expected");
const BITS: FormatError = FormatError::Contents("torus elements of another number of bits than is expected");

/// Errors are [`FormatError::Contents`], where nothing else is said.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl<'a> Decoder<'a> {
    /// Of the next `left` bytes of `input`.
    pub(super) fn new(input: impl Read + 'a, left: u64) -> Self {
        Self { input: Box::new(input), left }
    }

    /// An integer.
    pub fn integer(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number of things, of which there can be at most `limit`.
    pub fn count(&mut self, limit: usize) -> Result<usize, FormatError> {
        let count = usize::try_from(self.integer()?).ok().filter(|&count| count <= limit);
        count.ok_or(FormatError::Contents("a number is larger than is possible"))
    }

    /// A real number.
    pub fn real(&mut self) -> Result<f64, FormatError> {
        Ok(f64::from_bits(self.integer()?))
    }

    /// 32 bytes.
    pub fn digest(&mut self) -> Result<[u8; 32], FormatError> {
        self.array()
    }

    /// A fingerprint: a digest.
    pub fn fingerprint(&mut self) -> Result<Fingerprint, FormatError> {
        self.digest().map(Fingerprint::from_bytes)
    }

    /// At most `limit` bytes.
    pub fn bytes(&mut self, limit: usize) -> Result<Vec<u8>, FormatError> {
        let count = self.count(limit)?;
        self.check_left(count as u64)?;
        let mut bytes = vec![0; count];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// `count` GLWE ciphertexts of shape `shape`.
    pub fn glwes(&mut self, shape: GlweShape, count: usize) -> Result<Vec<GlweCiphertext>, FormatError> {
        self.sizes([count, shape.dimension.get(), shape.polynomial_size.get()].map(|size| size as u64))?;
        let made_of = |elements| GlweCiphertext::from_elements(shape, elements);
        self.list(count, shape.ciphertext_len(), u64::BITS, made_of)
    }

    /// `count` LWE ciphertexts of dimension `dimension`.
    pub fn lwes(&mut self, dimension: LweDimension, count: usize) -> Result<Vec<LweCiphertext>, FormatError> {
        self.sizes([count, dimension.get()].map(|size| size as u64))?;
        self.list(count, dimension.get() + 1, u64::BITS, LweCiphertext::from_data)
    }

    /// The label of a request with keys `identity`.
    pub fn label(&mut self, identity: Identity) -> Result<Label, FormatError> {
        let (context, request) = (self.fingerprint()?, PublicSeed(self.digest()?));
        Ok(Label { identity, context, request })
    }

    /// `count` torus elements of `bits` bits.
    pub fn elements(&mut self, count: usize, bits: u32) -> Result<Vec<u64>, FormatError> {
        if !is_possible(bits) {
            return Err(FormatError::Contents("torus elements have 1 to 64 bits"));
        }
        self.check_left(packed_bytes(count as u64, bits))?;
        let (mut elements, mut bytes) = (Vec::with_capacity(count), Vec::new());
        while elements.len() < count {
            let next = CHUNK.min(count - elements.len());
            bytes.resize(packed_bytes(next as u64, bits) as usize, 0);
            self.fill(&mut bytes)?;
            let unpacked = unpack(&bytes, next, bits, &mut elements);
            unpacked.ok_or(FormatError::Contents("torus elements are not followed by zeros to the end of a byte"))?;
        }
        Ok(elements)
    }

    /// That there is nothing more.
    pub fn finish(self) -> Result<(), FormatError> {
        if self.left == 0 { Ok(()) } else { Err(FormatError::Contents("there is more than there should be")) }
    }

    /// That the next integers are these sizes of ciphertexts.
    pub(super) fn sizes<const COUNT: usize>(&mut self, sizes: [u64; COUNT]) -> Result<(), FormatError> {
        if self.integers()? == sizes { Ok(()) } else { Err(SIZES) }
    }

    /// That the next integer is this number of bits.
    pub(super) fn bits(&mut self, bits: u32) -> Result<(), FormatError> {
        if self.integer()? == u64::from(bits) { Ok(()) } else { Err(BITS) }
    }

    /// Integers, whose number is known.
    pub(super) fn integers<const COUNT: usize>(&mut self) -> Result<[u64; COUNT], FormatError> {
        let mut integers = [0; COUNT];
        for integer in &mut integers {
            *integer = self.integer()?;
        }
        Ok(integers)
    }

    /// `count` things, each made of `len` elements. There is as much as they say.
    pub(super) fn list<T>(
        &mut self,
        count: usize,
        len: usize,
        bits: u32,
        made_of: impl Fn(Vec<u64>) -> T,
    ) -> Result<Vec<T>, FormatError> {
        self.check_left(packed_bytes(len as u64, bits).saturating_mul(count as u64))?;
        (0..count).map(|_| Ok(made_of(self.elements(len, bits)?))).collect()
    }

    /// That there are so many bytes: known before memory is taken for them.
    pub(super) fn check_left(&self, count: u64) -> Result<(), FormatError> {
        if count <= self.left { Ok(()) } else { Err(ENDS) }
    }

    pub(super) fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], FormatError> {
        let mut array = [0; COUNT];
        self.fill(&mut array)?;
        Ok(array)
    }

    /// Fills `bytes` with the next ones.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) -> Result<(), FormatError> {
        self.check_left(bytes.len() as u64)?;
        self.left -= bytes.len() as u64;
        Ok(self.input.read_exact(bytes)?)
    }
}
