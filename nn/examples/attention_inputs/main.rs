//! Writes what a layer's attention gets for some prompts: the inputs that `gpt2-fhe head` runs and calibrates on, from any
//! Hugging Face folder of a GPT-2.
//!
//! ```text
//! cargo run --release -p nn --example attention_inputs -- DIR inputs.safetensors "A prompt" "Another" "A third"
//! cargo run --release -- head --circuit packed --attention DIR/model.safetensors --hidden inputs.safetensors \
//!     --tensor ex2.hidden --calibration inputs.safetensors --calibration-tensors ex0.hidden,ex1.hidden
//! ```
//!
//! With `--block`, what the layer gets before its LayerNorm 1: the inputs of `gpt2-fhe block`.

mod inputs;

use clap::Parser;
use inputs::Input;
use std::path::PathBuf;

/// Writes the inputs of a layer's attention for some prompts, `ex0.hidden`, `ex1.hidden` and so on, each [tokens, n_embd].
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder of a GPT-2, with its tokenizer
    model: PathBuf,
    /// The safetensors file to write
    out: PathBuf,
    /// The prompts
    #[arg(required = true)]
    prompts: Vec<String>,
    /// After the prompts, so many texts that the model draws itself, to calibrate on: `drawnI.hidden`, always the same
    #[arg(long, value_name = "N", default_value_t = 0)]
    drawn: usize,
    /// The layer, from 0
    #[arg(long, default_value_t = 0)]
    layer: usize,
    /// The inputs of the whole layer, before its LayerNorm 1, which `gpt2-fhe block` runs on
    #[arg(long)]
    block: bool,
}

fn main() -> anyhow::Result<()> {
    let Arguments { model, out, prompts, drawn, layer, block } = Arguments::parse();
    let input = if block { Input::Block } else { Input::Attention };
    let shapes = inputs::write(&model, (layer, input), (&prompts, drawn), &out)?;
    for ((index, prompt), shape) in prompts.iter().enumerate().zip(shapes) {
        println!("ex{index}.hidden {shape:?} {prompt:?}");
    }
    Ok(())
}
