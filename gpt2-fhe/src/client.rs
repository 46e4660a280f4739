//! The client: it has the secret keys, encrypts inputs and decrypts answers, of any circuit.

use nn::matrix::Matrix;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::{MissingEdge, Node, Parameters};
use tfhe_core::keys::{Answer, ClientKeys, Identity, Label, Mismatch, Needs, Request, SeededEvaluationKeys};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::params::Gadget;
use tfhe_core::simd::BackendError;
use tfhe_core::torus;
use zeroize::Zeroizing;

use crate::block::ciphertexts::EncryptedNumber;
use crate::block::keys::PRODUCT;
use crate::boundary::{EncryptError, Refused};
use crate::encoding::Encoding;

/// What decrypts single numbers of blocks, on their way from one operation to the next ([`crate::block::watched`]). No answer has them: a
/// program's results are what a server sends.
#[derive(Debug)]
pub struct BlockNumbers<'a> {
    keys: &'a ClientKeys,
    /// Of integers that multiply.
    gadget: Gadget,
}

impl BlockNumbers<'_> {
    /// A number in turns, −1/2 to 1/2; or the integer that multiplies.
    pub fn number(&self, number: &EncryptedNumber) -> f64 {
        match number {
            EncryptedNumber::Sum(sum) => {
                let samples = sum.samples(self.keys.parameters().lookup().lwe_dimension());
                torus::to_f64(phase(self.keys, samples.arithmetic.as_ref(), samples.lookup.as_ref()))
            }
            // The last level leaves noise too little room, the one before has all of an integer's bits.
            EncryptedNumber::Levels(levels) => {
                let level = (levels.len().saturating_sub(1)).max(1);
                torus::decode(phase(self.keys, None, levels.get(level - 1)), self.gadget.base_log() * level as u32)
                    as f64
            }
        }
    }
}

/// The phase of a sum of samples under the arithmetic ring's key and under the lookup ring's, either of which may be absent.
fn phase(keys: &ClientKeys, arithmetic: Option<&LweCiphertext>, lookup: Option<&LweCiphertext>) -> u64 {
    let of = |node, sample: Option<&LweCiphertext>| sample.map_or(0, |sample| keys.phase_of_sample(node, sample));
    of(Node::Arithmetic, arithmetic).wrapping_add(of(Node::Lookup, lookup))
}

/// The version of requests.
const VERSION: u64 = 1;

/// One client.
#[derive(Debug)]
pub struct Client {
    keys: ClientKeys,
}

impl Client {
    /// Derives the secret keys from `seed`: the same seed gives the same keys, for this circuit ([`Encoding::CIRCUIT`]) and these
    /// parameters alone. Each request has randomness of its own, as the seed says
    /// ([`RequestRandomness`](tfhe_core::derivation::RequestRandomness)).
    ///
    /// # Errors
    /// If the environment asks for a backend that cannot be used.
    pub fn new(circuit: &str, parameters: &Parameters, seed: &ClientSeed) -> Result<Self, BackendError> {
        Ok(Self { keys: ClientKeys::generate(parameters, &Self::bound(circuit, seed))? })
    }

    /// What the keys of a client of a circuit are made from.
    pub fn bound(circuit: &str, seed: &ClientSeed) -> ClientSeed {
        seed.bound_to(circuit, VERSION)
    }

    /// The name of its keys.
    pub fn identity(&self) -> &Identity {
        self.keys.identity()
    }

    /// The evaluation keys that a server needs.
    ///
    /// # Errors
    /// If the parameter set does not have them: it is not one of the circuit.
    pub fn evaluation_keys(&self, needs: &Needs) -> Result<SeededEvaluationKeys, MissingEdge> {
        self.keys.evaluation_keys(needs)
    }

    /// What decrypts single numbers of blocks.
    ///
    /// # Errors
    /// If the parameter set is not one of blocks.
    pub fn block_numbers(&self) -> Result<BlockNumbers<'_>, MissingEdge> {
        Ok(BlockNumbers { keys: &self.keys, gadget: self.keys.parameters().gadget(PRODUCT)? })
    }

    /// The phase of a single number of a head on its way from one operation to the next, a sum of samples under the arithmetic ring's key and
    /// under the lookup ring's, either of which may be absent. No answer has them: it is for whoever has both sides, and studies them.
    pub fn phase(&self, arithmetic: Option<&LweCiphertext>, lookup: Option<&LweCiphertext>) -> u64 {
        phase(&self.keys, arithmetic, lookup)
    }

    /// Encrypts integers `[T, E]`.
    ///
    /// # Errors
    /// If the input has not the encoding's size, or the encoding does not fit the torus and the keys' rings; if the operating system has
    /// no randomness to give.
    pub fn encrypt<E: Encoding>(&self, input: &Matrix<i32>, encoding: &E) -> Result<Request, EncryptError> {
        Refused::check_size((input.rows(), input.cols()), encoding.input_size())?;
        encoding.check(self.keys.parameters())?;
        let (n, shift) = (self.keys.parameters().arithmetic().size().get(), 64 - encoding.input_log());
        let mut plaintexts = vec![Zeroizing::new(vec![0; n]); encoding.request_len()];
        for token in 0..input.rows() {
            for (column, &x) in input.row(token).iter().enumerate() {
                let (ciphertext, coefficient) = encoding.input_place(token, column);
                plaintexts[ciphertext][coefficient] = (x as u64) << shift;
            }
        }
        Ok(self.keys.encrypt(&plaintexts, &encoding.context(), encoding.request_bits())?)
    }

    /// Decrypts the answer to the request of which `request` is the label, in units of the output's integers: `[rows, O]`. Of the packed
    /// circuit they are known modulo one turn; [`PackedClient::nearest`](nn::packed::PackedClient::nearest) says which are meant.
    ///
    /// # Errors
    /// If it is not an answer to that request, or not one of the encoding; if the encoding is not that of the request, or not for the
    /// keys' rings.
    pub fn decrypt<E: Encoding>(&self, answer: &Answer, encoding: &E, request: &Label) -> Result<Matrix<f64>, Refused> {
        encoding.check(self.keys.parameters())?;
        if *request.context() != encoding.context() {
            return Err(Mismatch::Context("request").into());
        }
        let phases = self.keys.decrypt(answer, request, encoding.answer_len())?;
        let (rows, columns) = encoding.output_size();
        Ok(Matrix::from_fn(rows, columns, |row, column| {
            let (ciphertext, coefficient, negated) = encoding.output_place(row, column);
            let number = encoding.number(phases[ciphertext][coefficient]);
            if negated { -number } else { number }
        }))
    }
}
