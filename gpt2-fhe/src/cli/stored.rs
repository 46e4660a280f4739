//! Quantized attention from files that `quantize` wrote.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use gpt2_fhe::integer::multiply::Multiply;
use gpt2_fhe::run::exact::ExactAttention;
use gpt2_fhe::run::{Attention, Circuit};
use nn::attention::{AttentionWeights, Part};
use nn::block::{BlockPart, BlocksClient, EndScale, Ending, ModelProgram};
use nn::gpt2::Gpt2;
use nn::record::{AttentionFingerprint, AttentionOrigin, Origin, Quantized, QuantizedFile};

use super::arguments::{Encrypt, Given, Place};
use super::source::check_file;
use super::text::plural;

/// The quantized attention of one calibration.
pub(super) struct Loaded {
    /// The files that it is from.
    pub(super) names: String,
    pub(super) origin: AttentionOrigin,
    pub(super) attention: Attention,
}

/// Quantized blocks of one calibration.
pub(super) struct LoadedBlocks {
    /// The files that they are from.
    pub(super) names: String,
    pub(super) model: ModelProgram,
}

/// What files hold.
pub(super) enum Stored {
    /// Attention, of any number of calibrations.
    Attention(Vec<Loaded>),
    /// Blocks, of one calibration or more.
    Blocks(Vec<LoadedBlocks>),
}

/// What the files hold, in the order of their first halves: each calibration once, its halves joined. Of no file, no attention.
///
/// # Errors
/// That a file cannot be read, is the only half of a calibration, or holds blocks where another holds attention.
pub(super) fn load(paths: &[PathBuf], multiply: Multiply) -> anyhow::Result<Stored> {
    let (mut attention, mut blocks) = (Vec::new(), Vec::new());
    for (names, file) in join(paths)? {
        let origin = *file.origin();
        match (file.into_quantized().map_err(|error| anyhow!("cannot use {names}: {error}"))?, origin) {
            (Quantized::Exact(head), Origin::Attention(origin)) => {
                let attention_of = Attention::Exact(Box::new(ExactAttention { quantized: *head, multiply }));
                attention.push(Loaded { names, origin, attention: attention_of });
            }
            (Quantized::Packed(packed), Origin::Attention(origin)) => {
                attention.push(Loaded { names, origin, attention: Attention::Packed(packed) });
            }
            (Quantized::Blocks(model), _) => blocks.push(LoadedBlocks { names, model: *model }),
            (_, Origin::Blocks(_)) => bail!("cannot use {names}: it says that it holds blocks, and holds attention"),
        }
    }
    match (attention.first(), blocks.first()) {
        (Some(one), Some(other)) => bail!(
            "{} holds {}, and {} {}; give --quantized either attention or blocks",
            one.names,
            one.in_words(),
            other.names,
            other.in_words()
        ),
        (_, None) => Ok(Stored::Attention(attention)),
        (None, Some(_)) => Ok(Stored::Blocks(blocks)),
    }
}

impl Stored {
    /// Attention where that is to be encrypted, and blocks where blocks are: `encrypt` says which, unless there are files and it is not
    /// `given`. There may be no file.
    ///
    /// # Errors
    /// That the files hold the other.
    pub(super) fn agreeing_with(self, encrypt: &Encrypt, given: &Given) -> anyhow::Result<Self> {
        match self {
            Self::Attention(files) if *encrypt == Encrypt::Heads => Ok(Self::Attention(files)),
            Self::Attention(files) => match files.first() {
                None => Ok(Self::Blocks(Vec::new())),
                Some(file) => {
                    bail!("{} holds {}, and --encrypt {encrypt} needs blocks", file.names, file.in_words())
                }
            },
            Self::Blocks(files) if *encrypt == Encrypt::Heads && given.has("encrypt") => {
                let file = &files[0];
                bail!("{} holds {}, and --encrypt heads needs attention", file.names, file.in_words())
            }
            Self::Blocks(files) => Ok(Self::Blocks(files)),
        }
    }
}

/// As [`load`] where only attention will do.
///
/// # Errors
/// As [`load`]; that a file holds blocks.
pub(super) fn load_attention(paths: &[PathBuf], multiply: Multiply) -> anyhow::Result<Vec<Loaded>> {
    match load(paths, multiply)? {
        Stored::Attention(files) => Ok(files),
        Stored::Blocks(files) => {
            let LoadedBlocks { names, .. } = &files[0];
            bail!("{names} holds {}; give --quantized attention here", files[0].in_words())
        }
    }
}

/// The files by fingerprint, each calibration with the names of its files and both of its halves.
fn join(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, QuantizedFile)>> {
    let mut calibrations: Vec<(AttentionFingerprint, String, QuantizedFile)> = Vec::new();
    for path in paths {
        check_file(path, "--quantized")?;
        let (name, file) = (path.display().to_string(), QuantizedFile::read(path)?);
        let fingerprint = file.fingerprint();
        match calibrations.iter().position(|(other, ..)| *other == fingerprint) {
            Some(index) => {
                let (_, names, earlier) = calibrations.remove(index);
                let joined = (fingerprint, format!("{names} and {name}"), earlier.join(file)?);
                calibrations.insert(index, joined);
            }
            None => calibrations.push((fingerprint, name, file)),
        }
    }
    let complete = |(fingerprint, names, file): (AttentionFingerprint, String, QuantizedFile)| {
        for (half, there) in [("server", file.server().is_some()), ("client", file.client().is_some())] {
            if !there {
                bail!(
                    "{names} has no half for the {half}: give --quantized the file that has it too, with the same \
                     fingerprint, {fingerprint}"
                );
            }
        }
        Ok((names, file))
    };
    calibrations.into_iter().map(complete).collect()
}

impl Loaded {
    /// The circuit, and the number of bits of inputs.
    pub(super) fn width(&self) -> (Circuit, u32) {
        (self.attention.circuit(), self.origin.options.bits())
    }

    /// The most tokens of an input.
    pub(super) fn max_tokens(&self) -> usize {
        match &self.attention {
            Attention::Exact(exact) => exact.quantized.program().max_tokens(),
            Attention::Packed(attention) => attention.program().max_tokens(),
        }
    }

    /// What it is, in words.
    pub(super) fn in_words(&self) -> String {
        in_words(self.origin.part, self.origin.layer)
    }

    /// Whether both can be in one model: they are of different layers, and the same part and circuit.
    pub(super) fn goes_with(&self, other: &Self) -> bool {
        let (a, b) = (self.origin, other.origin);
        a.layer != b.layer && a.part == b.part && self.attention.circuit() == other.attention.circuit()
    }

    /// Checks that this is the attention that `place` names.
    ///
    /// # Errors
    /// That it is another.
    pub(super) fn check_place(&self, place: &Place) -> anyhow::Result<()> {
        if (self.origin.layer, self.origin.part) == (place.layer, place.part()) {
            return Ok(());
        }
        let (names, found, asked) = (&self.names, self.in_words(), in_words(place.part(), place.layer));
        bail!("{names} holds {found}, and not {asked}: see --layer, --head and --all-heads");
    }

    /// Checks that the layer's attention of `whose` has this part, and its sizes. That the weights are those it was
    /// quantized from cannot be seen.
    ///
    /// # Errors
    /// That it has not.
    pub(super) fn check_sizes(&self, weights: &AttentionWeights, whose: &str) -> anyhow::Result<()> {
        let (part, names) = (self.origin.part, &self.names);
        weights.heads_of(part).map_err(|error| anyhow!("cannot use {names} with {whose}: {error}"))?;
        let sizes = match &self.attention {
            Attention::Exact(exact) => {
                let head = &exact.quantized;
                let program = head.program();
                [program.embedding_size(), program.head_size(), program.output_size()]
            }
            Attention::Packed(attention) => {
                let program = attention.program();
                [program.embedding_size(), program.head_size(), attention.client().output_size()]
            }
        };
        let expected = [weights.embedding_size(), weights.head_size(), weights.output_size(part)];
        if sizes != expected {
            bail!(
                "{names} is of a model with [n_embd, head, output] = {sizes:?}, and {whose} of one with {expected:?}"
            );
        }
        Ok(())
    }

    /// Checks that inputs may have `tokens` tokens, as those of `whose` have.
    ///
    /// # Errors
    /// That they may not.
    pub(super) fn check_tokens(&self, tokens: usize, whose: &str) -> anyhow::Result<()> {
        let (names, limit) = (&self.names, self.max_tokens());
        if tokens > limit {
            let limit = plural(limit, "token");
            bail!("{names} is for inputs of at most {limit}, and {whose} has {tokens}: use quantize --max-tokens");
        }
        Ok(())
    }
}

/// A part of a layer's attention, in words.
pub(super) fn in_words(part: Part, layer: usize) -> String {
    match part {
        Part::Head(head) => format!("attention head {head} of layer {layer}"),
        Part::Whole => format!("all attention heads of layer {layer}, and c_proj"),
    }
}

impl LoadedBlocks {
    /// What they are, in words.
    pub(super) fn in_words(&self) -> String {
        let client = self.model.client();
        blocks_in_words(client.part(), &client.layers().collect::<Vec<_>>())
    }
}

/// Checks that blocks, whose client's half is `client`, are of a model like this one. That the weights are those they were quantized from
/// cannot be seen.
///
/// # Errors
/// That they are not.
pub(super) fn check_blocks(names: &str, client: &BlocksClient, model: &Gpt2) -> anyhow::Result<()> {
    let config = model.config();
    if client.layers().end > config.n_layer {
        let last = config.n_layer - 1;
        bail!(
            "{names} holds {}; the model has blocks 0 to {last}",
            blocks_in_words(client.part(), &client.layers().collect::<Vec<_>>())
        );
    }
    let found = [client.embedding_size(), client.head_size()];
    let expected = [config.n_embd, config.head_size()];
    if found != expected {
        bail!("{names} is of a model with [n_embd, head] = {found:?}, and the model is one with {expected:?}");
    }
    if let Some(token) = client.public_tokens().iter().find(|token| **token as usize >= config.vocab_size) {
        bail!("{names} begins texts with token {token}; the model has tokens 0 to {}", config.vocab_size - 1);
    }
    if client.end().ending() != Ending::Stream && client.layers().end != config.n_layer {
        let last = client.layers().end - 1;
        bail!("{names} answers of the last token only, after block {last}, which is not the model's last");
    }
    if let EndScale::Logits(scale) = client.end()
        && scale.size() != config.vocab_size
    {
        bail!("{names} is of a model with {} tokens, and the model is one with {}", scale.size(), config.vocab_size)
    }
    Ok(())
}

/// Blocks, or parts of them, in words.
pub(super) fn blocks_in_words(part: BlockPart, layers: &[usize]) -> String {
    let numbers = match *layers {
        [first, .., last] if part == BlockPart::Whole => format!("blocks {first} to {last}"),
        [only] => format!("block {only}"),
        _ => format!("blocks {}", layers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    match part {
        BlockPart::Whole => numbers,
        BlockPart::Attention => format!("the attention of {numbers}"),
        BlockPart::FeedForward => format!("the feed-forward layer of {numbers}"),
    }
}
