//! How much work a call is: what its time is divided by.

use tfhe_core::params::{Gadget, Grouping};

/// What one call of a kernel does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// How many things: ciphertexts, rotations. The page gives the time of one.
    pub count: usize,
    /// Floating-point operations of all.
    pub operations: f64,
    /// Bytes that no cache holds from call to call: keys that are longer than a cache.
    pub bytes: f64,
    /// Whether all threads share it.
    pub shared: bool,
}

impl Work {
    /// One thing, whose work is not counted.
    pub const ONE: Self = Self { count: 1, operations: 0.0, bytes: 0.0, shared: false };

    /// A transform of polynomials of N coefficients: M = N/2 complex points, and 10 operations for each of M/2·log2 M butterflies, as is
    /// usual to count them. (Kernels take six instructions for these ten.)
    pub fn transform(n: usize) -> Self {
        let points = (n / 2) as f64;
        Self { operations: 5.0 * points * points.log2(), ..Self::ONE }
    }

    /// N/2 complex numbers multiplied by others, and added to a sum.
    pub fn pointwise(n: usize) -> Self {
        Self { operations: 4.0 * n as f64, ..Self::ONE }
    }

    /// A gadget product of so many input polynomials with keys of so many columns. O(rows·transform + rows·columns·N).
    pub fn product(n: usize, gadget: Gadget, inputs: usize, columns: usize) -> Self {
        let (rows, sums) = (inputs * gadget.levels(), columns * gadget.precision().limbs());
        let transforms = Self::transform(n).operations * (rows + sums) as f64;
        Self { operations: transforms + Self::pointwise(n).operations * (rows * sums) as f64, ..Self::ONE }
    }

    /// A step of a blind rotation that takes so many bits of the key: of two, the digits' products with three keys, and those of each sum with
    /// a factor of its own.
    pub fn rotation_step(n: usize, gadget: Gadget, grouping: Grouping, columns: usize) -> Self {
        let product = Self::product(n, gadget, columns, columns);
        match grouping {
            Grouping::One => product,
            Grouping::Two => {
                let more = 2 * columns * gadget.levels() * columns + 3 * columns;
                Self { operations: product.operations + Self::pointwise(n).operations * more as f64, ..product }
            }
        }
    }

    /// The same so often, for one thing.
    pub fn repeated(self, times: usize) -> Self {
        Self { operations: self.operations * times as f64, bytes: self.bytes * times as f64, ..self }
    }

    /// With what else is done for the same thing.
    pub fn and(self, other: Self) -> Self {
        Self { operations: self.operations + other.operations, bytes: self.bytes + other.bytes, ..self }
    }

    /// So many things of this kind.
    pub fn times(self, count: usize) -> Self {
        Self { count: self.count * count, ..self.repeated(count) }
    }

    /// Reads so many bytes of memory besides.
    pub fn reading(self, bytes: usize) -> Self {
        Self { bytes: self.bytes + bytes as f64, ..self }
    }

    /// On all threads.
    pub fn shared(self) -> Self {
        Self { shared: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tfhe_core::params::Precision;

    #[test]
    fn work_is_counted() {
        // 4 points: two levels of two butterflies.
        assert_eq!(Work::transform(8).operations, 40.0);
        let gadget = Gadget::new(11, 4, Precision::Split).unwrap();
        // 8 rows and 4 sums, two of each column.
        let product = Work::product(8, gadget, 2, 2);
        assert_eq!(product.operations, 12.0 * 40.0 + 32.0 * 32.0);
        // Of single precision 8 rows and 2 sums, of pairs three times as many products, and three factors for each sum.
        let gadget = Gadget::new(11, 4, Precision::Single).unwrap();
        let step = |grouping| Work::rotation_step(8, gadget, grouping, 2).operations;
        assert_eq!(step(Grouping::One), 10.0 * 40.0 + 16.0 * 32.0);
        assert_eq!(step(Grouping::Two), 10.0 * 40.0 + (3.0 * 16.0 + 6.0) * 32.0);
        assert_eq!(product.times(3).count, 3);
        assert_eq!(product.times(3).operations, 3.0 * product.operations);
        assert_eq!(product.reading(5).repeated(2).bytes, 10.0);
        assert_eq!(product.repeated(2).count, 1);
    }
}
