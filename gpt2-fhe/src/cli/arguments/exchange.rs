//! The arguments of the commands of two parties, which exchange files.

use std::path::PathBuf;

use clap::Args;

use super::{Replacing, Reporting};

/// Where blocks are computed, if it is by another program.
#[derive(Debug, Args)]
pub(crate) struct Serving {
    /// Have the blocks computed by a `gpt2-fhe-server`, for example at http://127.0.0.1:8077
    ///
    /// --quantized names the client's half of its blocks, and nothing else of them is needed here. The server gets evaluation keys once, and
    /// encrypted requests.
    #[arg(long, value_name = "URL", requires = "quantized")]
    pub(crate) server: Option<String>,
    /// File with the word that the server asks for
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(crate) token_file: Option<PathBuf>,
    /// With --server: file of the client's secret, which `keygen` wrote [default: a new one, which is forgotten]
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(crate) secret: Option<PathBuf>,
    /// With --secret: file of its evaluation keys [default: they are made again]
    #[arg(long, value_name = "FILE", requires = "secret")]
    pub(crate) evaluation_keys: Option<PathBuf>,
}

/// The arguments of `keygen`.
#[derive(Debug, Args)]
pub(crate) struct KeygenArguments {
    /// File for the client's secret, which only its owner can read: whoever has it can decrypt everything
    #[arg(long, value_name = "FILE")]
    pub(crate) secret: PathBuf,
    /// File for the evaluation keys, which the server needs; they show nothing of what is encrypted
    #[arg(long, value_name = "FILE")]
    pub(crate) evaluation_keys: PathBuf,
    /// Makes the keys from a number, and equal requests equal; for experiments only, since everyone can try numbers
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Threads to compute with [default: as many as the machine has cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) replacing: Replacing,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

/// What a client has of encrypted blocks.
#[derive(Debug, Args)]
pub(crate) struct ClientFiles {
    /// File of the client's secret, which `keygen` wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) secret: PathBuf,
    /// File of the blocks that `quantize` wrote: the client's half, or both
    #[arg(long, value_name = "FILE")]
    pub(crate) quantized: PathBuf,
}

/// The arguments of `encrypt`.
#[derive(Debug, Args)]
pub(crate) struct EncryptArguments {
    #[command(flatten)]
    pub(crate) client: ClientFiles,
    /// The text to continue; all of it, also what earlier requests were of
    #[arg(long, required_unless_present = "hidden")]
    pub(crate) prompt: Option<String>,
    /// Folder of a GPT-2 as Hugging Face has it [default: the small model inside this program, trained on Shakespeare]
    #[arg(long, value_name = "DIR", conflicts_with = "hidden")]
    pub(crate) model: Option<PathBuf>,
    /// Safetensors file with hidden states, as they are before the first of the blocks, instead of a text
    #[arg(long, value_name = "FILE", conflicts_with = "prompt", requires = "tensor")]
    pub(crate) hidden: Option<PathBuf>,
    /// Name of the tensor in --hidden, of shape [tokens, n_embd]
    #[arg(long, value_name = "NAME", requires = "hidden")]
    pub(crate) tensor: Option<String>,
    /// How many tokens of the input the server has from earlier requests of this text; the others are encrypted
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) earlier: usize,
    /// File for the request
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) replacing: Replacing,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

/// The arguments of `compute`.
#[derive(Debug, Args)]
pub(crate) struct ComputeArguments {
    /// File of the client's evaluation keys, which `keygen` wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) evaluation_keys: PathBuf,
    /// File of the blocks that `quantize` wrote: the server's half, or both
    #[arg(long, value_name = "FILE")]
    pub(crate) quantized: PathBuf,
    /// File of the request, which `encrypt` wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) request: PathBuf,
    /// Folder in which the server keeps, encrypted, what it has of the text: then later requests are of new tokens only
    ///
    /// It is made if it is not there. A computation that was stopped goes on from there after its last block that was done.
    #[arg(long, value_name = "DIR")]
    pub(crate) text: Option<PathBuf>,
    /// File for the answer
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// File for a record of the lookups: how long each call and each batch of blind rotations took, as JSON
    ///
    /// Blind rotations are done in batches then, each by one thread, as workers do them; the answer is the same. `plan --record` reads it.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// With --record: what it is a record of, in a line
    #[arg(long, value_name = "TEXT", default_value = "", requires = "record")]
    pub(crate) record_note: String,
    /// Threads to compute with [default: as many as the machine has cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) replacing: Replacing,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

/// The arguments of `decrypt`.
#[derive(Debug, Args)]
pub(crate) struct DecryptArguments {
    #[command(flatten)]
    pub(crate) client: ClientFiles,
    /// File of the request that was sent: only its own answer is decrypted
    #[arg(long, value_name = "FILE")]
    pub(crate) request: PathBuf,
    /// File of the answer, which `compute` wrote
    #[arg(long, value_name = "FILE")]
    pub(crate) answer: PathBuf,
    /// Folder of a GPT-2 as Hugging Face has it, for the next token [default: the small model inside this program]
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// Safetensors file for the values: `block_out` [tokens, n_embd], or `logits` [1, n_vocab]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) replacing: Replacing,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}
