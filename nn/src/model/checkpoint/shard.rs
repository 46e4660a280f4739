//! One safetensors file.

use super::mapped;
use crate::error::{Error, check_finite};
use crate::file::{self, failed, other_format};
use rayon::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::fmt::{Debug, Formatter};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The largest header that is read, in bytes. The format allows 100,000,000, which take seconds and nearly a gigabyte to
/// parse; a GPT-2 of 1,000 layers needs less than 2,000,000.
const MAX_HEADER_BYTES: u64 = 4_000_000;
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
        let file = file::open(&path)?;
        Self::new(path, Source::File(file))
    }

    /// Reads the header of a file's bytes.
    pub(super) fn from_bytes(name: &str, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, Error> {
        Self::new(name.into(), Source::Memory(Box::new(bytes)))
    }

    fn new(path: PathBuf, source: Source) -> Result<Self, Error> {
        let failed = |source| failed("read", &path, source);
        let malformed = |reason: String| Error::Malformed { path: path.clone(), reason };
        let file_bytes = source.length().map_err(failed)?;
        let mut start = [0; 64];
        let length = file_bytes.min(64);
        source.with_bytes(0..length, |bytes| start[..bytes.len()].copy_from_slice(bytes)).map_err(failed)?;
        let header_bytes = check_start(&start[..length as usize], file_bytes).map_err(malformed)?;
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

    /// The entries of one of the file's tensors, all of them finite. `name` is what errors call it. Those of 64 bits are
    /// rounded to the nearest f32.
    pub(super) fn entries(&self, name: &str, info: &TensorInfo) -> Result<Vec<f32>, Error> {
        let decode: fn(&[u8]) -> Vec<f32> = match info.dtype {
            Dtype::F64 => |bytes| decode(bytes, |entry| f64::from_le_bytes(entry) as f32),
            Dtype::F32 => |bytes| decode(bytes, f32::from_le_bytes),
            Dtype::F16 => |bytes| decode(bytes, |entry| half::f16::from_le_bytes(entry).to_f32()),
            Dtype::BF16 => |bytes| decode(bytes, |entry| half::bf16::from_le_bytes(entry).to_f32()),
            other => {
                let reason = format!("tensor \"{name}\" has entries of type {other}; f64, f32, f16 or bf16 is needed");
                return Err(Error::Malformed { path: self.path.clone(), reason });
            }
        };
        let entries = self.read(info, decode)?;
        match check_finite(&self.describe(name), &entries) {
            Err(Error::NotFinite { position, .. }) if info.dtype == Dtype::F64 => {
                Err(self.too_large(name, info, position))
            }
            checked => checked.map(|()| entries),
        }
    }

    /// The error of an entry of 64 bits that is no finite f32.
    fn too_large(&self, name: &str, info: &TensorInfo, position: usize) -> Error {
        let entry = self.read(info, |bytes| bytes.as_chunks().0.get(position).map(|&bytes| f64::from_le_bytes(bytes)));
        match entry {
            Err(error) => error,
            Ok(entry) => {
                let what = format!("the entry {position} of {}", self.describe(name));
                Error::out_of_range(&what, entry.unwrap_or(f64::NAN), "finite, and at most 3.4e38, the largest f32")
            }
        }
    }

    /// What `decode` makes of the bytes of one of the file's tensors; it copies before it checks.
    pub(super) fn read<R>(&self, info: &TensorInfo, decode: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        // Within the length of the file, against which the header was checked.
        let [start, end] = [info.data_offsets.0, info.data_offsets.1].map(|offset| self.data_start + offset as u64);
        self.source.with_bytes(start..end, decode).map_err(|error| failed("read", &self.path, error))
    }

    /// What errors call a tensor of this file.
    pub(super) fn describe(&self, name: &str) -> String {
        format!("tensor \"{name}\" of {}", self.path.display())
    }
}

/// The size of the header of a file that begins with `start`, its first 64 bytes if it has as many; the error is what is
/// wrong with them.
fn check_start(start: &[u8], file_bytes: u64) -> Result<u64, String> {
    if let Some(format) = other_format(start) {
        return Err(format!("it is {format}"));
    }
    let Some((&length, header)) = start.split_first_chunk() else {
        return Err(format!("it has {file_bytes} bytes, too few for a safetensors file"));
    };
    let header_bytes = u64::from_le_bytes(length);
    if matches!(start[0], b'{' | b'[') && header_bytes > MAX_HEADER_BYTES {
        return Err("it is a JSON file, and not one of weights; an index of weights is named *.index.json".into());
    }
    if header_bytes > file_bytes - 8 {
        return Err(format!("its header claims {header_bytes} bytes; it is truncated or not a safetensors file"));
    }
    if header.first().is_some_and(|&first| first != b'{') {
        return Err("its header is not that of a safetensors file, which is a JSON object".into());
    }
    if header_bytes > MAX_HEADER_BYTES {
        return Err(format!(
            "its header has {header_bytes} bytes, and at most {MAX_HEADER_BYTES} are read: that of a GPT-2 of 1,000 \
             layers is smaller; write it again with its weights alone"
        ));
    }
    Ok(header_bytes)
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
