//! The server of the packed head: it has the weights, evaluation keys, and ciphertexts.
//!
//! Nothing here, nor in what it uses of this module, can name a secret key; a test holds that against the sources.

use tfhe_core::ring_pair_keys::RingPairKeys;

use super::encrypted::{EncryptedPacked, PackedInput, PackedOutput};
use super::evaluator::PreparedHead;
use crate::engine::statistics::Statistics;
use crate::engine::{EngineError, Observer};

/// Evaluates one head.
#[derive(Clone, Copy, Debug)]
pub struct PackedServer<'a> {
    head: &'a PreparedHead,
    keys: &'a RingPairKeys,
}

impl<'a> PackedServer<'a> {
    /// With a prepared head and evaluation keys for its layout.
    pub fn new(head: &'a PreparedHead, keys: &'a RingPairKeys) -> Self {
        Self { head, keys }
    }

    /// Evaluates the head on an encrypted input.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] if the observer stops the computation.
    ///
    /// # Panics
    /// If the input was not made for the head's layout.
    pub fn evaluate(
        &self,
        input: &PackedInput,
        observer: &mut dyn Observer,
    ) -> Result<(PackedOutput, Statistics), EngineError> {
        let layout = self.head.layout();
        let shape = (input.tokens, input.ciphertexts.len());
        assert_eq!(shape, (layout.tokens(), layout.groups()), "an input of the head's layout");
        let mut engine = EncryptedPacked::new(self.keys, self.head, input, observer);
        let output = self.head.program().evaluate(&mut engine, layout.tokens())?;
        Ok((output, engine.statistics().clone()))
    }
}
