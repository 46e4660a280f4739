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
//! # Exact integers
//! An inverse transform whose results are integers is rounded to them. That needs two things of every sum:
//!
//! - its coefficients are below [`MAXIMUM_INTEGER`] = 2^52: there f64s are at most 1/2 apart, so that x + e with |e| < 1/2 is nearest
//!   to x. (Every instruction that rounds can do more, up to 2^63.)
//! - e stays below 1/2, [`EXACT_MARGIN`] standard deviations of it: by the model, for N = 4096, a root mean square
//!   of at most 2^47.
//!
//! The second is the narrower one. Of coefficients that are sums of many independent terms none is 2^5 times the root mean
//! square, with a probability of exp(−2^9).

/// What every coefficient of a sum that is rounded to integers must be below.
pub const MAXIMUM_INTEGER: f64 = (1_u64 << 52) as f64;

/// How many standard deviations of its rounding error a sum must be away from the next integer to count as exact: one
/// coefficient in 2^29 is off by one.
pub const EXACT_MARGIN: f64 = 6.0;

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
    pub fn margin(self, mean_square: f64, rows: usize, n: usize) -> f64 {
        0.5 / (mean_square * self.of_integers(rows, n)).sqrt()
    }
}
