//! A head and its input, from files.

use std::path::Path;

use anyhow::{anyhow, bail};
use gpt2_fhe::run::exact::ExactAttention;
use gpt2_fhe::run::{Attention, Mode, Plan, RunError, packed};
use nn::attention::{AttentionWeights, Part};
use nn::checkpoint::Checkpoint;
use nn::integer::{IntegerAttention, IntegerOptions};
use nn::matrix::Matrix;
use nn::packed::Span;
use nn::record::Options;

use super::arguments::{Examples, Given, InputTensor, Quantization, Recipe, Selection};
use super::progress::while_showing;
use super::source::check_file;
use super::stored;

/// What a [`Selection`] selects.
pub(super) struct HeadInput {
    /// The quantized head.
    pub(super) head: Attention,
    /// How it is quantized: as the arguments say, or the file that it is from.
    pub(super) quantization: Quantization,
    /// `[T, E]`.
    pub(super) hidden: Matrix<f32>,
    /// The output in f32, `[T, d]`, or `[T, E]` of all heads.
    pub(super) reference: Matrix<f32>,
    /// The number of heads of the layer.
    pub(super) heads: usize,
}

impl HeadInput {
    /// What will run on the input.
    ///
    /// # Errors
    /// As [`Attention::plan`].
    pub(super) fn plan(&self, selection: &Selection) -> Result<Plan, RunError> {
        let plan = self.head.plan(Span::all(self.hidden.rows()));
        plan.map_err(|error| error.in_layer(selection.place.layer).of_part(selection.place.part()))
    }

    /// Reads the files and, unless one of them holds the quantized head, calibrates it for as many tokens as the input
    /// has.
    /// `given` are the options of the command, run in `mode`.
    pub(super) fn load(selection: &Selection, given: &Given, mode: Option<Mode>) -> anyhow::Result<Self> {
        if selection.quantized.is_empty() {
            given.check(&[selection.circuit], mode)?;
        }
        let attention = open(&selection.attention, "--attention")?;
        let weights = AttentionWeights::load(&attention, selection.place.layer, selection.n_head)?;
        let input = (&selection.input, selection.tokens);
        let hidden = load_hidden(input, weights.embedding_size(), &attention)?;
        let (head, quantization) = match &selection.quantized[..] {
            [] => {
                let calibrated = while_showing("quantizing", || calibrate(selection, &weights, &hidden))?;
                (calibrated, selection.quantization.clone())
            }
            _ => load_quantized(selection, &weights, hidden.rows())?,
        };
        given.check(&[head.circuit()], mode)?;
        Ok(Self {
            head,
            quantization,
            reference: weights.attend(selection.place.part(), &hidden)?,
            heads: weights.heads(),
            hidden,
        })
    }
}

/// The tensors of the file that an option names.
pub(super) fn open(path: &Path, option: &str) -> anyhow::Result<Checkpoint> {
    check_file(path, option)?;
    Ok(Checkpoint::open(path)?)
}

/// The head that is selected, calibrated for `hidden`.
fn calibrate(selection: &Selection, weights: &AttentionWeights, hidden: &Matrix<f32>) -> anyhow::Result<Attention> {
    let calibration = examples(&selection.examples, hidden)?;
    let recipe = Recipe {
        circuit: selection.circuit,
        bits: selection.quantization.bits(selection.circuit),
        multiply: selection.multiplication.multiply,
        options: &selection.quantization.options,
    };
    quantize(weights, selection.place.part(), &calibration, hidden.rows(), recipe)
}

/// The quantized head of `--quantized`, if it is that of the selection and takes `tokens` tokens; and how it was
/// quantized.
fn load_quantized(
    selection: &Selection,
    weights: &AttentionWeights,
    tokens: usize,
) -> anyhow::Result<(Attention, Quantization)> {
    let multiply = selection.multiplication.multiply;
    let [loaded] = <[_; 1]>::try_from(stored::load_attention(&selection.quantized, multiply)?).map_err(|several| {
        let names = several.iter().map(|loaded| loaded.names.clone()).collect::<Vec<_>>().join(", ");
        anyhow!("{names} are of different calibrations; give --quantized one, or the two halves of one")
    })?;
    loaded.check_place(&selection.place)?;
    loaded.check_sizes(weights, "--attention")?;
    loaded.check_tokens(tokens, "--tensor")?;
    Ok((loaded.attention, Quantization::of(&loaded.origin.options)))
}

/// A part of a layer's attention, calibrated for at most `max_tokens` tokens.
pub(super) fn quantize(
    weights: &AttentionWeights,
    part: Part,
    calibration: &[Matrix<f32>],
    max_tokens: usize,
    recipe: Recipe<'_>,
) -> anyhow::Result<Attention> {
    Ok(match recipe.options.of_circuit(recipe.circuit, recipe.bits, max_tokens)? {
        Options::Exact(head_options) => {
            let quantized = IntegerAttention::calibrate(weights, part, calibration, &head_options)?;
            Attention::Exact(Box::new(ExactAttention { quantized, multiply: recipe.multiply }))
        }
        Options::Packed(options) => {
            Attention::Packed(Box::new(packed::calibrate(weights, part, calibration, &options)?))
        }
    })
}

/// What `--calibration` says to calibrate on: without it, the input itself.
pub(super) fn examples(examples: &Examples, hidden: &Matrix<f32>) -> anyhow::Result<Vec<Matrix<f32>>> {
    match &examples.calibration {
        None => Ok(vec![hidden.clone()]),
        Some(path) => load_calibration(path, &examples.calibration_tensors, hidden.cols()),
    }
}

/// The rows that `--hidden`, `--tensor` and `--tokens` select, `[T, size]`, as many as the model of `weights` can have.
pub(super) fn load_hidden(
    (input, tokens): (&InputTensor, Option<usize>),
    size: usize,
    weights: &Checkpoint,
) -> anyhow::Result<Matrix<f32>> {
    let path = input.hidden.display();
    let checkpoint = open(&input.hidden, "--hidden")?;
    let mut hidden = Matrix::from_fn(0, size, |_, _| 0.0);
    for name in input.tensor.split(',') {
        let tensor = checkpoint.any_matrix(name)?;
        if tensor.cols() != size {
            let shape = [tensor.rows(), tensor.cols()];
            bail!(
                "tensor \"{name}\" of {path} has shape {shape:?}; [tokens, {size}] is needed, as in {}",
                weights.path().display()
            );
        }
        hidden.append_rows(&tensor);
    }
    // A whole model, or a part with its position embedding, says how many positions there are.
    let positions = match weights.shape("wpe.weight") {
        Some(&[positions, _]) => positions.min(IntegerOptions::MAX_TOKENS),
        _ => IntegerOptions::MAX_TOKENS,
    };
    let (name, rows) = (&input.tensor, hidden.rows());
    let tokens = tokens.unwrap_or(rows);
    if tokens > rows {
        bail!("--tokens is {tokens}, and tensor \"{name}\" of {path} has {rows} rows");
    }
    if !(1..=positions).contains(&tokens) {
        let what = format!("tensor \"{name}\" of {path} has {tokens} tokens");
        bail!("{what}; 1 to {positions} are possible, the model's positions: choose by --tokens");
    }
    hidden.truncate_rows(tokens);
    Ok(hidden)
}

/// The tensors of `--calibration`: those named, or all of `size` columns.
pub(super) fn load_calibration(path: &Path, names: &[String], size: usize) -> anyhow::Result<Vec<Matrix<f32>>> {
    let checkpoint = open(path, "--calibration")?;
    let fits = |name: &String| matches!(checkpoint.shape(name), Some(&[_, columns]) if columns == size);
    let names = match names {
        [] => checkpoint.names().into_iter().filter(fits).collect(),
        names => names.to_vec(),
    };
    if names.is_empty() {
        bail!("{} has no tensor of shape [tokens, {size}] to calibrate on", path.display());
    }
    Ok(names.iter().map(|name| checkpoint.any_matrix(name)).collect::<Result<_, _>>()?)
}
