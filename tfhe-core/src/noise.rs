//! Noise
/// Variance
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Variance(f64);
impl Variance {
    /// new
    pub fn new(v: f64) -> Self {
        Self(v)
    }
    /// from std
    pub fn from_log2_std(l: f64) -> Self {
        Self(2f64.powf(2.0 * l))
    }
}
