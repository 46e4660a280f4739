//! A model's predictions with something in the place of a part of its attention.

use std::ops::Range;

use nn::attention::Part;
use nn::gpt2::{ForwardHooks, Gpt2, HookError, Intermediate, Replacement, Site};
use nn::matrix::Matrix;
use rayon::prelude::*;

use super::accuracy::{Accuracy, Sums};
use super::passage::Passage;
use super::reference::{Computed, PlainPassage};
use super::subject::Subject;
use crate::run::RunError;
use crate::track::EvaluationError;

/// A model, and the part of a layer's attention that is replaced.
#[derive(Clone, Copy, Debug)]
pub struct Evaluation<'a> {
    model: &'a Gpt2,
    layer: usize,
    part: Part,
}

impl<'a> Evaluation<'a> {
    /// Of a part of a layer's attention.
    ///
    /// # Errors
    /// [`nn::Error::OutOfRange`] if there is no such layer or head.
    pub fn new(model: &'a Gpt2, layer: usize, part: Part) -> Result<Self, nn::Error> {
        model.attention(layer)?.heads_of(part)?;
        Ok(Self { model, layer, part })
    }

    /// Each subject over all passages, which are computed in parallel; `advance` is told of each that is done, and
    /// stops the evaluation by returning false. The result does not depend on the number of threads.
    ///
    /// # Errors
    /// [`RunError::Input`] if a passage does not fit the model or a subject; [`RunError::Evaluation`] if stopped.
    pub fn run(
        &self,
        passages: &[Passage],
        subjects: &[Subject],
        advance: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Accuracy>, RunError> {
        let of_passage = |(index, passage): (usize, &Passage)| {
            let sums = self.measure_all(passage, index as u64, subjects)?;
            if advance() { Ok(sums) } else { Err(EvaluationError::Cancelled.into()) }
        };
        let sums: Vec<Vec<Sums>> = passages.par_iter().enumerate().map(of_passage).collect::<Result<_, RunError>>()?;
        let total = |subject: usize| sums.iter().map(|of_passage| &of_passage[subject]).sum::<Sums>().accuracy();
        Ok((0..subjects.len()).map(total).collect())
    }

    fn measure_all(&self, passage: &Passage, index: u64, subjects: &[Subject]) -> Result<Vec<Sums>, RunError> {
        let reference = self.reference(passage)?;
        let weights = self.model.attention(self.layer)?;
        let measure = |subject: &Subject| {
            let computed = subject.compute(weights, self.part, &reference, index)?;
            Ok(self.measure(&reference, &computed)?.0)
        };
        subjects.iter().map(measure).collect()
    }

    pub(super) fn reference<'b>(&self, passage: &'b Passage) -> Result<PlainPassage<'b>, nn::Error> {
        let mut input = AttentionInput { layer: self.layer, hidden: None };
        let logits = self.model.logits(passage.tokens(), &mut input)?;
        let hidden = input.hidden.expect("a pass through all layers");
        let output = self.model.attention(self.layer)?.attend(self.part, &hidden)?;
        Ok(PlainPassage { passage, hidden, output, logits })
    }

    /// How far the predictions go from the reference with a computed output, and the predictions, `[T, V]`.
    pub(super) fn measure(
        &self,
        reference: &PlainPassage<'_>,
        computed: &Computed,
    ) -> Result<(Sums, Matrix<f32>), RunError> {
        let output = &computed.output;
        let mut replace = |layer: usize, _: &Matrix<f32>, _: Range<usize>| -> Result<Replacement, HookError> {
            Ok(match self.part {
                _ if layer != self.layer => Replacement::Nothing,
                Part::Head(head) => Replacement::Heads(vec![(head, output.clone())]),
                Part::Whole => Replacement::Projected(output.clone()),
            })
        };
        let logits = self.model.logits(reference.passage.tokens(), &mut replace)?;
        let mut sums = Sums::of(reference, output, &logits)?;
        sums.count(computed);
        Ok((sums, logits))
    }

    /// The input of the attention on each passage, `[T, E]`: what to calibrate on.
    ///
    /// # Errors
    /// [`nn::Error`] if a passage does not fit the model.
    pub fn inputs(&self, passages: &[Passage]) -> Result<Vec<Matrix<f32>>, nn::Error> {
        passages.par_iter().map(|passage| self.model.attention_input(passage.tokens(), self.layer)).collect()
    }
}

/// Keeps the input of a layer's attention.
struct AttentionInput {
    layer: usize,
    hidden: Option<Matrix<f32>>,
}

impl ForwardHooks for AttentionInput {
    fn observe(&mut self, site: Site, value: &Matrix<f32>) {
        if site == Site::layer(Intermediate::AttentionNorm, self.layer) {
            self.hidden = Some(value.clone());
        }
    }
}
