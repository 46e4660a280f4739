//! Which files of a folder hold its weights: one, or several and an index.

use super::shard::Shard;
use crate::error::Error;
use crate::file::{is_there, read_json};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

/// All weights in one file.
const SINGLE: &str = "model.safetensors";
/// Which tensor is in which file.
const INDEX: &str = "model.safetensors.index.json";

/// Files of weights, opened, and where each tensor is.
#[derive(Debug)]
pub(super) struct Shards {
    /// That of the file, or of the index of several.
    pub(super) path: PathBuf,
    /// At least one.
    pub(super) files: Vec<Shard>,
    pub(super) places: BTreeMap<String, Place>,
}

/// Where a tensor is that a file or an index names.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In the file of this number.
    File(usize),
    /// Not where the index says; why.
    Nowhere(String),
}

impl From<Shard> for Shards {
    fn from(shard: Shard) -> Self {
        let places = shard.metadata().offset_keys().into_iter().map(|name| (name, Place::File(0))).collect();
        Self { path: shard.path().into(), files: vec![shard], places }
    }
}

/// The contents of an index; what else it says (the sum of all sizes) is not needed.
#[derive(Deserialize)]
struct Index {
    /// The file name of each tensor's shard.
    weight_map: BTreeMap<String, String>,
}

/// Opens the weights of a Hugging Face folder.
pub(super) fn open(folder: &Path) -> Result<Shards, Error> {
    let [single, index] = [SINGLE, INDEX].map(|name| folder.join(name));
    if is_there(&single)? {
        return Ok(Shard::open(single)?.into());
    }
    if is_there(&index)? {
        return open_shards(&index);
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

/// Opens every shard that an index names, and finds each tensor in its own. What is not where the index says it is
/// matters only to those who ask for it: some indexes name tensors that no model needs.
pub(super) fn open_shards(path: &Path) -> Result<Shards, Error> {
    let malformed = |reason| Error::Malformed { path: path.into(), reason };
    let index: Index =
        read_json(path)?.map_err(|error| malformed(format!("it is not an index of tensors ({error})")))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files: Vec<Shard> = Vec::new();
    // The number of each file's shard, or what is wrong with the file.
    let mut numbers: HashMap<String, Result<usize, String>> = HashMap::new();
    let mut places = BTreeMap::new();
    for (name, file) in index.weight_map {
        if !numbers.contains_key(&file) {
            let path = shard_path(folder, &file).map_err(malformed)?;
            let number = if is_there(&path)? {
                files.push(Shard::open(path)?);
                Ok(files.len() - 1)
            } else {
                Err(format!("it names the shard {file:?}, which is not there; fetch it, too"))
            };
            numbers.insert(file.clone(), number);
        }
        let place = match &numbers[&file] {
            Ok(number) if files[*number].metadata().info(&name).is_some() => Place::File(*number),
            Ok(_) => Place::Nowhere(format!("it says that {file:?} holds the tensor {name:?}, which it does not")),
            Err(reason) => Place::Nowhere(reason.clone()),
        };
        places.insert(name, place);
    }
    Ok(Shards { path: path.into(), files, places })
}

/// Where a shard lies; the error is what is wrong with its name.
fn shard_path(folder: &Path, file: &str) -> Result<PathBuf, String> {
    let mut components = Path::new(file).components();
    let plain = matches!((components.next(), components.next()), (Some(Component::Normal(name)), None) if name == file);
    // A backslash separates directories on some systems, and no file system has names with the character 0.
    if !plain || file.contains(['\\', '\0']) {
        return Err(format!("it names the shard {file:?}; a shard is a file of the same folder"));
    }
    Ok(folder.join(file))
}
