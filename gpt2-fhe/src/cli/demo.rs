//! The command `demo`: a prompt, one head of the model encrypted, the next tokens; told step by step.

use std::ops::Range;

use anyhow::bail;
use gpt2_fhe::run::{Attention, Mode, Outcome, Plan};
use nn::gpt2::{NoHooks, Replacement, most_likely};
use nn::matrix::Matrix;
use nn::packed::Span;

use super::Verdict;
use super::arguments::DemoArguments;
use super::describe;
use super::model::{HEAD, LAYER, LanguageModel};
use super::output::print;
use super::runner::Runner;
use super::text::{bytes, line, plural, seconds, table};

/// How many candidates for the next token are shown.
const CANDIDATES: usize = 5;
/// How many decrypted integers are shown.
const SHOWN: usize = 12;

/// Continues the prompt.
///
/// # Errors
/// What is wrong with the arguments or the model; that the head cannot be run reliably; that Ctrl-C was pressed.
pub(super) fn run(arguments: &DemoArguments) -> anyhow::Result<Verdict> {
    arguments.execution.resources.set_threads()?;
    let model = LanguageModel::load(arguments.model.as_deref())?;
    let tokens = encode_prompt(arguments, &model)?;
    let longest = tokens.len() + arguments.tokens - 1;
    let head = model.quantize_head(arguments.circuit, &arguments.quantization, longest)?;
    let mode = arguments.execution.mode;
    let plan = match mode {
        Mode::Clear => None,
        _ => Some(head.plan(Span::all(longest))?),
    };
    print(&introduction(arguments, &model, &tokens, &head, plan.as_ref())?)?;
    let seed = arguments.execution.resources.secret_seed()?;
    let runner = Runner::new(mode, &head, plan.as_ref(), seed)?;
    Demo { mode, model: &model, head: &head, runner, prompt: tokens.len(), tokens, wrong: 0 }.tell(arguments.tokens)
}

/// The prompt's tokens, few enough for all that are to follow.
fn encode_prompt(arguments: &DemoArguments, model: &LanguageModel) -> anyhow::Result<Vec<u32>> {
    let tokens = model.encode(&arguments.prompt)?;
    let (length, more, positions) = (tokens.len(), arguments.tokens, model.gpt2.config().n_positions);
    if tokens.is_empty() {
        bail!("the prompt is empty; give --prompt some text to continue");
    }
    if more == 0 {
        bail!("--tokens is 0; ask for at least 1");
    }
    // The last token that is predicted is not an input any more.
    if length.saturating_add(more - 1) > positions {
        bail!(
            "the prompt has {}, to be continued by {more}, and the model has {positions} positions; shorten \
             --prompt or ask for fewer --tokens",
            plural(length, "token")
        );
    }
    Ok(tokens)
}

fn introduction(
    arguments: &DemoArguments,
    model: &LanguageModel,
    tokens: &[u32],
    head: &Attention,
    plan: Option<&Plan>,
) -> anyhow::Result<String> {
    let config = model.gpt2.config();
    let pieces = tokens.iter().map(|&token| model.quote(&[token])).collect::<Result<Vec<_>, _>>()?;
    let mut lines = vec![
        "GPT-2 with an attention head on encrypted data".into(),
        line("model", &model.name),
        line(
            "",
            format!(
                "{}, {} of size {}, {} tokens of vocabulary",
                plural(config.n_layer, "layer"),
                plural(config.n_head, "head"),
                config.n_embd / config.n_head,
                config.vocab_size
            ),
        ),
        line("prompt", format!("{:?}: {}", arguments.prompt, plural(tokens.len(), "token"))),
        line("", pieces.join(" ")),
        line(
            "circuit",
            format!(
                "head {HEAD} of layer {LAYER}, {}",
                describe::circuit(arguments.circuit, &arguments.quantization, head)
            ),
        ),
    ];
    if let Some(plan) = plan {
        lines.extend(describe::parameters(plan));
        lines.extend(describe::work(plan));
    }
    Ok(lines.join("\n"))
}

/// The story, and how far it has come.
struct Demo<'a> {
    mode: Mode,
    model: &'a LanguageModel,
    head: &'a Attention,
    runner: Runner,
    /// The number of tokens of the prompt.
    prompt: usize,
    /// The prompt and what follows it.
    tokens: Vec<u32>,
    /// Decrypted numbers that are not the clear engine's.
    wrong: usize,
}

impl Demo<'_> {
    fn tell(mut self, count: usize) -> anyhow::Result<Verdict> {
        for number in 0..count {
            let hidden = self.model.gpt2.attention_input(&self.tokens, LAYER)?;
            let outcome = self.runner.run(self.head, &hidden, Span::all(self.tokens.len()))?;
            self.wrong += outcome.mismatches();
            let told = if number == 0 { self.steps(&hidden, &outcome) } else { self.summary(&outcome) };
            print(&format!("\n{told}"))?;
            self.continue_with(&outcome.output)?;
        }
        let (prompt, rest) = self.tokens.split_at(self.prompt);
        let text = format!("{} continues with {}", self.model.quote(prompt)?, self.model.quote(rest)?);
        print(&format!("\n{text}"))?;
        Ok(match self.wrong {
            count if self.mode == Mode::Execute && count > 0 => Verdict::Mismatch(count),
            _ => Verdict::Right,
        })
    }

    /// Runs the rest of the model with and without the head's output, prints what comes next, and appends it.
    fn continue_with(&mut self, output: &Matrix<f32>) -> anyhow::Result<()> {
        let gpt2 = &self.model.gpt2;
        let mut replaced = |layer: usize, _: &Matrix<f32>, _: Range<usize>| {
            Ok(if layer == LAYER { Replacement::Heads(vec![(HEAD, output.clone())]) } else { Replacement::Nothing })
        };
        let logits = gpt2.next_logits(&self.tokens, &mut replaced)?;
        let plain = gpt2.next_logits(&self.tokens, &mut NoHooks)?;
        let how = match self.mode {
            Mode::Clear => "with the quantized head",
            Mode::Simulate => "with the simulated head",
            Mode::Execute => "with the encrypted head",
        };
        let mut rows = vec![["next token", how, "", "all in f32", ""].map(String::from).to_vec()];
        let candidates = self.model.likeliest(&logits, CANDIDATES)?;
        for (rank, (ours, theirs)) in candidates.iter().zip(self.model.likeliest(&plain, CANDIDATES)?).enumerate() {
            let percent = |probability: f64| format!("{:.1} %", 100.0 * probability);
            rows.push(vec![
                (rank + 1).to_string(),
                ours.text.clone(),
                percent(ours.probability),
                theirs.text,
                percent(theirs.probability),
            ]);
        }
        print(&table(&rows))?;
        self.tokens.push(most_likely(&logits));
        Ok(())
    }

    /// What client and server do, one after the other.
    fn steps(&self, hidden: &Matrix<f32>, outcome: &Outcome) -> String {
        let (tokens, size, head_size) = (hidden.rows(), hidden.cols(), self.head.output_size());
        let (times, sent) = (&outcome.seconds, &outcome.bytes);
        let embedded = format!("looks up embeddings and applies LayerNorm 1 in the clear: {tokens} × {size} values");
        let mut steps = vec![("client", embedded)];
        match self.mode {
            Mode::Execute => {
                let (time, keys) = (seconds(times.keygen), bytes(sent.evaluation_key));
                let keygen =
                    format!("makes its keys ({time}), keeps the secret ones and sends evaluation keys ({keys})");
                steps.insert(0, ("client", keygen));
                let (time, request) = (seconds(times.encrypt), bytes(sent.request));
                steps
                    .push(("client", format!("quantizes and encrypts the values ({time}) and sends them ({request})")));
                steps.push(("server", "has weights, evaluation keys and ciphertexts, but no secret key".into()));
                let (time, answer) = (seconds(times.evaluate), bytes(sent.response));
                let computed = "computes queries, keys, values, scores, softmax and output";
                steps.push(("server", format!("{computed} ({time}), and answers ({answer})")));
                let time = seconds(times.decrypt);
                steps.push(("client", format!("decrypts {tokens} × {head_size} numbers ({time})")));
            }
            Mode::Simulate => {
                let noise = "quantizes the values; computes the head with the noise that ciphertexts would have";
                steps.push(("client", noise.into()));
            }
            Mode::Clear => steps.push(("client", "quantizes the values; computes the head on plain numbers".into())),
        }
        steps.push(("client", "runs the rest of the model in the clear, with this head's output in its place".into()));
        let mut lines: Vec<String> = steps.iter().map(|(who, what)| line(who, what)).collect();
        lines.push(String::new());
        if self.mode != Mode::Clear {
            lines.extend(self.comparison(outcome));
            lines.push(String::new());
        }
        lines.join("\n")
    }

    /// The decrypted numbers beside those of the clear engine.
    fn comparison(&self, outcome: &Outcome) -> Vec<String> {
        let last = outcome.clear_numbers.rows() - 1;
        let shown = |numbers: &Matrix<f64>| {
            let row = numbers.row(last);
            let text: Vec<String> = row.iter().take(SHOWN).map(|number| format!("{number:>6.0}")).collect();
            text.concat() + if row.len() > SHOWN { "  …" } else { "" }
        };
        let what = if self.mode == Mode::Execute { "decrypted" } else { "simulated" };
        let numbers = if outcome.tolerance.is_some() { "numbers" } else { "integers" };
        vec![
            line(&format!("last token, {what}"), shown(&outcome.numbers)),
            line("clear engine", shown(&outcome.clear_numbers)),
            line(numbers, describe::agreement(self.mode, outcome)),
        ]
    }

    fn summary(&self, outcome: &Outcome) -> String {
        let time = seconds(outcome.seconds.evaluate);
        let tokens = plural(self.tokens.len(), "token");
        match self.mode {
            Mode::Clear => format!("  again, on {tokens}: {time}"),
            _ => format!("  again, on {tokens}: {time}; {}", describe::agreement(self.mode, outcome)),
        }
    }
}
