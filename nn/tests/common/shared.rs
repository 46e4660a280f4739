//! Data beside the project, for tests that are ignored because they need it: GPT-2's own weights, and other models with
//! what their authors computed.

use nn::attention::AttentionWeights;
use nn::checkpoint::Checkpoint;
use nn::matrix::Matrix;
use std::path::PathBuf;

/// A path below the folder `shared` beside the project.
///
/// # Panics
/// If it is not there.
pub(crate) fn path(name: &str) -> PathBuf {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")).join(name);
    assert!(path.exists(), "this test needs {}, which is not there", path.display());
    path
}

/// A safetensors file below that folder.
pub(crate) fn checkpoint(name: &str) -> Checkpoint {
    Checkpoint::open(path(name)).expect("a shared file is whole")
}

/// The attention of GPT-2's layer 0, and its inputs for three prompts, each `[6, 768]`.
pub(crate) fn layer_0() -> (AttentionWeights, Vec<Matrix<f32>>) {
    let weights = AttentionWeights::load(&checkpoint("gpt2/layer0_attention.safetensors"), 0, None);
    let reference = checkpoint("gpt2/layer0_reference.safetensors");
    let input = |example| reference.any_matrix(&format!("ex{example}.hidden")).expect("a prompt's tensor");
    (weights.expect("GPT-2's weights"), (0..3).map(input).collect())
}
