//! Two small blocks for tests on ciphertexts.

use std::sync::LazyLock;

use nn::block::{BlockOptions, BlockPart, ModelProgram};
use nn::checkpoint::{Checkpoint, write_tensors};
use nn::gpt2::{Config, Gpt2};
use nn::matrix::Matrix;
use nn::tensor::Tensor;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::sets::PACKED_BLOCK;

use super::{BlockKeyPair, BlockModel};
use crate::block::circuit::BlockCircuit;

const SIZE: usize = 8;
pub(super) const TOKENS: [u32; 3] = [3, 1, 4];
/// The rows of each request.
pub(super) const REQUESTS: [std::ops::Range<usize>; 2] = [0..2, 2..3];

/// Two blocks of a model with weights that `factor` decides.
fn model(factor: f32) -> Gpt2 {
    let folder = tempfile::tempdir().unwrap();
    let (vocabulary, positions, inner) = (16, 8, 4 * SIZE);
    let config = format!(
        r#"{{"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": {SIZE}, "n_positions": {positions},
            "vocab_size": {vocabulary}, "n_inner": {inner}, "activation_function": "gelu_new"}}"#
    );
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    let mut add = |name: String, shape: &[usize], mean: f32| {
        let offset = tensors.len() as f32;
        let entry = |index: usize| mean + 0.3 * (factor * (index * index % 101) as f32 + offset).sin();
        let data = (0..shape.iter().product()).map(entry).collect();
        tensors.push((name, Tensor::new(shape.to_vec(), data).unwrap()));
    };
    add("wte.weight".into(), &[vocabulary, SIZE], 0.0);
    add("wpe.weight".into(), &[positions, SIZE], 0.0);
    for layer in 0..2 {
        for (name, shape, mean) in [
            ("ln_1.weight", &[SIZE][..], 1.0),
            ("ln_1.bias", &[SIZE], 0.0),
            ("attn.c_attn.weight", &[SIZE, 3 * SIZE], 0.0),
            ("attn.c_attn.bias", &[3 * SIZE], 0.0),
            ("attn.c_proj.weight", &[SIZE, SIZE], 0.0),
            ("attn.c_proj.bias", &[SIZE], 0.0),
            ("ln_2.weight", &[SIZE], 1.0),
            ("ln_2.bias", &[SIZE], 0.0),
            ("mlp.c_fc.weight", &[SIZE, inner], 0.0),
            ("mlp.c_fc.bias", &[inner], 0.0),
            ("mlp.c_proj.weight", &[inner, SIZE], 0.0),
            ("mlp.c_proj.bias", &[SIZE], 0.0),
        ] {
            add(format!("h.{layer}.{name}"), shape, mean);
        }
    }
    add("ln_f.weight".into(), &[SIZE], 1.0);
    add("ln_f.bias".into(), &[SIZE], 0.0);
    let tensors: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (&name[..], tensor)).collect();
    write_tensors(&folder.path().join("model.safetensors"), &tensors, &[]).unwrap();
    let checkpoint = Checkpoint::open(folder.path().join("model.safetensors")).unwrap();
    Gpt2::from_checkpoint(Config::from_json(config.as_bytes()).unwrap(), &checkpoint).unwrap()
}

/// The blocks, after a public token, both halves, and the hidden states before them of [`TOKENS`].
pub(super) fn blocks(factor: f32) -> (ModelProgram, Matrix<f32>) {
    let model = model(factor);
    let mut texts: Vec<Vec<u32>> = (0..8).map(|text| (0..8).map(|i| (text * i + i * i) % 16).collect()).collect();
    texts.push([&[0], &TOKENS[..]].concat());
    texts.iter_mut().for_each(|text| text[0] = 0);
    let program =
        ModelProgram::calibrate(&model, 0..2, BlockPart::Whole, (&texts, 1), &BlockOptions::default()).unwrap();
    let hidden = model.hidden_states(&texts[8], 0).unwrap().remove(0);
    (program, hidden.row_range(1..1 + TOKENS.len()))
}

/// The server's half, and what the client encrypts of each request.
pub(super) fn circuit(factor: f32) -> (BlockCircuit, Vec<Matrix<f64>>) {
    let (program, hidden) = blocks(factor);
    let turns = program.client().encode(&hidden).unwrap();
    let requests = REQUESTS.map(|rows| turns.row_range(rows)).to_vec();
    (BlockModel::new(program).unwrap().circuit().clone(), requests)
}

pub(super) static KEYS: LazyLock<BlockKeyPair> =
    LazyLock::new(|| BlockKeyPair::new(&PACKED_BLOCK.compile().unwrap(), &ClientSeed::from_number(3)).unwrap());
