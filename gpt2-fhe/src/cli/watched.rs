//! `block --stop-after` and `block --noise-table`: what the operations of a block give, one by one.

use gpt2_fhe::run::block::{OperationResult, SIMULATIONS};
use gpt2_fhe::run::{Mode, RunError};
use nn::checkpoint::write_tensors;
use nn::tensor::Tensor;
use nn::watched::{Operation, OperationKind};
use serde::Serialize;

use super::arguments::{BlockArguments, NotApplicable};
use super::block::{BlockInput, Subject};
use super::blocks::Blocks;
use super::files::{Contents, OutputFiles};
use super::output::{print, print_json};
use super::text::{line, plural, power_of_two, table};
use super::verdict::Verdict;

/// The most numbers of one operation in a JSON object; the file of `--out` has all.
const JSON_NUMBERS: usize = 1024;
/// How many rows of an operation, and numbers of a row, are printed.
const PRINTED: [usize; 2] = [2, 4];

const LEGEND: &str = "  \
  errors are root mean squares of the difference from the clear engine's numbers, as log2: in turns (units of the
  torus), of integers in ones
  measured: of this run; simulated: of 32 runs with drawn noise; ratio: the first by the second
  spread: the ratio that one simulated run has to their mean, as a standard deviation
  predicted: the noise of the results' ciphertexts alone, as `plan` has it: what an argument was off by when a
             table read it is part of the errors, and not of this";

/// Runs the block up to the step that the arguments name, or all of it, and shows what its operations give.
///
/// # Errors
/// What is wrong with the arguments or the files; that the block cannot be run reliably.
pub(super) fn run(arguments: &BlockArguments) -> anyhow::Result<Verdict> {
    let BlockArguments { selection, tokens, watching, execution, out, replacing, reporting, .. } = arguments;
    let mode = execution.mode;
    if watching.noise_table && mode == Mode::Clear {
        let what = "--noise-table is of noise, which --mode clear has none of; choose --mode simulate or execute";
        return Err(NotApplicable::new(what).into());
    }
    let files = OutputFiles::create(&[("--out", out.as_deref())], &selection.inputs(), replacing.force)?;
    let input = BlockInput::load(selection, *tokens)?;
    let mut blocks = Blocks::new(vec![input.model.clone()], (mode, &execution.resources), &[input.before.rows()])?;
    let (results, out_of_range) = blocks.watch(&input.before, watching.stop_after)?;
    if let (Some(step), true) = (watching.stop_after, results.is_empty()) {
        let what = format!("--stop-after {step}: what is encrypted here has no such step");
        return Err(NotApplicable::new(format!("{what}; choose another, or another --part")).into());
    }
    if out_of_range > 0 && !execution.allows_out_of_range() {
        return Err(RunError::OutOfRange { count: out_of_range }.into());
    }
    let report = Report::new(arguments, &input, &results, out_of_range);
    files.write(vec![contents(&results)], || {
        if reporting.json { print_json(&report) } else { print(&report.text(arguments, &input)) }
    })?;
    Ok(Verdict::Right)
}

/// A tensor for each operation, in the order in which they were done, and one of the clear engine's numbers.
fn contents(results: &[OperationResult]) -> Contents<'_> {
    Box::new(move |path| {
        let mut tensors = Vec::new();
        for (index, result) in results.iter().enumerate() {
            let Operation { step, kind, .. } = result.operation;
            let name = format!("{index}.{}.{}", step.replace(' ', "_"), kind.name().replace(' ', "_"));
            if let Some(noisy) = &result.noisy {
                tensors.push((name.clone(), tensor(&noisy.numbers)?));
            }
            tensors.push((format!("{name}.clear"), tensor(&result.clear)?));
        }
        let tensors: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        write_tensors(path, &tensors, &[("unit", "turns; of looked-up integers, one")])
    })
}

/// `[rows, columns]`, or all numbers one after the other of rows of different lengths.
fn tensor(rows: &[Vec<f64>]) -> Result<Tensor, nn::Error> {
    let columns = rows.first().map_or(0, Vec::len);
    let numbers: Vec<f32> = rows.iter().flatten().map(|&x| x as f32).collect();
    let is_matrix = rows.iter().all(|row| row.len() == columns);
    Tensor::new(if is_matrix { vec![rows.len(), columns] } else { vec![numbers.len()] }, numbers)
}

/// The JSON object. What a mode does not have is null.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    subject: Subject<'a>,
    mode: Mode,
    /// The step that is shown; null of all.
    stop_after: Option<&'static str>,
    /// The runs that simulated errors are the mean of.
    simulations: u64,
    /// Numbers of the whole block that left their ranges.
    out_of_range: usize,
    sites: Vec<SiteReport>,
    /// Of one step: its operations with their numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operations: Vec<OperationReport>,
    #[serde(skip)]
    results: &'a [OperationResult],
}

/// Operations of one kind in a step.
#[derive(Serialize)]
struct SiteReport {
    step: &'static str,
    operation: &'static str,
    /// Of numbers and errors.
    unit: &'static str,
    operations: usize,
    numbers: usize,
    /// Root mean squares.
    measured_error: Option<f64>,
    simulated_error: Option<f64>,
    /// The standard deviation of the natural logarithm of one simulated run's; null where some have none.
    simulated_spread: Option<f64>,
    predicted_noise: Option<f64>,
    measured_by_simulated: Option<f64>,
}

#[derive(Serialize)]
struct OperationReport {
    operation: &'static str,
    count: usize,
    /// The first of them, row by row.
    numbers: Option<Vec<f64>>,
    clear_numbers: Vec<f64>,
}

impl SiteReport {
    fn new(results: &[&OperationResult]) -> Self {
        let Operation { step, kind, .. } = results[0].operation;
        let numbers: usize = results.iter().map(|result| result.count()).sum();
        let error = |square: &dyn Fn(&OperationResult) -> Option<f64>| {
            let sums = results.iter().map(|result| Some(square(result)? * result.count() as f64));
            Some((sums.sum::<Option<f64>>()? / numbers as f64).sqrt())
        };
        let measured_error = error(&OperationResult::measured);
        let runs = simulated_errors(results, numbers);
        let simulated_error =
            runs.as_ref().map(|runs| (runs.iter().map(|error| error * error).sum::<f64>() / runs.len() as f64).sqrt());
        let ratio = |(measured, simulated): (f64, f64)| (simulated > 0.0).then(|| measured / simulated);
        Self {
            step,
            operation: kind.name(),
            unit: if kind == OperationKind::Integers { "ones" } else { "turns" },
            operations: results.len(),
            numbers,
            measured_error,
            simulated_error,
            simulated_spread: runs.as_deref().and_then(spread),
            predicted_noise: error(&|result| result.noisy.as_ref()?.predicted),
            measured_by_simulated: measured_error.zip(simulated_error).and_then(ratio),
        }
    }
}

/// Of each simulated run, the root mean square over all `numbers` of some operations.
fn simulated_errors(results: &[&OperationResult], numbers: usize) -> Option<Vec<f64>> {
    let mut sums = vec![0.0; SIMULATIONS as usize];
    for result in results {
        let runs = &result.noisy.as_ref()?.simulated;
        sums.iter_mut().zip(runs).for_each(|(sum, square)| *sum += square * result.count() as f64);
    }
    Some(sums.into_iter().map(|sum| (sum / numbers as f64).sqrt()).collect())
}

/// The standard deviation of logarithms.
fn spread(errors: &[f64]) -> Option<f64> {
    let logarithms: Vec<f64> = errors.iter().map(|error| error.ln()).collect();
    let mean = logarithms.iter().sum::<f64>() / logarithms.len() as f64;
    let squares = logarithms.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    let deviation = (squares / (logarithms.len() - 1) as f64).sqrt();
    deviation.is_finite().then_some(deviation)
}

/// Of each step and kind of operation, in the order in which they first occur, its operations.
fn sites(results: &[OperationResult]) -> Vec<Vec<&OperationResult>> {
    let mut sites: Vec<Vec<&OperationResult>> = Vec::new();
    for result in results {
        match sites.iter_mut().find(|site| site[0].operation == result.operation) {
            Some(site) => site.push(result),
            None => sites.push(vec![result]),
        }
    }
    sites
}

impl<'a> Report<'a> {
    fn new(
        arguments: &'a BlockArguments,
        input: &BlockInput,
        results: &'a [OperationResult],
        out_of_range: usize,
    ) -> Self {
        let first = |rows: &[Vec<f64>]| rows.iter().flatten().copied().take(JSON_NUMBERS).collect();
        let operation = |result: &OperationResult| OperationReport {
            operation: result.operation.kind.name(),
            count: result.count(),
            numbers: result.noisy.as_ref().map(|noisy| first(&noisy.numbers)),
            clear_numbers: first(&result.clear),
        };
        let (selection, stop_after) = (&arguments.selection, arguments.watching.stop_after);
        let shown = if stop_after.is_some() { results } else { &[] };
        Self {
            subject: Subject::new(if stop_after.is_some() { "step" } else { "noise_table" }, selection, input),
            mode: arguments.execution.mode,
            stop_after,
            simulations: if arguments.execution.mode == Mode::Clear { 0 } else { SIMULATIONS },
            out_of_range,
            sites: sites(results).iter().map(|site| SiteReport::new(site)).collect(),
            operations: shown.iter().map(operation).collect(),
            results,
        }
    }

    fn text(&self, arguments: &BlockArguments, input: &BlockInput) -> String {
        let mut lines = vec![input.describe(&arguments.selection), line("mode", self.mode.name())];
        if let Some(step) = self.stop_after {
            lines.push(line("stopped after", format!("{step}: {}", plural(self.results.len(), "operation"))));
        }
        if self.out_of_range > 0 {
            let count = plural(self.out_of_range, "number");
            lines.push(line("out of range", format!("{count} of the block: results are WRONG")));
        }
        lines.push(format!("\n{}", self.table()));
        if self.mode != Mode::Clear {
            lines.push(format!("\n{LEGEND}"));
        }
        if self.stop_after.is_some() {
            lines.extend(sites(self.results).iter().map(|site| format!("\n{}", first_numbers(site[0]))));
        }
        lines.join("\n")
    }

    fn table(&self) -> String {
        let log2 = |error: Option<f64>| error.map_or("-".into(), |error| power_of_two(error.log2()));
        let mut header = vec!["step", "results", "numbers"];
        if self.mode != Mode::Clear {
            header.extend(["measured", "simulated", "ratio", "spread", "predicted"]);
        }
        let row = |site: &SiteReport| {
            let mut row = vec![site.step.into(), site.operation.into(), site.numbers.to_string()];
            if self.mode != Mode::Clear {
                let ratio = site.measured_by_simulated.map_or("-".into(), |ratio| format!("{ratio:.2}"));
                let spread = site.simulated_spread.map_or("-".into(), |spread| format!("×{:.2}", spread.exp()));
                row.extend([log2(site.measured_error), log2(site.simulated_error), ratio, spread]);
                row.push(log2(site.predicted_noise));
            }
            row
        };
        let header = header.into_iter().map(String::from).collect();
        table(&std::iter::once(header).chain(self.sites.iter().map(row)).collect::<Vec<Vec<String>>>())
    }
}

/// The first numbers of an operation, beside the clear engine's.
fn first_numbers(result: &OperationResult) -> String {
    let is_integer = result.operation.kind == OperationKind::Integers;
    let format = |x: f64| if is_integer { format!("{x:.0}") } else { format!("{x:+.9}") };
    let [rows, columns] = PRINTED;
    let mut lines = vec![vec![result.operation.kind.name().to_owned(), "clear".into()]];
    if result.noisy.is_some() {
        lines[0].extend(["here".into(), "difference".into()]);
    }
    let entries = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    for (row, column) in entries {
        let Some(&clear) = result.clear.get(row).and_then(|clear| clear.get(column)) else { continue };
        let mut cells = vec![format!("row {row}, number {column}"), format(clear)];
        if let Some(noisy) = &result.noisy {
            let number = noisy.numbers[row][column];
            let difference = result.difference(number - clear);
            cells.extend([format(number), if is_integer { format(difference) } else { format!("{difference:+.2e}") }]);
        }
        lines.push(cells);
    }
    table(&lines)
}
