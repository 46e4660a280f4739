//! The client of blocks that another program evaluates: it has the client's half of the program, and its secret, and nothing else.

use nn::block::{BlockPart, BlocksClient, Ending};
use nn::matrix::Matrix;
use nn::record::AttentionFingerprint;
use tfhe_core::fingerprint::Fingerprint;
use tfhe_core::keys::Answer;

use super::hooks::BlockSource;
use crate::block::agreement::{BlockAgreement, BlockRequest, BlockSizes};
use crate::client::Client;
use crate::run::error::{RunError, check_finite};
use crate::run::lowering::timed;

/// One client, and what it knows of the blocks.
#[derive(Debug)]
pub struct BlockParty {
    agreement: BlockAgreement,
    half: BlocksClient,
    fingerprint: Fingerprint,
    client: Client,
}

impl BlockParty {
    /// With the client's half of the program of that fingerprint.
    ///
    /// # Errors
    /// [`RunError`] if its heads do not fit a ciphertext.
    pub fn new(half: BlocksClient, program: AttentionFingerprint, client: Client) -> Result<Self, RunError> {
        let agreement = BlockAgreement::new(BlockSizes::of(&half))?;
        let fingerprint = agreement.fingerprint(&program);
        Ok(Self { agreement, half, fingerprint, client })
    }

    /// What it knows of the blocks.
    pub fn half(&self) -> &BlocksClient {
        &self.half
    }

    /// What client and server agree on.
    pub fn agreement(&self) -> &BlockAgreement {
        &self.agreement
    }

    /// What requests and answers belong to.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Encrypts the hidden states `[n, E]` of new tokens before the first of the blocks, after `earlier` tokens that are not public.
    ///
    /// # Errors
    /// [`RunError::Input`], [`RunError::Refused`] if they do not fit; [`RunError::Randomness`].
    pub fn request(&self, hidden: &Matrix<f32>, earlier: usize) -> Result<BlockRequest, RunError> {
        let tokens = hidden.rows();
        let integers = self.agreement.encoding(tokens).integers(&self.half.encode(hidden)?)?;
        self.agreement.check_place(earlier, tokens)?;
        let request = self.client.encrypt(&integers, &self.agreement.encoding(tokens))?;
        Ok(BlockRequest { earlier, tokens, request })
    }

    /// Decrypts the answer to a request: hidden states after the blocks, `[n, E]` or `[1, E]`, or logits `[1, V]`.
    ///
    /// # Errors
    /// [`RunError::Refused`] if it is not the answer to this request; [`RunError::NotFinite`].
    pub fn output(&self, answer: &Answer, request: &BlockRequest) -> Result<Matrix<f32>, RunError> {
        let encoding = self.agreement.encoding(request.tokens);
        let output = self.half.decode(&self.client.decrypt(answer, &encoding, request.request.label())?)?;
        check_finite(&output)?;
        Ok(output)
    }
}

/// Who evaluates the requests of one text, one after the other.
pub trait RemoteServer {
    /// The answer to a request, and the bytes of both as they travelled.
    ///
    /// # Errors
    /// [`RunError::Remote`]: what the server says, or that it cannot be reached.
    fn answer(&mut self, request: &BlockRequest) -> Result<(Answer, [usize; 2]), RunError>;
}

/// What one request took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RemoteCost {
    /// Seconds of the client: encryption and decryption.
    pub client: f64,
    /// Seconds until the answer was there.
    pub server: f64,
    /// Bytes of the request and of the answer.
    pub bytes: [usize; 2],
}

/// One text, of which another program evaluates blocks.
pub struct RemoteText<'a> {
    party: &'a BlockParty,
    server: &'a mut dyn RemoteServer,
    earlier: usize,
}

impl<'a> RemoteText<'a> {
    /// Before the text's first token that is not public.
    pub fn new(party: &'a BlockParty, server: &'a mut dyn RemoteServer) -> Self {
        Self { party, server, earlier: 0 }
    }
}

impl BlockSource for RemoteText<'_> {
    type Outcome = RemoteCost;

    fn place(&self) -> (std::ops::Range<usize>, BlockPart) {
        (self.party.half.layers(), self.party.half.part())
    }

    fn ending(&self) -> Ending {
        self.party.half.end().ending()
    }

    /// Nobody here knows whether numbers leave their ranges.
    fn answer(&mut self, before: &Matrix<f32>, _: bool) -> Result<(Matrix<f32>, RemoteCost), RunError> {
        let (request, encrypt) = timed(|| self.party.request(before, self.earlier))?;
        let ((answer, bytes), server) = timed(|| self.server.answer(&request))?;
        let (output, decrypt) = timed(|| self.party.output(&answer, &request))?;
        self.earlier += request.tokens;
        Ok((output, RemoteCost { client: encrypt + decrypt, server, bytes }))
    }
}

#[cfg(test)]
mod tests;
