//! The command `quantize`.

mod blocks;
mod halves;

use gpt2_fhe::integer::multiply::Multiply;
use gpt2_fhe::run::{Attention, Circuit};
use nn::attention::{AttentionWeights, Part};
use nn::integer::IntegerOptions;
use nn::matrix::Matrix;
use nn::packed::PackedOptions;
use nn::record::{AttentionFingerprint, AttentionOrigin, ClientHalf, Origin, Quantized, QuantizedFile};
use serde::Serialize;

use self::halves::{FileReport, ScalesReport};
use super::arguments::{Encrypt, Given, QuantizeArguments, Recipe};
use super::model::LanguageModel;
use super::output::{print, print_json};
use super::progress::while_showing;
use super::stored::in_words;
use super::text::{line, plural};
use super::verdict::Verdict;
use super::{describe, input};

/// Calibrates what the arguments select, and writes it.
///
/// # Errors
/// What is wrong with the arguments or the files.
pub(super) fn run(arguments: &QuantizeArguments, given: &Given) -> anyhow::Result<Verdict> {
    let (place, circuit) = (&arguments.place, arguments.circuit);
    if arguments.encryption.encrypt != Encrypt::Heads {
        return blocks::run(arguments, given);
    }
    given.check_heads()?;
    given.check(&[circuit], None)?;
    let pending = halves::create(arguments)?;
    let (weights, calibration) = load_calibrated(arguments)?;
    let max_tokens = arguments.max_tokens.unwrap_or_else(|| longest(&calibration, circuit));
    let recipe = Recipe {
        circuit,
        bits: arguments.quantization.bits(circuit),
        // A file does not say how its numbers are multiplied.
        multiply: Multiply::Product,
        options: &arguments.quantization.options,
    };
    let attention =
        while_showing("quantizing", || input::quantize(&weights, place.part(), &calibration, max_tokens, recipe))?;
    let description = describe::circuit(&arguments.quantization, &attention);
    let quantized = match attention {
        Attention::Exact(exact) => Quantized::Exact(Box::new(exact.quantized)),
        Attention::Packed(attention) => Quantized::Packed(attention),
    };
    let options = arguments.quantization.options(circuit, max_tokens)?;
    let file = QuantizedFile::new(
        quantized,
        Origin::Attention(AttentionOrigin { layer: place.layer, part: place.part(), options }),
    )?;
    let (contents, reports) = halves::encode(arguments, &file)?;
    let report = Report::new(arguments, &file, max_tokens, reports);
    pending.write(contents, || {
        if arguments.reporting.json { print_json(&report) } else { print(&report.text(place.part(), &description)) }
    })?;
    Ok(Verdict::Right)
}

/// The weights of the layer, and the inputs to calibrate on.
fn load_calibrated(arguments: &QuantizeArguments) -> anyhow::Result<(AttentionWeights, Vec<Matrix<f32>>)> {
    if let (Some(attention), Some(calibration)) = (&arguments.attention, &arguments.calibration) {
        let weights = input::open(attention, "--attention")?;
        let weights = AttentionWeights::load(&weights, arguments.place.layer, arguments.n_head)?;
        let inputs = input::load_calibration(calibration, &arguments.calibration_tensors, weights.embedding_size())?;
        return Ok((weights, inputs));
    }
    let model = LanguageModel::load(arguments.model.as_deref())?;
    let weights = model.gpt2.attention(arguments.place.layer)?.clone();
    let mut inputs = while_showing("running the model on the text", || {
        model.calibration_inputs(arguments.text.as_deref(), "--text")
    })?;
    Ok((weights, inputs.swap_remove(arguments.place.layer)))
}

/// The tokens of the longest input, or the most that the circuit takes.
fn longest(calibration: &[Matrix<f32>], circuit: Circuit) -> usize {
    let limit = match circuit {
        Circuit::Exact => IntegerOptions::MAX_TOKENS,
        Circuit::Packed => PackedOptions::MAX_TOKENS,
    };
    calibration.iter().map(Matrix::rows).max().unwrap_or(1).min(limit)
}

/// The JSON object.
#[derive(Serialize)]
struct Report {
    r#type: &'static str,
    version: &'static str,
    circuit: &'static str,
    bits: u32,
    layer: usize,
    /// Null for all heads.
    head: Option<usize>,
    max_tokens: usize,
    input_scales: ScalesReport,
    output_scales: ScalesReport,
    files: Vec<FileReport>,
    fingerprint: AttentionFingerprint,
}

impl Report {
    fn new(arguments: &QuantizeArguments, file: &QuantizedFile, max_tokens: usize, files: Vec<FileReport>) -> Self {
        let [input_scales, output_scales] = match file.client() {
            Some(ClientHalf::Exact(client)) => [vec![client.input().scale()], vec![client.output_scale()]],
            Some(ClientHalf::Packed(client)) => [client.input_scales().to_vec(), client.output_scales().to_vec()],
            Some(ClientHalf::Blocks(_)) | None => [Vec::new(), Vec::new()],
        }
        .map(|scales| ScalesReport::new(&scales));
        Self {
            r#type: "quantized",
            version: env!("CARGO_PKG_VERSION"),
            circuit: arguments.circuit.name(),
            bits: arguments.quantization.bits(arguments.circuit),
            layer: arguments.place.layer,
            head: arguments.place.head(),
            max_tokens,
            input_scales,
            output_scales,
            files,
            fingerprint: file.fingerprint(),
        }
    }

    fn text(&self, part: Part, circuit: &str) -> String {
        let mut lines = vec![
            format!("Quantized: {}", in_words(part, self.layer)),
            line("circuit", circuit),
            line("input", format!("at most {}", plural(self.max_tokens, "token"))),
            line("scales of inputs", self.input_scales.text()),
            line("scales of outputs", self.output_scales.text()),
        ];
        lines.extend(self.files.iter().map(FileReport::line));
        lines.push(line("fingerprint", self.fingerprint.to_string()));
        lines.join("\n")
    }
}
