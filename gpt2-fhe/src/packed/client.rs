//! The client of the packed attention: it has the secret keys and the scales.

use nn::matrix::Matrix;
use nn::packed::{PackedClient, PackedProgram};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::random::RandomnessError;
use tfhe_core::ring_pair::RingPairParameters;
use tfhe_core::ring_pair_keys::{RingPairClientKeys, SeededRingPairKeys};
use tfhe_core::torus;
use zeroize::Zeroizing;

use super::encrypted::{PackedInput, PackedOutput};
use super::layout::{Layout, Sizes};

/// The version of this circuit's requests.
const VERSION: u64 = 1;

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
}

impl PackedHeadClient {
    /// Derives the secret keys from `seed`: the same seed gives the same keys, for this circuit and these parameters alone.
    /// Each request has randomness of its own, as the seed says
    /// ([`RequestRandomness`](tfhe_core::derivation::RequestRandomness)).
    pub fn new(parameters: &RingPairParameters, seed: &ClientSeed) -> Self {
        Self { keys: RingPairClientKeys::generate(parameters, &Self::bound(seed)) }
    }

    /// What the keys of a client of this circuit are made from.
    pub fn bound(seed: &ClientSeed) -> ClientSeed {
        seed.bound_to("packed circuit", VERSION)
    }

    /// The evaluation keys that heads of a layout's size need.
    pub fn evaluation_keys(&self, layout: &Layout) -> SeededRingPairKeys {
        self.keys.evaluation_keys(layout.subring())
    }

    /// Encrypts integers `[T, E]`.
    ///
    /// # Errors
    /// If the operating system has no randomness to give.
    ///
    /// # Panics
    /// If the input does not fit the layout.
    pub fn encrypt(
        &self,
        input: &Matrix<i32>,
        layout: &Layout,
        scales: &WireScales,
    ) -> Result<PackedInput, RandomnessError> {
        assert_eq!((input.rows(), input.cols()), (layout.tokens(), layout.sizes().embedding), "an input of the layout");
        let encode = |group: usize, chunk: usize| {
            let mut plaintext = Zeroizing::new(vec![0; layout.size()]);
            for (place, token) in layout.tokens_of_group(group).enumerate() {
                let first = chunk * layout.inputs();
                let inputs = &input.row(token)[first..input.cols().min(first + layout.inputs())];
                for (j, &x) in inputs.iter().enumerate() {
                    plaintext[place * layout.inputs() + j] = (x as u64) << (64 - scales.log_input);
                }
            }
            plaintext
        };
        let chunks = layout.input_chunks();
        let places = (0..layout.groups()).flat_map(|group| (0..chunks).map(move |chunk| (group, chunk)));
        let plaintexts: Vec<_> = places.map(|(group, chunk)| encode(group, chunk)).collect();
        let mut ciphertexts = self.keys.encrypt(&plaintexts, &context(layout, scales))?.into_iter();
        let ciphertexts = (0..layout.groups()).map(|_| ciphertexts.by_ref().take(chunks).collect()).collect();
        Ok(PackedInput { ciphertexts })
    }

    /// Decrypts an answer, in units of its integers: `[rows, O]`. `attention` says near what numbers lie.
    pub fn decrypt(
        &self,
        output: &PackedOutput,
        layout: &Layout,
        scales: &WireScales,
        attention: &PackedClient,
    ) -> Matrix<f64> {
        let phases: Vec<_> = output.ciphertexts.iter().map(|ciphertext| self.keys.phase(ciphertext)).collect();
        Matrix::from_fn(layout.span().rows().len(), layout.sizes().output, |row, channel| {
            let (answer, position, negated) = layout.answer_position(row, channel);
            let turns = torus::to_f64(phases[answer][position]);
            let number = if negated { -turns } else { turns } / scales.output_turns;
            unwrap(number, attention.output_centers()[channel], 1.0 / scales.output_turns)
        })
    }
}

/// How a request is encoded.
fn context(layout: &Layout, scales: &WireScales) -> Fingerprint {
    let (Sizes { embedding, head, output, heads }, rows) = (layout.sizes(), layout.span().rows());
    let sizes = [embedding, head, output, heads, rows.start, rows.end, layout.size()].map(|size| size as u64);
    let fields = Fields::new("integers of the packed circuit").integers(sizes.into_iter());
    let WireScales { log_input, output_turns } = *scales;
    fields.integer(log_input.into()).real(output_turns).fingerprint()
}

/// Of all numbers that differ from `number` by multiples of `period`, the one nearest to `center`.
pub(super) fn unwrap(number: f64, center: f64, period: f64) -> f64 {
    number + ((center - number) / period).round_ties_even() * period
}
