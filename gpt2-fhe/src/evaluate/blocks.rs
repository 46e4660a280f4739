//! A model's predictions with whole blocks, or parts of them, in another's place.

use std::ops::Range;

use nn::block::Ending;
use nn::gpt2::{ForwardHooks, Gpt2, HookError, Intermediate, NoHooks, Site};
use nn::matrix::Matrix;
use rayon::prelude::*;
use tfhe_core::random::SampleSeed;

use super::accuracy::{Accuracy, Sums};
use super::passage::Passage;
use super::reference::PlainPassage;
use crate::run::RunError;
use crate::run::block::{BlockModel, BlockText, NoiseSquares, ReplacedBlocks, without_means};
use crate::track::EvaluationError;

/// A model, and the blocks of it that are replaced.
#[derive(Clone, Copy, Debug)]
pub struct BlockEvaluation<'a> {
    model: &'a Gpt2,
    blocks: &'a [BlockModel],
    /// What every passage begins with.
    public: &'a [u32],
}

/// How the blocks of one passage did.
#[derive(Clone, Debug)]
pub struct MeasuredBlocks {
    sums: Sums,
    /// The likeliest token of each row that counts.
    likeliest: Vec<usize>,
    /// How far outputs are from the clear engine's, where that is estimated.
    pub noise: NoiseSquares,
    /// Numbers that are farther from the clear engine's than the noise explains, where that is estimated.
    pub mismatches: usize,
}

impl MeasuredBlocks {
    /// Of all passages.
    pub fn accuracy(measured: &[Self]) -> Accuracy {
        measured.iter().map(|measured| &measured.sums).sum::<Sums>().accuracy()
    }

    /// The share of positions where both have the same likeliest token.
    pub fn agreement(measured: &[Self], others: &[Self]) -> f64 {
        let likeliest = |measured: &[Self]| measured.iter().flat_map(|measured| measured.likeliest.clone()).collect();
        let [found, expected]: [Vec<usize>; 2] = [likeliest(measured), likeliest(others)];
        let same = found.iter().zip(&expected).filter(|(a, b)| a == b).count();
        same as f64 / found.len().max(1) as f64
    }
}

impl<'a> BlockEvaluation<'a> {
    /// Of blocks of `model`, which are calibrated for `public` tokens before each passage.
    pub fn new(model: &'a Gpt2, blocks: &'a [BlockModel], public: &'a [u32]) -> Self {
        Self { model, blocks, public }
    }

    /// The blocks.
    pub fn blocks(&self) -> &'a [BlockModel] {
        self.blocks
    }

    /// The requests for a passage, each its tokens. Where it is of their last token that they are answered, there is one for each row that
    /// counts.
    pub fn requests(&self, passage: &Passage) -> Vec<Range<usize>> {
        let rows = passage.span().rows();
        match self.answers_last() {
            true => {
                std::iter::once(0..rows.start + 1).chain((rows.start + 1..rows.end).map(|row| row..row + 1)).collect()
            }
            false => std::iter::once(0..passage.tokens().len()).collect(),
        }
    }

    /// Whether a request is answered with what is known of its last token only.
    fn answers_last(&self) -> bool {
        self.blocks.iter().any(|model| model.client().end().ending() != Ending::Stream)
    }

    /// The logits `[T, V]` after each token of a passage that counts.
    fn logits(&self, passage: &Passage, hooks: &mut impl ForwardHooks) -> Result<Matrix<f32>, nn::Error> {
        let mut session = self.model.session();
        if !self.public.is_empty() {
            session.next_logits(self.public, &mut NoHooks)?;
        }
        if !self.answers_last() {
            return session.logits(passage.tokens(), hooks);
        }
        let mut logits = Matrix::from_fn(passage.tokens().len(), self.model.config().vocab_size, |_, _| 0.0);
        for request in self.requests(passage) {
            let next = session.next_logits(&passage.tokens()[request.clone()], hooks)?;
            logits.row_mut(request.end - 1).copy_from_slice(&next);
        }
        Ok(logits)
    }

    /// What is judged by its error: what all blocks add to hidden states, or, where those of all tokens are not seen, logits less
    /// their mean.
    fn output(&self, updates: &Updates<'_, '_>, logits: &Matrix<f32>) -> Matrix<f32> {
        if self.answers_last() { without_means(logits) } else { updates.update() }
    }

    /// The model as it is, and with the blocks in its place: in the clear, or with noise that is drawn for passage i from seed i of `noise`.
    /// Passages are computed in parallel; `advance` is told of each that is done, and stops the evaluation by returning false.
    ///
    /// # Errors
    /// [`RunError::Input`] and [`RunError::Refused`] if a passage does not fit; [`RunError::Evaluation`] if stopped.
    pub fn run(
        &self,
        passages: &[Passage],
        noise: Option<&SampleSeed>,
        advance: &(dyn Fn() -> bool + Sync),
    ) -> Result<[Vec<MeasuredBlocks>; 2], RunError> {
        let of_passage = |(index, passage): (usize, &Passage)| {
            let text = |(model, number): (&'a BlockModel, u64)| match noise {
                None => BlockText::clear(model),
                Some(seed) => BlockText::simulated(model, Vec::new(), &seed.derive(index as u64).derive(number)),
            };
            let mut texts: Vec<BlockText<'_>> = self.blocks.iter().zip(0..).map(text).collect();
            let measured = self.measure(passage, &mut texts)?;
            if advance() { Ok(measured) } else { Err(EvaluationError::Cancelled.into()) }
        };
        let measured = passages.par_iter().enumerate().map(of_passage).collect::<Result<Vec<_>, RunError>>()?;
        let (plain, replaced): (Vec<_>, Vec<_>) =
            measured.into_iter().map(|[plain, replaced]| (plain, replaced)).unzip();
        Ok([plain, replaced])
    }

    /// The model as it is, and with the blocks of texts that have seen nothing yet, on one passage. Numbers that leave their ranges are
    /// counted.
    ///
    /// # Errors
    /// As [`BlockText::advance`].
    pub fn measure(&self, passage: &Passage, texts: &mut [BlockText<'_>]) -> Result<[MeasuredBlocks; 2], RunError> {
        let mut plain = Updates { inner: None, layers: self.layers(), states: [None, None] };
        let logits = self.logits(passage, &mut plain)?;
        let output = self.output(&plain, &logits);
        let reference = PlainPassage { passage, hidden: Matrix::from_fn(0, 0, |_, _| 0.0), output, logits };
        let unchanged = Sums::of(&reference, &reference.output, &reference.logits)?;
        let inner = Some(ReplacedBlocks::new(texts, true));
        let mut replaced = Updates { inner, layers: self.layers(), states: [None, None] };
        let logits = self.logits(passage, &mut replaced).map_err(RunError::unhooked)?;
        let mut sums = Sums::of(&reference, &self.output(&replaced, &logits), &logits)?;
        let outcomes = replaced.inner.map_or_else(Vec::new, ReplacedBlocks::into_outcomes);
        sums.count_out_of_range(outcomes.iter().map(|outcome| outcome.run.out_of_range).sum());
        let mismatches = outcomes.iter().map(|outcome| outcome.run.mismatches()).sum();
        let noise = outcomes.iter().filter_map(|outcome| outcome.noise).sum();
        let of_rows = |logits: &Matrix<f32>| passage.span().rows().map(|row| likeliest(logits.row(row))).collect();
        let plain = MeasuredBlocks {
            sums: unchanged,
            likeliest: of_rows(&reference.logits),
            noise: NoiseSquares::default(),
            mismatches: 0,
        };
        Ok([plain, MeasuredBlocks { sums, likeliest: of_rows(&logits), noise, mismatches }])
    }

    /// From the first block that is replaced to after the last.
    fn layers(&self) -> Range<usize> {
        let place = |model: &BlockModel| {
            let program = model.circuit().program();
            program.first()..program.first() + program.blocks().len()
        };
        let places = || self.blocks.iter().map(place);
        places().map(|place| place.start).min().unwrap_or(0)..places().map(|place| place.end).max().unwrap_or(0)
    }
}

/// The first of the largest.
fn likeliest(logits: &[f32]) -> usize {
    let larger = |best: usize, (index, logit): (usize, &f32)| if *logit > logits[best] { index } else { best };
    logits.iter().enumerate().fold(0, larger)
}

/// Hidden states before the first replaced block and after the last.
struct Updates<'t, 'a> {
    inner: Option<ReplacedBlocks<'t, BlockText<'a>>>,
    layers: Range<usize>,
    states: [Option<Matrix<f32>>; 2],
}

impl Updates<'_, '_> {
    /// What the blocks add, `[T, E]`.
    fn update(&self) -> Matrix<f32> {
        let [Some(before), Some(after)] = &self.states else { unreachable!("a pass through all layers") };
        Matrix::from_fn(after.rows(), after.cols(), |row, column| after[(row, column)] - before[(row, column)])
    }
}

impl ForwardHooks for Updates<'_, '_> {
    fn observe(&mut self, site: Site, value: &Matrix<f32>) {
        let state = |layer: usize| match layer {
            0 => Site::model(Intermediate::Embedding),
            layer => Site::layer(Intermediate::Block, layer - 1),
        };
        for (layer, kept) in [self.layers.start, self.layers.end].into_iter().zip(&mut self.states) {
            if site == state(layer) {
                *kept = Some(value.clone());
            }
        }
    }

    fn replace_stream(&mut self, site: Site, before: &Matrix<f32>) -> Result<Option<Matrix<f32>>, HookError> {
        self.inner.as_mut().map_or(Ok(None), |inner| inner.replace_stream(site, before))
    }

    fn replace_last_state(&mut self, before: &Matrix<f32>) -> Result<Option<Matrix<f32>>, HookError> {
        self.inner.as_mut().map_or(Ok(None), |inner| inner.replace_last_state(before))
    }

    fn replace_logits(&mut self, before: &Matrix<f32>) -> Result<Option<Matrix<f32>>, HookError> {
        self.inner.as_mut().map_or(Ok(None), |inner| inner.replace_logits(before))
    }
}
