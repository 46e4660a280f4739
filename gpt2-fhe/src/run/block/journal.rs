//! What a client keeps of a text, in a folder: the answers to its requests, and the label of the one that is in work.
//!
//! A text that goes on is computed anew from its beginning, but for what is encrypted: an answer that is in the journal is not asked for again. All
//! else is a function of the answers, and comes out as it did: tokens, samples, what answers are compared with. That each request is for
//! what it was for is checked.
//!
//! Answers are decrypted hidden states: the file is as secret as the text.

use nn::matrix::Matrix;
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::format::{Decoder, Encoder, FormatError, Header, Kind};
use tfhe_core::keys::{Identity, Label};

use crate::store::{Store, StoreError};

const JOURNAL: &str = "journal";

/// Whether a file is one of a client's journal.
pub fn is_journal(name: &str) -> bool {
    name == JOURNAL
}

/// A request that was answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answered {
    /// Of what was encrypted.
    pub(super) input: Fingerprint,
    pub(super) label: Label,
    /// In turns: `[n, E + 1]`, or logits `[1, V]`.
    pub(super) numbers: Matrix<f64>,
    /// Of encryption, evaluation, decryption.
    pub(super) seconds: [f64; 3],
    /// Of the request and of the answer.
    pub(super) bytes: [usize; 2],
}

/// What a client keeps of a text.
pub(super) struct Journal {
    store: Store,
    header: Header,
    /// The numbers of a row of an answer.
    channels: usize,
    pub(super) answered: Vec<Answered>,
    /// The request in work, and of what it is.
    pub(super) in_work: Option<(Fingerprint, Label)>,
    /// How many answers were asked for again.
    replayed: usize,
}

impl Journal {
    /// The journal in a folder, or an empty one, of a text of at most `most` tokens.
    pub(super) fn open(
        store: Store,
        (identity, work): (Identity, Fingerprint),
        channels: usize,
        most: usize,
    ) -> Result<Self, StoreError> {
        let header = Header { kind: Kind(*b"journal "), identity, context: work };
        let mut journal = Self { store, header, channels, answered: Vec::new(), in_work: None, replayed: 0 };
        // Of each token a row, and an answer with its label at most.
        let limit = 256 + most * (256 + 8 * channels);
        if let Some(document) = journal.store.read(JOURNAL, limit as u64)? {
            let decoded = document.open(&header).and_then(|decoder| journal.decode(decoder, most));
            let (answered, in_work) = decoded.map_err(|error| journal.store.refused(JOURNAL, error))?;
            (journal.answered, journal.in_work) = (answered, in_work);
        }
        Ok(journal)
    }

    #[expect(clippy::type_complexity, reason = "both fields of a journal")]
    fn decode(
        &self,
        mut decoder: Decoder<'_>,
        most: usize,
    ) -> Result<(Vec<Answered>, Option<(Fingerprint, Label)>), FormatError> {
        let (mut answered, mut left) = (Vec::new(), most);
        for _ in 0..decoder.count(most)? {
            let (input, label) = (decoder.fingerprint()?, decoder.label(self.header.identity)?);
            let rows = decoder.count(left)?;
            left -= rows;
            let numbers: Vec<f64> = (0..rows * self.channels).map(|_| decoder.real()).collect::<Result<_, _>>()?;
            let numbers = Matrix::new(rows, self.channels, numbers);
            let numbers = numbers.map_err(|_| FormatError::Contents("an answer has another size"))?;
            let mut seconds = [0.0; 3];
            for seconds in &mut seconds {
                *seconds = decoder.real()?;
            }
            let bytes = [decoder.count(usize::MAX)?, decoder.count(usize::MAX)?];
            answered.push(Answered { input, label, numbers, seconds, bytes });
        }
        let in_work = match decoder.count(1)? {
            0 => None,
            _ => Some((decoder.fingerprint()?, decoder.label(self.header.identity)?)),
        };
        decoder.finish()?;
        Ok((answered, in_work))
    }

    fn save(&self) -> Result<(), StoreError> {
        self.store.write(JOURNAL, &self.header, |encoder: &mut Encoder<'_>| {
            encoder.integer(self.answered.len() as u64)?;
            for Answered { input, label, numbers, seconds, bytes } in &self.answered {
                encoder.digest(input.as_bytes())?;
                encoder.label(label)?;
                encoder.integer(numbers.rows() as u64)?;
                numbers.data().iter().chain(seconds).try_for_each(|&real| encoder.real(real))?;
                bytes.iter().try_for_each(|&bytes| encoder.integer(bytes as u64))?;
            }
            encoder.integer(u64::from(self.in_work.is_some()))?;
            let Some((input, label)) = &self.in_work else { return Ok(()) };
            encoder.digest(input.as_bytes())?;
            encoder.label(label)
        })
    }

    /// Where it is, in words.
    pub(super) fn place(&self) -> String {
        self.store.path(JOURNAL).display().to_string()
    }

    /// The next answer, if it was given already.
    pub(super) fn next(&mut self) -> Option<Answered> {
        let answered = self.answered.get(self.replayed).cloned();
        self.replayed += usize::from(answered.is_some());
        answered
    }

    /// A request is about to be sent.
    pub(super) fn begin(&mut self, input: Fingerprint, label: &Label) -> Result<(), StoreError> {
        self.in_work = Some((input, label.clone()));
        self.save()
    }

    /// It was answered.
    pub(super) fn finish(&mut self, answered: Answered) -> Result<(), StoreError> {
        self.in_work = None;
        self.answered.push(answered);
        self.replayed = self.answered.len();
        self.save()
    }
}

/// Of integers that are encrypted.
pub(super) fn of_input(integers: &Matrix<i32>) -> Fingerprint {
    let all: Vec<u64> = integers.iter().map(|&integer| integer as u64).collect();
    Fields::new("input").integer(integers.rows() as u64).integers(all.into_iter()).fingerprint()
}

#[cfg(test)]
mod tests;
