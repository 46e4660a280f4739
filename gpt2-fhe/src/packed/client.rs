//! The client of the packed attention: it has the secret keys and the scales.

use nn::matrix::Matrix;
use nn::packed::{PackedClient, PackedProgram};
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

    /// The evaluation keys that heads of a layout's size need.
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
        assert_eq!((input.rows(), input.cols()), (layout.tokens(), layout.sizes().embedding), "an input of the layout");
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
            let index = (group * layout.input_chunks() + chunk) as u64;
            key.encrypt(fft, &plaintext, noise, masks, &noises, index)
        };
        let ciphertexts = (0..layout.groups())
            .map(|group| (0..layout.input_chunks()).map(|chunk| encrypt(group, chunk)).collect())
            .collect();
        PackedInput { ciphertexts }
    }

    /// Decrypts an answer, in units of its integers: `[rows, O]`. `attention` says near what numbers lie.
    pub fn decrypt(
        &self,
        output: &PackedOutput,
        layout: &Layout,
        scales: &WireScales,
        attention: &PackedClient,
    ) -> Matrix<f64> {
        let phase = |ciphertext| self.keys.arithmetic_key().phase(self.keys.arithmetic_fft(), ciphertext);
        let phases: Vec<Vec<u64>> = output.ciphertexts.iter().map(phase).collect();
        Matrix::from_fn(layout.span().rows().len(), layout.sizes().output, |row, channel| {
            let (answer, position, negated) = layout.answer_position(row, channel);
            let turns = torus::to_f64(phases[answer][position]);
            let number = if negated { -turns } else { turns } / scales.output_turns;
            unwrap(number, attention.output_centers()[channel], 1.0 / scales.output_turns)
        })
    }
}

/// Of all numbers that differ from `number` by multiples of `period`, the one nearest to `center`.
pub(super) fn unwrap(number: f64, center: f64, period: f64) -> f64 {
    number + ((center - number) / period).round_ties_even() * period
}
