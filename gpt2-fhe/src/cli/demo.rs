//! The command `demo`: a prompt continued with the model's attention on encrypted data, and beside it by the model in f32; told step
//! by step.

use gpt2_fhe::run::Mode;
use nn::attention::Part;
use nn::gpt2::most_likely;
use nn::gpt2::{NoHooks, sampling::Sampler};
use nn::packed::Span;
use serde::Serialize;

use super::arguments::{DemoArguments, Given};
use super::continuation::{Cost, Generator, Task, adjective};
use super::describe;
use super::generate::{TextReport, TokenReport, cost, totals};
use super::model::LanguageModel;
use super::output::{count_tokens, print, print_json};
use super::progress::while_showing;
use super::quiet::is_quiet;
use super::report::ParametersReport;
use super::stored;
use super::text::{line, plural};
use super::verdict::Verdict;

/// The width of the columns of tokens.
const COLUMN: usize = 14;

/// Continues the prompt.
///
/// # Errors
/// What is wrong with the arguments or the model; that the attention cannot be run reliably.
pub(super) fn run(arguments: &DemoArguments, given: &Given) -> anyhow::Result<Verdict> {
    let generation = &arguments.generation;
    let (mode, json) = (generation.execution.mode, generation.reporting.json);
    let model = LanguageModel::load(generation.model.as_deref())?;
    let files = stored::load_attention(&generation.quantized, generation.multiplication.multiply)?;
    let task = Task::new(generation, given, &model, (&arguments.prompt, files))?;
    count_tokens(0);
    if json {
        print_json(&Introduction::new(arguments, &model, &task)?)?;
    } else {
        tell(|| introduction(arguments, &model, &task))?;
    }
    let plain = while_showing("running the model in f32", || greedy(&model, &task.prompt, generation.tokens))?;
    let generator = Generator::new(&model, &task.prompt, task.computer(generation)?, Sampler::greedy());
    let (tokens, all) = continue_beside(&plain, arguments, &model, generator)?;
    let end = tokens.last().copied().filter(|&token| model.ends_text(token));
    let end = model.end(end, generation.tokens)?;
    let [text, plain_text] = [&tokens, &plain].map(|tokens| model.decode(tokens));
    let (text, plain_text) = (text?, plain_text?);
    if json {
        print_json(&TextReport::new(&arguments.prompt, &text, Some(&plain_text), mode, &all, &end))?;
    } else {
        let same = tokens.iter().zip(&plain).take_while(|(a, b)| a == b).count();
        let equal = if tokens == plain { "the same".into() } else { format!("the same for {}", plural(same, "token")) };
        tell(|| Ok(format!("{}\n{}\n", totals(mode, &all, &end), line("beside f32", equal))))?;
        let prompt = &arguments.prompt;
        print(&format!("{}:\n{prompt}{text}\n\nf32:\n{prompt}{plain_text}", adjective(mode)))?;
    }
    Ok(match all.mismatches {
        count if mode == Mode::Execute && count > 0 => Verdict::Mismatch(count),
        _ => Verdict::Right,
    })
}

/// Prints a part of what the demo tells, unless `--quiet`.
fn tell(text: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<()> {
    if is_quiet() { Ok(()) } else { print(&text()?) }
}

/// The first JSON object.
#[derive(Serialize)]
struct Introduction<'a> {
    r#type: &'static str,
    version: &'static str,
    model: &'a str,
    prompt: &'a str,
    prompt_tokens: &'a [u32],
    circuit: &'static str,
    mode: Mode,
    layers: Vec<usize>,
    /// Null for all heads.
    head: Option<usize>,
    /// Null in clear mode.
    parameters: Option<ParametersReport>,
}

impl<'a> Introduction<'a> {
    fn new(arguments: &'a DemoArguments, model: &'a LanguageModel, task: &'a Task) -> anyhow::Result<Self> {
        let mode = arguments.generation.execution.mode;
        let plan = match mode {
            Mode::Clear => None,
            Mode::Simulate | Mode::Execute => Some(task.first().plan(Span::all(task.prompt.len()))?),
        };
        Ok(Self {
            r#type: "demo",
            version: env!("CARGO_PKG_VERSION"),
            model: &model.name,
            prompt: &arguments.prompt,
            prompt_tokens: &task.prompt,
            circuit: task.first().circuit().name(),
            mode,
            layers: task.layers.keys().copied().collect(),
            head: match task.part {
                Part::Head(head) => Some(head),
                Part::Whole => None,
            },
            parameters: plan.as_ref().map(ParametersReport::new),
        })
    }
}

/// The model's own greedy continuation, in f32, of at most `count` tokens.
fn greedy(model: &LanguageModel, prompt: &[u32], count: usize) -> anyhow::Result<Vec<u32>> {
    let (mut session, mut tokens) = (model.gpt2.session(), Vec::new());
    let mut pending = prompt.to_vec();
    for _ in 0..count {
        let token = most_likely(&session.next_logits(&pending, &mut NoHooks)?);
        tokens.push(token);
        if model.ends_text(token) {
            break;
        }
        pending = vec![token];
    }
    Ok(tokens)
}

/// Prints each of at most `count` tokens as it comes beside that of the model in f32, whose text may end earlier.
fn continue_beside(
    plain: &[u32],
    arguments: &DemoArguments,
    model: &LanguageModel,
    mut generator: Generator<'_>,
) -> anyhow::Result<(Vec<u32>, Cost)> {
    let (mode, json) = (arguments.generation.execution.mode, arguments.generation.reporting.json);
    if !json {
        tell(|| Ok(format!("\n  {:<COLUMN$}f32", adjective(mode))))?;
    }
    let (mut tokens, mut all) = (Vec::new(), Cost::none());
    for index in 0..arguments.generation.tokens {
        let next = generator.next()?;
        let beside = plain.get(index).copied();
        if json {
            print_json(&TokenReport::new(&next, &model.decode(&[next.token])?))?;
        } else {
            let theirs = beside.map(|token| model.quote(&[token])).transpose()?.unwrap_or_default();
            let ours = model.quote(&[next.token])?;
            let text = format!("  {ours:<COLUMN$}{theirs:<COLUMN$}{}", cost(mode, &next.cost));
            tell(|| Ok(text.trim_end().into()))?;
        }
        all.add(&next.cost);
        tokens.push(next.token);
        count_tokens(tokens.len());
        if next.ends_text {
            break;
        }
    }
    Ok((tokens, all))
}

fn introduction(arguments: &DemoArguments, model: &LanguageModel, task: &Task) -> anyhow::Result<String> {
    let (generation, config, tokens) = (&arguments.generation, model.gpt2.config(), &task.prompt);
    let pieces = tokens.iter().map(|&token| model.quote(&[token])).collect::<Result<Vec<_>, _>>()?;
    let mut lines = vec![
        "GPT-2 with its attention on encrypted data".into(),
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
        line(adjective(generation.execution.mode), task.selection()),
    ];
    lines.push(line("circuit", describe::circuit(&task.quantization, task.first())));
    if generation.execution.mode != Mode::Clear {
        let plan = task.first().plan(Span::all(tokens.len())).map_err(|error| error.of_part(task.part))?;
        lines.extend(describe::parameters(&plan));
        lines.push(line("for the prompt", "in each layer:"));
        lines.extend(describe::work(&plan));
    }
    lines.extend(parties(generation.execution.mode));
    Ok(lines.join("\n"))
}

/// Who does what.
fn parties(mode: Mode) -> Vec<String> {
    let embeds = "looks up the tokens' embeddings; in each layer, normalizes (LayerNorm 1) and quantizes them";
    let rest = "adds the answer to its hidden state, and computes the rest of the layer in f32";
    let steps: Vec<(&str, &str)> = match mode {
        Mode::Execute => vec![
            ("client", "makes its keys once, keeps the secret keys, and sends the evaluation keys"),
            ("client", embeds),
            ("client", "encrypts this input of the attention and sends it"),
            ("server", "has weights, evaluation keys and ciphertexts, but no secret key"),
            ("server", "computes queries, keys, values, scores, softmax and output, of all heads together"),
            ("client", "decrypts the answer for the new tokens"),
            ("client", rest),
            ("", "so there is one round trip for each layer and token; the prompt's tokens share theirs"),
        ],
        Mode::Simulate => {
            vec![
                ("client", embeds),
                ("client", "computes the attention with the noise of ciphertexts"),
                ("client", rest),
            ]
        }
        Mode::Clear => {
            vec![("client", embeds), ("client", "computes the attention on these integers"), ("client", rest)]
        }
    };
    std::iter::once(String::new()).chain(steps.into_iter().map(|(who, what)| line(who, what))).collect()
}
