//! What client and server agree on for whole blocks.

use nn::matrix::Matrix;
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::key_graph::Parameters;
use tfhe_core::torus;

use super::layout::BlockLayout;
use crate::boundary::Refused;
use crate::encoding::Encoding;

/// log2 of the units of a turn in which hidden states are encrypted. A request has integers of 32 bits; that rounds an error of
/// 2^-33.8 of a turn into hidden states, one ninetieth of what the updates that blocks add to them have.
const LOG_UNITS: u32 = 32;

/// How many bits of each coefficient of a stream are sent. Rounding adds an error of 2^-26.3 of a turn: a hundredth of the variance that
/// blocks leave, 2^-23.1 on the embedded model.
const STREAM_BITS: u32 = 30;

/// How many bits of each coefficient of an image are sent. Rounding adds an error of 2^-16.3 of a turn, where products with looked-up
/// integers leave 2^-10 to 2^-13.
const IMAGE_BITS: u32 = 20;

/// At which scale an input is encrypted, 2^-this of a turn, which is as many bits as are sent of a request's bodies: below the units of what
/// they hold, which are rounded as well, there is nothing to be kept.
pub(super) fn input_log(layout: &BlockLayout) -> u32 {
    LOG_UNITS + layout.expansion_steps()
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockAnswer {
    /// Hidden states after the blocks, as those before them: `[T, E + 1]`, features.
    Stream,
    /// So many numbers of the last token, its hidden state or the logits of the token after it: `[1, E + 1]` or `[1, V]`, an image.
    Last(usize),
}

impl BlockAnswer {
    /// How many bits of each coefficient are sent.
    pub fn bits(self) -> u32 {
        match self {
            Self::Stream => STREAM_BITS,
            Self::Last(_) => IMAGE_BITS,
        }
    }
}

/// Hidden states in turns, each with its variance, `[T, E + 2]`, and an answer.
///
/// The first LayerNorm needs the variance. It may be any number of turns: what is encrypted, and read by a table, is known modulo one turn.
///
/// A request is dense: A = 128 ciphertexts of features in one ([`BlockLayout::dense_place`]), which the server takes apart
/// ([`tfhe_core::automorphism::AutomorphismKeys::expand`]). That multiplies by A, so numbers are divided by it when they are encrypted.
///
/// A stream that is answered is dense as well, in the same places: the sum of X^c times ciphertext c of A. There is but a little noise
/// where a ciphertext holds no feature. An answer's numbers are known modulo one turn, the nearest to zero are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEncoding {
    /// Where everything lies.
    pub layout: BlockLayout,
    /// T.
    pub tokens: usize,
    /// E + 1, the stream's: those of hidden states, and the mean of each row ([`nn::block::StreamScale`]).
    pub channels: usize,
    /// What comes back.
    pub answer: BlockAnswer,
}

impl BlockEncoding {
    /// E + 2: the numbers of a token of a request.
    pub fn sent_channels(&self) -> usize {
        self.channels + 1
    }

    /// The number of ciphertexts of a token of a request.
    pub fn row_len(&self) -> usize {
        self.layout.features_ciphertexts(self.sent_channels())
    }

    /// The number of ciphertexts of a row of the stream.
    pub fn stream_len(&self) -> usize {
        self.layout.features_ciphertexts(self.channels)
    }

    /// Hidden states and variances `[T, E + 2]`, in turns, as the integers that a client encrypts.
    ///
    /// # Errors
    /// If they have another size, a number of the stream is not from −1/2 to 1/2, or a variance not finite.
    pub fn integers(&self, turns: &Matrix<f64>) -> Result<Matrix<i32>, Refused> {
        Refused::check_size((turns.rows(), turns.cols()), self.input_size())?;
        let columns = turns.cols();
        let integer = |(index, &turns): (usize, &f64)| {
            let (token, channel) = (index / columns, index % columns);
            let is_variance = channel == self.channels;
            let turns = if is_variance { turns - turns.round() } else { turns };
            let units = (turns * 2f64.powi(LOG_UNITS as i32)).round_ties_even();
            let fits =
                (is_variance && turns.is_finite()) || (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&units);
            // As an i32, half a turn of variance becomes a unit less.
            if fits { Ok(units as i32) } else { Err(Refused::HiddenState { token, channel }) }
        };
        let integers: Vec<i32> = turns.iter().enumerate().map(integer).collect::<Result<_, _>>()?;
        Ok(Matrix::from_fn(turns.rows(), columns, |token, channel| integers[token * columns + channel]))
    }

    /// Of each ciphertext of a request, how many of features it becomes.
    pub fn expanded(&self) -> impl Iterator<Item = usize> {
        self.layout.dense_counts(self.tokens * self.row_len())
    }

    /// How many automorphisms a request's expansion takes: each split of a ciphertext is one.
    pub fn automorphisms(&self) -> usize {
        let of_parts = |count: usize| (0..self.layout.expansion_steps()).map(move |step| count.min(1 << step));
        self.expanded().flat_map(of_parts).sum()
    }

    /// Where a number is of rows of so many ciphertexts.
    fn place(&self, row_len: usize, token: usize, channel: usize) -> (usize, usize) {
        let (ciphertext, coefficient) = self.layout.feature_place(channel);
        self.layout.dense_place((token * row_len + ciphertext, coefficient))
    }
}

impl Encoding for BlockEncoding {
    const CIRCUIT: &str = "block circuit";

    fn context(&self) -> Fingerprint {
        let (layout, tokens, channels) = (&self.layout, self.tokens, self.channels);
        let sizes = [tokens, channels, layout.size(), layout.ratio(), layout.stride()].map(|size| size as u64);
        let fields = match self.answer {
            BlockAnswer::Stream => {
                Fields::new("hidden states and variances of the block circuit").integers(sizes.into_iter())
            }
            BlockAnswer::Last(size) => Fields::new("last token and variances of the block circuit")
                .integers(sizes.into_iter())
                .integer(size as u64),
        };
        fields.integers([self.request_bits(), self.answer_bits()].map(u64::from).into_iter()).fingerprint()
    }

    fn check(&self, parameters: &Parameters) -> Result<(), Refused> {
        let rings = [parameters.arithmetic(), parameters.lookup()].map(|ring| ring.size().get());
        if rings == [self.layout.size(), self.layout.size() / self.layout.ratio()] {
            Ok(())
        } else {
            Err(Refused::OtherRings(parameters.name()))
        }
    }

    fn input_size(&self) -> (usize, usize) {
        (self.tokens, self.sent_channels())
    }

    fn output_size(&self) -> (usize, usize) {
        match self.answer {
            BlockAnswer::Stream => (self.tokens, self.channels),
            BlockAnswer::Last(size) => (1, size),
        }
    }

    fn request_len(&self) -> usize {
        self.layout.dense_ciphertexts(self.tokens * self.row_len())
    }

    fn answer_len(&self) -> usize {
        match self.answer {
            BlockAnswer::Stream => self.layout.dense_ciphertexts(self.tokens * self.stream_len()),
            BlockAnswer::Last(size) => self.layout.image_ciphertexts(size),
        }
    }

    fn request_bits(&self) -> u32 {
        input_log(&self.layout)
    }

    fn answer_bits(&self) -> u32 {
        self.answer.bits()
    }

    fn answer_bodies(&self) -> usize {
        match self.answer {
            BlockAnswer::Stream => self.layout.size(),
            BlockAnswer::Last(_) => self.layout.stride(),
        }
    }

    fn input_place(&self, token: usize, column: usize) -> (usize, usize) {
        self.place(self.row_len(), token, column)
    }

    fn input_log(&self) -> u32 {
        input_log(&self.layout)
    }

    fn output_place(&self, row: usize, column: usize) -> (usize, usize, bool) {
        let (ciphertext, coefficient) = match self.answer {
            BlockAnswer::Stream => self.place(self.stream_len(), row, column),
            BlockAnswer::Last(_) => self.layout.image_place(column),
        };
        (ciphertext, coefficient, false)
    }

    fn number(&self, element: u64) -> f64 {
        torus::to_f64(element)
    }
}
