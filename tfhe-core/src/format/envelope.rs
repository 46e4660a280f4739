//! Writing and reading envelopes.

use std::io::{self, ErrorKind, Read, Write};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::decoder::Decoder;
use super::encoder::Encoder;
use super::error::FormatError;
use super::header::{CHECKSUM_BYTES, ENVELOPE_BYTES, HEADER_BYTES, Header, Kind, MAGIC, VERSION};
use crate::keys::{Identity, KeyId};

/// Bytes that are hashed and passed on at a time.
const BUFFER: usize = 1 << 16;

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
    contents(&mut Encoder::new(&mut counted, &header.identity))?;
    let mut hashed = Hashed { output, hash: Sha256::new(), bytes: Zeroizing::new(Vec::with_capacity(BUFFER)) };
    hashed.write_all(&MAGIC)?;
    hashed.write_all(&VERSION.to_le_bytes())?;
    hashed.write_all(&header.kind.0)?;
    hashed.write_all(header.identity.set.as_bytes())?;
    hashed.write_all(header.identity.keys.as_bytes())?;
    hashed.write_all(header.context.as_bytes())?;
    hashed.write_all(&counted.0.to_le_bytes())?;
    contents(&mut Encoder::new(&mut hashed, &header.identity))?;
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

/// Reads an envelope that has `available` bytes, as the system or whoever sends it says, and contents of at most `limit`, and hands the
/// contents to `decode`. That is called before the checksum is known to be right, but what it returns is handed on only if that is so, and
/// if all contents were read: else what is wrong with the envelope is said. So contents are decoded as they come, and nobody keeps their
/// bytes: memory is what `decode` takes and 64 KiB.
///
/// All bytes are read, whatever is wrong with the contents: who sends them finishes before he is told.
///
/// # Errors
/// [`FormatError`].
pub fn decode<T>(
    input: &mut dyn Read,
    available: u64,
    limit: u64,
    decode: impl FnOnce(&Header, &mut Decoder<'_>) -> Result<T, FormatError>,
) -> Result<T, FormatError> {
    let mut opened = Opened::new(input, available, limit)?;
    let (header, length) = (opened.header, opened.left);
    let decoded = {
        let mut decoder = Decoder::new(&mut opened, length);
        decode(&header, &mut decoder).and_then(|decoded| decoder.finish().map(|()| decoded))
    };
    opened.finish()?;
    decoded
}

/// Reads an envelope as [`decode`] does, and keeps the bytes of the contents. Memory is taken for them once their length is known to be
/// possible and as the envelope says.
///
/// # Errors
/// [`FormatError`], but for those of the contents.
pub fn read(input: &mut dyn Read, available: u64, limit: u64) -> Result<Document, FormatError> {
    let mut opened = Opened::new(input, available, limit)?;
    let (header, length) = (opened.header, opened.left);
    let length = usize::try_from(length).map_err(|_| FormatError::Length { length, limit: usize::MAX as u64 })?;
    let mut contents = Zeroizing::new(Vec::new());
    contents.try_reserve_exact(length).map_err(io::Error::other)?;
    contents.resize(length, 0);
    // Where there are fewer bytes, `finish` says so.
    let read = opened.read_exact(&mut contents);
    opened.finish()?;
    read?;
    Ok(Document { header, contents })
}

/// The header of an envelope, of which nothing else is looked at: of what was read as a whole before, or will be.
///
/// # Errors
/// [`FormatError::Foreign`], [`FormatError::Version`], [`FormatError::Truncated`], [`FormatError::Io`].
pub fn header(input: &mut dyn Read) -> Result<Header, FormatError> {
    Ok(begin(input)?.1)
}

/// The first bytes of an envelope, its header, and the length of its contents.
fn begin(input: &mut dyn Read) -> Result<([u8; HEADER_BYTES], Header, u64), FormatError> {
    let mut bytes = [0; HEADER_BYTES];
    let read = fill(input, &mut bytes)?;
    let begins = read.min(MAGIC.len());
    if bytes[..begins] != MAGIC[..begins] {
        return Err(FormatError::Foreign);
    }
    if read < HEADER_BYTES {
        return Err(FormatError::Truncated { expected: ENVELOPE_BYTES, found: read as u64 });
    }
    let (version, header, length) = parse(&bytes[MAGIC.len()..])?;
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    Ok((bytes, header, length))
}

/// An envelope whose header was read, and is possible.
struct Opened<'a> {
    input: &'a mut dyn Read,
    header: Header,
    hash: Sha256,
    /// Contents that were read and hashed: they may be secret.
    buffer: Zeroizing<Vec<u8>>,
    /// How many of them were handed on.
    used: usize,
    /// Contents that were not read.
    left: u64,
    /// All bytes.
    expected: u64,
    /// Why no more can be read: what was lost with it would be taken for damage.
    failed: Option<ErrorKind>,
}

impl<'a> Opened<'a> {
    fn new(input: &'a mut dyn Read, available: u64, limit: u64) -> Result<Self, FormatError> {
        let (bytes, header, length) = begin(input)?;
        let limit = limit.min(u64::MAX - ENVELOPE_BYTES);
        if length > limit {
            return Err(FormatError::Length { length, limit });
        }
        let expected = length + ENVELOPE_BYTES;
        if available < expected {
            return Err(FormatError::Truncated { expected, found: available });
        }
        if available > expected {
            return Err(FormatError::Trailing { expected, found: available });
        }
        let hash = Sha256::new().chain_update(bytes);
        Ok(Self { input, header, hash, buffer: Zeroizing::default(), used: 0, left: length, expected, failed: None })
    }

    /// Reads the next of the contents.
    fn next(&mut self) -> io::Result<()> {
        if let Some(kind) = self.failed {
            return Err(kind.into());
        }
        let next = self.left.min(BUFFER as u64) as usize;
        self.buffer.resize(next, 0);
        self.used = 0;
        let read = fill(self.input, &mut self.buffer);
        self.buffer.truncate(*read.as_ref().unwrap_or(&0));
        let read = read.inspect_err(|error| self.failed = Some(error.kind()))?;
        self.hash.update(&*self.buffer);
        self.left -= read as u64;
        if read < next { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Reads what is left, and checks the checksum.
    fn finish(mut self) -> Result<(), FormatError> {
        let (mut checksum, mut read) = ([0; CHECKSUM_BYTES], 0);
        loop {
            match self.next() {
                Ok(()) if self.left > 0 => {}
                Ok(()) => {
                    read = fill(self.input, &mut checksum)?;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error.into()),
            }
        }
        if read < CHECKSUM_BYTES {
            // It has become shorter since its length was asked for, or whoever sends it has stopped.
            let found = self.expected - self.left - (CHECKSUM_BYTES - read) as u64;
            return Err(FormatError::Truncated { expected: self.expected, found });
        }
        if self.hash.finalize()[..] == checksum { Ok(()) } else { Err(FormatError::Checksum) }
    }
}

/// Its contents.
impl Read for Opened<'_> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        if self.used == self.buffer.len() && self.left > 0 {
            self.next()?;
        }
        let read = (&self.buffer[self.used..]).read(output)?;
        self.used += read;
        Ok(read)
    }
}

/// Reads as many bytes as `bytes` has, or as there are: their number.
fn fill(input: &mut dyn Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match input.read(&mut bytes[read..]) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// The version, the header, and the length of the contents, from the bytes after [`MAGIC`].
fn parse(bytes: &[u8]) -> Result<(u32, Header, u64), FormatError> {
    let mut fields = Decoder::new(bytes, bytes.len() as u64);
    let (version, kind) = (u32::from_le_bytes(fields.array()?), Kind(fields.array()?));
    let identity = Identity { set: fields.fingerprint()?, keys: KeyId(fields.digest()?) };
    let header = Header { kind, identity, context: fields.fingerprint()? };
    Ok((version, header, fields.integer()?))
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
        self.header.check(expected)?;
        Ok(self.decoder())
    }

    /// The contents, if they are of this kind, whatever they belong to.
    ///
    /// # Errors
    /// [`FormatError::Kind`].
    pub fn open_of(&self, expected: Kind) -> Result<Decoder<'_>, FormatError> {
        self.header.check_kind(expected)?;
        Ok(self.decoder())
    }

    fn decoder(&self) -> Decoder<'_> {
        Decoder::new(&self.contents[..], self.contents.len() as u64)
    }
}
