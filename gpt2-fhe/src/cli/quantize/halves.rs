//! What `quantize` writes: files with both halves, or one, of what was quantized.

use std::path::Path;

use nn::record::QuantizedFile;
use serde::Serialize;

use crate::cli::arguments::QuantizeArguments;
use crate::cli::files::{self, Contents, OutputFiles};
use crate::cli::text::{bytes, line};

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
fn inputs(arguments: &QuantizeArguments) -> [(&'static str, Option<&Path>); 5] {
    [
        ("--model", arguments.model.as_deref()),
        ("--text", arguments.text.as_deref()),
        ("--attention", arguments.attention.as_deref()),
        ("--weights", arguments.weights.as_deref()),
        ("--calibration", arguments.calibration.as_deref()),
    ]
}

/// The files to be written, as they will be when all is computed.
///
/// # Errors
/// That one is there already, or is one that is read.
pub(super) fn create(arguments: &QuantizeArguments) -> anyhow::Result<OutputFiles> {
    let outputs = outputs(arguments);
    let named: Vec<_> = outputs.iter().map(|&(_, option, path)| (option, Some(path))).collect();
    OutputFiles::create(&named, &inputs(arguments), arguments.replacing.force)
}

/// The contents of the files to be written, and what is said of each.
///
/// # Errors
/// That the format cannot hold them.
pub(super) fn encode(
    arguments: &QuantizeArguments,
    file: &QuantizedFile,
) -> anyhow::Result<(Vec<Contents<'static>>, Vec<FileReport>)> {
    let (mut contents, mut reports) = (Vec::new(), Vec::new());
    for (halves, _, path) in outputs(arguments) {
        let bytes = halves.of(file).to_bytes()?;
        reports.push(FileReport { halves, path: path.display().to_string(), bytes: bytes.len() });
        contents.push(files::bytes(bytes));
    }
    Ok((contents, reports))
}

/// What a file holds.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Halves {
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

#[derive(Serialize)]
pub(super) struct FileReport {
    halves: Halves,
    path: String,
    bytes: usize,
}

impl FileReport {
    pub(super) fn line(&self) -> String {
        line(self.halves.name(), format!("{}: {}", self.path, bytes(self.bytes)))
    }
}

/// Scales of all channels.
#[derive(Serialize)]
pub(super) struct ScalesReport {
    count: usize,
    smallest: f64,
    median: f64,
    largest: f64,
}

impl ScalesReport {
    pub(super) fn new(scales: &[f64]) -> Self {
        let mut scales = scales.to_vec();
        scales.sort_by(f64::total_cmp);
        let at = |index: usize| scales.get(index).copied().unwrap_or(f64::NAN);
        let count = scales.len();
        Self { count, smallest: at(0), median: at(count / 2), largest: at(count.saturating_sub(1)) }
    }

    pub(super) fn text(&self) -> String {
        let Self { count, smallest, median, largest } = self;
        match count {
            1 => format!("{median:.3e}"),
            _ => format!("{smallest:.3e} to {largest:.3e}, median {median:.3e}, one for each of {count} channels"),
        }
    }
}
