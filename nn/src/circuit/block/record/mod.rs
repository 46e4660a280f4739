//! Both halves of blocks to and from named tensors.
//!
//! What follows from the place of a number is not stored: the function of a table, what becomes of its results, and where a table goes on
//! without a jump. So no file can say otherwise.

mod attention;
mod readings;

use self::readings::{Results, Sizes, UPDATES, check_weights, finite, set_norm, weights};
use super::attention::AttentionProgram;
use super::calibrate::BlockPart;
use super::client::BlocksClient;
use super::end::{EndProgram, EndScale};
use super::last_state::LastStateProgram;
use super::logits::LogitsProgram;
use super::mlp::{FeedForward, MlpProgram};
use super::norm::NormProgram;
use super::program::BlockProgram;
use super::reading::Reading;
use super::scale::{AnswerScale, StreamScale};
use super::stream::StreamProgram;
use crate::error::{Error, check_within};
use crate::evaluator::SmoothUse;
use crate::gpt2::Activation;
use crate::named::NamedTensors;
use crate::table::Smooth;
use std::ops::{Range, RangeInclusive};

/// The activations that a feed-forward layer can have, by their number in files.
const GATES: [Activation; 6] = [
    Activation::GeluTanh,
    Activation::Gelu,
    Activation::GeluSigmoid,
    Activation::Relu,
    Activation::Silu,
    Activation::HardSwish,
];
/// The most channels of a stream: far more than any GPT-2 has.
const MAX_CHANNELS: usize = 1 << 20;
/// The largest number of a layer.
const MAX_LAYER: usize = 1 << 20;
/// The turns that a unit of hidden states or of logits may take, so that neither they nor their inverses overflow.
const UNIT_TURNS: RangeInclusive<f64> = 1.0 / (1_u128 << 100) as f64..=(1_u128 << 100) as f64;
/// What the middle of what is answered may be at most: far more than any model's logits and hidden states are.
const MAX_MIDDLE: f64 = (1_u64 << 40) as f64;

impl StreamProgram {
    /// The tensors that [`Self::from_tensors`] reads.
    pub(crate) fn to_tensors(&self) -> NamedTensors {
        let mut tensors = NamedTensors::default();
        for (name, number) in [
            ("channels", self.channels),
            ("head_size", self.head_size),
            ("public_tokens", self.prefix),
            ("max_tokens", self.max_tokens),
        ] {
            tensors.set_integer(name, number as i64);
        }
        for (layer, block) in (self.first..).zip(&self.blocks) {
            if let Some(attention) = &block.attention {
                attention.set(&mut tensors, &format!("blocks.{layer}.attention"));
            }
            if let Some(feed_forward) = &block.feed_forward {
                feed_forward.set(&mut tensors, &format!("blocks.{layer}.mlp"));
            }
        }
        match &self.end {
            EndProgram::Stream => (),
            EndProgram::LastState(state) => state.set(&mut tensors),
            EndProgram::Logits(logits) => logits.set(&mut tensors),
        }
        tensors
    }

    /// Reads what [`Self::to_tensors`] gives of `part` of the blocks `layers`, and checks everything that evaluators rely on.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfRange`], [`Error::NotFinite`].
    pub(crate) fn from_tensors(tensors: &NamedTensors, layers: &Range<usize>, part: BlockPart) -> Result<Self, Error> {
        check_layers(layers)?;
        let number = |name: &str| tensors.integer::<usize>(name);
        let (channels, head_size) = (number("channels")?, number("head_size")?);
        let (prefix, max_tokens) = (number("public_tokens")?, number("max_tokens")?);
        check_within("the number of channels of the stream", channels, 2..=MAX_CHANNELS)?;
        check_within("the number of channels of a head", head_size, 1..=channels - 1)?;
        check_tokens(prefix, max_tokens)?;
        let sizes = Sizes { channels, head_size, prefix };
        let ends_with_state = tensors.contains("last_state.multiples");
        let block = |layer: usize| {
            // The feed-forward layer of the last one is part of the end.
            let is_shortened = ends_with_state && layer + 1 == layers.end;
            let part = if is_shortened { BlockPart::Attention } else { part };
            // Variances are sent for the first LayerNorm of all.
            BlockProgram::from_tensors(tensors, (layer, layer == layers.start), part, &sizes)
        };
        // As many as there are tensors of, whatever the number of layers says.
        let blocks = layers.clone().map(block).collect::<Result<Vec<_>, _>>()?;
        let end = if tensors.contains("logits.weight") {
            EndProgram::Logits(LogitsProgram::from_tensors(tensors, channels)?)
        } else if ends_with_state {
            EndProgram::LastState(LastStateProgram::from_tensors(tensors, channels)?)
        } else {
            EndProgram::Stream
        };
        if end != EndProgram::Stream && part != BlockPart::Whole {
            return Err(Error::out_of_range("the part of blocks before their end", format!("{part:?}"), "Whole"));
        }
        Ok(Self { first: layers.start, part, blocks, end, channels, head_size, prefix, max_tokens })
    }
}

fn check_layers(layers: &Range<usize>) -> Result<(), Error> {
    check_within("the first layer", layers.start, 0..=MAX_LAYER)?;
    check_within("the number of blocks", layers.len(), 1..=MAX_LAYER)
}

fn check_tokens(public: usize, most: usize) -> Result<(), Error> {
    check_within("the largest number of tokens", most, 1..=StreamProgram::MAX_TOKENS)?;
    check_within("the number of public tokens", public, 0..=most - 1)
}

impl BlockProgram {
    fn from_tensors(
        tensors: &NamedTensors,
        (layer, has_variance): (usize, bool),
        part: BlockPart,
        sizes: &Sizes,
    ) -> Result<Self, Error> {
        let attention =
            || AttentionProgram::from_tensors(tensors, (&format!("blocks.{layer}.attention"), has_variance), sizes);
        let feed_forward = || {
            let has_variance = has_variance && !part.has_attention();
            MlpProgram::from_tensors(tensors, (&format!("blocks.{layer}.mlp"), has_variance), sizes.channels)
        };
        Ok(Self {
            attention: part.has_attention().then(attention).transpose()?,
            feed_forward: part.has_feed_forward().then(feed_forward).transpose()?,
        })
    }
}

impl MlpProgram {
    fn set(&self, tensors: &mut NamedTensors, at: &str) {
        self.layer.set(tensors, at);
        self.update.set(tensors, &format!("{at}.update"));
    }

    fn from_tensors(tensors: &NamedTensors, (at, has_variance): (&str, bool), channels: usize) -> Result<Self, Error> {
        let layer = FeedForward::from_tensors(tensors, (at, has_variance), channels)?;
        Ok(Self { layer, update: Reading::from_tensors(tensors, &format!("{at}.update"), &UPDATES, [channels; 2])? })
    }
}

impl FeedForward {
    fn set(&self, tensors: &mut NamedTensors, at: &str) {
        set_norm(tensors, at, &self.norm);
        tensors.set_matrix(&format!("{at}.expand.weight"), &self.expand);
        self.activation.set(tensors, &format!("{at}.activation"));
        let function = self.activation.tables().next().map(|table| table.function());
        let gate = GATES.iter().position(|&gate| function == Some(Smooth::Gate(gate)));
        let gate = gate.expect("a layer has a channel, and calibration takes these activations only");
        tensors.set_integer(&format!("{at}.activation.function"), gate as i64);
        tensors.set_matrix(&format!("{at}.contract.weight"), &self.contract);
        tensors.set_matrix(&format!("{at}.half.weight"), &self.half);
    }

    fn from_tensors(tensors: &NamedTensors, (at, has_variance): (&str, bool), channels: usize) -> Result<Self, Error> {
        let [_, expanded] = tensors.shape(&format!("{at}.expand.weight"))?;
        let gate: usize = tensors.integer(&format!("{at}.activation.function"))?;
        check_within("the number of an activation", gate, 0..=GATES.len() - 1)?;
        let results = Results { function: Smooth::Gate(GATES[gate]), goes_on: false, result: SmoothUse::Feature };
        Ok(Self {
            norm: NormProgram::from_tensors(tensors, at, (!has_variance).then_some(channels))?,
            expand: weights(tensors, &format!("{at}.expand.weight"), [channels, expanded])?,
            activation: Reading::from_tensors(tensors, &format!("{at}.activation"), &results, [expanded, expanded])?,
            contract: weights(tensors, &format!("{at}.contract.weight"), [expanded, channels])?,
            half: weights(tensors, &format!("{at}.half.weight"), [channels, channels])?,
        })
    }
}

impl LastStateProgram {
    fn set(&self, tensors: &mut NamedTensors) {
        self.layer.set(tensors, "last_state.mlp");
        let multiples = self.multiples.iter().copied().map(i64::from);
        tensors.set_integers("last_state.multiples", &[self.multiples.len()], multiples);
        tensors.set_reals("last_state.constants", &[self.constants.len()], self.constants.iter().copied());
    }

    fn from_tensors(tensors: &NamedTensors, channels: usize) -> Result<Self, Error> {
        let multiples = tensors.integers("last_state.multiples", &[channels])?;
        check_weights("last_state.multiples", &multiples)?;
        Ok(Self {
            layer: FeedForward::from_tensors(tensors, ("last_state.mlp", false), channels)?,
            multiples,
            constants: finite(tensors, "last_state.constants", &[channels])?,
        })
    }
}

impl LogitsProgram {
    fn set(&self, tensors: &mut NamedTensors) {
        set_norm(tensors, "logits", &self.norm);
        tensors.set_matrix("logits.weight", &self.weight);
        tensors.set_reals("logits.constants", &[self.constants.len()], self.constants.iter().copied());
    }

    fn from_tensors(tensors: &NamedTensors, channels: usize) -> Result<Self, Error> {
        let [size] = tensors.shape("logits.constants")?;
        Ok(Self {
            norm: NormProgram::from_tensors(tensors, "logits", Some(channels))?,
            weight: weights(tensors, "logits.weight", [channels, size])?,
            constants: finite(tensors, "logits.constants", &[size])?,
        })
    }
}

impl BlocksClient {
    /// The tensors that [`Self::from_tensors`] reads.
    pub(crate) fn to_tensors(&self) -> NamedTensors {
        let mut tensors = NamedTensors::default();
        tensors.set_integer("head_size", self.head_size as i64);
        tensors.set_integer("max_tokens", self.max_tokens as i64);
        // No tensor has no entry.
        if !self.public_tokens.is_empty() {
            let public = self.public_tokens.iter().copied().map(i64::from);
            tensors.set_integers("public_tokens", &[self.public_tokens.len()], public);
        }
        let mut reals = |name: &str, values: &[f64]| tensors.set_reals(name, &[values.len()], values.iter().copied());
        reals("turns", self.stream.turns());
        reals("variance", &[self.variance]);
        let end = match &self.end {
            EndScale::Stream => None,
            EndScale::LastState(scale) => Some(("last_state", scale)),
            EndScale::Logits(scale) => Some(("logits", scale)),
        };
        if let Some((at, scale)) = end {
            reals(&format!("{at}.turns"), &scale.turns);
            reals(&format!("{at}.middles"), &scale.middles);
        }
        tensors
    }

    /// Reads what [`Self::to_tensors`] gives of `part` of the blocks `layers`, and checks it.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfRange`], [`Error::NotFinite`].
    pub(crate) fn from_tensors(tensors: &NamedTensors, layers: &Range<usize>, part: BlockPart) -> Result<Self, Error> {
        check_layers(layers)?;
        let public_tokens: Vec<u32> = match tensors.contains("public_tokens") {
            true => {
                let [count] = tensors.shape("public_tokens")?;
                tensors.integers("public_tokens", &[count])?
            }
            false => Vec::new(),
        };
        let [channels] = tensors.shape("turns")?;
        check_within("the number of channels of the stream", channels, 2..=MAX_CHANNELS)?;
        let (head_size, max_tokens) = (tensors.integer("head_size")?, tensors.integer("max_tokens")?);
        check_within("the number of channels of a head", head_size, 1..=channels - 1)?;
        check_tokens(public_tokens.len(), max_tokens)?;
        let end = if tensors.contains("logits.turns") {
            let [size] = tensors.shape("logits.turns")?;
            EndScale::Logits(AnswerScale::from_tensors(tensors, "logits", size)?)
        } else if tensors.contains("last_state.turns") {
            EndScale::LastState(AnswerScale::from_tensors(tensors, "last_state", channels)?)
        } else {
            EndScale::Stream
        };
        let stream = StreamScale { turns: unit_turns(tensors, "turns", channels)? };
        let variance = unit_turns(tensors, "variance", 1)?[0];
        let (first, blocks) = (layers.start, layers.len());
        Ok(Self { first, blocks, part, head_size, max_tokens, public_tokens, stream, variance, end })
    }
}

impl AnswerScale {
    fn from_tensors(tensors: &NamedTensors, at: &str, size: usize) -> Result<Self, Error> {
        let middles = tensors.reals(&format!("{at}.middles"), &[size])?;
        if let Some(middle) = middles.iter().find(|middle| middle.abs() > MAX_MIDDLE) {
            let what = format!("an entry of tensor \"{at}.middles\"");
            return Err(Error::out_of_range(&what, middle, "at most 2^40 in size"));
        }
        Ok(Self { turns: unit_turns(tensors, &format!("{at}.turns"), size)?, middles })
    }
}

/// The turns that units of `size` channels take.
fn unit_turns(tensors: &NamedTensors, name: &str, size: usize) -> Result<Vec<f64>, Error> {
    let turns = tensors.positive_reals(name, &[size])?;
    match turns.iter().find(|turns| !UNIT_TURNS.contains(turns)) {
        None => Ok(turns),
        Some(turns) => {
            Err(Error::out_of_range(&format!("an entry of tensor \"{name}\""), turns, "from 2^-100 to 2^100"))
        }
    }
}

#[cfg(test)]
mod tests;
