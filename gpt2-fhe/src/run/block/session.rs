//! The client of whole blocks, and its server.

use nn::matrix::Matrix;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fingerprint::Fingerprint;
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::{Answer, Identity, Label};

use super::journal::{Answered, Journal, of_input};
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
use crate::store::Store;
use crate::track::Observer;
use crate::track::statistics::Statistics;

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

    /// Their name.
    pub fn identity(&self) -> &Identity {
        self.0.evaluation_keys.identity()
    }
}

/// One text between a client and its server.
pub struct BlockSession<'a> {
    circuit: &'a BlockCircuit,
    keys: &'a KeyPair,
    server: BlockServer<'a>,
    journal: Option<Journal>,
}

/// From where a text goes on that was kept in folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoingOn {
    /// So many requests were answered.
    pub answered: usize,
    /// Of the next one, so many blocks are done.
    pub blocks: usize,
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
        let server = BlockServer::new(circuit, &keys.evaluation_keys, observer)?;
        Ok(Self { circuit, keys, server, journal: None })
    }

    /// Keeps the text in folders of its own, one for what the client has and one for what the server has, and goes on with what is there:
    /// requests that were answered are not sent again, and the one in work goes on after its last block that was done. Of at most `most` tokens.
    ///
    /// # Errors
    /// [`RunError::Store`] if a folder cannot be used; [`RunError::OtherRun`] if the two do not belong together.
    pub fn keep_in(&mut self, client: Store, server: Store, most: usize) -> Result<GoingOn, RunError> {
        let owner = (*self.keys.evaluation_keys.identity(), *self.circuit.fingerprint());
        let mut journal = Journal::open(client, owner, self.circuit.encoding(1).output_size().1, most)?;
        self.server.keep_in(server, most, None)?;
        let (mut known, answered) = (self.server.requests(), journal.answered.len());
        let is_known = journal.answered.iter().all(|answered| known.next() == Some(&answered.label));
        let in_work = known.next().cloned();
        let is_in_work = |label: &Label| journal.in_work.as_ref().is_some_and(|(_, in_work)| in_work == label);
        let fits = is_known && known.next().is_none() && in_work.as_ref().is_none_or(is_in_work);
        drop(known);
        // What was answered was done.
        let blocks = self.circuit.program().blocks().len();
        let fits = fits && (in_work.is_some() || self.server.blocks_done().is_none_or(|done| done == blocks));
        if !fits {
            return Err(RunError::OtherRun {
                folder: journal.place(),
                why: "what the server kept is of another run, or is gone",
            });
        }
        if in_work.is_none() {
            // The server had not begun: it is sent anew, with other masks.
            journal.in_work = None;
        }
        let blocks = in_work.and_then(|_| self.server.blocks_done()).unwrap_or(0);
        self.journal = Some(journal);
        Ok(GoingOn { answered, blocks })
    }

    /// The blocks.
    pub fn circuit(&self) -> &'a BlockCircuit {
        self.circuit
    }

    /// Encrypts hidden states of new tokens and their variances, `[n, E + 2]` in turns, has the blocks evaluated, and decrypts what they answer.
    /// Nothing is computed in the clear.
    ///
    /// # Errors
    /// [`RunError::Randomness`], [`RunError::Refused`], [`RunError::Evaluation`]; [`RunError::Store`] if it cannot be kept;
    /// [`RunError::OtherRun`] if the request is not what it was when it was kept.
    pub fn answer(&mut self, turns: &Matrix<f64>) -> Result<RunOutput, RunError> {
        let (encoding, client) = (self.circuit.encoding(turns.rows()), &self.keys.client);
        let integers = encoding.integers(turns)?;
        let input = of_input(&integers);
        if let Some(answered) = self.replay(&input)? {
            return Ok(self.output(answered, Statistics::default()));
        }
        let bytes = self.bytes_of_request(&encoding);
        let (label, encrypt, ((answer, statistics), evaluate)) = match self.go_on(&input)? {
            Some((label, evaluated)) => (label, 0.0, evaluated),
            None => {
                let (request, encrypt) = timed(|| Ok(client.encrypt(&integers, &encoding)?))?;
                if let Some(journal) = &mut self.journal {
                    journal.begin(input, request.label())?;
                }
                let evaluated = timed(|| Ok(self.server.evaluate(&request, &encoding)?))?;
                (request.label().clone(), encrypt, evaluated)
            }
        };
        let (numbers, decrypt) = timed(|| Ok(client.decrypt(&answer, &encoding, &label)?))?;
        let seconds = [encrypt, evaluate, decrypt];
        let answered = Answered { input, label, numbers, seconds, bytes: [bytes, answer.bytes()] };
        if let Some(journal) = &mut self.journal {
            journal.finish(answered.clone())?;
        }
        Ok(self.output(answered, statistics))
    }

    /// The next answer, if it was given before the text was interrupted.
    fn replay(&mut self, input: &Fingerprint) -> Result<Option<Answered>, RunError> {
        let Some(journal) = &mut self.journal else { return Ok(None) };
        match journal.next() {
            Some(answered) if answered.input != *input => Err(other_request(journal)),
            answered => Ok(answered),
        }
    }

    /// The label, the answer and the time of a request that was in work when the text was interrupted.
    #[expect(clippy::type_complexity, reason = "what an evaluation gives, with its label and time")]
    fn go_on(&mut self, input: &Fingerprint) -> Result<Option<(Label, ((Answer, Statistics), f64))>, RunError> {
        let Some(journal) = &mut self.journal else { return Ok(None) };
        let Some((of, label)) = journal.in_work.take() else { return Ok(None) };
        if of != *input {
            return Err(other_request(journal));
        }
        let (evaluated, seconds) = timed(|| Ok(self.server.go_on().transpose()?))?;
        Ok(evaluated.map(|evaluated| (label, (evaluated, seconds))))
    }

    fn bytes_of_request(&self, encoding: &BlockEncoding) -> usize {
        let ring = self.circuit.parameters().arithmetic().shape;
        encoding.request_bytes(ring)
    }

    fn output(&self, answered: Answered, statistics: Statistics) -> RunOutput {
        let Answered { numbers, seconds: [encrypt, evaluate, decrypt], bytes: [request, response], .. } = answered;
        let (keygen, evaluation_key) = (self.keys.seconds, self.keys.evaluation_key_bytes);
        RunOutput {
            numbers,
            seconds: Seconds { keygen, encrypt, evaluate, decrypt, ..Seconds::of_steps(&statistics) },
            statistics,
            bytes: Bytes { evaluation_key, request, response },
        }
    }
}

/// That a request is not what it was.
fn other_request(journal: &Journal) -> RunError {
    RunError::OtherRun {
        folder: journal.place(),
        why: "the numbers to be encrypted are not those of that run: the f32 part of the model was computed on another kind of processor, or it \
              is another model",
    }
}
