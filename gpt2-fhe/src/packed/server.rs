//! The server of the packed attention: it has the weights, evaluation keys, and ciphertexts.
//!
//! Nothing here, nor in what it uses of this module, can name a secret key; a test holds that against the sources.

use nn::packed::PackedProgram;
use tfhe_core::keys::{Answer, EvaluationKeys};

use super::encrypted::EncryptedPacked;
use super::evaluator::PreparedAttention;
use super::keys::PackedKeys;
use super::layout::{Layout, Sizes};
use super::wire::{PackedInput, PackedOutput, WireScales};
use crate::boundary::Refused;
use crate::engine::statistics::Statistics;
use crate::engine::{EngineError, Observer};

/// Evaluates a part of a layer's attention.
#[derive(Clone, Copy, Debug)]
pub struct PackedServer<'a> {
    attention: &'a PreparedAttention,
    keys: &'a EvaluationKeys,
}

impl<'a> PackedServer<'a> {
    /// With prepared weights, and evaluation keys for their head size.
    pub fn new(attention: &'a PreparedAttention, keys: &'a EvaluationKeys) -> Self {
        Self { attention, keys }
    }

    /// Evaluates the attention on an encrypted input.
    ///
    /// # Errors
    /// [`EngineError::Refused`] if the layout is not one of the attention and the keys, if the attention was prepared for
    /// another set, if keys are missing, or if the input does not
    /// belong to the keys, or is not for the layout and the attention; [`EngineError::Cancelled`] if the observer stops the
    /// computation.
    pub fn evaluate(
        &self,
        input: &PackedInput,
        layout: &Layout,
        observer: &mut dyn Observer,
    ) -> Result<(PackedOutput, Statistics), EngineError> {
        self.check(layout)?;
        let keys = PackedKeys::new(self.keys, layout)?;
        let scales = WireScales::new(self.keys.parameters(), self.attention.program()).map_err(Refused::from)?;
        let ciphertexts = input.open(self.keys, layout, &scales).map_err(Refused::from)?;
        let mut engine = EncryptedPacked::new(keys, self.attention, layout, ciphertexts, observer);
        for heads in layout.head_batches() {
            PackedProgram::attend(&mut engine, heads)?;
        }
        let (ciphertexts, statistics) = engine.finish();
        Ok((PackedOutput { answer: Answer::new(input.request.label(), ciphertexts) }, statistics))
    }

    /// Checks that the layout is for this attention, and that is prepared for the keys' set.
    fn check(&self, layout: &Layout) -> Result<(), Refused> {
        let program = self.attention.program();
        if layout.sizes() != Sizes::of(program) {
            return Err(Refused::Layout);
        }
        if *self.attention.set() != self.keys.identity().set {
            return Err(Refused::Prepared(self.keys.parameters().name()));
        }
        Refused::check_tokens(layout.tokens(), program.max_tokens())
    }
}
