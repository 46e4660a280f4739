//! The parts of the JSON objects that several commands print.

use gpt2_fhe::run::Plan;
use serde::{Serialize, Serializer};
use tfhe_core::params::{Gadget, NoiseDistribution, Parameters, Precision};
use tfhe_core::ring_pair::{Ring, RingPairParameters};
use tfhe_core::security::{self, Basis};

/// A parameter set. Noise as log2 of σ, a fraction of the torus.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ParametersReport {
    /// Of the exact circuit.
    OneRing(Box<OneRingReport>),
    /// Of the packed circuit.
    TwoRings(Box<TwoRingsReport>),
}

impl ParametersReport {
    pub(super) fn new(plan: &Plan) -> Self {
        match plan {
            Plan::Exact(plan) => Self::OneRing(Box::new(OneRingReport::new(&plan.parameters))),
            Plan::Packed(plan) => Self::TwoRings(Box::new(TwoRingsReport::new(&plan.parameters))),
        }
    }
}

/// A set with two rings.
#[derive(Serialize)]
pub(super) struct TwoRingsReport {
    name: &'static str,
    /// What the figures of security are from.
    estimator: &'static str,
    /// The dimension of the small key.
    n: usize,
    small: RingReport,
    lookup: RingReport,
    arithmetic: RingReport,
    keyswitch: GadgetReport,
    bootstraps: Vec<GadgetReport>,
    lookup_automorphism: GadgetReport,
    lift: GadgetReport,
    arithmetic_keyswitch: GadgetReport,
    ggsw: GadgetReport,
}

/// One of its keys.
#[derive(Serialize)]
struct RingReport {
    k: usize,
    #[serde(rename = "N")]
    polynomial_size: usize,
    noise: NoiseReport,
    security: Option<SecurityReport>,
}

impl RingReport {
    fn new(ring: Ring) -> Self {
        Self {
            k: ring.shape.dimension.get(),
            polynomial_size: ring.size().get(),
            noise: NoiseReport::new(ring.noise),
            security: security(ring.lwe_dimension().get(), ring.noise),
        }
    }
}

impl TwoRingsReport {
    fn new(parameters: &RingPairParameters) -> Self {
        Self {
            name: parameters.name(),
            estimator: security::SOURCE,
            n: parameters.small().lwe_dimension().get(),
            small: RingReport::new(parameters.small()),
            lookup: RingReport::new(parameters.lookup()),
            arithmetic: RingReport::new(parameters.arithmetic()),
            keyswitch: GadgetReport::new(parameters.keyswitch()),
            bootstraps: parameters.bootstraps().iter().map(|&gadget| GadgetReport::new(gadget)).collect(),
            lookup_automorphism: GadgetReport::new(parameters.lookup_automorphism()),
            lift: GadgetReport::new(parameters.lift()),
            arithmetic_keyswitch: GadgetReport::new(parameters.arithmetic_keyswitch()),
            ggsw: GadgetReport::new(parameters.ggsw()),
        }
    }
}

/// A set with one ring.
#[derive(Serialize)]
pub(super) struct OneRingReport {
    name: &'static str,
    /// What the figures of security are from.
    estimator: &'static str,
    /// The dimension of the small LWE key.
    n: usize,
    /// The number of polynomials of the GLWE key.
    k: usize,
    /// The size of a polynomial.
    #[serde(rename = "N")]
    polynomial_size: usize,
    noises: PerKey<NoiseReport>,
    gadgets: Gadgets,
    security: PerKey<Option<SecurityReport>>,
}

/// One value for each of the two secret keys.
#[derive(Serialize)]
struct PerKey<T> {
    lwe: T,
    glwe: T,
}

#[derive(Serialize)]
struct NoiseReport {
    distribution: String,
    log2_std: f64,
}

#[derive(Serialize)]
struct Gadgets {
    keyswitch: GadgetReport,
    bootstraps: Vec<GadgetReport>,
    glwe_keyswitch: GadgetReport,
}

#[derive(Serialize)]
struct GadgetReport {
    base_log: u32,
    levels: usize,
    precision: &'static str,
}

/// The security level of one key, and the tabulated estimate that it rests on.
#[derive(Clone, Serialize)]
pub(super) struct SecurityReport {
    pub(super) bits: f64,
    /// Of the key that was estimated.
    pub(super) dimension: usize,
    pub(super) log2_std: f64,
    /// Whether that is exactly this key, or one that this key is no weaker than.
    #[serde(serialize_with = "basis_name")]
    pub(super) basis: Basis,
}

fn basis_name<S: Serializer>(basis: &Basis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match basis {
        Basis::Estimate => "estimate",
        Basis::Bound => "bound",
    })
}

impl OneRingReport {
    fn new(parameters: &Parameters) -> Self {
        let shape = parameters.glwe_shape();
        Self {
            name: parameters.name(),
            estimator: security::SOURCE,
            n: parameters.lwe_dimension().get(),
            k: shape.dimension.get(),
            polynomial_size: shape.polynomial_size.get(),
            noises: PerKey {
                lwe: NoiseReport::new(parameters.lwe_noise()),
                glwe: NoiseReport::new(parameters.glwe_noise()),
            },
            gadgets: Gadgets {
                keyswitch: GadgetReport::new(parameters.keyswitch()),
                bootstraps: parameters.bootstraps().iter().map(|&gadget| GadgetReport::new(gadget)).collect(),
                glwe_keyswitch: GadgetReport::new(parameters.glwe_keyswitch()),
            },
            security: PerKey { lwe: lwe_security(parameters), glwe: glwe_security(parameters) },
        }
    }
}

impl NoiseReport {
    fn new(noise: NoiseDistribution) -> Self {
        Self { distribution: distribution(noise), log2_std: noise.variance().log2_std() }
    }
}

impl GadgetReport {
    fn new(gadget: Gadget) -> Self {
        let precision = match gadget.precision() {
            Precision::Single => "single",
            Precision::Split => "split",
        };
        Self { base_log: gadget.base_log(), levels: gadget.levels(), precision }
    }
}

/// A distribution by its name, in units of 2^-64.
pub(super) fn distribution(noise: NoiseDistribution) -> String {
    match noise {
        NoiseDistribution::Gaussian { .. } => "Gaussian".into(),
        NoiseDistribution::TUniform { bound_log } => format!("TUniform(2^{bound_log})"),
    }
}

/// Of a key of `dimension` bits.
pub(super) fn security(dimension: usize, noise: NoiseDistribution) -> Option<SecurityReport> {
    let security::Level { bits, dimension, log2_std, basis } = security::level(dimension, noise)?;
    Some(SecurityReport { bits, dimension, log2_std, basis })
}

/// Of the small key.
pub(super) fn lwe_security(parameters: &Parameters) -> Option<SecurityReport> {
    security(parameters.lwe_dimension().get(), parameters.lwe_noise())
}

/// Of the GLWE key.
pub(super) fn glwe_security(parameters: &Parameters) -> Option<SecurityReport> {
    security(parameters.glwe_shape().extracted_lwe_dimension().get(), parameters.glwe_noise())
}
