//! The command `compute`: what a server does, once.

use std::time::Instant;

use anyhow::bail;
use gpt2_fhe::block::agreement::{BlockAgreement, read_keys};
use gpt2_fhe::block::compute::{ComputeError, compute, look_ahead};
use gpt2_fhe::store::Store;
use gpt2_fhe::track::EvaluationError;
use serde::Serialize;
use tfhe_core::format::Kind;

use super::{circuit, open, refused};
use crate::cli::arguments::ComputeArguments;
use crate::cli::files::{OutputFiles, envelope};
use crate::cli::output::{print, print_json};
use crate::cli::progress::{BlockProgress, while_showing};
use crate::cli::text::{line, plural, seconds};
use crate::cli::verdict::Verdict;

/// Evaluates blocks on a request.
///
/// # Errors
/// What is wrong with the files: that they do not belong together.
pub(crate) fn run(arguments: &ComputeArguments) -> anyhow::Result<Verdict> {
    let ComputeArguments { evaluation_keys, quantized, request: path, text, out, replacing, reporting, .. } = arguments;
    let inputs = [
        ("--evaluation-keys", Some(&**evaluation_keys)),
        ("--quantized", Some(&**quantized)),
        ("--request", Some(&**path)),
        ("--text", text.as_deref()),
    ];
    let files = OutputFiles::create(&[("--out", Some(out))], &inputs, replacing.force)?;
    let circuit = circuit(quantized)?;
    // What is small is looked at first.
    let (mut file, length) = open(path, "--request", Kind::REQUEST)?;
    let request = circuit.agreement().read_request(&mut file, length, circuit.fingerprint());
    let request = request.map_err(|error| refused(path, &error))?;
    while_showing("planning", || look_ahead(&circuit, request.earlier, request.tokens))?;
    let (mut file, length) = open(evaluation_keys, "--evaluation-keys", Kind::EVALUATION_KEYS)?;
    let keys = while_showing("reading the keys", || {
        let keys = read_keys(&mut file, length).map_err(|error| refused(evaluation_keys, &error))?;
        Ok::<_, anyhow::Error>(keys.prepare()?)
    })?;
    let store = text.as_deref().map(Store::open).transpose()?;
    if text.is_none() && request.earlier > 0 {
        let earlier = plural(request.earlier, "token");
        bail!("{} follows {earlier}; give --text the folder in which the server kept them", path.display());
    }
    let mut progress = BlockProgress::new(circuit.program().end().ending());
    let start = Instant::now();
    let computed = compute(&circuit, (&keys, None), &request, store, &mut progress);
    progress.end();
    let (answer, statistics) = computed.map_err(|error| match error {
        ComputeError::Evaluation(EvaluationError::Refused(refused)) => {
            anyhow::anyhow!("cannot use {}: {refused}", path.display())
        }
        other => other.into(),
    })?;
    let report = Report {
        r#type: "answer",
        version: env!("CARGO_PKG_VERSION"),
        path: out.display().to_string(),
        earlier: request.earlier,
        tokens: request.tokens,
        pbs: statistics.pbs(),
        seconds: start.elapsed().as_secs_f64(),
    };
    let contents = vec![envelope(BlockAgreement::answer_file(&answer, circuit.fingerprint()))];
    files.write(contents, || if reporting.json { print_json(&report) } else { print(&report.text()) })?;
    Ok(Verdict::Right)
}

#[derive(Serialize)]
struct Report {
    r#type: &'static str,
    version: &'static str,
    path: String,
    earlier: usize,
    tokens: usize,
    pbs: usize,
    seconds: f64,
}

impl Report {
    fn text(&self) -> String {
        let done = format!("{} in {}, {} PBS", plural(self.tokens, "token"), seconds(self.seconds), self.pbs);
        [line("computed", done), line("written", &self.path)].join("\n")
    }
}
