//! Writes a Hugging Face folder with seeded random weights in any shape of GPT-2.
//!
//! ```text
//! cargo run --release -p nn --example random_gpt2 -- FOLDER --shards 2 --dtype f16
//! ```

mod folder;

use anyhow::{Context, bail};
use clap::Parser;
use folder::RandomGpt2;
use safetensors::Dtype;
use serde_json::json;
use std::path::PathBuf;

/// Writes a folder with seeded random weights; the sizes are those of GPT-2 124M unless others are given.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder, which is made if it is not there
    folder: PathBuf,
    /// Decides every weight
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of layers
    #[arg(long, default_value_t = 12)]
    layers: usize,
    /// The number of heads of a layer
    #[arg(long, default_value_t = 12)]
    heads: usize,
    /// The size of an embedding
    #[arg(long, default_value_t = 768)]
    size: usize,
    /// The most tokens of an input
    #[arg(long, default_value_t = 1024)]
    positions: usize,
    /// The size of the vocabulary
    #[arg(long, default_value_t = 50257)]
    vocabulary: usize,
    /// The type of the file's entries: f64, f32, f16 or bf16
    #[arg(long, default_value = "f32", value_parser = parse_dtype)]
    dtype: Dtype,
    /// The number of files
    #[arg(long, default_value_t = 1)]
    shards: usize,
    /// Gives the output its own matrix
    #[arg(long)]
    untied: bool,
}

fn parse_dtype(name: &str) -> Result<Dtype, String> {
    match name {
        "f32" => Ok(Dtype::F32),
        "f64" => Ok(Dtype::F64),
        "f16" => Ok(Dtype::F16),
        "bf16" => Ok(Dtype::BF16),
        _ => Err("it must be f64, f32, f16 or bf16".into()),
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.shards == 0 {
        bail!("--shards is 0; there is at least one file");
    }
    let config = json!({
        "model_type": "gpt2",
        "n_layer": arguments.layers,
        "n_head": arguments.heads,
        "n_embd": arguments.size,
        "n_positions": arguments.positions,
        "vocab_size": arguments.vocabulary,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": !arguments.untied,
    });
    std::fs::create_dir_all(&arguments.folder)
        .with_context(|| format!("cannot make the folder {}", arguments.folder.display()))?;
    let mut model = RandomGpt2::new(config, arguments.seed);
    model.dtype = arguments.dtype;
    model.shards = arguments.shards;
    model.write(&arguments.folder)
}
