//! How errors are distributed: not only how large they are, but how often they are much larger than usual.
//!
//! A sum of very many independent errors is normal. The error of a product of two ciphertexts is not such a sum: it is
//! Σ_p e_p·K_p over the places p of a polynomial, where e is the noise of one factor and K the wrap-around of the other's phase
//! (book, chapter 10). Given K it is normal, but its variance is then σ²·ΣK_p², and that is a random number itself. Where K is large by
//! chance, *all* errors of the product are. So a [`Distribution`] is a mixture of normal ones: a sum of independent parts, which are
//!
//! | part | given what the variance of one ciphertext is | moment generating function at s |
//! |---|---|---|
//! | normal | v | exp(s²v/2) |
//! | [`Mixture::Scattered`]: K_p independent of each other, d degrees of freedom | v·χ²_d/d | (1 − s²v/d)^(−d/2) |
//! | [`Mixture::Walk`]: K is a random walk that returns to its negative | v·Σ_k λ_k·E_k | 1/cos(s·√v) |
//!
//! with E_k independent, exponential, of mean 1, and λ_k = 8/(π(2k−1))². The last is the hyperbolic secant distribution; it is Lévy's
//! stochastic area in disguise (P. Lévy, Proc. 2nd Berkeley Symp. (1951)): the sum of the steps of one random walk times the
//! positions of another.
//!
//! The tail is the inverse of the Laplace transform, taken along the line through the saddle point, where the integrand is largest and
//! does not oscillate (Daniels, Ann. Math. Statist. 25 (1954); the trapezoidal rule converges geometrically there: Trefethen and Weideman,
//! SIAM Review 56 (2014)). Nothing underflows, as it is computed relative to the integrand's largest value.
//!
//! In the book: [tails of products](../../../book/10-tails-of-products.html).

use std::f64::consts::{FRAC_PI_2, LN_2, LOG2_E, PI};

use rand_distr::{ChiSquared, Exp1};
use rustfft::num_complex::Complex;

use crate::random::SampleStream;
use crate::variance::Variance;

/// Which mixture of normal distributions a part is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mixture {
    /// The wrap-around is independent from place to place: its mean square is χ² of so many degrees of freedom, over their number.
    Scattered {
        /// Degrees of freedom, at least 1.
        degrees: f64,
    },
    /// The wrap-around is a random walk.
    Walk,
}

/// A part that is not normal; `count` independent ones of `variance` each.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    variance: Variance,
    mixture: Mixture,
    count: u32,
}

/// The distribution of an error, symmetric about zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    normal: Variance,
    parts: Vec<Part>,
}

impl From<Variance> for Distribution {
    /// Normal.
    fn from(normal: Variance) -> Self {
        Self { normal, parts: Vec::new() }
    }
}

impl Distribution {
    /// No error.
    pub const ZERO: Self = Self { normal: Variance::ZERO, parts: Vec::new() };

    /// Of one mixture.
    ///
    /// # Examples
    /// As large on average as a normal error, and far more often very large.
    /// ```
    /// use tfhe_core::distribution::{Distribution, Mixture};
    /// use tfhe_core::variance::Variance;
    ///
    /// let one = Variance::new(1.0);
    /// let (mixture, normal) = (Distribution::mixture(one, Mixture::Scattered { degrees: 2.0 }), Distribution::from(one));
    /// assert_eq!(mixture.variance(), normal.variance());
    /// assert!(mixture.log2_tail(8.0) > normal.log2_tail(8.0) + 20.0);
    /// ```
    pub fn mixture(variance: Variance, mixture: Mixture) -> Self {
        Self { normal: Variance::ZERO, parts: vec![Part { variance, mixture, count: 1 }] }
    }

    /// The variance, of all parts.
    pub fn variance(&self) -> Variance {
        self.normal + self.parts.iter().map(|part| part.variance.repeated(part.count as f64)).sum()
    }

    /// Of the error times `factor`.
    pub fn scaled(&self, factor: f64) -> Self {
        let scaled = |part: &Part| Part { variance: part.variance.scaled(factor), ..*part };
        Self { normal: self.normal.scaled(factor), parts: self.parts.iter().map(scaled).collect() }
    }

    /// log2 of the probability that the error is at least `threshold` away from zero, to 10^-4 of a bit; at less than a hundredth of a
    /// standard deviation, 0.
    ///
    /// # Examples
    /// A variance says how large errors are, a tail how often one is too large. A table of 4 bits fails if the phase that
    /// reads it is off by half a slot: for the sum of five results of bootstrapping, less than once in 2^128.
    /// ```
    /// use tfhe_core::key_graph::{Edge, Node};
    /// use tfhe_core::noise::{self, Distribution};
    /// use tfhe_core::params::Grouping;
    /// use tfhe_core::{programmable_bootstrap::half_slot, sets, torus};
    ///
    /// let set = sets::MESSAGE_2_CARRY_2.compile()?;
    /// let (small, ring) = (set.small(), set.lookup());
    /// let n = small.lwe_dimension();
    /// let key = ring.noise.variance();
    /// let fresh = noise::blind_rotation(set.bootstraps()[0].gadget, Grouping::One, ring.shape, n, key);
    /// let sum = fresh.repeated(5.0);
    /// let gadget = set.gadget(Edge::Keyswitch { from: Node::Lookup })?;
    /// let keyswitch = noise::lwe_keyswitch(gadget, ring.lwe_dimension(), small.noise().variance());
    /// let phase = sum + keyswitch + noise::modulus_switch(n, ring.size());
    /// assert!(Distribution::from(phase).log2_tail(torus::to_f64(half_slot(4))) < -128.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// If `threshold` is negative.
    pub fn log2_tail(&self, threshold: f64) -> f64 {
        assert!(threshold >= 0.0, "a distance");
        let deviation = self.variance().std();
        if threshold == f64::INFINITY {
            return f64::NEG_INFINITY;
        }
        if deviation == 0.0 {
            return if threshold > 0.0 { f64::NEG_INFINITY } else { 0.0 };
        }
        // In units of the standard deviation.
        let unit = self.scaled(1.0 / deviation);
        let threshold = threshold / deviation;
        if unit.parts.is_empty() {
            return log2_erfc(threshold * std::f64::consts::FRAC_1_SQRT_2).min(0.0);
        }
        // Below, the line would have to pass between two singularities that are close together.
        if threshold < SMALLEST_THRESHOLD { 0.0 } else { (1.0 + unit.log2_upper_tail(threshold)).min(0.0) }
    }

    /// Draws the variance that the error has in one ciphertext.
    pub fn draw_variance(&self, generator: &mut SampleStream) -> Variance {
        let mut draw = |part: &Part| {
            let mut ratio = || match part.mixture {
                Mixture::Scattered { degrees } => {
                    generator.sample(ChiSquared::new(degrees).expect("degrees are positive")) / degrees
                }
                Mixture::Walk => walk_energy(generator),
            };
            let total: f64 = (0..part.count).map(|_| ratio()).sum();
            part.variance.repeated(total)
        };
        self.normal + self.parts.iter().map(&mut draw).sum()
    }

    /// Where the moment generating function ends.
    fn abscissa(&self) -> f64 {
        let of_part = |part: &Part| match part.mixture {
            Mixture::Scattered { degrees } => (degrees / part.variance.get()).sqrt(),
            Mixture::Walk => FRAC_PI_2 / part.variance.std(),
        };
        self.parts.iter().map(of_part).fold(f64::INFINITY, f64::min)
    }

    /// The derivative of the logarithm of the moment generating function.
    fn slope(&self, s: f64) -> f64 {
        let of_part = |part: &Part| {
            let v = part.variance.get();
            let one = match part.mixture {
                Mixture::Scattered { degrees } => s * v / (1.0 - s * s * v / degrees),
                Mixture::Walk => v.sqrt() * (s * v.sqrt()).tan(),
            };
            one * part.count as f64
        };
        s * self.normal.get() + self.parts.iter().map(of_part).sum::<f64>()
    }

    /// The logarithm of the moment generating function, continuous on the right half plane below [`Self::abscissa`].
    fn log_moments(&self, s: Complex<f64>) -> Complex<f64> {
        let square = s * s;
        let of_part = |part: &Part| {
            let v = part.variance.get();
            let one = match part.mixture {
                // Re(1 − s²v/d) is positive there, so the principal branch is the right one.
                Mixture::Scattered { degrees } => -(1.0 - square * (v / degrees)).ln() * (degrees / 2.0),
                Mixture::Walk => -log_cos(s * v.sqrt()),
            };
            one * part.count as f64
        };
        square * (self.normal.get() / 2.0) + self.parts.iter().map(of_part).sum::<Complex<f64>>()
    }

    /// log2 P(X ≥ threshold) = log2 (1/2πi)∫ M(s)·exp(−s·threshold)/s ds for an X of variance 1.
    fn log2_upper_tail(&self, threshold: f64) -> f64 {
        let end = self.abscissa();
        let saddle = self.saddle(threshold, end);
        let exponent = |s: Complex<f64>| self.log_moments(s) - s * threshold - s.ln();
        let peak = exponent(Complex::new(saddle, 0.0)).re;
        // A sixth of the distance to the next singularity, where the rule's error is exp(−2π·6): 10^-16.
        let step = saddle.min(end - saddle).min(1.0) / 6.0;
        let mut sum = 0.5;
        for index in 1..MAX_TERMS {
            let term = exponent(Complex::new(saddle, index as f64 * step)) - peak;
            sum += term.exp().re;
            if term.re < SMALLEST_TERM {
                break;
            }
        }
        peak * LOG2_E + (sum * step / PI).log2()
    }

    /// The s at which M(s)·exp(−s·threshold)/s is smallest, below `end`: its logarithm is convex, so its slope is bisected.
    fn saddle(&self, threshold: f64, end: f64) -> f64 {
        // Parts only add to the slope of the normal distribution of their variance, for which s < threshold + 1/threshold.
        let (mut low, mut high) = (0.0, (threshold + 1.0 / threshold).min(end));
        for _ in 0..100 {
            let middle = 0.5 * (low + high);
            if self.slope(middle) - threshold - 1.0 / middle < 0.0 { low = middle } else { high = middle }
        }
        low
    }
}

/// Tails are not computed for less than so many standard deviations: there they are near 1.
const SMALLEST_THRESHOLD: f64 = 0.01;
/// The natural logarithm of the terms that are left out of the integral, relative to the largest.
const SMALLEST_TERM: f64 = -40.0;
/// A bound on the work. Beside a normal part, and in a walk, terms fall exponentially and end long before; of scattered parts alone
/// they fall like y^(−d−1), and what is left out is below 10^-4 of a bit from d = 2 on, as a test has it.
const MAX_TERMS: usize = 1 << 16;

/// Σ λ_k·E_k: the terms but the first few are replaced by their mean; their variance, Σ λ_k², is 10^-5 of the sum's.
fn walk_energy(generator: &mut SampleStream) -> f64 {
    const DRAWN: i32 = 16;
    let share = |k: i32| 2.0 / (FRAC_PI_2 * f64::from(2 * k - 1)).powi(2);
    let rest = 1.0 - (1..=DRAWN).map(share).sum::<f64>();
    (1..=DRAWN).map(|k| share(k) * generator.sample(Exp1)).sum::<f64>() + rest
}

/// ln cos z for 0 ≤ Re z < π/2 and Im z ≥ 0, without overflow: cos z = exp(−iz)·(1 + exp(2iz))/2.
fn log_cos(z: Complex<f64>) -> Complex<f64> {
    let iz = Complex::<f64>::i() * z;
    ((iz * 2.0).exp() + 1.0).ln() - iz - LN_2
}

/// log2 erfc(x), x ≥ 0.
fn log2_erfc(x: f64) -> f64 {
    if x < 1.0 {
        // Series of erf: 2/sqrt(pi)·Σ (−1)^k x^(2k+1)/(k!(2k+1)).
        let (mut term, mut sum) = (x, x);
        for k in 1..60 {
            term *= -x * x / k as f64;
            sum += term / (2 * k + 1) as f64;
        }
        return (1.0 - 2.0 / std::f64::consts::PI.sqrt() * sum).log2();
    }
    // erfc(x) = exp(−x²)/sqrt(pi) · 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + …)))).
    let fraction = (1..=200).rev().fold(x, |tail, k| x + 0.5 * k as f64 / tail);
    -x * x * std::f64::consts::LOG2_E - (std::f64::consts::PI.sqrt() * fraction).log2()
}

impl std::ops::Add for Distribution {
    type Output = Self;

    /// Of the sum of independent errors.
    fn add(mut self, other: Self) -> Self {
        self.normal = self.normal + other.normal;
        for part in other.parts {
            let same = |mine: &&mut Part| mine.variance == part.variance && mine.mixture == part.mixture;
            match self.parts.iter_mut().find(same) {
                Some(mine) => mine.count += part.count,
                None => self.parts.push(part),
            }
        }
        self
    }
}

impl std::ops::Add<Variance> for Distribution {
    type Output = Self;

    /// Of the sum with an independent normal error.
    fn add(self, other: Variance) -> Self {
        Self { normal: self.normal + other, ..self }
    }
}

impl std::iter::Sum for Distribution {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, std::ops::Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(mixture: Mixture) -> Distribution {
        Distribution::mixture(Variance::new(1.0), mixture)
    }

    fn assert_tail(distribution: &Distribution, threshold: f64, log2: f64) {
        let tail = distribution.log2_tail(threshold);
        assert!((tail - log2).abs() < 1e-4, "{distribution:?} beyond {threshold}: {tail}, not {log2}");
    }

    #[test]
    fn tails_of_the_normal_distribution() {
        // P(|x| ≥ 1σ) = 0.31731, 2σ: 0.0455003, 8σ: 1.2442e-15 (Abramowitz and Stegun, table 26.1).
        let normal = Distribution::from(Variance::new(1.0));
        for (threshold, probability) in
            [(1.0, 0.317_310_5), (2.0, 0.045_500_26), (5.0, 5.733_031e-7), (8.0, 1.244_192e-15)]
        {
            assert_tail(&normal, threshold, f64::log2(probability));
        }
        assert!(normal.log2_tail(40.0) < -1150.0);
        assert_eq!(Distribution::ZERO.log2_tail(1.0), f64::NEG_INFINITY);
        for distribution in [normal, Distribution::ZERO, unit(Mixture::Walk)] {
            assert_eq!(distribution.log2_tail(f64::INFINITY), f64::NEG_INFINITY);
        }
    }

    /// With very many degrees of freedom the mixture is normal, but its tail is computed by the integral.
    #[test]
    fn the_integral_agrees_with_the_error_function() {
        let many = unit(Mixture::Scattered { degrees: 1e12 });
        for threshold in [0.1, 1.0, 3.0, 8.0, 20.0, 40.0] {
            assert_tail(&many, threshold, Distribution::from(Variance::new(1.0)).log2_tail(threshold));
        }
    }

    /// Two degrees of freedom make a Laplace distribution, P(|x| ≥ x) = exp(−√2·x); a walk the hyperbolic secant's, of which
    /// P(|x| ≥ x) = 4/π·atan(exp(−πx/2)).
    #[test]
    fn tails_of_mixtures_with_closed_forms() {
        for threshold in [0.5, 1.0, 4.0, 6.0, 20.0, 60.0] {
            let laplace = -std::f64::consts::SQRT_2 * threshold * LOG2_E;
            assert_tail(&unit(Mixture::Scattered { degrees: 2.0 }), threshold, laplace);
            let secant = (4.0 / PI * (-FRAC_PI_2 * threshold).exp().atan()).log2();
            assert_tail(&unit(Mixture::Walk), threshold, secant);
        }
    }

    #[test]
    fn sums_keep_equal_parts_together() {
        let walk = Distribution::mixture(Variance::new(2.0), Mixture::Walk);
        let sum = walk.clone() + Variance::new(1.0) + walk.scaled(1.0) + walk.scaled(2.0);
        assert_eq!(sum.parts.len(), 2);
        assert_eq!(sum.variance(), Variance::new(13.0));
    }

    /// Errors drawn by [`Distribution::draw_variance`] have the tail: 2^20 samples, within five standard errors of the count.
    #[test]
    fn drawn_errors_have_the_tail() {
        let distribution = Distribution::mixture(Variance::new(0.5), Mixture::Walk)
            + Distribution::mixture(Variance::new(0.3), Mixture::Scattered { degrees: 5.5 })
            + Variance::new(0.2);
        let mut generator = crate::random::SampleSeed::from_number(3).stream(0);
        let samples: Vec<f64> =
            (0..1 << 20).map(|_| distribution.draw_variance(&mut generator).std() * generator.normal()).collect();
        for threshold in [0.5, 1.0, 2.0, 3.0, 4.0] {
            let count = samples.iter().filter(|x| x.abs() >= threshold).count() as f64;
            let expected = samples.len() as f64 * distribution.log2_tail(threshold).exp2();
            assert!((count - expected).abs() < 5.0 * expected.sqrt(), "{threshold}: {count}, {expected}");
        }
    }
}
