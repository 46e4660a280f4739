//! Where tokens, inputs and channels lie in a ciphertext of N coefficients.
//!
//! Let d be the head size, rounded up to a power of two 2^m, and s = N/d, Y = X^s. A channel e of a token is a coefficient of Y^e; the
//! *cosets* X^i·Z\[Y\], i < s, are for different tokens. G tokens, a *group*, share a ciphertext, and J = s/G ≥ G of a token's inputs:
//!
//! - input cJ + j of token i of a group is coefficient Ji + j of ciphertext c, j < J;
//! - the weights of ciphertext c are Σ_{j,e} w_{cJ+j,e}·X^(se − j), so that the sum over all c of their products has
//!   Σ_j x_j·w_{j,e} of token i at X^(Ji + se), and something else only at indices that are no multiples of J. For keys, with
//!   X^(−se − j): they come out at Y^(−e).
//! - The automorphisms l > log2(N/J) clear the latter: what is left is Σ_i X^(Ji)·Q_i(Y), Σ_i X^(Ji)·V_i(Y), or, taken apart by
//!   cosets, each token's K_j(Y^(−1)).
//! - The product of Σ_i X^(Ji)·Q_i(Y) and Σ_{j < J} X^j·K_j(Y^(−1)) has q_i·k_j at X^(Ji + j): G × J scores.
//! - The probabilities of the G rows of one group with the G tokens of another are one ciphertext, Σ_{r,j} p_rj·X^(r − Jj). Its product
//!   with Σ_j X^(Jj)·V_j(Y) has Σ_j p_rj·V_j(Y) in coset r, and terms of different tokens only in cosets ≥ G: since
//!   r + J(j' − j) is a number below G modulo s only for j = j', as long as G ≤ J.
//!
//! Of an output of O channels, d of them, a *chunk*, are treated like the channels of a head: V_j, and so the products, have one
//! ciphertext for each chunk. In a product of inputs and weights, all N coefficients of a ciphertext of GJ inputs take part: GJ·d = N.

use nn::evaluator::{Form, Side};
use nn::packed::{PackedProgram, Span};
use std::ops::Range;
use tfhe_core::key_graph::Parameters;
use tfhe_core::params::PolynomialSize;

/// The most tokens in a ciphertext: with more, there are fewer columns in a block of scores.
const MAX_GROUP: usize = 8;

/// A head has more channels than fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a head of {head_size} channels does not fit a ciphertext of the packed circuit, which holds {largest}: use --circuit exact"
)]
pub struct HeadTooLarge {
    /// d.
    pub head_size: usize,
    /// The most channels.
    pub largest: usize,
}

/// The sizes of an attention, or of a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// E.
    pub embedding: usize,
    /// d.
    pub head: usize,
    /// O.
    pub output: usize,
    /// The number of heads.
    pub heads: usize,
}

impl Sizes {
    /// Those of an attention, or of a part of it.
    pub fn of(program: &PackedProgram) -> Self {
        Self {
            embedding: program.embedding_size(),
            head: program.head_size(),
            output: program.output_size(),
            heads: program.heads().len(),
        }
    }
}

/// The layout of a run's ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    size: usize,
    ratio: usize,
    subring_log: u32,
    group: usize,
    span: Span,
    sizes: Sizes,
}

impl Layout {
    /// The smallest head size, rounded up to a power of two.
    pub const MIN_SUBRING: usize = 2;

    /// For the tokens of `span`, in the rings of `parameters`.
    ///
    /// # Errors
    /// If the head is larger than [`Self::largest_head`].
    pub fn new(parameters: &Parameters, sizes: Sizes, span: Span) -> Result<Self, HeadTooLarge> {
        let size = parameters.arithmetic().size();
        let subring = Self::subring_of(sizes.head);
        let largest = Self::largest_head(size);
        if subring > largest {
            return Err(HeadTooLarge { head_size: sizes.head, largest });
        }
        let cosets = size.get() / subring;
        let group = MAX_GROUP.min(1 << (cosets.ilog2() / 2));
        let ratio = size.get() / parameters.lookup().size().get();
        Ok(Self { size: size.get(), ratio, subring_log: subring.ilog2(), group, span, sizes })
    }

    /// Whether it is for the rings of `parameters`.
    pub fn is_in(&self, parameters: &Parameters) -> bool {
        let (lookup, arithmetic) = (parameters.lookup().size().get(), parameters.arithmetic().size().get());
        (self.size, self.ratio) == (arithmetic, arithmetic / lookup)
    }

    /// A head's size, rounded up to that of a subring.
    pub fn subring_of(head_size: usize) -> usize {
        head_size.next_power_of_two().max(Self::MIN_SUBRING)
    }

    /// The most channels that a head can have: four tokens in a group, and four keys in a block of scores.
    pub fn largest_head(size: PolynomialSize) -> usize {
        size.get() / 16
    }

    /// N.
    pub fn size(&self) -> usize {
        self.size
    }

    /// N/N', by which this ring is larger than that of lookups.
    pub fn ratio(&self) -> usize {
        self.ratio
    }

    /// The tokens.
    pub fn span(&self) -> Span {
        self.span
    }

    /// E, d, O, and the number of heads.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// log2 of the number of coefficients of the subring Z\[Y\].
    pub fn subring_log(&self) -> u32 {
        self.subring_log
    }

    /// The number of coefficients of the subring: the head size rounded up.
    pub fn subring(&self) -> usize {
        1 << self.subring_log
    }

    /// s, the number of cosets, and the exponent of Y.
    pub fn cosets(&self) -> usize {
        self.size >> self.subring_log
    }

    /// G, the number of tokens in a ciphertext, a power of two.
    pub fn group(&self) -> usize {
        self.group
    }

    /// J, the number of a token's inputs in a ciphertext, and of keys in a block of scores.
    pub fn inputs(&self) -> usize {
        self.cosets() / self.group
    }

    /// T.
    pub fn tokens(&self) -> usize {
        self.span.tokens()
    }

    /// The number of groups of tokens.
    pub fn groups(&self) -> usize {
        self.tokens().div_ceil(self.group)
    }

    /// The groups that have rows of the span.
    pub fn row_groups(&self) -> Range<usize> {
        self.span.rows().start / self.group..self.groups()
    }

    /// The rows of the span in group `group`.
    pub fn rows_of_group(&self, group: usize) -> Range<usize> {
        let tokens = self.tokens_of_group(group);
        tokens.start.max(self.span.rows().start)..tokens.end
    }

    /// The number of ciphertexts of a group of inputs.
    pub fn input_chunks(&self) -> usize {
        self.sizes.embedding.div_ceil(self.inputs())
    }

    /// The number of chunks of an output.
    pub fn output_chunks(&self) -> usize {
        self.sizes.output.div_ceil(self.subring())
    }

    /// The part of an output's channels that a full chunk has.
    pub fn chunk_share(&self) -> f64 {
        self.subring().min(self.sizes.output) as f64 / self.sizes.output as f64
    }

    /// The channels of chunk `chunk` of an output.
    pub fn channels_of_chunk(&self, chunk: usize) -> Range<usize> {
        chunk * self.subring()..self.sizes.output.min((chunk + 1) * self.subring())
    }

    /// The number of automorphisms that leave the cosets of a group: log2 J.
    pub fn group_steps(&self) -> u32 {
        self.inputs().ilog2()
    }

    /// The number of automorphisms that leave one coset: log2 s.
    pub fn token_steps(&self) -> u32 {
        self.cosets().ilog2()
    }

    /// The automorphisms of a linear map: to the cosets of queries and of values, and to each token's keys.
    pub fn projection_automorphisms(&self, form: Form) -> usize {
        let gather = self.group_steps() as usize;
        match form {
            Form::Cyclic(Side::Left, _) => self.row_groups().len() * gather,
            Form::Cyclic(Side::Right, _) => self.groups() * (gather + self.group - 1),
            _ => self.groups() * self.output_chunks() * gather,
        }
    }

    /// The blocks of probabilities of one head: (group of rows, group of tokens).
    pub fn probability_blocks(&self) -> Vec<(usize, usize)> {
        self.row_groups().flat_map(|rows| (0..=rows).map(move |tokens| (rows, tokens))).collect()
    }

    /// The power of X at which a block of probabilities has row `row`'s with token `token`.
    pub fn probability_exponent(&self, row: usize, token: usize) -> i64 {
        (row % self.group) as i64 - (self.inputs() * (token % self.group)) as i64
    }

    /// The rows of a group that the lookup ring can hold together, as it knows powers of X^ratio only: those with the same row
    /// modulo the ratio. One key switch to the arithmetic ring for each set and each block of probabilities.
    pub fn row_sets(&self, group: usize) -> Vec<Vec<usize>> {
        let of_set = |set: usize| self.rows_of_group(group).filter(|row| row % self.ratio == set).collect::<Vec<_>>();
        (0..self.ratio).map(of_set).filter(|rows| !rows.is_empty()).collect()
    }

    /// The automorphisms of packing the answer.
    pub fn answer_automorphisms(&self) -> usize {
        let per_answer = |held: usize| {
            let merged = held.next_power_of_two();
            merged - 1 + (self.token_steps() - merged.ilog2()) as usize
        };
        let (full, rest) = (self.places() / self.places_per_answer(), self.places() % self.places_per_answer());
        full * per_answer(self.places_per_answer()) + if rest > 0 { per_answer(rest) } else { 0 }
    }

    /// The tokens of group `group`.
    pub fn tokens_of_group(&self, group: usize) -> Range<usize> {
        group * self.group..self.tokens().min((group + 1) * self.group)
    }

    /// The number of blocks of keys.
    pub fn key_blocks(&self) -> usize {
        self.tokens().div_ceil(self.inputs())
    }

    /// The keys of block `block`.
    pub fn keys_of_block(&self, block: usize) -> Range<usize> {
        block * self.inputs()..self.tokens().min((block + 1) * self.inputs())
    }

    /// The blocks of scores (group of rows, block of keys) with an entry on or below the diagonal.
    pub fn score_blocks(&self) -> Vec<(usize, usize)> {
        let visible =
            |&(group, block): &(usize, usize)| self.keys_of_block(block).start < self.tokens_of_group(group).end;
        let all = self.row_groups().flat_map(|group| (0..self.key_blocks()).map(move |block| (group, block)));
        all.filter(visible).collect()
    }

    /// Where the score of token `i` with token `j` lies: block of scores, coefficient.
    pub fn score_position(&self, i: usize, j: usize) -> ((usize, usize), usize) {
        let inputs = self.inputs();
        ((i / self.group, j / inputs), inputs * (i % self.group) + j % inputs)
    }

    /// The number of places of an answer: chunks of rows, a row's one after the other.
    pub fn places(&self) -> usize {
        self.span.rows().len() * self.output_chunks()
    }

    /// The most places in one ciphertext of the answer.
    pub fn places_per_answer(&self) -> usize {
        self.cosets()
    }

    /// The number of ciphertexts of the answer.
    pub fn answers(&self) -> usize {
        self.places().div_ceil(self.places_per_answer())
    }

    /// Where channel `channel` of output row `row`, counted from the span's first, lies: ciphertext, coefficient, and whether it is
    /// negated.
    pub fn answer_position(&self, row: usize, channel: usize) -> (usize, usize, bool) {
        let place = row * self.output_chunks() + channel / self.subring();
        let answer = place / self.places_per_answer();
        let held = self.places_per_answer().min(self.places() - answer * self.places_per_answer());
        let coset = (place % self.places_per_answer()) * (self.cosets() / held.next_power_of_two());
        let channel = channel % self.subring();
        (answer, coset + channel * self.cosets(), Self::negates_value(channel))
    }

    /// Whether a value's channel is negated: where the number of ones of its number in binary is odd (the sequence of Thue and Morse).
    ///
    /// Rounding errors meet the product of the secret with a token's values. The secret's mean makes half of its energy lie in
    /// the lowest frequencies; were values of one sign on average, as they are for some heads, theirs would too. With
    /// these signs the noise does not depend on such means.
    pub fn negates_value(channel: usize) -> bool {
        channel.count_ones() % 2 == 1
    }

    /// The coefficient index, and whether it is negated, of X^exponent.
    pub fn monomial(&self, exponent: i64) -> (usize, bool) {
        let exponent = exponent.rem_euclid(2 * self.size as i64) as usize;
        if exponent < self.size { (exponent, false) } else { (exponent - self.size, true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(head_size: usize, heads: usize, span: Span) -> Layout {
        let output = if heads == 1 { head_size } else { 768 };
        let sizes = Sizes { embedding: 768, head: head_size, output, heads };
        Layout::new(&tfhe_core::sets::PACKED_HEAD.compile().unwrap(), sizes, span).unwrap()
    }

    #[test]
    fn eight_tokens_of_gpt2_share_a_ciphertext() {
        let layout = layout(64, 12, Span::all(8));
        assert_eq!((layout.group(), layout.inputs(), layout.input_chunks(), layout.groups()), (8, 8, 96, 1));
        assert_eq!((layout.output_chunks(), layout.places(), layout.answers()), (12, 96, 2));
        assert_eq!(layout.score_blocks(), [(0, 0)]);
        assert_eq!(layout.score_position(7, 5), ((0, 0), 61));
    }

    #[test]
    fn scores_and_answers_have_places_of_their_own() {
        for head_size in [16, 48, 64, 128, 256] {
            for span in [1, 2, 3, 6, 8, 9, 17, 64].map(Span::all).into_iter().chain([Span::new(16, 19)]) {
                let layout = layout(head_size, 3, span);
                let mut seen = std::collections::BTreeSet::new();
                for i in span.rows() {
                    for j in 0..=i {
                        let (block, position) = layout.score_position(i, j);
                        assert!(layout.score_blocks().contains(&block) && position < layout.cosets());
                        assert!(seen.insert((block, position)), "{head_size} {span:?} {i} {j}");
                    }
                }
                let places: std::collections::BTreeSet<_> = (0..span.rows().len())
                    .flat_map(|row| (0..768).map(move |channel| layout.answer_position(row, channel)))
                    .map(|(answer, position, _)| (answer, position))
                    .collect();
                assert_eq!(places.len(), span.rows().len() * 768);
                assert!(places.iter().all(|&(answer, place)| answer < layout.answers() && place < 4096));
            }
        }
    }

    /// Rows have cosets of their own, below G, and terms of different tokens lie in none of them.
    #[test]
    fn rows_of_a_block_of_probabilities_do_not_meet() {
        for head_size in [2, 16, 64, 128, 256] {
            let layout = layout(head_size, 3, Span::all(64));
            let (group, cosets) = (layout.group(), layout.cosets() as i64);
            for (row, token, other) in
                (0..group).flat_map(|r| (0..group).flat_map(move |j| (0..group).map(move |k| (r, j, k))))
            {
                let value = (layout.inputs() * other) as i64;
                let coset = (layout.probability_exponent(row, token) + value).rem_euclid(cosets);
                assert_eq!(coset < group as i64, token == other, "{head_size} {row} {token} {other}");
                assert!(token != other || coset == row as i64);
            }
        }
    }

    #[test]
    fn too_large_heads_are_refused() {
        let sizes = Sizes { embedding: 768, head: 257, output: 257, heads: 1 };
        assert!(Layout::new(&tfhe_core::sets::PACKED_HEAD.compile().unwrap(), sizes, Span::all(8)).is_err());
    }
}
