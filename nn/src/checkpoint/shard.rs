//! One safetensors file.

use super::{file_error, mapped};
use crate::error::{Error, check_finite};
use rayon::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::fmt::{Debug, Formatter};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The largest header that the format allows, in bytes.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// The number of entries that one task of a thread decodes.
const ENTRIES_OF_A_TASK: usize = 1 << 16;

/// A file, or its bytes, with its header read and checked against its length.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    source: Source,
    /// Where the first tensor begins.
    data_start: u64,
    metadata: Metadata,
}

/// Where bytes come from.
enum Source {
    File(File),
    Memory(Box<dyn AsRef<[u8]> + Send + Sync>),
}

impl Debug for Source {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::File(_) => "File",
            Self::Memory(_) => "Memory",
        })
    }
}

impl Source {
    fn length(&self) -> io::Result<u64> {
        Ok(match self {
            Self::File(file) => file.metadata()?.len(),
            Self::Memory(bytes) => (**bytes).as_ref().len() as u64,
        })
    }

    /// What `read` makes of a range that lies within the length; `read` copies before it checks.
    fn with_bytes<R>(&self, range: Range<u64>, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        match self {
            Self::File(file) => mapped::with_mapped(file, range, read),
            // Both ends are at most the length of a slice.
            Self::Memory(bytes) => Ok(read(&(**bytes).as_ref()[range.start as usize..range.end as usize])),
        }
    }
}

impl Shard {
    /// Opens a file and reads its header.
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        match File::open(&path) {
            Ok(file) => Self::new(path, Source::File(file)),
            Err(source) => Err(file_error("open", &path, source)),
        }
    }

    /// Reads the header of a file's bytes.
    pub(super) fn from_bytes(name: &str, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, Error> {
        Self::new(name.into(), Source::Memory(Box::new(bytes)))
    }

    fn new(path: PathBuf, source: Source) -> Result<Self, Error> {
        let failed = |source| file_error("read", &path, source);
        let malformed = |reason: String| Error::Malformed { path: path.clone(), reason };
        let file_bytes = source.length().map_err(failed)?;
        if file_bytes < 8 {
            return Err(malformed(format!("it has {file_bytes} bytes, too few for a safetensors file")));
        }
        let mut length = [0; 8];
        source.with_bytes(0..8, |bytes| length.copy_from_slice(bytes)).map_err(failed)?;
        let header_bytes = u64::from_le_bytes(length);
        if header_bytes > MAX_HEADER_BYTES.min(file_bytes - 8) {
            let reason = format!("its header claims {header_bytes} bytes; it is truncated or not a safetensors file");
            return Err(malformed(reason));
        }
        let data_start = 8 + header_bytes;
        let header = source.with_bytes(8..data_start, <[u8]>::to_vec).map_err(failed)?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| malformed(format!("its header is not that of a safetensors file ({error})")))?;
        let expected = data_start.saturating_add(metadata.data_len() as u64);
        if file_bytes != expected {
            let reason =
                format!("it has {file_bytes} bytes and its header describes {expected}; fetch or write it again");
            return Err(malformed(reason));
        }
        Ok(Self { path, source, data_start, metadata })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The entries of one of the file's tensors, all of them finite. `name` is what errors call it.
    pub(super) fn entries(&self, name: &str, info: &TensorInfo) -> Result<Vec<f32>, Error> {
        let decode: fn(&[u8]) -> Vec<f32> = match info.dtype {
            Dtype::F32 => |bytes| decode(bytes, f32::from_le_bytes),
            Dtype::F16 => |bytes| decode(bytes, |entry| half::f16::from_le_bytes(entry).to_f32()),
            Dtype::BF16 => |bytes| decode(bytes, |entry| half::bf16::from_le_bytes(entry).to_f32()),
            other => {
                let reason = format!("tensor \"{name}\" has entries of type {other}; f32, f16 or bf16 is needed");
                return Err(Error::Malformed { path: self.path.clone(), reason });
            }
        };
        let entries = self.read(info, decode)?;
        check_finite(&self.describe(name), &entries)?;
        Ok(entries)
    }

    /// What `decode` makes of the bytes of one of the file's tensors; it copies before it checks.
    pub(super) fn read<R>(&self, info: &TensorInfo, decode: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        // Within the length of the file, against which the header was checked.
        let [start, end] = [info.data_offsets.0, info.data_offsets.1].map(|offset| self.data_start + offset as u64);
        self.source.with_bytes(start..end, decode).map_err(|error| file_error("read", &self.path, error))
    }

    /// What errors call a tensor of this file.
    pub(super) fn describe(&self, name: &str) -> String {
        format!("tensor \"{name}\" of {}", self.path.display())
    }
}

/// Little-endian entries of `N` bytes each.
fn decode<const N: usize>(bytes: &[u8], entry: impl Fn([u8; N]) -> f32 + Sync) -> Vec<f32> {
    let (encoded, _) = bytes.as_chunks::<N>();
    let mut entries = vec![0.0; encoded.len()];
    let tasks = entries.par_chunks_mut(ENTRIES_OF_A_TASK).zip(encoded.par_chunks(ENTRIES_OF_A_TASK));
    tasks.for_each(|(entries, encoded)| {
        entries.iter_mut().zip(encoded).for_each(|(value, &bytes)| *value = entry(bytes));
    });
    entries
}
