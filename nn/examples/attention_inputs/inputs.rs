//! What a layer, or its attention, gets for some prompts, as a safetensors file.

use anyhow::{Context, bail};
use nn::checkpoint::write_tensors;
use nn::gpt2::Gpt2;
use nn::tensor::Tensor;
use nn::tokenizer::Tokenizer;
use std::path::Path;

/// Which input of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The attention's: after LayerNorm 1.
    Attention,
    /// The whole block's: before it.
    Block,
}

/// Writes `exI.hidden: [T, E]`, the input of `layer`, for prompt number I, and returns the shapes.
///
/// # Errors
/// What is wrong with the model's folder, the layer or a prompt; that the file cannot be written.
pub(crate) fn write(
    model: &Path,
    (layer, input): (usize, Input),
    prompts: &[String],
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
    let input = |prompt: &String| {
        let tokens = tokenizer.encode(prompt)?;
        let hidden = hidden(&tokens).with_context(|| format!("the prompt {prompt:?}"))?;
        let shape = [hidden.rows(), hidden.cols()];
        Ok((shape, Tensor::new(shape.to_vec(), hidden.into_data())?))
    };
    let inputs = prompts.iter().map(input).collect::<anyhow::Result<Vec<_>>>()?;
    let names: Vec<String> = (0..inputs.len()).map(|index| format!("ex{index}.hidden")).collect();
    let entries: Vec<(&str, &Tensor)> =
        names.iter().map(String::as_str).zip(inputs.iter().map(|(_, tensor)| tensor)).collect();
    write_tensors(out, &entries, &[])?;
    Ok(inputs.into_iter().map(|(shape, _)| shape).collect())
}
