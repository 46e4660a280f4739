//! The server: it has what is prepared of an attention, the client's evaluation keys, and ciphertexts, of any circuit.
//!
//! Nothing here, nor in what it uses of [`crate::integer`] and [`crate::packed`], can name a secret key; a test holds that against the
//! sources.

use nn::watched::Watcher;
use tfhe_core::glwe::{GlweCiphertext, SeededGlweCiphertext};
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::{Answer, EvaluationKeys, Request};

use crate::boundary::Refused;
use crate::encoding::Encoding;
use crate::track::statistics::Statistics;
use crate::track::{EvaluationError, Observer};

/// A part of a layer's attention, ready to be evaluated: what is a circuit's own of a [`Server`].
pub trait Prepared {
    /// How its requests and answers are encoded.
    type Encoding: Encoding;
    /// The evaluation keys that it takes.
    type Keys<'a>;
    /// A number on its way, as whoever watches a computation sees it: ciphertexts.
    type Shown: Send;
    /// What is looked up.
    type Table: Sync;

    /// Takes the keys of one party.
    ///
    /// # Errors
    /// If their set is not one of the circuit, or another than this is prepared for or fits, or one is missing.
    fn keys<'a>(&self, keys: &'a EvaluationKeys) -> Result<Self::Keys<'a>, Refused>;

    /// Checks that the encoding is one of this attention.
    ///
    /// # Errors
    /// What is another attention's.
    fn check(&self, encoding: &Self::Encoding, parameters: &Parameters) -> Result<(), Refused>;

    /// The ciphertexts of the answer to those of a request that was opened for these keys and this encoding.
    ///
    /// # Errors
    /// [`EvaluationError::Cancelled`] if the observer stops the computation.
    fn evaluate(
        &self,
        keys: &Self::Keys<'_>,
        encoding: &Self::Encoding,
        input: &[SeededGlweCiphertext],
        observer: &mut dyn Observer,
    ) -> Result<(Vec<GlweCiphertext>, Statistics), EvaluationError> {
        self.evaluate_watched(keys, encoding, input, observer, None)
    }

    /// The same. A watcher, if there is one, sees the ciphertexts that each operation gives.
    ///
    /// # Errors
    /// [`EvaluationError::Cancelled`] if the observer or the watcher stops the computation.
    fn evaluate_watched(
        &self,
        keys: &Self::Keys<'_>,
        encoding: &Self::Encoding,
        input: &[SeededGlweCiphertext],
        observer: &mut dyn Observer,
        watcher: Option<&mut WatcherOf<'_, Self>>,
    ) -> Result<(Vec<GlweCiphertext>, Statistics), EvaluationError>;
}

/// Who watches the computation of what is prepared.
pub type WatcherOf<'a, P> = dyn Watcher<<P as Prepared>::Shown, <P as Prepared>::Table> + 'a;

/// Evaluates a part of a layer's attention with the keys of one party.
#[derive(Clone, Debug)]
pub struct Server<'a, P: Prepared> {
    prepared: &'a P,
    keys: &'a EvaluationKeys,
    taken: P::Keys<'a>,
}

impl<'a, P: Prepared> Server<'a, P> {
    /// With what is prepared of an attention, and evaluation keys.
    ///
    /// # Errors
    /// If the keys' set is not one of the circuit, or another than the attention is prepared for or fits, or keys are missing.
    pub fn new(prepared: &'a P, keys: &'a EvaluationKeys) -> Result<Self, Refused> {
        Ok(Self { prepared, keys, taken: prepared.keys(keys)? })
    }

    /// Evaluates the attention on an encrypted input.
    ///
    /// # Errors
    /// [`EvaluationError::Refused`] if the encoding is not one of the attention and the keys, or the request does not belong to the keys or
    /// is not so encoded; [`EvaluationError::Cancelled`] if the observer stops the computation.
    pub fn evaluate(
        &self,
        request: &Request,
        encoding: &P::Encoding,
        observer: &mut dyn Observer,
    ) -> Result<(Answer, Statistics), EvaluationError> {
        self.evaluate_watched(request, encoding, observer, None)
    }

    /// The same, and a watcher, if there is one, sees the ciphertexts that each operation gives.
    ///
    /// # Errors
    /// As [`Self::evaluate`]; [`EvaluationError::Cancelled`] also if the watcher stops the computation.
    pub fn evaluate_watched(
        &self,
        request: &Request,
        encoding: &P::Encoding,
        observer: &mut dyn Observer,
        watcher: Option<&mut WatcherOf<'_, P>>,
    ) -> Result<(Answer, Statistics), EvaluationError> {
        let parameters = self.keys.parameters();
        encoding.check(parameters)?;
        self.prepared.check(encoding, parameters)?;
        let opened = request.open(self.keys, &encoding.context(), encoding.request_len()).map_err(Refused::from)?;
        let (ciphertexts, statistics) =
            self.prepared.evaluate_watched(&self.taken, encoding, opened, observer, watcher)?;
        Ok((encoding.answer(request.label(), ciphertexts), statistics))
    }
}
