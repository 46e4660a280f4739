//! What tests calibrate and run.

#[allow(dead_code, reason = "each test binary uses what it needs")]
#[path = "../../examples/random_gpt2/layer.rs"]
pub(crate) mod layer;
#[allow(dead_code, reason = "each test binary uses what it needs")]
pub(crate) mod shared;

use layer::RandomLayer;
use nn::attention::{AttentionWeights, Linear};
use nn::matrix::Matrix;

/// An attention layer of `heads` heads with smooth pseudo-random weights.
#[allow(dead_code, reason = "each test binary uses what it needs")]
pub(crate) fn random_attention(size: usize, heads: usize) -> AttentionWeights {
    let weight = Matrix::from_fn(size, 3 * size, |row, column| ((7 * row + 5 * column) as f32).sin() * 0.5);
    let bias = (0..3 * size).map(|column| (column as f32).cos() * 0.1).collect();
    AttentionWeights::new(Linear::new(weight, bias).expect("shapes fit"), heads).expect("shapes fit")
}

/// A layer with the statistics of GPT-2's layer 0, and five inputs of six tokens, the last not to be calibrated on.
#[allow(dead_code, reason = "each test binary uses what it needs")]
pub(crate) fn random_layer() -> (AttentionWeights, Vec<Matrix<f32>>) {
    let layer = RandomLayer::new(2026);
    let inputs = (0..5).map(|number| layer.input(6, number)).collect();
    (layer.weights, inputs)
}
