//! Folders with random models, written and changed.

#[path = "../../examples/random_gpt2/folder.rs"]
mod folder;

pub(crate) use folder::RandomGpt2;

use nn::checkpoint::{Checkpoint, write_tensors};
use nn::tensor::Tensor;
use std::path::Path;
use tempfile::TempDir;

/// A model in a folder of its own.
pub(crate) fn written(model: &RandomGpt2) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    model.write(folder.path()).unwrap();
    folder
}

/// Every tensor of a folder in one file, changed by `change`, written again as one file.
pub(crate) fn rewrite(folder: &Path, change: impl FnOnce(&mut Vec<(String, Tensor)>)) {
    let checkpoint = Checkpoint::open_folder(folder).unwrap();
    let mut tensors: Vec<(String, Tensor)> =
        checkpoint.names().into_iter().map(|name| (name.clone(), checkpoint.tensor(&name).unwrap())).collect();
    change(&mut tensors);
    let entries: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    write_tensors(&folder.join("model.safetensors"), &entries, &[]).unwrap();
}
