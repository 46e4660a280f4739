//! The command `compute`: what a server does, once.

use std::time::Instant;

use anyhow::{Context, bail};
use gpt2_fhe::block::agreement::{BlockAgreement, read_keys};
use gpt2_fhe::block::compute::{ComputeError, compute, look_ahead};
use gpt2_fhe::block::keys::{GADGETS, Rotators};
use gpt2_fhe::store::Store;
use gpt2_fhe::track::EvaluationError;
use gpt2_fhe_worker::scale::{LookupRecorder, RecordingRotator};
use serde::Serialize;
use tfhe_core::blind_rotation::BlindRotator;
use tfhe_core::format::Kind;
use tfhe_core::keys::{EvaluationKeys, MissingKey};
use tfhe_core::sets::{COARSE, FINE, PRECISE};

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
    let recorder = arguments.record.as_ref().map(|_| {
        let (batch, note) = (arguments.record_batch.into(), arguments.record_note.as_str());
        LookupRecorder::new(rayon::current_num_threads(), batch, note).context("cannot start threads that are recorded")
    });
    let recorder = recorder.transpose()?;
    let rotators = recorder.as_ref().map(|recorder| recorded(&keys, recorder)).transpose()?;
    let by_others: Option<Rotators<'_>> =
        rotators.as_ref().map(|rotators| std::array::from_fn(|gadget| &rotators[gadget] as &dyn BlindRotator));
    let start = Instant::now();
    let computed = compute(&circuit, (&keys, by_others), &request, store, &mut progress);
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
    if let Some(recorder) = recorder {
        let mut record = Vec::new();
        recorder.into_record().write_to(&mut record)?;
        contents.push(bytes(record));
    }
    files.write(contents, || if reporting.json { print_json(&report) } else { print(&report.text()) })?;
    Ok(Verdict::Right)
}

/// The rotators of the keys, whose calls are recorded.
fn recorded<'a>(
    keys: &'a EvaluationKeys,
    recorder: &'a LookupRecorder,
) -> anyhow::Result<[RecordingRotator<'a>; GADGETS]> {
    let rotator = |gadget| Ok::<_, MissingKey>(recorder.rotator(keys.bootstrapping_key(gadget)?, gadget));
    Ok([rotator(COARSE)?, rotator(FINE)?, rotator(PRECISE)?])
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
