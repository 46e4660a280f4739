//! Looking at, and replacing, what a forward pass computes.

use crate::matrix::Matrix;
use std::collections::HashMap;
use std::ops::Range;

/// Why a replacement could not be computed.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// What happens during a forward pass besides the pass itself.
///
/// A closure `FnMut(layer, &input, new_rows) -> Result<Replacement, HookError>` is a [`Self::replace_attention`].
pub trait ForwardHooks {
    /// Sees an intermediate.
    fn observe(&mut self, _site: Site, _value: &Matrix<f32>) {}

    /// What of a layer's attention is computed elsewhere, for n new tokens after those of earlier calls.
    ///
    /// `input` is `[T, E]`, the input of the attention after LayerNorm 1, of all T tokens so far; `new_rows` are its
    /// last n rows, those of the new tokens.
    ///
    /// # Errors
    /// Anything; it ends the forward pass.
    fn replace_attention(
        &mut self,
        _layer: usize,
        _input: &Matrix<f32>,
        _new_rows: Range<usize>,
    ) -> Result<Replacement, HookError> {
        Ok(Replacement::Nothing)
    }

    /// The stream at a site, [`Intermediate::AttentionResidual`] or [`Intermediate::Block`] of a layer, if what leads there is computed
    /// elsewhere, for n new tokens after those of earlier calls, `[n, E]`. `before` is the stream before the layer's attention, or before
    /// its feed-forward layer.
    ///
    /// Nothing of what leads there is computed in f32, nor kept: where a layer's attention is replaced for one token, so it is for all of a
    /// text.
    ///
    /// # Errors
    /// Anything; it ends the forward pass.
    fn replace_stream(&mut self, _site: Site, _before: &Matrix<f32>) -> Result<Option<Matrix<f32>>, HookError> {
        Ok(None)
    }

    /// The stream after the last layer of the last of n new tokens, `[1, E]`, if that is computed elsewhere, and not those of the others.
    /// `before` is the stream after the last layer, `[n, E]`. A pass that is to give logits after each of several tokens ends with an error
    /// then.
    ///
    /// # Errors
    /// Anything; it ends the forward pass.
    fn replace_last_state(&mut self, _before: &Matrix<f32>) -> Result<Option<Matrix<f32>>, HookError> {
        Ok(None)
    }

    /// The logits after the last of n new tokens, `[1, V]`, if the final LayerNorm and the map to the vocabulary are computed elsewhere.
    /// `before` is the stream after the last layer, `[n, E]`. A pass that is to give logits after each of several tokens ends with an error
    /// then.
    ///
    /// # Errors
    /// Anything; it ends the forward pass.
    fn replace_logits(&mut self, _before: &Matrix<f32>) -> Result<Option<Matrix<f32>>, HookError> {
        Ok(None)
    }
}

/// What takes the place of a layer's own attention, for n new tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum Replacement {
    /// All of it is computed in f32.
    Nothing,
    /// The outputs of some heads: (head, output `[n, head size]`) for each. The other heads, and the projection of all
    /// (`c_proj`), are computed in f32.
    Heads(Vec<(usize, Matrix<f32>)>),
    /// The output of the whole attention after its projection and that one's bias, `[n, E]`. Nothing of the attention
    /// is computed in f32.
    Projected(Matrix<f32>),
}

/// Nothing happens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl ForwardHooks for NoHooks {}

impl<F> ForwardHooks for F
where
    F: FnMut(usize, &Matrix<f32>, Range<usize>) -> Result<Replacement, HookError>,
{
    fn replace_attention(
        &mut self,
        layer: usize,
        input: &Matrix<f32>,
        new_rows: Range<usize>,
    ) -> Result<Replacement, HookError> {
        self(layer, input, new_rows)
    }
}

/// Where a value of the forward pass belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    /// What it is.
    pub what: Intermediate,
    /// The layer, of everything within one.
    pub layer: Option<usize>,
    /// The head, of everything within one.
    pub head: Option<usize>,
}

impl Site {
    /// A value of the whole model.
    pub fn model(what: Intermediate) -> Self {
        Self { what, layer: None, head: None }
    }

    /// A value of a layer.
    pub fn layer(what: Intermediate, layer: usize) -> Self {
        Self { what, layer: Some(layer), head: None }
    }

    /// A value of a head.
    pub fn head(what: Intermediate, layer: usize, head: usize) -> Self {
        Self { what, layer: Some(layer), head: Some(head) }
    }
}

/// The intermediates of the forward pass, in order.
///
/// n is the number of the tokens that the pass is for, and T that of all tokens so far: the same, unless a
/// [`TextSession`](super::TextSession) has seen earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intermediate {
    /// `[n, E]`.
    TokenEmbedding,
    /// `[n, E]`.
    PositionEmbedding,
    /// The sum of both, `[n, E]`.
    Embedding,
    /// The input of the attention of a layer, `[n, E]`.
    AttentionNorm,
    /// Queries, keys and values of all heads, `[n, 3E]`.
    QueryKeyValue,
    /// Of a head, `[n, head size]`; with a [scale](super::Config::score_scale) of scores other than 1/√d, multiplied by
    /// that scale times √d.
    Query,
    /// Of a head, `[T, head size]`.
    Key,
    /// Of a head, `[T, head size]`.
    Value,
    /// Of a head, `[n, T]`, scaled and without a mask.
    Scores,
    /// Of a head, `[n, T]`, zero for tokens that come later.
    Probabilities,
    /// Of a head, `[n, head size]`, replaced or not.
    HeadOutput,
    /// The outputs of all heads side by side, `[n, E]`.
    AttentionOutput,
    /// `[n, E]`, replaced or not.
    AttentionProjection,
    /// The layer's input plus its attention, `[n, E]`.
    AttentionResidual,
    /// The input of the feed-forward layer, `[n, E]`.
    FeedForwardNorm,
    /// Before the nonlinearity, `[n, inner]`.
    FeedForward,
    /// After the nonlinearity, `[n, inner]`.
    Activation,
    /// `[n, E]`.
    FeedForwardProjection,
    /// The output of a layer, `[n, E]`.
    Block,
    /// The output of the last layer after the final LayerNorm, `[n, E]`.
    FinalNorm,
    /// `[n, V]`.
    Logits,
}

/// Every intermediate of a forward pass, kept; of several passes, those of the last.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    values: HashMap<Site, Matrix<f32>>,
}

impl Trace {
    /// The value at a site, if the pass has been there.
    pub fn get(&self, site: Site) -> Option<&Matrix<f32>> {
        self.values.get(&site)
    }
}

impl ForwardHooks for Trace {
    fn observe(&mut self, site: Site, value: &Matrix<f32>) {
        self.values.insert(site, value.clone());
    }
}
