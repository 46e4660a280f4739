//! Files of weights: the safetensors format, in one file or in several, read tensor by tensor.
//!
//! Only headers are read when files are opened; a header's offsets are checked against the length of its file before
//! anything of their size is allocated. A tensor's bytes are mapped into memory while its entries become f32, so that
//! no more than one tensor is in memory twice.

mod folder;
mod mapped;
mod shard;

use crate::error::Error;
use crate::file;
use crate::matrix::Matrix;
use crate::tensor::{RawTensor, Tensor};
use folder::{Place, Shards};
use safetensors::tensor::{TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensorError};
use shard::Shard;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The prefix that some exports of GPT-2 put before every name but the output's.
const PREFIX: &str = "transformer.";

/// The tensors of a file, or of several.
///
/// A name is looked up as it is, and then with the prefix `transformer.`.
#[derive(Debug)]
pub struct Checkpoint(Shards);

impl Checkpoint {
    /// Opens a file and reads its header; or, if it is an index (a name that ends with `.index.json`), every file that
    /// it names.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read, [`Error::Malformed`] if it is not a whole safetensors file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        if path.as_os_str().as_encoded_bytes().ends_with(b".index.json") {
            return folder::open_shards(&path).map(Self);
        }
        Ok(Self(Shard::open(path)?.into()))
    }

    /// Opens the weights of a Hugging Face folder: `model.safetensors`, or else every file that
    /// `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// As [`Self::open`], for each file; [`Error::Malformed`] if there is neither, or if the index names a file that is
    /// not in the folder or a tensor that its file does not hold.
    pub fn open_folder(folder: &Path) -> Result<Self, Error> {
        folder::open(folder).map(Self)
    }

    /// Reads the header of a file's bytes. `name` is what errors call the file.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is not a whole safetensors file.
    pub fn from_bytes(name: &str, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, Error> {
        Ok(Self(Shard::from_bytes(name, bytes)?.into()))
    }

    /// The path of the file, or of the index of several; the name that a file's bytes were given.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let there = self.0.places.iter().filter(|(_, place)| matches!(place, Place::File(_)));
        there.map(|(name, _)| name.clone()).collect()
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The shape of the tensor of this name, if there is one.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.find(name).map(|(_, info)| &info.shape[..])
    }

    /// An entry of the metadata of the file, or of the first of several.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.0.files.first()?.metadata().metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// Reads a tensor of any shape. O(size).
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::Malformed`] if it is not f64, f32, f16 or bf16, or its index is wrong about
    /// it, [`Error::NotFinite`],
    /// [`Error::File`].
    pub fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        let (shard, info) = self.find(name).ok_or_else(|| self.missing(name))?;
        Tensor::new(info.shape.clone(), shard.entries(name, info)?)
    }

    /// Reads a tensor of any type, as its bytes are.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::File`].
    pub(crate) fn raw(&self, name: &str) -> Result<RawTensor, Error> {
        let (shard, info) = self.find(name).ok_or_else(|| self.missing(name))?;
        Ok(RawTensor { dtype: info.dtype, shape: info.shape.clone(), bytes: shard.read(info, <[u8]>::to_vec)? })
    }

    /// Reads a tensor of the given shape.
    ///
    /// # Errors
    /// As [`Self::tensor`], and [`Error::Shape`].
    pub fn tensor_of_shape(&self, name: &str, shape: &[usize]) -> Result<Tensor, Error> {
        match self.find(name) {
            Some((shard, info)) if info.shape != shape => {
                Err(Error::shape(shard.describe(name), needed(shape, &info.shape), &info.shape))
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
        match self.find(name) {
            Some((shard, info)) if info.shape.len() != 2 => {
                Err(Error::shape(shard.describe(name), "two dimensions", &info.shape))
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

    /// The shard and the description of a tensor.
    fn find(&self, name: &str) -> Option<(&Shard, &TensorInfo)> {
        let place = |name: &str| {
            let Place::File(number) = *self.0.places.get(name)? else { return None };
            Some((&self.0.files[number], self.0.files[number].metadata().info(name)?))
        };
        place(name).or_else(|| place(&format!("{PREFIX}{name}")))
    }

    fn missing(&self, name: &str) -> Error {
        const SHOWN: usize = 3;
        let nowhere = |name: &str| match self.0.places.get(name) {
            Some(Place::Nowhere(reason)) => Some(reason.clone()),
            _ => None,
        };
        if let Some(reason) = nowhere(name).or_else(|| nowhere(&format!("{PREFIX}{name}"))) {
            return Error::Malformed { path: self.0.path.clone(), reason };
        }
        let mut names: Vec<(usize, String)> =
            self.names().into_iter().filter(|other| other.len() <= 200).map(|x| (edit_distance(name, &x), x)).collect();
        names.sort_unstable();
        names.truncate(SHOWN);
        let names: Vec<String> = names.into_iter().map(|(_, name)| format!("{name:?}")).collect();
        let hint = match names.len() {
            0 => "it holds no tensor at all".into(),
            _ => format!("the nearest names are {}", names.join(", ")),
        };
        Error::MissingTensor { path: self.0.path.clone(), name: name.into(), hint }
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
        SafeTensorError::IoError(source) => file::failed("write", path, source),
        other => file::failed("write", path, std::io::Error::other(other)),
    };
    let views = tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        Ok((*name, TensorView::new(Dtype::F32, tensor.shape().to_vec(), bytes).map_err(invalid)?))
    });
    let views = views.collect::<Result<Vec<_>, Error>>()?;
    let metadata: HashMap<String, String> =
        metadata.iter().map(|&(key, value)| (key.to_string(), value.to_string())).collect();
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(invalid)
}

/// The shape that is needed, in words: with a hint if the one that was found is its transpose.
pub(crate) fn needed(shape: &[usize], found: &[usize]) -> String {
    if shape != found && shape.iter().eq(found.iter().rev()) {
        return format!("{shape:?}, its transpose (GPT-2's weights are [in, out]; PyTorch's Linear has [out, in]),");
    }
    format!("{shape:?}")
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
