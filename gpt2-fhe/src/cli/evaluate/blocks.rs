//! `evaluate --encrypt`: what whole blocks, or parts of them, cost a model's predictions.

use std::ops::Range;
use std::time::Instant;

use anyhow::bail;
use gpt2_fhe::evaluate::{Accuracy, BlockEvaluation, MeasuredBlocks, Passage, sample_windows, windows};
use gpt2_fhe::run::Mode;
use gpt2_fhe::run::block::NoiseSquares;
use serde::Serialize;
use tfhe_core::random::SampleSeed;

use super::figures::accuracy_cells;
use super::setting::{SAMPLE, text_from};
use crate::cli::arguments::{EvaluateArguments, Given, Layers};
use crate::cli::blocks::Blocks;
use crate::cli::model::LanguageModel;
use crate::cli::output::{print, print_json};
use crate::cli::progress::{Counter, while_showing};
use crate::cli::selected::{self, BlockChoice};
use crate::cli::source::read_text;
use crate::cli::stored::LoadedBlocks;
use crate::cli::text::{line, plural, seconds, table};
use crate::cli::verdict::Verdict;

/// The usual length of a window, at most.
const WINDOW: usize = 64;

/// What the columns of the table mean.
const LEGEND: &str = "  \
  top-1, 5, 10: how many of the likeliest tokens are among the likeliest in f32; KL: divergence from f32, in nats
  error: ‖update − f32's‖/‖f32's‖, the update being what all encrypted blocks add to hidden states; of whole blocks up to the
         model's last, which answer of the last token only, the same of logits less their mean
  out of range: how many arguments of lookups are beyond what calibration saw: a window with any is wrong from there on, and
                counts in all other columns (a single run would end with an error)
  saturated: nothing of a block's input is cut off";

/// Evaluates what the arguments select.
///
/// # Errors
/// What is wrong with the arguments, the model or the texts; that an encrypted run would not be reliable.
pub(super) fn run(arguments: &EvaluateArguments, given: &Given, files: Vec<LoadedBlocks>) -> anyhow::Result<Verdict> {
    let model = LanguageModel::load(arguments.model.as_deref())?;
    let layers = Layers::Some(vec![arguments.place.layer]);
    let source = BlockChoice::new(&arguments.encryption, &layers, given, (files, &model))?;
    let start = source.start().to_vec();
    let positions = model.gpt2.config().n_positions - start.len();
    let window = arguments.window.unwrap_or(WINDOW.min(positions));
    if !(1..=positions).contains(&window) {
        bail!("--window is {window}; it must be in 1 ..= {positions}, the positions that the model has for it");
    }
    let text = text_from(&read_text(&arguments.text, "--text")?, arguments.from)?;
    let text = while_showing("splitting the text into tokens", || model.encode(&text))?;
    let samples = arguments.resources.sample_seed()?;
    let passages = match arguments.mode {
        Mode::Execute => sample_windows(&text, window, arguments.positions.unwrap_or(SAMPLE), &samples.derive(0))?,
        Mode::Clear | Mode::Simulate => windows(&text, window, arguments.positions)?,
    };
    source.check_tokens(start.len() + window)?;
    let selected = source.select(&model, arguments.calibration_text.as_deref(), "--calibration-text")?;
    let blocks = selected::block_models(selected.models)?;
    let evaluation = BlockEvaluation::new(&model.gpt2, &blocks, &start);
    let began = Instant::now();
    let (rows, mismatches) = match arguments.mode {
        Mode::Clear | Mode::Simulate => {
            (rows(arguments.mode, &evaluate(arguments.mode, &evaluation, (&passages, &samples))?), 0)
        }
        Mode::Execute => execute(arguments, &evaluation, (&passages, &samples))?,
    };
    let report = Report {
        r#type: "evaluation",
        version: env!("CARGO_PKG_VERSION"),
        model: &model.name,
        encrypt: selected.encrypt.to_string(),
        head_on_server: selected.head_on_server,
        mode: arguments.mode,
        tokens: text.len(),
        window,
        positions: passages.iter().map(|passage| passage.span().rows().len()).sum(),
        threads: rayon::current_num_threads(),
        seconds: began.elapsed().as_secs_f64(),
        rows,
        mismatches,
    };
    if arguments.reporting.json {
        print_json(&report)?
    } else {
        print(&report.text(&selected.words))?
    }
    Ok(if mismatches == 0 { Verdict::Right } else { Verdict::Mismatch(mismatches) })
}

/// All positions in f32, and in the clear or simulated.
fn evaluate(
    mode: Mode,
    evaluation: &BlockEvaluation<'_>,
    (passages, samples): (&[Passage], &SampleSeed),
) -> anyhow::Result<[Vec<MeasuredBlocks>; 2]> {
    let noise = (mode == Mode::Simulate).then(|| samples.derive(2));
    let counter = Counter::new("measuring the windows", passages.len());
    // A signal ends the process by itself: nothing stops this from here.
    let advance = || {
        counter.advance();
        true
    };
    Ok(evaluation.run(passages, noise.as_ref(), &advance)?)
}

/// The rows of the model as it is, and with its blocks replaced.
fn rows(mode: Mode, [plain, replaced]: &[Vec<MeasuredBlocks>; 2]) -> Vec<Row> {
    [("f32", plain), (mode.name(), replaced)].map(|(run, measured)| Row::new(run, measured)).into()
}

/// A sample of positions encrypted, and the same simulated; and how many numbers are farther from the clear engine's than noise explains.
fn execute(
    arguments: &EvaluateArguments,
    evaluation: &BlockEvaluation<'_>,
    (passages, samples): (&[Passage], &SampleSeed),
) -> anyhow::Result<(Vec<Row>, usize)> {
    let longest = passages.iter().map(|passage| passage.tokens().len()).max().unwrap_or(1);
    let mut blocks = Blocks::new(evaluation.blocks().to_vec(), (Mode::Execute, &arguments.resources), &[longest])?;
    let simulated = evaluate(Mode::Simulate, evaluation, (passages, samples))?;
    let mut executed = Vec::with_capacity(passages.len());
    for passage in passages {
        blocks.replan(&evaluation.requests(passage).iter().map(Range::len).collect::<Vec<_>>())?;
        let mut texts = blocks.texts(true)?;
        let measured = evaluation.measure(passage, texts.all());
        texts.end();
        let [_, measured] = measured?;
        executed.push(measured);
    }
    let mut rows = rows(Mode::Simulate, &simulated);
    let noise: NoiseSquares = executed.iter().map(|measured| measured.noise).sum();
    rows.push(Row {
        noise_ratio: Some(noise.measured / noise.simulated),
        agreement: Some(MeasuredBlocks::agreement(&executed, &simulated[1])),
        ..Row::new(Mode::Execute.name(), &executed)
    });
    Ok((rows, executed.iter().map(|measured| measured.mismatches).sum()))
}

/// The JSON object.
#[derive(Serialize)]
struct Report<'a> {
    r#type: &'static str,
    version: &'static str,
    model: &'a str,
    encrypt: String,
    /// Whether the server computes the final LayerNorm and the logits.
    head_on_server: bool,
    mode: Mode,
    tokens: usize,
    /// Tokens of a window.
    window: usize,
    /// Positions whose predictions are compared.
    positions: usize,
    threads: usize,
    seconds: f64,
    rows: Vec<Row>,
    /// Execute mode only.
    mismatches: usize,
}

/// One line of the table.
#[derive(Serialize)]
struct Row {
    /// "f32", or a mode.
    run: &'static str,
    #[serde(flatten)]
    accuracy: Accuracy,
    /// Of ciphertexts: the mean square of outputs' differences from the clear engine, over that of 32 simulated runs.
    noise_ratio: Option<f64>,
    /// Of ciphertexts: the share of positions whose likeliest token is the simulated run's.
    agreement: Option<f64>,
}

impl Row {
    fn new(run: &'static str, measured: &[MeasuredBlocks]) -> Self {
        Self { run, accuracy: MeasuredBlocks::accuracy(measured), noise_ratio: None, agreement: None }
    }
}

impl Report<'_> {
    fn text(&self, selection: &str) -> String {
        let header = ["run", "top-1", "top-5", "top-10", "KL", "perplexity", "error", "out of range", "saturated"];
        let mut rows = vec![header.map(String::from).to_vec()];
        rows.extend(
            self.rows
                .iter()
                .map(|row| std::iter::once(row.run.to_string()).chain(accuracy_cells(&row.accuracy)).collect()),
        );
        let (positions, window) = (plural(self.positions, "position"), plural(self.window, "token"));
        let mut lines = vec![
            "A model's predictions with blocks of it replaced".into(),
            line("model", self.model),
            line("replaced", selection),
            line("text", plural(self.tokens, "token")),
            line("compared", format!("{positions}, in windows of {window}")),
            String::new(),
            table(&rows),
            LEGEND.into(),
        ];
        for row in &self.rows {
            if let (Some(ratio), Some(agreement)) = (row.noise_ratio, row.agreement) {
                let noise = format!("{ratio:.3} times that of 32 simulated runs, in mean squares");
                lines.push(String::new());
                lines.push(line("error by noise", noise));
                lines
                    .push(line("likeliest", format!("the simulated run's in {:.2} % of positions", 100.0 * agreement)));
            }
        }
        if self.mismatches > 0 {
            let farther = "decrypted numbers are FARTHER from the clear engine's than the noise explains";
            lines.push(line("mismatches", format!("{} {farther}", self.mismatches)));
        }
        lines.push(format!("\n{}", line("time", seconds(self.seconds))));
        lines.join("\n")
    }
}
