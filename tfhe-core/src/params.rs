//! Parameters: newtypes of the dimensions, validated sets, and the named sets.
//!
//! A set is written down as a [`ParametersLiteral`] and becomes usable as [`Parameters`], whose fields are read-only
//! and known to be consistent. Letters are those of the literature: n, k, N, (β, ℓ), σ.

use crate::fingerprint::{Fields, Fingerprint};
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
    /// The key as two signed 32-bit halves: every sum is an integer that f64 holds exactly, at the cost of twice the
    /// key and twice the inverse transforms. Needs β ≤ 2^11 for N = 4096: see [`crate::noise::split_is_exact`].
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
    /// If base_log is not 1 to 30, levels not 1 to 32, or base_log·levels is above 63.
    pub fn new(base_log: u32, levels: u32, precision: Precision) -> Result<Self, ParameterError> {
        if (1..=30).contains(&base_log) && (1..=32).contains(&levels) && base_log * levels <= 63 {
            Ok(Self { base_log, levels, precision })
        } else {
            Err(ParameterError::Gadget { base_log, levels })
        }
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
        let bootstraps =
            self.bootstraps.iter().map(|&(b, l, p)| Gadget::new(b, l, p)).collect::<Result<Vec<_>, _>>()?;
        if bootstraps.is_empty() {
            return Err(ParameterError::NoBootstrap);
        }
        let (base_log, levels, precision) = self.glwe_keyswitch;
        Ok(Parameters {
            name: self.name,
            lwe_dimension: LweDimension::new(self.lwe_dimension)?,
            lwe_noise: self.lwe_noise.validated()?,
            glwe_shape: GlweShape {
                dimension: GlweDimension::new(self.glwe_dimension)?,
                polynomial_size: PolynomialSize::new(self.polynomial_size)?,
            },
            glwe_noise: self.glwe_noise.validated()?,
            keyswitch: Gadget::new(self.keyswitch.0, self.keyswitch.1, Precision::Single)?,
            bootstraps,
            glwe_keyswitch: Gadget::new(base_log, levels, precision)?,
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
