//! The command `circuit`: what a head will run.

use gpt2_fhe::engine::plan::Multiply;
use gpt2_fhe::engine::statistics::StepStatistics;
use gpt2_fhe::run::{Attention, Bytes, Plan};
use nn::head::RangeReport;
use nn::packed::HeadProgram;
use serde::Serialize;
use tfhe_core::noise::Variance;

use super::Verdict;
use super::arguments::{CircuitArguments, Selection};
use super::describe;
use super::input::HeadInput;
use super::output::print;
use super::report::ParametersReport;
use super::text::{count, table};

/// What the columns of the table mean.
const LEGEND: &str = "  \
  bits: of a table's inputs; rounded: low bits of them that are cut off before the table is read
  read, result: the largest noise of a value when a table reads it, and of what the step gives,
                as log2 of its standard deviation in units of the torus
  failure: log2 of the chance that a lookup of the step fails; the total includes decryption, and is what is said above";

/// Plans the head that the arguments select, and prints the plan.
///
/// # Errors
/// What is wrong with the arguments or the files; that the head cannot be run reliably.
pub(super) fn run(arguments: &CircuitArguments) -> anyhow::Result<Verdict> {
    let selection = &arguments.selection;
    let input = HeadInput::load(selection)?;
    let plan = input.plan(selection)?;
    let report = Report::new(selection, &input, &plan);
    print(&if arguments.json { serde_json::to_string(&report)? } else { report.text(selection, &input, &plan) })?;
    Ok(Verdict::Right)
}

/// The JSON object.
#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    circuit: &'static str,
    /// Exact circuit only, as `msbs` and `ranges`.
    multiply: Option<&'static str>,
    bits: u32,
    msbs: Option<u32>,
    tensor: &'a str,
    layer: usize,
    /// Null for all heads.
    head: Option<usize>,
    tokens: usize,
    /// The number of heads computed.
    heads: usize,
    lookups: usize,
    pbs: usize,
    key_switches: usize,
    tensor_products: usize,
    automorphisms: usize,
    external_products: usize,
    steps: Vec<StepReport>,
    /// Packed circuit only.
    quantization: Option<QuantizationReport>,
    /// Packed circuit only: the noise of every operation, in the order of the data flow, of the first head.
    noise: Vec<NoiseReport>,
    /// The bit-width analysis of calibration.
    ranges: Option<&'a [RangeReport]>,
    bytes: &'a Bytes,
    security_bits: Option<f64>,
    /// Of what [`FAILURE_MEANING`](gpt2_fhe::run::FAILURE_MEANING) says.
    log2_failure_probability: f64,
    parameters: ParametersReport,
}

/// One step. Noise as log2 of σ, a fraction of the torus; null where there is none.
#[derive(Serialize)]
struct StepReport {
    name: &'static str,
    /// Bits of the tables.
    table_bits: Option<u32>,
    /// Bits of them that are rounded away.
    rounded_bits: Option<u32>,
    lookups: usize,
    pbs: usize,
    key_switches: usize,
    automorphisms: usize,
    tensor_products: usize,
    external_products: usize,
    /// Of a phase when a table reads it, at most.
    log2_read_noise: f64,
    /// Of a result, at most.
    log2_result_noise: f64,
    log2_failure_probability: f64,
}

/// How the packed circuit is quantized: what an auditor needs to follow the noise.
#[derive(Serialize)]
struct QuantizationReport {
    /// How far outputs may be from their biases, in units of their integers.
    output_limit: f64,
    heads: Vec<HeadQuantizationReport>,
}

/// How one head is.
#[derive(Serialize)]
struct HeadQuantizationReport {
    /// log2 t: scores are integers over t, in turns.
    log_modulus: u32,
    /// Units of score of a turn.
    score_turn: f64,
    /// How far arguments of softplus may be from zero, in turns, and those of the exponential, twice that.
    difference_limit: f64,
    /// The root mean square norm of a token's values, in units of the output's integers.
    value_norm: f64,
    /// The largest weights of queries, keys and values.
    weight_levels: [u32; 3],
    /// The standard deviation with which exponents are read, at most, in units of score: the relative error of a probability.
    exponent_noise: f64,
}

impl QuantizationReport {
    fn new(head: &Attention, plan: &Plan) -> Option<Self> {
        let (Attention::Packed(head), Plan::Packed(plan)) = (head, plan) else { return None };
        let program = head.program();
        let heads = program.heads().iter().zip(&plan.exponent_noise);
        let heads = heads.map(|(head, &noise)| HeadQuantizationReport::new(head, noise)).collect();
        Some(Self { output_limit: program.output_limit(), heads })
    }
}

impl HeadQuantizationReport {
    fn new(head: &HeadProgram, exponent_noise: f64) -> Self {
        Self {
            log_modulus: head.log_modulus(),
            score_turn: head.score_turn(),
            difference_limit: head.difference_limit(),
            value_norm: head.value_norm(),
            weight_levels: head.weight_levels(),
            exponent_noise,
        }
    }
}

/// One operation of the packed circuit. Noise as log2 of σ, a fraction of the torus.
#[derive(Serialize)]
struct NoiseReport {
    operation: &'static str,
    log2_std: f64,
}

impl StepReport {
    fn new(step: &StepStatistics, head: &Attention) -> Self {
        let tables = tables(head, step.name);
        Self {
            name: step.name,
            table_bits: tables.map(|(bits, _)| bits),
            rounded_bits: tables.map(|(_, rounded)| rounded),
            lookups: step.lookups,
            pbs: step.pbs,
            key_switches: step.key_switches,
            automorphisms: step.automorphisms,
            tensor_products: step.tensor_products,
            external_products: step.external_products,
            log2_read_noise: step.log2_read_noise,
            log2_result_noise: step.log2_result_noise,
            log2_failure_probability: step.log2_failure_probability,
        }
    }

    fn row(&self) -> Vec<String> {
        let noise = |log2: f64| if log2.is_finite() { format!("{log2:.1}") } else { "-".into() };
        let bits = |bits: Option<u32>| bits.map_or("-".into(), |bits| bits.to_string());
        vec![
            self.name.replace('_', " "),
            bits(self.table_bits),
            bits(self.rounded_bits),
            count(self.lookups),
            count(self.pbs),
            count(self.key_switches + self.automorphisms),
            count(self.tensor_products + self.external_products),
            noise(self.log2_read_noise),
            noise(self.log2_result_noise),
            noise(self.log2_failure_probability),
        ]
    }
}

/// (bits, rounded bits) of the widest tables of a step: those of the data flow, or of squares.
fn tables(head: &Attention, step: &str) -> Option<(u32, u32)> {
    let Attention::Exact(head, multiply) = head else { return None };
    let program = head.program();
    let of_step = program.tables().filter(|&(name, _)| name == step);
    let table = of_step.map(|(_, table)| (table.bits(), table.rounded_bits())).max();
    let factor = program.factors().into_iter().find(|&(name, _)| name == step && *multiply == Multiply::Lut);
    table.or(factor.map(|(_, factor)| (factor.operand_bits, 0)))
}

/// The packed circuit's operations.
fn noise_reports(plan: &Plan) -> Vec<NoiseReport> {
    let Plan::Packed(plan) = plan else { return Vec::new() };
    let report =
        |(operation, variance): (&'static str, Variance)| NoiseReport { operation, log2_std: variance.log2_std() };
    plan.prediction.table(&plan.layout, 0).into_iter().map(report).collect()
}

impl<'a> Report<'a> {
    fn new(selection: &'a Selection, input: &'a HeadInput, plan: &'a Plan) -> Self {
        let statistics = plan.statistics();
        let step = |step: &StepStatistics| StepReport::new(step, &input.head);
        let exact = match &input.head {
            Attention::Exact(head, multiply) => Some((head, multiply)),
            Attention::Packed(_) => None,
        };
        let (circuit, quantization) = (input.head.circuit(), &input.quantization);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            circuit: circuit.name(),
            multiply: exact.map(|(_, multiply)| multiply.name()),
            bits: quantization.bits(circuit),
            msbs: exact.map(|_| quantization.options.msbs),
            tensor: &selection.tensor,
            layer: selection.place.layer,
            head: selection.place.head(),
            tokens: input.hidden.rows(),
            heads: selection.place.head().map_or(input.heads, |_| 1),
            lookups: statistics.lookups(),
            pbs: statistics.pbs(),
            key_switches: statistics.key_switches(),
            tensor_products: statistics.tensor_products(),
            automorphisms: statistics.automorphisms(),
            external_products: plan.external_products(),
            steps: statistics.steps.iter().map(step).collect(),
            quantization: QuantizationReport::new(&input.head, plan),
            noise: noise_reports(plan),
            ranges: exact.map(|(head, _)| head.ranges()),
            bytes: plan.bytes(),
            security_bits: plan.security_bits(),
            log2_failure_probability: plan.log2_failure_probability(),
            parameters: ParametersReport::new(plan),
        }
    }

    fn text(&self, selection: &Selection, input: &HeadInput, plan: &Plan) -> String {
        let mut lines = vec![describe::head(selection, input)];
        lines.extend(describe::parameters(plan));
        lines.extend(describe::work(plan));
        lines.push(format!("\n{}", self.step_table()));
        lines.push(format!("\n{LEGEND}"));
        if let Some(quantization) = &self.quantization {
            lines.push(String::new());
            for (index, head) in quantization.heads.iter().enumerate() {
                let HeadQuantizationReport { log_modulus, score_turn, difference_limit, exponent_noise, .. } = head;
                let head = self.head.unwrap_or(index);
                lines.push(format!(
                    "  head {head}: scores are integers over 2^{log_modulus}, a turn is {score_turn:.1} units of score, \
                     differences may reach {difference_limit:.3} turns, noise puts probabilities off by up to {:.1} % (σ)",
                    100.0 * exponent_noise
                ));
            }
            lines.push(format!("  outputs may be ±{:.0} from their biases", quantization.output_limit));
        }
        if !self.noise.is_empty() {
            let header = ["noise of each operation", "log2 σ"].map(String::from).to_vec();
            let rows = self.noise.iter().map(|noise| vec![noise.operation.into(), format!("{:.1}", noise.log2_std)]);
            lines.push(format!("\n{}", table(&std::iter::once(header).chain(rows).collect::<Vec<_>>())));
        }
        lines.join("\n")
    }

    fn step_table(&self) -> String {
        let header =
            ["step", "bits", "rounded", "lookups", "PBS", "key switches", "products", "read", "result", "failure"];
        let mut rows = vec![header.map(String::from).to_vec()];
        rows.extend(self.steps.iter().map(StepReport::row));
        let blank = String::new;
        rows.push(vec![
            "total".into(),
            blank(),
            blank(),
            count(self.lookups),
            count(self.pbs),
            count(self.key_switches + self.automorphisms),
            count(self.steps.iter().map(|step| step.tensor_products + step.external_products).sum()),
            blank(),
            blank(),
            format!("{:.1}", self.log2_failure_probability),
        ]);
        table(&rows)
    }
}
