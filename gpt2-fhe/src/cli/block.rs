//! The command `block`: a whole block, or a part of one, on one tensor.

use anyhow::Context as _;
use gpt2_fhe::run::block::{BlockModel, BlockOutcome};
use gpt2_fhe::run::{Mode, RunError};
use nn::block::{BlockOptions, ModelProgram};
use nn::checkpoint::write_tensors;
use nn::gpt2::{Block, Intermediate, Site, Trace};
use nn::matrix::Matrix;
use nn::tensor::Tensor;
use serde::Serialize;
use tfhe_core::fingerprint::Fields;

use super::arguments::{BlockArguments, BlockSelection, NotApplicable, PartOfBlock};
use super::blocks::Blocks;
use super::checkpoint::{Checkpoint, Work};
use super::files::OutputFiles;
use super::input::{examples, load_hidden, open};
use super::output::{print, print_json};
use super::progress::while_showing;
use super::run_report::RunReport;
use super::text::{line, plural};
use super::timing::{MeasuredRun, Times};
use super::verdict::Verdict;

/// Runs the block that the arguments select.
///
/// # Errors
/// What is wrong with the arguments or the files; that the block cannot be run reliably.
pub(super) fn run(arguments: &BlockArguments) -> anyhow::Result<Verdict> {
    let BlockArguments { selection, execution, checkpointing, out, replacing, reporting, tokens, measure, .. } =
        arguments;
    let mode = execution.mode;
    checkpointing.check(mode)?;
    if *measure && mode != Mode::Execute {
        let what = format!("--measure is of ciphertexts, which --mode {} has none of", mode.name());
        return Err(NotApplicable::new(format!("{what}; leave it out, or choose --mode execute")).into());
    }
    let files = OutputFiles::create(&[("--out", out.as_deref())], &selection.inputs(), replacing.force)?;
    let input = BlockInput::load(selection, *tokens)?;
    let (models, resources) = (vec![input.model.clone()], &execution.resources);
    let checkpoint = Checkpoint::open(checkpointing, resources, input.work(), input.before.rows())?;
    let mut blocks = Blocks::kept(models, (mode, resources), &[input.before.rows()], checkpoint)?;
    let mut texts = blocks.texts(execution.allows_out_of_range())?;
    let outcome = match mode {
        Mode::Execute => texts.advance(&input.before),
        Mode::Clear | Mode::Simulate => while_showing("computing the block", || texts.advance(&input.before)),
    }?;
    let tensor = Tensor::from(outcome.run.output.clone());
    let mut report = Report::new(selection, mode, &input, &outcome)?;
    if *measure {
        let times = Times::measure(input.model.circuit())?;
        let run = &outcome.run;
        report.measured = Some(MeasuredRun::new(times, &run.statistics, run.seconds.evaluate));
    }
    files.write(vec![Box::new(|path| write_tensors(path, &[("block_out", &tensor)], &[]))], || {
        if reporting.json { print_json(&report) } else { print(&report.text(&input)) }
    })?;
    drop(texts);
    blocks.finish()?;
    Ok(match outcome.run.mismatches() {
        count if mode == Mode::Execute && count > 0 => Verdict::Mismatch(count),
        _ => Verdict::Right,
    })
}

/// A block and its input, from files.
pub(super) struct BlockInput {
    pub(super) model: BlockModel,
    heads: usize,
    /// Hidden states before and after what is encrypted, in f32, `[T, E]`.
    pub(super) before: Matrix<f32>,
    after: Matrix<f32>,
}

impl BlockInput {
    /// Reads the files and calibrates.
    pub(super) fn load(selection: &BlockSelection, tokens: Option<usize>) -> anyhow::Result<Self> {
        let weights = open(&selection.weights, "--weights")?;
        let block = Block::load_alone(&weights, selection.layer, selection.n_head)?;
        let attention = block.attention();
        let hidden = load_hidden((&selection.input, tokens), attention.embedding_size(), &weights)?;
        let inputs = examples(&selection.examples, &hidden)?;
        let (place, part) = ((selection.layer, &block), selection.part.into());
        let calibrate =
            || ModelProgram::calibrate_block(place, part, &inputs, &BlockOptions::of_width(attention.embedding_size()));
        let program = while_showing("calibrating", calibrate)?;
        let trace = block.trace(&hidden)?;
        let (before, after) = match selection.part {
            PartOfBlock::Whole => (hidden, state(&trace, Intermediate::Block)?),
            PartOfBlock::Attention => (hidden, state(&trace, Intermediate::AttentionResidual)?),
            PartOfBlock::Mlp => (state(&trace, Intermediate::AttentionResidual)?, state(&trace, Intermediate::Block)?),
        };
        let model = BlockModel::new(program).map_err(RunError::from)?;
        Ok(Self { model, heads: attention.heads(), before, after })
    }

    /// The same, for a checkpoint.
    fn work(&self) -> Work {
        let numbers: Vec<u64> = self.before.iter().map(|number| u64::from(number.to_bits())).collect();
        let input = Fields::new("input").integers(numbers.into_iter()).fingerprint();
        Work::new(std::slice::from_ref(&self.model), vec![("the input", input)])
    }

    /// What is computed on what, in words.
    pub(super) fn describe(&self, selection: &BlockSelection) -> String {
        let part = match selection.part {
            PartOfBlock::Whole => {
                format!("Block {}: attention of {}, feed-forward layer", selection.layer, self.heads())
            }
            PartOfBlock::Attention => format!("The attention of block {}, of {}", selection.layer, self.heads()),
            PartOfBlock::Mlp => format!("The feed-forward layer of block {}", selection.layer),
        };
        let (tokens, size) = (self.before.rows(), self.before.cols());
        let input = format!("{} of {size} values (tensor \"{}\")", plural(tokens, "token"), selection.input.tensor);
        [part, line("input", input), line("output", format!("{tokens} × {size} values"))].join("\n")
    }

    fn heads(&self) -> String {
        plural(self.heads, "head")
    }
}

fn state(trace: &Trace, what: Intermediate) -> anyhow::Result<Matrix<f32>> {
    trace.get(Site::layer(what, 0)).cloned().context("a forward pass without a hidden state")
}

/// What JSON objects of a block begin with.
#[derive(Serialize)]
pub(super) struct Subject<'a> {
    r#type: &'static str,
    version: &'static str,
    tensor: &'a str,
    layer: usize,
    part: PartOfBlock,
    tokens: usize,
}

impl<'a> Subject<'a> {
    pub(super) fn new(r#type: &'static str, selection: &'a BlockSelection, input: &BlockInput) -> Self {
        Self {
            r#type,
            version: env!("CARGO_PKG_VERSION"),
            tensor: &selection.input.tensor,
            layer: selection.layer,
            part: selection.part,
            tokens: input.before.rows(),
        }
    }
}

/// The JSON object. What a mode does not have is null.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    subject: Subject<'a>,
    /// The number of heads of the layer.
    heads: usize,
    #[serde(flatten)]
    run: RunReport<'a>,
    /// With `--measure`.
    measured: Option<MeasuredRun>,
    #[serde(skip)]
    selection: &'a BlockSelection,
}

impl<'a> Report<'a> {
    fn new(
        selection: &'a BlockSelection,
        mode: Mode,
        input: &BlockInput,
        outcome: &'a BlockOutcome,
    ) -> anyhow::Result<Self> {
        let errors = [outcome.relative_error(&input.after), outcome.clear_relative_error(&input.after)];
        Ok(Self {
            subject: Subject::new("block", selection, input),
            heads: input.heads,
            run: RunReport::new(mode, &outcome.run, errors)?,
            measured: None,
            selection,
        })
    }

    fn text(&self, input: &BlockInput) -> String {
        let error = "‖update − f32‖ / ‖f32‖; the update is what is added to the input";
        let mut text = self.run.text(input.describe(self.selection), error);
        if let Some(measured) = &self.measured {
            text += &format!("\n\n{}", measured.text());
        }
        text
    }
}
