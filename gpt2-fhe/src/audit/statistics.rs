//! The statistics of an audit: how far measured figures may be from predicted ones by chance.
//!
//! Quantiles and tails of χ² are those of Wilson and Hilferty (Proc. Natl. Acad. Sci. 17 (1931)): the cube root of χ²_k/k is nearly normal,
//! with mean 1 − 2/9k and variance 2/9k. For k ≥ 8 that is within a tenth of tails of a thousandth, and far nearer for more.

use tfhe_core::noise::{Distribution, Variance};

/// The two-sided confidence of intervals.
pub const CONFIDENCE: f64 = 0.999;
/// The quantile of a standard normal variable at (1 + [`CONFIDENCE`])/2.
const QUANTILE: f64 = 3.290_526_731;
/// Below which probability what was seen is no chance: among a thousand tests of an honest program one goes so once in a thousand runs.
pub const SIGNIFICANCE: f64 = 1e-6;

/// The probability that a standard normal variable is `deviations` or more above zero.
pub fn upper_tail(deviations: f64) -> f64 {
    let half = Distribution::from(Variance::new(1.0)).log2_tail(deviations.abs()).exp2() / 2.0;
    if deviations < 0.0 { 1.0 - half } else { half }
}

/// The probability that a standard normal variable is as far from zero.
pub fn two_sided(deviations: f64) -> f64 {
    (2.0 * upper_tail(deviations.abs())).min(1.0)
}

/// The probability that χ² of so many degrees of freedom is as large as `statistic` or larger.
pub fn chi_square_tail(statistic: f64, degrees: usize) -> f64 {
    let spread = 2.0 / (9.0 * degrees as f64);
    upper_tail(((statistic / degrees as f64).cbrt() - (1.0 - spread)) / spread.sqrt())
}

/// Pearson's χ² of counts against what is expected, all of it above zero, and the probability of one as large.
pub fn goodness_of_fit(counts: &[u64], expected: &[f64]) -> (f64, f64) {
    let part = |(&count, &expected): (&u64, &f64)| (count as f64 - expected).powi(2) / expected;
    let statistic: f64 = counts.iter().zip(expected).map(part).sum();
    (statistic, chi_square_tail(statistic, counts.len().saturating_sub(1).max(1)))
}

/// Where the true ratio of two variances is, with [`CONFIDENCE`], if a mean square of `degrees` independent normal errors was `ratio` times
/// what was predicted.
pub fn variance_interval(ratio: f64, degrees: f64) -> [f64; 2] {
    let spread = 2.0 / (9.0 * degrees.max(1.0));
    let quantile = |deviations: f64| (1.0 - spread + deviations * spread.sqrt()).max(0.0).powi(3);
    [QUANTILE, -QUANTILE].map(|deviations| ratio / quantile(deviations).max(f64::MIN_POSITIVE))
}

/// The degrees of freedom of a mean square of `count` errors which have a part of their variance in common: a factor, drawn once, of relative
/// standard deviation `shared`. Its relative variance is 2/count + shared².
pub fn effective_degrees(count: usize, shared: f64) -> f64 {
    2.0 / (2.0 / count.max(1) as f64 + shared * shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against tables of χ² (Abramowitz, Stegun, table 26.8): the 5 % and 0.1 % points.
    #[test]
    fn tails_are_those_of_tables() {
        for (statistic, degrees, tail) in [(18.307, 10, 0.05), (29.588, 10, 0.001), (124.342, 100, 0.05)] {
            assert!((chi_square_tail(statistic, degrees) / tail - 1.0).abs() < 0.1, "{degrees}");
        }
        assert!((two_sided(1.959_964) - 0.05).abs() < 1e-4);
        assert!((two_sided(QUANTILE) - (1.0 - CONFIDENCE)).abs() < 1e-5);
        assert!((upper_tail(-1.0) + upper_tail(1.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn intervals_hold_the_truth_and_shrink() {
        let [low, high] = variance_interval(1.0, 512.0);
        assert!((0.81..0.84).contains(&low) && (1.2..1.25).contains(&high), "{low} {high}");
        let [narrow, _] = variance_interval(1.0, 51_200.0);
        assert!(narrow > 0.97);
        assert_eq!(effective_degrees(512, 0.0), 512.0);
        // However many errors there are, what they share is not averaged out.
        assert!((effective_degrees(1 << 30, 0.1) - 200.0).abs() < 0.1);
    }

    #[test]
    fn a_loaded_die_is_noticed() {
        assert!(goodness_of_fit(&[1000, 1010, 990, 1005, 995, 1000], &[1000.0; 6]).1 > 0.9);
        assert!(goodness_of_fit(&[1200, 960, 960, 960, 960, 960], &[1000.0; 6]).1 < SIGNIFICANCE);
    }
}
