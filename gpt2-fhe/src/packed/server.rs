//! The server of the packed attention: it has the weights, evaluation keys, and ciphertexts.
//!
//! Nothing here, nor in what it uses of this module, can name a secret key; a test holds that against the sources.

use nn::packed::PackedProgram;
use tfhe_core::ring_pair_keys::RingPairKeys;

use super::encrypted::{EncryptedPacked, PackedInput, PackedOutput};
use super::evaluator::PreparedAttention;
use super::layout::Layout;
use crate::engine::statistics::Statistics;
use crate::engine::{EngineError, Observer};

/// Evaluates a part of a layer's attention.
#[derive(Clone, Copy, Debug)]
pub struct PackedServer<'a> {
    attention: &'a PreparedAttention,
    keys: &'a RingPairKeys,
}

impl<'a> PackedServer<'a> {
    /// With prepared weights, and evaluation keys for their head size.
    pub fn new(attention: &'a PreparedAttention, keys: &'a RingPairKeys) -> Self {
        Self { attention, keys }
    }

    /// Evaluates the attention on an encrypted input.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] if the observer stops the computation.
    ///
    /// # Panics
    /// If the input was not made for the layout, or the layout not for the attention.
    pub fn evaluate(
        &self,
        input: &PackedInput,
        layout: &Layout,
        observer: &mut dyn Observer,
    ) -> Result<(PackedOutput, Statistics), EngineError> {
        assert_eq!(input.ciphertexts.len(), layout.groups(), "an input of the layout");
        assert_eq!(self.attention.program().heads().len(), layout.sizes().heads, "a layout of the attention");
        let mut engine = EncryptedPacked::new(self.keys, self.attention, layout, input, observer);
        for heads in layout.head_batches() {
            PackedProgram::attend(&mut engine, heads)?;
        }
        Ok(engine.finish())
    }
}
