//! The rounding errors of products by f64 transforms: a model, its constants for each backend, and what integers they allow.
//!
//! Everything is in mean squares relative to that of the result, in units of u² with u = 2^-53, half the spacing of f64s just
//! above 1.
//!
//! - **A transform** of M = N/2 points has log2 M levels of butterflies, of which those that multiply add about as much each:
//!   c·(log2 M − m) in all (Schatzman, SIAM J. Sci. Comput. 17 (1996), who measures c = 0.36 for a careful one, m = 0). m is 2 for
//!   rustfft, whose first two levels multiply by powers of i only, and 0 for our own, all of whose levels in the forward direction multiply.
//!   c is measured, for each code ([`Transforms`]). Of three transforms, two of operands and one of the sum, it counts three
//!   times.
//! - **A sum of R products**, term by term: rounding x to a f64 leaves an error of variance u²·4^e/3, where 2^e ≤ |x| < 2^(e+1).
//!   For x of any order of magnitude alike, the mean of 4^e is ln 2/1.5 times that of x²: 0.154 u² of the mean square. The real part of a
//!   complex product is two real ones, which make up half of its mean square each, and the r-th partial sum has r/R of the
//!   final one. Fused multiply-adds round after either product, at r − 1/2 and r: together R + 1/2 roundings of the final sum. Without
//!   them, two products, their sum, and the partial sum are rounded: 2 + (R + 1)/2.
//! - **A torus element** is uniform in [−2^63, 2^63) and loses its last bits when it becomes a f64. Half of them are in the
//!   topmost octave, where the rounding's variance is 2^20/12, a quarter in the next, with 2^18/12: together
//!   Σ 2^-(j+1)·2^(20−2j)/12 = (4/7)·2^20/12, which is 1/7 u² of their variance 2^126/3. Integers of 32 bits are exact.
//!
//! # What is asked of sums
//! Three bounds. They are stated here, for a coefficient and for a run of 2^40 of them, and everything else refers to them.
//!
//! - **Integers are below [`MAXIMUM_INTEGER`] = 2^51** in absolute value. An inverse transform whose results are integers is rounded to them
//!   ([`crate::fft::NegacyclicFft::inverse_add_integers`]): 1.5·2^52 is added, and the sum is between 2^52 and 2^53, where f64s are 1
//!   apart, so that x + e with |e| < 1/2 is nearest to x. A debug assertion of every inverse transform.
//! - **Their errors are below 1/2**, which has to be at least [`EXACT_MARGIN`] = 6 standard deviations of e on the least precise backend
//!   ([`Transforms::ANY`]). For N = 4096 that is a root mean square of the sums of at most 2^47, so this bound is the narrower one. Checked
//!   where a gadget meets a ring ([`crate::params::Gadget::in_ring`]), and by a debug assertion where weights do
//!   ([`crate::integer_product`]).
//! - **Torus elements are below [`MAXIMUM_SUM`] = 2^115**, in units of 2^-64, before they are reduced modulo 1
//!   ([`crate::fft::NegacyclicFft::inverse_add_torus`]). No sum of 2^23 digits of at most 2^29 can be larger, which are more than any product
//!   of the named sets has, and than three that are turned and added ([`crate::params::Grouping::Two`]). A debug assertion of every inverse transform.
//!
//! What is left of a torus element is rounded once more, by the vector backends to a multiple of 2^[`TORUS_BITS`] = 2^13: to 51 bits, of
//! which the errors above leave fewer. In no product of a named set is that a hundredth of their variance, so it is not added to it; a test
//! has the numbers.
//!
//! The first two hold of random numbers, so with a probability:
//!
//! | a coefficient | standard deviations | for each, less than | in 2^40, less than |
//! |---|---|---|---|
//! | is 2^51 or more, in a sum that the second bound allows | 2^4 of the sum | 2^-188 | 2^-148 |
//! | is off by one, with a gadget that is accepted only just | 6 of the error | 2^-28.9 | 2^11.1, that is, it happens |
//!
//! A coefficient that is off by one is harmless, and counted: [`crate::noise::off_by_ones`]. A test has the numbers.
//!
//! In the book: [chapter 4, the negacyclic FFT](../../../book/04-negacyclic-fft.html).

/// What every coefficient of a sum that is rounded to integers must be below, as the module explains.
pub const MAXIMUM_INTEGER: f64 = (1_u64 << 51) as f64;

/// How many standard deviations of its rounding error a sum must be away from the next integer to count as exact, as the module
/// explains.
pub const EXACT_MARGIN: f64 = 6.0;

/// What every coefficient of a sum that is reduced modulo 1 must be below, in units of 2^-64, as the module explains.
pub const MAXIMUM_SUM: f64 = (1_u128 << 115) as f64;

/// The binary logarithm of what torus elements are multiples of that come from inverse transforms on vector instructions, in units of
/// 2^-64, as the module explains.
pub const TORUS_BITS: u32 = 13;

/// u².
const UNIT: f64 = 1.0 / (1_u128 << 106) as f64;
/// One rounding, in u².
const ROUNDING: f64 = std::f64::consts::LN_2 / 1.5 / 3.0;
/// The conversion of torus elements, in u².
const CONVERSION: f64 = 1.0 / 7.0;

/// The rounding errors of an implementation of the transforms.
///
/// The constants are measured at N = 512 to 8192 (`cargo test --release -p tfhe-core fft_error -- --nocapture` prints the table) and
/// hold within 10 % there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transforms {
    /// c.
    per_level: f64,
    /// m.
    free_levels: f64,
    /// The roundings of a sum of R products: this, and R times the next.
    per_sum: f64,
    per_term: f64,
}

impl Transforms {
    /// The vector backends: AVX2.
    pub const AVX2: Self = Self { per_level: 0.372, ..Self::FUSED };
    /// The same with AVX-512.
    pub const AVX512: Self = Self { per_level: 0.382, ..Self::FUSED };
    /// AVX-512 where additions have units of their own, so that multiples are rounded before they are added.
    pub const AVX512_ADDERS: Self = Self { per_level: 0.491, ..Self::FUSED };
    /// The portable backend where rustfft has AVX.
    pub const RUSTFFT_AVX: Self = Self { per_level: 0.805, ..Self::RUSTFFT };
    /// The portable backend elsewhere: rustfft's code for SSE, which that for NEON mirrors, and for no vectors at all.
    pub const RUSTFFT: Self = Self { per_level: 0.91, free_levels: 2.0, per_sum: 2.5, per_term: 0.5 };
    /// An upper bound of all of them, at any N: what plans are made with, which have to hold wherever they are carried out.
    pub const ANY: Self = Self { per_level: 0.85, per_sum: 2.5, ..Self::FUSED };

    const FUSED: Self = Self { per_level: 0.0, free_levels: 0.0, per_sum: 0.5, per_term: 1.0 };

    /// The error of a sum of `rows` products of integers modulo X^N + 1, relative to the sum, in mean squares.
    pub fn of_integers(self, rows: usize, n: usize) -> f64 {
        let levels = ((n as f64 / 2.0).log2() - self.free_levels).max(1.0);
        UNIT * (3.0 * self.per_level * levels + ROUNDING * (self.per_sum + self.per_term * rows as f64))
    }

    /// The same if one factor of each product is a torus polynomial.
    pub fn of_torus(self, rows: usize, n: usize) -> f64 {
        self.of_integers(rows, n) + UNIT * CONVERSION
    }

    /// How many standard deviations of the error 1/2 is away from a sum of `rows` products of integers of the given mean square.
    ///
    /// # Examples
    /// Twice as large, half the margin.
    /// ```
    /// use tfhe_core::rounding::{EXACT_MARGIN, Transforms};
    /// let margin = |log2_rms: i32| Transforms::ANY.margin(4f64.powi(log2_rms), 1, 4096);
    /// assert!(margin(46) > EXACT_MARGIN && margin(47) < EXACT_MARGIN);
    /// assert!((margin(46) / margin(47) - 2.0).abs() < 1e-9);
    /// ```
    pub fn margin(self, mean_square: f64, rows: usize, n: usize) -> f64 {
        0.5 / (mean_square * self.of_integers(rows, n)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_graph::Edge;
    use crate::noise::{Distribution, Variance};
    use crate::params::{Grouping, Precision};
    use crate::sets;

    /// What the module says of its bounds, for a coefficient and for a run.
    #[test]
    fn bounds_have_the_probabilities_that_are_stated() {
        let log2_beyond = |deviations| Distribution::from(Variance::new(1.0)).log2_tail(deviations);
        // The largest root mean square of which the error is EXACT_MARGIN deviations below 1/2, for any number of products.
        let largest = |rows| 0.5 / EXACT_MARGIN / Transforms::ANY.of_integers(rows, 4096).sqrt();
        assert!((1..=64).all(|rows| largest(rows) <= 2f64.powi(47)));
        assert!(largest(1) > 2f64.powi(46), "the bound is not far from the one that is stated");
        let deviations = MAXIMUM_INTEGER / 2f64.powi(47);
        assert_eq!(deviations, 16.0);
        assert!(log2_beyond(deviations) < -188.0 && log2_beyond(deviations) + 40.0 < -148.0);
        assert!(
            (log2_beyond(EXACT_MARGIN) + 28.9).abs() < 0.05 && (log2_beyond(EXACT_MARGIN) + 40.0 - 11.1).abs() < 0.05
        );
        assert_eq!(2f64.powi(23) * 2f64.powi(29) * 2f64.powi(63), MAXIMUM_SUM);
    }

    /// No gadget product of a named set has a sum that could reach [`MAXIMUM_SUM`], or so small an error that it matters that the sum is
    /// rounded to a multiple of 2^[`TORUS_BITS`].
    #[test]
    fn sums_of_named_sets_are_below_the_maximum_and_not_exact_to_the_last_bits() {
        for literal in sets::ALL {
            let set = literal.compile().unwrap();
            let rings = set.keys().iter().filter_map(|key| key.ring());
            let size = rings.map(|ring| ring.size().get()).max().unwrap();
            // A key switch to the small ring decomposes as many small polynomials as make up the largest ring.
            let inputs = 2 * size;
            for (edge, gadget) in set.edges() {
                let digits = (inputs * gadget.levels()) as f64;
                // Of two bits in a step, three products, each turned and as it is.
                let products = match edge {
                    Edge::Bootstrapping { gadget } if set.bootstraps()[gadget].grouping == Grouping::Two => 6.0,
                    _ => 1.0,
                };
                let largest = products * digits * 2f64.powi(gadget.base_log() as i32 - 1) * 2f64.powi(63);
                assert!(largest < MAXIMUM_SUM, "{}: {edge}", set.name());
                if gadget.precision() == Precision::Single {
                    // Of as few digits as there are in any product: one polynomial of the smallest ring of the set.
                    let n = set.keys().iter().filter_map(|key| key.ring()).map(|ring| ring.size().get()).min().unwrap();
                    let square = gadget.digits_square(n) * 2f64.powi(128) / 12.0;
                    let errors = [Transforms::AVX2, Transforms::AVX512, Transforms::AVX512_ADDERS]
                        .map(|transforms| square * transforms.of_torus(gadget.levels(), n));
                    let rounding = 4f64.powi(TORUS_BITS as i32) / 12.0;
                    assert!(errors.iter().all(|error| rounding < 0.01 * error), "{}: {edge}", set.name());
                }
            }
        }
    }
}
