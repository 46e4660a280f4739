//! A passage with the model as it is, and with something in its attention's place.

use nn::matrix::Matrix;
use nn::quantizers::Saturation;

use super::passage::Passage;
use crate::run::Outcome;

/// A passage in f32. T tokens, O outputs of the part, V tokens of vocabulary.
pub(super) struct PlainPassage<'a> {
    pub(super) passage: &'a Passage,
    /// The input of the attention, `[T, E]`.
    pub(super) hidden: Matrix<f32>,
    /// The output of the part, `[T, O]`.
    pub(super) output: Matrix<f32>,
    /// `[T, V]`.
    pub(super) logits: Matrix<f32>,
}

/// What a subject computes on a passage.
pub(super) struct Computed {
    /// `[T, O]`.
    pub(super) output: Matrix<f32>,
    pub(super) out_of_range: usize,
    pub(super) saturation: Saturation,
    /// Of simulated ones, rows (exact circuit: numbers) that are farther from the clear engine's than noise explains.
    pub(super) unexplained: usize,
}

impl Computed {
    pub(super) fn of(outcome: Outcome) -> Self {
        let Outcome { output, out_of_range, saturation, .. } = outcome;
        Self { output, out_of_range, saturation, unexplained: 0 }
    }
}
