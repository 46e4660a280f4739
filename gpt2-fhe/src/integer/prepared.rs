//! What a server has of an attention of the exact circuit before any request comes.

use nn::integer::IntegerProgram;
use tfhe_core::glwe::{GlweCiphertext, SeededGlweCiphertext};
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::{EvaluationKeys, Mismatch};
use tfhe_core::lwe::LweCiphertext;

use super::ciphertexts::IntegerCiphertexts;
use super::encoding::IntegerEncoding;
use super::evaluator::IntegerEvaluator;
use super::multiply::Multiply;
use super::prediction::Predictor;
use super::tensor::IntegerTensor;
use crate::boundary::Refused;
use crate::server::Prepared;
use crate::track::statistics::Statistics;
use crate::track::{EvaluationError, Observer};

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
    type Keys<'a> = (IntegerCiphertexts<'a>, Predictor);

    fn keys<'a>(&self, keys: &'a EvaluationKeys) -> Result<Self::Keys<'a>, Refused> {
        let (program, multiply) = (&self.program, self.multiply);
        let predictor = Predictor::new(keys.parameters())?;
        let gadgets = Predictor::gadgets(multiply, program.input_bits(), program.is_whole());
        let backend = IntegerCiphertexts::new(keys, &gadgets, multiply == Multiply::Product)?;
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
    ) -> Result<(Vec<GlweCiphertext>, Statistics), EvaluationError> {
        let opened = IntegerTensor::Input(input.chunks(encoding.chunks()).collect(), encoding.input_bits);
        let (own, predictor) = (backend.clone(), predictor.clone());
        let mut evaluator = IntegerEvaluator::new(own, predictor, self.multiply, &self.program, observer);
        let output = self.program.evaluate(&mut evaluator, &opened, encoding.tokens)?;
        let entries: Vec<LweCiphertext> = output.into_iter().flatten().map(|entry| entry.ciphertext).collect();
        Ok((backend.pack_entries(&entries), evaluator.statistics().clone()))
    }
}
