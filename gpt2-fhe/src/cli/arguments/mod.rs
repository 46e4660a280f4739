//! The arguments of the commands: what several of them share.

mod audit;
mod commands;
mod exchange;
mod explain;
mod given;
mod optional;
#[cfg(feature = "nats")]
mod status;
mod words;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::bail;
use clap::Args;
use gpt2_fhe::integer::multiply::Multiply;
use gpt2_fhe::run::{Circuit, Mode};
use nn::attention::Part;
use nn::block::{BlockPart, Ending, steps};
use nn::integer::IntegerOptions;
use nn::packed::PackedOptions;
use nn::record::Options;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::random::{RandomnessError, SampleSeed, SecretSeed};

pub(super) use audit::AuditArguments;
pub(super) use commands::{
    BlockArguments, CircuitArguments, Command, CommandLine, DemoArguments, EvaluateArguments, GenerateArguments,
    GenerationArguments, HeadArguments, PlanArguments, QuantizeArguments, ScaleArguments,
};
pub(super) use exchange::{
    ClientFiles, ComputeArguments, DecryptArguments, EncryptArguments, KeygenArguments, Serving,
};
pub(super) use explain::ExplainArguments;
pub(super) use given::{Given, NotApplicable};
pub(super) use optional::OptionalBlock;
#[cfg(feature = "nats")]
pub(super) use status::StatusArguments;

/// Which attention of a model.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The layer, counted from 0
    #[arg(long, default_value_t = 0)]
    pub(super) layer: usize,
    /// The head of the layer, counted from 0
    #[arg(long, default_value_t = 0)]
    head: usize,
    /// All heads of the layer and its output projection, instead of one head
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

/// The input of a command that takes one from a file.
#[derive(Debug, Args)]
pub(super) struct InputTensor {
    /// Safetensors file with the input: of an attention as it is after LayerNorm 1, of a block as it is before that
    #[arg(long, value_name = "FILE")]
    pub(super) hidden: PathBuf,
    /// Name of the tensor in --hidden, of shape [tokens, n_embd]
    ///
    /// Several names, separated by commas, make one input of all their rows, in this order.
    #[arg(long, value_name = "NAMES")]
    pub(super) tensor: String,
}

/// What is calibrated on, of a command that takes inputs from files.
#[derive(Debug, Args)]
pub(super) struct Examples {
    /// Safetensors file with example inputs for the calibration [default: the input itself]
    ///
    /// The default is for experiments only: a real client would not show the server its input.
    #[arg(long, value_name = "FILE")]
    pub(super) calibration: Option<PathBuf>,
    /// Names of the tensors in --calibration, separated by commas [default: all of shape [*, n_embd]]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "calibration")]
    pub(super) calibration_tensors: Vec<String>,
}

/// Which head on which input, and how it is quantized.
#[derive(Debug, Args)]
pub(super) struct Selection {
    /// Safetensors file with the weights of the attention
    ///
    /// The tensors are h.LAYER.attn.c_attn.weight and .bias, and for --all-heads h.LAYER.attn.c_proj.weight and .bias. Their names may
    /// begin with "transformer.".
    #[arg(long, value_name = "FILE")]
    pub(super) attention: PathBuf,
    #[command(flatten)]
    pub(super) input: InputTensor,
    /// How many rows of the tensor to take, from the first on [default: all]
    #[arg(long, value_name = "N")]
    pub(super) tokens: Option<usize>,
    #[command(flatten)]
    pub(super) place: Place,
    /// How many heads a layer has [default: the metadata "n_head" of --attention, or n_embd / 64]
    #[arg(long, value_name = "N")]
    pub(super) n_head: Option<usize>,
    /// The circuit
    #[arg(long, value_enum, default_value_t = Circuit::Packed)]
    pub(super) circuit: Circuit,
    #[command(flatten)]
    pub(super) quantization: Quantization,
    #[command(flatten)]
    pub(super) multiplication: Multiplication,
    #[command(flatten)]
    pub(super) examples: Examples,
    /// File that `quantize` wrote, instead of a calibration here
    ///
    /// If the halves for server and client are in two files, give this option twice. The file says how it was quantized, so
    /// --circuit, --bits, --msbs, --value-bits, --guard and --calibration cannot be given as well.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["circuit", "bits", "msbs", "value_bits", "guard", "calibration"]
    )]
    pub(super) quantized: Vec<PathBuf>,
}

impl Selection {
    /// What is read, by option.
    pub(super) fn inputs(&self) -> Vec<(&'static str, Option<&std::path::Path>)> {
        let mut inputs: Vec<_> = vec![
            ("--attention", Some(self.attention.as_path())),
            ("--hidden", Some(&self.input.hidden)),
            ("--calibration", self.examples.calibration.as_deref()),
        ];
        inputs.extend(self.quantized.iter().map(|path| ("--quantized", Some(path.as_path()))));
        inputs
    }
}

/// Which block on which input.
#[derive(Debug, Args)]
pub(super) struct BlockSelection {
    /// Safetensors file with the weights of the block
    ///
    /// The tensors are h.LAYER.ln_1, .attn.c_attn, .attn.c_proj, .ln_2, .mlp.c_fc and .mlp.c_proj, each with .weight and .bias. Their
    /// names may begin with "transformer.". The activation is GELU as GPT-2 has it, and LayerNorm adds 1e-5 to variances.
    #[arg(long, value_name = "FILE", requires_all = ["hidden", "tensor"])]
    pub(super) weights: PathBuf,
    #[command(flatten)]
    pub(super) input: InputTensor,
    /// The layer, counted from 0
    #[arg(long, default_value_t = 0, requires = "weights")]
    pub(super) layer: usize,
    /// How many heads a layer has [default: the metadata "n_head" of --weights, or n_embd / 64]
    #[arg(long, value_name = "N", requires = "weights")]
    pub(super) n_head: Option<usize>,
    /// What of the block is encrypted; the client computes the rest
    #[arg(long, value_enum, default_value_t = PartOfBlock::Whole, requires = "weights")]
    pub(super) part: PartOfBlock,
    #[command(flatten)]
    pub(super) examples: Examples,
}

impl BlockSelection {
    /// What is read, by option.
    pub(super) fn inputs(&self) -> Vec<(&'static str, Option<&std::path::Path>)> {
        vec![
            ("--weights", Some(&self.weights)),
            ("--hidden", Some(&self.input.hidden)),
            ("--calibration", self.examples.calibration.as_deref()),
        ]
    }
}

/// What is shown of a block, other than its output.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Watching {
    /// Run up to the end of this step only, and show what its operations give: their first numbers, and how far these are from those
    /// without noise
    ///
    /// Words of a name may be joined by "-". With --mode execute this program decrypts what the server has in the middle of its
    /// computation, which it can as it is both parties: it is for study. A server alone cannot.
    #[arg(long, value_name = "STEP", value_parser = step, conflicts_with = "checkpoint")]
    pub(super) stop_after: Option<&'static str>,
    /// Run the block to its end, and show for every operation how far its numbers are from those without noise, beside what
    /// simulations and predictions say
    #[arg(long, conflicts_with_all = ["stop_after", "checkpoint"])]
    pub(super) noise_table: bool,
}

impl Watching {
    /// Whether anything is.
    pub(super) fn is_watched(self) -> bool {
        self.stop_after.is_some() || self.noise_table
    }
}

/// A step of a block, by its name.
fn step(text: &str) -> Result<&'static str, String> {
    let found = steps::of(Ending::Stream).iter().copied().find(|step| *step == text || step.replace(' ', "-") == text);
    found.ok_or_else(|| {
        format!(
            "the steps of a block are {}",
            steps::of(Ending::Stream).iter().map(|step| step.replace(' ', "-")).collect::<Vec<_>>().join(", ")
        )
    })
}

/// What of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum PartOfBlock {
    /// All of it.
    Whole,
    /// LayerNorm 1, the attention with its output projection, and the sum with the input.
    Attention,
    /// LayerNorm 2, the feed-forward layer, and the sum with its input.
    Mlp,
}

/// What is encrypted of a model, and how texts begin.
#[derive(Clone, Debug, Args)]
pub(super) struct Encryption {
    /// What is encrypted: heads, model, blocks:A-B, attention or mlp
    ///
    /// heads: the attention of layers, or one head of it, each by itself; the client sees what each gives. model: all blocks, of which the
    /// client sees the last one's output only, of a request's last token. blocks:A-B: the same of blocks A to B (blocks:A of one); the client computes the
    /// others. attention and mlp: the attention, or the feed-forward layer, of each of the chosen layers, with its LayerNorm. The client
    /// always computes embeddings, and without --head-on-server the final LayerNorm and the logits.
    #[arg(long, value_name = "WHAT", default_value = "heads")]
    pub(super) encrypt: Encrypt,
    /// With blocks: begin the text with the model's token for that, which the server knows
    ///
    /// The hidden states of a text's first token are far larger than all others in most GPT-2. Where that token is always the same,
    /// the server computes with it in the clear, and ranges need not hold it.
    #[arg(long)]
    pub(super) public_start: bool,
    /// With blocks up to the model's last: the server computes the final LayerNorm and the logits as well
    ///
    /// Logits are what a model says of each token of its vocabulary: how likely it comes next. The client gets back those after the last
    /// token of a request, encrypted, instead of its hidden state after the last block. That is one number for each token of the
    /// vocabulary, which can be more bytes than a hidden state is.
    #[arg(long)]
    pub(super) head_on_server: bool,
}

/// What of a model is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Encrypt {
    /// The attention of layers, or heads of it, each by itself.
    Heads,
    /// All blocks.
    Model,
    /// The blocks from the first to the last number.
    Blocks(RangeInclusive<usize>),
    /// A part of the block of some layers.
    Part(PartOfBlock),
}

impl FromStr for Encrypt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = [("attention", PartOfBlock::Attention), ("mlp", PartOfBlock::Mlp)];
        if let Some((_, part)) = parts.into_iter().find(|(name, _)| *name == text) {
            return Ok(Self::Part(part));
        }
        let range = |numbers: &str| {
            let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
            let range = first.trim().parse().ok()?..=last.trim().parse().ok()?;
            (!range.is_empty()).then_some(range)
        };
        match text {
            "heads" => Ok(Self::Heads),
            "model" => Ok(Self::Model),
            _ => text.strip_prefix("blocks:").and_then(range).map(Self::Blocks).ok_or_else(|| {
                "it must be heads, model, attention, mlp, or the numbers of blocks as blocks:0-2 or blocks:1".into()
            }),
        }
    }
}

impl std::fmt::Display for Encrypt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Heads => f.write_str("heads"),
            Self::Model => f.write_str("model"),
            Self::Blocks(range) => write!(f, "blocks:{}-{}", range.start(), range.end()),
            Self::Part(PartOfBlock::Mlp) => f.write_str("mlp"),
            Self::Part(_) => f.write_str("attention"),
        }
    }
}

impl From<PartOfBlock> for BlockPart {
    fn from(part: PartOfBlock) -> Self {
        match part {
            PartOfBlock::Whole => Self::Whole,
            PartOfBlock::Attention => Self::Attention,
            PartOfBlock::Mlp => Self::FeedForward,
        }
    }
}

/// How a head is quantized.
#[derive(Clone, Debug, Args)]
pub(super) struct Quantization {
    /// Bits of the inputs' integers [default: 5 for packed, 4 for exact]
    ///
    /// packed takes 2 to 8. exact takes 2 to 11, and has as many for weights and for what is computed in between; encrypted,
    /// it is reliable up to about 6 bits.
    #[arg(long)]
    bits: Option<u32>,
    #[command(flatten)]
    pub(super) options: QuantizationOptions,
}

impl Quantization {
    /// That of options which were chosen earlier.
    pub(super) fn of(options: &Options) -> Self {
        let (bits, unused) = (Some(options.bits()), PackedOptions::new(options.bits()));
        match options {
            Options::Exact(IntegerOptions { msbs, .. }) => {
                let (value_bits, guard) = (unused.value_bits, unused.guard);
                Self { bits, options: QuantizationOptions { msbs: *msbs, value_bits, guard } }
            }
            Options::Packed(PackedOptions { value_bits, guard, .. }) => {
                let msbs = IntegerOptions::new(options.bits()).msbs;
                let (value_bits, guard) = (*value_bits, *guard);
                Self { bits, options: QuantizationOptions { msbs, value_bits, guard } }
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

/// How many bits inputs can have.
pub(super) fn bits_of(circuit: Circuit) -> std::ops::RangeInclusive<u32> {
    match circuit {
        Circuit::Exact => IntegerOptions::BITS,
        Circuit::Packed => PackedOptions::BITS,
    }
}

/// How a head is quantized, besides the bits of its inputs.
#[derive(Clone, Debug, Args)]
pub(super) struct QuantizationOptions {
    /// exact only: bits of the position at which a table is read, from 6 to 10
    ///
    /// A number with more bits is rounded before it is looked up.
    #[arg(long, default_value_t = 8)]
    pub(super) msbs: u32,
    /// packed only: bits of the weights that make values, from 2 to 8
    ///
    /// The weights of queries and keys get as many bits as the noise allows.
    #[arg(long, default_value_t = 7)]
    value_bits: u32,
    /// packed only: how much larger differences of attention scores may be than in the calibration, from 1 to 16
    ///
    /// At 1.5, tables are made for differences half as large again as the largest that the calibration saw. More is safer
    /// on unusual inputs, and less precise.
    #[arg(long, default_value_t = 1.5)]
    guard: f64,
}

impl QuantizationOptions {
    /// The options of a circuit with inputs of `bits` bits, for at most `max_tokens` tokens.
    pub(super) fn of_circuit(&self, circuit: Circuit, bits: u32, max_tokens: usize) -> anyhow::Result<Options> {
        let allowed = bits_of(circuit);
        let of_values = (circuit == Circuit::Packed).then_some(("--value-bits", self.value_bits));
        for (name, bits) in std::iter::once(("--bits", bits)).chain(of_values) {
            if !allowed.contains(&bits) {
                let (least, most) = (allowed.start(), allowed.end());
                bail!("{name} is {bits}; with --circuit {} it must be in {least} ..= {most}", circuit.name());
            }
        }
        let (value_bits, guard, max_tokens) = (self.value_bits, self.guard, Some(max_tokens));
        Ok(match circuit {
            Circuit::Exact => Options::Exact(IntegerOptions { bits, msbs: self.msbs, max_tokens }),
            Circuit::Packed => {
                Options::Packed(PackedOptions { value_bits, guard, max_tokens, ..PackedOptions::new(bits) })
            }
        })
    }
}

/// How encrypted integers are multiplied.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Multiplication {
    /// exact only: how two encrypted numbers are multiplied with each other
    ///
    /// product is faster. With lut, runs are reliable up to 7 or 8 bits instead of 5 or 6.
    #[arg(long, value_enum, default_value_t = Multiply::Product)]
    pub(super) multiply: Multiply,
}

/// All that decides how weights become a quantized attention.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe<'a> {
    pub(super) circuit: Circuit,
    /// Bits of inputs.
    pub(super) bits: u32,
    pub(super) multiply: Multiply,
    pub(super) options: &'a QuantizationOptions,
}

/// How a head is run.
#[derive(Debug, Args)]
pub(super) struct Execution {
    /// How the attention is computed
    #[arg(long, value_enum, default_value_t = Mode::Execute)]
    pub(super) mode: Mode,
    /// Give a result although numbers left their calibrated ranges, which makes it wrong, or inputs are far beyond theirs; without this,
    /// both are errors, except in clear mode
    #[arg(long)]
    pub(super) allow_out_of_range: bool,
    #[command(flatten)]
    pub(super) resources: Resources,
}

impl Execution {
    /// Which numbers are given as a result.
    pub(super) fn allows_out_of_range(&self) -> bool {
        self.allow_out_of_range || self.mode == Mode::Clear
    }
}

/// Where a run is kept, to go on after an interruption.
#[derive(Debug, Args)]
pub(super) struct Checkpointing {
    /// Folder to keep the run in while it goes on: after an interruption, the same command goes on from there
    ///
    /// It is kept after each block, and removed when the run has ended. The part "client" has the secret key's seed and decrypted numbers and
    /// is readable by its owner only; the part "server" has nothing secret. For --mode execute with blocks.
    #[arg(long, value_name = "DIR")]
    pub(super) checkpoint: Option<PathBuf>,
    /// Remove what --checkpoint has kept, and begin anew
    #[arg(long, requires = "checkpoint")]
    pub(super) restart: bool,
}

/// Randomness and threads.
#[derive(Debug, Args)]
pub(super) struct Resources {
    /// Number that all keys and all randomness are computed from, only to reproduce a run: who knows or guesses it can decrypt
    /// everything, and whoever sees the ciphertexts sees which inputs were the same, for these are the same, too
    /// [default: fresh randomness of the operating system]
    #[arg(long)]
    seed: Option<u64>,
    /// How many threads to use, from 1 to 256 [default: one for each CPU]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
}

impl Resources {
    /// What secret keys and requests are made from.
    pub(super) fn client_seed(&self) -> anyhow::Result<ClientSeed> {
        self.seed
            .map_or_else(|| ClientSeed::from_system().map_err(no_randomness), |seed| Ok(ClientSeed::from_number(seed)))
    }

    /// The seed that `--seed` gives, if it does.
    pub(super) fn numbered_seed(&self) -> Option<SecretSeed> {
        self.seed.map(SecretSeed::from_number)
    }

    /// What is drawn and not encrypted comes from: simulated noise, samples of a text. Not related to the secrets.
    pub(super) fn sample_seed(&self) -> anyhow::Result<SampleSeed> {
        self.seed
            .map_or_else(|| SampleSeed::from_system().map_err(no_randomness), |seed| Ok(SampleSeed::from_number(seed)))
    }
}

/// That there is none, and what can be done.
pub(super) fn no_randomness(error: RandomnessError) -> anyhow::Error {
    anyhow::anyhow!("{error}; --seed runs without it, with keys that are not secret")
}

/// What is printed, and how.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Reporting {
    /// JSON instead of text: one object a line, each with its "type"
    #[arg(long)]
    pub(super) json: bool,
    /// Print results and errors only: no progress, no statistics
    #[arg(long, short)]
    pub(super) quiet: bool,
}

/// Whether outputs may replace files.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Replacing {
    /// Replace output files that exist already; without this, they are left alone and the command refuses to run
    #[arg(long)]
    pub(super) force: bool,
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
