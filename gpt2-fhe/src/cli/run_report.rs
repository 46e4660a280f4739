//! What every run of something encrypted reports, as JSON and as text.

use std::collections::BTreeMap;

use gpt2_fhe::run::{Circuit, Mode, Outcome};
use serde::Serialize;
use tfhe_core::simd::Backend;

use super::report::ParametersReport;
use super::text::{bytes, count, line, seconds, table};
use super::{describe, text};

/// Fields of a JSON object. What a mode does not have is null.
#[derive(Serialize)]
pub(super) struct RunReport<'a> {
    mode: Mode,
    threads: usize,
    backend: &'static str,
    /// Of tables.
    lookups: usize,
    pbs: Option<usize>,
    /// The same by the number of the set's gadget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pbs_by_gadget: Option<BTreeMap<usize, usize>>,
    key_switches: Option<usize>,
    automorphisms: Option<usize>,
    tensor_products: Option<usize>,
    /// Those of each bootstrapping, n or for pairs of key bits 3n/2, and those outside of them.
    external_products: Option<usize>,
    seconds: SecondsReport<'a>,
    bytes: BytesReport,
    peak_memory_bytes: Option<u64>,
    /// To what is computed in f32.
    relative_error: f64,
    /// The same of the clear engine's: what quantization alone costs.
    clear_relative_error: f64,
    matches_clear: bool,
    mismatches: usize,
    /// In units of the output's integers; of blocks, in turns.
    max_abs_difference: f64,
    /// Inputs of tables, products and outputs, outside the range that calibration gave them.
    out_of_range: usize,
    /// Entries of the input that were cut off to their ranges.
    saturated: usize,
    security_bits: Option<f64>,
    /// Of what [`FAILURE_MEANING`](gpt2_fhe::run::FAILURE_MEANING) says.
    log2_failure_probability: Option<f64>,
    parameters: Option<ParametersReport>,
    #[serde(skip)]
    outcome: &'a Outcome,
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

impl<'a> RunReport<'a> {
    /// `errors`: of the output and of the clear engine's, to what is computed in f32.
    pub(super) fn new(mode: Mode, outcome: &'a Outcome, errors: [f64; 2]) -> anyhow::Result<Self> {
        let plan = outcome.plan.as_ref();
        let statistics = plan.map(|_| &outcome.statistics);
        let executed = (mode == Mode::Execute).then_some(outcome);
        let packs = plan.is_some_and(|plan| plan.circuit() != Some(Circuit::Exact));
        Ok(Self {
            mode,
            threads: rayon::current_num_threads(),
            backend: Backend::selected()?.name(),
            lookups: outcome.statistics.lookups(),
            pbs: statistics.map(|statistics| statistics.pbs()),
            pbs_by_gadget: statistics.map(|statistics| statistics.pbs_by_gadget()),
            key_switches: statistics.map(|statistics| statistics.key_switches()),
            automorphisms: packs.then(|| outcome.statistics.automorphisms()),
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
            relative_error: errors[0],
            clear_relative_error: errors[1],
            matches_clear: outcome.matches_clear(),
            mismatches: outcome.mismatches(),
            max_abs_difference: outcome.max_abs_difference(),
            out_of_range: outcome.out_of_range,
            saturated: outcome.saturation.count,
            security_bits: plan.and_then(|plan| plan.security_bits()),
            log2_failure_probability: plan.map(|plan| plan.log2_failure_probability),
            parameters: plan.map(ParametersReport::new),
            outcome,
        })
    }

    /// Below what was run. `error`: the formula of errors.
    pub(super) fn text(&self, description: String, error: &str) -> String {
        let mut lines = vec![description];
        lines.push(line(
            "mode",
            match self.mode {
                Mode::Clear => "clear: on plain numbers".into(),
                Mode::Simulate => "simulate: on plain numbers with the noise that the ciphertexts would have".into(),
                Mode::Execute => {
                    format!("execute: encrypted, {}, {}", text::plural(self.threads, "thread"), self.backend)
                }
            },
        ));
        match &self.outcome.plan {
            Some(plan) => {
                lines.extend(describe::parameters(plan));
                lines.extend(describe::work(plan));
            }
            None => lines.push(line("work", text::plural(self.lookups, "lookup"))),
        }
        lines.push(String::new());
        lines.extend(self.result_lines(error));
        lines.push(String::new());
        lines.extend(self.cost_lines());
        lines.join("\n")
    }

    fn result_lines(&self, error: &str) -> Vec<String> {
        let outcome = self.outcome;
        let what = if outcome.tolerance.is_some() { "numbers" } else { "integers" };
        let mut lines = vec![
            line(what, describe::agreement(self.mode, outcome)),
            line("error against f32", format!("{:.4} ({error})", self.relative_error)),
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

    fn cost_lines(&self) -> Vec<String> {
        let outcome = self.outcome;
        let times = &outcome.seconds;
        let mut lines = Vec::new();
        if self.mode == Mode::Execute {
            let (keygen, encrypt, decrypt) = (seconds(times.keygen), seconds(times.encrypt), seconds(times.decrypt));
            lines.push(line("client", format!("keys {keygen}, encryption {encrypt}, decryption {decrypt}")));
            if outcome.plan.as_ref().is_some_and(|plan| plan.circuit() == Some(Circuit::Packed)) {
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
