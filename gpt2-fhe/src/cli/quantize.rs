//! The command `quantize`.

use std::path::Path;

use gpt2_fhe::integer::multiply::Multiply;
use gpt2_fhe::run::{Attention, Circuit};
use nn::attention::{AttentionWeights, Part};
use nn::integer::IntegerOptions;
use nn::matrix::Matrix;
use nn::packed::PackedOptions;
use nn::record::{AttentionFingerprint, AttentionOrigin, ClientHalf, Origin, Quantized, QuantizedFile};
use serde::Serialize;

use super::arguments::{Given, QuantizeArguments, Recipe};
use super::files::{self, OutputFiles};
use super::model::LanguageModel;
use super::output::{print, print_json};
use super::progress::while_showing;
use super::stored::in_words;
use super::text::{bytes, line, plural};
use super::verdict::Verdict;
use super::{describe, input};

/// Calibrates what the arguments select, and writes it.
///
/// # Errors
/// What is wrong with the arguments or the files.
pub(super) fn run(arguments: &QuantizeArguments, given: &Given) -> anyhow::Result<Verdict> {
    let (place, circuit) = (&arguments.place, arguments.circuit);
    given.check(&[circuit], None)?;
    let outputs = outputs(arguments);
    let named: Vec<_> = outputs.iter().map(|&(_, option, path)| (option, Some(path))).collect();
    let pending = OutputFiles::create(&named, &inputs(arguments), arguments.replacing.force)?;
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
    let (mut contents, mut reports) = (Vec::new(), Vec::new());
    for (halves, _, path) in outputs {
        let bytes = halves.of(&file).to_bytes()?;
        reports.push(FileReport { halves, path: path.display().to_string(), bytes: bytes.len() });
        contents.push(files::bytes(bytes));
    }
    let report = Report::new(arguments, &file, max_tokens, reports);
    pending.write(contents, || {
        if arguments.reporting.json { print_json(&report) } else { print(&report.text(place.part(), &description)) }
    })?;
    Ok(Verdict::Right)
}

/// The files to be written: what each holds, and the option that names it.
fn outputs(arguments: &QuantizeArguments) -> Vec<(Halves, &'static str, &Path)> {
    let QuantizeArguments { out, server_out, client_out, .. } = arguments;
    let all = [
        (Halves::Both, "--out", out),
        (Halves::Server, "--server-out", server_out),
        (Halves::Client, "--client-out", client_out),
    ];
    all.into_iter().filter_map(|(halves, option, path)| Some((halves, option, path.as_deref()?))).collect()
}

/// What is read, by option.
fn inputs(arguments: &QuantizeArguments) -> [(&'static str, Option<&Path>); 4] {
    [
        ("--model", arguments.model.as_deref()),
        ("--text", arguments.text.as_deref()),
        ("--attention", arguments.attention.as_deref()),
        ("--calibration", arguments.calibration.as_deref()),
    ]
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

/// What a file holds.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Halves {
    Both,
    Server,
    Client,
}

impl Halves {
    fn of(self, file: &QuantizedFile) -> QuantizedFile {
        match self {
            Self::Both => file.clone(),
            Self::Server => file.server_half(),
            Self::Client => file.client_half(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Both => "for server and client",
            Self::Server => "for the server",
            Self::Client => "for the client",
        }
    }
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

#[derive(Serialize)]
struct FileReport {
    halves: Halves,
    path: String,
    bytes: usize,
}

/// Scales of all channels.
#[derive(Serialize)]
struct ScalesReport {
    count: usize,
    smallest: f64,
    median: f64,
    largest: f64,
}

impl ScalesReport {
    fn new(scales: &[f64]) -> Self {
        let mut scales = scales.to_vec();
        scales.sort_by(f64::total_cmp);
        let at = |index: usize| scales.get(index).copied().unwrap_or(f64::NAN);
        let count = scales.len();
        Self { count, smallest: at(0), median: at(count / 2), largest: at(count.saturating_sub(1)) }
    }

    fn text(&self) -> String {
        let Self { count, smallest, median, largest } = self;
        match count {
            1 => format!("{median:.3e}"),
            _ => format!("{smallest:.3e} to {largest:.3e}, median {median:.3e}, one for each of {count} channels"),
        }
    }
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
        for FileReport { halves, path, bytes: size } in &self.files {
            lines.push(line(halves.name(), format!("{path}: {}", bytes(*size))));
        }
        lines.push(line("fingerprint", self.fingerprint.to_string()));
        lines.join("\n")
    }
}
