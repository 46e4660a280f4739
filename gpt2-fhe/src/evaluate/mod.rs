//! What becomes of a model's predictions where a part of a layer's attention is quantized, noisy or encrypted.
//!
//! A text is cut into [`Passage`]s. Each is computed in f32, which gives the input of the attention, its output and the
//! logits that all else is compared with; then once more with the output of a [`Subject`] in its place: a quantized
//! attention in the clear or with simulated noise, or a control, which shows what the figures are worth. [`Accuracy`]
//! is what comes out, and [`Agreement`] for encrypted runs beside simulated ones.

mod accuracy;
mod encrypted;
mod passage;
mod subject;

pub use accuracy::Accuracy;
pub use encrypted::Agreement;
pub use passage::{Passage, sample, windows};
pub use subject::{Simulation, Subject, shuffled};

use std::ops::Range;

use nn::attention::Part;
use nn::gpt2::{ForwardHooks, Gpt2, HookError, Intermediate, Replacement, Site};
use nn::matrix::Matrix;
use rayon::prelude::*;

use crate::engine::EngineError;
use crate::run::RunError;
use accuracy::Sums;
use subject::Computed;

/// A model, and the part of a layer's attention that is replaced.
#[derive(Clone, Copy, Debug)]
pub struct Evaluation<'a> {
    model: &'a Gpt2,
    layer: usize,
    part: Part,
}

/// A passage in f32. T tokens, O outputs of the part, V tokens of vocabulary.
struct Reference<'a> {
    passage: &'a Passage,
    /// The input of the attention, `[T, E]`.
    hidden: Matrix<f32>,
    /// The output of the part, `[T, O]`.
    output: Matrix<f32>,
    /// `[T, V]`.
    logits: Matrix<f32>,
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
    /// [`RunError::Input`] if a passage does not fit the model or a subject; [`RunError::Engine`] if stopped.
    pub fn run(
        &self,
        passages: &[Passage],
        subjects: &[Subject],
        advance: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Accuracy>, RunError> {
        let of_passage = |(index, passage): (usize, &Passage)| {
            let sums = self.measure_all(passage, index as u64, subjects)?;
            if advance() { Ok(sums) } else { Err(EngineError::Cancelled.into()) }
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

    fn reference<'b>(&self, passage: &'b Passage) -> Result<Reference<'b>, nn::Error> {
        let mut input = AttentionInput { layer: self.layer, hidden: None };
        let logits = self.model.logits(passage.tokens(), &mut input)?;
        let hidden = input.hidden.expect("a pass through all layers");
        let output = self.model.attention(self.layer)?.attend(self.part, &hidden)?;
        Ok(Reference { passage, hidden, output, logits })
    }

    /// How far the predictions go from the reference with a computed output, and the predictions, `[T, V]`.
    fn measure(&self, reference: &Reference<'_>, computed: &Computed) -> Result<(Sums, Matrix<f32>), RunError> {
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
