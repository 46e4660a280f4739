//! `quantize --encrypt`: blocks.

use anyhow::anyhow;
use nn::block::{BlockOptions, BlockPart, BlocksClient, Ending, ModelProgram};
use nn::gpt2::Block;
use nn::record::{AttentionFingerprint, QuantizedFile};
use serde::Serialize;

use super::halves::{self, FileReport, ScalesReport};
use crate::cli::arguments::{Encrypt, Given, Layers, NotApplicable, QuantizeArguments};
use crate::cli::input;
use crate::cli::model::LanguageModel;
use crate::cli::output::{print, print_json};
use crate::cli::progress::while_showing;
use crate::cli::selected::BlockChoice;
use crate::cli::stored::blocks_in_words;
use crate::cli::text::{line, plural};
use crate::cli::verdict::Verdict;

/// Calibrates what the arguments select, and writes it.
///
/// # Errors
/// What is wrong with the arguments or the files.
pub(super) fn run(arguments: &QuantizeArguments, given: &Given) -> anyhow::Result<Verdict> {
    let pending = halves::create(arguments)?;
    let model = match &arguments.weights {
        Some(_) => of_weights(arguments, given)?,
        None => of_model(arguments, given)?,
    };
    let description = blocks_in_words(model.client().part(), &model.client().layers().collect::<Vec<_>>());
    let file = QuantizedFile::of_blocks(model.clone())?;
    let (contents, files) = halves::encode(arguments, &file)?;
    let report = Report::new(model.client(), *model.options(), (files, file.fingerprint()));
    pending.write(contents, || {
        if arguments.reporting.json { print_json(&report) } else { print(&report.text(&description)) }
    })?;
    Ok(Verdict::Right)
}

/// Blocks of a model, on texts.
fn of_model(arguments: &QuantizeArguments, given: &Given) -> anyhow::Result<ModelProgram> {
    let model = LanguageModel::load(arguments.model.as_deref())?;
    let layers = Layers::Some(vec![arguments.place.layer]);
    let source = BlockChoice::new(&arguments.encryption, &layers, given, (Vec::new(), &model))?;
    let mut selected = source.select(&model, arguments.text.as_deref(), "--text")?;
    // One layer was chosen, or blocks that follow each other.
    selected.models.pop().ok_or_else(|| anyhow!("no block was selected; choose --encrypt model"))
}

/// One block of a file, or a part of it, on hidden states of another.
fn of_weights(arguments: &QuantizeArguments, given: &Given) -> anyhow::Result<ModelProgram> {
    let encryption = &arguments.encryption;
    given.check_blocks(&encryption.encrypt)?;
    if encryption.public_start || encryption.head_on_server {
        let option = if encryption.public_start { "--public-start" } else { "--head-on-server" };
        let what = format!("{option} needs a model, which --weights is one block of; leave it out, or choose --model");
        return Err(NotApplicable::new(what).into());
    }
    let (layer, part): (usize, BlockPart) = match &encryption.encrypt {
        Encrypt::Blocks(range) if range.start() == range.end() => (*range.start(), BlockPart::Whole),
        Encrypt::Part(part) => (arguments.place.layer, (*part).into()),
        other => {
            let what = format!(
                "--encrypt {other} needs a model, which --weights is one block of; choose blocks:A, attention or mlp"
            );
            return Err(NotApplicable::new(what).into());
        }
    };
    let (Some(weights), Some(calibration)) = (&arguments.weights, &arguments.calibration) else {
        return Err(anyhow!("--weights needs --calibration, hidden states before the block"));
    };
    let weights = input::open(weights, "--weights")?;
    let block = Block::load_alone(&weights, layer, arguments.n_head)?;
    let size = block.attention().embedding_size();
    let inputs = input::load_calibration(calibration, &arguments.calibration_tensors, size)?;
    let options = BlockOptions::of_width(size);
    let calibrate = || ModelProgram::calibrate_block((layer, &block), part, &inputs, &options);
    Ok(while_showing("calibrating", calibrate)?)
}

/// The JSON object.
#[derive(Serialize)]
struct Report {
    r#type: &'static str,
    version: &'static str,
    circuit: &'static str,
    /// The numbers of the blocks.
    blocks: Vec<usize>,
    part: BlockPart,
    /// What is answered.
    ending: Ending,
    /// What every text begins with, and the server knows.
    public_tokens: Vec<u32>,
    max_tokens: usize,
    options: BlockOptions,
    /// The turns that a unit of hidden states takes.
    scales: ScalesReport,
    /// The same of the last token's hidden state or of logits, where that is answered; null otherwise.
    answer_scales: Option<ScalesReport>,
    files: Vec<FileReport>,
    fingerprint: AttentionFingerprint,
}

impl Report {
    fn new(
        client: &BlocksClient,
        options: BlockOptions,
        (files, fingerprint): (Vec<FileReport>, AttentionFingerprint),
    ) -> Self {
        Self {
            r#type: "quantized",
            version: env!("CARGO_PKG_VERSION"),
            circuit: "blocks",
            blocks: client.layers().collect(),
            part: client.part(),
            ending: client.end().ending(),
            public_tokens: client.public_tokens().to_vec(),
            max_tokens: client.max_tokens(),
            options,
            scales: ScalesReport::new(client.scale().turns()),
            answer_scales: client.end().last().map(|scale| ScalesReport::new(scale.turns())),
            files,
            fingerprint,
        }
    }

    fn text(&self, what: &str) -> String {
        let (end, of_answer) = match self.ending {
            Ending::Stream => ("", ""),
            Ending::LastState => ("; of the last token its hidden state is answered", "of the last state"),
            Ending::Logits => (", the final LayerNorm and the logits", "of a logit"),
        };
        let mut lines = vec![
            format!("Quantized: {what}{end}"),
            line("texts", format!("at most {}", plural(self.max_tokens, "token"))),
            line("public tokens", format!("{:?}", self.public_tokens)),
            line("turns of a unit", self.scales.text()),
        ];
        lines.extend(self.answer_scales.iter().map(|scales| line(of_answer, scales.text())));
        lines.extend(self.files.iter().map(FileReport::line));
        lines.push(line("fingerprint", self.fingerprint.to_string()));
        lines.join("\n")
    }
}
