//! The arguments of each command.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use gpt2_fhe::engine::plan::Multiply;
use gpt2_fhe::run::Mode;
use serde::Serialize;
use tfhe_core::random::SecretSeed;

/// The most threads that can be asked for.
const MAX_THREADS: usize = 256;

/// How the head becomes operations on ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Circuit {
    /// The integer head of the article; decrypts to exactly the integers of the clear engine.
    Exact,
}

impl Circuit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
        }
    }
}

/// Which head on which input, and how it is quantized.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Safetensors file with h.LAYER.attn.c_attn.{weight,bias}, with or without the prefix "transformer."
    #[arg(long, value_name = "FILE")]
    pub(super) attention: PathBuf,
    /// Safetensors file with the input of the attention, after LayerNorm 1
    #[arg(long, value_name = "FILE")]
    pub(super) hidden: PathBuf,
    /// Tensor of --hidden, of shape [tokens, n_embd]
    #[arg(long, value_name = "NAME")]
    pub(super) tensor: String,
    /// Layer, from 0
    #[arg(long, default_value_t = 0)]
    pub(super) layer: usize,
    /// Head of the layer, from 0
    #[arg(long, default_value_t = 0)]
    pub(super) head: usize,
    /// Number of heads of a layer [default: the metadata "n_head" of --attention, or n_embd / 64]
    #[arg(long, value_name = "N")]
    pub(super) n_head: Option<usize>,
    /// How the head becomes operations on ciphertexts
    #[arg(long, value_enum, default_value_t = Circuit::Exact)]
    pub(super) circuit: Circuit,
    /// Bits of inputs, weights and activations, from 2 to 11; encrypted up to about 6 with products, 9 with lut
    #[arg(long, default_value_t = 4)]
    pub(super) bits: u32,
    /// Bits that lookup tables are indexed with, from 6 to 10; lower bits are rounded away
    #[arg(long, default_value_t = 8)]
    pub(super) msbs: u32,
    /// How encrypted integers are multiplied with each other
    #[arg(long, value_enum, default_value_t = Multiply::Product)]
    pub(super) multiply: Multiply,
    /// Safetensors file of inputs that the scales and ranges are calibrated on [default: the tensor itself]
    #[arg(long, value_name = "FILE")]
    pub(super) calibration: Option<PathBuf>,
    /// Tensors of --calibration, separated by commas [default: all of shape [*, n_embd]]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "calibration")]
    pub(super) calibration_tensors: Vec<String>,
}

/// How a head is run.
#[derive(Debug, Args)]
pub(super) struct Execution {
    /// Where the head is computed
    #[arg(long, value_enum, default_value_t = Mode::Execute)]
    pub(super) mode: Mode,
    /// Number that all keys and all randomness come from, only to reproduce a run: who knows it can decrypt everything
    /// [default: fresh randomness of the operating system]
    #[arg(long)]
    seed: Option<u64>,
    /// Number of threads, from 1 to 256 [default: one for each CPU]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl Execution {
    /// The seed that everything secret comes from.
    pub(super) fn secret_seed(&self) -> anyhow::Result<SecretSeed> {
        match self.seed {
            Some(number) => Ok(SecretSeed::from_number(number)),
            None => SecretSeed::from_system().context("the operating system has no randomness to give; use --seed"),
        }
    }

    /// Sets the number of threads of the process.
    pub(super) fn set_threads(&self) -> anyhow::Result<()> {
        let Some(threads) = self.threads else { return Ok(()) };
        if !(1..=MAX_THREADS).contains(&threads) {
            bail!("--threads is {threads}; it must be in 1 ..= {MAX_THREADS}");
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .with_context(|| format!("cannot start {threads} threads; use fewer by --threads"))
    }
}

/// The arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Text to continue
    #[arg(long, default_value = "Good night, good")]
    pub(super) prompt: String,
    /// Hugging Face folder of a GPT-2: config.json, model.safetensors, tokenizer.json or vocab.json and merges.txt
    /// [default: the model inside this program, trained on Shakespeare]
    #[arg(long, value_name = "DIR")]
    pub(super) model: Option<PathBuf>,
    /// Number of tokens to continue by; each runs the encrypted head once more
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) tokens: usize,
    /// How the head becomes operations on ciphertexts
    #[arg(long, value_enum, default_value_t = Circuit::Exact)]
    pub(super) circuit: Circuit,
    /// Bits of inputs, weights and activations, from 2 to 11; encrypted up to about 6 with products, 9 with lut
    #[arg(long, default_value_t = 4)]
    pub(super) bits: u32,
    /// How encrypted integers are multiplied with each other
    #[arg(long, value_enum, default_value_t = Multiply::Product)]
    pub(super) multiply: Multiply,
    #[command(flatten)]
    pub(super) execution: Execution,
}

/// The arguments of `head`.
#[derive(Debug, Args)]
pub(super) struct HeadArguments {
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    pub(super) execution: Execution,
    /// Safetensors file to write the head's output to, as tensor "head_out" of shape [tokens, head size]
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
}

/// The arguments of `circuit`.
#[derive(Debug, Args)]
pub(super) struct CircuitArguments {
    #[command(flatten)]
    pub(super) selection: Selection,
    /// One JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
}
