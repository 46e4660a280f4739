//! The command `compute`: what a server does, once.

use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use gpt2_fhe::block::agreement::{BlockAgreement, read_keys};
use gpt2_fhe::block::compute::{ComputeError, compute, look_ahead};
use gpt2_fhe::block::keys::{Rotators, bootstrapping_keys};
use gpt2_fhe::store::Store;
use gpt2_fhe::track::EvaluationError;
use gpt2_fhe_worker::dispatcher::{Dispatcher, KeyFile, LookupSession};
use serde::Serialize;
use tfhe_core::format::Kind;
use tfhe_core::keys::MissingKey;

use super::{circuit, open, refused};
use crate::cli::arguments::ComputeArguments;
use crate::cli::files::{OutputFiles, bytes, envelope};
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
    let outputs = [("--out", Some(&**out)), ("--record", arguments.record.as_deref())];
    let files = OutputFiles::create(&outputs, &inputs, replacing.force)?;
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
    // In batches, as with workers.
    let dispatcher = arguments.record.as_ref().map(|_| Dispatcher::alone(rayon::current_num_threads())).transpose()?;
    let session = dispatcher.as_ref().map(|dispatcher| {
        let session = dispatcher.begin(bootstrapping_keys(&keys)?, *keys.identity(), &Arc::new(KeyFile::nowhere()));
        session.record(&arguments.record_note);
        Ok::<_, MissingKey>(session)
    });
    let session = session.transpose()?;
    let rotators: Option<Rotators<'_>> =
        session.as_ref().map(|session| std::array::from_fn(|gadget| session.rotator(gadget)));
    let start = Instant::now();
    let computed = compute(&circuit, (&keys, rotators), &request, store, &mut progress);
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
    let mut contents = vec![envelope(BlockAgreement::answer_file(&answer, circuit.fingerprint()))];
    if let Some(written) = session.as_ref().and_then(LookupSession::take_record) {
        let mut record = Vec::new();
        written.write_to(&mut record)?;
        contents.push(bytes(record));
    }
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
