//! Blocks for the ciphertexts of a parameter set, and their computation token after token.

use std::sync::OnceLock;

use nn::block::{AttentionCache, BlockCache, ModelProgram, StreamProgram};
use nn::evaluator::BlockEvaluator;
use nn::record::AttentionFingerprint;
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::key_graph::Parameters;
use tfhe_core::sets;

use super::backend::BlockBackend;
use super::encoding::{BlockAnswer, BlockEncoding};
use super::evaluator::StreamEvaluator;
use super::layout::{BlockLayout, HeadBeyondRing};
use super::prediction::BlockPrediction;
use crate::encoding::Encoding;
use crate::track::statistics::Statistics;
use crate::track::timed::Timed;

/// Blocks, and where their numbers lie: what is known before any request.
#[derive(Clone, Debug)]
pub struct BlockCircuit {
    model: ModelProgram,
    parameters: Parameters,
    prediction: BlockPrediction,
    /// Once it is asked for.
    fingerprint: OnceLock<Fingerprint>,
}

impl BlockCircuit {
    /// Of blocks.
    ///
    /// # Errors
    /// If a head of theirs does not fit a ciphertext.
    pub fn new(model: ModelProgram) -> Result<Self, HeadBeyondRing> {
        let parameters = sets::PACKED_BLOCK.compile().expect("named sets are valid");
        let layout = BlockLayout::new(&parameters, model.program().head_size())?;
        let prediction = BlockPrediction::new(&parameters, layout).expect("the set is that of this circuit");
        Ok(Self { model, parameters, prediction, fingerprint: OnceLock::new() })
    }

    /// The blocks, with what their numbers stand for.
    pub fn model(&self) -> &ModelProgram {
        &self.model
    }

    /// What a server evaluates of them.
    pub fn program(&self) -> &StreamProgram {
        self.model.program()
    }

    /// Of the blocks, and of where their numbers lie: whatever is kept of a text belongs to it.
    pub fn fingerprint(&self) -> &Fingerprint {
        self.fingerprint.get_or_init(|| {
            let program = AttentionFingerprint::of_blocks(&self.model);
            Fields::new("blocks").name(&program.to_string()).of(&self.encoding(1).context()).fingerprint()
        })
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
        self.program().channels()
    }

    /// How requests of so many new tokens are encoded.
    pub fn encoding(&self, tokens: usize) -> BlockEncoding {
        let logits = self.program().logits();
        let answer = logits.map_or(BlockAnswer::Stream, |logits| BlockAnswer::Logits(logits.size()));
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
        let caches = circuit.program().caches(&mut evaluator);
        Self { evaluator, caches }
    }

    /// What is answered of the stream `[n, E + 1]` of new tokens ([`StreamProgram::answer`]). After an error this is of no use any more.
    #[cfg(feature = "client")]
    pub(crate) fn advance(&mut self, circuit: &BlockCircuit, stream: E::Tensor) -> Result<E::Tensor, E::Error> {
        self.advance_from(circuit, 0, stream, |_, _, _| Ok(()))
    }

    /// The same from block `first` of the circuit on; `after` as [`StreamProgram::answer_from`] has it.
    pub(crate) fn advance_from(
        &mut self,
        circuit: &BlockCircuit,
        first: usize,
        stream: E::Tensor,
        after: impl FnMut(usize, &E::Tensor, &mut BlockCache<E>) -> Result<(), E::Error>,
    ) -> Result<E::Tensor, E::Error> {
        circuit.program().answer_from(first, &mut self.evaluator, stream, &mut self.caches, after)
    }

    /// The evaluator, and what block `block` of the circuit keeps, if it does.
    pub(crate) fn cached(&mut self, block: usize) -> (&mut E, Option<&mut AttentionCache<E>>) {
        (&mut self.evaluator, self.caches[block].attention())
    }
}

impl<B: BlockBackend> Running<StreamEvaluator<'_, B>> {
    /// Before the first token that is not public, again; noise is not predicted any more.
    pub(crate) fn restart_untracked(&mut self, circuit: &BlockCircuit) {
        self.evaluator.stop_tracking();
        self.caches = circuit.program().caches(&mut self.evaluator);
    }

    /// What was done since this was asked last.
    pub(crate) fn take_statistics(&mut self) -> Statistics {
        std::mem::take(self.evaluator.observed().1)
    }
}
