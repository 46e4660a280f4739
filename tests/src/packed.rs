//! What the tests of the packed head share.

use std::path::Path;

use gpt2_fhe::engine::Unobserved;
use gpt2_fhe::run::{Attention, Outcome, Session};
use nn::attention::{AttentionWeights, Linear, Part};
use nn::checkpoint::Checkpoint;
use nn::matrix::Matrix;
use nn::packed::{PackedAttention, PackedOptions, Span};
use tfhe_core::derivation::ClientSeed;

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
    /// GPT-2's layer 0 with its three prompts, or `None`, said on standard error, where they are absent.
    pub fn of_gpt2() -> Option<Self> {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/gpt2"));
        let path = folder.join("layer0_attention.safetensors");
        if !path.exists() {
            eprintln!("skipped: {} is not there", path.display());
            return None;
        }
        let open = |name: &str| Checkpoint::open(folder.join(name)).expect("a shared file is whole");
        let weights = AttentionWeights::load(&open("layer0_attention.safetensors"), 0, None).expect("GPT-2's weights");
        let reference = open("layer0_reference.safetensors");
        let hidden = |name: &str| reference.any_matrix(name).expect("a prompt's tensor");
        let calibration = vec![hidden("ex0.hidden"), hidden("ex1.hidden")];
        Some(Self { weights, calibration, unseen: hidden("ex2.hidden") })
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

    /// A part, quantized for the packed circuit.
    pub fn quantize(&self, part: Part, options: &PackedOptions) -> PackedAttention {
        gpt2_fhe::run::packed::calibrate(&self.weights, part, &self.calibration, options).expect("a reliable circuit")
    }
}

/// Encrypts, evaluates and decrypts the rows of `span`, with keys from `seed`.
pub fn execute(attention: &PackedAttention, hidden: &Matrix<f32>, span: Span, seed: u64) -> Outcome {
    let head = Attention::Packed(Box::new(attention.clone()));
    let plan = head.plan(span).expect("a reliable circuit");
    let mut session = Session::new(&head, &plan, &ClientSeed::from_number(seed));
    session.execute(&head, hidden, span, &mut Unobserved).expect("nobody stops the run")
}
