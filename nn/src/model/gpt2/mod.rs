//! GPT-2 in f32.
//!
//! A. Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), with the names, shapes and variants
//! of Hugging Face's files: pre-LayerNorm blocks, learned positions, weights `[in, out]`, an output matrix that is the
//! token embedding or its own. T is the number of tokens, E the size of an embedding, V that of the vocabulary.
//!
//! Everything that is computed on the way can be observed, and the attention of any layer, or some of its heads, can be
//! replaced by what was computed elsewhere: see [`ForwardHooks`]. A [`TextSession`] keeps what a text that grows would
//! compute again, and [`sampling`] chooses the next token.

mod activation;
mod config;
mod drawn;
mod forward;
mod hooks;
pub mod sampling;
mod session;

pub use activation::Activation;
pub(crate) use activation::Nonlinearity;
pub use config::Config;
pub use hooks::{ForwardHooks, HookError, Intermediate, NoHooks, Replacement, Site, Trace};
pub use sampling::most_likely;
pub use session::TextSession;

use crate::attention::{AttentionWeights, Linear};
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::matrix::Matrix;
use std::path::Path;

/// A GPT-2 with its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpt2 {
    config: Config,
    /// `wte`, `[V, E]`.
    token_embedding: Matrix<f32>,
    /// `wpe`, `[positions, E]`.
    position_embedding: Matrix<f32>,
    blocks: Vec<Block>,
    /// `ln_f`.
    final_norm: LayerNorm,
    /// `lm_head`, `[V, E]`, unless it is the token embedding.
    output: Option<Matrix<f32>>,
}

/// One layer, with its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// `ln_1`.
    pub(crate) attention_norm: LayerNorm,
    /// `attn.c_attn` and `attn.c_proj`.
    pub(crate) attention: AttentionWeights,
    /// `ln_2`.
    pub(crate) feed_forward_norm: LayerNorm,
    /// `mlp.c_fc`, `[E, inner]`.
    pub(crate) feed_forward: Linear,
    /// Between the two linear layers.
    pub(crate) nonlinearity: Nonlinearity,
    /// `mlp.c_proj`, `[inner, E]`.
    pub(crate) feed_forward_projection: Linear,
}

/// (x − mean) / √(variance + ε) · weight + bias, of each row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LayerNorm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) epsilon: f32,
}

impl Gpt2 {
    /// Reads a Hugging Face folder: `config.json` and `generation_config.json`, and `model.safetensors` or the shards of
    /// its index.
    ///
    /// # Errors
    /// As [`Config::load_folder`], [`Checkpoint::open_folder`] and [`Self::from_checkpoint`].
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let config = Config::load_folder(folder)?;
        Self::from_checkpoint(config, &Checkpoint::open_folder(folder)?)
    }

    /// Reads the weights of a model with the given configuration.
    ///
    /// A file with an `lm_head.weight` other than its token embedding has its own output matrix, whatever the
    /// configuration says of it; of a tied pair, either of the two is enough. Tensors that are not weights (the masks
    /// `attn.bias` and `attn.masked_bias` of old files) are not read. Weights are kept in f32, four bytes each, whatever
    /// the file's type.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor_of_shape`]; [`Error::MissingTensor`] for an `lm_head.weight` that is not tied and not
    /// there.
    pub fn from_checkpoint(config: Config, checkpoint: &Checkpoint) -> Result<Self, Error> {
        const EMBEDDING: &str = "wte.weight";
        const OUTPUT: &str = "lm_head.weight";
        let (size, vocabulary) = (config.n_embd, config.vocab_size);
        let only_output = config.tie_word_embeddings && !checkpoint.contains(EMBEDDING) && checkpoint.contains(OUTPUT);
        let has_output = !only_output && (checkpoint.contains(OUTPUT) || !config.tie_word_embeddings);
        let token_embedding = checkpoint.matrix(if only_output { OUTPUT } else { EMBEDDING }, vocabulary, size)?;
        let output = if has_output { Some(checkpoint.matrix(OUTPUT, vocabulary, size)?) } else { None };
        Ok(Self {
            // Some exports of a tied matrix hold it twice.
            output: output.filter(|output| *output != token_embedding),
            token_embedding,
            position_embedding: checkpoint.matrix("wpe.weight", config.n_positions, size)?,
            blocks: (0..config.n_layer)
                .map(|layer| Block::load(checkpoint, layer, &config))
                .collect::<Result<_, _>>()?,
            final_norm: LayerNorm::load(checkpoint, "ln_f", &config)?,
            config,
        })
    }

    /// The sizes of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The attention weights of a layer.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if there is no such layer.
    pub fn attention(&self, layer: usize) -> Result<&AttentionWeights, Error> {
        Ok(&self.block(layer)?.attention)
    }

    /// A layer.
    ///
    /// # Errors
    /// As [`Self::attention`].
    pub fn block(&self, layer: usize) -> Result<&Block, Error> {
        let allowed = || format!("less than the number of layers, {}", self.blocks.len());
        self.blocks.get(layer).ok_or_else(|| Error::out_of_range("the index of the layer", layer, allowed()))
    }
}

impl Gpt2 {
    /// The final LayerNorm.
    pub(crate) fn final_norm(&self) -> &LayerNorm {
        &self.final_norm
    }

    /// The map from what it gives to logits, `[V, E]`.
    pub(crate) fn output_matrix(&self) -> &Matrix<f32> {
        self.output.as_ref().unwrap_or(&self.token_embedding)
    }
}

impl Block {
    /// Reads a layer's weights, `h.LAYER.*`.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor_of_shape`].
    pub fn load(checkpoint: &Checkpoint, layer: usize, config: &Config) -> Result<Self, Error> {
        let (size, inner) = (config.n_embd, config.inner_size());
        let name = |part: &str| format!("h.{layer}.{part}");
        let attention = Linear::load(checkpoint, &name("attn.c_attn"), size, 3 * size)?;
        let output = Linear::load(checkpoint, &name("attn.c_proj"), size, size)?;
        Ok(Self {
            attention_norm: LayerNorm::load(checkpoint, &name("ln_1"), config)?,
            attention: AttentionWeights::new(attention, config.n_head)?
                .with_score_scale(config.score_scale(layer))
                .with_output(output)?,
            feed_forward_norm: LayerNorm::load(checkpoint, &name("ln_2"), config)?,
            feed_forward: Linear::load(checkpoint, &name("mlp.c_fc"), size, inner)?,
            nonlinearity: Nonlinearity::load(config.activation_function, checkpoint, layer)?,
            feed_forward_projection: Linear::load(checkpoint, &name("mlp.c_proj"), inner, size)?,
        })
    }
}

impl Block {
    /// Reads a layer's weights from a file without a configuration, which is then that of GPT-2: GELU in its approximation by tanh, 1e-5
    /// added to variances. The number of heads is found as [`AttentionWeights::load`] finds it, all other sizes are the tensors'.
    ///
    /// # Errors
    /// As [`Self::load`] and [`AttentionWeights::load`].
    pub fn load_alone(checkpoint: &Checkpoint, layer: usize, heads: Option<usize>) -> Result<Self, Error> {
        let attention = AttentionWeights::load(checkpoint, layer, heads)?;
        let inner = match checkpoint.shape(&format!("h.{layer}.mlp.c_fc.weight")) {
            Some(&[_, inner]) => Some(inner),
            _ => None,
        };
        let usual = Config::from_json(b"{}")?;
        let (n_head, n_embd) = (attention.heads(), attention.embedding_size());
        Self::load(checkpoint, layer, &Config { n_head, n_embd, n_inner: inner, ..usual })
    }

    /// The attention.
    pub fn attention(&self) -> &AttentionWeights {
        &self.attention
    }
}

impl LayerNorm {
    fn load(checkpoint: &Checkpoint, name: &str, config: &Config) -> Result<Self, Error> {
        let weight = checkpoint.vector(&format!("{name}.weight"), config.n_embd)?;
        let bias = checkpoint.vector(&format!("{name}.bias"), config.n_embd)?;
        Ok(Self { weight, bias, epsilon: config.layer_norm_epsilon })
    }

    /// `[T, E] -> [T, E]`.
    fn apply(&self, input: &Matrix<f32>) -> Matrix<f32> {
        let mut output = input.clone();
        for row in 0..output.rows() {
            let values = output.row_mut(row);
            let count = values.len() as f32;
            let mean = values.iter().sum::<f32>() / count;
            let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f32>() / count;
            let inverse = 1.0 / (variance + self.epsilon).sqrt();
            for (value, (weight, bias)) in values.iter_mut().zip(self.weight.iter().zip(&self.bias)) {
                *value = (*value - mean) * inverse * weight + bias;
            }
        }
        output
    }
}
