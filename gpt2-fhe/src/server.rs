//! The server: it has the weights, the client's evaluation keys, and ciphertexts.
//!
//! Nothing here, nor in what it uses of [`crate::engine`], can name a secret key; a test holds that against the sources.

use nn::integer::IntegerProgram;
use nn::matrix::Matrix;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::keys::EvaluationKeys;
use tfhe_core::lwe::LweCiphertext;

use crate::engine::encrypted::{Encrypted, EncryptedInput, pack_entries};
use crate::engine::plan::{Multiply, Predictor};
use crate::engine::statistics::Statistics;
use crate::engine::{EngineError, HomomorphicEngine, Integer, Observer};

/// The output: `[rows, columns]` integers at scale 2^−(bits+1), packed.
#[derive(Clone, Debug)]
pub struct EncryptedOutput {
    /// As few as hold the entries; see [`pack_entries`].
    pub ciphertexts: Vec<GlweCiphertext>,
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
        self.ciphertexts.iter().map(|ciphertext| size_of_val(ciphertext.data())).sum()
    }
}

/// Evaluates one head, or a whole attention, for one client.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    program: &'a IntegerProgram,
    keys: &'a EvaluationKeys,
    multiply: Multiply,
}

impl<'a> Server<'a> {
    /// With the weights and tables and the client's evaluation keys.
    pub fn new(program: &'a IntegerProgram, keys: &'a EvaluationKeys, multiply: Multiply) -> Self {
        Self { program, keys, multiply }
    }

    /// Evaluates the program on an encrypted input.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] if the observer stops the computation.
    pub fn evaluate(
        &self,
        input: &EncryptedInput,
        observer: &mut dyn Observer,
    ) -> Result<(EncryptedOutput, Statistics), EngineError> {
        let predictor = Predictor::new(self.keys.parameters());
        let backend = Encrypted::new(self.keys);
        let mut engine = HomomorphicEngine::new(backend, predictor, self.multiply, self.program, observer);
        let output = self.program.evaluate(&mut engine, input, input.tokens.len())?;
        let statistics = engine.statistics().clone();
        Ok((self.answer(output), statistics))
    }

    fn answer(&self, output: Matrix<Integer<LweCiphertext>>) -> EncryptedOutput {
        let (rows, columns, bits) = (output.rows(), output.cols(), output.data()[0].bits);
        let entries: Vec<LweCiphertext> = output.into_data().into_iter().map(|entry| entry.ciphertext).collect();
        EncryptedOutput { ciphertexts: pack_entries(self.keys, &entries), rows, columns, bits }
    }
}
