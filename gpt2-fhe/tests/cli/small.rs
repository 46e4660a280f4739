//! Small random models, as folders.

use std::path::Path;

use nn::checkpoint::write_tensors;
use nn::tensor::Tensor;

/// Tokens of a vocabulary: those of the tokenizer of the model inside the program.
const VOCABULARY: usize = 1024;
/// The most tokens of a text.
pub(crate) const POSITIONS: usize = 8;

/// Writes the configuration and the weights of a model with embeddings of that size, two heads, and so many blocks.
pub(crate) fn write_model(folder: &Path, size: usize, blocks: usize) {
    let config = serde_json::json!({
        "model_type": "gpt2", "n_layer": blocks, "n_head": 2, "n_embd": size, "n_inner": size, "n_positions": POSITIONS,
        "vocab_size": VOCABULARY, "activation_function": "gelu_new",
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    let mut add = |name: String, shape: &[usize], mean: f32| {
        let offset = tensors.len() as f32;
        let noise = |index: usize| (0.7 * (index * index % 1009) as f32 + offset).sin();
        // Tokens of one length each, whose LayerNorm varies little, and which attention tells apart.
        let entry = |index: usize| match name.as_str() {
            "wte.weight" => noise(index).signum(),
            "wpe.weight" => 0.05 * noise(index),
            _ => mean + 0.4 * noise(index),
        };
        let data = (0..shape.iter().product()).map(entry).collect();
        tensors.push((name, Tensor::new(shape.to_vec(), data).unwrap()));
    };
    add("wte.weight".into(), &[VOCABULARY, size], 0.0);
    add("wpe.weight".into(), &[POSITIONS, size], 0.0);
    for layer in 0..blocks {
        for (name, shape, mean) in [
            ("ln_1.weight", &[size][..], 1.0),
            ("ln_1.bias", &[size], 0.0),
            ("attn.c_attn.weight", &[size, 3 * size], 0.0),
            ("attn.c_attn.bias", &[3 * size], 0.0),
            ("attn.c_proj.weight", &[size, size], 0.0),
            ("attn.c_proj.bias", &[size], 0.0),
            ("ln_2.weight", &[size], 1.0),
            ("ln_2.bias", &[size], 0.0),
            ("mlp.c_fc.weight", &[size, size], 0.0),
            ("mlp.c_fc.bias", &[size], 0.0),
            ("mlp.c_proj.weight", &[size, size], 0.0),
            ("mlp.c_proj.bias", &[size], 0.0),
        ] {
            add(format!("h.{layer}.{name}"), shape, mean);
        }
    }
    add("ln_f.weight".into(), &[size], 1.0);
    add("ln_f.bias".into(), &[size], 0.0);
    let tensors: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (&name[..], tensor)).collect();
    write_tensors(&folder.join("model.safetensors"), &tensors, &[]).unwrap();
}
