//! What an audit says: claims, each with figures and a verdict.

use serde::Serialize;
use tfhe_core::noise::{Distribution, Variance};
use tfhe_core::params::NoiseDistribution;

use super::statistics::{CONFIDENCE, effective_degrees, variance_interval};

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ClaimVerdict {
    /// What was computed or measured here agrees with it.
    #[serde(rename = "holds")]
    Holds,
    /// It does not.
    #[serde(rename = "does not hold")]
    Broken,
    /// Nothing here says so.
    #[serde(rename = "not checked")]
    NotChecked,
}

impl ClaimVerdict {
    /// Of a condition.
    pub fn of(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Broken }
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Broken => "does not hold",
            Self::NotChecked => "not checked",
        }
    }
}

/// A number that a claim rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClaimFigure {
    /// What it is.
    pub name: String,
    /// The number, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// As it is shown, with its unit.
    pub text: String,
}

/// One sentence that is true or not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditClaim {
    /// Unique: letters of the section, and words.
    pub id: String,
    /// The claim.
    pub sentence: String,
    /// What became of it.
    pub verdict: ClaimVerdict,
    /// What it rests on.
    pub figures: Vec<ClaimFigure>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// Measured errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<NoiseHistogram>,
}

impl AuditClaim {
    /// Without figures.
    pub fn new(id: impl Into<String>, sentence: impl Into<String>, verdict: ClaimVerdict) -> Self {
        let (figures, notes) = (Vec::new(), Vec::new());
        Self { id: id.into(), sentence: sentence.into(), verdict, figures, notes, histogram: None }
    }

    /// With a number and how it is shown.
    #[must_use]
    pub fn figure(mut self, name: impl Into<String>, value: f64, text: impl Into<String>) -> Self {
        let value = value.is_finite().then_some(value);
        self.figures.push(ClaimFigure { name: name.into(), value, text: text.into() });
        self
    }

    /// With something that is no number.
    #[must_use]
    pub fn words(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.figures.push(ClaimFigure { name: name.into(), value: None, text: text.into() });
        self
    }

    /// With a remark.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// Claims of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditSection {
    /// A letter.
    pub id: &'static str,
    /// A few words.
    pub title: &'static str,
    /// What the claims are about, and each term that they use.
    pub explanation: Vec<&'static str>,
    /// The claims.
    pub claims: Vec<AuditClaim>,
    /// What the claims rest on, and is not checked.
    pub assumptions: Vec<&'static str>,
}

impl AuditSection {
    /// How many claims have a verdict.
    pub fn count(&self, verdict: ClaimVerdict) -> usize {
        self.claims.iter().filter(|claim| claim.verdict == verdict).count()
    }
}

/// Errors in units of their predicted standard deviation, and what is expected of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NoiseHistogram {
    /// Where the first bin begins.
    pub start: f64,
    /// How wide bins are.
    pub width: f64,
    /// How many errors are in each.
    pub counts: Vec<u64>,
    /// How many the predicted distribution would have in each.
    pub expected: Vec<f64>,
    /// Errors that are in none.
    pub outside: u64,
}

impl NoiseHistogram {
    const BINS: usize = 41;
    const REACH: f64 = 4.1;
    /// From which b of TUniform(b) on numbers are so dense that they need not be counted one by one.
    const SMOOTH: u32 = 8;

    /// Of errors whose standard deviation is predicted, and that should be normal.
    pub fn new(errors: &[f64], predicted: Variance) -> Self {
        // The tail is symmetric: half of it is above.
        let normal = Distribution::from(Variance::new(1.0));
        let below = |x: f64| {
            let beyond = normal.log2_tail(x.abs()).exp2() / 2.0;
            if x < 0.0 { beyond } else { 1.0 - beyond }
        };
        Self::of(errors, predicted, below)
    }

    /// Of noise of encryptions: what is TUniform is flat.
    pub fn of_encryption(errors: &[f64], noise: NoiseDistribution) -> Self {
        let predicted = noise.variance();
        let NoiseDistribution::TUniform { bound_log } = noise else { return Self::new(errors, predicted) };
        // Each number as a part of the line, 1 wide, and both ends half of that.
        let bound = 2f64.powi(bound_log as i32);
        let unit = 2f64.powi(-64) / predicted.std();
        let below = |x: f64| {
            let place = if bound_log > Self::SMOOTH { x / unit } else { (x / unit).ceil() - 0.5 };
            (place.clamp(-bound, bound) + bound) / (2.0 * bound)
        };
        Self::of(errors, predicted, below)
    }

    /// With the part of a distribution that is below a number of standard deviations.
    fn of(errors: &[f64], predicted: Variance, below: impl Fn(f64) -> f64) -> Self {
        let width = 2.0 * Self::REACH / Self::BINS as f64;
        let (mut counts, mut outside) = (vec![0; Self::BINS], 0);
        for error in errors {
            let bin = (error / predicted.std() + Self::REACH) / width;
            match counts.get_mut(bin.floor() as usize) {
                Some(count) if bin >= 0.0 => *count += 1,
                _ => outside += 1,
            }
        }
        let edge = |bin: usize| below(bin as f64 * width - Self::REACH);
        let expected = (0..Self::BINS).map(|bin| errors.len() as f64 * (edge(bin + 1) - edge(bin))).collect();
        Self { start: -Self::REACH, width, counts, expected, outside }
    }
}

/// How much more variance than predicted still counts as predicted: a failure probability of 2^-40 becomes one of 2^-38.
pub(super) const ALLOWED_EXCESS: f64 = 1.05;
/// A prediction is called loose if the noise is surely less than so much of it.
pub(super) const LOOSE: f64 = 0.8;

/// Errors of one operation, and the noise that was predicted for it.
#[derive(Clone, Debug)]
pub struct MeasuredNoise {
    /// Where, and which operation.
    pub id: String,
    /// What the operation does, in a few words.
    pub operation: String,
    /// By the formulas of [`tfhe_core::noise`].
    pub predicted: Variance,
    /// By decryption.
    pub errors: Vec<f64>,
    /// The relative standard deviation of a factor of the variance that errors have in common, as those under one key have.
    pub shared: f64,
    /// Of noise that was just drawn: how. Else it should be normal.
    pub drawn: Option<NoiseDistribution>,
}

impl MeasuredNoise {
    /// That the noise is what is predicted.
    pub fn claim(&self) -> AuditClaim {
        let measured = Variance::measured(&self.errors);
        let ratio = measured.get() / self.predicted.get();
        let [low, high] = variance_interval(ratio, effective_degrees(self.errors.len(), self.shared));
        let sentence = format!("{}: the noise is at most what is predicted", self.operation);
        // NaN is no noise that was predicted.
        let holds = self.errors.len() > 1 && low <= ALLOWED_EXCESS;
        let mut claim = AuditClaim::new(&*self.id, sentence, ClaimVerdict::of(holds))
            .figure("predicted", self.predicted.log2_std(), format!("2^{:.2}", self.predicted.log2_std()))
            .figure("measured", measured.log2_std(), format!("2^{:.2}", measured.log2_std()))
            .figure("samples", self.errors.len() as f64, self.errors.len().to_string())
            .figure("variance, measured/predicted", ratio, format!("{ratio:.3}"))
            .figure("from", low, format!("{low:.3}"))
            .figure("to", high, format!("{high:.3} ({:.1} % confidence)", 100.0 * CONFIDENCE));
        if holds && high < LOOSE {
            claim = claim.note(format!("loose: the prediction is at least {:.2} times the variance", 1.0 / high));
        }
        claim.histogram = Some(match self.drawn {
            None => NoiseHistogram::new(&self.errors, self.predicted),
            Some(noise) => NoiseHistogram::of_encryption(&self.errors, noise),
        });
        if let Some(NoiseDistribution::TUniform { bound_log }) = self.drawn {
            claim = claim.note(format!("TUniform({bound_log}): flat, and no bell"));
        }
        claim
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tfhe_core::random::SampleSeed;
    use tfhe_core::torus;

    fn measured(predicted: f64) -> AuditClaim {
        let mut samples = SampleSeed::from_number(1).stream(0);
        let errors = (0..2000).map(|_| samples.normal() * 2f64.powi(-20)).collect();
        let predicted = Variance::from_log2_std(-20.0).repeated(predicted);
        MeasuredNoise { id: "B".into(), operation: "a test".into(), predicted, errors, shared: 0.0, drawn: None }
            .claim()
    }

    #[test]
    fn noise_as_predicted_holds_and_half_the_prediction_does_not() {
        assert_eq!(measured(1.0).verdict, ClaimVerdict::Holds);
        assert_eq!(measured(0.5).verdict, ClaimVerdict::Broken);
        let loose = measured(4.0);
        assert_eq!(loose.verdict, ClaimVerdict::Holds);
        assert!(loose.notes[0].starts_with("loose"), "{loose:?}");
        assert!(measured(1.0).notes.is_empty());
    }

    #[test]
    fn errors_that_are_no_numbers_do_not_hold() {
        let predicted = Variance::from_log2_std(-20.0);
        let claim = |errors| {
            MeasuredNoise { id: "B".into(), operation: "a test".into(), predicted, errors, shared: 0.0, drawn: None }
                .claim()
        };
        assert_eq!(claim(vec![f64::NAN; 4]).verdict, ClaimVerdict::Broken);
        assert_eq!(claim(vec![]).verdict, ClaimVerdict::Broken);
    }

    #[test]
    fn what_is_expected_of_flat_noise_is_flat() {
        for bound_log in [3, 17] {
            let noise = NoiseDistribution::TUniform { bound_log };
            let mut samples = SampleSeed::from_number(2).stream(0);
            let errors: Vec<f64> = (0..40_000).map(|_| torus::to_f64(samples.noise(noise))).collect();
            let histogram = NoiseHistogram::of_encryption(&errors, noise);
            assert!((histogram.expected.iter().sum::<f64>() - 40_000.0).abs() < 1.0);
            for (&count, expected) in histogram.counts.iter().zip(&histogram.expected) {
                assert!((count as f64 - expected).abs() <= 6.0 * expected.sqrt() + 1e-6, "{histogram:?}");
            }
        }
    }

    #[test]
    fn a_histogram_counts_every_error() {
        let histogram = measured(1.0).histogram.unwrap();
        assert_eq!(histogram.counts.iter().sum::<u64>() + histogram.outside, 2000);
        assert!((histogram.expected.iter().sum::<f64>() - 2000.0).abs() < 1.0);
    }
}
