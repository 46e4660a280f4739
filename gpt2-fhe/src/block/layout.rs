//! Where the numbers of a block lie in ciphertexts of N coefficients, one token to a row.
//!
//! Let r be N/N', by which the arithmetic ring is larger than that of lookups, d' the head size, rounded up to a power of two, A = r·d' the
//! *stride*, and J = N/A.
//!
//! - Features, the input of linear maps, lie A apart: channel e is coefficient A·(e mod J) of ciphertext ⌊e/J⌋.
//! - The weights of input ciphertext i and result ciphertext o are Σ_{j,c} w_{iJ+j,c}·X^(p(c) − Aj), where channel c of the result has place
//!   p(c) < A. The sum over i of their products has Σ_e x_e·w_{e,c} at X^p(c): an input at X^(Aj') meets the weight of another one, j, at
//!   X^(p(c) + A(j' − j)), which is another coefficient. What is at other coefficients is never read.
//! - In an image p(c) = c mod A, of ciphertext ⌊c/A⌋. Queries are one ciphertext, p(c) = rc.
//! - What is sent is dense: A ciphertexts of features in one, number c of them at the coefficients that are c modulo A. So what has few
//!   features to a ciphertext on the server is as small as its numbers allow on the way.
//! - A key is Σ_c k_c·X^(−rc): its places are powers of X^r, which the lookup ring has. Of its product with queries, coefficient 0 is q·k.

use nn::evaluator::Form;
use nn::matrix::Matrix;
use tfhe_core::key_graph::Parameters;

use crate::packed::layout::Layout;

/// A head has more channels than fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a head of {head_size} channels does not fit a ciphertext, which holds {largest}: use a model with smaller heads"
)]
pub struct HeadBeyondRing {
    /// d.
    pub head_size: usize,
    /// The most channels.
    pub largest: usize,
}

/// The layout of a block's ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLayout {
    size: usize,
    ratio: usize,
    subring: usize,
}

impl BlockLayout {
    /// For heads of `head_size` channels, in the rings of `parameters`.
    ///
    /// # Errors
    /// If a head has more channels than N', the coefficients of the lookup ring.
    pub fn new(parameters: &Parameters, head_size: usize) -> Result<Self, HeadBeyondRing> {
        let (size, largest) = (parameters.arithmetic().size().get(), parameters.lookup().size().get());
        if head_size > largest {
            return Err(HeadBeyondRing { head_size, largest });
        }
        Ok(Self { size, ratio: size / largest, subring: Layout::subring_of(head_size) })
    }

    /// N.
    pub fn size(&self) -> usize {
        self.size
    }

    /// N/N'.
    pub fn ratio(&self) -> usize {
        self.ratio
    }

    /// d', the most channels of queries and keys.
    pub fn subring(&self) -> usize {
        self.subring
    }

    /// A: how far features are apart, and how many channels of an image a ciphertext holds.
    pub fn stride(&self) -> usize {
        self.ratio * self.subring
    }

    /// J: the number of features in a ciphertext.
    pub fn inputs(&self) -> usize {
        self.size / self.stride()
    }

    /// Where a feature lies: ciphertext, coefficient.
    pub fn feature_place(&self, channel: usize) -> (usize, usize) {
        (channel / self.inputs(), channel % self.inputs() * self.stride())
    }

    /// The number of ciphertexts of a row of features.
    pub fn features_ciphertexts(&self, channels: usize) -> usize {
        channels.div_ceil(self.inputs())
    }

    /// How many dense ciphertexts hold so many of features.
    pub fn dense_ciphertexts(&self, sparse: usize) -> usize {
        sparse.div_ceil(self.stride())
    }

    /// Where what is at a coefficient of ciphertext `sparse` of features lies in dense ones: ciphertext, coefficient.
    pub fn dense_place(&self, (sparse, coefficient): (usize, usize)) -> (usize, usize) {
        (sparse / self.stride(), coefficient + sparse % self.stride())
    }

    /// Of each dense ciphertext, how many of so many ciphertexts of features it holds.
    pub fn dense_counts(&self, sparse: usize) -> impl Iterator<Item = usize> {
        let stride = self.stride();
        (0..self.dense_ciphertexts(sparse)).map(move |dense| stride.min(sparse - dense * stride))
    }

    /// log2 A: how often a dense ciphertext is split, which doubles it each time.
    pub fn expansion_steps(&self) -> u32 {
        self.stride().ilog2()
    }

    /// Where a channel of an image lies: ciphertext, coefficient.
    pub fn image_place(&self, channel: usize) -> (usize, usize) {
        (channel / self.stride(), channel % self.stride())
    }

    /// The number of ciphertexts of a row of an image.
    pub fn image_ciphertexts(&self, channels: usize) -> usize {
        channels.div_ceil(self.stride())
    }

    /// The coefficient of a channel of queries.
    pub fn query_place(&self, channel: usize) -> usize {
        self.ratio * channel
    }

    /// The coefficient of a channel of a key, and whether it is negated there.
    pub fn key_place(&self, channel: usize) -> (usize, bool) {
        self.monomial(-(self.query_place(channel) as i64))
    }

    /// Where a channel of reals lies: ciphertext, coefficient.
    ///
    /// # Panics
    /// If the form is none of reals.
    pub fn place(&self, form: Form, channel: usize) -> (usize, usize) {
        match form {
            Form::Features => self.feature_place(channel),
            Form::Image => self.image_place(channel),
            Form::Queries => (0, self.query_place(channel)),
            other => unreachable!("{other:?} is no form of reals"),
        }
    }

    /// The number of ciphertexts of a row of reals.
    ///
    /// # Panics
    /// If the form is none of reals, or there are more queries than a head has.
    pub fn ciphertexts(&self, form: Form, channels: usize) -> usize {
        match form {
            Form::Features => self.features_ciphertexts(channels),
            Form::Image => self.image_ciphertexts(channels),
            Form::Queries => {
                assert!(channels <= self.subring, "the channels of one head");
                1
            }
            other => unreachable!("{other:?} is no form of reals"),
        }
    }

    /// The polynomial of a map's weights, `[E, C]`, that ciphertext `input` of features meets for ciphertext `output` of the result.
    pub fn weights(&self, weight: &Matrix<i32>, form: Form, [input, output]: [usize; 2]) -> Vec<i32> {
        let mut polynomial = vec![0; self.size];
        let (rows, first) = (weight.rows(), input * self.inputs());
        let channels = match form {
            Form::Image => output * self.stride()..weight.cols().min((output + 1) * self.stride()),
            _ => 0..weight.cols(),
        };
        for row in first..rows.min(first + self.inputs()) {
            let of_feature = self.feature_place(row).1 as i64;
            for (channel, &w) in channels.clone().zip(&weight.row(row)[channels.clone()]) {
                let (index, negated) = self.monomial(self.place(form, channel).1 as i64 - of_feature);
                polynomial[index] = if negated { -w } else { w };
            }
        }
        polynomial
    }

    /// The coefficient index, and whether it is negated, of X^exponent.
    pub fn monomial(&self, exponent: i64) -> (usize, bool) {
        let exponent = exponent.rem_euclid(2 * self.size as i64) as usize;
        if exponent < self.size { (exponent, false) } else { (exponent - self.size, true) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn layout(head_size: usize) -> BlockLayout {
        BlockLayout::new(&tfhe_core::sets::PACKED_BLOCK.compile().unwrap(), head_size).unwrap()
    }

    /// Polynomials modulo X^N + 1, where `left` has few terms.
    fn product(left: &[i64], right: &[i64]) -> Vec<i64> {
        let size = left.len();
        let mut product = vec![0; size];
        for (i, &l) in left.iter().enumerate().filter(|(_, l)| **l != 0) {
            let (below, above) = right.split_at(size - i);
            product[i..].iter_mut().zip(below).for_each(|(sum, r)| *sum += l * r);
            product[..i].iter_mut().zip(above).for_each(|(sum, r)| *sum -= l * r);
        }
        product
    }

    fn number(index: usize) -> i32 {
        (index as i32).wrapping_mul(40_503).rem_euclid(61) - 30
    }

    /// The features of a token as polynomials.
    fn features(layout: &BlockLayout, numbers: &[i32]) -> Vec<Vec<i64>> {
        let mut polynomials = vec![vec![0; layout.size()]; layout.features_ciphertexts(numbers.len())];
        for (channel, &x) in numbers.iter().enumerate() {
            let (ciphertext, coefficient) = layout.feature_place(channel);
            polynomials[ciphertext][coefficient] = i64::from(x);
        }
        polynomials
    }

    #[test]
    fn gpt2_and_small_heads() {
        let sizes =
            |head: usize| (layout(head).stride(), layout(head).inputs(), layout(head).features_ciphertexts(768));
        assert_eq!(sizes(64), (128, 32, 24));
        assert_eq!(sizes(48), sizes(64));
        assert_eq!(sizes(16), (32, 128, 6));
        assert_eq!((layout(64).image_ciphertexts(3072), layout(64).ciphertexts(Form::Queries, 64)), (24, 1));
    }

    #[test]
    fn channels_have_places_of_their_own() {
        for head_size in [2, 16, 48, 64, 256, 2048] {
            let layout = layout(head_size);
            for (form, channels) in [(Form::Features, 300), (Form::Image, 300), (Form::Queries, head_size)] {
                let places: BTreeSet<_> = (0..channels).map(|channel| layout.place(form, channel)).collect();
                assert_eq!(places.len(), channels, "{form:?} of heads of {head_size}");
                let ciphertexts = layout.ciphertexts(form, channels);
                assert!(places.iter().all(|&(ciphertext, place)| ciphertext < ciphertexts && place < layout.size()));
                // Results lie below the distance of features.
                assert!(form == Form::Features || places.iter().all(|place| place.1 < layout.stride()));
            }
            let sparse = layout.ciphertexts(Form::Features, 300);
            let dense: BTreeSet<_> =
                (0..300).map(|channel| layout.dense_place(layout.place(Form::Features, channel))).collect();
            assert_eq!((dense.len(), layout.dense_counts(sparse).sum::<usize>()), (300, sparse));
            let held = layout.dense_ciphertexts(sparse);
            assert!(dense.iter().all(|&(ciphertext, place)| ciphertext < held && place < layout.size()));
            let keys: BTreeSet<_> = (0..head_size).map(|channel| layout.key_place(channel).0).collect();
            assert_eq!(keys.len(), head_size);
            assert!(keys.iter().all(|place| place % layout.ratio() == 0), "places of the lookup ring");
        }
    }

    /// Products of polynomials have x·W at the places of the result.
    #[test]
    fn polynomials_multiply_matrices() {
        for (head_size, embedding, columns, form) in [
            (16, 300, 70, Form::Image),
            (64, 40, 200, Form::Image),
            (48, 90, 48, Form::Queries),
            (2048, 3, 5, Form::Image),
        ] {
            let layout = layout(head_size);
            let x: Vec<i32> = (0..embedding).map(|e| number(7 * e + 1)).collect();
            let weight = Matrix::from_fn(embedding, columns, |e, c| number(e * columns + c));
            let inputs = features(&layout, &x);
            let expected = Matrix::new(1, embedding, x).unwrap().multiply_exact(&weight);
            let result = |output: usize| {
                let mut sum = vec![0; layout.size()];
                for (input, polynomial) in inputs.iter().enumerate() {
                    let weights = layout.weights(&weight, form, [input, output]);
                    let weights: Vec<i64> = weights.iter().map(|&w| i64::from(w)).collect();
                    sum.iter_mut().zip(product(polynomial, &weights)).for_each(|(sum, x)| *sum += x);
                }
                sum
            };
            let results: Vec<Vec<i64>> = (0..layout.ciphertexts(form, columns)).map(result).collect();
            for (channel, &expected) in expected.row(0).iter().enumerate() {
                let (ciphertext, place) = layout.place(form, channel);
                assert_eq!(results[ciphertext][place], expected, "channel {channel} of {form:?}");
            }
        }
    }

    /// Whatever else there is beside queries, coefficient 0 of their product with a key is q·k.
    #[test]
    fn keys_take_queries_only() {
        for head_size in [2, 16, 48, 2048] {
            let layout = layout(head_size);
            let mut queries: Vec<i64> = (0..layout.size()).map(|index| i64::from(number(3 * index + 2))).collect();
            let mut key = vec![0; layout.size()];
            let mut expected = 0;
            for channel in 0..head_size {
                let (q, k) = (i64::from(number(channel)), i64::from(number(5 * channel + 3)));
                queries[layout.query_place(channel)] = q;
                let (place, negated) = layout.key_place(channel);
                key[place] = if negated { -k } else { k };
                expected += q * k;
            }
            assert_eq!(product(&key, &queries)[0], expected, "heads of {head_size}");
        }
    }

    #[test]
    fn too_large_heads_are_refused() {
        let parameters = tfhe_core::sets::PACKED_BLOCK.compile().unwrap();
        let refused = BlockLayout::new(&parameters, usize::MAX).unwrap_err();
        assert_eq!(refused, HeadBeyondRing { head_size: usize::MAX, largest: 2048 });
        assert!(refused.to_string().contains("2048"));
    }
}
