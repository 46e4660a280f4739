//! The command `encrypt`.

use std::ops::Range;

use anyhow::{Context as _, anyhow, bail};
use gpt2_fhe::block::agreement::BlockAgreement;
use gpt2_fhe::run::RunError;
use gpt2_fhe::run::block::{BlockSource, ReplacedBlocks};
use gpt2_fhe::track::EvaluationError;
use nn::block::{BlockPart, BlocksClient, Ending};
use nn::matrix::Matrix;
use serde::Serialize;
use tfhe_core::format;

use super::client;
use crate::cli::arguments::EncryptArguments;
use crate::cli::files::{self, OutputFiles};
use crate::cli::input;
use crate::cli::model::LanguageModel;
use crate::cli::output::{print, print_json};
use crate::cli::stored::check_blocks;
use crate::cli::text::{bytes, line, plural};
use crate::cli::verdict::Verdict;

/// Encrypts hidden states.
///
/// # Errors
/// What is wrong with the arguments or the files.
pub(crate) fn run(arguments: &EncryptArguments) -> anyhow::Result<Verdict> {
    let EncryptArguments { client: of_client, hidden, model, earlier, out, replacing, reporting, .. } = arguments;
    let inputs = [
        ("--secret", Some(&*of_client.secret)),
        ("--quantized", Some(&*of_client.quantized)),
        ("--model", model.as_deref()),
        ("--hidden", hidden.as_deref()),
    ];
    let files = OutputFiles::create(&[("--out", Some(out))], &inputs, replacing.force)?;
    let party = client(of_client)?;
    let before = before(arguments, party.half())?;
    let tokens = before.rows();
    if *earlier >= tokens {
        bail!("--earlier is {earlier}, and the input has {}: one at least has to be new", plural(tokens, "token"));
    }
    let request = party.request(&before.row_range(*earlier..tokens), *earlier)?;
    let (header, contents) = BlockAgreement::request_file(&request, party.fingerprint());
    let mut written = Vec::new();
    format::write(&mut written, &header, contents)?;
    let report = Report {
        r#type: "request",
        version: env!("CARGO_PKG_VERSION"),
        path: out.display().to_string(),
        earlier: request.earlier,
        tokens: request.tokens,
        ciphertexts: request.request.ciphertexts().len(),
        bytes: written.len(),
    };
    let report = || if reporting.json { print_json(&report) } else { print(&report.text()) };
    files.write(vec![files::bytes(written)], report)?;
    Ok(Verdict::Right)
}

/// The hidden states before the blocks, of all tokens that are not public.
fn before(arguments: &EncryptArguments, half: &BlocksClient) -> anyhow::Result<Matrix<f32>> {
    if let (Some(path), Some(name)) = (&arguments.hidden, &arguments.tensor) {
        let hidden = input::open(path, "--hidden")?.any_matrix(name)?;
        if hidden.cols() != half.embedding_size() {
            let (name, size) = (path.display(), half.embedding_size());
            bail!("tensor of {name} has {} columns, and the blocks have n_embd = {size}", hidden.cols());
        }
        return Ok(hidden);
    }
    let prompt = arguments.prompt.as_deref().context("give --prompt a text, or --hidden a file")?;
    let model = LanguageModel::load(arguments.model.as_deref())?;
    check_blocks(&arguments.client.quantized.display().to_string(), half, &model.gpt2)?;
    let tokens = model.encode(prompt)?;
    if tokens.is_empty() {
        bail!("the prompt {prompt:?} has no token; give --prompt some text to continue");
    }
    let (public, most) = (half.public_tokens(), half.max_tokens());
    if public.len() + tokens.len() > most {
        bail!("the prompt has {}, and the model has {most} positions; shorten --prompt", plural(tokens.len(), "token"));
    }
    let all = [public, &tokens].concat();
    let mut recorded = [Recorded { half, before: None }];
    let stopped = model.gpt2.next_logits(&all, &mut ReplacedBlocks::new(&mut recorded, true));
    match (recorded[0].before.take(), stopped) {
        (Some(before), _) => Ok(before.row_range(public.len()..before.rows())),
        (None, Err(error)) => Err(error.into()),
        (None, Ok(_)) => Err(anyhow!("the model has no such blocks")),
    }
}

/// Stops a forward pass where blocks would be computed.
struct Recorded<'a> {
    half: &'a BlocksClient,
    before: Option<Matrix<f32>>,
}

impl BlockSource for Recorded<'_> {
    type Outcome = ();

    fn place(&self) -> (Range<usize>, BlockPart) {
        (self.half.layers(), self.half.part())
    }

    fn ending(&self) -> Ending {
        self.half.end().ending()
    }

    fn answer(&mut self, before: &Matrix<f32>, _: bool) -> Result<(Matrix<f32>, ()), RunError> {
        self.before = Some(before.clone());
        Err(EvaluationError::Cancelled.into())
    }
}

#[derive(Serialize)]
struct Report {
    r#type: &'static str,
    version: &'static str,
    path: String,
    earlier: usize,
    tokens: usize,
    ciphertexts: usize,
    bytes: usize,
}

impl Report {
    fn text(&self) -> String {
        let earlier = if self.earlier == 0 { String::new() } else { format!(", after {}", self.earlier) };
        let ciphertexts = plural(self.ciphertexts, "ciphertext");
        let encrypted = format!("{} encrypted in {ciphertexts}{earlier}", plural(self.tokens, "token"));
        [line("request", encrypted), line("written", format!("{}, {}", self.path, bytes(self.bytes)))].join("\n")
    }
}
