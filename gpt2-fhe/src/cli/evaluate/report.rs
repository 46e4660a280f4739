//! What `evaluate` prints.

use gpt2_fhe::evaluate::Passage;
use gpt2_fhe::run::Mode;
use nn::attention::Part;
use serde::Serialize;

use super::figures::{AgreementReport, Figures, Row, Unavailable, percent};
use super::setting::Setting;
use crate::cli::text::{line, plural, seconds, table};

/// What the columns of the table mean.
const LEGEND: &str = "  \
  top-1, 5, 10: how many of the likeliest tokens are among the likeliest in f32; KL: divergence from f32, in nats
  error: ‖output − f32‖/‖f32‖ of what is replaced
  out of range: how many arguments of lookups, and outputs, are beyond what calibration saw: a window with any is wrong from
                there on, and counts in all other columns (a single run would end with an error)
  saturated: entries of inputs that are cut off to their calibrated ranges, the same in the clear and encrypted
  zeroed, shuffled: for comparison, zeros instead of the output, and the same weights in random order";

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
