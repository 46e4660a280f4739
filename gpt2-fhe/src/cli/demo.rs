//! The command `demo`: a prompt continued with the model's attention on encrypted data, and beside it by the model in f32; told step
//! by step.

use gpt2_fhe::run::Mode;
use nn::gpt2::most_likely;
use nn::gpt2::{NoHooks, sampling::Sampler};
use nn::packed::Span;

use super::Verdict;
use super::arguments::DemoArguments;
use super::describe;
use super::generate::{cost, totals};
use super::generation::{Cost, Generator, Task, adjective};
use super::model::LanguageModel;
use super::output::print;
use super::text::{line, plural};

/// The width of the columns of tokens.
const COLUMN: usize = 14;

/// Continues the prompt.
///
/// # Errors
/// What is wrong with the arguments or the model; that the attention cannot be run reliably; that Ctrl-C was pressed.
pub(super) fn run(arguments: &DemoArguments) -> anyhow::Result<Verdict> {
    let generation = &arguments.generation;
    let mode = generation.execution.mode;
    generation.execution.resources.set_threads()?;
    let model = LanguageModel::load(generation.model.as_deref())?;
    let task = Task::new(generation, &model, &arguments.prompt)?;
    print(&introduction(arguments, &model, &task)?)?;
    let generator = Generator::new(&model, &task, task.runner(generation)?, Sampler::greedy());
    let plain = greedy(&model, &task.prompt, generation.tokens)?;
    let (tokens, all) = continue_beside(&plain, (generation.tokens, mode), &model, generator)?;
    let end = tokens.last().copied().filter(|&token| model.ends_text(token));
    let mut lines = vec![totals(mode, &all, &model.end(end, generation.tokens)?)];
    let same = tokens.iter().zip(&plain).take_while(|(a, b)| a == b).count();
    let equal = if tokens == plain { "the same".into() } else { format!("the same for {}", plural(same, "token")) };
    lines.push(line("beside f32", equal));
    for (how, tokens) in [(adjective(mode), &tokens), ("f32", &plain)] {
        lines.push(format!("\n{how}:\n{}{}", arguments.prompt, model.decode(tokens)?));
    }
    print(&lines.join("\n"))?;
    Ok(match all.mismatches {
        count if mode == Mode::Execute && count > 0 => Verdict::Mismatch(count),
        _ => Verdict::Right,
    })
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
    (count, mode): (usize, Mode),
    model: &LanguageModel,
    mut generator: Generator<'_>,
) -> anyhow::Result<(Vec<u32>, Cost)> {
    print(&format!("\n  {:<COLUMN$}f32", adjective(mode)))?;
    let (mut tokens, mut all) = (Vec::new(), Cost::none());
    for index in 0..count {
        let next = generator.next()?;
        let theirs = plain.get(index).map(|&beside| model.quote(&[beside])).transpose()?.unwrap_or_default();
        let ours = model.quote(&[next.token])?;
        print(format!("  {ours:<COLUMN$}{theirs:<COLUMN$}{}", cost(mode, &next.cost)).trim_end())?;
        all.add(&next.cost);
        tokens.push(next.token);
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
    if let Some((_, attention)) = task.layers.first_key_value() {
        lines.push(line("circuit", describe::circuit(&task.quantization, attention)));
        if generation.execution.mode != Mode::Clear {
            let plan = attention.plan(Span::all(tokens.len()))?;
            lines.extend(describe::parameters(&plan));
            lines.push(line("for the prompt", "of one layer:"));
            lines.extend(describe::work(&plan));
        }
    }
    lines.extend(parties(generation.execution.mode));
    Ok(lines.join("\n"))
}

/// Who does what.
fn parties(mode: Mode) -> Vec<String> {
    let embeds = "looks up embeddings; in each layer applies LayerNorm 1, quantizes";
    let rest = "adds what comes back to its hidden state, and goes on to the next layer in the clear";
    let steps: Vec<(&str, &str)> = match mode {
        Mode::Execute => vec![
            ("client", "makes its keys once, keeps the secret ones and sends evaluation keys"),
            ("client", embeds),
            ("client", "encrypts the attention's input and sends it"),
            ("server", "has weights, evaluation keys and ciphertexts, but no secret key"),
            ("server", "computes queries, keys, values, scores, softmax and output, of all heads at once"),
            ("client", "decrypts the new tokens' rows"),
            ("client", rest),
        ],
        Mode::Simulate => vec![("client", embeds), ("client", "computes it with ciphertexts' noise"), ("client", rest)],
        Mode::Clear => vec![("client", embeds), ("client", "computes it on plain numbers"), ("client", rest)],
    };
    std::iter::once(String::new()).chain(steps.into_iter().map(|(who, what)| line(who, what))).collect()
}
