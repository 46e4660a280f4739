//! Writes a block in the shape of GPT-2 124M's, and hidden states of texts with outliers: what `gpt2-fhe block` runs.
//!
//! ```text
//! cargo run --release -p nn --example gpt2_block -- block.safetensors hidden.safetensors
//! cargo run --release -- block --weights block.safetensors --hidden hidden.safetensors --tensor hidden \
//!     --calibration hidden.safetensors --calibration-tensors calibration --mode simulate
//! ```

mod block;
#[expect(dead_code, reason = "tests draw inputs of its attention, and measure them")]
#[path = "../random_gpt2/layer.rs"]
mod layer;

use anyhow::{Context, bail};
use block::RandomBlock;
use clap::Parser;
use nn::checkpoint::{Checkpoint, write_tensors};
use nn::tensor::Tensor;
use std::path::PathBuf;

/// Writes a block in the shape of GPT-2 124M's, of seeded random weights, and hidden states: `hidden` to compute on, and
/// `calibration0`, `calibration1` and so on to calibrate on, each [tokens, 768], with four channels forty times the median one.
#[derive(Debug, Parser)]
struct Arguments {
    /// The safetensors file to write the block to, layer 0 in Hugging Face names
    block: PathBuf,
    /// The safetensors file to write hidden states to
    hidden: PathBuf,
    /// Take the attention, both LayerNorms and the embeddings of positions from this file: the tensors h.0.ln_1, .attn.c_attn, .attn.c_proj
    /// and .ln_2, each with .weight and .bias, and wpe.weight. The feed-forward layer stays random
    #[arg(long)]
    attention: Option<PathBuf>,
    /// How many tokens each text has
    #[arg(long, default_value_t = 8)]
    tokens: usize,
    /// How many texts there are to calibrate on
    #[arg(long, default_value_t = 64)]
    texts: u64,
    /// Decides everything that is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let Arguments { block, hidden, attention, tokens, texts, seed } = Arguments::parse();
    if tokens == 0 || texts == 0 {
        bail!("--tokens is {tokens} and --texts {texts}; at least one of each is needed");
    }
    let random = match attention {
        Some(path) => RandomBlock::of_attention(&Checkpoint::open(&path)?, seed)
            .with_context(|| format!("the file {}", path.display()))?,
        None => RandomBlock::new(seed)?,
    };
    random.write(&block)?;
    let name = |text: u64| if text == 0 { "hidden".into() } else { format!("calibration{}", text - 1) };
    let tensors: Vec<(String, Tensor)> =
        (0..=texts).map(|text| (name(text), Tensor::from(random.hidden(tokens, text)))).collect();
    let entries: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    write_tensors(&hidden, &entries, &[])?;
    Ok(())
}
