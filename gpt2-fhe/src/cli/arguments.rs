//! The arguments of each command.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, bail};
use clap::Args;
use gpt2_fhe::engine::plan::Multiply;
use gpt2_fhe::run::{Circuit, Mode};
use nn::attention::Part;
use nn::head::HeadOptions;
use nn::packed::PackedOptions;
use nn::quantized::Options;
use tfhe_core::random::SecretSeed;

/// The most threads that can be asked for.
const MAX_THREADS: usize = 256;

/// Which attention of a model.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Layer, from 0
    #[arg(long, default_value_t = 0)]
    pub(super) layer: usize,
    /// Head of the layer, from 0
    #[arg(long, default_value_t = 0)]
    head: usize,
    /// All heads of the layer and its output projection (c_proj), instead of one head
    #[arg(long, conflicts_with = "head")]
    all_heads: bool,
}

impl Place {
    /// What of the layer.
    pub(super) fn part(&self) -> Part {
        if self.all_heads { Part::Whole } else { Part::Head(self.head) }
    }

    /// The head; `None` for all.
    pub(super) fn head(&self) -> Option<usize> {
        (!self.all_heads).then_some(self.head)
    }
}

/// Which head on which input, and how it is quantized.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Safetensors file with h.LAYER.attn.c_attn.{weight,bias}, and c_proj for --all-heads, with or without the prefix
    /// "transformer."
    #[arg(long, value_name = "FILE")]
    pub(super) attention: PathBuf,
    /// Safetensors file with the input of the attention, after LayerNorm 1
    #[arg(long, value_name = "FILE")]
    pub(super) hidden: PathBuf,
    /// Tensor of --hidden, of shape [tokens, n_embd]; of several names, separated by commas, the rows one after the other
    #[arg(long, value_name = "NAMES")]
    pub(super) tensor: String,
    /// Number of rows of the tensor to take, the first ones [default: all]
    #[arg(long, value_name = "N")]
    pub(super) tokens: Option<usize>,
    #[command(flatten)]
    pub(super) place: Place,
    /// Number of heads of a layer [default: the metadata "n_head" of --attention, or n_embd / 64]
    #[arg(long, value_name = "N")]
    pub(super) n_head: Option<usize>,
    /// How the head becomes operations on ciphertexts
    #[arg(long, value_enum, default_value_t = Circuit::Exact)]
    pub(super) circuit: Circuit,
    #[command(flatten)]
    pub(super) quantization: Quantization,
    /// Safetensors file of inputs that the scales and ranges are calibrated on [default: the tensor itself, which a real
    /// client would not show the server]
    #[arg(long, value_name = "FILE")]
    pub(super) calibration: Option<PathBuf>,
    /// Tensors of --calibration, separated by commas [default: all of shape [*, n_embd]]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "calibration")]
    pub(super) calibration_tensors: Vec<String>,
    /// File of `quantize` with the quantized head, instead of calibrating it; given twice, the server's and the
    /// client's half
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["circuit", "bits", "msbs", "value_bits", "guard", "calibration"]
    )]
    pub(super) quantized: Vec<PathBuf>,
}

/// How a head is quantized.
#[derive(Clone, Debug, Args)]
pub(super) struct Quantization {
    /// exact: bits of inputs, weights and activations, 2 to 11, encrypted up to about 6 with products, 9 with lut; packed: bits
    /// of inputs, 2 to 8 [default: 4, or 5 for packed]
    #[arg(long)]
    bits: Option<u32>,
    #[command(flatten)]
    pub(super) options: QuantizationOptions,
}

impl Quantization {
    /// That of options which were chosen earlier.
    pub(super) fn of(options: &Options, multiply: Multiply) -> Self {
        let (bits, unused) = (Some(options.bits()), PackedOptions::new(options.bits()));
        match options {
            Options::Exact(HeadOptions { msbs, .. }) => {
                let (value_bits, guard) = (unused.value_bits, unused.guard);
                Self { bits, options: QuantizationOptions { msbs: *msbs, multiply, value_bits, guard } }
            }
            Options::Packed(PackedOptions { value_bits, guard, .. }) => {
                let msbs = HeadOptions::new(options.bits()).msbs;
                let (value_bits, guard) = (*value_bits, *guard);
                Self { bits, options: QuantizationOptions { msbs, multiply, value_bits, guard } }
            }
        }
    }

    /// The options of a circuit, for at most `max_tokens` tokens.
    pub(super) fn options(&self, circuit: Circuit, max_tokens: usize) -> anyhow::Result<Options> {
        self.options.of_circuit(circuit, self.bits(circuit), max_tokens)
    }

    /// `--bits`, or the circuit's default.
    pub(super) fn bits(&self, circuit: Circuit) -> u32 {
        self.bits.unwrap_or(match circuit {
            Circuit::Exact => 4,
            Circuit::Packed => 5,
        })
    }
}

/// How a head is quantized, besides the bits of its inputs.
#[derive(Clone, Debug, Args)]
pub(super) struct QuantizationOptions {
    /// exact only: bits that lookup tables are indexed with, from 6 to 10; lower bits are rounded away
    #[arg(long, default_value_t = 8)]
    pub(super) msbs: u32,
    /// exact only: how encrypted integers are multiplied with each other
    #[arg(long, value_enum, default_value_t = Multiply::Product)]
    pub(super) multiply: Multiply,
    /// packed only: bits of the weights of values, from 2 to 8; those of queries and keys have as many as the noise
    /// allows
    #[arg(long, default_value_t = 7)]
    value_bits: u32,
    /// packed only: how many times farther than in calibration scores may be apart, at least 1
    #[arg(long, default_value_t = 1.5)]
    guard: f64,
}

impl QuantizationOptions {
    /// The options of a circuit with inputs of `bits` bits, for at most `max_tokens` tokens.
    pub(super) fn of_circuit(&self, circuit: Circuit, bits: u32, max_tokens: usize) -> anyhow::Result<Options> {
        Ok(match circuit {
            Circuit::Exact => Options::Exact(HeadOptions { bits, msbs: self.msbs, max_tokens: Some(max_tokens) }),
            Circuit::Packed => Options::Packed(self.packed(bits, max_tokens)?),
        })
    }

    fn packed(&self, bits: u32, max_tokens: usize) -> anyhow::Result<PackedOptions> {
        let value_bits = self.value_bits;
        let allowed = PackedOptions::BITS;
        for (name, bits) in [("--bits", bits), ("--value-bits", value_bits)] {
            if !allowed.contains(&bits) {
                let (least, most) = (allowed.start(), allowed.end());
                bail!("{name} is {bits}; with --circuit packed it must be in {least} ..= {most}");
            }
        }
        let (guard, max_tokens) = (self.guard, Some(max_tokens));
        Ok(PackedOptions { value_bits, guard, max_tokens, ..PackedOptions::new(bits) })
    }
}

/// How a head is run.
#[derive(Debug, Args)]
pub(super) struct Execution {
    /// Where the head is computed
    #[arg(long, value_enum, default_value_t = Mode::Execute)]
    pub(super) mode: Mode,
    #[command(flatten)]
    pub(super) resources: Resources,
}

/// Randomness and threads.
#[derive(Debug, Args)]
pub(super) struct Resources {
    /// Number that all keys and all randomness come from, only to reproduce a run: who knows it can decrypt everything
    /// [default: fresh randomness of the operating system]
    #[arg(long)]
    seed: Option<u64>,
    /// Number of threads, from 1 to 256 [default: one for each CPU]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl Resources {
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

/// Which attention of a model is computed how, and how much of a text.
#[derive(Debug, Args)]
pub(super) struct GenerationArguments {
    /// Hugging Face folder of a GPT-2: config.json, model.safetensors or its shards, tokenizer.json or vocab.json and merges.txt
    /// [default: the model inside this program, trained on Shakespeare]
    #[arg(long, value_name = "DIR")]
    pub(super) model: Option<PathBuf>,
    /// Number of tokens to continue by
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(super) tokens: usize,
    /// Layers whose attention is encrypted, from 0, separated by commas; the others stay with the client
    #[arg(long, value_name = "LAYERS", default_value = "all")]
    pub(super) layers: Layers,
    /// One head of each of these layers, from 0 [default: all heads and the output projection]
    #[arg(long)]
    pub(super) head: Option<usize>,
    /// How attention becomes operations on ciphertexts
    #[arg(long, value_enum, default_value_t = Circuit::Packed)]
    pub(super) circuit: Circuit,
    #[command(flatten)]
    pub(super) quantization: Quantization,
    /// Text that scales and ranges are calibrated on, one prompt a line [default: for the model inside this program, lines
    /// inside it; for another, texts that this model draws itself, always the same]
    #[arg(long, value_name = "FILE", conflicts_with = "quantized")]
    pub(super) calibration_text: Option<PathBuf>,
    /// File of `quantize` with the quantized attention of one layer, instead of quantizing it here; given again for each further layer, and for the server's and the client's half
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["layers", "head", "circuit", "bits", "msbs", "value_bits", "guard"]
    )]
    pub(super) quantized: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) execution: Execution,
}

impl GenerationArguments {
    /// What of each layer is computed.
    pub(super) fn part(&self) -> Part {
        self.head.map_or(Part::Whole, Part::Head)
    }
}

/// Some layers of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Layers {
    /// All of them.
    All,
    /// These, in order, each once.
    Some(Vec<usize>),
}

impl FromStr for Layers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let number = |part: &str| part.trim().parse().map_err(|_| format!("{part:?} is no number of a layer"));
        let mut layers = text.split(',').map(number).collect::<Result<Vec<usize>, String>>()?;
        layers.sort_unstable();
        layers.dedup();
        Ok(Self::Some(layers))
    }
}

/// The arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Text to continue
    #[arg(long, default_value = "Good night, good")]
    pub(super) prompt: String,
    #[command(flatten)]
    pub(super) generation: GenerationArguments,
}

/// The arguments of `generate`.
#[derive(Debug, Args)]
pub(super) struct GenerateArguments {
    /// Text to continue
    #[arg(long)]
    pub(super) prompt: String,
    #[command(flatten)]
    pub(super) generation: GenerationArguments,
    /// Draw tokens by their probabilities, flattened or sharpened by this [default: take the likeliest]
    #[arg(long, allow_negative_numbers = true)]
    pub(super) temperature: Option<f64>,
    /// Draw among so many likeliest tokens [default: all]
    #[arg(long, value_name = "K", requires = "temperature")]
    pub(super) top_k: Option<usize>,
    /// Number that the draws come from
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "temperature")]
    pub(super) sample_seed: u64,
    /// JSON objects instead of text: one for each token as it comes, and one at the end
    #[arg(long)]
    pub(super) json: bool,
}

/// The arguments of `head`.
#[derive(Debug, Args)]
pub(super) struct HeadArguments {
    #[command(flatten)]
    pub(super) selection: Selection,
    #[command(flatten)]
    pub(super) execution: Execution,
    /// Safetensors file to write the head's output to, as tensor "head_out" of shape [tokens, head size], or [tokens, n_embd] of
    /// all heads
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

/// The arguments of `quantize`.
#[derive(Debug, Args)]
#[command(mut_arg("multiply", |argument| argument.hide(true)))]
pub(super) struct QuantizeArguments {
    /// Hugging Face folder of a GPT-2 [default: the model inside this program, trained on Shakespeare]
    #[arg(long, value_name = "DIR")]
    pub(super) model: Option<PathBuf>,
    /// Text that the model is run on to calibrate scales and ranges, one prompt a line [default: for the model
    /// inside this program, lines inside it; for another, texts that this model draws itself, always the same]
    #[arg(long, value_name = "FILE")]
    pub(super) text: Option<PathBuf>,
    /// Instead of a model: safetensors file with h.LAYER.attn.c_attn.{weight,bias}, and c_proj for --all-heads
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "text"], requires = "calibration")]
    pub(super) attention: Option<PathBuf>,
    /// With --attention: number of heads of a layer [default: the metadata "n_head" of --attention, or n_embd / 64]
    #[arg(long, value_name = "N", requires = "attention")]
    pub(super) n_head: Option<usize>,
    /// With --attention: safetensors file of inputs that scales and ranges are calibrated on
    #[arg(long, value_name = "FILE", requires = "attention")]
    pub(super) calibration: Option<PathBuf>,
    /// Tensors of --calibration, separated by commas [default: all of shape [*, n_embd]]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "calibration")]
    pub(super) calibration_tensors: Vec<String>,
    #[command(flatten)]
    pub(super) place: Place,
    /// The circuit to quantize for
    #[arg(long, value_enum, default_value_t = Circuit::Packed)]
    pub(super) circuit: Circuit,
    #[command(flatten)]
    pub(super) quantization: Quantization,
    /// The most tokens of an input [default: those of the longest input of the calibration, as far as the circuit
    /// takes them]
    #[arg(long, value_name = "N")]
    pub(super) max_tokens: Option<usize>,
    /// File to write what server and client need to
    #[arg(long, value_name = "FILE", required_unless_present_any = ["server_out", "client_out"])]
    pub(super) out: Option<PathBuf>,
    /// File to write what only the server needs to: weights and ranges, no scale of the client's
    #[arg(long, value_name = "FILE")]
    pub(super) server_out: Option<PathBuf>,
    /// File to write what only the client needs to: scales, no weights
    #[arg(long, value_name = "FILE")]
    pub(super) client_out: Option<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
}

/// The arguments of `evaluate`.
#[derive(Debug, Args)]
pub(super) struct EvaluateArguments {
    /// Hugging Face folder of a GPT-2: config.json, model.safetensors, tokenizer.json or vocab.json and merges.txt
    /// [default: the model inside this program, trained on Shakespeare]
    #[arg(long, value_name = "DIR")]
    pub(super) model: Option<PathBuf>,
    /// Text to evaluate on, UTF-8; not one that the model was trained or calibrated on
    #[arg(long, value_name = "FILE")]
    pub(super) text: PathBuf,
    /// Share of the characters of --text that are left out, at its beginning: 0.9 leaves the last tenth
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(super) from: f64,
    /// Text that scales and ranges are calibrated on, at most its first 16 windows [default: for the model inside
    /// this program, prompts inside it; for another, texts that this model draws itself, always the same]
    #[arg(long, value_name = "FILE")]
    pub(super) calibration_text: Option<PathBuf>,
    /// Tokens of a window, the pieces that the text is cut into [default: the model's positions, at most 64]
    #[arg(long, value_name = "N")]
    pub(super) window: Option<usize>,
    /// clear and simulate: how many positions to evaluate, from the beginning of the text [default: all]; execute: how
    /// many to sample [default: 8]
    #[arg(long, value_name = "N")]
    pub(super) positions: Option<usize>,
    #[command(flatten)]
    pub(super) place: Place,
    /// One circuit only [default: both]
    #[arg(long, value_enum)]
    pub(super) circuit: Option<Circuit>,
    /// File of `quantize`, for this layer and part, instead of quantizing it here; given again for further ones, and for
    /// the server's and the client's half
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["circuit", "bits", "msbs", "value_bits", "guard", "calibration_text"]
    )]
    pub(super) quantized: Vec<PathBuf>,
    /// Numbers of bits, as 4, 2..11 (both included) or 2,4,8: for exact 2 to 11, for packed, bits of inputs, 2 to 8
    #[arg(long, default_value = "2..11")]
    pub(super) bits: String,
    #[command(flatten)]
    pub(super) quantization: QuantizationOptions,
    /// Where the attention is computed; execute encrypts a sample of positions, beside simulated runs of the same
    #[arg(long, value_enum, default_value_t = Mode::Clear)]
    pub(super) mode: Mode,
    /// simulate, packed only: by what the noise is multiplied, from 0 to 1000, separated by commas
    #[arg(long, value_name = "FACTORS", value_delimiter = ',', default_value = "1")]
    pub(super) noise: Vec<f64>,
    #[command(flatten)]
    pub(super) resources: Resources,
    /// SVG file to plot the figures to
    #[arg(long, value_name = "FILE")]
    pub(super) plot: Option<PathBuf>,
    /// One JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
}
