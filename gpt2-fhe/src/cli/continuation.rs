//! A model with attention on encrypted data, token by token: what `generate` and `demo` share.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::bail;
use gpt2_fhe::run::block::{RemoteCost, RemoteText, ReplacedBlocks};
use gpt2_fhe::run::{Attention, Circuit, Mode, Outcome, RunError};
use nn::attention::Part;
use nn::gpt2::{ForwardHooks, HookError, NoHooks, Replacement, TextSession, most_likely, sampling::Sampler};
use nn::matrix::Matrix;
use nn::packed::{PackedOptions, Span};
use tfhe_core::noise;

use super::arguments::{GenerationArguments, Given, Quantization, Recipe};
use super::blocks::BlockTexts;
use super::model::LanguageModel;
use super::progress::Counter;
use super::runner::Runner;
use super::stored::Loaded;
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
    /// Entries of inputs that were cut off to their ranges.
    pub(super) saturated: usize,
    /// log2 of the chance of what [`FAILURE_MEANING`](gpt2_fhe::run::FAILURE_MEANING) says, for any request.
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
            saturated: 0,
            log2_failure: f64::NEG_INFINITY,
        }
    }

    /// Of one request.
    fn of(outcome: &Outcome) -> Self {
        Self {
            client: outcome.seconds.encrypt + outcome.seconds.decrypt,
            server: outcome.seconds.evaluate,
            pbs: outcome.statistics.pbs(),
            sent: [outcome.bytes.request, outcome.bytes.response],
            mismatches: outcome.mismatches(),
            out_of_range: outcome.out_of_range,
            saturated: outcome.saturation.count,
            log2_failure: outcome.plan.as_ref().map_or(f64::NEG_INFINITY, |plan| plan.log2_failure_probability),
        }
    }

    /// Of one request to another program, of which nothing more is known.
    fn of_remote(outcome: &RemoteCost) -> Self {
        Self { client: outcome.client, server: outcome.server, sent: outcome.bytes, ..Self::none() }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.client += other.client;
        self.server += other.server;
        self.pbs += other.pbs;
        self.sent = [0, 1].map(|way| self.sent[way] + other.sent[way]);
        self.mismatches += other.mismatches;
        self.out_of_range += other.out_of_range;
        self.saturated += other.saturated;
        self.log2_failure = noise::log2_sum(self.log2_failure, other.log2_failure);
    }
}

/// One generated token.
pub(super) struct Generated {
    pub(super) token: u32,
    /// Whether the text ends with it.
    pub(super) ends_text: bool,
    /// What the model in f32 says is most likely after the same text.
    pub(super) plain: u32,
    pub(super) cost: Cost,
}

/// A prompt, and the quantized attention of some layers of a model that is to continue it.
pub(super) struct Task {
    /// The prompt's tokens.
    pub(super) prompt: Vec<u32>,
    /// By layer, all of one part and one circuit.
    pub(super) layers: BTreeMap<usize, Attention>,
    pub(super) part: Part,
    /// How the first of the layers is quantized.
    pub(super) quantization: Quantization,
    /// The most tokens that the model sees: the last one that is predicted is not an input any more.
    pub(super) longest: usize,
}

impl Task {
    /// Tokenizes the prompt; takes the attention of files, or, where there is none, quantizes that of the layers which the arguments select.
    /// `given` are the options of the command.
    ///
    /// # Errors
    /// That the prompt is empty, or too long to be continued; that a layer or head is not there; that a file cannot be
    /// read, or does not fit the model; that the attention does not fit the circuit; that an option does not apply.
    pub(super) fn new(
        arguments: &GenerationArguments,
        given: &Given,
        model: &LanguageModel,
        (prompt, files): (&str, Vec<Loaded>),
    ) -> anyhow::Result<Self> {
        let circuit = files.first().map_or(arguments.circuit, |first| first.attention.circuit());
        given.check(&[circuit], Some(arguments.execution.mode))?;
        let prompt = encode_prompt(arguments, Some(circuit), model, prompt, 0)?;
        let longest = prompt.len() + arguments.tokens - 1;
        let Some(first) = files.first() else {
            let layers = Self::quantize(arguments, model, longest)?;
            let (part, quantization) = (arguments.part(), arguments.quantization.clone());
            return Ok(Self { prompt, layers, part, quantization, longest });
        };
        let (part, quantization) = (first.origin.part, Quantization::of(&first.origin.options));
        let layers = Self::of_files(files, model, longest)?;
        Ok(Self { prompt, layers, part, quantization, longest })
    }

    fn quantize(
        arguments: &GenerationArguments,
        model: &LanguageModel,
        longest: usize,
    ) -> anyhow::Result<BTreeMap<usize, Attention>> {
        let layers = model.selected_layers(&arguments.layers)?;
        let recipe = Recipe {
            circuit: arguments.circuit,
            bits: arguments.quantization.bits(arguments.circuit),
            multiply: arguments.multiplication.multiply,
            options: &arguments.quantization.options,
        };
        let inputs = model.calibration_inputs(arguments.calibration_text.as_deref(), "--calibration-text")?;
        let counter = Counter::new("quantizing the layers", layers.len());
        let quantize = |layer: usize| {
            let attention = model.quantize(layer, arguments.part(), recipe, (&inputs[layer], longest))?;
            counter.advance();
            Ok((layer, attention))
        };
        layers.into_iter().map(quantize).collect()
    }

    fn of_files(
        files: Vec<Loaded>,
        model: &LanguageModel,
        longest: usize,
    ) -> anyhow::Result<BTreeMap<usize, Attention>> {
        let mut layers: BTreeMap<usize, Loaded> = BTreeMap::new();
        for file in files {
            let (layer, count) = (file.origin.layer, model.gpt2.config().n_layer);
            if layer >= count {
                bail!("{} holds {}; the model has layers 0 to {}", file.names, file.in_words(), count - 1);
            }
            file.check_sizes(model.gpt2.attention(layer)?, "the model")?;
            file.check_tokens(longest, "the prompt with what follows")?;
            if let Some(other) = layers.values().find(|other| !other.goes_with(&file)) {
                bail!(
                    "{} holds {} for {}, and {} {} for {}; --quantized takes one part of different layers, for one \
                     circuit",
                    other.names,
                    other.in_words(),
                    other.attention.circuit().name(),
                    file.names,
                    file.in_words(),
                    file.attention.circuit().name(),
                );
            }
            layers.insert(layer, file);
        }
        Ok(layers.into_iter().map(|(layer, file)| (layer, file.attention)).collect())
    }

    /// The attention of the first of the layers.
    pub(super) fn first(&self) -> &Attention {
        self.layers.values().next().expect("at least one layer is selected")
    }

    /// What is computed elsewhere, in words: "the whole attention of layers 0, 1".
    pub(super) fn selection(&self) -> String {
        let numbers: Vec<String> = self.layers.keys().map(ToString::to_string).collect();
        let which = match self.layers.len() {
            1 => format!("layer {}", numbers[0]),
            _ => format!("layers {}", numbers.join(", ")),
        };
        match self.part {
            Part::Head(head) => format!("head {head} of {which}"),
            Part::Whole => format!("the whole attention of {which}"),
        }
    }

    /// What computes the layers; in execute mode, this makes the keys.
    ///
    /// # Errors
    /// As [`Runner::new`]; that the system has no randomness.
    pub(super) fn computer(&self, arguments: &GenerationArguments) -> anyhow::Result<Computer<'_>> {
        let layers = self.layers.iter().map(|(&layer, attention)| (layer, attention));
        let runner = Runner::new(&arguments.execution, layers, self.longest, self.part)?;
        Ok(Computer::Attention(self, Box::new(runner)))
    }
}

/// The attention of some layers, computed elsewhere.
struct Replaced<'a> {
    layers: &'a BTreeMap<usize, Attention>,
    part: Part,
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
        self.cost.add(&Cost::of(&outcome));
        Ok(match self.part {
            Part::Head(head) => Replacement::Heads(vec![(head, outcome.output)]),
            Part::Whole => Replacement::Projected(outcome.output),
        })
    }
}

/// What computes a part of the model.
pub(super) enum Computer<'a> {
    /// The attention of some layers.
    Attention(&'a Task, Box<Runner>),
    /// Blocks.
    Blocks(BlockTexts<'a>),
    /// Blocks, by another program.
    Remote(Box<RemoteText<'a>>),
}

impl Computer<'_> {
    /// The logits of the token after the last of new ones, and what they cost.
    fn next_logits(&mut self, session: &mut TextSession<'_>, tokens: &[u32]) -> anyhow::Result<(Vec<f32>, Cost)> {
        match self {
            Self::Attention(task, runner) => {
                let mut hooks = Replaced { layers: &task.layers, part: task.part, runner, cost: Cost::none() };
                let logits = session.next_logits(tokens, &mut hooks).map_err(RunError::unhooked)?;
                Ok((logits, hooks.cost))
            }
            Self::Blocks(texts) => {
                let (logits, outcomes) = texts.next_logits(session, tokens)?;
                let mut cost = Cost::none();
                outcomes.iter().for_each(|outcome| cost.add(&Cost::of(&outcome.run)));
                Ok((logits, cost))
            }
            Self::Remote(text) => {
                let mut hooks = ReplacedBlocks::new(std::slice::from_mut(&mut **text), true);
                let logits = session.next_logits(tokens, &mut hooks);
                let mut cost = Cost::none();
                hooks.into_outcomes().iter().for_each(|outcome| cost.add(&Cost::of_remote(outcome)));
                Ok((logits.map_err(RunError::unhooked)?, cost))
            }
        }
    }
}

/// A text that grows.
pub(super) struct Generator<'a> {
    model: &'a LanguageModel,
    encrypted: TextSession<'a>,
    plain: TextSession<'a>,
    computer: Computer<'a>,
    sampler: Sampler,
    /// What the model has not seen yet.
    pending: Vec<u32>,
}

impl<'a> Generator<'a> {
    /// A generator after the tokens `prompt`.
    pub(super) fn new(model: &'a LanguageModel, prompt: &[u32], computer: Computer<'a>, sampler: Sampler) -> Self {
        let (encrypted, plain) = (model.gpt2.session(), model.gpt2.session());
        Self { model, encrypted, plain, computer, sampler, pending: prompt.to_vec() }
    }

    /// Puts public tokens before the prompt, which the client computes in f32.
    ///
    /// # Errors
    /// That they do not fit.
    pub(super) fn begin(&mut self, public: &[u32]) -> anyhow::Result<()> {
        if !public.is_empty() {
            for session in [&mut self.encrypted, &mut self.plain] {
                session.next_logits(public, &mut NoHooks)?;
            }
        }
        Ok(())
    }

    /// The next token.
    ///
    /// # Errors
    /// [`RunError`](gpt2_fhe::run::RunError) that it could not be computed.
    pub(super) fn next(&mut self) -> anyhow::Result<Generated> {
        let (logits, cost) = self.computer.next_logits(&mut self.encrypted, &self.pending)?;
        let token = self.sampler.sample(&logits)?;
        let plain = most_likely(&self.plain.next_logits(&self.pending, &mut NoHooks)?);
        self.pending = vec![token];
        Ok(Generated { token, ends_text: self.model.ends_text(token), plain, cost })
    }
}

/// The prompt's tokens, few enough for all that are to follow. `circuit`: of attention by itself; `before`: how many tokens come
/// before it.
pub(super) fn encode_prompt(
    arguments: &GenerationArguments,
    circuit: Option<Circuit>,
    model: &LanguageModel,
    prompt: &str,
    before: usize,
) -> anyhow::Result<Vec<u32>> {
    let tokens = model.encode(prompt)?;
    let (length, more) = (tokens.len(), arguments.tokens);
    if tokens.is_empty() && prompt.is_empty() {
        bail!("the prompt is empty; give --prompt some text to continue");
    }
    if tokens.is_empty() {
        bail!("the model's tokenizer has no token for the prompt {prompt:?}; give --prompt a text in its language");
    }
    if more == 0 {
        bail!("--tokens is 0; ask for at least 1");
    }
    let positions = model.gpt2.config().n_positions;
    let (limit, whose) = match circuit {
        Some(Circuit::Packed) if PackedOptions::MAX_TOKENS < positions => {
            (PackedOptions::MAX_TOKENS, "the packed circuit")
        }
        _ => (positions, "the model"),
    };
    if before.saturating_add(length).saturating_add(more - 1) > limit {
        bail!(
            "the prompt has {}, to be continued by {more}, and {whose} has {limit} positions; shorten --prompt or ask \
             for fewer --tokens",
            plural(length, "token")
        );
    }
    Ok(tokens)
}

/// How the attention is computed, in one word.
pub(super) fn adjective(mode: Mode) -> &'static str {
    match mode {
        Mode::Clear => "quantized",
        Mode::Simulate => "simulated",
        Mode::Execute => "encrypted",
    }
}
