//! The command `head`: one attention head on one tensor.

use std::collections::BTreeMap;

use gpt2_fhe::run::{Attention, Circuit, Mode, Outcome};
use nn::checkpoint::write_tensors;
use nn::packed::{PackedHead, Span};
use nn::tensor::Tensor;
use serde::Serialize;
use tfhe_core::simd::Backend;

use super::arguments::{Given, HeadArguments, Selection};
use super::files::OutputFiles;
use super::input::HeadInput;
use super::output::{print, print_json};
use super::progress::while_showing;
use super::report::ParametersReport;
use super::runner::Runner;
use super::text::{bytes, count, line, seconds, table};
use super::verdict::Verdict;
use super::{describe, text};

/// Runs the head that the arguments select.
///
/// # Errors
/// What is wrong with the arguments or the files; that the head cannot be run reliably.
pub(super) fn run(arguments: &HeadArguments, given: &Given) -> anyhow::Result<Verdict> {
    let HeadArguments { selection, execution, out, replacing, reporting } = arguments;
    let mode = execution.mode;
    let outputs = [("--out", out.as_deref())];
    let files = OutputFiles::create(&outputs, &selection.inputs(), replacing.force)?;
    let input = HeadInput::load(selection, given, Some(mode))?;
    if mode != Mode::Clear {
        // What cannot run is said before a file is made.
        while_showing("planning", || input.plan(selection))?;
    }
    let (layer, span) = (selection.place.layer, Span::all(input.hidden.rows()));
    let mut runner = Runner::new(execution, [(layer, &input.head)], span.tokens(), selection.place.part())?;
    let outcome = runner.run(&input.head, layer, &input.hidden, span)?;
    let tensor = Tensor::from(outcome.output.clone());
    let report = Report::new(selection, mode, &input, &outcome)?;
    files.write(vec![Box::new(|path| write_tensors(path, &[("head_out", &tensor)], &[]))], || {
        if reporting.json { print_json(&report) } else { print(&report.text(selection, &input, &outcome)) }
    })?;
    Ok(match outcome.mismatches() {
        count if mode == Mode::Execute && count > 0 => Verdict::Mismatch(count),
        _ => Verdict::Right,
    })
}

/// The JSON object. What a mode does not have is null.
#[derive(Serialize)]
struct Report<'a> {
    r#type: &'static str,
    version: &'static str,
    circuit: &'static str,
    mode: Mode,
    /// Exact circuit only, as `msbs`.
    multiply: Option<&'static str>,
    bits: u32,
    msbs: Option<u32>,
    /// Packed circuit only: of each head, the largest weights of queries, keys and values.
    weight_levels: Option<Vec<[u32; 3]>>,
    tensor: &'a str,
    layer: usize,
    /// Null for all heads.
    head: Option<usize>,
    tokens: usize,
    /// The number of heads computed.
    heads: usize,
    threads: usize,
    backend: &'static str,
    /// Of tables.
    lookups: usize,
    pbs: Option<usize>,
    key_switches: Option<usize>,
    automorphisms: Option<usize>,
    tensor_products: Option<usize>,
    /// n for each bootstrapping, and those outside of them.
    external_products: Option<usize>,
    seconds: SecondsReport<'a>,
    bytes: BytesReport,
    peak_memory_bytes: Option<u64>,
    /// Of the head's output, to that in f32.
    relative_error: f64,
    /// The same of the clear engine's output: what quantization alone costs.
    clear_relative_error: f64,
    matches_clear: bool,
    mismatches: usize,
    /// In units of the output's integers.
    max_abs_difference: f64,
    /// Inputs of tables, products and outputs, outside the range that calibration gave them.
    out_of_range: usize,
    /// Entries of the input that were cut off to their ranges.
    saturated: usize,
    security_bits: Option<f64>,
    /// Of what [`FAILURE_MEANING`](gpt2_fhe::run::FAILURE_MEANING) says.
    log2_failure_probability: Option<f64>,
    parameters: Option<ParametersReport>,
}

#[derive(Serialize)]
struct SecondsReport<'a> {
    keygen: Option<f64>,
    /// Of the server: tables, once for all inputs.
    prepare: Option<f64>,
    encrypt: Option<f64>,
    evaluate: f64,
    decrypt: Option<f64>,
    steps: Option<&'a BTreeMap<&'static str, f64>>,
}

#[derive(Serialize)]
struct BytesReport {
    evaluation_key: Option<usize>,
    request: Option<usize>,
    response: Option<usize>,
}

impl<'a> Report<'a> {
    fn new(selection: &'a Selection, mode: Mode, input: &HeadInput, outcome: &'a Outcome) -> anyhow::Result<Self> {
        let plan = outcome.plan.as_ref();
        let statistics = plan.map(|_| &outcome.statistics);
        let executed = (mode == Mode::Execute).then_some(outcome);
        let (exact, packed) = match &input.head {
            Attention::Exact(exact) => (Some(&exact.multiply), None),
            Attention::Packed(head) => (None, Some(head)),
        };
        let (circuit, quantization) = (input.head.circuit(), &input.quantization);
        Ok(Self {
            r#type: "head",
            version: env!("CARGO_PKG_VERSION"),
            circuit: circuit.name(),
            mode,
            multiply: exact.map(|multiply| multiply.name()),
            bits: quantization.bits(circuit),
            msbs: exact.map(|_| quantization.options.msbs),
            weight_levels: packed
                .map(|packed| packed.program().heads().iter().map(PackedHead::weight_levels).collect()),
            tensor: &selection.tensor,
            layer: selection.place.layer,
            head: selection.place.head(),
            tokens: input.hidden.rows(),
            heads: selection.place.head().map_or(input.heads, |_| 1),
            threads: rayon::current_num_threads(),
            backend: Backend::selected()?.name(),
            lookups: outcome.statistics.lookups(),
            pbs: statistics.map(|statistics| statistics.pbs()),
            key_switches: statistics.map(|statistics| statistics.key_switches()),
            automorphisms: packed.and(statistics).map(|statistics| statistics.automorphisms()),
            tensor_products: statistics.map(|statistics| statistics.tensor_products()),
            external_products: plan.map(|plan| plan.external_products()),
            seconds: SecondsReport {
                keygen: executed.map(|outcome| outcome.seconds.keygen),
                prepare: executed.map(|outcome| outcome.seconds.prepare),
                encrypt: executed.map(|outcome| outcome.seconds.encrypt),
                evaluate: outcome.seconds.evaluate,
                decrypt: executed.map(|outcome| outcome.seconds.decrypt),
                steps: plan.map(|_| &outcome.seconds.steps),
            },
            bytes: BytesReport {
                evaluation_key: executed.map(|outcome| outcome.bytes.evaluation_key),
                request: executed.map(|outcome| outcome.bytes.request),
                response: executed.map(|outcome| outcome.bytes.response),
            },
            peak_memory_bytes: peak_memory_bytes(),
            relative_error: outcome.relative_error(&input.reference),
            clear_relative_error: outcome.clear_relative_error(&input.reference),
            matches_clear: outcome.matches_clear(),
            mismatches: outcome.mismatches(),
            max_abs_difference: outcome.max_abs_difference(),
            out_of_range: outcome.out_of_range,
            saturated: outcome.saturation.count,
            security_bits: plan.and_then(|plan| plan.security_bits()),
            log2_failure_probability: plan.map(|plan| plan.log2_failure_probability),
            parameters: plan.map(ParametersReport::new),
        })
    }

    fn text(&self, selection: &Selection, input: &HeadInput, outcome: &Outcome) -> String {
        let mut lines = vec![describe::head(selection, input)];
        lines.push(line(
            "mode",
            match self.mode {
                Mode::Clear => "clear: on plain integers".into(),
                Mode::Simulate => "simulate: on plain integers with the noise that the ciphertexts would have".into(),
                Mode::Execute => {
                    format!("execute: encrypted, {}, {}", text::plural(self.threads, "thread"), self.backend)
                }
            },
        ));
        match &outcome.plan {
            Some(plan) => {
                lines.extend(describe::parameters(plan));
                lines.extend(describe::work(plan));
            }
            None => lines.push(line("work", text::plural(self.lookups, "lookup"))),
        }
        lines.push(String::new());
        lines.extend(self.result_lines(outcome));
        lines.push(String::new());
        lines.extend(self.cost_lines(outcome));
        lines.join("\n")
    }

    fn result_lines(&self, outcome: &Outcome) -> Vec<String> {
        let what = if outcome.tolerance.is_some() { "numbers" } else { "integers" };
        let mut lines = vec![
            line(what, describe::agreement(self.mode, outcome)),
            line("error against f32", format!("{:.4} (‖output − f32‖ / ‖f32‖)", self.relative_error)),
        ];
        if self.mode != Mode::Clear {
            let error = format!("{:.4}: what quantization alone costs", self.clear_relative_error);
            lines.push(line("of the clear engine", error));
        }
        if self.out_of_range > 0 {
            let count = text::plural(self.out_of_range, "number");
            lines
                .push(line("out of range", format!("{count}: the result is WRONG; calibrate on inputs like this one")));
        }
        if let Some(farthest) = outcome.saturation.farthest {
            let (count, ratio) = (self.saturated, farthest.ratio);
            let cut =
                format!("{count} of the input's entries cut off to their ranges, the farthest {ratio:.2} times as far");
            lines.push(line("saturated", cut));
        }
        lines
    }

    fn cost_lines(&self, outcome: &Outcome) -> Vec<String> {
        let times = &outcome.seconds;
        let mut lines = Vec::new();
        if self.mode == Mode::Execute {
            let (keygen, encrypt, decrypt) = (seconds(times.keygen), seconds(times.encrypt), seconds(times.decrypt));
            lines.push(line("client", format!("keys {keygen}, encryption {encrypt}, decryption {decrypt}")));
            if outcome.plan.as_ref().is_some_and(|plan| plan.circuit() == Circuit::Packed) {
                lines.push(line("server prepares", format!("tables {}, once for all inputs", seconds(times.prepare))));
            }
        }
        lines.push(line(if self.mode == Mode::Execute { "server" } else { "time" }, seconds(times.evaluate)));
        if let Some(peak) = self.peak_memory_bytes {
            lines.push(line("memory at most", bytes(peak as usize)));
        }
        if self.mode == Mode::Execute {
            let header = ["step", "lookups", "PBS", "products", "time", "share"].map(String::from).to_vec();
            let rows = outcome.statistics.steps.iter().map(|step| {
                vec![
                    step.name.replace('_', " "),
                    count(step.lookups),
                    count(step.pbs),
                    count(step.tensor_products),
                    seconds(step.seconds),
                    format!("{:.0} %", 100.0 * step.seconds / times.evaluate),
                ]
            });
            lines.push(format!("\n{}", table(&std::iter::once(header).chain(rows).collect::<Vec<_>>())));
        }
        lines
    }
}

/// The most memory that this process has had, where the system says so (Linux).
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
