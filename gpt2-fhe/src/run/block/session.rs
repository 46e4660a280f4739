//! The client of whole blocks, and its server.

use nn::matrix::Matrix;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::Parameters;

use crate::block::circuit::BlockCircuit;
use crate::block::encoding::BlockEncoding;
use crate::block::keys::needs;
use crate::block::server::BlockServer;
use crate::encoding::Encoding;
use crate::run::error::RunError;
use crate::run::keys::KeyPair;
use crate::run::lowering::{RunOutput, timed};
use crate::run::outcome::Seconds;
use crate::run::plan::Bytes;
use crate::track::Observer;

/// The keys of a client and its server, for blocks of any model and any number of texts.
#[derive(Debug)]
pub struct BlockKeyPair(pub(super) KeyPair);

impl BlockKeyPair {
    /// Makes all keys.
    ///
    /// # Errors
    /// [`RunError::Refused`] if the set is not one of the circuit.
    pub fn new(parameters: &Parameters, seed: &ClientSeed) -> Result<Self, RunError> {
        Ok(Self(KeyPair::new(BlockEncoding::CIRCUIT, parameters, &needs(), seed)?))
    }
}

/// One text between a client and its server.
pub struct BlockSession<'a> {
    circuit: &'a BlockCircuit,
    keys: &'a KeyPair,
    server: BlockServer<'a>,
}

impl<'a> BlockSession<'a> {
    /// Before the text's first token. `observer` is told how far each request has come.
    ///
    /// # Errors
    /// [`RunError::Refused`] if the keys are not for these blocks' parameter set.
    pub fn new(
        circuit: &'a BlockCircuit,
        BlockKeyPair(keys): &'a BlockKeyPair,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, RunError> {
        Ok(Self { circuit, keys, server: BlockServer::new(circuit, &keys.evaluation_keys, observer)? })
    }

    /// The blocks.
    pub fn circuit(&self) -> &'a BlockCircuit {
        self.circuit
    }

    /// Encrypts the stream of new tokens, `[n, E + 1]` in turns, has it evaluated, and decrypts the stream after the blocks. Nothing is
    /// computed in the clear.
    ///
    /// # Errors
    /// [`RunError::Randomness`], [`RunError::Refused`], [`RunError::Evaluation`].
    pub fn answer(&mut self, turns: &Matrix<f64>) -> Result<RunOutput, RunError> {
        let (encoding, client) = (self.circuit.encoding(turns.rows()), &self.keys.client);
        let (request, encrypt) = timed(|| Ok(client.encrypt(&encoding.integers(turns)?, &encoding)?))?;
        let ((answer, statistics), evaluate) = timed(|| Ok(self.server.evaluate(&request, &encoding)?))?;
        let (numbers, decrypt) = timed(|| Ok(client.decrypt(&answer, &encoding, request.label())?))?;
        let (keygen, evaluation_key) = (self.keys.seconds, self.keys.evaluation_key_bytes);
        Ok(RunOutput {
            numbers,
            seconds: Seconds { keygen, encrypt, evaluate, decrypt, ..Seconds::of_steps(&statistics) },
            statistics,
            bytes: Bytes { evaluation_key, request: request.bytes(), response: answer.bytes() },
        })
    }
}
