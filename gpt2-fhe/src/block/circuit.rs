//! Blocks for the ciphertexts of a parameter set, and their computation token after token.

use nn::block::{AttentionCache, BlockCache, StreamProgram};
use nn::evaluator::BlockEvaluator;
use nn::record::AttentionFingerprint;
use tfhe_core::fingerprint::Fingerprint;
use tfhe_core::key_graph::Parameters;

use super::agreement::{BlockAgreement, BlockSizes};
use super::backend::BlockBackend;
use super::encoding::BlockEncoding;
use super::evaluator::StreamEvaluator;
use super::layout::HeadBeyondRing;
use super::prediction::BlockPrediction;
use super::schedule::{OwnOperation, Schedule};
use crate::track::statistics::Statistics;
use crate::track::timed::Timed;

/// The step before a program's: a request's ciphertexts become those of features.
const EXPANSION_STEP: &str = "expansion";

/// Blocks as a server has them, and where their numbers lie: what is known before any request.
#[derive(Clone, Debug)]
pub struct BlockCircuit {
    program: StreamProgram,
    agreement: BlockAgreement,
    prediction: BlockPrediction,
    fingerprint: Fingerprint,
}

impl BlockCircuit {
    /// Of the server's half of blocks of that fingerprint.
    ///
    /// # Errors
    /// If a head of theirs does not fit a ciphertext.
    pub fn new(program: StreamProgram, fingerprint: &AttentionFingerprint) -> Result<Self, HeadBeyondRing> {
        let agreement = BlockAgreement::new(BlockSizes::of_program(&program))?;
        let prediction = BlockPrediction::new(agreement.parameters(), *agreement.layout());
        let prediction = prediction.expect("the set is that of this circuit");
        let fingerprint = agreement.fingerprint(fingerprint);
        Ok(Self { program, agreement, prediction, fingerprint })
    }

    /// What a server evaluates.
    pub fn program(&self) -> &StreamProgram {
        &self.program
    }

    /// What client and server agree on.
    pub fn agreement(&self) -> &BlockAgreement {
        &self.agreement
    }

    /// Of the blocks, and of where their numbers lie: requests, answers and whatever is kept of a text belong to it.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The parameter set.
    pub fn parameters(&self) -> &Parameters {
        self.agreement.parameters()
    }

    /// The noise of each step, and where numbers lie.
    pub fn prediction(&self) -> &BlockPrediction {
        &self.prediction
    }

    /// E + 1: the channels of the stream.
    pub fn channels(&self) -> usize {
        self.agreement.channels()
    }

    /// How requests of so many new tokens are encoded.
    pub fn encoding(&self, tokens: usize) -> BlockEncoding {
        self.agreement.encoding(tokens)
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

    /// What is answered of a request `[n, E + 2]` of new tokens ([`StreamProgram::answer`]). After an error this is of no use any more.
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

    /// Notes that a request was taken apart.
    pub(crate) fn note_expansion(&mut self, encoding: &BlockEncoding, seconds: f64) {
        let fresh = self.evaluator.fresh();
        let step = self.evaluator.observed().1.step(EXPANSION_STEP);
        step.automorphisms += encoding.automorphisms();
        step.result(fresh);
        step.seconds += seconds;
        // One ciphertext after the other, each split as often; the parts of one at the same time.
        let splits = encoding.expanded().count() * encoding.layout.expansion_steps() as usize;
        let automorphisms = encoding.automorphisms();
        self.evaluator.note_own(OwnOperation::Expansion, automorphisms, automorphisms / splits.max(1));
    }

    /// From now on notes what is done, in order.
    pub(crate) fn begin_schedule(&mut self) {
        self.evaluator.begin_schedule();
    }

    /// What was done since then, or since this was called last.
    pub(crate) fn take_schedule(&mut self) -> Schedule {
        self.evaluator.take_schedule()
    }

    /// What was done since this was asked last.
    pub(crate) fn take_statistics(&mut self) -> Statistics {
        std::mem::take(self.evaluator.observed().1)
    }
}
