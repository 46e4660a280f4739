//! The command `keygen`.

use gpt2_fhe::block::agreement::{self, keys_file};
use gpt2_fhe::block::keys::needs;
use gpt2_fhe::secret::ClientSecret;
use serde::Serialize;
use tfhe_core::derivation::RequestRandomness;
use tfhe_core::format::SECRET_BYTES;
use tfhe_core::random::SecretSeed;

use super::CIRCUIT;
use crate::cli::arguments::{KeygenArguments, no_randomness};
use crate::cli::files::{OutputFiles, envelope};
use crate::cli::output::{print, print_json};
use crate::cli::progress::while_showing;
use crate::cli::text::{bytes, line};
use crate::cli::verdict::Verdict;

/// Makes the keys of a new client.
///
/// # Errors
/// That a file cannot be written; that the system has no randomness.
pub(crate) fn run(arguments: &KeygenArguments) -> anyhow::Result<Verdict> {
    let KeygenArguments { secret, evaluation_keys, seed, replacing, reporting, .. } = arguments;
    let outputs = [("--secret", Some(&**secret)), ("--evaluation-keys", Some(&**evaluation_keys))];
    let files = OutputFiles::create(&outputs, &[], replacing.force)?;
    files.keep_private(0)?;
    let (seed, requests) = match seed {
        Some(number) => (SecretSeed::from_number(*number), RequestRandomness::Reproducible),
        None => (SecretSeed::from_system().map_err(no_randomness)?, RequestRandomness::Fresh),
    };
    let (client_secret, parameters) = (ClientSecret::new(seed, requests), agreement::parameters());
    let client = client_secret.client(CIRCUIT, &parameters)?;
    let keys = while_showing("making the keys", || client.evaluation_keys(&needs()))?;
    let report = Report {
        r#type: "keys",
        version: env!("CARGO_PKG_VERSION"),
        secret: FileReport { path: secret.display().to_string(), bytes: SECRET_BYTES },
        evaluation_keys: FileReport { path: evaluation_keys.display().to_string(), bytes: keys.bytes() as u64 },
    };
    let contents = vec![envelope(client_secret.file(CIRCUIT, client.identity())), envelope(keys_file(&keys))];
    files.write(contents, || if reporting.json { print_json(&report) } else { print(&report.text()) })?;
    Ok(Verdict::Right)
}

#[derive(Serialize)]
struct Report {
    r#type: &'static str,
    version: &'static str,
    secret: FileReport,
    evaluation_keys: FileReport,
}

/// A file that was written.
#[derive(Serialize)]
struct FileReport {
    path: String,
    bytes: u64,
}

impl FileReport {
    fn text(&self, whose: &str) -> String {
        format!("{}, {}: {whose}", self.path, bytes(self.bytes as usize))
    }
}

impl Report {
    fn text(&self) -> String {
        [
            line("secret", self.secret.text("stays with the client; whoever has it can decrypt everything")),
            line("evaluation keys", self.evaluation_keys.text("for the server; they show nothing")),
        ]
        .join("\n")
    }
}
