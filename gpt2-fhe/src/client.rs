//! The client: it has the secret keys and the scales, encrypts inputs and decrypts answers.

use nn::matrix::Matrix;
use tfhe_core::keys::{ClientKeys, SeededEvaluationKeys};
use tfhe_core::params::Parameters;
use tfhe_core::random::SecretSeed;
use tfhe_core::torus;

use crate::engine::encrypted::EncryptedInput;
use crate::engine::plan::{Multiply, Predictor};
use crate::server::EncryptedOutput;

/// Numbers of the seeds derived from the master seed, besides those of the keys.
const REQUESTS: u64 = 1 << 20;

/// One client.
#[derive(Debug)]
pub struct Client {
    keys: ClientKeys,
    requests: u64,
}

impl Client {
    /// Derives all secrets from `seed`. The same seed gives the same keys and, request by request, the same encryption
    /// randomness: a seed that is not fresh must not be used for different inputs.
    pub fn new(parameters: &Parameters, seed: &SecretSeed) -> Self {
        Self { keys: ClientKeys::generate(parameters, seed), requests: 0 }
    }

    /// The evaluation keys that a head, or a whole attention, with factors of `bits` bits needs.
    pub fn evaluation_keys(&self, multiply: Multiply, bits: u32, whole: bool) -> SeededEvaluationKeys {
        self.keys.evaluation_keys(&Predictor::gadgets(multiply, bits, whole), multiply == Multiply::Product)
    }

    /// Encrypts integers `[T, E]`, each to be x/2^(bits+1) on the torus: ⌈E/N⌉ ciphertexts per token.
    pub fn encrypt(&mut self, input: &Matrix<i32>, bits: u32) -> EncryptedInput {
        let (parameters, fft) = (self.keys.parameters(), self.keys.fft());
        let n = parameters.polynomial_size().get();
        let masks = self.keys.seed().derive_public(REQUESTS + self.requests);
        let noises = self.keys.seed().derive(REQUESTS + self.requests);
        self.requests += 1;
        let mut index = 0;
        let tokens = (0..input.rows())
            .map(|token| {
                let encrypt = |chunk: &[i32]| {
                    let mut plaintext = vec![0; n];
                    plaintext.iter_mut().zip(chunk).for_each(|(out, &x)| *out = (x as u64) << (63 - bits));
                    let noise = parameters.glwe_noise();
                    let ciphertext = self.keys.glwe_key().encrypt(fft, &plaintext, noise, masks, &noises, index);
                    index += 1;
                    ciphertext
                };
                input.row(token).chunks(n).map(encrypt).collect()
            })
            .collect();
        EncryptedInput { tokens }
    }

    /// Decrypts an answer to the integers nearest to its phases.
    pub fn decrypt(&self, output: &EncryptedOutput) -> Matrix<i64> {
        let n = self.keys.parameters().polynomial_size().get();
        let count = output.rows * output.columns;
        let mut entries = Vec::with_capacity(count);
        for ciphertext in &output.ciphertexts {
            let held = (count - entries.len()).min(n);
            let spacing = n / held.next_power_of_two();
            let phase = self.keys.glwe_key().phase(self.keys.fft(), ciphertext);
            entries.extend((0..held).map(|i| nearest_integer(phase[i * spacing], output.bits)));
        }
        Matrix::new(output.rows, output.columns, entries).expect("an answer holds rows · columns entries")
    }
}

/// The integer m for which m/2^(bits+1) is nearest to the phase, −2^bits ≤ m < 2^bits.
pub fn nearest_integer(phase: u64, bits: u32) -> i64 {
    let modulus = bits + 1;
    (torus::switch_modulus(phase, modulus) << (64 - modulus)) as i64 >> (64 - modulus)
}
