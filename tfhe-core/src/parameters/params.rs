//! Parameters: types of dimensions, gadgets and noise, of which sets ([`crate::key_graph`]) are made.
//!
//! A value of such a type is known to be in its range. Letters are those of the literature: n, k, N, (β, ℓ), σ.

use crate::fingerprint::Fields;
use crate::rounding::{EXACT_MARGIN, Transforms};
use crate::variance::Variance;

/// Why a parameter was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The polynomial size is not a power of two in the supported range.
    #[error("polynomial size {0} is not a power of two from 8 to 65536")]
    PolynomialSize(usize),
    /// A dimension is zero or absurdly large.
    #[error("{name} is {value}; it must be from 1 to {maximum}")]
    Dimension {
        /// Which dimension.
        name: &'static str,
        /// Its value.
        value: usize,
        /// The largest value supported.
        maximum: usize,
    },
    /// The gadget does not fit in the torus, or its digits do not fit the transform.
    #[error(
        "gadget of base 2^{base_log} and {levels} levels: base_log must be 1 to 30, levels 1 to 32, together at most 63"
    )]
    Gadget {
        /// log2 β.
        base_log: u32,
        /// ℓ.
        levels: u32,
    },
    /// Products with the split gadget would not be exact: see [`Gadget::in_ring`].
    #[error(
        "split gadget of base 2^{base_log} and {levels} levels: with {inputs} input polynomials of {polynomial_size} \
         coefficients its products are not exact; use a smaller base, fewer levels, or single precision"
    )]
    Inexact {
        /// log2 β.
        base_log: u32,
        /// ℓ.
        levels: u32,
        /// N.
        polynomial_size: usize,
        /// The number of polynomials that are decomposed.
        inputs: usize,
    },
    /// The noise is outside what can be sampled.
    #[error("TUniform bound 2^{0} is above 2^62")]
    Noise(u32),
    /// The rings of a set are not ordered by size.
    #[error(
        "the small ring must be at most as large as the lookup ring, that as the arithmetic ring, and a lift must lead to a \
         ring that is no smaller"
    )]
    RingOrder,
    /// Not exactly one key of the set is for this.
    #[error("a parameter set needs one key, and no more, for each node: {0}")]
    Node(&'static str),
    /// A key has to be a GLWE key.
    #[error("the {0} key has to be a GLWE key")]
    NotARing(&'static str),
    /// Products of ciphertexts are defined for k = 1.
    #[error("relinearization in a ring of k = {0} mask polynomials: products are defined for k = 1")]
    ProductRing(usize),
    /// The set lists one edge twice.
    #[error("the set lists this twice: {0}")]
    Twice(String),
    /// Turns of groups are multiplied by in f64, which is not exact.
    #[error("a bootstrapping that takes two bits in a step needs a gadget of single precision")]
    SplitGroups,
    /// The set lists no bootstrapping gadget.
    #[error("a parameter set needs at least one bootstrapping gadget")]
    NoBootstrap,
}

/// N, the number of coefficients of a polynomial: a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolynomialSize(u32);

impl PolynomialSize {
    /// The smallest.
    const MINIMUM: Self = Self(3);

    /// # Errors
    /// If `n` is not a power of two from 8 to 65536.
    pub fn new(n: usize) -> Result<Self, ParameterError> {
        if n.is_power_of_two() && (8..=65536).contains(&n) {
            Ok(Self(n.ilog2()))
        } else {
            Err(ParameterError::PolynomialSize(n))
        }
    }

    /// N.
    pub fn get(self) -> usize {
        1 << self.0
    }

    /// log2 N.
    pub fn log2(self) -> u32 {
        self.0
    }
}

/// n (or kN): the number of mask elements of an LWE ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LweDimension(usize);

impl LweDimension {
    /// The largest dimension supported.
    pub const MAXIMUM: usize = 1 << 17;

    /// # Errors
    /// If `n` is 0 or above [`Self::MAXIMUM`].
    pub fn new(n: usize) -> Result<Self, ParameterError> {
        if (1..=Self::MAXIMUM).contains(&n) {
            Ok(Self(n))
        } else {
            Err(ParameterError::Dimension { name: "the LWE dimension", value: n, maximum: Self::MAXIMUM })
        }
    }

    /// n.
    pub fn get(self) -> usize {
        self.0
    }
}

/// k: the number of mask polynomials of a GLWE ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GlweDimension(usize);

impl GlweDimension {
    /// The largest dimension supported: LWE ciphertexts are key-switched as GLWE ciphertexts of many small polynomials.
    pub const MAXIMUM: usize = 512;

    /// # Errors
    /// If `k` is 0 or above [`Self::MAXIMUM`].
    pub fn new(k: usize) -> Result<Self, ParameterError> {
        if (1..=Self::MAXIMUM).contains(&k) {
            Ok(Self(k))
        } else {
            Err(ParameterError::Dimension { name: "the GLWE dimension", value: k, maximum: Self::MAXIMUM })
        }
    }

    /// k.
    pub fn get(self) -> usize {
        self.0
    }
}

/// The shape of GLWE ciphertexts: k mask polynomials and a body of N coefficients each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GlweShape {
    /// k.
    pub dimension: GlweDimension,
    /// N.
    pub polynomial_size: PolynomialSize,
}

impl GlweShape {
    /// k mask polynomials of N = `polynomial_size` coefficients.
    ///
    /// # Errors
    /// If one of them is out of range.
    pub fn new(dimension: usize, polynomial_size: usize) -> Result<Self, ParameterError> {
        Ok(Self { dimension: GlweDimension::new(dimension)?, polynomial_size: PolynomialSize::new(polynomial_size)? })
    }

    /// (k+1)·N: the number of torus elements of a ciphertext.
    pub fn ciphertext_len(self) -> usize {
        (self.dimension.get() + 1) * self.polynomial_size.get()
    }

    /// All of its numbers, for a fingerprint.
    pub(crate) fn append_to(self, fields: Fields) -> Fields {
        let Self { dimension, polynomial_size } = self;
        fields.integer(dimension.get() as u64).integer(polynomial_size.get() as u64)
    }

    /// k·N: the dimension of the LWE ciphertexts extracted from such a ciphertext.
    pub fn extracted_lwe_dimension(self) -> LweDimension {
        LweDimension(self.dimension.get() * self.polynomial_size.get())
    }
}

/// How a gadget product with a Fourier-domain key is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// The key as one f64 per coefficient: the product carries the rounding error of the transform
    /// ([`crate::noise::fft_error`]).
    Single,
    /// The key as two signed 32-bit halves: every sum is an integer, to which the transform's result is rounded, at the
    /// cost of twice the key and twice the inverse transforms. Only for gadgets whose digits are small enough for
    /// that ([`Gadget::in_ring`]): β ≤ 2^11 for N = 4096.
    Split,
}

impl Precision {
    /// The number of Fourier polynomials that hold one torus polynomial of a key.
    pub fn limbs(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Split => 2,
        }
    }
}

/// (β, ℓ): base and levels of a gadget decomposition, and how products with it are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gadget {
    base_log: u32,
    levels: u32,
    precision: Precision,
}

impl Gadget {
    /// β = 2^base_log and `levels` levels.
    ///
    /// # Errors
    /// If base_log is not 1 to 30, levels not 1 to 32, or base_log·levels is above 63; or if the gadget is split and its
    /// products are exact in no ring.
    pub fn new(base_log: u32, levels: u32, precision: Precision) -> Result<Self, ParameterError> {
        if (1..=30).contains(&base_log) && (1..=32).contains(&levels) && base_log * levels <= 63 {
            Self { base_log, levels, precision }.in_ring(PolynomialSize::MINIMUM, 1)
        } else {
            Err(ParameterError::Gadget { base_log, levels })
        }
    }

    /// The gadget itself, for products of `inputs` polynomials of N coefficients by transforms. Whatever makes rows of a key
    /// asks this first. (Key switches of LWE ciphertexts are computed in integers, and exact with any gadget.)
    ///
    /// # Examples
    /// Digits of 12 bits are narrow enough for a ring of 1024, and too wide for one of 4096.
    /// ```
    /// use tfhe_core::params::{Gadget, PolynomialSize, Precision};
    /// let gadget = Gadget::new(12, 4, Precision::Split)?;
    /// let in_ring = |n| gadget.in_ring(PolynomialSize::new(n).unwrap(), 1);
    /// assert!(in_ring(1024).is_ok() && in_ring(8192).is_err());
    /// # Ok::<(), tfhe_core::params::ParameterError>(())
    /// ```
    ///
    /// # Errors
    /// [`ParameterError::Inexact`] if the gadget is split and the error of a product, on the least precise backend, has less than
    /// [`EXACT_MARGIN`] standard deviations to 1/2.
    pub fn in_ring(self, polynomial_size: PolynomialSize, inputs: usize) -> Result<Self, ParameterError> {
        let n = polynomial_size.get();
        let exact = || self.split_margin(Transforms::ANY, inputs, inputs * n, n) >= EXACT_MARGIN;
        if self.precision == Precision::Single || exact() {
            return Ok(self);
        }
        let Self { base_log, levels, .. } = self;
        Err(ParameterError::Inexact { base_log, levels, polynomial_size: n, inputs })
    }

    /// How many standard deviations of the error 1/2 is away from a product of `inputs` polynomials, of `coefficients`
    /// coefficients that are not zero, with 32-bit halves of a key.
    pub(crate) fn split_margin(self, transforms: Transforms, inputs: usize, coefficients: usize, n: usize) -> f64 {
        let mean_square = self.digits_square(coefficients) * 2f64.powi(64) / 12.0;
        transforms.margin(mean_square, inputs * self.levels(), n)
    }

    /// Mean of the sum of the squares of all digits of `coefficients` coefficients.
    pub(crate) fn digits_square(self, coefficients: usize) -> f64 {
        (coefficients * self.levels()) as f64 * self.digit_variance()
    }

    /// Variance of a digit, the mean over the levels.
    ///
    /// At the lowest level it is (β² + 2)/12. A remainder of exactly β/2 is rounded so that the digit above becomes even
    /// ([`crate::decomposition`]): that is even with a probability p above 1/2, p' = 1/2 + p/β, where p is that of the level below, as two in β
    /// of the even remainders are ±β/2. The mean square of even digits is larger by 1 than that of odd ones, so that a digit's is larger by
    /// p − 1/2: at β = 4 nearly a ninth. (At β = 2 the only odd remainder is β/2, and even digits are zero.)
    pub(crate) fn digit_variance(self) -> f64 {
        let base = 2f64.powi(self.base_log as i32);
        let (mut even, mut more) = (0.5, 0.0);
        for _ in 0..self.levels {
            if self.base_log > 1 {
                more += even - 0.5;
                even = 0.5 + even / base;
            } else {
                more -= even - 0.5;
                even = 0.5 + (1.0 - even) / 2.0;
            }
        }
        (base * base + 2.0) / 12.0 + more / f64::from(self.levels)
    }

    /// With the transforms that its products are computed with, for predictions of what is measured with them.
    pub fn on(self, transforms: Transforms) -> GadgetTransforms {
        GadgetTransforms { gadget: self, transforms }
    }

    /// log2 β.
    pub fn base_log(self) -> u32 {
        self.base_log
    }

    /// ℓ.
    pub fn levels(self) -> usize {
        self.levels as usize
    }

    /// How products with a key of this gadget are computed.
    pub fn precision(self) -> Precision {
        self.precision
    }

    /// All of its numbers, for a fingerprint.
    pub(crate) fn append_to(self, fields: Fields) -> Fields {
        let Self { base_log, levels, precision } = self;
        fields.integer(base_log.into()).integer(levels.into()).integer(precision.limbs() as u64)
    }
}

/// How many bits of the key one step of a blind rotation takes: the *grouping factor* of a bootstrapping key.
///
/// With one, a step is a CMUX by a GGSW ciphertext of the bit. With two, it is a product with three GGSW ciphertexts, of what tells which
/// of the two bits are 1 (Zhou and others, IEEE Access 6, 2018; Bourse, Minelli, Minihold, Paillier, Crypto 2018):
///
/// | grouping | steps | GGSW ciphertexts | transforms of each step | variance that rows and transforms add in each, in that of a CMUX | that rounding adds, on average |
/// |---|---|---|---|---|---|
/// | one | n | n | (k+1)·ℓ, and k+1 back | 1 | 1 |
/// | two | n/2 | 3n/2 | the same | 6 | 3 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grouping {
    /// One bit.
    One,
    /// Two bits.
    Two,
}

impl Grouping {
    /// How many bits.
    pub const fn bits(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// How many steps there are for a key of n bits.
    pub fn steps(self, dimension: LweDimension) -> usize {
        dimension.get().div_ceil(self.bits())
    }

    /// How many GGSW ciphertexts a key of n bits has.
    ///
    /// # Examples
    /// Three for two bits, and as many for a last one that is left over.
    /// ```
    /// use tfhe_core::params::{Grouping, LweDimension};
    /// let n = LweDimension::new(7)?;
    /// assert_eq!([Grouping::One, Grouping::Two].map(|grouping| grouping.ciphertexts(n)), [7, 12]);
    /// # Ok::<(), tfhe_core::params::ParameterError>(())
    /// ```
    pub fn ciphertexts(self, dimension: LweDimension) -> usize {
        self.steps(dimension) * ((1 << self.bits()) - 1)
    }

    /// How many a prepared key of n bits has: of the first group one for each bit ([`crate::blind_rotation`]).
    pub(crate) fn prepared_ciphertexts(self, dimension: LweDimension) -> usize {
        self.ciphertexts(dimension) - ((1 << self.bits()) - 1) + self.bits()
    }
}

/// A gadget, and the transforms that products with it are computed with. Of a gadget alone it is not known with which: then its
/// errors are bounded from above ([`Transforms::ANY`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GadgetTransforms {
    pub(crate) gadget: Gadget,
    pub(crate) transforms: Transforms,
}

impl From<Gadget> for GadgetTransforms {
    fn from(gadget: Gadget) -> Self {
        gadget.on(Transforms::ANY)
    }
}

/// The distribution of the noise of fresh ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoiseDistribution {
    /// Rounded Gaussian with standard deviation 2^log2_std of the torus.
    Gaussian {
        /// log2 of σ as a fraction of the torus.
        log2_std: f64,
    },
    /// TUniform(b): ±2^b with probability 2^-(b+2) each, everything between with probability 2^-(b+1), in units of
    /// 2^-64. Sampled from b+2 bits, without rejection or floating point.
    TUniform {
        /// b.
        bound_log: u32,
    },
}

impl NoiseDistribution {
    /// # Errors
    /// [`ParameterError::Noise`] if it cannot be sampled.
    pub(crate) fn validated(self) -> Result<Self, ParameterError> {
        match self {
            Self::TUniform { bound_log } if bound_log > 62 => Err(ParameterError::Noise(bound_log)),
            _ => Ok(self),
        }
    }

    /// All of its numbers, for a fingerprint.
    pub(crate) fn append_to(self, fields: Fields) -> Fields {
        match self {
            Self::Gaussian { log2_std } => fields.name("Gaussian").real(log2_std),
            Self::TUniform { bound_log } => fields.name("TUniform").integer(bound_log.into()),
        }
    }

    /// The variance as a fraction of the torus squared.
    ///
    /// # Examples
    /// The uniform distribution of as wide a range has the same, nearly.
    /// ```
    /// use tfhe_core::params::NoiseDistribution;
    /// let variance = NoiseDistribution::TUniform { bound_log: 40 }.variance();
    /// let uniform = 2f64.powi(2 * (41 - 64)) / 12.0;
    /// assert!((variance.get() / uniform - 1.0).abs() < 1e-9);
    /// ```
    pub fn variance(self) -> Variance {
        match self {
            Self::Gaussian { log2_std } => Variance::from_log2_std(log2_std),
            Self::TUniform { bound_log } => {
                Variance::new((2f64.powi(2 * bound_log as i32 + 1) + 1.0) / 6.0 * 2f64.powi(-128))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inexact(result: Result<impl std::fmt::Debug, ParameterError>) -> (u32, usize, usize) {
        match result.unwrap_err() {
            ParameterError::Inexact { base_log, polynomial_size, inputs, .. } => (base_log, polynomial_size, inputs),
            other => panic!("{other}"),
        }
    }

    /// Refused at once if no ring could do, else by the ring that cannot, and only if split.
    #[test]
    fn split_gadgets_that_are_not_exact_are_refused() {
        let (split, single) = (Precision::Split, Precision::Single);
        assert_eq!(inexact(Gadget::new(30, 2, split)), (30, 8, 1));
        assert!(Gadget::new(30, 2, single).is_ok());
        let gadget = Gadget::new(12, 4, split).unwrap();
        let ring = |n| PolynomialSize::new(n).unwrap();
        assert_eq!(gadget.in_ring(ring(1024), 1), Ok(gadget));
        assert_eq!(inexact(gadget.in_ring(ring(4096), 2)), (12, 4096, 2));
        assert_eq!(inexact(gadget.in_ring(ring(1024), 16)), (12, 1024, 16));
        let message = gadget.in_ring(ring(4096), 2).unwrap_err().to_string();
        assert!(
            message.starts_with("split gadget of base 2^12 and 4 levels: with 2 input polynomials of 4096"),
            "{message}"
        );
    }
}
