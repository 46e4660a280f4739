//! What is known of a run, in either circuit, before anything is encrypted.

use serde::Serialize;

use crate::engine::statistics::Statistics;

/// What is known of a run before anything is encrypted.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// Operations, noise and failure probabilities by step; no times.
    pub statistics: Statistics,
    /// log2 of a failure probability: see [`crate::run::FAILURE_MEANING`].
    pub log2_failure_probability: f64,
    /// What will be sent.
    pub bytes: Bytes,
    /// The security level of the parameter set, in bits.
    pub security_bits: Option<f64>,
    /// n, the number of external products of a bootstrapping.
    pub small_dimension: usize,
}

impl Forecast {
    /// External products, in bootstrappings and outside of them.
    pub fn external_products(&self) -> usize {
        self.statistics.pbs() * self.small_dimension + self.statistics.external_products()
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
