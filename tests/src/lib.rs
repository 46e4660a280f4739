//! What the integration tests share.

pub mod layer;
pub mod packed;
pub mod refresh;

use tfhe_core::derivation::ClientSeed;
use tfhe_core::keys::{ClientKeys, EvaluationKeys};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::noise::Variance;
use tfhe_core::params::ParametersLiteral;
use tfhe_core::programmable_bootstrap::half_slot;
use tfhe_core::random::{MaskStream, NoiseStream, SecretSeed};
use tfhe_core::torus;

/// A client and a server of one parameter set.
pub struct Parties {
    /// Secret keys.
    pub client: ClientKeys,
    /// Evaluation keys.
    pub server: EvaluationKeys,
    masks: MaskStream,
    noises: NoiseStream,
}

impl Parties {
    /// With the bootstrapping keys of the gadgets `bootstraps`, from a fixed seed.
    pub fn new(literal: ParametersLiteral, bootstraps: &[usize], products: bool) -> Self {
        let parameters = literal.compile().expect("named sets are valid");
        let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(2026));
        let server = client.evaluation_keys(bootstraps, products).prepare();
        let (masks, noises) = SecretSeed::from_number(2026).experiment(0).into_streams();
        Self { client, server, masks, noises }
    }

    /// Fresh encryptions, under the extracted GLWE key, of the given torus elements.
    pub fn encrypt(&mut self, plaintexts: impl IntoIterator<Item = u64>) -> Vec<LweCiphertext> {
        let key = self.client.glwe_key().extracted_lwe_key();
        let noise = self.client.parameters().glwe_noise();
        let (masks, noises) = (&mut self.masks, &mut self.noises);
        plaintexts.into_iter().map(|plaintext| key.encrypt(plaintext, noise, masks, noises)).collect()
    }

    /// Fresh encryptions of the indices of tables of 2^p values, in the middle of their slots.
    pub fn encrypt_indices(&mut self, p: u32, indices: impl IntoIterator<Item = u64>) -> Vec<LweCiphertext> {
        self.encrypt(indices.into_iter().map(|m| (m << (63 - p)) + half_slot(p)))
    }

    /// The phases of ciphertexts under the extracted GLWE key.
    pub fn phases(&self, ciphertexts: &[LweCiphertext]) -> Vec<u64> {
        let key = self.client.glwe_key().extracted_lwe_key();
        ciphertexts.iter().map(|ciphertext| key.phase(ciphertext)).collect()
    }
}

/// Differences of torus elements, as real numbers in [−1/2, 1/2).
pub fn errors(phases: &[u64], expected: impl IntoIterator<Item = u64>) -> Vec<f64> {
    phases.iter().zip(expected).map(|(&phase, x)| torus::to_f64(phase.wrapping_sub(x))).collect()
}

/// Asserts, from both sides, that the mean square of the errors is the predicted variance: within `tolerance`, relative.
///
/// The mean square of S independent Gaussian errors has a relative standard error of sqrt(2/S); the tests use about four of
/// those.
pub fn assert_variance(what: &str, errors: &[f64], predicted: Variance, tolerance: f64) {
    let measured = Variance::measured(errors);
    println!("| {what} | {:.2} | {:.2} | {} |", predicted.log2_std(), measured.log2_std(), errors.len());
    let ratio = measured.get() / predicted.get();
    assert!((ratio - 1.0).abs() <= tolerance, "{what}: measured/predicted variance {ratio:.3}, tolerance {tolerance}");
}
