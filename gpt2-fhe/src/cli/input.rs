//! A head and its input, from files.

use std::path::Path;

use anyhow::{anyhow, bail};
use gpt2_fhe::run::{Attention, Circuit, packed};
use nn::attention::{AttentionWeights, Part};
use nn::checkpoint::Checkpoint;
use nn::file::decode_text;
use nn::head::{HeadOptions, QuantizedHead};
use nn::matrix::Matrix;
use nn::quantized::Options;

use super::arguments::{Quantization, QuantizationOptions, Selection};
use super::quantized;

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
        let weights = AttentionWeights::load(&attention, selection.place.layer, selection.n_head)?;
        let hidden = load_hidden(selection, &weights, &attention)?;
        let (head, quantization) = match &selection.quantized[..] {
            [] => (calibrate(selection, &weights, &hidden)?, selection.quantization.clone()),
            _ => load_quantized(selection, &weights, hidden.rows())?,
        };
        Ok(Self {
            head,
            quantization,
            reference: weights.attend(selection.place.part(), &hidden)?,
            heads: weights.heads(),
            hidden,
        })
    }
}

/// A text in UTF-8, with or without a byte order mark, which is left out.
pub(super) fn read_text(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).map_err(|error| anyhow!("cannot read {}: {error}", path.display()))?;
    let text = decode_text(&bytes).map_err(|reason| anyhow!("cannot read {}: {reason}", path.display()))?;
    Ok(text.to_owned())
}

/// The head that is selected, calibrated for `hidden`.
fn calibrate(selection: &Selection, weights: &AttentionWeights, hidden: &Matrix<f32>) -> anyhow::Result<Attention> {
    let calibration = match &selection.calibration {
        None => vec![hidden.clone()],
        Some(path) => load_calibration(path, &selection.calibration_tensors, weights)?,
    };
    let width = (selection.circuit, selection.quantization.bits(selection.circuit));
    quantize(weights, selection.place.part(), &calibration, hidden.rows(), width, &selection.quantization.options)
}

/// The quantized head of `--quantized`, if it is that of the selection and takes `tokens` tokens; and how it was
/// quantized.
fn load_quantized(
    selection: &Selection,
    weights: &AttentionWeights,
    tokens: usize,
) -> anyhow::Result<(Attention, Quantization)> {
    let multiply = selection.quantization.options.multiply;
    let [loaded] = <[_; 1]>::try_from(quantized::load(&selection.quantized, multiply)?).map_err(|several| {
        let names = several.iter().map(|loaded| loaded.names.clone()).collect::<Vec<_>>().join(", ");
        anyhow!("{names} are of different calibrations; give --quantized one, or the two halves of one")
    })?;
    loaded.check_place(&selection.place)?;
    loaded.check_sizes(weights, "--attention")?;
    loaded.check_tokens(tokens, "--tensor")?;
    Ok((loaded.attention, Quantization::of(&loaded.origin.options, multiply)))
}

/// A part of a layer's attention, calibrated for at most `max_tokens` tokens, for a circuit with inputs of some bits.
pub(super) fn quantize(
    weights: &AttentionWeights,
    part: Part,
    calibration: &[Matrix<f32>],
    max_tokens: usize,
    (circuit, bits): (Circuit, u32),
    options: &QuantizationOptions,
) -> anyhow::Result<Attention> {
    Ok(match options.of_circuit(circuit, bits, max_tokens)? {
        Options::Exact(head_options) => {
            let head = QuantizedHead::calibrate(weights, part, calibration, &head_options)?;
            Attention::Exact(Box::new(head), options.multiply)
        }
        Options::Packed(options) => {
            Attention::Packed(Box::new(packed::calibrate(weights, part, calibration, &options)?))
        }
    })
}

/// The rows that `--hidden`, `--tensor` and `--tokens` select, as many as the model can have.
fn load_hidden(
    selection: &Selection,
    weights: &AttentionWeights,
    attention: &Checkpoint,
) -> anyhow::Result<Matrix<f32>> {
    let path = selection.hidden.display();
    let size = weights.embedding_size();
    let checkpoint = Checkpoint::open(&selection.hidden)?;
    let mut hidden = Matrix::from_fn(0, size, |_, _| 0.0);
    for name in selection.tensor.split(',') {
        let tensor = checkpoint.any_matrix(name)?;
        if tensor.cols() != size {
            let shape = [tensor.rows(), tensor.cols()];
            bail!("tensor \"{name}\" of {path} has shape {shape:?}; [tokens, {size}] is needed, as in --attention");
        }
        hidden.append_rows(&tensor);
    }
    // A whole model, or a part with its position embedding, says how many positions there are.
    let positions = match attention.shape("wpe.weight") {
        Some(&[positions, _]) => positions.min(HeadOptions::MAX_TOKENS),
        _ => HeadOptions::MAX_TOKENS,
    };
    let (name, rows) = (&selection.tensor, hidden.rows());
    let tokens = selection.tokens.unwrap_or(rows);
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
