//! Layers' attention with inputs, which the tests of every circuit share.

#[allow(dead_code, reason = "its statistics are tested in nn")]
#[path = "../../nn/examples/random_gpt2/layer.rs"]
mod random;
#[path = "../../nn/tests/common/shared.rs"]
mod shared;

use nn::attention::{AttentionWeights, Linear};
use nn::checkpoint::Checkpoint;
use nn::matrix::Matrix;

/// Weights of a layer, and inputs of its attention.
pub struct Layer {
    /// The weights.
    pub weights: AttentionWeights,
    /// Inputs to calibrate on, each `[T, E]`.
    pub calibration: Vec<Matrix<f32>>,
    /// An input that is not among them.
    pub unseen: Matrix<f32>,
}

impl Layer {
    /// A layer with the statistics of GPT-2's layer 0: twelve heads of size 64, and inputs of six tokens.
    pub fn like_gpt2() -> Self {
        let layer = random::RandomLayer::new(2026);
        let calibration = (0..4).map(|number| layer.input(6, number)).collect();
        let unseen = layer.input(6, 4);
        Self { weights: layer.weights, calibration, unseen }
    }

    /// GPT-2's layer 0 with three prompts of six tokens.
    ///
    /// # Panics
    /// If they are not beside the project.
    pub fn of_gpt2() -> Self {
        let (weights, mut inputs) = shared::layer_0();
        let unseen = inputs.pop().expect("three prompts");
        Self { weights, calibration: inputs, unseen }
    }

    /// A layer of three heads of size `size` on embeddings of 3·size, with inputs of `tokens` tokens.
    pub fn synthetic(size: usize, tokens: usize) -> Self {
        let wave = |x: usize| ((x * x % 1009) as f32 * 0.7).sin();
        let embedding = 3 * size;
        let scale = 1.0 / (embedding as f32).sqrt();
        let weight = Matrix::from_fn(embedding, 3 * embedding, |i, j| scale * wave(i * 3 * embedding + j));
        let bias = (0..3 * embedding).map(|j| 0.3 * wave(j + 7)).collect();
        let weights = AttentionWeights::new(Linear::new(weight, bias).expect("shapes fit"), 3).expect("shapes fit");
        let output = Matrix::from_fn(embedding, embedding, |i, j| scale * wave(i * embedding + 3 * j + 11));
        let output = Linear::new(output, (0..embedding).map(|j| 0.2 * wave(j + 5)).collect()).expect("shapes fit");
        let weights = weights.with_output(output).expect("shapes fit");
        let input = |salt| Matrix::from_fn(tokens, embedding, |i, j| 2.0 * wave(i * embedding + j + salt));
        Self { weights, calibration: [3, 501, 222, 777].map(input).to_vec(), unseen: input(90) }
    }
}

/// A safetensors file below the folder `shared` beside the project.
///
/// # Panics
/// If it is not there.
pub fn shared_checkpoint(name: &str) -> Checkpoint {
    shared::checkpoint(name)
}
