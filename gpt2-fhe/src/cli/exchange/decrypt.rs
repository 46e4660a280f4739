//! The command `decrypt`.

use nn::block::{BlockPart, BlocksClient, Ending};
use nn::checkpoint::write_tensors;
use nn::gpt2::most_likely;
use nn::matrix::Matrix;
use nn::tensor::Tensor;
use serde::Serialize;
use tfhe_core::format::Kind;

use super::{client, open, own_request, refused};
use crate::cli::arguments::DecryptArguments;
use crate::cli::files::OutputFiles;
use crate::cli::model::LanguageModel;
use crate::cli::output::{print, print_json};
use crate::cli::stored::check_blocks;
use crate::cli::text::line;
use crate::cli::verdict::Verdict;

/// Decrypts an answer.
///
/// # Errors
/// What is wrong with the files: that they do not belong together.
pub(crate) fn run(arguments: &DecryptArguments) -> anyhow::Result<Verdict> {
    let DecryptArguments { client: of_client, request: sent, answer: path, model, out, replacing, reporting } =
        arguments;
    let inputs = [
        ("--secret", Some(&*of_client.secret)),
        ("--quantized", Some(&*of_client.quantized)),
        ("--request", Some(&**sent)),
        ("--answer", Some(&**path)),
        ("--model", model.as_deref()),
    ];
    let files = OutputFiles::create(&[("--out", out.as_deref())], &inputs, replacing.force)?;
    let party = client(of_client)?;
    let request = own_request(&party, sent)?;
    let (mut file, length) = open(path, "--answer", Kind::ANSWER)?;
    let read = party.agreement().read_answer(
        &mut file,
        length,
        (party.client().identity(), request.tokens),
        party.fingerprint(),
    );
    let answer = read.map_err(|error| refused(path, &error))?;
    let values = party.output(&answer, &request).map_err(|error| refused(path, &error))?;
    let next = next_token(arguments, party.half(), &values)?;
    let report = Report {
        r#type: "values",
        version: env!("CARGO_PKG_VERSION"),
        tensor: if party.half().end().ending() == Ending::Logits { "logits" } else { "block_out" },
        shape: [values.rows(), values.cols()],
        path: out.as_ref().map(|path| path.display().to_string()),
        next,
    };
    let (tensor, name) = (Tensor::from(values), report.tensor);
    files.write(vec![Box::new(|path| write_tensors(path, &[(name, &tensor)], &[]))], || {
        if reporting.json { print_json(&report) } else { print(&report.text()) }
    })?;
    Ok(Verdict::Right)
}

/// The likeliest token after the text, where the blocks lead to the model's logits.
fn next_token(
    arguments: &DecryptArguments,
    half: &BlocksClient,
    values: &Matrix<f32>,
) -> anyhow::Result<Option<NextToken>> {
    // Blocks from a file of weights have no model: only where one is named does it have to be theirs.
    let (model, is_asked) = (LanguageModel::load(arguments.model.as_deref())?, arguments.model.is_some());
    match check_blocks(&arguments.client.quantized.display().to_string(), half, &model.gpt2) {
        Err(error) if is_asked => return Err(error),
        Err(_) => return Ok(None),
        Ok(()) => {}
    }
    let leads_to_logits = half.part() != BlockPart::Attention && half.layers().end == model.gpt2.config().n_layer;
    if !leads_to_logits {
        return Ok(None);
    }
    let last = values.row_range(values.rows() - 1..values.rows());
    let logits = if half.end().ending() == Ending::Logits { last } else { model.gpt2.logits_of(&last) };
    let token = most_likely(logits.row(0));
    Ok(Some(NextToken { token, text: model.decode(&[token])? }))
}

#[derive(Serialize)]
struct Report {
    r#type: &'static str,
    version: &'static str,
    tensor: &'static str,
    shape: [usize; 2],
    path: Option<String>,
    /// Null where the blocks do not lead to the model's logits.
    next: Option<NextToken>,
}

#[derive(Serialize)]
struct NextToken {
    token: u32,
    text: String,
}

impl Report {
    fn text(&self) -> String {
        let [rows, columns] = self.shape;
        let mut lines = vec![line("values", format!("{rows} × {columns} ({})", self.tensor))];
        lines.extend(self.path.iter().map(|path| line("written", path)));
        lines.extend(self.next.iter().map(|next| line("next token", format!("{:?} ({})", next.text, next.token))));
        lines.join("\n")
    }
}
