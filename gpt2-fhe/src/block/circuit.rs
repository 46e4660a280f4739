//! Blocks for the ciphertexts of a parameter set, and their computation token after token.

use nn::block::{BlockCache, ModelProgram};
use nn::evaluator::BlockEvaluator;
use tfhe_core::key_graph::Parameters;
use tfhe_core::sets;

use super::backend::BlockBackend;
use super::encoding::{BlockAnswer, BlockEncoding};
use super::evaluator::StreamEvaluator;
use super::layout::{BlockLayout, HeadBeyondRing};
use super::prediction::BlockPrediction;
use crate::track::statistics::Statistics;
use crate::track::timed::Timed;

/// Blocks, and where their numbers lie: what is known before any request.
#[derive(Clone, Debug)]
pub struct BlockCircuit {
    program: ModelProgram,
    parameters: Parameters,
    prediction: BlockPrediction,
}

impl BlockCircuit {
    /// Of blocks whose heads have `head_size` channels.
    ///
    /// # Errors
    /// If such a head does not fit a ciphertext.
    pub fn new(program: ModelProgram, head_size: usize) -> Result<Self, HeadBeyondRing> {
        let parameters = sets::PACKED_BLOCK.compile().expect("named sets are valid");
        let layout = BlockLayout::new(&parameters, head_size)?;
        let prediction = BlockPrediction::new(&parameters, layout).expect("the set is that of this circuit");
        Ok(Self { program, parameters, prediction })
    }

    /// The blocks.
    pub fn program(&self) -> &ModelProgram {
        &self.program
    }

    /// The parameter set.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The noise of each step, and where numbers lie.
    pub fn prediction(&self) -> &BlockPrediction {
        &self.prediction
    }

    /// E + 1: the channels of the stream.
    pub fn channels(&self) -> usize {
        self.program.scale().turns().len()
    }

    /// How requests of so many new tokens are encoded.
    pub fn encoding(&self, tokens: usize) -> BlockEncoding {
        let logits = self.program.logits();
        let answer = logits.map_or(BlockAnswer::Stream, |logits| BlockAnswer::Logits(logits.scale().size()));
        BlockEncoding { layout: *self.prediction.layout(), tokens, channels: self.channels(), answer }
    }
}

/// Blocks on an evaluator, with what they keep of the tokens so far.
pub(crate) struct Running<E: BlockEvaluator> {
    evaluator: E,
    caches: Vec<BlockCache<E>>,
}

impl<E: BlockEvaluator> Running<E> {
    /// Before the first token that is not public.
    pub(crate) fn new(circuit: &BlockCircuit, mut evaluator: E) -> Self {
        let caches = circuit.program.caches(&mut evaluator);
        Self { evaluator, caches }
    }

    /// What is answered of the stream `[n, E + 1]` of new tokens ([`ModelProgram::answer`]). After an error this is of no use any more.
    pub(crate) fn advance(&mut self, circuit: &BlockCircuit, stream: E::Tensor) -> Result<E::Tensor, E::Error> {
        circuit.program.answer(&mut self.evaluator, stream, &mut self.caches)
    }
}

impl<B: BlockBackend> Running<StreamEvaluator<'_, B>> {
    /// What was done since this was asked last.
    pub(crate) fn take_statistics(&mut self) -> Statistics {
        std::mem::take(self.evaluator.observed().1)
    }
}
