//! The command `circuit`: what a head will run.

use gpt2_fhe::integer::multiply::Multiply;
use gpt2_fhe::run::{Attention, Bytes, Circuit, Plan};
use gpt2_fhe::track::statistics::StepStatistics;
use nn::integer::RangeReport;
use nn::packed::PackedHead;
use serde::Serialize;
use tfhe_core::noise::Variance;

use super::arguments::{CircuitArguments, Given, Selection};
use super::describe;
use super::input::HeadInput;
use super::output::{print, print_json};
use super::progress::while_showing;
use super::report::ParametersReport;
use super::text::{count, table};
use super::verdict::Verdict;

/// What the columns of the tables mean.
const LEGEND: &str = "  \
  bits: of a table's inputs; rounded: low bits of them that are cut off before the table is read
  read, result: the largest noise of a value when a table reads it, and of what the step gives,
                as log2 of its standard deviation in units of the torus
  failure: log2 of the chance that a lookup of the step, or the decryption, fails; the total is what is said above";

/// Plans the head that the arguments select, and prints the plan.
///
/// # Errors
/// What is wrong with the arguments or the files; that the head cannot be run reliably.
pub(super) fn run(arguments: &CircuitArguments, given: &Given) -> anyhow::Result<Verdict> {
    let selection = &arguments.selection;
    let input = HeadInput::load(selection, given, None)?;
    let plan = while_showing("planning", || input.plan(selection))?;
    let report = Report::new(selection, &input, &plan);
    if arguments.reporting.json {
        print_json(&report)?;
    } else {
        print(&report.text(selection, &input, &plan))?;
    }
    Ok(Verdict::Right)
}

/// The JSON object.
#[derive(Serialize)]
struct Report<'a> {
    r#type: &'static str,
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
    /// Packed circuit only.
    automorphisms: Option<usize>,
    /// Those of each bootstrapping, n or for pairs of key bits 3n/2, and those outside of them.
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
    automorphisms: Option<usize>,
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
        let (Attention::Packed(head), Ok(packing)) = (head, plan.packing()) else { return None };
        let program = head.program();
        let heads = program.heads().iter().zip(&packing.exponent_noise);
        let heads = heads.map(|(head, &noise)| HeadQuantizationReport::new(head, noise)).collect();
        Some(Self { output_limit: program.output_limit(), heads })
    }
}

impl HeadQuantizationReport {
    fn new(head: &PackedHead, exponent_noise: f64) -> Self {
        Self {
            log_modulus: head.log_modulus(),
            score_turn: head.score_turn(),
            difference_limit: head.difference_limit_turns(),
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
    /// Of a step of the plan.
    fn new(step: &StepStatistics, head: &Attention, plan: &Plan) -> Self {
        let tables = tables(head, step.name);
        Self {
            name: step.name,
            table_bits: tables.map(|(bits, _)| bits),
            rounded_bits: tables.map(|(_, rounded)| rounded),
            lookups: step.lookups,
            pbs: step.pbs,
            key_switches: step.key_switches,
            automorphisms: (head.circuit() == Circuit::Packed).then_some(step.automorphisms),
            tensor_products: step.tensor_products,
            external_products: plan.products_of_step(step),
            log2_read_noise: step.log2_read_noise,
            log2_result_noise: step.log2_result_noise,
            log2_failure_probability: step.log2_failure_probability,
        }
    }

    /// Without the last of the columns where automorphisms are not counted.
    fn operations(&self) -> Vec<String> {
        let name = self.name.replace('_', " ");
        let counts = [self.lookups, self.pbs, self.external_products, self.tensor_products, self.key_switches];
        std::iter::once(name).chain(counts.into_iter().chain(self.automorphisms).map(count)).collect()
    }

    fn noise(&self) -> Vec<String> {
        let noise = |log2: f64| if log2.is_finite() { format!("{log2:.1}") } else { "-".into() };
        let bits = |bits: Option<u32>| bits.map_or("-".into(), |bits| bits.to_string());
        vec![
            self.name.replace('_', " "),
            bits(self.table_bits),
            bits(self.rounded_bits),
            noise(self.log2_read_noise),
            noise(self.log2_result_noise),
            noise(self.log2_failure_probability),
        ]
    }
}

/// (bits, rounded bits) of the widest tables of a step: those of the data flow, or of squares.
fn tables(head: &Attention, step: &str) -> Option<(u32, u32)> {
    let Attention::Exact(exact) = head else { return None };
    let program = exact.quantized.program();
    let of_step = program.tables().filter(|&(name, _)| name == step);
    let table = of_step.map(|(_, table)| (table.bits(), table.rounded_bits())).max();
    let factor = program.factors().into_iter().find(|&(name, _)| name == step && exact.multiply == Multiply::Lut);
    table.or(factor.map(|(_, factor)| (factor.operand_bits, 0)))
}

/// The packed circuit's operations.
fn noise_reports(plan: &Plan) -> Vec<NoiseReport> {
    let Ok(packing) = plan.packing() else { return Vec::new() };
    let report =
        |(operation, variance): (&'static str, Variance)| NoiseReport { operation, log2_std: variance.log2_std() };
    packing.prediction.table(&packing.layout, 0).into_iter().map(report).collect()
}

impl<'a> Report<'a> {
    fn new(selection: &'a Selection, input: &'a HeadInput, plan: &'a Plan) -> Self {
        let statistics = &plan.statistics;
        let step = |step: &StepStatistics| StepReport::new(step, &input.head, plan);
        let exact = match &input.head {
            Attention::Exact(exact) => Some(exact),
            Attention::Packed(_) => None,
        };
        let (circuit, quantization) = (input.head.circuit(), &input.quantization);
        Self {
            r#type: "circuit",
            version: env!("CARGO_PKG_VERSION"),
            circuit: circuit.name(),
            multiply: exact.map(|exact| exact.multiply.name()),
            bits: quantization.bits(circuit),
            msbs: exact.map(|_| quantization.options.msbs),
            tensor: &selection.input.tensor,
            layer: selection.place.layer,
            head: selection.place.head(),
            tokens: input.hidden.rows(),
            heads: selection.place.head().map_or(input.heads, |_| 1),
            lookups: statistics.lookups(),
            pbs: statistics.pbs(),
            key_switches: statistics.key_switches(),
            tensor_products: statistics.tensor_products(),
            automorphisms: (input.head.circuit() == Circuit::Packed).then(|| statistics.automorphisms()),
            external_products: plan.external_products(),
            steps: statistics.steps.iter().map(step).collect(),
            quantization: QuantizationReport::new(&input.head, plan),
            noise: noise_reports(plan),
            ranges: exact.map(|exact| exact.quantized.ranges()),
            bytes: &plan.bytes,
            security_bits: plan.security_bits(),
            log2_failure_probability: plan.log2_failure_probability,
            parameters: ParametersReport::new(plan),
        }
    }

    fn text(&self, selection: &Selection, input: &HeadInput, plan: &Plan) -> String {
        let mut lines = vec![describe::head(selection, input)];
        lines.extend(describe::parameters(plan));
        lines.extend(describe::work(plan));
        lines.push(format!("\n{}", self.table_of_operations()));
        lines.push(format!("\n{}", self.table_of_noise()));
        lines.push(format!("\n{LEGEND}"));
        if let Some(quantization) = &self.quantization {
            lines.push(String::new());
            for (index, head) in quantization.heads.iter().enumerate() {
                let HeadQuantizationReport { log_modulus, score_turn, difference_limit, exponent_noise, .. } = head;
                let head = self.head.unwrap_or(index);
                lines.push(format!(
                    "  head {head}: scores are multiples of 2^-{log_modulus} of a turn, which is {score_turn:.1} units of \
                     score; differences of scores may reach {difference_limit:.3} turns; noise puts probabilities off by up to \
                     {:.1} % (σ)",
                    100.0 * exponent_noise
                ));
            }
            let limit = quantization.output_limit;
            lines.push(format!("  output: at most {limit:.0} steps of its scale above or below its bias"));
        }
        if !self.noise.is_empty() {
            let header = ["noise of each operation", "log2 σ"].map(String::from).to_vec();
            let rows = self.noise.iter().map(|noise| vec![noise.operation.into(), format!("{:.1}", noise.log2_std)]);
            lines.push(format!("\n{}", table(&std::iter::once(header).chain(rows).collect::<Vec<_>>())));
        }
        lines.join("\n")
    }

    fn table_of_operations(&self) -> String {
        let header = ["step", "lookups", "PBS", "external products", "products", "key switches", "automorphisms"];
        let columns = if self.automorphisms.is_some() { header.len() } else { header.len() - 1 };
        let mut rows = vec![header[..columns].iter().map(ToString::to_string).collect()];
        rows.extend(self.steps.iter().map(StepReport::operations));
        let counts = [self.lookups, self.pbs, self.external_products, self.tensor_products, self.key_switches];
        let counts = counts.into_iter().chain(self.automorphisms).map(count);
        rows.push(std::iter::once("total".into()).chain(counts).collect());
        table(&rows)
    }

    fn table_of_noise(&self) -> String {
        let header = ["step", "bits", "rounded", "read", "result", "failure"];
        let mut rows = vec![header.map(String::from).to_vec()];
        rows.extend(self.steps.iter().map(StepReport::noise));
        let failure = format!("{:.1}", self.log2_failure_probability);
        rows.push(vec!["total".into(), String::new(), String::new(), String::new(), String::new(), failure]);
        table(&rows)
    }
}
