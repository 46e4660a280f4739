//! The parts of the JSON objects that several commands print.

use std::collections::BTreeMap;

use gpt2_fhe::run::Plan;
use serde::{Serialize, Serializer};
use tfhe_core::key_graph::{Edge, KeyParameters, KeyShape};
use tfhe_core::params::{Gadget, NoiseDistribution, Precision};
use tfhe_core::security::{self, Basis};

/// A parameter set. Noise as log2 of σ, a fraction of the torus.
#[derive(Serialize)]
pub(super) struct ParametersReport {
    name: &'static str,
    /// What the figures of security are from.
    estimator: &'static str,
    /// By what they are for.
    keys: BTreeMap<&'static str, KeyReport>,
    evaluation_keys: Vec<GadgetReport>,
}

/// A secret key.
#[derive(Serialize)]
struct KeyReport {
    k: usize,
    #[serde(rename = "N")]
    polynomial_size: usize,
    noise: NoiseReport,
    security: Option<SecurityReport>,
}

#[derive(Serialize)]
struct NoiseReport {
    distribution: String,
    log2_std: f64,
}

/// The gadget of an edge of the key graph.
#[derive(Serialize)]
struct GadgetReport {
    operation: String,
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

impl ParametersReport {
    pub(super) fn new(plan: &Plan) -> Self {
        let parameters = &plan.parameters;
        let keys =
            parameters.keys().iter().flat_map(|key| key.nodes().iter().map(|node| (node.name(), KeyReport::new(key))));
        let gadgets = parameters.edges().map(|(edge, gadget)| GadgetReport::new(edge, gadget));
        Self {
            name: parameters.name(),
            estimator: security::SOURCE,
            keys: keys.collect(),
            evaluation_keys: gadgets.collect(),
        }
    }
}

impl KeyReport {
    /// An LWE key is one polynomial of so many coefficients.
    fn new(key: &KeyParameters) -> Self {
        let (k, polynomial_size) = match key.shape() {
            KeyShape::Lwe(dimension) => (1, dimension.get()),
            KeyShape::Glwe(shape) => (shape.dimension.get(), shape.polynomial_size.get()),
        };
        Self { k, polynomial_size, noise: NoiseReport::new(key.noise()), security: security(key) }
    }
}

impl NoiseReport {
    fn new(noise: NoiseDistribution) -> Self {
        Self { distribution: distribution(noise), log2_std: noise.variance().log2_std() }
    }
}

impl GadgetReport {
    fn new(edge: Edge, gadget: Gadget) -> Self {
        let precision = match gadget.precision() {
            Precision::Single => "single",
            Precision::Split => "split",
        };
        Self { operation: edge.to_string(), base_log: gadget.base_log(), levels: gadget.levels(), precision }
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
