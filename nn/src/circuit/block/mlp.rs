//! The feed-forward layer of a block.

use super::attention::one;
use super::norm::NormProgram;
use super::reading::Reading;
use super::steps;
use crate::evaluator::{BlockEvaluator, Form, LinearMap};
use crate::matrix::Matrix;

/// A feed-forward layer up to the sum that it adds to the stream.
///
/// An activation a(h) is h/2 and an even rest. The first is linear: with the second map it is one map, `[E, E]`, of the stream. Only the
/// rest is looked up, at a range that is a whole turn ([`crate::table::Smooth::Gate`]).
#[derive(Clone, Debug, PartialEq)]
pub struct FeedForward {
    pub(super) norm: NormProgram,
    /// `[E, F]`.
    pub(super) expand: Matrix<i32>,
    /// How the rest of an activation is read.
    pub(super) activation: Reading,
    /// `[F, E]`.
    pub(super) contract: Matrix<i32>,
    /// `[E, E]`, both maps and the half between them.
    pub(super) half: Matrix<i32>,
}

/// A block's feed-forward layer.
#[derive(Clone, Debug, PartialEq)]
pub struct MlpProgram {
    pub(super) layer: FeedForward,
    /// How its sum becomes an update of the stream.
    pub(super) update: Reading,
}

impl FeedForward {
    /// How the rest of an activation is read.
    pub fn activation(&self) -> &Reading {
        &self.activation
    }

    /// The factor of its LayerNorm.
    pub fn norm(&self) -> &NormProgram {
        &self.norm
    }

    /// What it adds to rows `[n, E + 1]` of the stream, with their variances, where these were sent, but for constants: an image.
    pub(super) fn evaluate<E: BlockEvaluator>(
        &self,
        evaluator: &mut E,
        (stream, variances): (&E::Tensor, Option<Vec<E::Lane>>),
    ) -> Result<E::Tensor, E::Error> {
        let variances = self.norm.variances(evaluator, stream, variances)?;
        let factors = NormProgram::factors(evaluator, &variances, &self.norm.factor)?;
        let image = |weight| LinearMap { weight, bias: &[], form: Form::Image };
        let mut scaled = |weight| {
            let projected = one(evaluator.linear(steps::PROJECT, stream, &[image(weight)])?);
            evaluator.scale_rows(steps::PROJECT, projected, &factors)
        };
        let (expanded, half) = (scaled(&self.expand)?, scaled(&self.half)?);
        let activated = self.activation.read(evaluator, steps::ACTIVATION, expanded)?;
        let activated = evaluator.pack(activated, Form::Features);
        let mut output = one(evaluator.linear(steps::CONTRACT, &activated, &[image(&self.contract)])?);
        evaluator.add(&mut output, &half);
        Ok(output)
    }
}

impl MlpProgram {
    /// The layer.
    pub fn layer(&self) -> &FeedForward {
        &self.layer
    }

    /// How the output is read.
    pub fn update(&self) -> &Reading {
        &self.update
    }

    /// What the layer adds to rows `[n, E + 1]` of the stream, with their variances, where these were sent.
    ///
    /// # Errors
    /// The evaluator's.
    pub fn evaluate<E: BlockEvaluator>(
        &self,
        evaluator: &mut E,
        stream: (&E::Tensor, Option<Vec<E::Lane>>),
    ) -> Result<E::Tensor, E::Error> {
        let output = self.layer.evaluate(evaluator, stream)?;
        let update = self.update.read(evaluator, steps::FEED_FORWARD, output)?;
        Ok(evaluator.pack(update, Form::Features))
    }
}
