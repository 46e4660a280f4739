//! What `evaluate` prints.

use gpt2_fhe::evaluate::{Accuracy, Agreement, Passage};
use gpt2_fhe::run::{Circuit, Mode};
use nn::attention::Part;
use serde::Serialize;

use super::{Figures, Setting};
use crate::cli::text::{line, plural, seconds, table};

/// What the columns of the table mean.
const LEGEND: &str = "  \
  top-1, 5, 10: how many of the likeliest tokens are among the likeliest in f32; KL: divergence from f32, in nats
  error: ‖output − f32‖/‖f32‖ of what is replaced
  out of range: how many arguments of lookups, and outputs, are beyond what calibration saw: a window with any is wrong from
                there on, and counts in all other columns (a single run would end with an error)
  saturated: entries of inputs that are cut off to their calibrated ranges, the same in the clear and encrypted
  zeroed, shuffled: for comparison, zeros instead of the output, and the same weights in random order";

/// What takes the place of the attention.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Label {
    /// "f32", "zeroed" or "shuffled"; null for a quantized attention.
    pub(super) control: Option<&'static str>,
    pub(super) circuit: Option<Circuit>,
    pub(super) bits: Option<u32>,
    pub(super) mode: Option<Mode>,
    /// What predicted noise is multiplied by; null where none is drawn, and in execute mode.
    pub(super) noise: Option<f64>,
}

impl Label {
    pub(super) fn control(name: &'static str) -> Self {
        Self { control: Some(name), circuit: None, bits: None, mode: None, noise: None }
    }

    pub(super) fn quantized((circuit, bits): (Circuit, u32), mode: Mode, noise: Option<f64>) -> Self {
        Self { control: None, circuit: Some(circuit), bits: Some(bits), mode: Some(mode), noise }
    }
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) label: Label,
    #[serde(flatten)]
    pub(super) accuracy: Accuracy,
}

impl Row {
    const HEADER: [&'static str; 12] = [
        "circuit",
        "bits",
        "mode",
        "noise",
        "top-1",
        "top-5",
        "top-10",
        "KL",
        "perplexity",
        "error",
        "out of range",
        "saturated",
    ];

    fn cells(&self) -> Vec<String> {
        let Self { label, accuracy } = self;
        let name = label.control.or(label.circuit.map(Circuit::name)).unwrap_or("-");
        let mode = label.mode.map_or("-", Mode::name);
        vec![
            name.into(),
            label.bits.map_or("-".into(), |bits| bits.to_string()),
            mode.into(),
            label.noise.map_or("-".into(), |factor| factor.to_string()),
            percent(accuracy.top_1),
            percent(accuracy.top_5),
            percent(accuracy.top_10),
            format!("{:.5}", accuracy.kl_divergence),
            format!("{:.3}", accuracy.perplexity),
            format!("{:.4}", accuracy.relative_error),
            accuracy.out_of_range.to_string(),
            accuracy.saturated.to_string(),
        ]
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// What could not be evaluated.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Unavailable {
    circuit: Circuit,
    bits: u32,
    reason: String,
}

impl Unavailable {
    pub(super) fn new((circuit, bits): (Circuit, u32), reason: String) -> Self {
        Self { circuit, bits, reason }
    }
}

/// Encrypted runs beside simulated ones of the same positions.
#[derive(Clone, Debug, Serialize)]
pub(super) struct AgreementReport {
    circuit: Circuit,
    bits: u32,
    /// ‖decrypted − clear engine's‖/‖clear engine's‖.
    executed_noise: f64,
    /// The same of simulated outputs.
    simulated_noise: f64,
    /// The share of positions with the same likeliest token.
    same_top_1: f64,
    pub(super) mismatches: usize,
}

impl AgreementReport {
    pub(super) fn new((circuit, bits): (Circuit, u32), agreement: &Agreement) -> Self {
        Self {
            circuit,
            bits,
            executed_noise: agreement.executed_noise,
            simulated_noise: agreement.simulated_noise,
            same_top_1: agreement.same_top_1,
            mismatches: agreement.mismatches,
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.circuit.name().into(),
            self.bits.to_string(),
            format!("{:.5}", self.executed_noise),
            format!("{:.5}", self.simulated_noise),
            percent(self.same_top_1),
            self.mismatches.to_string(),
        ]
    }
}

/// The JSON object.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    r#type: &'static str,
    version: &'static str,
    model: &'a str,
    layer: usize,
    /// Null for all heads.
    head: Option<usize>,
    mode: Mode,
    text: TextReport,
    calibration: CalibrationReport,
    threads: usize,
    seconds: f64,
    rows: &'a [Row],
    unavailable: &'a [Unavailable],
    /// Execute mode only.
    agreements: &'a [AgreementReport],
}

#[derive(Serialize)]
struct TextReport {
    file: String,
    /// The share that was left out.
    from: f64,
    tokens: usize,
    /// Tokens of a window.
    window: usize,
    /// Positions whose predictions are compared.
    positions: usize,
}

#[derive(Serialize)]
struct CalibrationReport {
    /// Null: what the model is calibrated on without a text, or `quantized`.
    file: Option<String>,
    /// 0 with `quantized`.
    tokens: usize,
    /// Files of attention that was calibrated earlier.
    quantized: Vec<String>,
}

impl<'a> Report<'a> {
    pub(super) fn new(setting: &'a Setting<'_>, figures: &'a Figures, seconds: f64) -> Self {
        let arguments = setting.arguments;
        Self {
            r#type: "evaluation",
            version: env!("CARGO_PKG_VERSION"),
            model: &setting.model.name,
            layer: arguments.place.layer,
            head: arguments.place.head(),
            mode: arguments.mode,
            text: TextReport {
                file: arguments.text.display().to_string(),
                from: arguments.from,
                tokens: setting.text.len(),
                window: setting.window,
                positions: setting.passages.iter().map(Passage::span).map(|span| span.rows().len()).sum(),
            },
            calibration: CalibrationReport {
                file: arguments.calibration_text.as_ref().map(|path| path.display().to_string()),
                tokens: setting.calibration.iter().map(|input| input.rows()).sum(),
                quantized: arguments.quantized.iter().map(|path| path.display().to_string()).collect(),
            },
            threads: rayon::current_num_threads(),
            seconds,
            rows: &figures.rows,
            unavailable: &figures.unavailable,
            agreements: &figures.agreements,
        }
    }

    pub(super) fn text(&self, setting: &Setting<'_>) -> String {
        let header = Row::HEADER.map(String::from).to_vec();
        let rows: Vec<Vec<String>> = std::iter::once(header).chain(self.rows.iter().map(Row::cells)).collect();
        let mut lines = self.introduction(setting);
        lines.extend([String::new(), table(&rows), LEGEND.into()]);
        lines.extend(self.unavailable.iter().map(|width| {
            format!("  {}, {}: {}", width.circuit.name(), plural(width.bits as usize, "bit"), width.reason)
        }));
        if !self.agreements.is_empty() {
            let header = ["circuit", "bits", "noise encrypted", "simulated", "same top-1", "mismatches"];
            let header = header.map(String::from).to_vec();
            let rows: Vec<Vec<String>> =
                std::iter::once(header).chain(self.agreements.iter().map(AgreementReport::cells)).collect();
            lines.extend([String::new(), table(&rows)]);
            lines.push("    noise: ‖output − clear engine's‖/‖clear engine's‖".into());
        }
        lines.push(format!("\n{}", line("time", seconds(self.seconds))));
        lines.join("\n")
    }

    /// What a picture of it is called.
    pub(super) fn title(&self, setting: &Setting<'_>) -> String {
        let model = if setting.arguments.model.is_some() { self.model } else { "embedded model" };
        format!("{model}: {}, mode {}", self.part(setting), self.mode.name())
    }

    /// What is replaced, in words.
    fn part(&self, setting: &Setting<'_>) -> String {
        let heads = setting.model.gpt2.config().n_head;
        match setting.arguments.place.part() {
            Part::Head(head) => format!("layer {}, head {head} of {heads}", self.layer),
            Part::Whole => format!("layer {}, all {heads} heads and the output projection", self.layer),
        }
    }

    fn introduction(&self, setting: &Setting<'_>) -> Vec<String> {
        let text = &self.text;
        let skipped =
            if text.from > 0.0 { format!(" without its first {}", percent(text.from)) } else { String::new() };
        let compared = match self.mode {
            Mode::Execute => format!("{} sampled of {}", plural(text.positions, "position"), text.tokens - 1),
            Mode::Clear | Mode::Simulate => plural(text.positions, "position"),
        };
        let CalibrationReport { file, tokens, quantized } = &self.calibration;
        let calibrated = match file {
            _ if !quantized.is_empty() => line("quantized", quantized.join(", ")),
            Some(file) => line("calibrated on", format!("the beginning of {file}: {}", plural(*tokens, "token"))),
            None => {
                line("calibrated on", format!("{}: {}", setting.model.default_calibration(), plural(*tokens, "token")))
            }
        };
        vec![
            "A model's predictions with a part of its attention replaced".into(),
            line("model", self.model),
            line("replaced", self.part(setting)),
            line("text", format!("{}{skipped}: {}", text.file, plural(text.tokens, "token"))),
            line("compared", format!("{compared}, in windows of {}", plural(text.window, "token"))),
            calibrated,
        ]
    }
}
