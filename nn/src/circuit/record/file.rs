//! The file: both halves' tensors, and the metadata.

use super::fingerprint::AttentionFingerprint;
use super::halves::{ClientHalf, Quantized, ServerHalf};
use super::origin::{BlocksOrigin, Origin};
use crate::block::ModelProgram;
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::named::NamedTensors;
use crate::tensor::RawTensor;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// The key of the metadata.
const KEY: &str = "quantized_attention";
/// The prefixes of the tensors of the server's and of the client's half.
const PREFIXES: [&str; 2] = ["server.", "client."];
/// The most entries that the tensors of a file may have: far more than the blocks of any GPT-2.
const MAX_ENTRIES: usize = 1 << 33;

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

impl QuantizedFile {
    /// Both halves of what was quantized as `origin` says.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] or [`Error::Shape`] if it was not.
    pub fn new(quantized: Quantized, origin: Origin) -> Result<Self, Error> {
        let (server, client) = quantized.into_halves(&origin)?;
        let digests = [server.to_tensors(), client.to_tensors()].map(|record| AttentionFingerprint(record.digest()));
        Ok(Self { origin, server: Some(server), client: Some(client), digests })
    }

    /// Both halves of blocks.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_blocks(model: ModelProgram) -> Result<Self, Error> {
        let origin = Origin::Blocks(BlocksOrigin::of(&model));
        Self::new(Quantized::Blocks(Box::new(model)), origin)
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

    /// What was quantized, both halves as one.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if a half is missing; it or [`Error::Shape`] if they do not fit each other.
    pub fn into_quantized(self) -> Result<Quantized, Error> {
        let origin = self.origin;
        let missing = |what| move || Error::out_of_range(what, "missing", "there, in this file or in another");
        let (server, client) = self.into_halves();
        let server = server.ok_or_else(missing("the server's half"))?;
        server.join(client.ok_or_else(missing("the client's half"))?, &origin)
    }

    /// What a server and a client need, as far as they are there.
    pub fn into_halves(self) -> (Option<ServerHalf>, Option<ClientHalf>) {
        (self.server, self.client)
    }

    /// The bytes of the file: the same for equal contents.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the format cannot hold them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let header = Header {
            version: self.origin.version(),
            origin: self.origin,
            server: self.digests[0],
            client: self.digests[1],
            fingerprint: self.fingerprint(),
        };
        let records =
            [self.server.as_ref().map(ServerHalf::to_tensors), self.client.as_ref().map(ClientHalf::to_tensors)];
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
        let file = Self::from_records(header.origin, digests, &records)?;
        drop(records);
        file.check_is_canonical().map_err(malformed)?;
        Ok(file)
    }

    /// Checks that the halves are written as [`Self::to_bytes`] writes them: there is no tensor that nothing reads, and no other file of the
    /// same halves has another fingerprint.
    fn check_is_canonical(&self) -> Result<(), String> {
        let halves =
            [self.server.as_ref().map(ServerHalf::to_tensors), self.client.as_ref().map(ClientHalf::to_tensors)];
        for ((half, digest), name) in halves.iter().zip(self.digests).zip(["server", "client"]) {
            if half.as_ref().is_some_and(|half| AttentionFingerprint(half.digest()) != digest) {
                return Err(format!(
                    "the tensors of its {name}'s half are not as this program writes them: there are more, or of other types"
                ));
            }
        }
        Ok(())
    }

    /// Checks everything but the digests.
    fn from_records(
        origin: Origin,
        digests: [AttentionFingerprint; 2],
        [server, client]: &[Option<NamedTensors>; 2],
    ) -> Result<Self, Error> {
        let server = server.as_ref().map(|tensors| ServerHalf::from_tensors(tensors, &origin)).transpose()?;
        let client = client.as_ref().map(|tensors| ClientHalf::from_tensors(tensors, &origin)).transpose()?;
        if let (Some(server), Some(client)) = (&server, &client) {
            server.check_client(client)?;
        }
        Ok(Self { origin, server, client, digests })
    }
}

impl Header {
    /// Of the metadata; the error is what is wrong with it.
    fn decode(text: Option<&str>) -> Result<Self, String> {
        let text = text.ok_or_else(|| format!("it has no metadata \"{KEY}\": it is not a quantized attention"))?;
        let invalid = |error: serde_json::Error| format!("its metadata \"{KEY}\" is damaged ({error})");
        let AnyHeader { version } = serde_json::from_str(text).map_err(invalid)?;
        let other = |read: &str| {
            format!(
                "it has version {version} of its format, and this program reads {read}; make it again with quantize"
            )
        };
        let [exact, packed, blocks] = [Origin::EXACT_VERSION, Origin::PACKED_VERSION, Origin::BLOCKS_VERSION];
        if ![exact, packed, blocks].contains(&version) {
            return Err(other(&format!(
                "version {exact} of an exact attention, {packed} of a packed one, and {blocks} of blocks"
            )));
        }
        let header: Self = serde_json::from_str(text).map_err(invalid)?;
        let read = header.origin.version();
        if version == read { Ok(header) } else { Err(other(&format!("version {read}"))) }
    }
}

/// The file of some halves; the error is what is wrong with them.
fn encode(header: &Header, records: &[Option<NamedTensors>; 2]) -> Result<Vec<u8>, String> {
    let header = serde_json::to_string(header).map_err(|error| error.to_string())?;
    let tensors = records.iter().zip(PREFIXES).flat_map(|(record, prefix)| {
        let tensors = record.iter().flat_map(NamedTensors::tensors);
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
fn read_records(checkpoint: &Checkpoint) -> Result<[Option<NamedTensors>; 2], Error> {
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
        let record = records[half].get_or_insert_with(NamedTensors::default);
        record.insert(&name[PREFIXES[half].len()..], checkpoint.raw(name)?)?;
    }
    match records {
        [None, None] => Err(Error::out_of_range("the number of halves", 0, "1 or 2")),
        records => Ok(records),
    }
}

#[cfg(test)]
mod tests;
