//! Ciphertexts as bytes: one envelope for every file, and lists of ciphertexts in it.
//!
//! All numbers are little-endian; there is no padding. An envelope is
//!
//! | bytes | what |
//! |---|---|
//! | 8 | [`MAGIC`] |
//! | 4 | [`VERSION`] |
//! | 8 | the [`Kind`] of contents, in ASCII |
//! | 32 | fingerprint of the parameter set |
//! | 32 | name of the keys ([`KeyId`]) |
//! | 32 | fingerprint of whatever else the contents belong to |
//! | 8 | L, the length of the contents |
//! | L | the contents |
//! | 32 | SHA-256 of all bytes before |
//!
//! and contents are what [`Encoder`] writes, one after the other, without names: a kind says what they are.
//!
//! | what | bytes |
//! |---|---|
//! | integer, real number | 8: integers are unsigned, reals are IEEE 754 |
//! | digest | 32 |
//! | bytes, text in UTF-8 | 8 for their number, then they |
//! | list of GLWE ciphertexts | 8 each for their number, k and N; then of each (k+1)·N torus elements, masks first |
//! | list of LWE ciphertexts | 8 each for their number and n; then of each n+1 torus elements, the mask first |
//! | label of a request | 32 for the encoding's fingerprint, 32 for the masks' seed: the keys are the envelope's |
//!
//! Torus elements are integers in units of 2^-64. Nothing depends on the processor: what is kept in the Fourier domain, whose order is that of
//! a [backend](crate::simd::Backend), is stored as the ciphertexts that it was made of.
//!
//! # What is refused
//! [`read`] checks the envelope, its length before it takes memory for the contents, and then the checksum; [`Document::open`] that the contents
//! are what is asked for. A checksum tells of damage. It is no signature: whoever can write a file can write its checksum, so every length and
//! count in the contents is compared with what the reader expects ([`Decoder`]) before anything of its size is made.
//!
//! # Examples
//! ```
//! use tfhe_core::derivation::ClientSeed;
//! use tfhe_core::fingerprint::Fields;
//! use tfhe_core::format::{self, FormatError, Header, Kind};
//! use tfhe_core::keys::ClientKeys;
//! use tfhe_core::sets;
//! use zeroize::Zeroizing;
//!
//! let set = sets::TOY.compile()?;
//! let client = ClientKeys::generate(&set, &ClientSeed::from_system()?)?;
//! let shape = set.arithmetic().shape;
//! let context = Fields::new("one polynomial").fingerprint();
//! let request = client.encrypt(&[Zeroizing::new(vec![0; shape.polynomial_size.get()])], &context)?;
//! let ciphertexts: Vec<_> = request.ciphertexts().iter().map(|ciphertext| ciphertext.expand()).collect();
//!
//! let header = Header { kind: Kind(*b"example "), identity: *client.identity(), context };
//! let mut bytes = Vec::new();
//! format::write(&mut bytes, &header, |encoder| encoder.glwes(shape, ciphertexts.iter()))?;
//!
//! let document = format::read(&mut &bytes[..], bytes.len() as u64, 1 << 20)?;
//! let mut decoder = document.open(&header)?;
//! assert_eq!(decoder.glwes(shape, 1)?, ciphertexts);
//! decoder.finish()?;
//!
//! // A flipped bit.
//! bytes[200] ^= 1;
//! let damaged = format::read(&mut &bytes[..], bytes.len() as u64, 1 << 20);
//! assert!(matches!(damaged, Err(FormatError::Checksum)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{self, ErrorKind, Read, Write};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::fingerprint::Fingerprint;
use crate::glwe::GlweCiphertext;
use crate::keys::{Identity, KeyId, Label};
use crate::lwe::LweCiphertext;
use crate::params::{GlweShape, LweDimension};
use crate::random::PublicSeed;

/// What every envelope begins with.
pub const MAGIC: [u8; 8] = *b"TFHECORE";
/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;
/// Bytes before the contents.
pub const HEADER_BYTES: usize = 124;
/// Bytes after them.
pub const CHECKSUM_BYTES: usize = 32;

/// What contents are: eight characters of ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub [u8; 8]);

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii().to_string().trim_end())
    }
}

/// What contents are, and what they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What they are.
    pub kind: Kind,
    /// Whose, and of which parameter set.
    pub identity: Identity,
    /// Whatever else they belong to: a program, how plaintexts are encoded.
    pub context: Fingerprint,
}

/// Why bytes were refused.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// They cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// They begin otherwise.
    #[error("it is no file of this program, or its first bytes are damaged")]
    Foreign,
    /// Another version of the format.
    #[error("it is of version {0} of the format, and only version {VERSION} is read: use the program that wrote it")]
    Version(u32),
    /// There are fewer bytes than the header says.
    #[error("it was cut off: it has {found} bytes of {expected}")]
    Truncated {
        /// As many as there should be.
        expected: u64,
        /// As many as there are.
        found: u64,
    },
    /// There are more.
    #[error("it has {found} bytes, and should have {expected}: something was appended to it, or it is damaged")]
    Trailing {
        /// As many as there should be.
        expected: u64,
        /// As many as there are.
        found: u64,
    },
    /// Its length is beyond what contents of that kind can have.
    #[error("it says that its contents have {length} bytes, and {limit} are possible: it is damaged")]
    Length {
        /// What it says.
        length: u64,
        /// The most that is possible.
        limit: u64,
    },
    /// Some of it was changed.
    #[error("its checksum is wrong: it is damaged")]
    Checksum,
    /// Contents of another kind.
    #[error("it holds {found}, and {expected} is needed")]
    Kind {
        /// What was asked for.
        expected: Kind,
        /// What it is.
        found: Kind,
    },
    /// It belongs to something else.
    #[error("it belongs to {0}")]
    Other(&'static str),
    /// The contents are not what their kind says.
    #[error("its contents are not as they should be: {0}")]
    Contents(&'static str),
}

/// Writes an envelope. `contents` writes what is in it, and is called twice: the first time, its bytes are counted.
///
/// # Errors
/// Those of `output` and `contents`.
pub fn write(
    output: &mut dyn Write,
    header: &Header,
    contents: impl Fn(&mut Encoder<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut counted = Counted(0);
    contents(&mut Encoder { output: &mut counted })?;
    let mut hashed = Hashed { output, hash: Sha256::new(), bytes: Zeroizing::new(Vec::with_capacity(BUFFER)) };
    hashed.write_all(&MAGIC)?;
    hashed.write_all(&VERSION.to_le_bytes())?;
    hashed.write_all(&header.kind.0)?;
    hashed.write_all(header.identity.set.as_bytes())?;
    hashed.write_all(header.identity.keys.as_bytes())?;
    hashed.write_all(header.context.as_bytes())?;
    hashed.write_all(&counted.0.to_le_bytes())?;
    contents(&mut Encoder { output: &mut hashed })?;
    hashed.pass_on()?;
    let Hashed { output, hash, .. } = hashed;
    output.write_all(&hash.finalize())
}

/// Counts bytes.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that are hashed and passed on at a time.
const BUFFER: usize = 1 << 16;

/// Hashes bytes, and passes them on, many at a time. They may be secret.
struct Hashed<'a> {
    output: &'a mut dyn Write,
    hash: Sha256,
    bytes: Zeroizing<Vec<u8>>,
}

impl Hashed<'_> {
    fn pass_on(&mut self) -> io::Result<()> {
        self.hash.update(&*self.bytes);
        self.output.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BUFFER - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..taken]);
        if self.bytes.len() == BUFFER {
            self.pass_on()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()
    }
}

/// Writes contents.
pub struct Encoder<'a> {
    output: &'a mut dyn Write,
}

impl std::fmt::Debug for Encoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encoder")
    }
}

/// Each of these writes one of what [`Decoder`] reads. Errors are those of what is written to.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl Encoder<'_> {
    /// An integer.
    pub fn integer(&mut self, integer: u64) -> io::Result<()> {
        self.output.write_all(&integer.to_le_bytes())
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
        ciphertexts: impl ExactSizeIterator<Item = &'c GlweCiphertext>,
    ) -> io::Result<()> {
        let sizes = [ciphertexts.len(), shape.dimension.get(), shape.polynomial_size.get()];
        sizes.iter().try_for_each(|&size| self.integer(size as u64))?;
        for ciphertext in ciphertexts {
            check_alike(ciphertext.shape() == shape)?;
            self.elements(ciphertext.data())?;
        }
        Ok(())
    }

    /// LWE ciphertexts of one dimension. That one is of another is an error.
    pub fn lwes<'c>(
        &mut self,
        dimension: LweDimension,
        ciphertexts: impl ExactSizeIterator<Item = &'c LweCiphertext>,
    ) -> io::Result<()> {
        [ciphertexts.len(), dimension.get()].iter().try_for_each(|&size| self.integer(size as u64))?;
        for ciphertext in ciphertexts {
            check_alike(ciphertext.dimension() == dimension.get())?;
            self.elements(ciphertext.data())?;
        }
        Ok(())
    }

    /// The label of a request, whose keys are those of the envelope.
    pub fn label(&mut self, label: &Label) -> io::Result<()> {
        self.digest(label.context.as_bytes())?;
        self.digest(&label.request.0)
    }

    fn elements(&mut self, elements: &[u64]) -> io::Result<()> {
        /// So many elements at a time.
        const CHUNK: usize = 1024;
        let mut bytes = [0; 8 * CHUNK];
        for chunk in elements.chunks(CHUNK) {
            bytes.as_chunks_mut().0.iter_mut().zip(chunk).for_each(|(bytes, element)| *bytes = element.to_le_bytes());
            self.output.write_all(&bytes[..8 * chunk.len()])?;
        }
        Ok(())
    }
}

/// An envelope whose checksum is right. Its contents are overwritten when it is dropped.
pub struct Document {
    header: Header,
    contents: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document").field("header", &self.header).field("bytes", &self.contents.len()).finish()
    }
}

fn check_alike(alike: bool) -> io::Result<()> {
    let other = || io::Error::new(ErrorKind::InvalidInput, "ciphertexts of one list are of different sizes");
    alike.then_some(()).ok_or_else(other)
}

/// Reads an envelope that has `available` bytes, as the system says, and contents of at most `limit`. Memory is taken for the contents
/// once both are known to be as the envelope says.
///
/// # Errors
/// [`FormatError`], but for the last three.
pub fn read(input: &mut dyn Read, available: u64, limit: u64) -> Result<Document, FormatError> {
    let cut_off = |expected: u64| FormatError::Truncated { expected, found: available };
    let bytes = exactly(input, HEADER_BYTES)?;
    let begins = bytes.len().min(MAGIC.len());
    if bytes[..begins] != MAGIC[..begins] {
        return Err(FormatError::Foreign);
    }
    let mut fields = Decoder { rest: &bytes };
    let parsed = fields.header();
    let Ok((version, header, length)) = parsed else {
        return Err(cut_off((HEADER_BYTES + CHECKSUM_BYTES) as u64));
    };
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    if length > limit {
        return Err(FormatError::Length { length, limit });
    }
    let expected = (length.saturating_add((HEADER_BYTES + CHECKSUM_BYTES) as u64), available);
    match expected {
        (expected, found) if found < expected => return Err(cut_off(expected)),
        (expected, found) if found > expected => return Err(FormatError::Trailing { expected, found }),
        _ => {}
    }
    let length = usize::try_from(length).map_err(|_| FormatError::Length { length, limit: usize::MAX as u64 })?;
    let contents = exactly(input, length)?;
    let checksum = exactly(input, CHECKSUM_BYTES)?;
    if contents.len() < length || checksum.len() < CHECKSUM_BYTES {
        // It has become shorter since its length was asked for.
        let found = bytes.len() + contents.len() + checksum.len();
        return Err(FormatError::Truncated { expected: expected.0, found: found as u64 });
    }
    let hash = Sha256::new().chain_update(&*bytes).chain_update(&*contents).finalize();
    if hash[..] != checksum[..] {
        return Err(FormatError::Checksum);
    }
    Ok(Document { header, contents })
}

/// So many bytes, or those that there are.
fn exactly(input: &mut dyn Read, count: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    bytes.try_reserve_exact(count).map_err(io::Error::other)?;
    input.take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Document {
    /// What the contents are and belong to, as they say themselves.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The contents, if they are what is asked for.
    ///
    /// # Errors
    /// [`FormatError::Kind`], [`FormatError::Other`].
    pub fn open(&self, expected: &Header) -> Result<Decoder<'_>, FormatError> {
        let (found, identity) = (&self.header, &expected.identity);
        let decoder = self.open_of(expected.kind)?;
        if found.identity.set != identity.set {
            return Err(FormatError::Other("another parameter set"));
        }
        if found.identity.keys != identity.keys {
            return Err(FormatError::Other("other keys"));
        }
        if found.context != expected.context {
            return Err(FormatError::Other("other work, or another part of it"));
        }
        Ok(decoder)
    }

    /// The contents, if they are of this kind, whatever they belong to.
    ///
    /// # Errors
    /// [`FormatError::Kind`].
    pub fn open_of(&self, expected: Kind) -> Result<Decoder<'_>, FormatError> {
        let found = self.header.kind;
        if found == expected {
            Ok(Decoder { rest: &self.contents })
        } else {
            Err(FormatError::Kind { expected, found })
        }
    }
}

/// Reads contents, one after the other, as [`Encoder`] wrote them. How many there are of anything is known to the reader, or limited by it.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

const ENDS: FormatError = FormatError::Contents("they end too early");

/// Errors are [`FormatError::Contents`].
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
impl<'a> Decoder<'a> {
    /// An integer.
    pub fn integer(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(*self.array()?))
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
        self.array().copied()
    }

    /// A fingerprint: a digest.
    pub fn fingerprint(&mut self) -> Result<Fingerprint, FormatError> {
        self.digest().map(Fingerprint::from_bytes)
    }

    /// At most `limit` bytes.
    pub fn bytes(&mut self, limit: usize) -> Result<&'a [u8], FormatError> {
        let count = self.count(limit)?;
        self.take(count)
    }

    /// `count` GLWE ciphertexts of shape `shape`.
    pub fn glwes(&mut self, shape: GlweShape, count: usize) -> Result<Vec<GlweCiphertext>, FormatError> {
        let elements =
            self.list(&[count, shape.dimension.get(), shape.polynomial_size.get()], shape.ciphertext_len())?;
        let ciphertext = |elements: &[u64]| {
            let mut ciphertext = GlweCiphertext::zero(shape);
            ciphertext.data_mut().copy_from_slice(elements);
            ciphertext
        };
        Ok(elements.map(|elements| ciphertext(&elements)).collect())
    }

    /// `count` LWE ciphertexts of dimension `dimension`.
    pub fn lwes(&mut self, dimension: LweDimension, count: usize) -> Result<Vec<LweCiphertext>, FormatError> {
        let elements = self.list(&[count, dimension.get()], dimension.get() + 1)?;
        Ok(elements.map(LweCiphertext::from_data).collect())
    }

    /// The label of a request with keys `identity`.
    pub fn label(&mut self, identity: Identity) -> Result<Label, FormatError> {
        let (context, request) = (Fingerprint::from_bytes(self.digest()?), PublicSeed(self.digest()?));
        Ok(Label { identity, context, request })
    }

    /// That there is nothing more.
    pub fn finish(self) -> Result<(), FormatError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FormatError::Contents("there is more than there should be")) }
    }

    fn header(&mut self) -> Result<(u32, Header, u64), FormatError> {
        self.take(MAGIC.len())?;
        let (version, kind) = (u32::from_le_bytes(*self.array()?), Kind(*self.array()?));
        let set = Fingerprint::from_bytes(self.digest()?);
        let identity = Identity { set, keys: KeyId(self.digest()?) };
        let context = Fingerprint::from_bytes(self.digest()?);
        Ok((version, Header { kind, identity, context }, self.integer()?))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ENDS)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const COUNT: usize>(&mut self) -> Result<&'a [u8; COUNT], FormatError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(ENDS)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The elements of each of a list of ciphertexts, whose sizes have to be `sizes`; there is as much as they say.
    fn list(
        &mut self,
        sizes: &[usize],
        elements: usize,
    ) -> Result<impl ExactSizeIterator<Item = Vec<u64>> + use<'a>, FormatError> {
        for &size in sizes {
            if self.integer()? != size as u64 {
                return Err(FormatError::Contents("another number of ciphertexts, or another ring, than is expected"));
            }
        }
        let bytes = elements.checked_mul(size_of::<u64>()).and_then(|bytes| bytes.checked_mul(sizes[0])).ok_or(ENDS)?;
        let bytes = self.take(bytes)?;
        let words = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|&bytes| u64::from_le_bytes(bytes)).collect();
        Ok(bytes.chunks_exact(size_of::<u64>() * elements).map(words))
    }
}

#[cfg(test)]
mod tests;
