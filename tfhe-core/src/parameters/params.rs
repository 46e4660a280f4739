//! Parameters: newtypes of the dimensions, validated sets, and the named sets.
//!
//! A set is written down as a [`ParametersLiteral`] and becomes usable as [`Parameters`], whose fields are read-only
//! and known to be consistent. Letters are those of the literature: n, k, N, (β, ℓ), σ.

use crate::fingerprint::{Fields, Fingerprint};
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
    #[error("the small ring must be at most as large as the lookup ring, and that as the arithmetic ring")]
    RingOrder,
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

    /// Variance of a digit: (β² + 2)/12.
    pub(crate) fn digit_variance(self) -> f64 {
        (4f64.powi(self.base_log as i32) + 2.0) / 12.0
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
    pub fn variance(self) -> Variance {
        match self {
            Self::Gaussian { log2_std } => Variance::from_log2_std(log2_std),
            Self::TUniform { bound_log } => {
                Variance::new((2f64.powi(2 * bound_log as i32 + 1) + 1.0) / 6.0 * 2f64.powi(-128))
            }
        }
    }
}

/// A parameter set before it is validated.
#[derive(Clone, Copy, Debug)]
pub struct ParametersLiteral {
    /// The set's name.
    pub name: &'static str,
    /// n.
    pub lwe_dimension: usize,
    /// Noise of LWE ciphertexts and of the key-switching key.
    pub lwe_noise: NoiseDistribution,
    /// k.
    pub glwe_dimension: usize,
    /// N.
    pub polynomial_size: usize,
    /// Noise of GLWE ciphertexts and of all keys under the GLWE key.
    pub glwe_noise: NoiseDistribution,
    /// (log2 β, ℓ) of the LWE key switch kN -> n.
    pub keyswitch: (u32, u32),
    /// (log2 β, ℓ, precision) of the bootstrapping keys, from coarse and quick to precise.
    pub bootstraps: &'static [(u32, u32, Precision)],
    /// (log2 β, ℓ, precision) of automorphisms (and so of the trace and of packing) and of relinearization.
    pub glwe_keyswitch: (u32, u32, Precision),
}

/// A validated parameter set.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    name: &'static str,
    lwe_dimension: LweDimension,
    lwe_noise: NoiseDistribution,
    glwe_shape: GlweShape,
    glwe_noise: NoiseDistribution,
    keyswitch: Gadget,
    bootstraps: Vec<Gadget>,
    glwe_keyswitch: Gadget,
}

impl ParametersLiteral {
    /// # Errors
    /// The first inconsistency found.
    pub fn compile(self) -> Result<Parameters, ParameterError> {
        let glwe_shape = GlweShape {
            dimension: GlweDimension::new(self.glwe_dimension)?,
            polynomial_size: PolynomialSize::new(self.polynomial_size)?,
        };
        let gadget = |(base_log, levels, precision): (u32, u32, Precision), inputs: usize| {
            Gadget::new(base_log, levels, precision)?.in_ring(glwe_shape.polynomial_size, inputs)
        };
        let k = self.glwe_dimension;
        let bootstraps =
            self.bootstraps.iter().map(|&literal| gadget(literal, k + 1)).collect::<Result<Vec<_>, _>>()?;
        if bootstraps.is_empty() {
            return Err(ParameterError::NoBootstrap);
        }
        Ok(Parameters {
            name: self.name,
            lwe_dimension: LweDimension::new(self.lwe_dimension)?,
            lwe_noise: self.lwe_noise.validated()?,
            glwe_shape,
            glwe_noise: self.glwe_noise.validated()?,
            keyswitch: Gadget::new(self.keyswitch.0, self.keyswitch.1, Precision::Single)?,
            bootstraps,
            glwe_keyswitch: gadget(self.glwe_keyswitch, k)?,
        })
    }
}

impl Parameters {
    /// The set's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// n.
    pub fn lwe_dimension(&self) -> LweDimension {
        self.lwe_dimension
    }

    /// Noise of LWE ciphertexts under the small key.
    pub fn lwe_noise(&self) -> NoiseDistribution {
        self.lwe_noise
    }

    /// k and N.
    pub fn glwe_shape(&self) -> GlweShape {
        self.glwe_shape
    }

    /// N.
    pub fn polynomial_size(&self) -> PolynomialSize {
        self.glwe_shape.polynomial_size
    }

    /// Noise of GLWE ciphertexts.
    pub fn glwe_noise(&self) -> NoiseDistribution {
        self.glwe_noise
    }

    /// The gadget of the LWE key switch from dimension kN to n.
    pub fn keyswitch(&self) -> Gadget {
        self.keyswitch
    }

    /// The gadgets of the bootstrapping keys, from coarse and quick to precise. Never empty.
    pub fn bootstraps(&self) -> &[Gadget] {
        &self.bootstraps
    }

    /// The gadget of automorphisms, packing and relinearization.
    pub fn glwe_keyswitch(&self) -> Gadget {
        self.glwe_keyswitch
    }

    /// The fingerprint of all its numbers. The name is none of them: sets that differ in nothing else are the same.
    pub fn fingerprint(&self) -> Fingerprint {
        let Self { name: _, lwe_dimension, lwe_noise, glwe_shape, glwe_noise, keyswitch, bootstraps, glwe_keyswitch } =
            self;
        let mut fields = Fields::new("one ring").integer(lwe_dimension.get() as u64);
        fields = glwe_noise.append_to(glwe_shape.append_to(lwe_noise.append_to(fields)));
        fields = keyswitch.append_to(fields).integer(bootstraps.len() as u64);
        fields = bootstraps.iter().fold(fields, |fields, gadget| gadget.append_to(fields));
        glwe_keyswitch.append_to(fields).fingerprint()
    }

    /// Whether this is one of the insecure sets that exist to be read.
    pub fn is_toy(&self) -> bool {
        self.name.starts_with("toy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sets::HEAD_EXACT;

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

    #[test]
    fn sets_with_split_gadgets_that_are_not_exact_are_refused() {
        let bootstraps = &[(23, 1, Precision::Single), (12, 4, Precision::Split)];
        assert_eq!(inexact(ParametersLiteral { bootstraps, ..HEAD_EXACT }.compile()), (12, 4096, 2));
        // A key switch of one polynomial is exact where an external product of two is not.
        let glwe_keyswitch = (12, 4, Precision::Split);
        assert_eq!(inexact(ParametersLiteral { glwe_keyswitch, ..HEAD_EXACT }.compile()), (12, 4096, 1));
        let glwe_keyswitch = (11, 5, Precision::Split);
        assert!(ParametersLiteral { glwe_keyswitch, ..HEAD_EXACT }.compile().is_ok());
    }
}
