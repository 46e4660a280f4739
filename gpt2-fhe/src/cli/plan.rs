//! The command `plan`: what a request for blocks will do.

use std::collections::BTreeMap;

use anyhow::bail;
use gpt2_fhe::block::circuit::BlockCircuit;
use gpt2_fhe::integer::multiply::Multiply;
use gpt2_fhe::run::block::{BlockModel, BlockText};
use gpt2_fhe::run::{Bytes, CONTINUED_FAILURE_MEANING, MAX_LOG2_FAILURE, Plan, RunError};
use gpt2_fhe::track::statistics::StepStatistics;
use nn::block::Ending;
use serde::Serialize;

use super::arguments::{BlockSelection, Encrypt, Encryption, Given, NotApplicable, PartOfBlock, PlanArguments};
use super::block::BlockInput;
use super::describe;
use super::model::LanguageModel;
use super::output::{print, print_json};
use super::progress::while_showing;
use super::report::ParametersReport;
use super::scale::{self, ScaledPlan};
use super::selected::{self, BlockChoice};
use super::stored::{self, Stored};
use super::text::{count, line, plural, table};
use super::timing::{CORES_MODEL, TimedPlan, Times, check_cores};
use super::verdict::Verdict;

/// What the columns of the table mean.
const LEGEND: &str = "  \
  PBS: bootstrappings, in all and by the number of their gadget, from the noisiest and fastest on
  read, result: the largest noise of a value when a table reads it, and of what the step gives,
                as log2 of its standard deviation in units of the torus
  headroom: of how many of the read noise's standard deviations a value may be off, at least, and be read right
  failure: log2 of the chance that a lookup of the step fails; the total is what is said above";

/// What is planned.
struct Planned {
    /// In words.
    what: String,
    models: Vec<BlockModel>,
    tokens: usize,
    /// Of a model.
    encrypt: Option<Encrypt>,
}

/// The new tokens of a model's request, where they are not said.
const TOKENS: usize = 8;

/// Plans the request that the arguments select, and prints the plan.
///
/// # Errors
/// What is wrong with the arguments, the model or the files.
pub(super) fn run(arguments: &PlanArguments, given: &Given) -> anyhow::Result<Verdict> {
    let given_times = Times::given(&arguments.pbs_ms, &arguments.scale.own_ms, &arguments.scale.message_ms)?;
    check_cores(&arguments.cores)?;
    scale::check(arguments)?;
    let record = scale::record(arguments.scale.record.as_deref())?;
    if !arguments.cores.is_empty() && !arguments.measure && given_times.is_none() {
        let what = "--cores needs times of operations; measure them by --measure, or give them by --pbs-ms";
        return Err(NotApplicable::new(what).into());
    }
    let planned = match &arguments.selection.0 {
        Some(selection) => of_files(selection, arguments.tokens)?,
        None => {
            given.check_without_files()?;
            of_model(arguments, given)?
        }
    };
    let before = (arguments.earlier > 0).then_some(arguments.earlier);
    let requests: Vec<usize> = before.into_iter().chain([planned.tokens]).collect();
    let forecast = |model: &BlockModel| Ok(BlockText::forecast(model.circuit(), &requests)?.pop());
    let forecasts = || planned.models.iter().map(forecast).collect::<Result<Vec<_>, RunError>>();
    let plans: Vec<Plan> = while_showing("planning", forecasts)?.into_iter().flatten().collect();
    // All have the same parameters.
    let times = if arguments.measure { Some(Times::measure(planned.models[0].circuit())?) } else { given_times };
    for (model, plan) in planned.models.iter().zip(&plans) {
        let scaled = match times.as_ref().zip(plan.schedule()) {
            Some((times, schedule)) if !arguments.scale.workers.is_empty() => {
                Some(ScaledPlan::new(&arguments.scale, model.circuit(), schedule, (times, record.as_ref()))?)
            }
            _ => None,
        };
        let report = Report::new((arguments, &planned), model.circuit(), (plan, scaled), times.as_ref());
        if arguments.reporting.json { print_json(&report)? } else { print(&report.text(&planned.what, plan))? }
    }
    Ok(Verdict::Right)
}

/// A block and its input, as `block` runs it.
fn of_files(selection: &BlockSelection, tokens: Option<usize>) -> anyhow::Result<Planned> {
    let input = BlockInput::load(selection, tokens)?;
    let what = match selection.part {
        PartOfBlock::Whole => "a block",
        PartOfBlock::Attention => "the attention",
        PartOfBlock::Mlp => "the feed-forward layer",
    };
    Ok(Planned {
        what: format!("{what} of {}", selection.weights.display()),
        tokens: input.before.rows(),
        models: vec![input.model],
        encrypt: None,
    })
}

/// What is encrypted of a model.
fn of_model(arguments: &PlanArguments, given: &Given) -> anyhow::Result<Planned> {
    let PlanArguments { encrypt, public_start, head_on_server, earlier, layers, calibration_text, .. } = arguments;
    if *encrypt == Encrypt::Heads {
        return Err(
            NotApplicable::new("--encrypt heads is what `circuit` shows; choose blocks, or a part of them").into()
        );
    }
    let encryption =
        Encryption { encrypt: encrypt.clone(), public_start: *public_start, head_on_server: *head_on_server };
    let model = LanguageModel::load(arguments.model.as_deref())?;
    // Nothing is multiplied by tables where there are blocks.
    let files = match stored::load(&arguments.quantized, Multiply::Product)?.agreeing_with(encrypt, given)? {
        Stored::Blocks(files) => files,
        Stored::Attention(_) => Vec::new(),
    };
    let source = BlockChoice::new(&encryption, layers, given, (files, &model))?;
    let (positions, tokens) =
        (model.gpt2.config().n_positions, arguments.tokens.unwrap_or(TOKENS.min(model.gpt2.config().n_positions)));
    if tokens == 0 || earlier.saturating_add(tokens) > positions {
        let all = format!("--tokens is {tokens} and --earlier {earlier}");
        bail!("{all}; at least 1 new token is needed, and the model has {positions} positions");
    }
    source.check_tokens(source.start().len() + earlier + tokens)?;
    let selected = source.select(&model, calibration_text.as_deref(), "--calibration-text")?;
    let models = selected::block_models(selected.models)?;
    Ok(Planned { what: selected.words, models, tokens, encrypt: Some(selected.encrypt) })
}

/// The JSON object, one for each run of blocks.
#[derive(Serialize)]
struct Report<'a> {
    r#type: &'static str,
    version: &'static str,
    /// Of a model; null of files.
    encrypt: Option<String>,
    /// Of files; null of a model.
    part: Option<PartOfBlock>,
    /// The numbers of the blocks.
    blocks: Vec<usize>,
    /// What is answered.
    ending: Ending,
    tokens: usize,
    earlier: usize,
    lookups: usize,
    pbs: usize,
    /// By the number of the set's gadget.
    pbs_by_gadget: BTreeMap<usize, usize>,
    /// What these take by `--pbs-ms`, or by what `--measure` measured; null without.
    pbs_seconds: Option<f64>,
    /// The same with external products, by step, and on other numbers of cores; null without.
    time: Option<TimedPlan>,
    /// With lookups by workers; null without `--workers`.
    scale: Option<ScaledPlan>,
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
    fn new(
        (arguments, planned): (&PlanArguments, &Planned),
        circuit: &BlockCircuit,
        (plan, scale): (&'a Plan, Option<ScaledPlan>),
        times: Option<&Times>,
    ) -> Self {
        let (program, statistics) = (circuit.program(), &plan.statistics);
        let pbs_by_gadget = statistics.pbs_by_gadget();
        Self {
            r#type: "plan",
            version: env!("CARGO_PKG_VERSION"),
            encrypt: planned.encrypt.as_ref().map(ToString::to_string),
            part: arguments.selection.0.as_ref().map(|selection| selection.part),
            blocks: (program.first()..program.first() + program.blocks().len()).collect(),
            ending: program.end().ending(),
            tokens: planned.tokens,
            earlier: arguments.earlier,
            lookups: statistics.lookups(),
            pbs: statistics.pbs(),
            pbs_by_gadget,
            pbs_seconds: times.map(|times| times.of_pbs(&statistics.pbs_by_gadget())),
            time: times.map(|times| TimedPlan::new(times, statistics, &arguments.cores)),
            scale,
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
        lines.push(line("", CONTINUED_FAILURE_MEANING));
        if let Some(time) = &self.time {
            lines.push(line("time", time.line()));
        }
        if !self.is_reliable {
            let most = format!("a run is refused: its chance of failure must be at most 2^{MAX_LOG2_FAILURE}");
            lines.push(line("UNRELIABLE", most));
        }
        lines.push(format!("\n{}", self.table()));
        lines.push(format!("\n{LEGEND}"));
        if let Some(time) = &self.time {
            lines.push(format!("\n{}", time.table()));
            if time.has_cores() {
                lines.push(format!("\n{CORES_MODEL}"));
            }
        }
        if let Some(scale) = &self.scale {
            lines.push(format!("\n{}", scale.text()));
        }
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
