//! The files that tests read, when they are there.

use nn::attention::{AttentionWeights, Linear};
use nn::checkpoint::Checkpoint;
use nn::matrix::Matrix;
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

/// An attention layer of `heads` heads with smooth pseudo-random weights.
#[allow(dead_code, reason = "each test binary uses what it needs")]
pub(crate) fn random_attention(size: usize, heads: usize) -> AttentionWeights {
    let weight = Matrix::from_fn(size, 3 * size, |row, column| ((7 * row + 5 * column) as f32).sin() * 0.5);
    let bias = (0..3 * size).map(|column| (column as f32).cos() * 0.1).collect();
    AttentionWeights::new(Linear::new(weight, bias).expect("shapes fit"), heads).expect("shapes fit")
}
