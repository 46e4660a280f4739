//! A head and its input, from files.

use std::path::Path;

use anyhow::bail;
use gpt2_fhe::run::{Attention, Circuit, packed};
use nn::attention::{AttentionWeights, Part};
use nn::checkpoint::Checkpoint;
use nn::head::{HeadOptions, QuantizedHead};
use nn::matrix::Matrix;
use nn::quantized::Options;

use super::arguments::{Quantization, Selection};
use super::quantize;

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
    /// Reads the files and, unless one of them holds the quantized head, calibrates it for as many tokens as the input
    /// has.
    pub(super) fn load(selection: &Selection) -> anyhow::Result<Self> {
        let attention = Checkpoint::open(&selection.attention)?;
        let weights = AttentionWeights::load(&attention, selection.layer, selection.n_head)?;
        let hidden = load_hidden(selection, &weights, &attention)?;
        let (head, quantization) = match &selection.quantized[..] {
            [] => (calibrate(selection, &weights, &hidden)?, selection.quantization.clone()),
            _ => quantize::load(selection, &weights, hidden.rows())?,
        };
        Ok(Self {
            head,
            quantization,
            reference: weights.attend(selection.part(), &hidden)?,
            heads: weights.heads(),
            hidden,
        })
    }
}

/// The head that is selected, calibrated for `hidden`.
fn calibrate(selection: &Selection, weights: &AttentionWeights, hidden: &Matrix<f32>) -> anyhow::Result<Attention> {
    let calibration = match &selection.calibration {
        None => vec![hidden.clone()],
        Some(path) => load_calibration(path, &selection.calibration_tensors, weights)?,
    };
    let how = (selection.circuit, &selection.quantization);
    quantize(weights, selection.part(), &calibration, hidden.rows(), how)
}

/// A part of a layer's attention, calibrated for at most `max_tokens` tokens.
pub(super) fn quantize(
    weights: &AttentionWeights,
    part: Part,
    calibration: &[Matrix<f32>],
    max_tokens: usize,
    (circuit, quantization): (Circuit, &Quantization),
) -> anyhow::Result<Attention> {
    Ok(match quantization.options(circuit, max_tokens)? {
        Options::Exact(options) => {
            let head = QuantizedHead::calibrate(weights, part, calibration, &options)?;
            Attention::Exact(Box::new(head), quantization.multiply)
        }
        Options::Packed(options) => {
            Attention::Packed(Box::new(packed::calibrate(weights, part, calibration, &options)?))
        }
    })
}

/// The tensor of `--hidden`, with a number of tokens that the model can have.
fn load_hidden(
    selection: &Selection,
    weights: &AttentionWeights,
    attention: &Checkpoint,
) -> anyhow::Result<Matrix<f32>> {
    let (name, path) = (&selection.tensor, selection.hidden.display());
    let hidden = Checkpoint::open(&selection.hidden)?.any_matrix(name)?;
    let size = weights.embedding_size();
    // A whole model, or a part with its position embedding, says how many positions there are.
    let positions = match attention.shape("wpe.weight") {
        Some(&[positions, _]) => positions.min(HeadOptions::MAX_TOKENS),
        _ => HeadOptions::MAX_TOKENS,
    };
    if hidden.cols() != size {
        let shape = [hidden.rows(), hidden.cols()];
        bail!("tensor \"{name}\" of {path} has shape {shape:?}; [tokens, {size}] is needed, as in --attention");
    }
    if !(1..=positions).contains(&hidden.rows()) {
        let tokens = hidden.rows();
        bail!("tensor \"{name}\" of {path} has {tokens} tokens; 1 to {positions} are possible, the model's positions");
    }
    Ok(hidden)
}

/// The tensors of `--calibration`: those named, or all that fit.
pub(super) fn load_calibration(
    path: &Path,
    names: &[String],
    weights: &AttentionWeights,
) -> anyhow::Result<Vec<Matrix<f32>>> {
    let checkpoint = Checkpoint::open(path)?;
    let size = weights.embedding_size();
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
