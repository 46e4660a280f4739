//! A text that grows: each token is computed once.

use super::Gpt2;
use super::hooks::{ForwardHooks, Intermediate, Site};
use crate::attention::AttentionWeights;
use crate::error::Error;
use crate::matrix::Matrix;

/// A model with a text so far, whose keys and values are kept.
///
/// What follows is computed for new tokens only, and is, up to rounding, what [`Gpt2::logits`] gives for all tokens at
/// once. With T tokens in all, n new ones take O(n·E·(T + E)) operations a layer. A layer keeps its attention's input,
/// keys and values, 12·T·E bytes.
#[derive(Clone, Debug)]
pub struct TextSession<'a> {
    model: &'a Gpt2,
    length: usize,
    layers: Vec<LayerCache>,
}

impl<'a> TextSession<'a> {
    pub(super) fn new(model: &'a Gpt2) -> Self {
        let layers = model.blocks.iter().map(|block| LayerCache::new(&block.attention)).collect();
        Self { model, length: 0, layers }
    }

    /// The number of tokens so far.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Appends n tokens and returns the logits of the token after each, `[n, V]`.
    ///
    /// After an error the session is what it was before.
    ///
    /// # Errors
    /// As [`Gpt2::logits`]; all tokens together may not be more than the model has positions.
    pub fn logits(&mut self, tokens: &[u32], hooks: &mut impl ForwardHooks) -> Result<Matrix<f32>, Error> {
        let logits = self.append(tokens, tokens.len(), hooks)?;
        hooks.observe(Site::model(Intermediate::Logits), &logits);
        Ok(logits)
    }

    /// Appends tokens and returns the logits of the token after the last one, `[V]`; only these are computed.
    ///
    /// # Errors
    /// As [`Self::logits`].
    pub fn next_logits(&mut self, tokens: &[u32], hooks: &mut impl ForwardHooks) -> Result<Vec<f32>, Error> {
        Ok(self.append(tokens, 1, hooks)?.into_data())
    }

    /// The logits after the last `rows` of new tokens, `[rows, V]`.
    fn append(&mut self, tokens: &[u32], rows: usize, hooks: &mut impl ForwardHooks) -> Result<Matrix<f32>, Error> {
        let layers = self.layers.len();
        let stream = self.hidden(tokens, layers, hooks);
        let logits = stream.and_then(|stream| self.model.head(&stream, rows, hooks));
        match logits {
            Ok(_) => self.length += tokens.len(),
            // Some layers may have seen the tokens.
            Err(_) => self.layers.iter_mut().for_each(|layer| layer.truncate(self.length)),
        }
        logits
    }

    /// The hidden state of new tokens after the first `layers` layers, `[n, E]`.
    pub(super) fn hidden(
        &mut self,
        tokens: &[u32],
        layers: usize,
        hooks: &mut impl ForwardHooks,
    ) -> Result<Matrix<f32>, Error> {
        let model = self.model;
        let mut hidden = model.embed(tokens, self.length, hooks)?;
        for (layer, (block, cache)) in model.blocks.iter().zip(&mut self.layers).enumerate().take(layers) {
            hidden = block.forward(layer, &hidden, cache, hooks)?;
        }
        Ok(hidden)
    }
}

/// What a layer keeps of the tokens so far.
#[derive(Clone, Debug)]
pub(super) struct LayerCache {
    /// The attention's input after LayerNorm 1, `[T, E]`.
    input: Matrix<f32>,
    heads: Vec<HeadCache>,
}

/// Keys and values of a head, each `[t, d]`: of the first t tokens, since tokens whose attention was replaced as a
/// whole need none.
#[derive(Clone, Debug)]
pub(super) struct HeadCache {
    pub(super) key: Matrix<f32>,
    pub(super) value: Matrix<f32>,
}

impl LayerCache {
    pub(super) fn new(attention: &AttentionWeights) -> Self {
        let empty = |columns| Matrix::from_fn(0, columns, |_, _| 0.0);
        let head = HeadCache { key: empty(attention.head_size()), value: empty(attention.head_size()) };
        Self { input: empty(attention.embedding_size()), heads: vec![head; attention.heads()] }
    }

    pub(super) fn input(&self) -> &Matrix<f32> {
        &self.input
    }

    pub(super) fn heads(&self) -> &[HeadCache] {
        &self.heads
    }

    /// Takes note of the attention's input of new tokens, `[n, E]`.
    pub(super) fn append_input(&mut self, input: &Matrix<f32>) {
        self.input.append_rows(input);
    }

    /// Takes note of the keys and values of new tokens, which are part of their projection `[n, 3E]`, and computes
    /// those of earlier tokens that are not there.
    pub(super) fn append_projected(&mut self, attention: &AttentionWeights, projected: &Matrix<f32>) {
        let (known, earlier) = (self.heads[0].key.rows(), self.input.rows() - projected.rows());
        if known < earlier {
            let missing = attention.projection().apply(&self.input.row_range(known..earlier));
            self.append_keys(attention, &missing);
        }
        self.append_keys(attention, projected);
    }

    fn append_keys(&mut self, attention: &AttentionWeights, projected: &Matrix<f32>) {
        for (head, cache) in self.heads.iter_mut().enumerate() {
            let [_, key, value] = attention.split(projected, head);
            cache.key.append_rows(&key);
            cache.value.append_rows(&value);
        }
    }

    fn truncate(&mut self, length: usize) {
        self.input.truncate_rows(length);
        for head in &mut self.heads {
            head.key.truncate_rows(length);
            head.value.truncate_rows(length);
        }
    }
}
