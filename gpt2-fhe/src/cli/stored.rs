//! Quantized attention from files that `quantize` wrote.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use gpt2_fhe::integer::multiply::Multiply;
use gpt2_fhe::run::exact::ExactAttention;
use gpt2_fhe::run::{Attention, Circuit};
use nn::attention::{AttentionWeights, Part};
use nn::record::{AttentionFingerprint, Origin, Quantized, QuantizedFile};

use super::arguments::Place;
use super::source::check_file;
use super::text::plural;

/// The quantized attention of one calibration.
pub(super) struct Loaded {
    /// The files that it is from.
    pub(super) names: String,
    pub(super) origin: Origin,
    pub(super) attention: Attention,
}

/// What the files hold, in the order of their first halves: each calibration once, its halves joined.
///
/// # Errors
/// That a file cannot be read, or is the only half of a calibration.
pub(super) fn load(paths: &[PathBuf], multiply: Multiply) -> anyhow::Result<Vec<Loaded>> {
    let mut calibrations: Vec<(AttentionFingerprint, String, QuantizedFile)> = Vec::new();
    for path in paths {
        check_file(path, "--quantized")?;
        let (name, file) = (path.display().to_string(), QuantizedFile::read(path)?);
        let fingerprint = file.fingerprint();
        match calibrations.iter_mut().find(|(other, ..)| *other == fingerprint) {
            Some((_, names, joined)) => {
                *joined = joined.clone().join(file)?;
                *names += &format!(" and {name}");
            }
            None => calibrations.push((fingerprint, name, file)),
        }
    }
    let open = |(fingerprint, names, file): (AttentionFingerprint, String, QuantizedFile)| {
        for (half, there) in [("server", file.server().is_some()), ("client", file.client().is_some())] {
            if !there {
                bail!(
                    "{names} has no half for the {half}: give --quantized the file that has it too, with the same \
                     fingerprint, {fingerprint}"
                );
            }
        }
        let origin = *file.origin();
        let attention = match file.into_attention().map_err(|error| anyhow!("cannot use {names}: {error}"))? {
            Quantized::Exact(head) => Attention::Exact(Box::new(ExactAttention { quantized: *head, multiply })),
            Quantized::Packed(attention) => Attention::Packed(attention),
        };
        Ok(Loaded { names, origin, attention })
    };
    calibrations.into_iter().map(open).collect()
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
                [program.embedding_size(), program.head_size(), program.output_size()]
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
