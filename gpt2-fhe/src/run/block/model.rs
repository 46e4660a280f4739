//! Both halves of blocks: a client that knows the program as well, as who studies it does.

use nn::block::{BlocksClient, ModelProgram};
use nn::record::AttentionFingerprint;

use crate::block::circuit::BlockCircuit;
use crate::block::layout::HeadBeyondRing;

/// What a server evaluates, and what its client needs.
#[derive(Clone, Debug)]
pub struct BlockModel {
    circuit: BlockCircuit,
    client: BlocksClient,
}

impl BlockModel {
    /// Of blocks that were calibrated here, or read from a file.
    ///
    /// # Errors
    /// If a head of theirs does not fit a ciphertext.
    pub fn new(program: ModelProgram) -> Result<Self, HeadBeyondRing> {
        let fingerprint = AttentionFingerprint::of_blocks(&program);
        let (program, client) = program.into_halves();
        Ok(Self { circuit: BlockCircuit::new(program, &fingerprint)?, client })
    }

    /// The server's half.
    pub fn circuit(&self) -> &BlockCircuit {
        &self.circuit
    }

    /// The client's half.
    pub fn client(&self) -> &BlocksClient {
        &self.client
    }
}
