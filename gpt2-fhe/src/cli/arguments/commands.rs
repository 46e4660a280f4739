//! The command line, and the arguments of each command.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use gpt2_fhe::run::{Circuit, Mode};
use nn::attention::Part;

use super::{
    AuditArguments, BlockSelection, Checkpointing, ComputeArguments, DecryptArguments, Encrypt, EncryptArguments,
    Encryption, Execution, ExplainArguments, KeygenArguments, Layers, Multiplication, OptionalBlock, Place,
    Quantization, QuantizationOptions, Replacing, Reporting, Resources, Selection, Serving, Watching, words,
};

/// Runs the attention of a GPT-2 on encrypted data.
#[derive(Debug, Parser)]
#[command(
    name = "gpt2-fhe",
    version,
    long_about = words::PROGRAM,
    args_conflicts_with_subcommands = true,
    max_term_width = 100,
    // The demo's, which `demo --help` shows.
    mut_args(|argument| argument.hide(true)),
    override_usage = "gpt2-fhe [COMMAND] [OPTIONS]",
    after_help = "Without a command: the demo. See `gpt2-fhe COMMAND --help` for the options of a command."
)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) demo: DemoArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Continues a prompt with encrypted attention, next to the unencrypted model, and explains each step
    #[command(long_about = words::DEMO)]
    Demo(DemoArguments),
    /// Continues a prompt with encrypted attention, or encrypted blocks; the text goes to standard output
    #[command(long_about = words::GENERATE)]
    Generate(GenerateArguments),
    /// Runs one attention head, or all heads of a layer, on an input from a file
    #[command(long_about = words::HEAD)]
    Head(HeadArguments),
    /// Runs a whole block, or its attention or feed-forward layer, on an input from a file
    #[command(long_about = words::BLOCK)]
    Block(BlockArguments),
    /// Shows what `head` would do, without running it: operations, noise, chance of failure, security, bytes
    #[command(long_about = words::CIRCUIT)]
    Circuit(CircuitArguments),
    /// Shows what `generate --encrypt` would do with blocks, without running it, in the same way
    #[command(long_about = words::PLAN)]
    Plan(PlanArguments),
    /// Gives evidence for each claim about the cryptography: keys, noise, failure, randomness, transforms, messages
    #[command(long_about = words::AUDIT)]
    Audit(AuditArguments),
    /// Explains the cryptography at toy size, number by number: encryption, products, lookups, an encrypted head
    #[command(long_about = words::EXPLAIN)]
    Explain(ExplainArguments),
    /// Prepares (calibrates) one attention head, all heads of a layer, or blocks, and writes it to files
    #[command(long_about = words::QUANTIZE)]
    Quantize(QuantizeArguments),
    /// Measures on a text how much encryption and rounding change a model's predictions
    #[command(long_about = words::EVALUATE)]
    Evaluate(EvaluateArguments),
    /// The client: makes its secret, and the evaluation keys for a server
    #[command(long_about = words::KEYGEN)]
    Keygen(KeygenArguments),
    /// The client: encrypts a prompt, or hidden states from a file, as a request
    #[command(long_about = words::ENCRYPT)]
    Encrypt(EncryptArguments),
    /// The server: computes encrypted blocks on a request, which it cannot read, and writes the answer
    #[command(long_about = words::COMPUTE)]
    Compute(ComputeArguments),
    /// The client: decrypts an answer, and says what the next token is
    #[command(long_about = words::DECRYPT)]
    Decrypt(DecryptArguments),
    /// Shows who computes lookups for servers with workers: workers, batches, how far requests are
    #[cfg(feature = "nats")]
    #[command(long_about = words::STATUS)]
    Status(super::StatusArguments),
}

/// Which attention of a model is computed how, and how much of a text.
#[derive(Debug, Args)]
pub(crate) struct GenerationArguments {
    /// Folder of a GPT-2 as Hugging Face has it [default: the small model inside this program, trained on Shakespeare]
    ///
    /// It holds config.json; model.safetensors, or its parts with an index; and tokenizer.json, or vocab.json and merges.txt.
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// How many tokens to add to the prompt
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) tokens: usize,
    /// The layers whose attention is encrypted: "all", or numbers from 0 separated by commas
    ///
    /// The client computes the other layers itself. Not together with --quantized, whose files name their layers.
    #[arg(long, value_name = "LAYERS", default_value = "all")]
    pub(crate) layers: Layers,
    /// Only this head of each of these layers, counted from 0 [default: all heads and the output projection]
    #[arg(long)]
    pub(crate) head: Option<usize>,
    /// The circuit
    #[arg(long, value_enum, default_value_t = Circuit::Packed)]
    pub(crate) circuit: Circuit,
    #[command(flatten)]
    pub(crate) quantization: Quantization,
    #[command(flatten)]
    pub(crate) multiplication: Multiplication,
    /// Text to calibrate on, one prompt a line (of blocks, in pieces of 64 tokens), at most 16 MiB [default: texts that the model draws itself,
    /// always the same; for the model inside this program and heads, lines inside it]
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration_text: Option<PathBuf>,
    /// File that `quantize` wrote for one layer, or for blocks, instead of a calibration here; can be given several times
    ///
    /// Give it once for each layer that is to be encrypted; and twice for a layer whose halves for server and client are in two
    /// files. Layers without a file are not encrypted. The files say which layer they are for and how it was quantized, so --layers,
    /// --head, --circuit, --bits, --msbs, --value-bits, --guard and --calibration-text cannot be given as well. Of blocks they say what is
    /// encrypted, too: --encrypt, --public-start and --head-on-server need not be given, and have to agree with them.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["layers", "head", "circuit", "bits", "msbs", "value_bits", "guard", "calibration_text"]
    )]
    pub(crate) quantized: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) execution: Execution,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

impl GenerationArguments {
    /// What of each layer is computed.
    pub(crate) fn part(&self) -> Part {
        self.head.map_or(Part::Whole, Part::Head)
    }
}

/// The arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// The text to continue
    #[arg(long, default_value = "Good night, good")]
    pub(crate) prompt: String,
    #[command(flatten)]
    pub(crate) generation: GenerationArguments,
}

/// The arguments of `generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    /// The text to continue
    #[arg(long)]
    pub(crate) prompt: String,
    #[command(flatten)]
    pub(crate) encryption: Encryption,
    #[command(flatten)]
    pub(crate) generation: GenerationArguments,
    #[command(flatten)]
    pub(crate) checkpointing: Checkpointing,
    #[command(flatten)]
    pub(crate) serving: Serving,
    /// Draw each token at random, by the model's probabilities at this temperature [default: take the likeliest token]
    ///
    /// 1 leaves the probabilities as they are. Less prefers likely tokens, more prefers unlikely ones.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) temperature: Option<f64>,
    /// Draw among the K likeliest tokens only [default: among all]
    #[arg(long, value_name = "K", requires = "temperature")]
    pub(crate) top_k: Option<usize>,
    /// Seed of these draws: the same seed draws the same tokens
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "temperature")]
    pub(crate) sample_seed: u64,
}

/// The arguments of `head`.
#[derive(Debug, Args)]
pub(crate) struct HeadArguments {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) execution: Execution,
    /// Safetensors file to write the output to, as the tensor "head_out"
    ///
    /// Its shape is [tokens, size of a head], or [tokens, n_embd] with --all-heads.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// JSON file to write every number on its way to, step by step, which `explain --of FILE` shows: with noise (--mode simulate, execute)
    ///
    /// Of each number it has what the owner of the key would decrypt there, what it is without encryption, the noise, what was predicted of that,
    /// and how much more it could bear. With --mode execute this program decrypts what the server has in the middle of its computation,
    /// which it can as it is both parties: it is for study. A server alone cannot. The file is as secret as the input: nothing in it is encrypted.
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) replacing: Replacing,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

/// The arguments of `block`.
#[derive(Debug, Args)]
pub(crate) struct BlockArguments {
    #[command(flatten)]
    pub(crate) selection: BlockSelection,
    /// How many rows of the tensor to take, from the first on [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) tokens: Option<usize>,
    /// After an encrypted run: measure how long operations take by themselves, and show each step's time beside their sum
    #[arg(long, conflicts_with_all = ["stop_after", "noise_table"])]
    pub(crate) measure: bool,
    #[command(flatten)]
    pub(crate) watching: Watching,
    #[command(flatten)]
    pub(crate) execution: Execution,
    #[command(flatten)]
    pub(crate) checkpointing: Checkpointing,
    /// Safetensors file to write the output to, as the tensor "block_out"
    ///
    /// Its shape is [tokens, n_embd]. With --stop-after or --noise-table: a tensor for each operation that is shown, in turns, and one with
    /// ".clear" at the end of its name for the numbers without noise.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) replacing: Replacing,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

/// The arguments of `circuit`.
#[derive(Debug, Args)]
pub(crate) struct CircuitArguments {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

/// The arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// Folder of a GPT-2 as Hugging Face has it [default: the small model inside this program, trained on Shakespeare]
    #[arg(long, value_name = "DIR", conflicts_with = "weights")]
    pub(crate) model: Option<PathBuf>,
    /// Instead of a model: a block and its input from files, as `block` runs it
    #[command(flatten)]
    pub(crate) selection: OptionalBlock,
    /// What is encrypted: model, blocks:A-B, attention or mlp, as `generate` has it
    #[arg(long, value_name = "WHAT", default_value = "model", conflicts_with = "weights")]
    pub(crate) encrypt: Encrypt,
    /// The layers of attention or mlp: "all", or numbers from 0 separated by commas
    #[arg(long, value_name = "LAYERS", default_value = "all", conflicts_with = "weights")]
    pub(crate) layers: Layers,
    /// Begin the text with the model's token for that, which the server knows
    #[arg(long, conflicts_with = "weights")]
    pub(crate) public_start: bool,
    /// With blocks up to the model's last: the server computes the final LayerNorm and the logits as well
    ///
    /// Logits are what a model says of each token of its vocabulary: how likely it comes next. The client gets back those after the last
    /// token of a request, encrypted, instead of the hidden states after the last block. That is one number for each token of the
    /// vocabulary, which can be more bytes than hidden states are.
    #[arg(long, conflicts_with = "weights")]
    pub(crate) head_on_server: bool,
    /// How many new tokens the request has [default: 8; with --weights, as many as --tensor has rows]
    #[arg(long, value_name = "N")]
    pub(crate) tokens: Option<usize>,
    /// Milliseconds of a bootstrapping with each gadget of the parameter set, in order, to say how long all of them take: three numbers
    ///
    /// Divide by the number of threads where each has a core. --measure, or `cargo bench`, measures bootstrappings.
    #[arg(long, value_name = "MS", value_delimiter = ',', conflicts_with = "measure")]
    pub(crate) pbs_ms: Vec<f64>,
    /// Measure on this machine how long bootstrappings and external products take, and say how long all of them will
    ///
    /// In batches as the server does them, with as many threads as --threads says, and keys that are thrown away.
    #[arg(long)]
    pub(crate) measure: bool,
    /// With --measure or --pbs-ms: also say how long a step takes on so many cores, several numbers separated by commas
    ///
    /// A step's operations are taken to be independent, and the next step to begin when all have ended; times are those of one core: of
    /// --pbs-ms as they are. Packing, linear maps, the network and limits of memory are not counted.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) cores: Vec<usize>,
    /// How many threads measure, from 1 to 256 [default: one for each CPU]
    #[arg(long, value_name = "N", requires = "measure")]
    pub(crate) threads: Option<usize>,
    /// How many tokens came before, whose keys and values the server has
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "weights")]
    pub(crate) earlier: usize,
    /// Text to calibrate on, at most 16 MiB, in pieces of 64 tokens [default: texts that the model draws itself, always the same]
    #[arg(long, value_name = "FILE", conflicts_with = "weights")]
    pub(crate) calibration_text: Option<PathBuf>,
    /// File of blocks that `quantize --encrypt` wrote, instead of a calibration here; can be given several times
    ///
    /// It says which blocks they are, so --layers and --calibration-text cannot be given as well; --encrypt, --public-start and
    /// --head-on-server need not be, and have to agree with it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["weights", "layers", "calibration_text"])]
    pub(crate) quantized: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) scale: ScaleArguments,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

/// What is asked about lookups on many machines.
#[derive(Debug, Args)]
pub(crate) struct ScaleArguments {
    /// Also say how long the request takes if workers compute its lookups, with so many cores, several numbers separated by commas
    ///
    /// Each core of a worker computes one batch of blind rotations at a time; all else stays with the server. This needs --measure, or
    /// --pbs-ms, --own-ms and --message-ms. Besides a formula, the run is simulated, batch by batch.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub(crate) workers: Vec<usize>,
    /// With --workers: how many cores the server has, for what stays with it
    #[arg(long, value_name = "N", default_value_t = 16, requires = "workers")]
    pub(crate) server_cores: usize,
    /// With --workers: the server's cores compute lookups, too, while it waits
    #[arg(long, requires = "workers")]
    pub(crate) own_lookups: bool,
    /// With --workers: bits a second from the server to its workers, and as many back, as 1Gbit or 100Mbit
    #[arg(long, value_name = "BITS", default_value = "10Gbit", requires = "workers")]
    pub(crate) bandwidth: BitsPerSecond,
    /// With --workers: how long a message without contents takes, one way, as 100us, 1ms or 0.1s
    #[arg(long, value_name = "TIME", default_value = "1ms", requires = "workers")]
    pub(crate) latency: MessageTime,
    /// With --workers: blind rotations of a batch, at least, where there are as many
    #[arg(long, value_name = "N", default_value_t = 1, requires = "workers")]
    pub(crate) batch: usize,
    /// With --workers: how many lookups the server hands out together at most [default: 128 for each core, and 256 at least]
    #[arg(long, value_name = "N", requires = "workers")]
    pub(crate) together: Option<usize>,
    /// Milliseconds of what the server does itself, seven numbers as --measure prints them, on one core
    ///
    /// Of a key switch of an argument, an automorphism of the expansion, one of packing, a multiplier (a GGSW ciphertext of levels), the
    /// transform of a polynomial of weights, its product with a ciphertext, an external product.
    #[arg(long, value_name = "MS", value_delimiter = ',', conflicts_with = "measure")]
    pub(crate) own_ms: Vec<f64>,
    /// Milliseconds that a core of the server takes to write one blind rotation of a batch, and to read one of a result, as --measure prints
    /// them
    #[arg(long, value_name = "MS", value_delimiter = ',', conflicts_with = "measure")]
    pub(crate) message_ms: Vec<f64>,
    /// With --workers: a file that `compute --record` wrote, or a server with --records; blind rotations take as long as in that run, the slow ones as well
    #[arg(long, value_name = "FILE", requires = "workers")]
    pub(crate) record: Option<PathBuf>,
}

/// Bits a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BitsPerSecond(pub(crate) f64);

/// Seconds of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MessageTime(pub(crate) f64);

/// A number with one of the units, times what the unit stands for.
fn with_unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let of_unit = |&(unit, factor): &(&str, f64)| Some(text.strip_suffix(unit)?.trim().parse::<f64>().ok()? * factor);
    units.iter().find_map(of_unit).filter(|value| value.is_finite())
}

impl FromStr for BitsPerSecond {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bits = with_unit(text, &[("Gbit", 1e9), ("Mbit", 1e6), ("kbit", 1e3)]).filter(|&bits| bits >= 1e3);
        bits.map(Self).ok_or_else(|| format!("{text:?} is no bandwidth; 10Gbit, 100Mbit or 500kbit would be one"))
    }
}

impl FromStr for MessageTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = with_unit(text, &[("us", 1e-6), ("ms", 1e-3), ("s", 1.0)]);
        let seconds = seconds.filter(|seconds| (0.0..=3600.0).contains(seconds));
        seconds.map(Self).ok_or_else(|| format!("{text:?} is no time of a message; 100us, 1ms or 0.1s would be one"))
    }
}

/// The arguments of `quantize`.
#[derive(Debug, Args)]
pub(crate) struct QuantizeArguments {
    /// Folder of a GPT-2 as Hugging Face has it [default: the small model inside this program, trained on Shakespeare]
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// Text to calibrate on, one prompt a line (of blocks, in pieces of 64 tokens), at most 16 MiB [default: texts that the model draws itself,
    /// always the same; for the model inside this program and heads, lines inside it]
    #[arg(long, value_name = "FILE")]
    pub(crate) text: Option<PathBuf>,
    /// Instead of a model: safetensors file with the weights of the attention
    ///
    /// The tensors are h.LAYER.attn.c_attn.weight and .bias, and for --all-heads h.LAYER.attn.c_proj.weight and .bias.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["model", "text"],
        requires = "calibration",
        group = "weights_of_a_layer"
    )]
    pub(crate) attention: Option<PathBuf>,
    /// With --encrypt, instead of a model: safetensors file with the weights of a block
    ///
    /// The tensors are those that the command block takes: h.LAYER.ln_1, .attn.c_attn, .attn.c_proj, .ln_2, .mlp.c_fc and .mlp.c_proj, each with
    /// .weight and .bias.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["model", "text"],
        requires = "calibration",
        group = "weights_of_a_layer"
    )]
    pub(crate) weights: Option<PathBuf>,
    /// With --attention or --weights: how many heads a layer has [default: the metadata "n_head" of that file, or n_embd / 64]
    #[arg(long, value_name = "N", requires = "weights_of_a_layer")]
    pub(crate) n_head: Option<usize>,
    /// With --attention or --weights: safetensors file with example inputs for the calibration
    ///
    /// Of an attention as they are after LayerNorm 1, of a block as they are before that.
    #[arg(long, value_name = "FILE", requires = "weights_of_a_layer")]
    pub(crate) calibration: Option<PathBuf>,
    /// Names of the tensors in --calibration, separated by commas [default: all of shape [*, n_embd]]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "calibration")]
    pub(crate) calibration_tensors: Vec<String>,
    #[command(flatten)]
    pub(crate) encryption: Encryption,
    #[command(flatten)]
    pub(crate) place: Place,
    /// The circuit to quantize for
    #[arg(long, value_enum, default_value_t = Circuit::Packed)]
    pub(crate) circuit: Circuit,
    #[command(flatten)]
    pub(crate) quantization: Quantization,
    /// The most tokens that an input may have later [default: those of the longest input of the calibration]
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<usize>,
    /// File to write both halves to, for server and client
    #[arg(long, value_name = "FILE", required_unless_present_any = ["server_out", "client_out"])]
    pub(crate) out: Option<PathBuf>,
    /// File to write the server's half to: weights and ranges, without the client's scales
    #[arg(long, value_name = "FILE")]
    pub(crate) server_out: Option<PathBuf>,
    /// File to write the client's half to: scales, without the weights
    #[arg(long, value_name = "FILE")]
    pub(crate) client_out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) replacing: Replacing,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

/// The arguments of `evaluate`.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArguments {
    /// Folder of a GPT-2 as Hugging Face has it [default: the small model inside this program, trained on Shakespeare]
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// Text to measure on, in UTF-8, at most 16 MiB: a file or a pipe
    ///
    /// It should not be one that the model was trained or calibrated on.
    #[arg(long, value_name = "FILE")]
    pub(crate) text: PathBuf,
    /// Leave out this share of the characters of --text, at its beginning: 0.9 leaves the last tenth
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(crate) from: f64,
    /// Text to calibrate on, of which the first 16 windows are used, for blocks 64 pieces [default: texts that the model draws itself, always the
    /// same; for the model inside this program and heads, lines inside it]
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration_text: Option<PathBuf>,
    /// How many tokens a window has [default: as many as the model has positions, at most 64]
    #[arg(long, value_name = "N")]
    pub(crate) window: Option<usize>,
    /// How many positions to measure [default: all, or 8 with --mode execute]
    ///
    /// They are the first ones of the text. With --mode execute they are drawn at random from all of it: of blocks, whole windows.
    #[arg(long, value_name = "N")]
    pub(crate) positions: Option<usize>,
    #[command(flatten)]
    pub(crate) encryption: Encryption,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Only this circuit [default: both, to compare them]
    #[arg(long, value_enum)]
    pub(crate) circuit: Option<Circuit>,
    /// File that `quantize` wrote for this layer and head, or for blocks, instead of a calibration here; can be given several times
    ///
    /// Each gives a row of the table; of blocks, all together one. The file says how it was quantized, so --circuit, --bits, --msbs,
    /// --value-bits, --guard and --calibration-text cannot be given as well.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["circuit", "bits", "msbs", "value_bits", "guard", "calibration_text"]
    )]
    pub(crate) quantized: Vec<PathBuf>,
    /// Bits of the inputs' integers, a row of the table for each: as 4, or 2..8 (both included), or 2,4,8 [default: all that the circuit
    /// takes]
    ///
    /// packed takes 2 to 8, exact 2 to 11.
    #[arg(long)]
    pub(crate) bits: Option<String>,
    #[command(flatten)]
    pub(crate) quantization: QuantizationOptions,
    #[command(flatten)]
    pub(crate) multiplication: Multiplication,
    /// How the attention is computed
    ///
    /// With execute, a sample of positions is encrypted, and the same positions are simulated for comparison.
    #[arg(long, value_enum, default_value_t = Mode::Clear)]
    pub(crate) mode: Mode,
    /// With --mode simulate, packed only: multiply the noise by this, from 0 to 1000; several numbers, separated by commas, give a
    /// row each
    #[arg(long, value_name = "FACTORS", value_delimiter = ',', default_value = "1")]
    pub(crate) noise: Vec<f64>,
    #[command(flatten)]
    pub(crate) resources: Resources,
    /// SVG file to draw the results to
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) replacing: Replacing,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

impl CommandLine {
    /// What is printed, and how.
    pub(crate) fn reporting(&self) -> Reporting {
        match &self.command {
            None => self.demo.generation.reporting,
            Some(Command::Demo(arguments)) => arguments.generation.reporting,
            Some(Command::Generate(arguments)) => arguments.generation.reporting,
            Some(Command::Head(arguments)) => arguments.reporting,
            Some(Command::Block(arguments)) => arguments.reporting,
            Some(Command::Circuit(arguments)) => arguments.reporting,
            Some(Command::Plan(arguments)) => arguments.reporting,
            Some(Command::Audit(arguments)) => arguments.reporting,
            Some(Command::Explain(arguments)) => arguments.reporting,
            Some(Command::Quantize(arguments)) => arguments.reporting,
            Some(Command::Evaluate(arguments)) => arguments.reporting,
            Some(Command::Keygen(arguments)) => arguments.reporting,
            Some(Command::Encrypt(arguments)) => arguments.reporting,
            Some(Command::Compute(arguments)) => arguments.reporting,
            Some(Command::Decrypt(arguments)) => arguments.reporting,
            #[cfg(feature = "nats")]
            Some(Command::Status(arguments)) => arguments.reporting,
        }
    }

    /// `--threads`, where the command has it.
    pub(crate) fn threads(&self) -> Option<usize> {
        match &self.command {
            None => self.demo.generation.execution.resources.threads,
            Some(Command::Demo(arguments)) => arguments.generation.execution.resources.threads,
            Some(Command::Generate(arguments)) => arguments.generation.execution.resources.threads,
            Some(Command::Head(arguments)) => arguments.execution.resources.threads,
            Some(Command::Block(arguments)) => arguments.execution.resources.threads,
            Some(Command::Audit(arguments)) => arguments.resources.threads,
            Some(Command::Evaluate(arguments)) => arguments.resources.threads,
            Some(Command::Plan(arguments)) => arguments.threads,
            Some(Command::Keygen(arguments)) => arguments.threads,
            Some(Command::Compute(arguments)) => arguments.threads,
            Some(
                Command::Circuit(_)
                | Command::Explain(_)
                | Command::Quantize(_)
                | Command::Encrypt(_)
                | Command::Decrypt(_),
            ) => None,
            #[cfg(feature = "nats")]
            Some(Command::Status(_)) => None,
        }
    }

    /// `--circuit` and `--mode`, where the command has both for one run.
    pub(crate) fn circuit_and_mode(&self) -> Option<(Circuit, Mode)> {
        let of_generation = |generation: &GenerationArguments| (generation.circuit, generation.execution.mode);
        match &self.command {
            None => Some(of_generation(&self.demo.generation)),
            Some(Command::Demo(arguments)) => Some(of_generation(&arguments.generation)),
            Some(Command::Generate(arguments)) => Some(of_generation(&arguments.generation)),
            Some(Command::Head(arguments)) => Some((arguments.selection.circuit, arguments.execution.mode)),
            Some(_) => None,
        }
    }
}
