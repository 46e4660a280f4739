//! The parts of the JSON objects that several commands print.

use gpt2_fhe::packed::keys;
use gpt2_fhe::run::Plan;
use serde::{Serialize, Serializer};
use tfhe_core::key_graph::{Edge, KeyParameters, KeyShape, Node, Parameters};
use tfhe_core::params::{Gadget, NoiseDistribution, Precision};
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
    /// An LWE key is one polynomial of so many coefficients.
    fn new(key: &KeyParameters) -> Self {
        let (k, polynomial_size) = match key.shape() {
            KeyShape::Lwe(dimension) => (1, dimension.get()),
            KeyShape::Glwe(shape) => (shape.dimension.get(), shape.polynomial_size.get()),
        };
        Self { k, polynomial_size, noise: NoiseReport::new(key.noise()), security: security(key) }
    }
}

impl TwoRingsReport {
    fn new(parameters: &Parameters) -> Self {
        Self {
            name: parameters.name(),
            estimator: security::SOURCE,
            n: parameters.small().lwe_dimension().get(),
            small: RingReport::new(parameters.small()),
            lookup: RingReport::new(parameters.key(Node::Lookup)),
            arithmetic: RingReport::new(parameters.key(Node::Arithmetic)),
            keyswitch: GadgetReport::of(parameters, keys::SCORE_KEYSWITCH),
            bootstraps: GadgetReport::of_bootstraps(parameters),
            lookup_automorphism: GadgetReport::of(parameters, keys::ISOLATION),
            lift: GadgetReport::of(parameters, keys::LIFT),
            arithmetic_keyswitch: GadgetReport::of(parameters, keys::AUTOMORPHISMS),
            ggsw: GadgetReport::of(parameters, keys::WEIGHING),
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
        let (small, glwe, shape) = (parameters.small(), parameters.key(Node::Lookup), parameters.lookup().shape);
        Self {
            name: parameters.name(),
            estimator: security::SOURCE,
            n: small.lwe_dimension().get(),
            k: shape.dimension.get(),
            polynomial_size: shape.polynomial_size.get(),
            noises: PerKey { lwe: NoiseReport::new(small.noise()), glwe: NoiseReport::new(glwe.noise()) },
            gadgets: Gadgets {
                keyswitch: GadgetReport::of(parameters, Edge::Keyswitch { from: Node::Lookup }),
                bootstraps: GadgetReport::of_bootstraps(parameters),
                glwe_keyswitch: GadgetReport::of(parameters, Edge::Automorphisms { ring: Node::Lookup, gadget: 0 }),
            },
            security: PerKey { lwe: security(small), glwe: security(glwe) },
        }
    }
}

impl NoiseReport {
    fn new(noise: NoiseDistribution) -> Self {
        Self { distribution: distribution(noise), log2_std: noise.variance().log2_std() }
    }
}

impl GadgetReport {
    /// Of an edge that the set's circuit takes.
    fn of(parameters: &Parameters, edge: Edge) -> Self {
        Self::new(parameters.gadget(edge).expect("a plan is made with a set of its circuit"))
    }

    fn of_bootstraps(parameters: &Parameters) -> Vec<Self> {
        parameters.bootstraps().iter().map(|bootstrap| Self::new(bootstrap.gadget)).collect()
    }

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

/// Of one key.
pub(super) fn security(key: &KeyParameters) -> Option<SecurityReport> {
    let level = security::level(key.lwe_dimension().get(), key.noise())?;
    let security::Level { bits, dimension, log2_std, basis } = level;
    Some(SecurityReport { bits, dimension, log2_std, basis })
}
