//! What a server has of an attention before any request comes: of any circuit, and of the exact one.

use nn::integer::IntegerProgram;
use tfhe_core::glwe::{GlweCiphertext, SeededGlweCiphertext};
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::{EvaluationKeys, Mismatch};
use tfhe_core::lwe::LweCiphertext;

use super::encoding::IntegerEncoding;
use super::encrypted::Encrypted;
use super::plan::{Multiply, Predictor};
use super::statistics::Statistics;
use super::{EngineError, HomomorphicEngine, IntegerTensor, Observer};
use crate::boundary::Refused;
use crate::encoding::Encoding;

/// A part of a layer's attention, ready to be evaluated: what is a circuit's own of a [`Server`](crate::server::Server).
pub trait Prepared {
    /// How its requests and answers are encoded.
    type Encoding: Encoding;
    /// The evaluation keys that it takes.
    type Keys<'a>;

    /// Takes the keys of one party.
    ///
    /// # Errors
    /// If their set is not one of the circuit, or another than this is prepared for or fits, or one is missing.
    fn keys<'a>(&self, keys: &'a EvaluationKeys) -> Result<Self::Keys<'a>, Refused>;

    /// Checks that the encoding is one of this attention.
    ///
    /// # Errors
    /// What is another attention's.
    fn check(&self, encoding: &Self::Encoding, parameters: &Parameters) -> Result<(), Refused>;

    /// The ciphertexts of the answer to those of a request that was opened for these keys and this encoding.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] if the observer stops the computation.
    fn evaluate(
        &self,
        keys: &Self::Keys<'_>,
        encoding: &Self::Encoding,
        input: &[SeededGlweCiphertext],
        observer: &mut dyn Observer,
    ) -> Result<(Vec<GlweCiphertext>, Statistics), EngineError>;
}

/// An attention in integers, and how ciphertexts are multiplied.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedProgram {
    /// Weights and tables.
    pub program: IntegerProgram,
    /// How two encrypted integers are multiplied.
    pub multiply: Multiply,
}

impl Prepared for PreparedProgram {
    type Encoding = IntegerEncoding;
    type Keys<'a> = (Encrypted<'a>, Predictor);

    fn keys<'a>(&self, keys: &'a EvaluationKeys) -> Result<Self::Keys<'a>, Refused> {
        let (program, multiply) = (&self.program, self.multiply);
        let predictor = Predictor::new(keys.parameters())?;
        let gadgets = Predictor::gadgets(multiply, program.input_bits(), program.is_whole());
        let backend = Encrypted::new(keys, &gadgets, multiply == Multiply::Product)?;
        predictor.check(program, multiply)?;
        Ok((backend, predictor))
    }

    fn check(&self, encoding: &IntegerEncoding, parameters: &Parameters) -> Result<(), Refused> {
        let most = self.program.max_tokens().min(encoding.size);
        Refused::check_tokens(encoding.tokens, most)?;
        let own = IntegerEncoding::new(parameters, &self.program, encoding.tokens);
        if *encoding == own { Ok(()) } else { Err(Mismatch::Context("request").into()) }
    }

    fn evaluate(
        &self,
        (backend, predictor): &Self::Keys<'_>,
        encoding: &IntegerEncoding,
        input: &[SeededGlweCiphertext],
        observer: &mut dyn Observer,
    ) -> Result<(Vec<GlweCiphertext>, Statistics), EngineError> {
        let opened = IntegerTensor::Input(input.chunks(encoding.chunks()).collect());
        let (engine, predictor) = (backend.clone(), predictor.clone());
        let mut engine = HomomorphicEngine::new(engine, predictor, self.multiply, &self.program, observer);
        let output = self.program.evaluate(&mut engine, &opened, encoding.tokens)?;
        let entries: Vec<LweCiphertext> = output.into_iter().flatten().map(|entry| entry.ciphertext).collect();
        Ok((backend.pack_entries(&entries), engine.statistics().clone()))
    }
}
