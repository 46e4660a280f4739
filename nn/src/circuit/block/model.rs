//! Blocks one after the other, up to a whole model.

use super::attention::Needed;
use super::calibrate::BlockPart;
use super::client::StreamScale;
use super::logits::LogitsProgram;
use super::options::BlockOptions;
use super::program::{BlockCache, BlockProgram};
use crate::clear::{ClearEvaluator, ClearTensor};
use crate::error::Error;
use crate::evaluator::{BlockEvaluator, Form, Rows};
use crate::gpt2::{Block, Gpt2, Intermediate, Site};
use crate::matrix::Matrix;
use crate::table::SmoothTable;
use crate::watched::{Operation, Watched, WatchedError};
use std::ops::{ControlFlow, Range};

/// Some of a model's blocks, and the scale of their stream.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelProgram {
    first: usize,
    blocks: Vec<BlockProgram>,
    scale: StreamScale,
    prefix: usize,
    logits: Option<LogitsProgram>,
}

impl ModelProgram {
    /// Calibrates `part` of each of the blocks `layers` on texts, each of them tokens. The first `prefix` tokens are public and the same in
    /// all texts, those that are calibrated for as well: their keys and values are known to the server, and their hidden states, which
    /// in GPT-2 are far larger than all others, need no range.
    ///
    /// # Errors
    /// As [`Gpt2::logits`] and [`BlockProgram::calibrate`]; [`Error::OutOfRange`] if there are no such layers.
    pub fn calibrate(
        model: &Gpt2,
        layers: Range<usize>,
        part: BlockPart,
        (texts, prefix): (&[Vec<u32>], usize),
        options: &BlockOptions,
    ) -> Result<Self, Error> {
        if layers.is_empty() {
            return Err(Error::out_of_range("the encrypted layers", format!("{layers:?}"), "at least one"));
        }
        let states = texts.iter().map(|text| model.hidden_states(text, layers.end)).collect::<Result<Vec<_>, _>>()?;
        let private = |state: &Matrix<f32>| state.row_range(prefix.min(state.rows())..state.rows());
        let of_layers: Vec<Matrix<f32>> =
            states.iter().flat_map(|states| states[layers.start..].iter().map(private)).collect();
        let scale = StreamScale::calibrate(&of_layers, options.log_unit)?;
        let calibrate = |layer: usize| {
            let inputs: Vec<Matrix<f32>> = states.iter().map(|states| states[layer].clone()).collect();
            BlockProgram::calibrate(model.block(layer)?, part, &scale, (&inputs, prefix), options)
        };
        let blocks = layers.clone().map(calibrate).collect::<Result<_, _>>()?;
        Ok(Self { first: layers.start, blocks, scale, prefix, logits: None })
    }

    /// The same, ending with the logits of the token after the last, instead of the stream. Texts are those that the blocks were calibrated
    /// on.
    ///
    /// # Errors
    /// As [`Gpt2::logits`]; [`Error::OutOfRange`] if these are not whole blocks up to the model's last, or an option is out of its range;
    /// [`Error::Shape`] if no text has a token that is not public.
    pub fn with_logits(self, model: &Gpt2, texts: &[Vec<u32>], options: &BlockOptions) -> Result<Self, Error> {
        let (last, count) = (self.first + self.blocks.len(), model.config().n_layer);
        let is_whole = |block: &BlockProgram| block.attention().is_some() && block.feed_forward().is_some();
        if last != count || !self.blocks.iter().all(is_whole) {
            let found = format!("{:?}", self.first..last);
            let allowed = format!("whole blocks, of which the last is the model's: number {}", count - 1);
            return Err(Error::out_of_range("the encrypted layers before the logits", found, allowed));
        }
        let state = |text: &Vec<u32>| {
            let state = model.hidden_states(text, last)?.pop();
            Ok(state.map(|state| state.row_range(self.prefix.min(state.rows())..state.rows())))
        };
        let states = texts.iter().filter_map(|text| state(text).transpose()).collect::<Result<Vec<_>, Error>>()?;
        let logits = Some(LogitsProgram::calibrate(model, &self.scale, &states, options)?);
        Ok(Self { logits, ..self })
    }

    /// Calibrates `part` of one block, number `layer` of its model, on hidden states before its first LayerNorm, each `[T, E]`.
    ///
    /// # Errors
    /// As [`Block::trace`] and [`BlockProgram::calibrate`].
    pub fn calibrate_block(
        (layer, block): (usize, &Block),
        part: BlockPart,
        inputs: &[Matrix<f32>],
        options: &BlockOptions,
    ) -> Result<Self, Error> {
        let mut states = inputs.to_vec();
        for input in inputs {
            let trace = block.trace(input)?;
            let sites = [Intermediate::AttentionResidual, Intermediate::Block].map(|what| Site::layer(what, 0));
            states.extend(sites.iter().filter_map(|&site| trace.get(site).cloned()));
        }
        let scale = StreamScale::calibrate(&states, options.log_unit)?;
        let program = BlockProgram::calibrate(block, part, &scale, (inputs, 0), options)?;
        Ok(Self { first: layer, blocks: vec![program], scale, prefix: 0, logits: None })
    }

    /// The first layer.
    pub fn first(&self) -> usize {
        self.first
    }

    /// The blocks.
    pub fn blocks(&self) -> &[BlockProgram] {
        &self.blocks
    }

    /// What numbers of the stream stand for.
    pub fn scale(&self) -> &StreamScale {
        &self.scale
    }

    /// What follows the blocks, if logits do.
    pub fn logits(&self) -> Option<&LogitsProgram> {
        self.logits.as_ref()
    }

    /// The number of public tokens before all others.
    pub fn prefix(&self) -> usize {
        self.prefix
    }

    /// What the blocks keep before the first token that is not public.
    pub fn caches<E: BlockEvaluator>(&self, evaluator: &mut E) -> Vec<BlockCache<E>> {
        self.blocks.iter().map(|block| block.cache(evaluator)).collect()
    }

    /// Rows `[n, E + 1]` of the stream after the blocks, of tokens that follow those of the caches.
    ///
    /// # Errors
    /// The evaluator's.
    pub fn evaluate<E: BlockEvaluator>(
        &self,
        evaluator: &mut E,
        stream: &mut E::Tensor,
        caches: &mut [BlockCache<E>],
    ) -> Result<(), E::Error> {
        self.run(Needed::All, 0, evaluator, stream, caches, |_, _, _| Ok(()))
    }

    /// From block `first` of these on, of which rows of the last are needed.
    fn run<E: BlockEvaluator>(
        &self,
        needed: Needed,
        first: usize,
        evaluator: &mut E,
        stream: &mut E::Tensor,
        caches: &mut [BlockCache<E>],
        mut after: impl FnMut(usize, &E::Tensor, &mut BlockCache<E>) -> Result<(), E::Error>,
    ) -> Result<(), E::Error> {
        let blocks = self.blocks.iter().zip(caches).zip(1..);
        blocks.skip(first).try_for_each(|((block, cache), done)| {
            evaluator.enter_block(done - 1);
            // Later blocks read all rows of earlier ones.
            let needed = if done == self.blocks.len() { needed } else { Needed::All };
            block.evaluate(evaluator, stream, cache, needed)?;
            after(done, stream, cache)
        })
    }

    /// What is answered of rows `[n, E + 1]` of the stream before the blocks, of tokens that follow those of the caches: the stream after
    /// them, or the logits `[1, V]` of the token after the last, in turns.
    ///
    /// # Errors
    /// The evaluator's.
    pub fn answer<E: BlockEvaluator>(
        &self,
        evaluator: &mut E,
        stream: E::Tensor,
        caches: &mut [BlockCache<E>],
    ) -> Result<E::Tensor, E::Error> {
        self.answer_from(0, evaluator, stream, caches, |_, _, _| Ok(()))
    }

    /// The same from block `first` of these on, where the stream is that before it. `after` is told after each block how many of all
    /// are done, with the stream after it and what it keeps, and may end the computation.
    ///
    /// # Errors
    /// The evaluator's, and those of `after`.
    pub fn answer_from<E: BlockEvaluator>(
        &self,
        first: usize,
        evaluator: &mut E,
        mut stream: E::Tensor,
        caches: &mut [BlockCache<E>],
        after: impl FnMut(usize, &E::Tensor, &mut BlockCache<E>) -> Result<(), E::Error>,
    ) -> Result<E::Tensor, E::Error> {
        let needed = if self.logits.is_some() { Needed::Last } else { Needed::All };
        self.run(needed, first, evaluator, &mut stream, caches, after)?;
        match &self.logits {
            Some(logits) => logits.evaluate(evaluator, &stream),
            None => Ok(stream),
        }
    }

    /// The same of a text's first tokens, on an evaluator of which `watcher` sees what each operation gives, and may stop it.
    ///
    /// # Errors
    /// [`WatchedError::Stopped`] if it does; the evaluator's.
    pub fn watch<E, W>(
        &self,
        evaluator: &mut E,
        stream: E::Tensor,
        watcher: W,
    ) -> Result<E::Tensor, WatchedError<E::Error>>
    where
        E: BlockEvaluator,
        W: FnMut(Operation, Rows<E::Lane>) -> ControlFlow<()>,
    {
        let mut watched = Watched::new(evaluator, watcher);
        let mut caches = self.caches(&mut watched);
        self.answer(&mut watched, stream, &mut caches)
    }

    /// What an answer in turns stands for: hidden states `[n, E]`, or logits `[1, V]`.
    ///
    /// # Panics
    /// If it has another number of columns.
    pub fn decode(&self, answer: &Matrix<f64>) -> Matrix<f32> {
        self.logits.as_ref().map_or_else(|| self.scale.decode(answer), |logits| logits.scale().decode(answer))
    }

    /// Hidden states `[T, E]` after the blocks, of tokens after the public ones, without noise.
    ///
    /// # Errors
    /// As [`StreamScale::encode`].
    pub fn evaluate_clear(
        &self,
        evaluator: &mut ClearEvaluator<SmoothTable>,
        hidden: &Matrix<f32>,
    ) -> Result<Matrix<f32>, Error> {
        let encoded = self.scale.encode(hidden)?;
        let rows = (0..encoded.rows()).map(|row| encoded.row(row).to_vec()).collect();
        let mut stream: ClearTensor = evaluator.known(rows, Form::Features);
        let mut caches = self.caches(evaluator);
        let Ok(()) = self.evaluate(evaluator, &mut stream, &mut caches);
        Ok(self.scale.decode(&stream.matrix(|x| x)))
    }
}
