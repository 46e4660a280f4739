//! Variances of noise.

/// A variance, as a fraction of the torus squared.
///
/// # Examples
/// Noise that is independent adds up by variance, and scales by standard deviation: nine ciphertexts added up have three
/// times the noise of one, and one times nine has nine times.
/// ```
/// use tfhe_core::variance::Variance;
/// let noise = Variance::from_log2_std(-20.0);
/// assert!((noise.repeated(9.0).std() / noise.std() - 3.0).abs() < 1e-12);
/// assert!((noise.scaled(9.0).std() / noise.std() - 9.0).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Default)]
pub struct Variance(f64);

impl Variance {
    /// No noise.
    pub const ZERO: Self = Self(0.0);

    /// From a fraction of the torus squared.
    pub fn new(variance: f64) -> Self {
        Self(variance)
    }

    /// From log2 of a standard deviation.
    pub fn from_log2_std(log2_std: f64) -> Self {
        Self(2f64.powf(2.0 * log2_std))
    }

    /// The mean square of some errors, whose mean is zero; zero if there are none.
    pub fn measured(errors: &[f64]) -> Self {
        Self(errors.iter().map(|error| error * error).sum::<f64>() / errors.len().max(1) as f64)
    }

    /// As a fraction of the torus squared.
    pub fn get(self) -> f64 {
        self.0
    }

    /// log2 of the standard deviation.
    pub fn log2_std(self) -> f64 {
        0.5 * self.0.log2()
    }

    /// The standard deviation, as a fraction of the torus.
    pub fn std(self) -> f64 {
        self.0.sqrt()
    }

    /// Of the noise times `factor`.
    pub fn scaled(self, factor: f64) -> Self {
        Self(self.0 * factor * factor)
    }

    /// Of the sum of `count` independent noises.
    pub fn repeated(self, count: f64) -> Self {
        Self(self.0 * count)
    }
}

impl std::ops::Add for Variance {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl std::iter::Sum for Variance {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, std::ops::Add::add)
    }
}
