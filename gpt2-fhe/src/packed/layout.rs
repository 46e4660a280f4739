//! Where tokens, inputs and channels lie in a ciphertext of N coefficients.
//!
//! Let d be the head size, rounded up to a power of two 2^m, and s = N/d, Y = X^s. A channel e of a token is a coefficient of Y^e; the
//! *cosets* X^i·Z\[Y\], i < s, are for different tokens. G tokens share a ciphertext, and J = s/G of a token's inputs:
//!
//! - input cJ + j of token i of a group is coefficient Ji + j of ciphertext c, j < J;
//! - the weights of ciphertext c are Σ_{j,e} w_{cJ+j,e}·X^(se − j), so that the sum over all c of their products has
//!   Σ_j x_j·w_{j,e} of token i at X^(Ji + se), and something else only at indices that are no multiples of J. For keys, with
//!   X^(−se − j): they come out at Y^(−e).
//! - The automorphisms l > log2(N/J) clear the latter: what is left is Σ_i X^(Ji)·Q_i(Y), or, taken apart by cosets, each
//!   token's K_j(Y^(−1)) and V_j(Y).
//! - The product of Σ_i X^(Ji)·Q_i(Y) and Σ_{j < J} X^j·K_j(Y^(−1)) has q_i·k_j at X^(Ji + j): G × J scores.
//!
//! In a product of inputs and weights, all N coefficients of a ciphertext of GJ inputs take part: GJ·d = N.

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

/// The layout of one head's ciphertexts for a number of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    size: usize,
    subring_log: u32,
    group: usize,
    tokens: usize,
    embedding_size: usize,
}

impl Layout {
    /// The smallest head size, rounded up to a power of two.
    pub const MIN_SUBRING: usize = 2;

    /// For `tokens` tokens of `embedding_size` values, and heads of `head_size` channels, in the ring of `size`.
    ///
    /// # Errors
    /// If the head is larger than [`Self::largest_head`].
    pub fn new(
        size: PolynomialSize,
        embedding_size: usize,
        head_size: usize,
        tokens: usize,
    ) -> Result<Self, HeadTooLarge> {
        let subring = head_size.next_power_of_two().max(Self::MIN_SUBRING);
        let largest = Self::largest_head(size);
        if subring > largest {
            return Err(HeadTooLarge { head_size, largest });
        }
        let group = tokens.next_power_of_two().min(MAX_GROUP).min(size.get() / subring);
        Ok(Self { size: size.get(), subring_log: subring.ilog2(), group, tokens, embedding_size })
    }

    /// The most channels that a head can have: a full group of tokens has a coset each, and as many are left for keys.
    pub fn largest_head(size: PolynomialSize) -> usize {
        size.get() / (2 * MAX_GROUP)
    }

    /// N.
    pub fn size(&self) -> usize {
        self.size
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
        self.tokens
    }

    /// E.
    pub fn embedding_size(&self) -> usize {
        self.embedding_size
    }

    /// The number of groups of tokens.
    pub fn groups(&self) -> usize {
        self.tokens.div_ceil(self.group)
    }

    /// The number of ciphertexts of a group.
    pub fn chunks(&self) -> usize {
        self.embedding_size.div_ceil(self.inputs())
    }

    /// The number of automorphisms that leave the cosets of a group: log2 J.
    pub fn group_steps(&self) -> u32 {
        self.inputs().ilog2()
    }

    /// The number of automorphisms that leave one coset: log2 s.
    pub fn token_steps(&self) -> u32 {
        self.cosets().ilog2()
    }

    /// The automorphisms of projecting one group: to the cosets of queries, and to each token's keys and values.
    pub fn projection_automorphisms(&self) -> usize {
        let (gather, split) = (self.group_steps() as usize, self.group - 1);
        gather + 2 * (gather + split)
    }

    /// The automorphisms of packing the answer.
    pub fn answer_automorphisms(&self) -> usize {
        let per_answer = |held: usize| {
            let merged = held.next_power_of_two();
            merged - 1 + (self.token_steps() - merged.ilog2()) as usize
        };
        let (full, rest) = (self.tokens / self.tokens_per_answer(), self.tokens % self.tokens_per_answer());
        full * per_answer(self.tokens_per_answer()) + if rest > 0 { per_answer(rest) } else { 0 }
    }

    /// The tokens of group `group`.
    pub fn tokens_of_group(&self, group: usize) -> std::ops::Range<usize> {
        group * self.group..self.tokens.min((group + 1) * self.group)
    }

    /// The number of blocks of keys.
    pub fn key_blocks(&self) -> usize {
        self.tokens.div_ceil(self.inputs())
    }

    /// The keys of block `block`.
    pub fn keys_of_block(&self, block: usize) -> std::ops::Range<usize> {
        block * self.inputs()..self.tokens.min((block + 1) * self.inputs())
    }

    /// The blocks of scores (group of queries, block of keys) with an entry on or below the diagonal.
    pub fn score_blocks(&self) -> Vec<(usize, usize)> {
        let visible =
            |&(group, block): &(usize, usize)| self.keys_of_block(block).start < self.tokens_of_group(group).end;
        let all = (0..self.groups()).flat_map(|group| (0..self.key_blocks()).map(move |block| (group, block)));
        all.filter(visible).collect()
    }

    /// Where the score of token `i` with token `j` lies: block of scores, coefficient.
    pub fn score_position(&self, i: usize, j: usize) -> ((usize, usize), usize) {
        let inputs = self.inputs();
        ((i / self.group, j / inputs), inputs * (i % self.group) + j % inputs)
    }

    /// The most tokens in one ciphertext of the answer.
    pub fn tokens_per_answer(&self) -> usize {
        self.cosets()
    }

    /// Where channel `channel` of token `token` of an answer of `tokens` lies: the coefficient.
    pub fn answer_position(&self, tokens: usize, token: usize, channel: usize) -> usize {
        token * (self.cosets() / tokens.next_power_of_two()) + channel * self.cosets()
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

    fn layout(head_size: usize, tokens: usize) -> Layout {
        Layout::new(PolynomialSize::new(4096).unwrap(), 768, head_size, tokens).unwrap()
    }

    #[test]
    fn eight_tokens_of_gpt2_share_a_ciphertext() {
        let layout = layout(64, 8);
        assert_eq!((layout.group(), layout.inputs(), layout.chunks(), layout.groups()), (8, 8, 96, 1));
        assert_eq!(layout.score_blocks(), [(0, 0)]);
        assert_eq!(layout.score_position(7, 5), ((0, 0), 61));
    }

    #[test]
    fn scores_and_answers_have_places_of_their_own() {
        for head_size in [16, 48, 64, 128] {
            for tokens in [1, 2, 3, 6, 8, 9, 17, 64] {
                let layout = layout(head_size, tokens);
                let mut seen = std::collections::BTreeSet::new();
                for i in 0..tokens {
                    for j in 0..=i {
                        let (block, position) = layout.score_position(i, j);
                        assert!(layout.score_blocks().contains(&block) && position < layout.cosets());
                        assert!(seen.insert((block, position)), "{head_size} {tokens} {i} {j}");
                    }
                }
                let held = tokens.min(layout.tokens_per_answer());
                let places: std::collections::BTreeSet<_> = (0..held)
                    .flat_map(|token| (0..head_size).map(move |channel| (token, channel)))
                    .map(|(token, channel)| layout.answer_position(held, token, channel))
                    .collect();
                assert_eq!(places.len(), held * head_size);
                assert!(places.iter().all(|&place| place < 4096));
            }
        }
    }

    #[test]
    fn too_large_heads_are_refused() {
        assert!(Layout::new(PolynomialSize::new(4096).unwrap(), 768, 257, 8).is_err());
    }
}
