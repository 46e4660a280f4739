//! What an audit says: claims, each with figures and a verdict.

use serde::Serialize;
use tfhe_core::noise::{Distribution, Variance};

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
    /// How many a normal distribution of the predicted variance would have in each.
    pub expected: Vec<f64>,
    /// Errors that are in none.
    pub outside: u64,
}

impl NoiseHistogram {
    const BINS: usize = 41;
    const REACH: f64 = 4.1;

    /// Of errors whose standard deviation is predicted.
    pub fn new(errors: &[f64], predicted: Variance) -> Self {
        let width = 2.0 * Self::REACH / Self::BINS as f64;
        let (mut counts, mut outside) = (vec![0; Self::BINS], 0);
        for error in errors {
            let bin = (error / predicted.std() + Self::REACH) / width;
            match counts.get_mut(bin.floor() as usize) {
                Some(count) if bin >= 0.0 => *count += 1,
                _ => outside += 1,
            }
        }
        // The tail is symmetric: half of it is above.
        let normal = Distribution::from(Variance::new(1.0));
        let beyond = |x: f64| {
            let above = normal.log2_tail(x.abs()).exp2() / 2.0;
            if x < 0.0 { 1.0 - above } else { above }
        };
        let edge = |bin: usize| beyond(bin as f64 * width - Self::REACH);
        let expected = (0..Self::BINS).map(|bin| errors.len() as f64 * (edge(bin) - edge(bin + 1))).collect();
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
        claim.histogram = Some(NoiseHistogram::new(&self.errors, self.predicted));
        claim
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tfhe_core::random::SampleSeed;

    fn measured(predicted: f64) -> AuditClaim {
        let mut samples = SampleSeed::from_number(1).stream(0);
        let errors = (0..2000).map(|_| samples.normal() * 2f64.powi(-20)).collect();
        let predicted = Variance::from_log2_std(-20.0).repeated(predicted);
        MeasuredNoise { id: "B".into(), operation: "a test".into(), predicted, errors, shared: 0.0 }.claim()
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
            MeasuredNoise { id: "B".into(), operation: "a test".into(), predicted, errors, shared: 0.0 }.claim()
        };
        assert_eq!(claim(vec![f64::NAN; 4]).verdict, ClaimVerdict::Broken);
        assert_eq!(claim(vec![]).verdict, ClaimVerdict::Broken);
    }

    #[test]
    fn a_histogram_counts_every_error() {
        let histogram = measured(1.0).histogram.unwrap();
        assert_eq!(histogram.counts.iter().sum::<u64>() + histogram.outside, 2000);
        assert!((histogram.expected.iter().sum::<f64>() - 2000.0).abs() < 1.0);
    }
}
