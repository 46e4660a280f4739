//! How good predictions are, and how near to others, in f64.
//!
//! Predictions are logits, one for each token of a vocabulary of V; a distribution is their softmax. Logarithms are
//! natural: a cross-entropy or divergence is in nats.

use crate::error::{Error, check_finite};
use crate::matrix::Matrix;

/// exp(x_i) / Σ exp(x_j), for x_i that are finite or −∞, not all −∞. O(number of values).
pub fn softmax(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    log_softmax(values).into_iter().map(f64::exp).collect()
}

/// x_i − log Σ exp(x_j), the logarithms of [`softmax`]. O(number of values).
pub fn log_softmax(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let values: Vec<f64> = values.into_iter().collect();
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // First without the largest: log Σ exp(x − largest) is at least 0.
    let below: Vec<f64> = values.into_iter().map(|value| value - largest).collect();
    let log_sum = below.iter().map(|value| value.exp()).sum::<f64>().ln();
    below.into_iter().map(|value| value - log_sum).collect()
}

/// The tokens of the `count` largest logits, the largest first, of equal ones the first; all, if there are fewer.
/// O(V + count·log count).
pub fn top_k(logits: &[f32], count: usize) -> Vec<usize> {
    let mut tokens: Vec<usize> = (0..logits.len()).collect();
    // `+ 0.0` makes the two zeros equal.
    let order = |a: &usize, b: &usize| (logits[*b] + 0.0).total_cmp(&(logits[*a] + 0.0)).then(a.cmp(b));
    if count < tokens.len() {
        tokens.select_nth_unstable_by(count, order);
        tokens.truncate(count);
    }
    tokens.sort_unstable_by(order);
    tokens
}

/// The share of the `count` most likely tokens by `a` that are among the `count` most likely by `b`; 1 if they are the
/// same, in any order. O(V + count²).
///
/// # Errors
/// [`Error::Shape`] if the numbers of logits differ, or are 0; [`Error::NotFinite`]; [`Error::OutOfRange`] if `count`
/// is not in 1 ..= V.
pub fn top_k_agreement(a: &[f32], b: &[f32], count: usize) -> Result<f64, Error> {
    check_pair(a, b)?;
    if !(1..=a.len()).contains(&count) {
        let allowed = format!("in 1 ..= {}, the size of the vocabulary", a.len());
        return Err(Error::out_of_range("the number of tokens to compare", count, allowed));
    }
    let others = top_k(b, count);
    let common = top_k(a, count).into_iter().filter(|token| others.contains(token)).count();
    Ok(common as f64 / count as f64)
}

/// KL(p‖q) = Σ p_i·(log p_i − log q_i), of the softmaxes of two predictions, in nats: how much is lost by q where p is
/// right. O(V).
///
/// # Errors
/// [`Error::Shape`] if the numbers of logits differ, or are 0; [`Error::NotFinite`].
pub fn kl_divergence(p: &[f32], q: &[f32]) -> Result<f64, Error> {
    check_pair(p, q)?;
    let [p, q] = [p, q].map(|logits| log_softmax(logits.iter().map(|&logit| f64::from(logit))));
    // Rounding can make the sum of equal distributions negative.
    Ok(p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>().max(0.0))
}

/// The mean of −log p(target) over the rows of `logits: [n, V]`, in nats: what a text costs of which `targets` are the
/// tokens that come after each position. O(n·V).
///
/// # Errors
/// [`Error::Shape`] if there is not one target for each row, or no row; [`Error::NotFinite`]; [`Error::UnknownToken`].
pub fn cross_entropy(logits: &Matrix<f32>, targets: &[u32]) -> Result<f64, Error> {
    if logits.rows() == 0 || logits.rows() != targets.len() {
        let expected = format!("[{}], one token for each row, and at least one", logits.rows());
        return Err(Error::shape("the list of targets", expected, &[targets.len()]));
    }
    check_finite("the logits", logits.data())?;
    let mut sum = 0.0;
    for (row, &target) in targets.iter().enumerate() {
        let probabilities = log_softmax(logits.row(row).iter().map(|&logit| f64::from(logit)));
        let unknown = Error::UnknownToken { token: target, vocabulary: logits.cols() };
        sum -= probabilities.get(target as usize).ok_or(unknown)?;
    }
    Ok(sum / targets.len() as f64)
}

/// exp of a [`cross_entropy`]: among how many tokens one would have to guess to do as badly.
pub fn perplexity(cross_entropy: f64) -> f64 {
    cross_entropy.exp()
}

fn check_pair(a: &[f32], b: &[f32]) -> Result<(), Error> {
    if a.is_empty() || a.len() != b.len() {
        return Err(Error::shape("the second of two predictions", format!("[{}], not empty", a.len()), &[b.len()]));
    }
    check_finite("the first of two predictions", a)?;
    check_finite("the second of two predictions", b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn distributions_by_hand() {
        let thirds = softmax([f64::ln(1.0), f64::ln(2.0), f64::ln(3.0)]);
        assert!(thirds.iter().zip([1.0 / 6.0, 1.0 / 3.0, 0.5]).all(|(a, b)| (a - b).abs() < 1e-15));
        let far = log_softmax([1e300, 0.0]);
        assert_eq!(far, [0.0, -1e300]);
        assert!(softmax([]).is_empty());
    }

    #[test]
    fn order_and_agreement() {
        let logits = [0.0, 2.0, -1.0, 2.0, -0.0];
        assert_eq!(top_k(&logits, 4), [1, 3, 0, 4]);
        assert_eq!(top_k(&logits, 9).len(), 5);
        let other = [0.0, 1.0, 3.0, 2.0, -1.0];
        let agreement = |count| top_k_agreement(&logits, &other, count).unwrap();
        assert_eq!([agreement(1), agreement(2), agreement(3), agreement(5)], [0.0, 0.5, 2.0 / 3.0, 1.0]);
    }

    #[test]
    fn divergence_by_hand() {
        let ln = |p: [f64; 2]| p.map(|p| p.ln() as f32);
        // KL((1/2, 1/2) ‖ (1/4, 3/4)) = log 2 − log(3)/2.
        let divergence = kl_divergence(&ln([0.5, 0.5]), &ln([0.25, 0.75])).unwrap();
        assert!((divergence - (2.0_f64.ln() - 3.0_f64.ln() / 2.0)).abs() < 1e-7);
        // p is certain: what it holds impossible costs nothing.
        assert!((kl_divergence(&[0.0, -1e30], &ln([0.5, 0.5])).unwrap() - 2.0_f64.ln()).abs() < 1e-7);
    }

    #[test]
    fn cross_entropy_by_hand() {
        let logits = Matrix::new(2, 4, vec![0.0, 0.0, 0.0, 0.0, 1e6, 0.0, 0.0, 0.0]).unwrap();
        assert!((cross_entropy(&logits, &[3, 0]).unwrap() - 4.0_f64.ln() / 2.0).abs() < 1e-12);
        assert!((perplexity(4.0_f64.ln() / 2.0) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(matches!(kl_divergence(&[], &[]), Err(Error::Shape { .. })));
        assert!(matches!(kl_divergence(&[0.0], &[0.0, 1.0]), Err(Error::Shape { .. })));
        assert!(matches!(kl_divergence(&[0.0], &[f32::NAN]), Err(Error::NotFinite { .. })));
        assert!(matches!(top_k_agreement(&[0.0], &[0.0], 0), Err(Error::OutOfRange { .. })));
        assert!(matches!(top_k_agreement(&[0.0], &[0.0], 2), Err(Error::OutOfRange { .. })));
        let row = Matrix::new(1, 2, vec![0.0, 1.0]).unwrap();
        assert!(matches!(cross_entropy(&row, &[2]), Err(Error::UnknownToken { token: 2, vocabulary: 2 })));
        assert!(matches!(cross_entropy(&row, &[]), Err(Error::Shape { .. })));
        assert!(matches!(cross_entropy(&row.map(|_| f32::INFINITY), &[0]), Err(Error::NotFinite { .. })));
    }

    proptest! {
        /// A divergence is not negative, 0 for equal predictions, and that of shifted logits is the same.
        #[test]
        fn divergence_is_one(
            (p, q) in (1_usize..20).prop_flat_map(|size| {
                let logits = || prop::collection::vec(-20.0_f32..20.0, size);
                (logits(), logits())
            }),
            shift in -8_i32..8,
        ) {
            let divergence = kl_divergence(&p, &q).unwrap();
            prop_assert!(divergence >= 0.0);
            prop_assert!(kl_divergence(&p, &p).unwrap() < 1e-12);
            let shifted: Vec<f32> = q.iter().map(|logit| logit + shift as f32).collect();
            prop_assert!((kl_divergence(&p, &shifted).unwrap() - divergence).abs() < 1e-4);
        }

        /// KL(p‖q) is the cross-entropy of q for targets drawn from p, less the entropy of p.
        #[test]
        fn divergence_is_the_excess_of_cross_entropy(
            (p, q) in (1_usize..8).prop_flat_map(|size| {
                let logits = || prop::collection::vec(-3.0_f32..3.0, size);
                (logits(), logits())
            }),
        ) {
            let expected = |logits: &[f32]| -> f64 {
                let row = Matrix::new(1, logits.len(), logits.to_vec()).unwrap();
                let weights = softmax(p.iter().map(|&logit| f64::from(logit)));
                weights.iter().zip(0..).map(|(weight, token)| weight * cross_entropy(&row, &[token]).unwrap()).sum()
            };
            prop_assert!((expected(&q) - expected(&p) - kl_divergence(&p, &q).unwrap()).abs() < 1e-12);
        }
    }
}
