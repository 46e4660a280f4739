//! The choice of the next token.

use crate::error::{Error, check_finite};
use crate::metrics::{softmax, top_k};
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

/// Draws tokens by their probabilities, sharpened and cut.
///
/// Logits are divided by the temperature, all but the k largest are left out, and a token is drawn with the probability
/// that the softmax of these gives it (A. Fan et al., "Hierarchical Neural Story Generation", arXiv:1805.04833). At
/// temperature 0, the limit, it is the most likely token. The same seed and logits give the same tokens.
#[derive(Clone, Debug)]
pub struct Sampler {
    temperature: f64,
    top_k: Option<usize>,
    generator: ChaCha20Rng,
}

impl Sampler {
    /// A sampler at `temperature` out of the `top_k` most likely tokens, or of all.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the temperature is negative or not finite, or `top_k` is 0.
    pub fn new(temperature: f64, top_k: Option<usize>, seed: u64) -> Result<Self, Error> {
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(Error::out_of_range("the temperature", temperature, "at least 0, and finite"));
        }
        if top_k == Some(0) {
            return Err(Error::out_of_range("the number of tokens to choose from", 0, "at least 1"));
        }
        Ok(Self { temperature, top_k, generator: ChaCha20Rng::seed_from_u64(seed) })
    }

    /// The sampler that takes the most likely token.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, top_k: None, generator: ChaCha20Rng::seed_from_u64(0) }
    }

    /// The next token, for the logits of all, `[V]`. O(V·log V).
    ///
    /// # Errors
    /// [`Error::Shape`] if there are no logits, [`Error::NotFinite`].
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32, Error> {
        if logits.is_empty() {
            return Err(Error::shape("the logits to sample from", "at least one token", &[0]));
        }
        check_finite("the logits to sample from", logits)?;
        if self.temperature == 0.0 {
            return Ok(most_likely(logits));
        }
        let candidates = top_k(logits, self.top_k.unwrap_or(logits.len()));
        // Differences from the largest logit cannot become +∞, however small the temperature.
        let below = |token: usize| f64::from(logits[token]) - f64::from(logits[candidates[0]]);
        let probabilities = softmax(candidates.iter().map(|&token| below(token) / self.temperature));
        let distribution = WeightedIndex::new(probabilities).expect("a softmax is a distribution");
        Ok(candidates[distribution.sample(&mut self.generator)] as u32)
    }
}

/// The index of the largest logit; the first of several.
pub fn most_likely(logits: &[f32]) -> u32 {
    let larger = |best: usize, index: usize| if logits[index] > logits[best] { index } else { best };
    (0..logits.len()).fold(0, larger) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn draw(temperature: f64, top_k: Option<usize>, seed: u64, logits: &[f32], count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(temperature, top_k, seed).unwrap();
        (0..count).map(|_| sampler.sample(logits).unwrap()).collect()
    }

    #[test]
    fn the_first_of_the_largest_is_the_most_likely() {
        assert_eq!([most_likely(&[1.0, 3.0, 3.0]), most_likely(&[-1.0]), most_likely(&[0.0, -0.0])], [1, 0, 0]);
    }

    /// Frequencies of 100,000 draws: four standard deviations are at most 4·√(1/4/100,000) = 0.0064.
    #[test]
    fn frequencies_are_the_softmax() {
        let logits = [0.5, -1.0, 2.0, 1.0];
        for (temperature, top_k) in [(1.0, None), (0.5, None), (2.0, Some(3))] {
            let kept = top_k.map_or(logits.len(), |k| k);
            let weight = |logit: f32| f64::exp(f64::from(logit) / temperature);
            let mut sorted = logits.map(weight);
            sorted.sort_by(|a, b| b.total_cmp(a));
            let (sum, least) = (sorted[..kept].iter().sum::<f64>(), sorted[kept - 1]);
            let drawn = draw(temperature, top_k, 1, &logits, 100_000);
            for (token, &logit) in logits.iter().enumerate() {
                let expected = if weight(logit) < least { 0.0 } else { weight(logit) / sum };
                let found = drawn.iter().filter(|&&other| other as usize == token).count() as f64 / 100_000.0;
                assert!((found - expected).abs() < 0.0064, "{temperature}, {top_k:?}, {token}: {found} {expected}");
            }
        }
    }

    #[test]
    fn a_seed_decides() {
        let logits = [0.0; 50];
        let of_seed = |seed| draw(1.0, None, seed, &logits, 20);
        assert_eq!(of_seed(7), of_seed(7));
        assert_ne!(of_seed(7), of_seed(8));
    }

    #[test]
    fn nonsense_is_refused() {
        for temperature in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(Sampler::new(temperature, None, 0), Err(Error::OutOfRange { .. })));
        }
        assert!(matches!(Sampler::new(1.0, Some(0), 0), Err(Error::OutOfRange { .. })));
        assert!(matches!(Sampler::greedy().sample(&[]), Err(Error::Shape { .. })));
        assert!(matches!(Sampler::greedy().sample(&[0.0, f32::NAN]), Err(Error::NotFinite { position: 1, .. })));
    }

    proptest! {
        /// One candidate, or a temperature near 0, leaves the most likely token.
        #[test]
        fn limits_are_greedy(
            logits in prop::collection::vec(-30.0_f32..30.0, 1..40),
            temperature in 0.01_f64..10.0,
            seed in any::<u64>(),
        ) {
            let greedy = Sampler::greedy().sample(&logits).unwrap();
            prop_assert_eq!(draw(temperature, Some(1), seed, &logits, 1), [greedy]);
            prop_assert_eq!(draw(0.0, None, seed, &logits, 1), [greedy]);
            // Nearest f32 below 30 differ by 2^-19, far more than this temperature.
            let cold = draw(1e-9, None, seed, &logits, 1)[0];
            prop_assert_eq!(logits[cold as usize], logits[greedy as usize]);
            prop_assert_eq!(draw(f64::MIN_POSITIVE, None, seed, &logits, 1).len(), 1);
        }

        #[test]
        fn only_candidates_are_drawn(
            logits in prop::collection::vec(-3.0_f32..3.0, 1..40), count in 1_usize..50, seed in any::<u64>(),
        ) {
            let candidates = top_k(&logits, count);
            for token in draw(1.0, Some(count), seed, &logits, 20) {
                prop_assert!(candidates.contains(&(token as usize)));
            }
        }
    }
}
