//! The server of whole blocks: evaluation keys, the program, and what it keeps, encrypted, of a text's earlier tokens.

use nn::evaluator::Form;
use tfhe_core::glwe::SeededGlweCiphertext;
use tfhe_core::keys::{Answer, EvaluationKeys, Request};

use super::ciphertexts::{BlockCiphertexts, EncryptedMultipliers, EncryptedNumber, EncryptedReals};
use super::circuit::{BlockCircuit, Running};
use super::encoding::BlockEncoding;
use super::evaluator::StreamEvaluator;
use super::keys::BlockKeys;
use super::tensor::Held;
use crate::boundary::Refused;
use crate::encoding::Encoding;
use crate::track::statistics::Statistics;
use crate::track::{EvaluationError, Observer};

/// More new tokens than any model has positions.
const MAX_TOKENS: usize = 1 << 24;

/// Evaluates blocks on one text, request after request, with the keys of one party.
pub struct BlockServer<'a> {
    circuit: &'a BlockCircuit,
    keys: &'a EvaluationKeys,
    running: Running<StreamEvaluator<'a, BlockCiphertexts<'a>>>,
}

impl<'a> BlockServer<'a> {
    /// Before the text's first token.
    ///
    /// # Errors
    /// If the keys' set is not that of the circuit, or a key is missing.
    pub fn new(
        circuit: &'a BlockCircuit,
        keys: &'a EvaluationKeys,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, Refused> {
        if circuit.parameters().fingerprint() != keys.identity().set {
            return Err(Refused::Prepared(keys.parameters().name()));
        }
        let prediction = circuit.prediction();
        let backend = BlockCiphertexts { keys: BlockKeys::new(keys)?, layout: prediction.layout() };
        let running = Running::new(circuit, StreamEvaluator::new(backend, prediction, observer));
        Ok(Self { circuit, keys, running })
    }

    /// The answer to a request of new tokens, which is the stream after the blocks or logits, and what was done. It keeps of them what those that follow need; after an error, a text
    /// has to be begun anew.
    ///
    /// # Errors
    /// [`EvaluationError::Refused`] if the encoding is not one of these blocks, or the request does not belong to the keys or is not so
    /// encoded; [`EvaluationError::Cancelled`] if the observer stops the computation.
    pub fn evaluate(
        &mut self,
        request: &Request,
        encoding: &BlockEncoding,
    ) -> Result<(Answer, Statistics), EvaluationError> {
        let stream = opened(self.circuit, self.keys, request, encoding)?;
        let answer = self.running.advance(self.circuit, stream)?.into_reals().into_ciphertexts();
        Ok((Answer::new(request.label(), answer), self.running.take_statistics()))
    }
}

/// The stream of a request that belongs to the keys and is encoded as these blocks have it.
///
/// # Errors
/// What does not.
pub(crate) fn opened(
    circuit: &BlockCircuit,
    keys: &EvaluationKeys,
    request: &Request,
    encoding: &BlockEncoding,
) -> Result<Held<EncryptedReals, EncryptedMultipliers, EncryptedNumber>, Refused> {
    if *encoding != circuit.encoding(encoding.tokens) {
        return Err(Refused::Layout);
    }
    Refused::check_tokens(encoding.tokens, MAX_TOKENS)?;
    let opened = request.open(keys, &encoding.context(), encoding.request_len()).map_err(Refused::from)?;
    let (channels, shape) = (encoding.channels, [encoding.tokens, encoding.channels]);
    let expand = |row: &[SeededGlweCiphertext]| row.iter().map(SeededGlweCiphertext::expand).collect();
    let rows = opened.chunks(encoding.row_len()).map(expand).collect();
    let input = EncryptedReals::new(&encoding.layout, Form::Features, channels, rows);
    Ok(Held::fresh(input, shape, circuit.prediction().fresh()))
}
