//! The file of `head --trace`: a run with every number on its way.

use std::path::Path;

use anyhow::{anyhow, bail};
use gpt2_fhe::run::trace::TracePlace;
use gpt2_fhe::run::{Attention, Circuit, Mode, Outcome};
use nn::packed::PackedHead;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::arguments::Selection;
use super::input::HeadInput;
use super::source::read_text;

/// What the file says it is.
const TYPE: &str = "head trace";
/// The version of its form.
const FORMAT: u64 = 1;
/// The most places of a trace: far more than a circuit has.
const MAX_PLACES: usize = 1024;
/// The most tokens and heads of one: far more than a model has.
const MAX_SIZE: usize = 1 << 16;

/// The JSON object: what was run, and the places of the circuit in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunTrace {
    r#type: String,
    format: u64,
    /// That of the program that wrote it.
    pub(super) version: String,
    pub(super) circuit: Circuit,
    pub(super) mode: Mode,
    pub(super) tensor: String,
    pub(super) layer: usize,
    /// Null for all heads.
    pub(super) head: Option<usize>,
    /// The number of heads computed.
    pub(super) heads: usize,
    pub(super) tokens: usize,
    /// Of the input's integers.
    pub(super) bits: u32,
    /// Packed circuit only: of each head, what one turn of score stands for.
    pub(super) score_turns: Option<Vec<f64>>,
    /// The parameter set.
    pub(super) parameters: String,
    pub(super) log2_failure_probability: f64,
    /// Decrypted numbers that are not the clear engine's, or farther from them than the noise explains.
    pub(super) mismatches: usize,
    /// Numbers of the clear engine beyond their ranges.
    pub(super) out_of_range: usize,
    pub(super) places: Vec<TracePlace>,
}

/// What any file of this kind says of itself.
#[derive(Deserialize)]
struct Beginning {
    r#type: Option<Value>,
    format: Option<Value>,
}

impl RunTrace {
    pub(super) fn new(
        selection: &Selection,
        mode: Mode,
        input: &HeadInput,
        outcome: &Outcome,
        places: Vec<TracePlace>,
    ) -> Self {
        let circuit = input.head.circuit();
        let plan = outcome.plan.as_ref();
        let score_turns = match &input.head {
            Attention::Exact(_) => None,
            Attention::Packed(head) => Some(head.program().heads().iter().map(PackedHead::score_turn).collect()),
        };
        Self {
            r#type: TYPE.into(),
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            circuit,
            mode,
            tensor: selection.input.tensor.clone(),
            layer: selection.place.layer,
            head: selection.place.head(),
            heads: selection.place.head().map_or(input.heads, |_| 1),
            tokens: input.hidden.rows(),
            bits: input.quantization.bits(circuit),
            score_turns,
            parameters: plan.map_or(String::new(), |plan| plan.parameters.name().into()),
            log2_failure_probability: plan.map_or(0.0, |plan| plan.log2_failure_probability),
            mismatches: outcome.mismatches(),
            out_of_range: outcome.out_of_range,
            places,
        }
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// That they cannot be made.
    pub(super) fn to_json(&self) -> anyhow::Result<Vec<u8>> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads the file that an option names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(path: &Path, option: &str) -> anyhow::Result<Self> {
        let text = read_text(path, option)?;
        Self::parse(&text).map_err(|wrong| anyhow!("{} is not usable: {wrong}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let other = "it is no trace of a head; `head --trace FILE` writes one";
        let damaged =
            |error: serde_json::Error| anyhow!("it is damaged, or cut off: {error}; make it anew by `head --trace`");
        let trimmed = text.trim_start();
        if !trimmed.starts_with('{') {
            bail!(other);
        }
        let Beginning { r#type, format } = serde_json::from_str(text).map_err(damaged)?;
        if r#type != Some(Value::from(TYPE)) {
            bail!(other);
        }
        match format {
            Some(format) if format == FORMAT => {}
            Some(format) => bail!(
                "it is a trace of format {format}, and this program reads {FORMAT}; make it anew by `head --trace`"
            ),
            None => bail!("it does not say of which format it is; make it anew by `head --trace`"),
        }
        let trace: Self = serde_json::from_str(text).map_err(damaged)?;
        trace.check()?;
        Ok(trace)
    }

    /// That it is one that a run could have written.
    fn check(&self) -> anyhow::Result<()> {
        let Self { places, heads, tokens, .. } = self;
        let is_size = |size: &usize| (1..=MAX_SIZE).contains(size);
        if places.is_empty() || places.len() > MAX_PLACES || !is_size(heads) || !is_size(tokens) {
            bail!(
                "it has {} places of {heads} heads and {tokens} tokens; make it anew by `head --trace`",
                places.len()
            );
        }
        if [&self.version, &self.tensor, &self.parameters].iter().any(|text| text.contains(char::is_control)) {
            bail!("a name in it has characters that cannot be printed; make it anew by `head --trace`");
        }
        for place in places {
            if let Some(wrong) = place.contradiction() {
                bail!("place \"{}, {}\": {wrong}; make it anew by `head --trace`", place.step, place.operation);
            }
        }
        Ok(())
    }
}

/// One of a place with one number.
#[cfg(test)]
pub(super) fn small() -> RunTrace {
    use gpt2_fhe::run::trace::{TraceNumber, TraceUnit};
    let number = TraceNumber {
        group: 0,
        row: 1,
        column: 2,
        clear: 7.0,
        decrypted: Some(7.25),
        noise: Some(0.25),
        predicted: Some(0.125),
        allowed: Some(0.5),
        headroom: Some(4.0),
        range_left: None,
    };
    let place = TracePlace {
        step: "output".into(),
        operation: "weighted sum".into(),
        numbers_of: String::new(),
        round: 0,
        unit: TraceUnit::Integers,
        unit_in_turns: 2f64.powi(-9),
        count: 3,
        clear_range: [-4.0, 7.0],
        measured_noise: Some(0.25),
        largest_noise: Some(0.25),
        predicted_noise: Some(0.125),
        simulated_noise: None,
        simulated_spread: None,
        noise_when_read: None,
        headroom: Some(4.0),
        range_left: None,
        out_of_range: 0,
        numbers: vec![number],
        narrowest: Some(number),
    };
    RunTrace {
        r#type: TYPE.into(),
        format: FORMAT,
        version: "0".into(),
        circuit: Circuit::Exact,
        mode: Mode::Execute,
        tensor: "x".into(),
        layer: 0,
        head: Some(1),
        heads: 1,
        tokens: 2,
        bits: 4,
        score_turns: None,
        parameters: "head_exact".into(),
        log2_failure_probability: -50.0,
        mismatches: 0,
        out_of_range: 0,
        places: vec![place],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read() {
        let text = String::from_utf8(small().to_json().unwrap()).unwrap();
        assert_eq!(RunTrace::parse(&text).unwrap(), small());
    }

    #[test]
    fn a_file_that_is_cut_off_anywhere_is_refused_by_one_line() {
        let text = String::from_utf8(small().to_json().unwrap()).unwrap();
        for end in 0..text.trim_end().len() {
            let message = RunTrace::parse(&text[..end]).unwrap_err().to_string();
            assert!(message.contains("head --trace") && !message.contains('\n'), "{end}: {message}");
        }
    }

    #[test]
    fn what_no_run_gives_is_refused() {
        let changed = |path: &str, value: Value| {
            let mut object = serde_json::to_value(small()).unwrap();
            *object.pointer_mut(path).expect("there") = value;
            RunTrace::parse(&object.to_string()).unwrap_err().to_string()
        };
        for (path, value, what) in [
            ("/type", json!("head"), "no trace of a head"),
            ("/type", json!(null), "no trace of a head"),
            ("/format", json!(2), "of format 2, and this program reads 1"),
            ("/format", json!(null), "of which format"),
            ("/circuit", json!("round"), "unknown variant"),
            ("/tokens", json!(-1), "invalid value"),
            ("/tokens", json!(0), "0 tokens"),
            ("/tokens", json!(100_000), "100000 tokens"),
            ("/heads", json!(u64::MAX), "heads"),
            ("/tensor", json!("a\u{1b}[2J"), "cannot be printed"),
            ("/places/0/step", json!("a\u{7}"), "cannot be printed"),
            ("/places/0/round", json!(64), "its round is 64"),
            ("/places", json!([]), "0 places"),
            (
                "/places",
                Value::Array(vec![serde_json::to_value(&small().places[0]).unwrap(); MAX_PLACES + 1]),
                "1025 places",
            ),
            ("/places/0/count", json!(0), "it counts 0 numbers and has 1"),
            ("/places/0/out_of_range", json!(4), "it counts 3 numbers and has 4"),
            ("/places/0/count", json!(1e30), "invalid type"),
            ("/places/0/measured_noise", json!(-1.0), "contradict each other"),
            ("/places/0/clear_range", json!([8.0, 7.0]), "contradict each other"),
            ("/places/0/unit_in_turns", json!(0.0), "its unit is nothing"),
            ("/places/0/headroom", json!("NaN"), "invalid type"),
            ("/places/0/numbers", json!(vec![small().places[0].numbers[0]; 65]), "it counts 3 numbers and has 65"),
        ] {
            let message = changed(path, value);
            assert!(message.contains(what) && !message.contains('\n'), "{path}: {message:?} without {what:?}");
        }
        let text = String::from_utf8(small().to_json().unwrap()).unwrap();
        for (found, other, what) in [
            ("\"layer\"", "\"layers\"", "unknown field"),
            ("\"bits\":4,", "", "missing field"),
            ("7.25", "NaN", "head --trace"),
            ("7.25", "1e999", "out of range"),
            ("7.25", "7.25.1", "head --trace"),
        ] {
            let message = RunTrace::parse(&text.replace(found, other)).unwrap_err().to_string();
            assert!(message.contains(what), "{message:?} without {what:?}");
        }
        assert!(RunTrace::parse("[1]").unwrap_err().to_string().contains("no trace of a head"));
        assert!(RunTrace::parse("\u{7f}ELF").unwrap_err().to_string().contains("no trace of a head"));
    }
}
