//! The command `generate`: a continuation, token by token as they come, with what each cost.

use gpt2_fhe::run::Mode;
use nn::gpt2::sampling::Sampler;
use serde::Serialize;

use super::Verdict;
use super::arguments::GenerateArguments;
use super::generation::{Cost, Generated, Generator, Task, adjective};
use super::model::{End, LanguageModel};
use super::output::print;
use super::text::{bytes, line, plural, power_of_two, seconds};

/// Continues the prompt.
///
/// # Errors
/// What is wrong with the arguments or the model; that the attention cannot be run reliably; that Ctrl-C was pressed.
pub(super) fn run(arguments: &GenerateArguments) -> anyhow::Result<Verdict> {
    let generation = &arguments.generation;
    let mode = generation.execution.mode;
    generation.execution.resources.set_threads()?;
    let sampler = match arguments.temperature {
        Some(temperature) => Sampler::new(temperature, arguments.top_k, arguments.sample_seed)?,
        None => Sampler::greedy(),
    };
    let model = LanguageModel::load(generation.model.as_deref())?;
    let task = Task::new(generation, &model, &arguments.prompt)?;
    let runner = task.runner(generation)?;
    let printer = Printer { json: arguments.json, mode };
    printer.begin(&format!("{}, {}", task.selection(), adjective(mode)), &arguments.prompt)?;
    let mut generator = Generator::new(&model, &task, runner, sampler);
    let (mut all, mut text) = (Cost::none(), String::new());
    let mut stream = model.stream();
    let mut end = None;
    for left in (0..generation.tokens).rev() {
        let next = generator.next()?;
        all.add(&next.cost);
        end = next.ends_text.then_some(next.token);
        let mut piece = stream.push(next.token)?;
        if left == 0 || end.is_some() {
            piece += &stream.finish()?;
        }
        printer.token(&next, &piece, &model)?;
        text += &piece;
        if end.is_some() {
            break;
        }
    }
    printer.end(&text, &arguments.prompt, &all, &model.end(end, generation.tokens)?)?;
    Ok(match all.mismatches {
        count if mode == Mode::Execute && count > 0 => Verdict::Mismatch(count),
        _ => Verdict::Right,
    })
}

/// One JSON object for each token, and one at the end.
#[derive(Serialize)]
struct TokenReport<'a> {
    token: u32,
    text: &'a str,
    /// What the model in f32 says after the same text.
    f32_token: u32,
    #[serde(flatten)]
    cost: CostReport,
}

#[derive(Serialize)]
struct TextReport<'a> {
    prompt: &'a str,
    /// What was generated.
    text: &'a str,
    mode: Mode,
    end: End,
    #[serde(flatten)]
    cost: CostReport,
}

#[derive(Serialize)]
struct CostReport {
    seconds: SecondsReport,
    pbs: usize,
    bytes: BytesReport,
    mismatches: usize,
    out_of_range: usize,
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
            log2_failure_probability: cost.log2_failure,
        }
    }
}

/// Where tokens go.
struct Printer {
    json: bool,
    mode: Mode,
}

impl Printer {
    fn begin(&self, what: &str, prompt: &str) -> anyhow::Result<()> {
        if self.json {
            return Ok(());
        }
        print(&format!("{}\n{}\n", line("attention", what), line("prompt", format!("{prompt:?}"))))
    }

    fn token(&self, next: &Generated, text: &str, model: &LanguageModel) -> anyhow::Result<()> {
        if self.json {
            let report =
                TokenReport { token: next.token, text, f32_token: next.plain, cost: CostReport::new(&next.cost) };
            return print(&serde_json::to_string(&report)?);
        }
        let plain = match next.plain == next.token {
            true => String::new(),
            false => format!("  (f32: {})", model.quote(&[next.plain])?),
        };
        print(line(&model.quote(&[next.token])?, cost(self.mode, &next.cost) + &plain).trim_end())
    }

    fn end(&self, text: &str, prompt: &str, all: &Cost, end: &End) -> anyhow::Result<()> {
        if self.json {
            let report = TextReport { prompt, text, mode: self.mode, end: end.clone(), cost: CostReport::new(all) };
            return print(&serde_json::to_string(&report)?);
        }
        print(&format!("{}\n{prompt}{text}", totals(self.mode, all, end)))
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
    if mode != Mode::Clear {
        lines.push(line("failure", format!("{} for all of it", power_of_two(all.log2_failure))));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// What something cost, in words: nothing where it was not encrypted.
pub(super) fn cost(mode: Mode, cost: &Cost) -> String {
    let mut parts = Vec::new();
    if mode == Mode::Execute {
        parts.push(format!("{} on the server, {} PBS", seconds(cost.server), cost.pbs));
        parts.push(format!("{} sent, {} back", bytes(cost.sent[0]), bytes(cost.sent[1])));
    }
    if cost.mismatches > 0 {
        parts.push(format!("{} FARTHER from the clear engine's than the noise explains", cost.mismatches));
    }
    if cost.out_of_range > 0 {
        parts.push(format!("{} out of range", plural(cost.out_of_range, "number")));
    }
    parts.join(", ")
}
