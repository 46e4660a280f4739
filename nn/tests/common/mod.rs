//! The files that tests read, when they are there.

use nn::checkpoint::Checkpoint;
use std::path::PathBuf;

/// A path below the shared folder beside the project; `None`, said on standard error, where that is absent.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")).join(path);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// A safetensors file below the shared folder.
#[allow(dead_code, reason = "each test binary uses what it needs")]
pub(crate) fn shared_checkpoint(path: &str) -> Option<Checkpoint> {
    Some(Checkpoint::open(shared(path)?).expect("a shared file is whole"))
}
