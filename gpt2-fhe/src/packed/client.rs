//! The client of the packed attention: it has the secret keys and the scales.

use nn::matrix::Matrix;
use nn::packed::PackedClient;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::{MissingEdge, Parameters};
use tfhe_core::keys::{ClientKeys, Label, SeededEvaluationKeys};
use tfhe_core::simd::BackendError;
use tfhe_core::torus;
use zeroize::Zeroizing;

use super::keys;
use super::layout::Layout;
use super::wire::{PackedInput, PackedOutput, WireScales, context};
use crate::boundary::{EncryptError, Refused};

/// The version of this circuit's requests.
const VERSION: u64 = 1;

/// One client.
#[derive(Debug)]
pub struct PackedHeadClient {
    keys: ClientKeys,
}

impl PackedHeadClient {
    /// Derives the secret keys from `seed`: the same seed gives the same keys, for this circuit and these parameters alone.
    /// Each request has randomness of its own, as the seed says
    /// ([`RequestRandomness`](tfhe_core::derivation::RequestRandomness)).
    ///
    /// # Errors
    /// If the environment asks for a backend that cannot be used.
    pub fn new(parameters: &Parameters, seed: &ClientSeed) -> Result<Self, BackendError> {
        Ok(Self { keys: ClientKeys::generate(parameters, &Self::bound(seed))? })
    }

    /// What the keys of a client of this circuit are made from.
    pub fn bound(seed: &ClientSeed) -> ClientSeed {
        seed.bound_to("packed circuit", VERSION)
    }

    /// The evaluation keys that heads of a layout's size need.
    ///
    /// # Errors
    /// If the set is not one of this circuit.
    pub fn evaluation_keys(&self, layout: &Layout) -> Result<SeededEvaluationKeys, MissingEdge> {
        self.keys.evaluation_keys(&keys::needs(layout))
    }

    /// Encrypts integers `[T, E]`.
    ///
    /// # Errors
    /// If the input does not fit the layout, or the layout the keys' rings; if the operating system has no randomness to give.
    pub fn encrypt(
        &self,
        input: &Matrix<i32>,
        layout: &Layout,
        scales: &WireScales,
    ) -> Result<PackedInput, EncryptError> {
        let expected = (layout.tokens(), layout.sizes().embedding);
        Refused::check_size("input", (input.rows(), input.cols()), expected)?;
        Refused::check_scale(scales.log_input)?;
        self.check_rings(layout)?;
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
        Ok(PackedInput { request: self.keys.encrypt(&plaintexts, &context(layout, scales))? })
    }

    fn check_rings(&self, layout: &Layout) -> Result<(), Refused> {
        let parameters = self.keys.parameters();
        if layout.is_in(parameters) { Ok(()) } else { Err(Refused::OtherRings(parameters.name())) }
    }

    /// Decrypts the answer to the request of which `request` is the label, in units of its integers: `[rows, O]`. `attention` says
    /// near what numbers lie.
    ///
    /// # Errors
    /// If it is not an answer to that request, or not one of the layout, or the layout is for another attention.
    pub fn decrypt(
        &self,
        output: &PackedOutput,
        layout: &Layout,
        scales: &WireScales,
        attention: &PackedClient,
        request: &Label,
    ) -> Result<Matrix<f64>, Refused> {
        self.check_rings(layout)?;
        if attention.output_centers().len() != layout.sizes().output {
            return Err(Refused::Layout);
        }
        let phases = self.keys.decrypt(&output.answer, request, layout.answers())?;
        Ok(Matrix::from_fn(layout.span().rows().len(), layout.sizes().output, |row, channel| {
            let (answer, position, negated) = layout.answer_position(row, channel);
            let turns = torus::to_f64(phases[answer][position]);
            let number = if negated { -turns } else { turns } / scales.output_turns;
            unwrap_turns(number, attention.output_centers()[channel], 1.0 / scales.output_turns)
        }))
    }
}

/// Of all numbers that differ from `number` by multiples of `period`, the one nearest to `center`.
pub(super) fn unwrap_turns(number: f64, center: f64, period: f64) -> f64 {
    number + ((center - number) / period).round_ties_even() * period
}
