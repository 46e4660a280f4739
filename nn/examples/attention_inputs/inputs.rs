//! What a layer, or its attention, gets for some prompts, as a safetensors file.

use anyhow::{Context, bail};
use nn::checkpoint::write_tensors;
use nn::gpt2::Gpt2;
use nn::tensor::Tensor;
use nn::tokenizer::Tokenizer;
use std::path::Path;

/// The tokens of a drawn text, and what they are drawn from.
const DRAWN_TOKENS: usize = 64;
const DRAWN_SEED: u64 = 1;

/// Which input of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The attention's: after LayerNorm 1.
    Attention,
    /// The whole block's: before it.
    Block,
}

/// Writes `exI.hidden: [T, E]`, the input of `layer`, for prompt number I, and returns the shapes;
/// `drawnI.hidden` for each of so many texts that the model draws itself.
///
/// # Errors
/// What is wrong with the model's folder, the layer or a prompt; that the file cannot be written.
pub(crate) fn write(
    model: &Path,
    (layer, input): (usize, Input),
    (prompts, drawn): (&[String], usize),
    out: &Path,
) -> anyhow::Result<Vec<[usize; 2]>> {
    if prompts.is_empty() {
        bail!("there is no prompt; give at least one");
    }
    let (gpt2, tokenizer) = (Gpt2::load(model)?, Tokenizer::load(model)?);
    gpt2.block(layer)?;
    let hidden = |tokens: &[u32]| match input {
        Input::Attention => gpt2.attention_input(tokens, layer),
        // Before each layer, and after the last of so many.
        Input::Block => Ok(gpt2.hidden_states(tokens, layer)?.swap_remove(layer)),
    };
    let mut tensors = Vec::new();
    for (index, prompt) in prompts.iter().enumerate() {
        let hidden = hidden(&tokenizer.encode(prompt)?).with_context(|| format!("the prompt {prompt:?}"))?;
        tensors.push((format!("ex{index}.hidden"), hidden));
    }
    let shapes = tensors.iter().map(|(_, hidden)| [hidden.rows(), hidden.cols()]).collect();
    let length = gpt2.config().n_positions.min(DRAWN_TOKENS);
    let texts = if drawn > 0 { gpt2.draw_texts((drawn, length), DRAWN_SEED)? } else { Vec::new() };
    for (index, text) in texts.iter().enumerate() {
        tensors.push((format!("drawn{index}.hidden"), hidden(text)?));
    }
    let tensors: Vec<(String, Tensor)> =
        tensors.into_iter().map(|(name, hidden)| (name, Tensor::from(hidden))).collect();
    let entries: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    write_tensors(out, &entries, &[])?;
    Ok(shapes)
}
