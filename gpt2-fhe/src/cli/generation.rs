//! A model with attention on encrypted data, token by token: what `generate` and `demo` share.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::bail;
use gpt2_fhe::run::{Attention, Circuit, Mode, RunError};
use nn::gpt2::{ForwardHooks, HookError, NoHooks, Replacement, Session, most_likely, sampling::Sampler};
use nn::matrix::Matrix;
use nn::packed::{PackedOptions, Span};
use tfhe_core::noise;

use super::arguments::{GenerationArguments, Layers};
use super::model::LanguageModel;
use super::runner::Runner;
use super::text::plural;

/// What a token, or all of them, cost.
#[derive(Clone, Debug)]
pub(super) struct Cost {
    /// Seconds of the client: encryption and decryption.
    pub(super) client: f64,
    /// Seconds of the server.
    pub(super) server: f64,
    pub(super) pbs: usize,
    /// Bytes from the client to the server, and back.
    pub(super) sent: [usize; 2],
    /// Numbers that are not the clear engine's, or farther from it than the noise explains.
    pub(super) mismatches: usize,
    /// Arguments of lookups, and outputs, beyond the range that calibration gave them.
    pub(super) out_of_range: usize,
    /// log2 of the probability that any lookup failed, or any output was decrypted wrongly.
    pub(super) log2_failure: f64,
}

impl Cost {
    pub(super) fn none() -> Self {
        Self {
            client: 0.0,
            server: 0.0,
            pbs: 0,
            sent: [0; 2],
            mismatches: 0,
            out_of_range: 0,
            log2_failure: f64::NEG_INFINITY,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.client += other.client;
        self.server += other.server;
        self.pbs += other.pbs;
        self.sent = [0, 1].map(|way| self.sent[way] + other.sent[way]);
        self.mismatches += other.mismatches;
        self.out_of_range += other.out_of_range;
        self.log2_failure = noise::log2_sum(self.log2_failure, other.log2_failure);
    }
}

/// One generated token.
pub(super) struct Generated {
    pub(super) token: u32,
    /// What the model in f32 says is most likely after the same text.
    pub(super) plain: u32,
    pub(super) cost: Cost,
}

/// The attention of some layers, computed elsewhere.
struct Replaced<'a> {
    layers: &'a BTreeMap<usize, Attention>,
    head: Option<usize>,
    runner: &'a mut Runner,
    cost: Cost,
}

impl ForwardHooks for Replaced<'_> {
    fn replace_attention(
        &mut self,
        layer: usize,
        input: &Matrix<f32>,
        new_rows: Range<usize>,
    ) -> Result<Replacement, HookError> {
        let Some(attention) = self.layers.get(&layer) else { return Ok(Replacement::Nothing) };
        let outcome = self.runner.run(attention, layer, input, Span::new(new_rows.start, new_rows.end))?;
        self.cost.add(&Cost {
            client: outcome.seconds.encrypt + outcome.seconds.decrypt,
            server: outcome.seconds.evaluate,
            pbs: outcome.statistics.pbs(),
            sent: [outcome.bytes.request, outcome.bytes.response],
            mismatches: outcome.mismatches(),
            out_of_range: outcome.out_of_range,
            log2_failure: outcome.plan.as_ref().map_or(f64::NEG_INFINITY, |plan| plan.log2_failure_probability()),
        });
        Ok(match self.head {
            Some(head) => Replacement::Heads(vec![(head, outcome.output)]),
            None => Replacement::Projected(outcome.output),
        })
    }
}

/// A text that grows.
pub(super) struct Generator<'a> {
    encrypted: Session<'a>,
    plain: Session<'a>,
    layers: BTreeMap<usize, Attention>,
    head: Option<usize>,
    runner: Runner,
    sampler: Sampler,
    /// What the model has not seen yet.
    pending: Vec<u32>,
}

impl<'a> Generator<'a> {
    /// Quantizes the attention of the layers that the arguments select, for a prompt of `prompt` tokens.
    ///
    /// # Errors
    /// That a layer or head is not there, or the attention does not fit the circuit.
    pub(super) fn quantize(
        arguments: &GenerationArguments,
        model: &LanguageModel,
        prompt: usize,
    ) -> anyhow::Result<BTreeMap<usize, Attention>> {
        let count = model.gpt2.config().n_layer;
        let layers = match &arguments.layers {
            Layers::All => (0..count).collect(),
            Layers::Some(layers) => layers.clone(),
        };
        if let Some(layer) = layers.iter().find(|&&layer| layer >= count) {
            bail!("--layers has {layer}; the model has layers 0 to {}", count - 1);
        }
        let longest = longest(arguments, prompt);
        let how = (arguments.circuit, &arguments.quantization);
        let quantize = |layer| Ok((layer, model.quantize(layer, arguments.part(), how, longest)?));
        layers.into_iter().map(quantize).collect()
    }

    /// A generator of the layers that [`Self::quantize`] made, after `prompt`.
    pub(super) fn new(
        arguments: &GenerationArguments,
        model: &'a LanguageModel,
        layers: BTreeMap<usize, Attention>,
        runner: Runner,
        sampler: Sampler,
        prompt: &[u32],
    ) -> Self {
        let (encrypted, plain) = (model.gpt2.session(), model.gpt2.session());
        Self { encrypted, plain, layers, head: arguments.head, runner, sampler, pending: prompt.to_vec() }
    }

    /// The next token.
    ///
    /// # Errors
    /// [`RunError`] that the attention could not be run; that Ctrl-C was pressed.
    pub(super) fn next(&mut self) -> anyhow::Result<Generated> {
        let (layers, head, runner) = (&self.layers, self.head, &mut self.runner);
        let mut hooks = Replaced { layers, head, runner, cost: Cost::none() };
        let logits = self.encrypted.next_logits(&self.pending, &mut hooks).map_err(unhook)?;
        let cost = hooks.cost;
        let token = self.sampler.sample(&logits)?;
        let plain = most_likely(&self.plain.next_logits(&self.pending, &mut NoHooks)?);
        self.pending = vec![token];
        Ok(Generated { token, plain, cost })
    }
}

/// The most tokens that the model sees after a prompt of `prompt`: the last one that is predicted is not an input any more.
pub(super) fn longest(arguments: &GenerationArguments, prompt: usize) -> usize {
    prompt + arguments.tokens - 1
}

/// The layers' attention, borrowed.
pub(super) fn refs(layers: &BTreeMap<usize, Attention>) -> impl Iterator<Item = (usize, &Attention)> {
    layers.iter().map(|(&layer, attention)| (layer, attention))
}

/// The error of a run, out of what the forward pass makes of it.
fn unhook(error: nn::Error) -> anyhow::Error {
    match error {
        nn::Error::Hook(inner) => match inner.downcast::<RunError>() {
            Ok(error) => (*error).into(),
            Err(inner) => nn::Error::Hook(inner).into(),
        },
        error => error.into(),
    }
}

/// The prompt's tokens, few enough for all that are to follow.
pub(super) fn encode_prompt(
    arguments: &GenerationArguments,
    model: &LanguageModel,
    prompt: &str,
) -> anyhow::Result<Vec<u32>> {
    let tokens = model.encode(prompt)?;
    let (length, more) = (tokens.len(), arguments.tokens);
    if tokens.is_empty() {
        bail!("the prompt is empty; give --prompt some text to continue");
    }
    if more == 0 {
        bail!("--tokens is 0; ask for at least 1");
    }
    let positions = model.gpt2.config().n_positions;
    let (limit, whose) = match arguments.circuit {
        Circuit::Packed if PackedOptions::MAX_TOKENS < positions => (PackedOptions::MAX_TOKENS, "the packed circuit"),
        _ => (positions, "the model"),
    };
    if length.saturating_add(more - 1) > limit {
        bail!(
            "the prompt has {}, to be continued by {more}, and {whose} has {limit} positions; shorten --prompt or ask \
             for fewer --tokens",
            plural(length, "token")
        );
    }
    Ok(tokens)
}

/// What is computed where, in words: "all heads of 3 layers".
pub(super) fn selection(arguments: &GenerationArguments, layers: &BTreeMap<usize, Attention>) -> String {
    let numbers: Vec<String> = layers.keys().map(ToString::to_string).collect();
    let which = match layers.len() {
        1 => format!("layer {}", numbers[0]),
        _ => format!("layers {}", numbers.join(", ")),
    };
    match arguments.head {
        Some(head) => format!("head {head} of {which}"),
        None => format!("the whole attention of {which}"),
    }
}

/// How the attention is computed, in one word.
pub(super) fn adjective(mode: Mode) -> &'static str {
    match mode {
        Mode::Clear => "quantized",
        Mode::Simulate => "simulated",
        Mode::Execute => "encrypted",
    }
}
