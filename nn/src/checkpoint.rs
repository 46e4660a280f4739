//! Files of weights: the safetensors format, read tensor by tensor.
//!
//! Only the header is read when a file is opened; the header's offsets are checked against the length of the file
//! before anything of their size is allocated. Entries become f32.

use crate::error::{Error, check_finite};
use crate::matrix::Matrix;
use crate::tensor::Tensor;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensorError};
use std::collections::HashMap;
use std::fmt::{Debug, Formatter};
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The largest header that the format allows, in bytes.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// The prefix that some exports of GPT-2 put before every name but the output's.
const PREFIX: &str = "transformer.";

/// An open file of tensors.
///
/// A name is looked up as it is, and then with the prefix `transformer.`.
pub struct Checkpoint {
    path: PathBuf,
    source: Mutex<Box<dyn Source>>,
    /// Where the first tensor begins.
    data_start: u64,
    metadata: Metadata,
}

/// What a checkpoint is read from.
trait Source: Read + Seek + Send {}

impl<S: Read + Seek + Send> Source for S {}

impl Debug for Checkpoint {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { path, metadata, .. } = self;
        formatter.debug_struct("Checkpoint").field("path", path).field("metadata", metadata).finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read, [`Error::Malformed`] if it is not a whole safetensors file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let file = File::open(&path).map_err(|source| file_error("open", &path, source))?;
        Self::from_source(path, file)
    }

    /// Reads the header of a file's bytes. `name` is what errors call the file.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is not a whole safetensors file.
    pub fn from_bytes(name: &str, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<Self, Error> {
        Self::from_source(name.into(), Cursor::new(bytes))
    }

    fn from_source(path: PathBuf, mut source: impl Source + 'static) -> Result<Self, Error> {
        let failed = |source| file_error("read", &path, source);
        let malformed = |reason: String| Error::Malformed { path: path.clone(), reason };
        let file_bytes = source.seek(SeekFrom::End(0)).map_err(failed)?;
        source.rewind().map_err(failed)?;
        if file_bytes < 8 {
            return Err(malformed(format!("it has {file_bytes} bytes, too few for a safetensors file")));
        }
        let mut length = [0; 8];
        source.read_exact(&mut length).map_err(failed)?;
        let header_bytes = u64::from_le_bytes(length);
        if header_bytes > MAX_HEADER_BYTES.min(file_bytes - 8) {
            let reason = format!("its header claims {header_bytes} bytes; it is truncated or not a safetensors file");
            return Err(malformed(reason));
        }
        let mut header = vec![0; header_bytes as usize];
        source.read_exact(&mut header).map_err(failed)?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| malformed(format!("its header is not that of a safetensors file ({error})")))?;
        let data_start = 8 + header_bytes;
        let expected = data_start.saturating_add(metadata.data_len() as u64);
        if file_bytes != expected {
            let reason =
                format!("it has {file_bytes} bytes and its header describes {expected}; fetch or write it again");
            return Err(malformed(reason));
        }
        Ok(Self { path, source: Mutex::new(Box::new(source)), data_start, metadata })
    }

    /// The file's path, or the name that its bytes were given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.metadata.offset_keys();
        names.sort_unstable();
        names
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.info(name).is_some()
    }

    /// The shape of the tensor of this name, if there is one.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.info(name).map(|info| &info.shape[..])
    }

    /// An entry of the file's metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// Reads a tensor of any shape. O(size), the size of the tensor is allocated twice.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::Malformed`] if it is not f32, f16 or bf16, [`Error::NotFinite`],
    /// [`Error::File`].
    pub fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        let info = self.info(name).ok_or_else(|| self.missing(name))?;
        let (start, end) = info.data_offsets;
        let decode: fn(&[u8]) -> Vec<f32> = match info.dtype {
            Dtype::F32 => |bytes| decode(bytes, f32::from_le_bytes),
            Dtype::F16 => |bytes| decode(bytes, |entry| half::f16::from_le_bytes(entry).to_f32()),
            Dtype::BF16 => |bytes| decode(bytes, |entry| half::bf16::from_le_bytes(entry).to_f32()),
            other => {
                let reason = format!("tensor \"{name}\" has entries of type {other}; f32, f16 or bf16 is needed");
                return Err(Error::Malformed { path: self.path.clone(), reason });
            }
        };
        let mut bytes = vec![0; end - start]; // within the length of the file, which `open` checked
        let mut source = self.source.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        source
            .seek(SeekFrom::Start(self.data_start + start as u64))
            .and_then(|_| source.read_exact(&mut bytes))
            .map_err(|error| file_error("read", &self.path, error))?;
        drop(source);
        let data = decode(&bytes);
        check_finite(&self.describe(name), &data)?;
        Tensor::new(info.shape.clone(), data)
    }

    /// Reads a tensor of the given shape.
    ///
    /// # Errors
    /// As [`Self::tensor`], and [`Error::Shape`].
    pub fn tensor_of_shape(&self, name: &str, shape: &[usize]) -> Result<Tensor, Error> {
        match self.info(name) {
            Some(info) if info.shape != shape => {
                Err(Error::shape(self.describe(name), format!("{shape:?}"), &info.shape))
            }
            _ => self.tensor(name),
        }
    }

    /// Reads a matrix `[rows, cols]`.
    ///
    /// # Errors
    /// As [`Self::tensor_of_shape`].
    pub fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Matrix<f32>, Error> {
        self.tensor_of_shape(name, &[rows, cols])?.into_matrix()
    }

    /// Reads a matrix of any shape.
    ///
    /// # Errors
    /// As [`Self::tensor`], and [`Error::Shape`] if it does not have two dimensions.
    pub fn any_matrix(&self, name: &str) -> Result<Matrix<f32>, Error> {
        match self.info(name) {
            Some(info) if info.shape.len() != 2 => {
                Err(Error::shape(self.describe(name), "two dimensions", &info.shape))
            }
            _ => self.tensor(name)?.into_matrix(),
        }
    }

    /// Reads a vector `[length]`.
    ///
    /// # Errors
    /// As [`Self::tensor_of_shape`].
    pub fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, Error> {
        Ok(self.tensor_of_shape(name, &[length])?.into_data())
    }

    fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.metadata.info(name).or_else(|| self.metadata.info(&format!("{PREFIX}{name}")))
    }

    fn describe(&self, name: &str) -> String {
        format!("tensor \"{name}\" of {}", self.path.display())
    }

    fn missing(&self, name: &str) -> Error {
        const SHOWN: usize = 3;
        let mut names: Vec<(usize, String)> =
            self.names().into_iter().filter(|other| other.len() <= 200).map(|x| (edit_distance(name, &x), x)).collect();
        names.sort_unstable();
        names.truncate(SHOWN);
        let names: Vec<String> = names.into_iter().map(|(_, name)| format!("\"{name}\"")).collect();
        let hint = match names.len() {
            0 => "it holds no tensor at all".into(),
            _ => format!("the nearest names are {}", names.join(", ")),
        };
        Error::MissingTensor { path: self.path.clone(), name: name.into(), hint }
    }
}

/// Writes tensors to a safetensors file, as f32.
///
/// # Errors
/// [`Error::File`] if the file cannot be written.
pub fn write_tensors(path: &Path, tensors: &[(&str, &Tensor)], metadata: &[(&str, &str)]) -> Result<(), Error> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, tensor)| tensor.data().iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let invalid = |error: SafeTensorError| match error {
        SafeTensorError::IoError(source) => file_error("write", path, source),
        other => file_error("write", path, std::io::Error::other(other)),
    };
    let views = tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        Ok((*name, TensorView::new(Dtype::F32, tensor.shape().to_vec(), bytes).map_err(invalid)?))
    });
    let views = views.collect::<Result<Vec<_>, Error>>()?;
    let metadata: HashMap<String, String> =
        metadata.iter().map(|&(key, value)| (key.to_string(), value.to_string())).collect();
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(invalid)
}

/// Little-endian entries of `N` bytes each.
fn decode<const N: usize>(bytes: &[u8], entry: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (entries, _) = bytes.as_chunks::<N>();
    entries.iter().map(|&bytes| entry(bytes)).collect()
}

fn file_error(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { action, path: path.to_path_buf(), source }
}

/// How many insertions, deletions and replacements of bytes make `a` of `b` (Levenshtein). O(|a|·|b|).
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distances() {
        assert_eq!([edit_distance("", "ab"), edit_distance("kitten", "sitting"), edit_distance("ab", "ab")], [2, 3, 0]);
    }
}
