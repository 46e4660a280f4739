//! The server: it has what is prepared of an attention, the client's evaluation keys, and ciphertexts, of any circuit.
//!
//! Nothing here, nor in what it uses of [`crate::engine`] and [`crate::packed`], can name a secret key; a test holds that against the
//! sources.

use tfhe_core::keys::{Answer, EvaluationKeys, Request};

use crate::boundary::Refused;
use crate::encoding::Encoding;
use crate::engine::prepared::Prepared;
use crate::engine::statistics::Statistics;
use crate::engine::{EngineError, Observer};

/// Evaluates a part of a layer's attention with the keys of one party.
#[derive(Clone, Debug)]
pub struct Server<'a, P: Prepared> {
    prepared: &'a P,
    keys: &'a EvaluationKeys,
    taken: P::Keys<'a>,
}

impl<'a, P: Prepared> Server<'a, P> {
    /// With what is prepared of an attention, and evaluation keys.
    ///
    /// # Errors
    /// If the keys' set is not one of the circuit, or another than the attention is prepared for or fits, or keys are missing.
    pub fn new(prepared: &'a P, keys: &'a EvaluationKeys) -> Result<Self, Refused> {
        Ok(Self { prepared, keys, taken: prepared.keys(keys)? })
    }

    /// Evaluates the attention on an encrypted input.
    ///
    /// # Errors
    /// [`EngineError::Refused`] if the encoding is not one of the attention and the keys, or the request does not belong to the keys or
    /// is not so encoded; [`EngineError::Cancelled`] if the observer stops the computation.
    pub fn evaluate(
        &self,
        request: &Request,
        encoding: &P::Encoding,
        observer: &mut dyn Observer,
    ) -> Result<(Answer, Statistics), EngineError> {
        let parameters = self.keys.parameters();
        encoding.check(parameters)?;
        self.prepared.check(encoding, parameters)?;
        let opened = request.open(self.keys, &encoding.context(), encoding.request_len()).map_err(Refused::from)?;
        let (ciphertexts, statistics) = self.prepared.evaluate(&self.taken, encoding, opened, observer)?;
        Ok((Answer::new(request.label(), ciphertexts), statistics))
    }
}
