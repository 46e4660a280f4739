//! Looking at, and replacing, what a forward pass computes.

use crate::matrix::Matrix;
use std::collections::HashMap;

/// Why a replacement could not be computed.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// What happens during a forward pass besides the pass itself.
///
/// A closure `FnMut(layer, &normalized) -> Result<Vec<(head, output)>, HookError>` is a [`Self::replace_heads`].
pub trait ForwardHooks {
    /// Sees an intermediate.
    fn observe(&mut self, _site: Site, _value: &Matrix<f32>) {}

    /// The outputs of heads of a layer that are computed elsewhere: (head, output `[T, head size]`) for each.
    ///
    /// `normalized` is `[T, E]`, the input of the attention after LayerNorm 1. Heads that are not returned are computed
    /// in f32.
    ///
    /// # Errors
    /// Anything; it ends the forward pass.
    fn replace_heads(
        &mut self,
        _layer: usize,
        _normalized: &Matrix<f32>,
    ) -> Result<Vec<(usize, Matrix<f32>)>, HookError> {
        Ok(Vec::new())
    }
}

/// Nothing happens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl ForwardHooks for NoHooks {}

impl<F> ForwardHooks for F
where
    F: FnMut(usize, &Matrix<f32>) -> Result<Vec<(usize, Matrix<f32>)>, HookError>,
{
    fn replace_heads(
        &mut self,
        layer: usize,
        normalized: &Matrix<f32>,
    ) -> Result<Vec<(usize, Matrix<f32>)>, HookError> {
        self(layer, normalized)
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intermediate {
    /// `[T, E]`.
    TokenEmbedding,
    /// `[T, E]`.
    PositionEmbedding,
    /// The sum of both, `[T, E]`.
    Embedding,
    /// The input of the attention of a layer, `[T, E]`.
    AttentionNorm,
    /// Queries, keys and values of all heads, `[T, 3E]`.
    QueryKeyValue,
    /// Of a head, `[T, head size]`.
    Query,
    /// Of a head, `[T, head size]`.
    Key,
    /// Of a head, `[T, head size]`.
    Value,
    /// Of a head, `[T, T]`, scaled and without a mask.
    Scores,
    /// Of a head, `[T, T]`, zero above the diagonal.
    Probabilities,
    /// Of a head, `[T, head size]`, replaced or not.
    HeadOutput,
    /// The outputs of all heads side by side, `[T, E]`.
    AttentionOutput,
    /// `[T, E]`.
    AttentionProjection,
    /// The layer's input plus its attention, `[T, E]`.
    AttentionResidual,
    /// The input of the feed-forward layer, `[T, E]`.
    FeedForwardNorm,
    /// Before the nonlinearity, `[T, inner]`.
    FeedForward,
    /// After the nonlinearity, `[T, inner]`.
    Activation,
    /// `[T, E]`.
    FeedForwardProjection,
    /// The output of a layer, `[T, E]`.
    Block,
    /// The output of the last layer after the final LayerNorm, `[T, E]`.
    FinalNorm,
    /// `[T, V]`.
    Logits,
}

/// Every intermediate of a forward pass, kept.
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
