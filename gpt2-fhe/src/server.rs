//! The server: it has the weights, the client's evaluation keys, and ciphertexts.
//!
//! Nothing here, nor in what it uses of [`crate::engine`], can name a secret key; a test holds that against the sources.

use nn::integer::IntegerProgram;
use nn::matrix::Matrix;
use tfhe_core::keys::{Answer, EvaluationKeys};
use tfhe_core::lwe::LweCiphertext;

use crate::boundary::Refused;
use crate::engine::encrypted::{Encrypted, EncryptedInput};
use crate::engine::plan::{Multiply, Predictor};
use crate::engine::statistics::Statistics;
use crate::engine::{EngineError, HomomorphicEngine, Integer, Observer};

/// The output: `[rows, columns]` integers at scale 2^−(bits+1), packed.
#[derive(Clone, Debug)]
pub struct EncryptedOutput {
    /// As few ciphertexts as hold the entries ([`Encrypted::pack_entries`]), and the request that they answer.
    pub answer: Answer,
    /// T.
    pub rows: usize,
    /// d of one head, E of a whole attention.
    pub columns: usize,
    /// The scale.
    pub bits: u32,
}

impl EncryptedOutput {
    /// Bytes on the wire.
    pub fn bytes(&self) -> usize {
        self.answer.bytes()
    }
}

/// Evaluates one head, or a whole attention, with the keys of one party.
#[derive(Clone, Debug)]
pub struct Server<'a> {
    program: &'a IntegerProgram,
    keys: &'a EvaluationKeys,
    multiply: Multiply,
    predictor: Predictor,
    backend: Encrypted<'a>,
}

impl<'a> Server<'a> {
    /// With weights and tables, and evaluation keys.
    ///
    /// # Errors
    /// If the keys' set is not one of this circuit, or keys are missing that the program needs, or its tables and matrices do not
    /// fit the set's ring.
    pub fn new(program: &'a IntegerProgram, keys: &'a EvaluationKeys, multiply: Multiply) -> Result<Self, Refused> {
        let predictor = Predictor::new(keys.parameters())?;
        let gadgets = Predictor::gadgets(multiply, program.input_bits(), program.is_whole());
        let backend = Encrypted::new(keys, &gadgets, multiply == Multiply::Product)?;
        predictor.check(program, multiply)?;
        Ok(Self { program, keys, multiply, predictor, backend })
    }

    /// Evaluates the program on an encrypted input.
    ///
    /// # Errors
    /// [`EngineError::Refused`] if the input does not belong to the keys, or is not one of this program;
    /// [`EngineError::Cancelled`] if the observer stops the computation.
    pub fn evaluate(
        &self,
        input: &EncryptedInput,
        observer: &mut dyn Observer,
    ) -> Result<(EncryptedOutput, Statistics), EngineError> {
        let program = self.program;
        let most = program.max_tokens().min(self.predictor.shape().polynomial_size.get());
        Refused::check_tokens(input.tokens, most)?;
        let opened = input.open(self.keys, program.embedding_size(), program.accumulator_bits());
        let opened = opened.map_err(Refused::from)?;
        let (backend, predictor) = (self.backend.clone(), self.predictor.clone());
        let mut engine = HomomorphicEngine::new(backend, predictor, self.multiply, program, observer);
        let output = program.evaluate(&mut engine, &opened, input.tokens)?;
        let statistics = engine.statistics().clone();
        Ok((self.answer(input, output), statistics))
    }

    fn answer(&self, input: &EncryptedInput, output: Matrix<Integer<LweCiphertext>>) -> EncryptedOutput {
        let (rows, columns, bits) = (output.rows(), output.cols(), output.data()[0].bits);
        let entries: Vec<LweCiphertext> = output.into_data().into_iter().map(|entry| entry.ciphertext).collect();
        let answer = Answer::new(input.request.label(), self.backend.pack_entries(&entries));
        EncryptedOutput { answer, rows, columns, bits }
    }
}
