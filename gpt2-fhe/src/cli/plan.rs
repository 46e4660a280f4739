//! The command `plan`: what a request for blocks will do.

use std::collections::BTreeMap;

use anyhow::bail;
use gpt2_fhe::block::circuit::BlockCircuit;
use gpt2_fhe::run::block::BlockText;
use gpt2_fhe::run::{Bytes, MAX_LOG2_FAILURE, Plan, RunError};
use gpt2_fhe::track::statistics::StepStatistics;
use serde::Serialize;

use super::arguments::{Encrypt, Given, NotApplicable, PlanArguments};
use super::blocks::calibrate;
use super::describe;
use super::model::LanguageModel;
use super::output::{print, print_json};
use super::progress::while_showing;
use super::report::ParametersReport;
use super::text::{count, line, plural, seconds, table};
use super::verdict::Verdict;

/// What the columns of the table mean.
const LEGEND: &str = "  \
  PBS: bootstrappings, in all and by the number of their gadget, from the noisiest and fastest on
  read, result: the largest noise of a value when a table reads it, and of what the step gives,
                as log2 of its standard deviation in units of the torus
  headroom: of how many of the read noise's standard deviations a value may be off, at least, and be read right
  failure: log2 of the chance that a lookup of the step fails; the total is what is said above";

/// Plans the request that the arguments select, and prints the plan.
///
/// # Errors
/// What is wrong with the arguments or the model.
pub(super) fn run(arguments: &PlanArguments, given: &Given) -> anyhow::Result<Verdict> {
    let PlanArguments { encrypt, tokens, earlier, layers, public_start, calibration_text, .. } = arguments;
    if *encrypt == Encrypt::Heads {
        return Err(
            NotApplicable::new("--encrypt heads is what `circuit` shows; choose blocks, or a part of them").into()
        );
    }
    given.check_blocks(encrypt)?;
    check_milliseconds(&arguments.pbs_ms)?;
    let model = LanguageModel::load(arguments.model.as_deref())?;
    let positions = model.gpt2.config().n_positions;
    if *tokens == 0 || earlier.saturating_add(*tokens) > positions {
        let all = format!("--tokens is {tokens} and --earlier {earlier}");
        bail!("{all}; at least 1 new token is needed, and the model has {positions} positions");
    }
    let start = model.public_start(*public_start)?;
    let texts = model.block_texts(calibration_text.as_deref(), "--calibration-text")?;
    let (selection, circuits) = calibrate(encrypt, layers, &model, (texts, start))?;
    let before = (*earlier > 0).then_some(*earlier);
    let requests: Vec<usize> = before.into_iter().chain([*tokens]).collect();
    let forecast = |circuit: &BlockCircuit| Ok(BlockText::forecast(circuit, &requests)?.pop());
    let forecasts = || circuits.iter().map(forecast).collect::<Result<Vec<_>, RunError>>();
    let plans: Vec<Plan> = while_showing("planning", forecasts)?.into_iter().flatten().collect();
    for (circuit, plan) in circuits.iter().zip(&plans) {
        let report = Report::new(arguments, circuit, plan);
        if arguments.reporting.json { print_json(&report)? } else { print(&report.text(&selection, plan))? }
    }
    Ok(Verdict::Right)
}

/// The number of gadgets of the set's bootstrappings.
const GADGETS: usize = 4;

fn check_milliseconds(pbs_ms: &[f64]) -> anyhow::Result<()> {
    let is_time = |ms: &f64| ms.is_finite() && *ms >= 0.0;
    if pbs_ms.is_empty() || (pbs_ms.len() == GADGETS && pbs_ms.iter().all(is_time)) {
        return Ok(());
    }
    let found = pbs_ms.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    bail!("--pbs-ms is {found}; {GADGETS} numbers of milliseconds are needed, one for each gadget, separated by commas")
}

/// The JSON object, one for each run of blocks.
#[derive(Serialize)]
struct Report<'a> {
    r#type: &'static str,
    version: &'static str,
    encrypt: String,
    /// The numbers of the blocks.
    blocks: Vec<usize>,
    tokens: usize,
    earlier: usize,
    lookups: usize,
    pbs: usize,
    /// By the number of the set's gadget.
    pbs_by_gadget: BTreeMap<usize, usize>,
    /// What `--pbs-ms` says that these take; null without.
    pbs_seconds: Option<f64>,
    key_switches: usize,
    automorphisms: usize,
    external_products: usize,
    steps: Vec<&'a StepStatistics>,
    bytes: &'a Bytes,
    security_bits: Option<f64>,
    /// Of what [`FAILURE_MEANING`](gpt2_fhe::run::FAILURE_MEANING) says.
    log2_failure_probability: f64,
    /// Whether that is small enough for a run.
    is_reliable: bool,
    parameters: ParametersReport,
}

impl<'a> Report<'a> {
    fn new(arguments: &PlanArguments, circuit: &BlockCircuit, plan: &'a Plan) -> Self {
        let (program, statistics) = (circuit.program(), &plan.statistics);
        let pbs_by_gadget = statistics.pbs_by_gadget();
        let milliseconds =
            |(&gadget, &count): (&usize, &usize)| arguments.pbs_ms.get(gadget).map(|ms| count as f64 * ms);
        let seconds = pbs_by_gadget.iter().map(milliseconds).sum::<Option<f64>>().map(|ms| ms / 1000.0);
        Self {
            r#type: "plan",
            version: env!("CARGO_PKG_VERSION"),
            encrypt: arguments.encrypt.to_string(),
            blocks: (program.first()..program.first() + program.blocks().len()).collect(),
            tokens: arguments.tokens,
            earlier: arguments.earlier,
            lookups: statistics.lookups(),
            pbs: statistics.pbs(),
            pbs_by_gadget,
            pbs_seconds: seconds,
            key_switches: statistics.key_switches(),
            automorphisms: statistics.automorphisms(),
            external_products: plan.external_products(),
            steps: statistics.steps.iter().collect(),
            bytes: &plan.bytes,
            security_bits: plan.security_bits(),
            log2_failure_probability: plan.log2_failure_probability,
            is_reliable: plan.log2_failure_probability <= MAX_LOG2_FAILURE,
            parameters: ParametersReport::new(plan),
        }
    }

    fn text(&self, selection: &str, plan: &Plan) -> String {
        let numbers = self.blocks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut lines =
            vec![format!("Of {selection}: {} {numbers}", if self.blocks.len() == 1 { "block" } else { "blocks" })];
        let tokens = format!("{} after {}", plural(self.tokens, "new token"), plural(self.earlier, "token"));
        lines.push(line("request", tokens));
        lines.extend(describe::parameters(plan));
        lines.extend(describe::work(plan));
        if let Some(time) = self.pbs_seconds {
            lines.push(line("time", format!("{} for bootstrappings, by --pbs-ms", seconds(time))));
        }
        if !self.is_reliable {
            let most = format!("a run is refused: its chance of failure must be at most 2^{MAX_LOG2_FAILURE}");
            lines.push(line("UNRELIABLE", most));
        }
        lines.push(format!("\n{}", self.table()));
        lines.push(format!("\n{LEGEND}"));
        lines.join("\n")
    }

    fn table(&self) -> String {
        let gadgets: Vec<usize> = self.pbs_by_gadget.keys().copied().collect();
        let by_gadget = |counts: &BTreeMap<usize, usize>| -> Vec<String> {
            gadgets.iter().map(|gadget| count(counts.get(gadget).copied().unwrap_or(0))).collect()
        };
        let noise = |log2: f64| if log2.is_finite() { format!("{log2:.1}") } else { "-".into() };
        let header = ["step", "lookups", "PBS"].map(String::from).into_iter();
        let header = header.chain(gadgets.iter().map(|gadget| format!("PBS {gadget}")));
        let mut rows: Vec<Vec<String>> =
            vec![header.chain(["products", "read", "headroom", "result", "failure"].map(String::from)).collect()];
        for step in &self.steps {
            let mut row = vec![step.name.to_string(), count(step.lookups), count(step.pbs)];
            row.extend(by_gadget(&step.pbs_by_gadget));
            row.push(count(step.external_products));
            let figures = [step.log2_read_noise, step.headroom, step.log2_result_noise, step.log2_failure_probability];
            row.extend(figures.map(noise));
            rows.push(row);
        }
        let mut total = vec!["total".into(), count(self.lookups), count(self.pbs)];
        total.extend(by_gadget(&self.pbs_by_gadget));
        total.extend([count(self.steps.iter().map(|step| step.external_products).sum()), String::new()]);
        total.extend([String::new(), String::new()]);
        total.push(noise(self.log2_failure_probability));
        rows.push(total);
        table(&rows)
    }
}
