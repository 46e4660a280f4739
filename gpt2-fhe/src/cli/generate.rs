//! The command `generate`: a continuation, token by token as they come; beside it, what each cost.

use std::io::IsTerminal;

use anyhow::bail;
use gpt2_fhe::run::RunError;
use gpt2_fhe::run::block::{BlockParty, RemoteText};
use gpt2_fhe::run::{FAILURE_MEANING, Mode};
use nn::gpt2::sampling::Sampler;
use serde::Serialize;
use tfhe_core::fingerprint::{Fields, Fingerprint};

use super::arguments::{GenerateArguments, Given, Serving};
use super::blocks::Blocks;
use super::checkpoint::{Checkpoint, Work};
use super::continuation::{Computer, Cost, Generated, Generator, Task, adjective, encode_prompt};
use super::exchange;
use super::model::{End, LanguageModel};
use super::output::{self, count_tokens, note, print, print_json};
use super::quiet::is_quiet;
use super::remote::Remote;
use super::selected::{self, BlockChoice};
use super::stored::{self, Stored, blocks_in_words, check_blocks};
use super::text::{bytes, line, plural, power_of_two, seconds};
use super::verdict::Verdict;

/// Continues the prompt.
///
/// # Errors
/// What is wrong with the arguments or the model; that the attention cannot be run reliably.
pub(super) fn run(arguments: &GenerateArguments, given: &Given) -> anyhow::Result<Verdict> {
    let generation = &arguments.generation;
    let mode = generation.execution.mode;
    let sampler = match arguments.temperature {
        Some(temperature) => Sampler::new(temperature, arguments.top_k, arguments.sample_seed)?,
        None => Sampler::greedy(),
    };
    let model = LanguageModel::load(generation.model.as_deref())?;
    let printer = Printer { output: Output::of(generation.reporting.json), mode, model: &model };
    if let Some(url) = &arguments.serving.server {
        return generate_remotely((arguments, url), &printer, given, sampler);
    }
    let stored = stored::load(&generation.quantized, generation.multiplication.multiply)?;
    match stored.agreeing_with(&arguments.encryption.encrypt, given)? {
        Stored::Attention(files) => {
            given.check_heads()?;
            let task = Task::new(generation, given, &model, (&arguments.prompt, files))?;
            count_tokens(0);
            let computer = task.computer(generation)?;
            let generator = Generator::new(&model, &task.prompt, computer, sampler);
            generate(arguments, &printer, ("attention", &task.selection()), generator)
        }
        Stored::Blocks(files) => {
            let source = BlockChoice::new(&arguments.encryption, &generation.layers, given, (files, &model))?;
            generate_by_blocks(arguments, &printer, source, sampler)
        }
    }
}

/// Continues the prompt by blocks.
fn generate_by_blocks(
    arguments: &GenerateArguments,
    printer: &Printer<'_>,
    source: BlockChoice,
    sampler: Sampler,
) -> anyhow::Result<Verdict> {
    let (generation, Printer { model, mode, .. }) = (&arguments.generation, printer);
    arguments.checkpointing.check(*mode)?;
    let start = source.start().to_vec();
    let prompt = encode_prompt(generation, None, model, &arguments.prompt, start.len())?;
    source.check_tokens(start.len() + prompt.len() + generation.tokens - 1)?;
    let selected = source.select(model, generation.calibration_text.as_deref(), "--calibration-text")?;
    let (selection, models) = (&selected.words, selected::block_models(selected.models)?);
    count_tokens(0);
    let requests: Vec<usize> = std::iter::once(prompt.len()).chain(vec![1; generation.tokens - 1]).collect();
    let execution = &generation.execution;
    let work = Work::new(&models, inputs(arguments, &start, &prompt));
    let most = model.gpt2.config().n_positions;
    let checkpoint = Checkpoint::open(&arguments.checkpointing, &execution.resources, work, most)?;
    let mut blocks = Blocks::kept(models, (*mode, &execution.resources), &requests, checkpoint)?;
    let mut generator =
        Generator::new(model, &prompt, Computer::Blocks(blocks.texts(execution.allows_out_of_range())?), sampler);
    generator.begin(&start)?;
    let verdict = generate(arguments, printer, ("encrypted part", selection), generator)?;
    blocks.finish()?;
    Ok(verdict)
}

/// Continues the prompt by blocks that a server computes, which knows nothing of it but its length.
fn generate_remotely(
    (arguments, url): (&GenerateArguments, &str),
    printer: &Printer<'_>,
    given: &Given,
    sampler: Sampler,
) -> anyhow::Result<Verdict> {
    let (generation, Printer { model, .. }) = (&arguments.generation, printer);
    let Serving { token_file, secret, evaluation_keys, .. } = &arguments.serving;
    given.check_remote()?;
    let [path] = &generation.quantized[..] else {
        bail!("--server takes one file of --quantized: that with the client's half");
    };
    let (half, program) = exchange::client_half(path)?;
    check_blocks(&path.display().to_string(), &half, &model.gpt2)?;
    let start = half.public_tokens().to_vec();
    let prompt = encode_prompt(generation, None, model, &arguments.prompt, start.len())?;
    let selection = format!("{}, by {url}", blocks_in_words(half.part(), &half.layers().collect::<Vec<_>>()));
    let client = match secret {
        Some(secret) => exchange::read_secret(secret)?,
        None => exchange::new_secret()?,
    };
    let party = BlockParty::new(half, program, client)?;
    party.agreement().check_place(0, prompt.len() + generation.tokens - 1).map_err(RunError::from)?;
    let mut remote =
        Remote::connect((url, token_file.as_deref()), &party, (evaluation_keys.as_deref(), secret.is_none()))?;
    count_tokens(0);
    let text = Box::new(RemoteText::new(&party, &mut remote));
    let mut generator = Generator::new(model, &prompt, Computer::Remote(text), sampler);
    generator.begin(&start)?;
    generate(arguments, printer, ("encrypted part", &selection), generator)
}

/// What decides the tokens, besides the blocks.
fn inputs(arguments: &GenerateArguments, start: &[u32], prompt: &[u32]) -> Vec<(&'static str, Fingerprint)> {
    let of = |fields: Fields, tokens: &[u32]| {
        let tokens: Vec<u64> = tokens.iter().copied().map(u64::from).collect();
        fields.integers(tokens.into_iter())
    };
    let sampling = arguments.temperature.map(|temperature| {
        let candidates: Vec<u64> = arguments.top_k.iter().map(|&candidates| candidates as u64).collect();
        Fields::new("drawn").real(temperature).integer(arguments.sample_seed).integers(candidates.into_iter())
    });
    vec![
        ("the prompt", of(of(Fields::new("tokens"), start), prompt).fingerprint()),
        ("how tokens are drawn", sampling.unwrap_or_else(|| Fields::new("the likeliest")).fingerprint()),
    ]
}

/// Generates the tokens, and prints each as it comes.
fn generate(
    arguments: &GenerateArguments,
    printer: &Printer<'_>,
    (label, selection): (&str, &str),
    mut generator: Generator<'_>,
) -> anyhow::Result<Verdict> {
    let (Printer { model, mode, .. }, asked) = (printer, arguments.generation.tokens);
    printer.begin((label, &format!("{selection}, {}", adjective(*mode))), &arguments.prompt)?;
    let (mut all, mut text) = (Cost::none(), String::new());
    let mut stream = model.stream();
    let mut end = None;
    for count in 1..=asked {
        let next = generator.next()?;
        all.add(&next.cost);
        end = next.ends_text.then_some(next.token);
        let mut piece = stream.push(next.token)?;
        if count == asked || end.is_some() {
            // The last token may end within a character.
            piece += &stream.finish()?;
        }
        printer.token(&next, &piece, count)?;
        text += &piece;
        if end.is_some() {
            break;
        }
    }
    printer.end(&text, &arguments.prompt, &all, &model.end(end, asked)?)?;
    Ok(match all.mismatches {
        count if *mode == Mode::Execute && count > 0 => Verdict::Mismatch(count),
        _ => Verdict::Right,
    })
}

/// One JSON object for each token, and one at the end.
#[derive(Serialize)]
pub(super) struct TokenReport<'a> {
    r#type: &'static str,
    token: u32,
    text: &'a str,
    /// What the model in f32 says after the same text.
    f32_token: u32,
    #[serde(flatten)]
    cost: CostReport,
}

impl<'a> TokenReport<'a> {
    pub(super) fn new(next: &Generated, text: &'a str) -> Self {
        let cost = CostReport::new(&next.cost);
        Self { r#type: "token", token: next.token, text, f32_token: next.plain, cost }
    }
}

#[derive(Serialize)]
pub(super) struct TextReport<'a> {
    r#type: &'static str,
    version: &'static str,
    prompt: &'a str,
    /// What was generated.
    text: &'a str,
    /// What the model in f32 continues the prompt by: of the demo only.
    #[serde(skip_serializing_if = "Option::is_none")]
    f32_text: Option<&'a str>,
    mode: Mode,
    end: End,
    #[serde(flatten)]
    cost: CostReport,
}

impl<'a> TextReport<'a> {
    pub(super) fn new(
        prompt: &'a str,
        text: &'a str,
        f32_text: Option<&'a str>,
        mode: Mode,
        all: &Cost,
        end: &End,
    ) -> Self {
        let (version, end, cost) = (env!("CARGO_PKG_VERSION"), end.clone(), CostReport::new(all));
        Self { r#type: "generation", version, prompt, text, f32_text, mode, end, cost }
    }
}

#[derive(Serialize)]
pub(super) struct CostReport {
    seconds: SecondsReport,
    pbs: usize,
    bytes: BytesReport,
    mismatches: usize,
    out_of_range: usize,
    saturated: usize,
    /// Of what [`FAILURE_MEANING`] says, for any request.
    log2_failure_probability: f64,
}

#[derive(Serialize)]
struct SecondsReport {
    client: f64,
    evaluate: f64,
}

#[derive(Serialize)]
struct BytesReport {
    request: usize,
    response: usize,
}

impl CostReport {
    fn new(cost: &Cost) -> Self {
        Self {
            seconds: SecondsReport { client: cost.client, evaluate: cost.server },
            pbs: cost.pbs,
            bytes: BytesReport { request: cost.sent[0], response: cost.sent[1] },
            mismatches: cost.mismatches,
            out_of_range: cost.out_of_range,
            saturated: cost.saturated,
            log2_failure_probability: cost.log2_failure,
        }
    }
}

/// What goes to standard output, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// A JSON object for each token, and one for all.
    Json,
    /// The text of each token as it comes.
    Stream,
    /// The text at the end: on a terminal that shows standard error as well, where each token has a line of its own.
    Whole,
}

impl Output {
    fn of(json: bool) -> Self {
        let shared = std::io::stdout().is_terminal() && std::io::stderr().is_terminal() && !is_quiet();
        match (json, shared) {
            (true, _) => Self::Json,
            (false, true) => Self::Whole,
            (false, false) => Self::Stream,
        }
    }
}

/// Where tokens go: their text to standard output, all else to standard error.
struct Printer<'a> {
    output: Output,
    mode: Mode,
    model: &'a LanguageModel,
}

impl Printer<'_> {
    fn begin(&self, (label, what): (&str, &str), prompt: &str) -> anyhow::Result<()> {
        if self.output == Output::Json {
            return Ok(());
        }
        note(&format!("{}\n{}\n", line(label, what), line("prompt", format!("{prompt:?}"))));
        if self.output == Output::Stream { output::stream(prompt) } else { Ok(()) }
    }

    /// Token number `count`.
    fn token(&self, next: &Generated, text: &str, count: usize) -> anyhow::Result<()> {
        match self.output {
            Output::Json => {
                let report = serde_json::to_string(&TokenReport::new(next, text))?;
                return output::stream_token(&format!("{report}\n"), count);
            }
            Output::Stream => output::stream_token(text, count)?,
            Output::Whole => count_tokens(count),
        }
        let plain = match next.plain == next.token {
            true => String::new(),
            false => format!("  (f32: {})", self.model.quote(&[next.plain])?),
        };
        note(line(&self.model.quote(&[next.token])?, cost(self.mode, &next.cost) + &plain).trim_end());
        Ok(())
    }

    fn end(&self, text: &str, prompt: &str, all: &Cost, end: &End) -> anyhow::Result<()> {
        match self.output {
            Output::Json => return print_json(&TextReport::new(prompt, text, None, self.mode, all, end)),
            Output::Stream => print("")?,
            Output::Whole => {}
        }
        note(&totals(self.mode, all, end));
        if self.output == Output::Whole { print(&format!("{prompt}{text}")) } else { Ok(()) }
    }
}

/// What all tokens cost, how likely it is that anything failed, and why there are no more of them: lines, where there is
/// something to be said.
pub(super) fn totals(mode: Mode, all: &Cost, end: &End) -> String {
    let mut lines = vec![String::new(), line("end", end.in_words())];
    let text = cost(mode, all);
    if !text.is_empty() {
        lines.push(line("in all", text));
    }
    // What another program computes is planned by whoever knows its weights.
    if mode != Mode::Clear && all.log2_failure > f64::NEG_INFINITY {
        lines.push(line("failure", format!("{} for all of it: {FAILURE_MEANING}", power_of_two(all.log2_failure))));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// What something cost, in words: nothing where it was not encrypted.
pub(super) fn cost(mode: Mode, cost: &Cost) -> String {
    let mut parts = Vec::new();
    if mode == Mode::Execute {
        let lookups = if cost.pbs == 0 { String::new() } else { format!(", {} PBS", cost.pbs) };
        parts.push(format!("{} on the server{lookups}", seconds(cost.server)));
        parts.push(format!("{} sent, {} back", bytes(cost.sent[0]), bytes(cost.sent[1])));
    }
    if cost.mismatches > 0 {
        parts.push(format!("{} FARTHER from the clear engine's than the noise explains", cost.mismatches));
    }
    if cost.out_of_range > 0 {
        parts.push(format!("{} out of range: WRONG", plural(cost.out_of_range, "number")));
    }
    if cost.saturated > 0 {
        parts.push(format!(
            "{} of inputs cut off to their ranges",
            match cost.saturated {
                1 => "1 entry".into(),
                count => format!("{count} entries"),
            }
        ));
    }
    parts.join(", ")
}
