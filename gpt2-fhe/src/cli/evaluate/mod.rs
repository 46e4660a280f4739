//! The command `evaluate`: what a quantized, noisy or encrypted attention costs a model's predictions over a text.

mod blocks;
mod figures;
mod plot;
mod report;
mod setting;

use std::path::Path;
use std::time::Instant;

use gpt2_fhe::run::{Circuit, Mode};

use super::arguments::{EvaluateArguments, Given};
use super::files::{self, OutputFiles};
use super::model::LanguageModel;
use super::output::{print, print_json};
use super::stored::{self, Stored};
use super::verdict::Verdict;
use report::Report;
use setting::{Setting, candidates};

/// Evaluates what the arguments select.
///
/// # Errors
/// What is wrong with the arguments, the model or the texts.
pub(super) fn run(arguments: &EvaluateArguments, given: &Given) -> anyhow::Result<Verdict> {
    let outputs = [("--plot", arguments.plot.as_deref())];
    let files = OutputFiles::create(&outputs, &inputs(arguments), arguments.replacing.force)?;
    let stored = stored::load(&arguments.quantized, arguments.multiplication.multiply)?;
    let loaded = match stored.agreeing_with(&arguments.encryption.encrypt, given)? {
        Stored::Blocks(loaded) => return blocks::run(arguments, given, loaded),
        Stored::Attention(loaded) => loaded,
    };
    given.check_heads()?;
    let candidates = candidates(arguments, loaded)?;
    let circuits: Vec<Circuit> = candidates.iter().map(|candidate| candidate.width.0).collect();
    given.check(&circuits, Some(arguments.mode))?;
    let model = LanguageModel::load(arguments.model.as_deref())?;
    let setting = Setting::new(arguments, &model, &candidates)?;
    let start = Instant::now();
    let figures = match arguments.mode {
        Mode::Execute => setting.execute(&candidates)?,
        Mode::Clear | Mode::Simulate => setting.evaluate(&candidates)?,
    };
    let report = Report::new(&setting, &figures, start.elapsed().as_secs_f64());
    let mut contents = Vec::new();
    if arguments.plot.is_some() {
        let svg = plot::svg(&report.title(&setting), &figures.rows)?;
        contents.push(files::bytes(svg.into_bytes()));
    }
    files.write(contents, || {
        if arguments.reporting.json { print_json(&report) } else { print(&report.text(&setting)) }
    })?;
    let mismatches: usize = figures.agreements.iter().map(|agreement| agreement.mismatches).sum();
    let unexplained: usize = figures.rows.iter().map(|row| row.accuracy.unexplained).sum();
    Ok(match mismatches + unexplained {
        0 => Verdict::Right,
        count => Verdict::Mismatch(count),
    })
}

/// What is read, by option.
fn inputs(arguments: &EvaluateArguments) -> Vec<(&'static str, Option<&Path>)> {
    let mut inputs = vec![
        ("--model", arguments.model.as_deref()),
        ("--text", Some(arguments.text.as_path())),
        ("--calibration-text", arguments.calibration_text.as_deref()),
    ];
    inputs.extend(arguments.quantized.iter().map(|path| ("--quantized", Some(path.as_path()))));
    inputs
}
