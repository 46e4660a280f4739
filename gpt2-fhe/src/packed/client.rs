//! The client of the packed head: it has the secret keys and the scales.

use nn::matrix::Matrix;
use nn::packed::PackedProgram;
use tfhe_core::random::SecretSeed;
use tfhe_core::ring_pair::RingPairParameters;
use tfhe_core::ring_pair_keys::{RingPairClientKeys, SeededRingPairKeys};
use tfhe_core::torus;

use super::encrypted::{PackedInput, PackedOutput};
use super::layout::Layout;

/// Numbers of the seeds derived from the master seed, besides those of the keys.
const REQUESTS: u64 = 1 << 20;

/// What client and server agree on besides the layout: the scales of what is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WireScales {
    /// The input is encrypted at q/2^this.
    pub log_input: u32,
    /// An output of one unit is this many turns.
    pub output_turns: f64,
}

impl WireScales {
    /// Of `program` with a parameter set.
    pub fn new(parameters: &RingPairParameters, program: &PackedProgram) -> Self {
        Self {
            log_input: super::prediction::Scales::new(parameters, program).log_input(),
            output_turns: super::tables::probability_turns(program),
        }
    }
}

/// One client.
#[derive(Debug)]
pub struct PackedHeadClient {
    keys: RingPairClientKeys,
    requests: u64,
}

impl PackedHeadClient {
    /// Derives all secrets from `seed`. The same seed gives the same keys and, request by request, the same encryption
    /// randomness: a seed that is not fresh must not be used for different inputs.
    pub fn new(parameters: &RingPairParameters, seed: &SecretSeed) -> Self {
        Self { keys: RingPairClientKeys::generate(parameters, seed), requests: 0 }
    }

    /// The evaluation keys that heads of a layout need.
    pub fn evaluation_keys(&self, layout: &Layout) -> SeededRingPairKeys {
        self.keys.evaluation_keys(layout.subring())
    }

    /// The secret keys.
    pub fn keys(&self) -> &RingPairClientKeys {
        &self.keys
    }

    /// Encrypts integers `[T, E]`.
    ///
    /// # Panics
    /// If the input does not fit the layout.
    pub fn encrypt(&mut self, input: &Matrix<i32>, layout: &Layout, scales: &WireScales) -> PackedInput {
        assert_eq!((input.rows(), input.cols()), (layout.tokens(), layout.embedding_size()), "an input of the layout");
        let (key, fft) = (self.keys.arithmetic_key(), self.keys.arithmetic_fft());
        let noise = self.keys.parameters().arithmetic().noise;
        let masks = self.keys.seed().derive_public(REQUESTS + self.requests);
        let noises = self.keys.seed().derive(REQUESTS + self.requests);
        self.requests += 1;
        let encrypt = |group: usize, chunk: usize| {
            let mut plaintext = vec![0; layout.size()];
            for (place, token) in layout.tokens_of_group(group).enumerate() {
                let first = chunk * layout.inputs();
                let inputs = &input.row(token)[first..input.cols().min(first + layout.inputs())];
                for (j, &x) in inputs.iter().enumerate() {
                    plaintext[place * layout.inputs() + j] = (x as u64) << (64 - scales.log_input);
                }
            }
            let index = (group * layout.chunks() + chunk) as u64;
            key.encrypt(fft, &plaintext, noise, masks, &noises, index)
        };
        let ciphertexts = (0..layout.groups())
            .map(|group| (0..layout.chunks()).map(|chunk| encrypt(group, chunk)).collect())
            .collect();
        PackedInput { ciphertexts, tokens: layout.tokens() }
    }

    /// Decrypts an answer of `channels` channels, in units of its integers: `[T, channels]`.
    pub fn decrypt(&self, output: &PackedOutput, layout: &Layout, scales: &WireScales, channels: usize) -> Matrix<f64> {
        let mut decrypted = Matrix::from_fn(layout.tokens(), channels, |_, _| 0.0);
        for (number, ciphertext) in output.ciphertexts.iter().enumerate() {
            let first = number * layout.tokens_per_answer();
            let held = (layout.tokens() - first).min(layout.tokens_per_answer());
            let phase = self.keys.arithmetic_key().phase(self.keys.arithmetic_fft(), ciphertext);
            for token in 0..held {
                for channel in 0..channels {
                    let turns = torus::to_f64(phase[layout.answer_position(held, token, channel)]);
                    let sign = if Layout::negates_value(channel) { -1.0 } else { 1.0 };
                    decrypted[(first + token, channel)] = sign * turns / scales.output_turns;
                }
            }
        }
        decrypted
    }
}
