//! What is known of a run, in either circuit, before anything is encrypted.

use serde::Serialize;
use tfhe_core::glwe::SeededGlweCiphertext;
use tfhe_core::key_graph::{MissingEdge, Parameters};
use tfhe_core::keys::{Needs, SeededEvaluationKeys};
use tfhe_core::security;

use crate::encoding::Encoding;
use crate::track::statistics::Statistics;

/// What is known of a run before anything is encrypted.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// The parameter set.
    pub parameters: Parameters,
    /// Operations, noise and failure probabilities by step; no times.
    pub statistics: Statistics,
    /// log2 of a failure probability: see [`crate::run::FAILURE_MEANING`].
    pub log2_failure_probability: f64,
    /// What will be sent.
    pub bytes: Bytes,
}

impl Forecast {
    /// The security level of the parameter set, in bits.
    pub fn security_bits(&self) -> Option<f64> {
        security::parameters_level(&self.parameters).map(|level| level.bits)
    }

    /// n, the number of external products of a bootstrapping.
    pub fn small_dimension(&self) -> usize {
        self.parameters.small().lwe_dimension().get()
    }

    /// External products, in bootstrappings and outside of them.
    pub fn external_products(&self) -> usize {
        self.statistics.pbs() * self.small_dimension() + self.statistics.external_products()
    }
}

/// Bytes on the wire.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Bytes {
    /// Evaluation keys as sent (seeded).
    pub evaluation_key: usize,
    /// The encrypted input.
    pub request: usize,
    /// The encrypted output.
    pub response: usize,
}

impl Bytes {
    /// Those of seeded keys, seeded ciphertexts of a request, and ciphertexts of its answer.
    pub(super) fn of(parameters: &Parameters, needs: &Needs, encoding: &impl Encoding) -> Result<Self, MissingEdge> {
        let shape = parameters.arithmetic().shape;
        Ok(Self {
            evaluation_key: SeededEvaluationKeys::predicted_bytes(parameters, needs)?,
            request: encoding.request_len() * SeededGlweCiphertext::bytes_of_shape(shape),
            response: encoding.answer_len() * shape.ciphertext_len() * size_of::<u64>(),
        })
    }
}
