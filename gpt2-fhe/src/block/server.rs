//! The server of blocks: evaluation keys, ciphertexts, and what is kept of earlier tokens.

use std::sync::Arc;
use std::time::Instant;

use nn::block::BlockCache;
use nn::evaluator::Form;
use tfhe_core::glwe::SeededGlweCiphertext;
use tfhe_core::keys::{Answer, EvaluationKeys, Label, Request};

use super::ciphertexts::{BlockCiphertexts, EncryptedMultipliers, EncryptedNumber, EncryptedReals, EncryptedSum};
use super::circuit::{BlockCircuit, Running};
use super::encoding::BlockEncoding;
use super::evaluator::StreamEvaluator;
use super::keys::{BlockKeys, Rotators};
use super::state::{HeadRows, KeptState, KeptStream};
use super::tensor::{Held, StreamNumber, StreamTensor};
use crate::boundary::Refused;
use crate::encoding::Encoding;
use crate::store::{Store, StoreError};
use crate::track::statistics::Statistics;
use crate::track::{EvaluationError, Observer};

/// More new tokens than any model has positions.
const MAX_TOKENS: usize = 1 << 24;

type Backend<'a> = BlockCiphertexts<'a>;

/// Evaluates blocks on one text, request after request, with the keys of one party.
pub struct BlockServer<'a> {
    circuit: &'a BlockCircuit,
    keys: &'a EvaluationKeys,
    backend: Backend<'a>,
    running: Running<StreamEvaluator<'a, Backend<'a>>>,
    /// Where it keeps what it has, if it does.
    kept: Option<KeptState>,
    /// The last request, where it was found in a folder.
    found: Option<KeptStream>,
}

impl<'a> BlockServer<'a> {
    /// Before the text's first token.
    ///
    /// # Errors
    /// If the keys' set is not that of the circuit, or a key is missing.
    pub fn new(
        circuit: &'a BlockCircuit,
        keys: &'a EvaluationKeys,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, Refused> {
        Self::with_rotators(circuit, (keys, None), observer)
    }

    /// The same where others do the blind rotations of lookups, if there are others.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_rotators(
        circuit: &'a BlockCircuit,
        (keys, rotators): (&'a EvaluationKeys, Option<Rotators<'a>>),
        observer: &'a mut dyn Observer,
    ) -> Result<Self, Refused> {
        if circuit.parameters().fingerprint() != keys.identity().set {
            return Err(Refused::Prepared(keys.parameters().name()));
        }
        let own = BlockKeys::new(keys)?;
        let block_keys = rotators.map_or(own, |rotators| own.with_rotators(rotators));
        let prediction = circuit.prediction();
        let backend = BlockCiphertexts { keys: block_keys, layout: prediction.layout() };
        let running = Running::new(circuit, StreamEvaluator::new(backend, prediction, observer));
        Ok(Self { circuit, keys, backend, running, kept: None, found: None })
    }

    /// Keeps what it has in a folder, from now on after each block. A text that is there already goes on, one of these blocks and keys and
    /// of at most `most` tokens; its noise is not predicted any more ([`Statistics`] have no failure), as its errors are not kept. `next`: the
    /// request that comes next, if that is known; a last one that is another and was not finished is dropped, and what it left is written over.
    ///
    /// # Errors
    /// [`StoreError::Read`] if what is there is damaged or of something else.
    pub fn keep_in(&mut self, store: Store, most: usize, next: Option<&Label>) -> Result<(), StoreError> {
        let blocks = self.circuit.program().blocks().len();
        let (mut state, mut found) = KeptState::open(store, self.circuit, (*self.keys.identity(), most))?;
        let is_other = next.is_some_and(|next| state.requests.last().is_some_and(|last| last.label != *next));
        if is_other && found.as_ref().is_some_and(|found| found.done < blocks) {
            state.requests.pop();
            found = None;
        }
        self.load(&state, found.as_ref().map_or(blocks, |found| found.done))?;
        (self.kept, self.found) = (Some(state), found);
        Ok(())
    }

    /// The labels of all requests that it knows of, the last one last: of what it keeps in a folder.
    pub fn requests(&self) -> impl Iterator<Item = &Label> {
        self.kept.iter().flat_map(|kept| &kept.requests).map(|request| &request.label)
    }

    /// How many tokens of all these requests it knows of.
    pub fn tokens(&self) -> usize {
        self.kept.iter().flat_map(|kept| &kept.requests).map(|request| request.tokens).sum()
    }

    /// How many blocks of the last request are done that was found in a folder and not answered since.
    pub fn blocks_done(&self) -> Option<usize> {
        self.found.as_ref().map(|found| found.done)
    }

    /// The answer to a request of new tokens, which is the stream after the blocks or logits, and what was done. It keeps of them what those
    /// that follow need; after an error, a text has to be begun anew, or be gone on with from a folder.
    ///
    /// # Errors
    /// [`EvaluationError::Refused`] if the encoding is not one of these blocks, or the request does not belong to the keys or is not so
    /// encoded; [`EvaluationError::Cancelled`] if the observer stops the computation; [`EvaluationError::Unkept`].
    pub fn evaluate(
        &mut self,
        request: &Request,
        encoding: &BlockEncoding,
    ) -> Result<(Answer, Statistics), EvaluationError> {
        let start = Instant::now();
        let stream = opened(self.circuit, self.keys, request, encoding)?;
        self.running.note_expansion(encoding, start.elapsed().as_secs_f64());
        self.found = None;
        if let Some(kept) = &mut self.kept {
            kept.begin(request.label(), encoding.tokens);
        }
        self.advance(request.label(), (0, stream), encoding)
    }

    /// The answer to the last request that was found in a folder: it goes on after the last of its blocks that is done. `None` if there was
    /// none, or it was answered since.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn go_on(&mut self) -> Option<Result<(Answer, Statistics), EvaluationError>> {
        let (found, last) = (self.found.take()?, self.kept.as_ref()?.requests.last()?.clone());
        let rows: Vec<Vec<_>> = found.rows.into_iter().map(|row| row.into_iter().map(Arc::new).collect()).collect();
        let shape = [rows.len(), self.circuit.channels()];
        let content = EncryptedReals::of_rows(Form::Features, shape[1], rows);
        let stream = Held::untold(content, Form::Features, shape);
        Some(self.advance(&last.label, (found.done, stream), &self.circuit.encoding(last.tokens)))
    }

    /// The answer to a request, from the stream after its first blocks, and the number of these.
    fn advance(
        &mut self,
        label: &Label,
        (done, stream): (usize, StreamTensor<Backend<'a>>),
        encoding: &BlockEncoding,
    ) -> Result<(Answer, Statistics), EvaluationError> {
        let Self { circuit, backend, running, kept, .. } = self;
        let after = |done: usize, stream: &_, cache: &mut _| {
            let rows = grown(backend, cache, encoding.tokens);
            let Some(kept) = kept.as_ref() else { return Ok(()) };
            let Held::Reals(stream) = stream else { return Ok(()) };
            kept.save(done, &rows, &stream.content, backend).map_err(|error| EvaluationError::Unkept(error.to_string()))
        };
        let answer = running.advance_from(circuit, done, stream, after)?.into_reals().into_answer(&encoding.layout);
        Ok((encoding.answer(label, answer), running.take_statistics()))
    }

    /// Puts what is in a folder into the caches, where of the last request `done` blocks are done.
    fn load(&mut self, state: &KeptState, done: usize) -> Result<(), StoreError> {
        if state.requests.is_empty() {
            return Ok(());
        }
        let (backend, running) = (self.backend, &mut self.running);
        running.restart_untracked(self.circuit);
        for block in (0..self.circuit.program().blocks().len()).filter(|&block| state.has_cache(block)) {
            let requests = state.requests.len() - usize::from(block >= done);
            for request in 0..requests {
                let heads = state.cache(request, block, &backend)?;
                let (evaluator, Some(cache)) = running.cached(block) else { continue };
                let (mut tensors, mut log_factors) = (Vec::new(), Vec::new());
                for HeadRows { keys, values, log_factors: logarithms } in heads {
                    let (rows, channels) = (keys.len(), self.circuit.channels());
                    let mut keys = backend.keys_of_levels(keys);
                    keys.take_levels();
                    let values = EncryptedReals::of_rows(Form::Image, channels, values);
                    let keys = Held::untold_multipliers(keys, rows);
                    tensors.push([keys, Held::untold(values, Form::Image, [rows, channels])]);
                    let number =
                        |logarithm| StreamNumber::untold(EncryptedNumber::Sum(EncryptedSum::result(logarithm)));
                    log_factors.push(logarithms.into_iter().map(number).collect());
                }
                cache.append(evaluator, tensors, log_factors);
            }
        }
        Ok(())
    }
}

/// What the last `tokens` tokens left in a block's cache, of each head.
fn grown<'a>(
    backend: &Backend<'a>,
    cache: &mut BlockCache<StreamEvaluator<'a, Backend<'a>>>,
    tokens: usize,
) -> Vec<HeadRows> {
    let Some(cache) = cache.attention() else { return Vec::new() };
    let logarithm = |number: &StreamNumber<EncryptedNumber>| {
        // A result of a lookup, and constants.
        number.content().sum().samples(backend.lookup_dimension()).lookup
    };
    let last = |count: usize| count - tokens.min(count);
    let logarithms =
        cache.log_factors().iter().map(|row| row[last(row.len())..].iter().filter_map(logarithm).collect());
    let logarithms: Vec<_> = logarithms.collect();
    let heads = cache.heads().iter_mut().zip(logarithms).filter_map(|(head, log_factors)| match head {
        Some([Held::Multipliers(keys), Held::Reals(values)]) => {
            let rows = values.content.rows();
            let values = rows[last(rows.len())..].to_vec();
            Some(HeadRows { keys: keys.content.take_levels(), values, log_factors })
        }
        _ => None,
    });
    heads.collect()
}

/// What is sent, `[T, E + 2]`, in a request that belongs to the keys and is encoded as these blocks have it.
///
/// # Errors
/// What does not.
pub(crate) fn opened(
    circuit: &BlockCircuit,
    keys: &EvaluationKeys,
    request: &Request,
    encoding: &BlockEncoding,
) -> Result<Held<EncryptedReals, EncryptedMultipliers, EncryptedNumber>, Refused> {
    if *encoding != circuit.encoding(encoding.tokens) {
        return Err(Refused::Layout);
    }
    Refused::check_tokens(encoding.tokens, MAX_TOKENS)?;
    let opened = request.open(keys, &encoding.context(), encoding.request_len()).map_err(Refused::from)?;
    let (channels, shape) = (encoding.sent_channels(), [encoding.tokens, encoding.sent_channels()]);
    let (expansion, steps) = (BlockKeys::new(keys)?.expansion, encoding.layout.expansion_steps());
    let kept = keys.parameters().arithmetic().size().log2() - steps;
    let expand =
        |(ciphertext, count): (&SeededGlweCiphertext, usize)| expansion.expand(&ciphertext.expand(), kept, count);
    let features: Vec<_> = opened.iter().zip(encoding.expanded()).flat_map(expand).collect();
    let rows = features.chunks(encoding.row_len()).map(<[_]>::to_vec).collect();
    let input = EncryptedReals::new(&encoding.layout, Form::Features, channels, rows);
    Ok(Held::fresh(input, shape, circuit.prediction().fresh()))
}
