//! The integers that an intermediate takes, and the bits that they need.

use serde::Serialize;

/// All integers from `min` to `max`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IntegerRange {
    /// The smallest.
    pub min: i64,
    /// The largest; not less than `min`.
    pub max: i64,
}

impl IntegerRange {
    /// The widening of [`Self::guarded`] on either side, as a fraction of the width: one eighth.
    pub const GUARD_DIVISOR: i64 = 8;

    /// The range of one integer.
    pub fn of(value: i64) -> Self {
        Self { min: value, max: value }
    }

    /// −bound ..= bound.
    pub fn symmetric(bound: i64) -> Self {
        Self { min: -bound, max: bound }
    }

    /// The smallest range that holds all of `values`, or `None` if there are none.
    pub fn covering(values: impl IntoIterator<Item = i64>) -> Option<Self> {
        values.into_iter().map(Self::of).reduce(Self::union)
    }

    /// The smallest range that holds both.
    pub fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// Whether `value` is one of the integers.
    pub fn contains(&self, value: i64) -> bool {
        (self.min..=self.max).contains(&value)
    }

    /// How many integers there are.
    pub fn width(&self) -> i64 {
        self.max - self.min + 1
    }

    /// Bits that count the integers: the smallest b >= 1 with `2^b >= width`.
    pub fn bits(&self) -> u32 {
        bits_to_count(self.width() as u64)
    }

    /// Bits of a signed representation, without the sign: the smallest b >= 1 with −2^b <= min and max < 2^b.
    pub fn signed_bits(&self) -> u32 {
        bits_to_count(self.max.saturating_add(1).max(-self.min).max(1) as u64)
    }

    /// The range widened on either side by 1/[`Self::GUARD_DIVISOR`] of its width (at least 1), but not beyond `limit`.
    ///
    /// What was observed on a calibration set is a sample; other inputs go a little further.
    pub fn guarded(self, limit: Self) -> Self {
        let guard = (self.width() / Self::GUARD_DIVISOR).max(1);
        Self { min: (self.min - guard).max(limit.min), max: (self.max + guard).min(limit.max) }
    }
}

/// The smallest b >= 1 with `2^b >= count`.
fn bits_to_count(count: u64) -> u32 {
    count.max(2).next_power_of_two().trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_at_powers_of_two() {
        let bits = |min, max| IntegerRange { min, max }.bits();
        assert_eq!([bits(5, 5), bits(0, 1), bits(0, 2), bits(-4, 3), bits(-4, 4)], [1, 1, 2, 3, 4]);
        let signed = |min, max| IntegerRange { min, max }.signed_bits();
        assert_eq!([signed(0, 0), signed(-4, 3), signed(-4, 4), signed(-5, 0), signed(-100, -90)], [1, 2, 3, 3, 7]);
    }

    #[test]
    fn guard_widens_up_to_the_limit() {
        let observed = IntegerRange { min: -7, max: 8 };
        assert_eq!(observed.guarded(IntegerRange::symmetric(100)), IntegerRange { min: -9, max: 10 });
        assert_eq!(observed.guarded(IntegerRange::symmetric(8)), IntegerRange { min: -8, max: 8 });
        assert_eq!(IntegerRange::of(3).guarded(IntegerRange::symmetric(9)), IntegerRange { min: 2, max: 4 });
    }
}
