//! The keys of a client and of its server.

use std::time::Instant;

use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::{EvaluationKeys, Needs};

use super::error::RunError;
use crate::boundary::Refused;
use crate::client::Client;

/// The client with its secrets, and the evaluation keys that it gave the server.
#[derive(Debug)]
pub(super) struct KeyPair {
    pub(super) client: Client,
    pub(super) evaluation_keys: EvaluationKeys,
    /// As sent (seeded).
    pub(super) evaluation_key_bytes: usize,
    /// What making and preparing them took.
    pub(super) seconds: f64,
}

impl KeyPair {
    /// Makes all keys of a circuit.
    ///
    /// # Errors
    /// [`RunError::Refused`] if the set is not one of the circuit.
    pub(super) fn new(
        circuit: &str,
        parameters: &Parameters,
        needs: &Needs,
        seed: &ClientSeed,
    ) -> Result<Self, RunError> {
        let start = Instant::now();
        let client = Client::new(circuit, parameters, seed).map_err(Refused::from)?;
        let seeded = client.evaluation_keys(needs)?;
        let evaluation_key_bytes = seeded.bytes();
        let evaluation_keys = seeded.prepare().map_err(Refused::from)?;
        Ok(Self { client, evaluation_keys, evaluation_key_bytes, seconds: start.elapsed().as_secs_f64() })
    }
}
