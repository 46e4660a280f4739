//! Which files of a folder hold its weights: one, or several and an index.

use super::shard::Shard;
use super::{Checkpoint, file_error};
use crate::error::Error;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// All weights in one file.
const SINGLE: &str = "model.safetensors";
/// Which tensor is in which file.
const INDEX: &str = "model.safetensors.index.json";
/// The largest JSON file that is read, in bytes: an index of a million tensors, and far more than any configuration.
const MAX_JSON_BYTES: u64 = 100_000_000;

/// The contents of an index; what else it says (the sum of all sizes) is not needed.
#[derive(Deserialize)]
struct Index {
    /// The file name of each tensor's shard.
    weight_map: BTreeMap<String, String>,
}

/// Opens the weights of a Hugging Face folder.
pub(super) fn open(folder: &Path) -> Result<Checkpoint, Error> {
    let [single, index] = [SINGLE, INDEX].map(|name| folder.join(name));
    if single.is_file() {
        return Checkpoint::open(single);
    }
    if index.is_file() {
        return open_shards(folder, &index);
    }
    let pickled =
        ["pytorch_model.bin", "pytorch_model.bin.index.json"].into_iter().find(|name| folder.join(name).is_file());
    let reason = match pickled {
        Some(name) => format!(
            "its weights are in {name}, Python's pickle format, which can run code when it is read; write them as \
             {SINGLE} by `transformers`: GPT2LMHeadModel.from_pretrained(folder).save_pretrained(folder)"
        ),
        None => format!("it has neither {SINGLE} nor {INDEX}"),
    };
    Err(Error::Malformed { path: folder.into(), reason })
}

/// Opens every shard that an index names, and finds each tensor in its own.
fn open_shards(folder: &Path, path: &Path) -> Result<Checkpoint, Error> {
    let malformed = |reason| Error::Malformed { path: path.into(), reason };
    let index: Index =
        read_json(path)?.map_err(|error| malformed(format!("it is not an index of tensors ({error})")))?;
    let mut shards: Vec<Shard> = Vec::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut places = BTreeMap::new();
    for (name, file) in index.weight_map {
        let number = match numbers.get(&file) {
            Some(&number) => number,
            None => {
                shards.push(Shard::open(shard_path(folder, &file).map_err(malformed)?)?);
                numbers.insert(file.clone(), shards.len() - 1);
                shards.len() - 1
            }
        };
        if shards[number].metadata().info(&name).is_none() {
            return Err(malformed(format!("it says that {file:?} holds the tensor {name:?}, which it does not")));
        }
        places.insert(name, number);
    }
    Ok(Checkpoint { path: path.into(), shards, places })
}

/// Where a shard lies; the error is what is wrong with its name.
fn shard_path(folder: &Path, file: &str) -> Result<PathBuf, String> {
    let mut components = Path::new(file).components();
    let plain = matches!((components.next(), components.next()), (Some(Component::Normal(name)), None) if name == file);
    // A backslash separates directories on some systems.
    if !plain || file.contains('\\') {
        return Err(format!("it names the shard {file:?}; a shard is a file of the same folder"));
    }
    let path = folder.join(file);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("it names the shard {file:?}, which is not there; fetch it, too"))
    }
}

/// Reads a JSON file; the inner error is what is wrong with the text.
///
/// # Errors
/// [`Error::File`], [`Error::Malformed`] if the file is larger than any that is meant to be read.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<serde_json::Result<T>, Error> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(|source| file_error("read", path, source))?;
    file.take(MAX_JSON_BYTES + 1).read_to_end(&mut text).map_err(|source| file_error("read", path, source))?;
    if text.len() as u64 > MAX_JSON_BYTES {
        let reason = format!("it has more than {MAX_JSON_BYTES} bytes");
        return Err(Error::Malformed { path: path.into(), reason });
    }
    Ok(serde_json::from_slice(&text))
}
