//! The client: it has the secret keys and the scales, encrypts inputs and decrypts answers.

use nn::matrix::Matrix;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::keys::{ClientKeys, SeededEvaluationKeys};
use tfhe_core::params::Parameters;
use tfhe_core::random::RandomnessError;
use tfhe_core::torus;
use zeroize::Zeroizing;

use crate::engine::encrypted::EncryptedInput;
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
    pub fn new(parameters: &Parameters, seed: &ClientSeed) -> Self {
        Self { keys: ClientKeys::generate(parameters, &seed.bound_to("exact circuit", VERSION)) }
    }

    /// The evaluation keys that a head, or a whole attention, with factors of `bits` bits needs.
    pub fn evaluation_keys(&self, multiply: Multiply, bits: u32, whole: bool) -> SeededEvaluationKeys {
        self.keys.evaluation_keys(&Predictor::gadgets(multiply, bits, whole), multiply == Multiply::Product)
    }

    /// Encrypts integers `[T, E]`, each to be x/2^(bits+1) on the torus: ⌈E/N⌉ ciphertexts per token.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    pub fn encrypt(&self, input: &Matrix<i32>, bits: u32) -> Result<EncryptedInput, RandomnessError> {
        let n = self.keys.parameters().polynomial_size().get();
        let encode = |chunk: &[i32]| {
            let mut plaintext = Zeroizing::new(vec![0; n]);
            plaintext.iter_mut().zip(chunk).for_each(|(out, &x)| *out = (x as u64) << (63 - bits));
            plaintext
        };
        let plaintexts: Vec<_> = (0..input.rows()).flat_map(|token| input.row(token).chunks(n).map(encode)).collect();
        let mut ciphertexts = self.keys.encrypt(&plaintexts, &context(input, bits))?.into_iter();
        let chunks = input.cols().div_ceil(n);
        let tokens = (0..input.rows()).map(|_| ciphertexts.by_ref().take(chunks).collect()).collect();
        Ok(EncryptedInput { tokens })
    }

    /// Decrypts an answer to the integers nearest to its phases.
    pub fn decrypt(&self, output: &EncryptedOutput) -> Matrix<i64> {
        let n = self.keys.parameters().polynomial_size().get();
        let count = output.rows * output.columns;
        let mut entries = Vec::with_capacity(count);
        for ciphertext in &output.ciphertexts {
            let held = (count - entries.len()).min(n);
            let spacing = n / held.next_power_of_two();
            let phase = self.keys.phase(ciphertext);
            entries.extend((0..held).map(|i| nearest_integer(phase[i * spacing], output.bits)));
        }
        Matrix::new(output.rows, output.columns, entries).expect("an answer holds rows · columns entries")
    }
}

/// How a request is encoded.
fn context(input: &Matrix<i32>, bits: u32) -> Fingerprint {
    let sizes = [input.rows(), input.cols()].map(|size| size as u64);
    Fields::new("integers of the exact circuit").integers(sizes.into_iter()).integer(bits.into()).fingerprint()
}

/// The integer m for which m/2^(bits+1) is nearest to the phase, −2^bits ≤ m < 2^bits.
pub fn nearest_integer(phase: u64, bits: u32) -> i64 {
    torus::decode(phase, bits + 1)
}
