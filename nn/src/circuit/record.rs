//! Quantized attention as a file: what a server and a client have to agree on, made once by calibration.
//!
//! A file is in the safetensors format and holds the server's half (weights, tables, ranges), the client's half
//! (scales), or both; either circuit's. Its tensors are named `server.…` and `client.…`; the metadata
//! `quantized_attention` is a JSON object: the [version](VERSION) of the format, the [`Origin`], SHA-256 of both
//! halves, also of one that the file does not hold, and the [`AttentionFingerprint`] of all of this. Two files with one
//! fingerprint are of one calibration.
//!
//! What is loaded equals what was saved, bit by bit. A file that is damaged, of another version, or not what
//! calibration can give is an error: every number that engines rely on is checked. The fingerprint is not a
//! signature: it shows who compares it that nothing was changed, not who made the file.
//!
//! ```
//! use nn::attention::{AttentionWeights, Linear, Part};
//! use nn::matrix::Matrix;
//! use nn::packed::{PackedAttention, PackedOptions};
//! use nn::record::{Options, Origin, Quantized, QuantizedFile};
//!
//! let weight = Matrix::from_fn(8, 24, |row, col| ((7 * row + 5 * col) as f32).sin());
//! let weights = AttentionWeights::new(Linear::new(weight, vec![0.1; 24])?, 2)?;
//! let hidden = [Matrix::from_fn(3, 8, |row, col| ((3 * row + 2 * col) as f32).cos())];
//! let (part, options) = (Part::Head(1), PackedOptions::new(5));
//! let head = PackedAttention::calibrate(&weights, part, &hidden, &options)?;
//!
//! let origin = Origin { layer: 0, part, options: Options::Packed(options) };
//! let file = QuantizedFile::new(Quantized::Packed(Box::new(head.clone())), origin)?;
//! let server = QuantizedFile::from_bytes("the server's file", file.server_half().to_bytes()?)?;
//! let client = QuantizedFile::from_bytes("the client's file", file.client_half().to_bytes()?)?;
//! assert_eq!(server.fingerprint(), client.fingerprint());
//! assert_eq!(server.join(client)?.into_attention()?, Quantized::Packed(Box::new(head)));
//! # Ok::<(), nn::Error>(())
//! ```

use crate::attention::Part;
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::integer::{IntegerAttention, IntegerClient, IntegerOptions, IntegerProgram, RangeReport};
use crate::named::Record;
use crate::packed::{PackedAttention, PackedClient, PackedOptions, PackedProgram};
use crate::tensor::RawTensor;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::{Debug, Display, Formatter};
use std::path::Path;

/// The version of the format that is written, and the only one that is read.
pub const VERSION: u32 = 1;
/// The key of the metadata.
const KEY: &str = "quantized_attention";
/// The prefixes of the tensors of the server's and of the client's half.
const PREFIXES: [&str; 2] = ["server.", "client."];
/// The most entries that the tensors of a file may have: far more than any GPT-2's attention.
const MAX_ENTRIES: usize = 1 << 30;

/// How an attention was quantized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "circuit", rename_all = "snake_case")]
pub enum Options {
    /// For the exact circuit.
    Exact(IntegerOptions),
    /// For the packed circuit.
    Packed(PackedOptions),
}

/// What an attention was quantized from, and how.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The layer of the model, from 0.
    pub layer: usize,
    /// The part of the layer's attention.
    pub part: Part,
    /// The options of the calibration.
    pub options: Options,
}

/// SHA-256 of a quantized attention and its origin: the same for files that belong together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttentionFingerprint([u8; 32]);

/// A quantized part of a layer's attention, both halves.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantized {
    /// For the exact circuit.
    Exact(Box<IntegerAttention>),
    /// For the packed circuit.
    Packed(Box<PackedAttention>),
}

/// What a server needs.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerHalf {
    /// For the exact circuit, with the bit-width analysis of calibration.
    Exact(Box<IntegerProgram>, Vec<RangeReport>),
    /// For the packed circuit.
    Packed(Box<PackedProgram>),
}

/// What a client needs.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientHalf {
    /// For the exact circuit.
    Exact(IntegerClient),
    /// For the packed circuit.
    Packed(PackedClient),
}

/// The contents of a file: one half, or both.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedFile {
    origin: Origin,
    server: Option<ServerHalf>,
    client: Option<ClientHalf>,
    /// Of the tensors of the server's and of the client's half.
    digests: [AttentionFingerprint; 2],
}

/// The metadata.
#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    origin: Origin,
    server: AttentionFingerprint,
    client: AttentionFingerprint,
    fingerprint: AttentionFingerprint,
}

/// What of the metadata every version has.
#[derive(Deserialize)]
struct AnyHeader {
    version: u32,
}

impl Options {
    /// Bits of the input's integers.
    pub fn bits(&self) -> u32 {
        match self {
            Self::Exact(options) => options.bits,
            Self::Packed(options) => options.input_bits,
        }
    }

    /// The largest integer of an input, if there is such a number of bits.
    fn levels(&self) -> Option<i32> {
        let allowed = match self {
            Self::Exact(_) => IntegerOptions::BITS,
            Self::Packed(_) => PackedOptions::BITS,
        };
        allowed.contains(&self.bits()).then(|| (1 << (self.bits() - 1)) - 1)
    }
}

impl Display for AttentionFingerprint {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl Debug for AttentionFingerprint {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(self, formatter)
    }
}

impl From<AttentionFingerprint> for String {
    fn from(fingerprint: AttentionFingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl TryFrom<String> for AttentionFingerprint {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let pairs = text.as_bytes().as_chunks().0;
        let bytes: Option<Vec<u8>> = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
        bytes
            .filter(|_| text.len() == 64)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| Error::out_of_range("a fingerprint", format!("{text:?}"), "64 hexadecimal digits"))
    }
}

impl AttentionFingerprint {
    fn of(origin: &Origin, [server, client]: &[Self; 2]) -> Self {
        let origin = serde_json::to_vec(origin).expect("numbers and names become JSON");
        let mut hash = Sha256::new();
        hash.update(VERSION.to_le_bytes());
        hash.update(server.0);
        hash.update(client.0);
        hash.update(origin);
        Self(hash.finalize().into())
    }
}

impl ServerHalf {
    fn to_record(&self) -> Record {
        match self {
            Self::Exact(program, ranges) => {
                let mut record = program.to_record();
                RangeReport::set(&mut record, ranges);
                record
            }
            Self::Packed(program) => program.to_record(),
        }
    }

    fn from_record(record: &Record, origin: &Origin) -> Result<Self, Error> {
        Ok(match origin.options {
            Options::Exact(_) => {
                Self::Exact(Box::new(IntegerProgram::from_record(record)?), RangeReport::all_from(record)?)
            }
            Options::Packed(_) => Self::Packed(Box::new(PackedProgram::from_record(record)?)),
        })
    }

    /// E, d, O and the number of heads.
    fn sizes(&self) -> (usize, usize, usize, usize) {
        match self {
            Self::Exact(program, _) => {
                (program.embedding_size(), program.head_size(), program.output_size(), program.heads())
            }
            Self::Packed(program) => {
                (program.embedding_size(), program.head_size(), program.output_size(), program.heads().len())
            }
        }
    }

    /// Checks that this is what the origin says.
    fn check(&self, origin: &Origin) -> Result<(), Error> {
        let levels = match self {
            Self::Exact(program, _) => (1 << (program.input_bits() - 1)) - 1,
            Self::Packed(program) => program.input_levels(),
        };
        check_levels(levels, origin)?;
        let (embedding, size, outputs, heads) = self.sizes();
        let combined = matches!(self, Self::Exact(program, _) if program.is_whole());
        let fits = match origin.part {
            Part::Head(_) => heads == 1 && outputs == size && !combined,
            Part::Whole => {
                let has_output = combined || matches!(self, Self::Packed(_));
                outputs == embedding && heads.checked_mul(size) == Some(embedding) && has_output
            }
        };
        if fits {
            return Ok(());
        }
        let expected = format!("that of the part {:?}", origin.part);
        Err(Error::shape(
            "the quantized attention, [n_embd, head, outputs, heads],",
            expected,
            &[embedding, size, outputs, heads],
        ))
    }
}

impl ClientHalf {
    fn to_record(&self) -> Record {
        match self {
            Self::Exact(client) => client.to_record(),
            Self::Packed(client) => client.to_record(),
        }
    }

    fn from_record(record: &Record, origin: &Origin) -> Result<Self, Error> {
        Ok(match origin.options {
            Options::Exact(_) => Self::Exact(IntegerClient::from_record(record)?),
            Options::Packed(_) => Self::Packed(PackedClient::from_record(record)?),
        })
    }

    fn check(&self, origin: &Origin) -> Result<(), Error> {
        match self {
            Self::Exact(client) => check_levels(client.input().levels(), origin),
            Self::Packed(client) => check_levels(client.levels(), origin),
        }
    }
}

fn check_levels(levels: i32, origin: &Origin) -> Result<(), Error> {
    if origin.options.levels() == Some(levels) {
        return Ok(());
    }
    let allowed = format!("that of {} bits, as its origin says", origin.options.bits());
    Err(Error::out_of_range("the largest integer of an input", levels, allowed))
}

impl QuantizedFile {
    /// Both halves of an attention that was quantized as `origin` says.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] or [`Error::Shape`] if it was not.
    pub fn new(attention: Quantized, origin: Origin) -> Result<Self, Error> {
        let same_circuit = matches!(
            (&attention, &origin.options),
            (Quantized::Exact(_), Options::Exact(_)) | (Quantized::Packed(_), Options::Packed(_))
        );
        if !same_circuit {
            return Err(Error::out_of_range("the origin", "of another circuit", "of that of the attention"));
        }
        let (server, client) = match attention {
            Quantized::Exact(head) => {
                let program = Box::new(head.program().clone());
                (ServerHalf::Exact(program, head.ranges().to_vec()), ClientHalf::Exact(*head.client()))
            }
            Quantized::Packed(attention) => {
                let program = Box::new(attention.program().clone());
                (ServerHalf::Packed(program), ClientHalf::Packed(attention.client().clone()))
            }
        };
        server.check(&origin)?;
        client.check(&origin)?;
        let digests = [server.to_record(), client.to_record()].map(|record| AttentionFingerprint(record.digest()));
        Ok(Self { origin, server: Some(server), client: Some(client), digests })
    }

    /// What it was made from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What files that belong together have in common.
    pub fn fingerprint(&self) -> AttentionFingerprint {
        AttentionFingerprint::of(&self.origin, &self.digests)
    }

    /// What a server needs, if it is there.
    pub fn server(&self) -> Option<&ServerHalf> {
        self.server.as_ref()
    }

    /// What a client needs, if it is there.
    pub fn client(&self) -> Option<&ClientHalf> {
        self.client.as_ref()
    }

    /// This without the client's half: no scale of the client is in it.
    pub fn server_half(&self) -> Self {
        Self { client: None, ..self.clone() }
    }

    /// This without the server's half: no weight is in it, and it is small.
    pub fn client_half(&self) -> Self {
        let Self { origin, client, digests, .. } = self;
        Self { origin: *origin, server: None, client: client.clone(), digests: *digests }
    }

    /// The halves of both.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if they have different fingerprints.
    pub fn join(self, other: Self) -> Result<Self, Error> {
        if self.fingerprint() != other.fingerprint() {
            let allowed = format!("{}, that of the file that it is used with", self.fingerprint());
            return Err(Error::out_of_range("the fingerprint of a half", other.fingerprint(), allowed));
        }
        Ok(Self { server: self.server.or(other.server), client: self.client.or(other.client), ..self })
    }

    /// The attention.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if a half is missing; it or [`Error::Shape`] if they do not fit each other.
    pub fn into_attention(self) -> Result<Quantized, Error> {
        let Self { origin, server, client, .. } = self;
        let missing = |what| move || Error::out_of_range(what, "missing", "there, in this file or in another");
        let server = server.ok_or_else(missing("the server's half"))?;
        match (server, client.ok_or_else(missing("the client's half"))?) {
            (ServerHalf::Exact(program, ranges), ClientHalf::Exact(client)) => {
                let head = IntegerAttention::from_halves(origin.part, *program, client, ranges)?;
                Ok(Quantized::Exact(Box::new(head)))
            }
            (ServerHalf::Packed(program), ClientHalf::Packed(client)) => {
                Ok(Quantized::Packed(Box::new(PackedAttention::from_halves(*program, client)?)))
            }
            _ => Err(Error::out_of_range("the client's half", "of another circuit", "of the server's")),
        }
    }

    /// The bytes of the file: the same for equal contents.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the format cannot hold them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let header = Header {
            version: VERSION,
            origin: self.origin,
            server: self.digests[0],
            client: self.digests[1],
            fingerprint: self.fingerprint(),
        };
        let records =
            [self.server.as_ref().map(ServerHalf::to_record), self.client.as_ref().map(ClientHalf::to_record)];
        encode(&header, &records).map_err(|reason| Error::Malformed { path: "the quantized attention".into(), reason })
    }

    /// Writes a file.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written; as [`Self::to_bytes`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::File { action: "write", path: path.into(), source };
        std::fs::write(path, self.to_bytes()?).map_err(failed)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read, [`Error::Malformed`] if it is damaged, of another version, or not what
    /// calibration can give.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::from_checkpoint(&Checkpoint::open(path)?)
    }

    /// Reads the bytes of a file. `name` is what errors call it.
    ///
    /// # Errors
    /// [`Error::Malformed`], as [`Self::read`].
    pub fn from_bytes(name: &str, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, Error> {
        Self::from_checkpoint(&Checkpoint::from_bytes(name, bytes)?)
    }

    fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self, Error> {
        Self::decode(checkpoint).map_err(|error| match error {
            Error::Malformed { .. } | Error::File { .. } => error,
            other => Error::Malformed { path: checkpoint.path().into(), reason: other.to_string() },
        })
    }

    fn decode(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let malformed = |reason| Error::Malformed { path: checkpoint.path().into(), reason };
        let header = Header::decode(checkpoint.metadata(KEY)).map_err(malformed)?;
        let digests = [header.server, header.client];
        if AttentionFingerprint::of(&header.origin, &digests) != header.fingerprint {
            return Err(malformed("its fingerprint is not that of its contents; fetch or write it again".into()));
        }
        let records = read_records(checkpoint)?;
        for ((record, digest), half) in records.iter().zip(digests).zip(["server", "client"]) {
            if record.as_ref().is_some_and(|record| AttentionFingerprint(record.digest()) != digest) {
                return Err(malformed(format!("its {half}'s half was changed; fetch or write it again")));
            }
        }
        Self::from_records(header.origin, digests, &records)
    }

    /// Checks everything but the digests.
    fn from_records(
        origin: Origin,
        digests: [AttentionFingerprint; 2],
        [server, client]: &[Option<Record>; 2],
    ) -> Result<Self, Error> {
        let server = server.as_ref().map(|record| ServerHalf::from_record(record, &origin)).transpose()?;
        let client = client.as_ref().map(|record| ClientHalf::from_record(record, &origin)).transpose()?;
        server.iter().try_for_each(|server| server.check(&origin))?;
        client.iter().try_for_each(|client| client.check(&origin))?;
        let file = Self { origin, server, client, digests };
        if let (Some(_), Some(_)) = (&file.server, &file.client) {
            file.clone().into_attention()?;
        }
        Ok(file)
    }
}

impl Header {
    /// Of the metadata; the error is what is wrong with it.
    fn decode(text: Option<&str>) -> Result<Self, String> {
        let text = text.ok_or_else(|| format!("it has no metadata \"{KEY}\": it is not a quantized attention"))?;
        let invalid = |error: serde_json::Error| format!("its metadata \"{KEY}\" is damaged ({error})");
        let AnyHeader { version } = serde_json::from_str(text).map_err(invalid)?;
        if version != VERSION {
            return Err(format!("it has version {version} of its format, and this program reads version {VERSION}"));
        }
        serde_json::from_str(text).map_err(invalid)
    }
}

/// The file of some halves; the error is what is wrong with them.
fn encode(header: &Header, records: &[Option<Record>; 2]) -> Result<Vec<u8>, String> {
    let header = serde_json::to_string(header).map_err(|error| error.to_string())?;
    let tensors = records.iter().zip(PREFIXES).flat_map(|(record, prefix)| {
        let tensors = record.iter().flat_map(Record::tensors);
        tensors.map(move |(name, tensor)| (format!("{prefix}{name}"), tensor))
    });
    let views = tensors.map(|(name, RawTensor { dtype, shape, bytes })| {
        Ok((name, TensorView::new(*dtype, shape.clone(), bytes).map_err(|error| error.to_string())?))
    });
    let views = views.collect::<Result<Vec<_>, String>>()?;
    // One entry only: several would be written in any order.
    safetensors::serialize(views, Some(HashMap::from([(KEY.into(), header)]))).map_err(|error| error.to_string())
}

/// The tensors of both halves, as far as they are there.
fn read_records(checkpoint: &Checkpoint) -> Result<[Option<Record>; 2], Error> {
    let names = checkpoint.names();
    let entries = |name: &String| {
        let shape = checkpoint.shape(name).unwrap_or_default();
        shape.iter().fold(1_usize, |product, &size| product.saturating_mul(size))
    };
    if names.iter().map(entries).fold(0, usize::saturating_add) > MAX_ENTRIES {
        return Err(Error::out_of_range("the number of entries", "too large", format!("at most {MAX_ENTRIES}")));
    }
    let mut records = [None, None];
    for name in &names {
        let half = PREFIXES.iter().position(|prefix| name.starts_with(prefix));
        let Some(half) = half else {
            return Err(Error::out_of_range(&format!("tensor \"{name}\""), "in the file", "of a half"));
        };
        let record = records[half].get_or_insert_with(Record::default);
        record.insert(&name[PREFIXES[half].len()..], checkpoint.raw(name)?)?;
    }
    match records {
        [None, None] => Err(Error::out_of_range("the number of halves", 0, "1 or 2")),
        records => Ok(records),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::{AttentionWeights, Linear};
    use crate::matrix::Matrix;
    use proptest::prelude::*;
    use safetensors::Dtype;
    use std::sync::LazyLock;

    /// E of the layer; it has two heads.
    const SIZE: usize = 8;

    fn hidden(tokens: usize) -> Matrix<f32> {
        Matrix::from_fn(tokens, SIZE, |row, col| ((3 * row + 2 * col) as f32).cos())
    }

    /// One head and the whole attention, of both circuits.
    static FILES: LazyLock<Vec<QuantizedFile>> = LazyLock::new(|| {
        let linear = |cols: usize, step: usize| {
            let weight = Matrix::from_fn(SIZE, cols, |row, col| ((7 * row + step * col) as f32).sin() / 2.0);
            Linear::new(weight, (0..cols).map(|col| (col as f32).cos() / 10.0).collect()).unwrap()
        };
        let weights = AttentionWeights::new(linear(3 * SIZE, 5), 2).unwrap().with_output(linear(SIZE, 3)).unwrap();
        let (exact, packed) = (IntegerOptions::new(4), PackedOptions::new(5));
        let mut files = Vec::new();
        for part in [Part::Head(1), Part::Whole] {
            let head = IntegerAttention::calibrate(&weights, part, &[hidden(3)], &exact).unwrap();
            let attention = PackedAttention::calibrate(&weights, part, &[hidden(3)], &packed).unwrap();
            for (attention, options) in [
                (Quantized::Exact(Box::new(head)), Options::Exact(exact)),
                (Quantized::Packed(Box::new(attention)), Options::Packed(packed)),
            ] {
                files.push(QuantizedFile::new(attention, Origin { layer: 2, part, options }).unwrap());
            }
        }
        files
    });

    fn evaluate(file: QuantizedFile, hidden: &Matrix<f32>) -> Result<Matrix<f32>, Error> {
        match file.into_attention()? {
            Quantized::Exact(head) => head.evaluate_clear(hidden),
            Quantized::Packed(attention) => attention.evaluate_clear(hidden),
        }
    }

    fn records(file: &QuantizedFile) -> [Option<Record>; 2] {
        [file.server().map(ServerHalf::to_record), file.client().map(ClientHalf::to_record)]
    }

    /// A record of which one tensor is another, or gone.
    fn changed(
        record: &Record,
        at: prop::sample::Index,
        change: impl FnOnce(RawTensor) -> Option<RawTensor>,
    ) -> Record {
        let at = at.index(record.tensors().count());
        let (name, tensor) = record.tensors().nth(at).unwrap();
        let mut changed = Record::default();
        for (other, tensor) in record.tensors().filter(|(other, _)| *other != name) {
            changed.insert(other, tensor.clone()).unwrap();
        }
        if let Some(tensor) = change(tensor.clone()) {
            changed.insert(name, tensor).unwrap();
        }
        changed
    }

    /// Types of one size, of those that are read and of others.
    const TYPES: [Dtype; 5] = [Dtype::I8, Dtype::U8, Dtype::F64, Dtype::I64, Dtype::F32];

    /// One change of a tensor.
    #[derive(Clone, Debug)]
    enum Change {
        /// Other bytes in one place.
        Bytes(prop::sample::Index, Vec<u8>),
        /// The shape of as many entries in another order, or in one dimension.
        Shape(bool),
        /// Fewer entries.
        Shorter,
        /// Another type of the same size.
        Type(Dtype),
        Missing,
    }

    impl Change {
        fn apply(self, mut tensor: RawTensor) -> Option<RawTensor> {
            match self {
                Self::Bytes(at, bytes) => {
                    let at = at.index(tensor.bytes.len());
                    tensor.bytes[at..].iter_mut().zip(bytes).for_each(|(byte, other)| *byte = other);
                }
                Self::Shape(true) => tensor.shape.reverse(),
                Self::Shape(false) => tensor.shape = vec![tensor.shape.iter().product()],
                Self::Shorter => {
                    let first = tensor.shape.first_mut().filter(|first| **first > 1)?;
                    let row = tensor.bytes.len() / *first;
                    *first -= 1;
                    tensor.bytes.truncate(tensor.bytes.len() - row);
                }
                Self::Type(dtype) if dtype.bitsize() == tensor.dtype.bitsize() => tensor.dtype = dtype,
                Self::Type(_) | Self::Missing => return None,
            }
            Some(tensor)
        }
    }

    fn change() -> impl Strategy<Value = Change> {
        let extreme =
            prop::sample::select(vec![vec![0xff; 8], vec![0; 8], vec![0x7f; 8], vec![0, 0, 0, 0, 0, 0, 0, 128]]);
        let bytes = prop_oneof![extreme, prop::collection::vec(any::<u8>(), 1..9)];
        prop_oneof![
            8 => (any::<prop::sample::Index>(), bytes).prop_map(|(at, bytes)| Change::Bytes(at, bytes)),
            1 => any::<bool>().prop_map(Change::Shape),
            1 => Just(Change::Shorter),
            1 => prop::sample::select(TYPES.to_vec()).prop_map(Change::Type),
            1 => Just(Change::Missing),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// Contents that nobody calibrated, with digests that fit: an error, or an attention that can be computed.
        #[test]
        fn no_contents_make_an_engine_panic(
            index in 0_usize..4,
            of_server in prop::bool::weighted(0.8),
            at in any::<prop::sample::Index>(),
            change in change(),
        ) {
            let file = &FILES[index];
            let mut records = records(file);
            let record = records[usize::from(!of_server)].as_mut().unwrap();
            *record = changed(record, at, |tensor| change.apply(tensor));
            if let Ok(file) = QuantizedFile::from_records(file.origin, file.digests, &records) {
                let output = evaluate(file, &hidden(3)).unwrap();
                prop_assert_eq!(output.rows(), 3);
            }
        }
    }

    #[test]
    fn contents_are_checked_number_by_number() {
        let real = |value: f64| (Dtype::F64, value.to_le_bytes().to_vec());
        let integer = |value: i64| (Dtype::I64, value.to_le_bytes().to_vec());
        let heads = |value: f64| (Dtype::F64, [value.to_le_bytes(); 2].concat());
        for (index, half, name, (dtype, bytes), what) in [
            (2, 0, "input_bits", integer(1), "inconsistent"),
            (2, 0, "input_bits", integer(-1), "a u32"),
            (2, 0, "accumulator_bits", integer(25), "inconsistent"),
            (2, 0, "max_tokens", integer(0), "in 1 ..= 1024"),
            (2, 0, "max_tokens", integer(2), "the server's"),
            (2, 0, "output.sum_bits", integer(41), "inconsistent"),
            (2, 1, "levels", integer(8), "2^(bits−1) − 1"),
            (2, 1, "scale", real(0.0), "greater than 0"),
            (2, 1, "output_scale", real(f64::INFINITY), "must be finite"),
            (2, 1, "embedding_size", integer(9), "the server's"),
            (3, 0, "input_levels", integer(128), "in 1 ..= 127"),
            (3, 0, "input_levels", integer(7), "of 5 bits"),
            (3, 0, "max_tokens", integer(65), "in 1 ..= 64"),
            (3, 0, "output_limit", real(-1.0), "greater than 0"),
            (3, 0, "output_limit", real(1e300), "at most 2^53"),
            (3, 0, "log_modulus", (Dtype::I8, vec![33, 20]), "in 8 ..= 32"),
            (3, 0, "headroom", heads(1.0), "between 0 and 1"),
            (3, 0, "score_turn", heads(0.0), "greater than 0"),
            (3, 0, "score_turn", heads(1e300), "2^-32 to 2^32"),
            (3, 0, "difference_limit", heads(1e9), "a quarter of a turn"),
            (3, 0, "value_norm", heads(-1.0), "from 0 to 2^53"),
            (3, 0, "value_norm", heads(f64::NAN), "must be finite"),
            (3, 1, "levels", integer(0), "in 1 ..= 127"),
            (3, 1, "max_tokens", integer(-3), "a usize"),
        ] {
            let file: &QuantizedFile = &FILES[index];
            let mut records = records(file);
            let record = records[half].as_mut().unwrap();
            let shape = record.tensors().find(|(other, _)| *other == name).unwrap().1.shape.clone();
            record.insert(name, RawTensor { dtype, shape, bytes }).unwrap();
            let error = QuantizedFile::from_records(file.origin, file.digests, &records).unwrap_err().to_string();
            assert!(error.contains(what), "{name}: {error:?} without {what:?}");
        }
    }

    #[test]
    fn another_origin_is_an_error() {
        for (index, file) in FILES.iter().enumerate() {
            let attention = file.clone().into_attention().unwrap();
            let new = |change: fn(&mut Origin)| {
                let mut origin = file.origin;
                change(&mut origin);
                QuantizedFile::new(attention.clone(), origin)
            };
            assert_eq!(&new(|_| {}).unwrap(), file);
            let others: [fn(&mut Origin); 4] = [
                |origin| {
                    origin.part = match origin.part {
                        Part::Head(_) => Part::Whole,
                        Part::Whole => Part::Head(0),
                    }
                },
                |origin| {
                    origin.options = match origin.options {
                        Options::Exact(_) => Options::Packed(PackedOptions::new(5)),
                        Options::Packed(_) => Options::Exact(IntegerOptions::new(4)),
                    }
                },
                |origin| match &mut origin.options {
                    Options::Exact(options) => options.bits = 5,
                    Options::Packed(options) => options.input_bits = 6,
                },
                |origin| match &mut origin.options {
                    Options::Exact(options) => options.bits = 0,
                    Options::Packed(options) => options.input_bits = u32::MAX,
                },
            ];
            others.into_iter().for_each(|other| assert!(new(other).is_err(), "{index}"));
        }
    }

    #[test]
    fn what_is_not_of_the_format_is_an_error() {
        let file = &FILES[1];
        let good = || Header {
            version: VERSION,
            origin: file.origin,
            server: file.digests[0],
            client: file.digests[1],
            fingerprint: file.fingerprint(),
        };
        let error = |header: Header, records: &[Option<Record>; 2]| {
            let bytes = encode(&header, records).unwrap();
            QuantizedFile::from_bytes("the test", bytes).unwrap_err().to_string()
        };
        let records = records(file);
        assert!(error(Header { version: 2, ..good() }, &records).contains("version 2"));
        assert!(error(Header { fingerprint: file.digests[0], ..good() }, &records).contains("its fingerprint"));
        assert!(error(good(), &[None, None]).contains("the number of halves is 0"));
        let mut more = records.clone();
        more[1].as_mut().unwrap().set_integers("other", &[], [1]);
        assert!(error(good(), &more).contains("its client's half was changed"));

        let tensor = TensorView::new(Dtype::I8, vec![1], &[1]).unwrap();
        let bytes = |name: &str, metadata: Option<&str>| {
            let metadata = metadata.map(|text| HashMap::from([(KEY.to_owned(), text.to_owned())]));
            safetensors::serialize([(name, &tensor)], metadata).unwrap()
        };
        let header = serde_json::to_string(&good()).unwrap();
        for (name, metadata, what) in [
            ("server.x", None, "not a quantized attention"),
            ("server.x", Some("{"), "is damaged"),
            ("server.x", Some(r#"{"version":1}"#), "is damaged"),
            ("other", Some(&header), "tensor \"other\""),
        ] {
            let error = QuantizedFile::from_bytes("the test", bytes(name, metadata)).unwrap_err().to_string();
            assert!(error.starts_with("the test is not usable") && error.contains(what), "{error}");
        }
    }

    #[test]
    fn fingerprints_are_hexadecimal() {
        let fingerprint = FILES[0].fingerprint();
        assert_eq!(AttentionFingerprint::try_from(fingerprint.to_string()).unwrap(), fingerprint);
        for text in ["", "12", &"g".repeat(64), &"0".repeat(63), &"0".repeat(66), &"é".repeat(32)] {
            assert!(AttentionFingerprint::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
