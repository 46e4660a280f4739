//! What `evaluate` finds.

use gpt2_fhe::evaluate::{Accuracy, Agreement};
use gpt2_fhe::run::{Circuit, Mode};
use serde::Serialize;

/// What came out.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) rows: Vec<Row>,
    pub(super) unavailable: Vec<Unavailable>,
    pub(super) agreements: Vec<AgreementReport>,
}

/// What takes the place of the attention.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RowLabel {
    /// "f32", "zeroed" or "shuffled"; null for a quantized attention.
    pub(super) control: Option<&'static str>,
    pub(super) circuit: Option<Circuit>,
    pub(super) bits: Option<u32>,
    pub(super) mode: Option<Mode>,
    /// What predicted noise is multiplied by; null where none is drawn, and in execute mode.
    pub(super) noise: Option<f64>,
}

impl RowLabel {
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
    pub(super) label: RowLabel,
    #[serde(flatten)]
    pub(super) accuracy: Accuracy,
}

impl Row {
    pub(super) const HEADER: [&'static str; 12] = [
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

    pub(super) fn cells(&self) -> Vec<String> {
        let Self { label, accuracy } = self;
        let name = label.control.or(label.circuit.map(Circuit::name)).unwrap_or("-");
        let mode = label.mode.map_or("-", Mode::name);
        let mut cells = vec![
            name.into(),
            label.bits.map_or("-".into(), |bits| bits.to_string()),
            mode.into(),
            label.noise.map_or("-".into(), |factor| factor.to_string()),
        ];
        cells.extend(accuracy_cells(accuracy));
        cells
    }
}

/// The columns from "top-1" on.
pub(super) fn accuracy_cells(accuracy: &Accuracy) -> [String; 8] {
    [
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

pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// What could not be evaluated.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Unavailable {
    pub(super) circuit: Circuit,
    pub(super) bits: u32,
    pub(super) reason: String,
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

    pub(super) fn cells(&self) -> Vec<String> {
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
