//! What blocks have of their own of a server.

use nn::block::{AttentionProgram, BlockProgram, ModelProgram};
use nn::evaluator::Form;
use tfhe_core::fingerprint::Fingerprint;
use tfhe_core::glwe::{GlweCiphertext, SeededGlweCiphertext};
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::EvaluationKeys;

use super::ciphertexts::{BlockCiphertexts, EncryptedReals};
use super::encoding::BlockEncoding;
use super::evaluator::StreamEvaluator;
use super::keys::BlockKeys;
use super::layout::BlockLayout;
use super::prediction::BlockPrediction;
use super::tensor::StreamTensor;
use crate::boundary::Refused;
use crate::encoding::Encoding;
use crate::server::Prepared;
use crate::track::statistics::Statistics;
use crate::track::{EvaluationError, Observer};

/// Blocks of a model, for a parameter set and a layout.
#[derive(Clone, Debug)]
pub struct PreparedBlocks {
    /// The fingerprint of the parameter set.
    set: Fingerprint,
    program: ModelProgram,
    prediction: BlockPrediction,
    max_tokens: usize,
}

impl PreparedBlocks {
    /// For inputs of up to `max_tokens` tokens.
    ///
    /// # Errors
    /// If the set is not one of this circuit, or the layout is for smaller heads, or other rings.
    pub fn new(
        parameters: &Parameters,
        program: &ModelProgram,
        layout: BlockLayout,
        max_tokens: usize,
    ) -> Result<Self, Refused> {
        let attentions = program.blocks().iter().filter_map(BlockProgram::attention);
        if attentions.map(head_size).any(|channels| channels > layout.subring()) {
            return Err(Refused::Layout);
        }
        let prediction = BlockPrediction::new(parameters, layout)?;
        let prepared = Self { set: parameters.fingerprint(), program: program.clone(), prediction, max_tokens };
        prepared.encoding(max_tokens).check(parameters)?;
        Ok(prepared)
    }

    /// The encoding of requests of `tokens` tokens.
    pub fn encoding(&self, tokens: usize) -> BlockEncoding {
        BlockEncoding { layout: *self.prediction.layout(), tokens, channels: self.program.scale().turns().len() }
    }
}

/// The number of channels of a head.
fn head_size(attention: &AttentionProgram) -> usize {
    attention.keys().len().div_ceil(attention.heads().len().max(1))
}

impl Prepared for PreparedBlocks {
    type Encoding = BlockEncoding;
    type Keys<'a> = BlockKeys<'a>;

    fn keys<'a>(&self, keys: &'a EvaluationKeys) -> Result<BlockKeys<'a>, Refused> {
        if self.set != keys.identity().set {
            return Err(Refused::Prepared(keys.parameters().name()));
        }
        BlockKeys::new(keys)
    }

    fn check(&self, encoding: &BlockEncoding, _: &Parameters) -> Result<(), Refused> {
        Refused::check_tokens(encoding.tokens, self.max_tokens)?;
        if *encoding == self.encoding(encoding.tokens) { Ok(()) } else { Err(Refused::Layout) }
    }

    fn evaluate(
        &self,
        keys: &BlockKeys<'_>,
        encoding: &BlockEncoding,
        input: &[SeededGlweCiphertext],
        observer: &mut dyn Observer,
    ) -> Result<(Vec<GlweCiphertext>, Statistics), EvaluationError> {
        let BlockEncoding { layout, tokens, channels } = encoding;
        let backend = BlockCiphertexts { keys: *keys, layout };
        let expand = |row: &[SeededGlweCiphertext]| row.iter().map(SeededGlweCiphertext::expand).collect();
        let rows = input.chunks(encoding.row_len()).map(expand).collect();
        let reals = EncryptedReals::new(layout, Form::Features, *channels, rows);
        let mut stream =
            StreamTensor::<BlockCiphertexts<'_>>::fresh(reals, [*tokens, *channels], self.prediction.fresh());
        let mut evaluator = StreamEvaluator::new(backend, &self.prediction, observer);
        let mut caches = self.program.caches(&mut evaluator);
        self.program.evaluate(&mut evaluator, &mut stream, &mut caches)?;
        Ok((stream.into_reals().into_ciphertexts(), evaluator.statistics().clone()))
    }
}
