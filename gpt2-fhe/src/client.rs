//! The client: it has the secret keys and the scales, encrypts inputs and decrypts answers.

use nn::matrix::Matrix;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::{MissingEdge, Parameters};
use tfhe_core::keys::{ClientKeys, Label, SeededEvaluationKeys};
use tfhe_core::simd::BackendError;
use tfhe_core::torus;
use zeroize::Zeroizing;

use crate::boundary::{EncryptError, Refused};
use crate::engine::encrypted::{EncryptedInput, context};
use crate::engine::plan::{Multiply, Predictor};
use crate::server::EncryptedOutput;

/// The version of this circuit's requests.
const VERSION: u64 = 1;

/// One client.
#[derive(Debug)]
pub struct Client {
    keys: ClientKeys,
}

impl Client {
    /// Derives the secret keys from `seed`: the same seed gives the same keys, for this circuit and these parameters alone.
    /// Each request has randomness of its own, as the seed says
    /// ([`RequestRandomness`](tfhe_core::derivation::RequestRandomness)).
    ///
    /// # Errors
    /// If the environment asks for a backend that cannot be used.
    pub fn new(parameters: &Parameters, seed: &ClientSeed) -> Result<Self, BackendError> {
        Ok(Self { keys: ClientKeys::generate(parameters, &seed.bound_to("exact circuit", VERSION))? })
    }

    /// The evaluation keys that a head, or a whole attention, with factors of `bits` bits needs.
    ///
    /// # Errors
    /// If the parameter set is not one of this circuit.
    pub fn evaluation_keys(
        &self,
        multiply: Multiply,
        bits: u32,
        whole: bool,
    ) -> Result<SeededEvaluationKeys, MissingEdge> {
        self.keys.evaluation_keys(&Predictor::needs(multiply, bits, whole))
    }

    /// Encrypts integers `[T, E]`, each to be x/2^(bits+1) on the torus: ⌈E/N⌉ ciphertexts per token.
    ///
    /// # Errors
    /// If integers of so many bits do not fit the torus, or the operating system has no randomness to give.
    pub fn encrypt(&self, input: &Matrix<i32>, bits: u32) -> Result<EncryptedInput, EncryptError> {
        Refused::check_scale(bits)?;
        let n = self.keys.parameters().arithmetic().size().get();
        let encode = |chunk: &[i32]| {
            let mut plaintext = Zeroizing::new(vec![0; n]);
            plaintext.iter_mut().zip(chunk).for_each(|(out, &x)| *out = (x as u64) << (63 - bits));
            plaintext
        };
        let plaintexts: Vec<_> = (0..input.rows()).flat_map(|token| input.row(token).chunks(n).map(encode)).collect();
        let request = self.keys.encrypt(&plaintexts, &context(input.rows(), input.cols(), bits))?;
        Ok(EncryptedInput { tokens: input.rows(), request })
    }

    /// Decrypts the answer to the request of which `request` is the label, of `size` rows and columns, to the integers nearest to its
    /// phases.
    ///
    /// # Errors
    /// If it is not an answer to that request, or not one of that size, or at a scale that is none.
    pub fn decrypt(
        &self,
        output: &EncryptedOutput,
        request: &Label,
        size: (usize, usize),
    ) -> Result<Matrix<i64>, Refused> {
        Refused::check_size("answer", (output.rows, output.columns), size)?;
        Refused::check_scale(output.bits)?;
        let n = self.keys.parameters().arithmetic().size().get();
        let count = output.rows * output.columns;
        let phases = self.keys.decrypt(&output.answer, request, count.div_ceil(n))?;
        let mut entries = Vec::with_capacity(count);
        for phase in phases {
            let held = (count - entries.len()).min(n);
            let spacing = n / held.next_power_of_two();
            entries.extend((0..held).map(|i| nearest_integer(phase[i * spacing], output.bits)));
        }
        Ok(Matrix::new(output.rows, output.columns, entries).expect("an answer holds rows · columns entries"))
    }
}

/// The integer m for which m/2^(bits+1) is nearest to the phase, −2^bits ≤ m < 2^bits.
pub fn nearest_integer(phase: u64, bits: u32) -> i64 {
    torus::decode(phase, bits + 1)
}
