//! Parameter sets: a graph of keys. Its nodes are secret keys, its edges the evaluation keys that lead from one to another.
//!
//! A ciphertext is under the key of one node. What moves it, or works in its ring, is an edge:
//!
//! | edge | from | to |
//! |---|---|---|
//! | [`Edge::Keyswitch`] | a coefficient of a ring, dimension kN | the small key, dimension n: [`crate::keyswitch`], or in a small ring, [`crate::glwe_keyswitch`], where the small key is a GLWE key |
//! | [`Edge::Bootstrapping`] | the small key | a ring: a table's result ([`crate::programmable_bootstrap`]) |
//! | [`Edge::Lift`] | a ring, after X' = X^(N/N') | a larger one ([`crate::glwe_keyswitch`]) |
//! | [`Edge::Automorphisms`] | a ring | itself: the trace, packing ([`crate::automorphism`]) |
//! | [`Edge::Relinearization`] | a ring, products of ciphertexts | itself |
//! | [`Edge::ExternalProduct`] | a ring, products with encrypted integers | itself; needs no key |
//!
//! # One ring or two
//! Sums, products with plaintexts and products of ciphertexts need little noise, so a large ring, but are few. Bootstrappings
//! are many, and their cost is proportional to the ring's size; they need no less noise than a table has steps. A set may give each a
//! ring, and a key, of its own ([`Node::Arithmetic`], [`Node::Lookup`]), or give one key both names: then either name means it.
//!
//! A set is written down as a [`ParametersLiteral`] and becomes usable as [`Parameters`], which is known to be consistent.

use std::collections::BTreeMap;

use crate::fingerprint::{Fields, Fingerprint};
use crate::params::{
    Gadget, GlweDimension, GlweShape, Grouping, LweDimension, NoiseDistribution, ParameterError, PolynomialSize,
    Precision,
};

/// What a secret key is for. The numbers are part of what keys are derived from: none may change its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Node {
    /// The small key: of what is bootstrapped.
    Small = 1,
    /// The ring of lookups' results.
    Lookup = 2,
    /// The ring of inputs, products and outputs.
    Arithmetic = 3,
}

impl Node {
    /// All of them. Every set has them.
    pub const ALL: [Self; 3] = [Self::Small, Self::Lookup, Self::Arithmetic];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Lookup => "lookup",
            Self::Arithmetic => "arithmetic",
        }
    }
}

/// What leads from one key to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edge {
    /// The key switch from coefficients in a ring to the small key.
    Keyswitch {
        /// The ring.
        from: Node,
    },
    /// The key switch from a ring to a larger one.
    Lift {
        /// The ring.
        from: Node,
        /// The larger one.
        to: Node,
    },
    /// Automorphisms of a ring.
    Automorphisms {
        /// The ring.
        ring: Node,
        /// Which of the set's gadgets for automorphisms of this ring: 0 is the first.
        gadget: usize,
    },
    /// Relinearization in a ring.
    Relinearization {
        /// The ring.
        ring: Node,
    },
    /// Bootstrapping, from the small key to the ring that the gadget is for.
    Bootstrapping {
        /// An index of [`Parameters::bootstraps`].
        gadget: usize,
    },
    /// External products with encrypted integers that the server makes by relinearization: no evaluation key, but a gadget.
    ExternalProduct {
        /// The ring.
        ring: Node,
    },
}

impl std::fmt::Display for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Keyswitch { from } => write!(f, "key switch from the {} ring to the small key", from.name()),
            Self::Lift { from, to } => write!(f, "key switch from the {} ring to the {} ring", from.name(), to.name()),
            Self::Automorphisms { ring, gadget } => {
                write!(f, "automorphisms of the {} ring with gadget number {gadget}", ring.name())
            }
            Self::Relinearization { ring } => write!(f, "relinearization in the {} ring", ring.name()),
            Self::Bootstrapping { gadget } => write!(f, "bootstrapping with gadget number {gadget}"),
            Self::ExternalProduct { ring } => write!(f, "external product in the {} ring", ring.name()),
        }
    }
}

/// A parameter set does not have what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter set {set} has no {edge}")]
pub struct MissingEdge {
    /// The set's name.
    pub set: &'static str,
    /// What it has not.
    pub edge: Edge,
}

/// (log2 β, ℓ, precision).
pub type GadgetLiteral = (u32, u32, Precision);

/// Dimensions before they are validated.
#[derive(Clone, Copy, Debug)]
pub enum ShapeLiteral {
    /// An LWE key of n bits.
    Lwe(usize),
    /// A GLWE key of k polynomials of N bits.
    Glwe(usize, usize),
}

/// A key before it is validated.
#[derive(Clone, Copy, Debug)]
pub struct KeyLiteral {
    /// What it is for.
    pub nodes: &'static [Node],
    /// Its dimensions.
    pub shape: ShapeLiteral,
    /// Noise of what is encrypted under it.
    pub noise: NoiseDistribution,
}

/// A parameter set before it is validated.
#[derive(Clone, Copy, Debug)]
pub struct ParametersLiteral {
    /// The set's name.
    pub name: &'static str,
    /// The secret keys. Each of [`Node::ALL`] is named by one of them, and those but the small one are GLWE keys.
    pub keys: &'static [KeyLiteral],
    /// Key switches to the small key, by the ring that they begin in.
    pub keyswitches: &'static [(Node, GadgetLiteral)],
    /// Bootstrappings from the small key, by the ring that they lead to, and how many bits of the key a step takes: from coarse and quick
    /// to precise.
    pub bootstraps: &'static [(Node, GadgetLiteral, Grouping)],
    /// Automorphisms (and so the trace and packing) of rings, of which each may have several.
    pub automorphisms: &'static [(Node, GadgetLiteral)],
    /// Relinearizations in rings.
    pub relinearizations: &'static [(Node, GadgetLiteral)],
    /// Key switches from a ring to a larger one.
    pub lifts: &'static [(Node, Node, GadgetLiteral)],
    /// External products with encrypted integers, in rings.
    pub external_products: &'static [(Node, GadgetLiteral)],
}

/// The shape of ciphertexts in a ring, and the noise of what is encrypted under its key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ring {
    /// k and N.
    pub shape: GlweShape,
    /// The noise of fresh encryptions.
    pub noise: NoiseDistribution,
}

impl Ring {
    /// N.
    pub fn size(&self) -> PolynomialSize {
        self.shape.polynomial_size
    }

    /// kN.
    pub fn lwe_dimension(&self) -> LweDimension {
        self.shape.extracted_lwe_dimension()
    }
}

/// The dimensions of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyShape {
    /// An LWE key.
    Lwe(LweDimension),
    /// A GLWE key, which is the LWE key of what is extracted, too.
    Glwe(GlweShape),
}

/// A secret key's parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeyParameters {
    nodes: &'static [Node],
    shape: KeyShape,
    noise: NoiseDistribution,
}

impl KeyParameters {
    /// What it is for. Never empty; the first is its name.
    pub fn nodes(&self) -> &'static [Node] {
        self.nodes
    }

    /// Its name.
    pub fn node(&self) -> Node {
        self.nodes[0]
    }

    /// Its dimensions.
    pub fn shape(&self) -> KeyShape {
        self.shape
    }

    /// Noise of what is encrypted under it.
    pub fn noise(&self) -> NoiseDistribution {
        self.noise
    }

    /// n, or kN: how many bits it has.
    pub fn lwe_dimension(&self) -> LweDimension {
        match self.shape {
            KeyShape::Lwe(dimension) => dimension,
            KeyShape::Glwe(shape) => shape.extracted_lwe_dimension(),
        }
    }

    /// Its ring, of a GLWE key.
    pub fn ring(&self) -> Option<Ring> {
        match self.shape {
            KeyShape::Lwe(_) => None,
            KeyShape::Glwe(shape) => Some(Ring { shape, noise: self.noise }),
        }
    }
}

/// A bootstrapping: its gadget, and the ring that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// The ring of its results.
    pub ring: Node,
    /// The gadget of its key.
    pub gadget: Gadget,
    /// How many bits of the small key each step takes.
    pub grouping: Grouping,
}

impl Bootstrap {
    /// The transforms of a bootstrapping from a key of n bits, nearly all of its time: forward ones of (k+1)·ℓ polynomials of digits in each
    /// step, and of k+1 sums back, or of their halves.
    pub fn transforms(&self, dimension: LweDimension, shape: GlweShape) -> usize {
        let (columns, gadget) = (shape.dimension.get() + 1, self.gadget);
        self.grouping.steps(dimension) * columns * (gadget.levels() + gadget.precision().limbs())
    }
}

/// A validated parameter set.
///
/// ```
/// use tfhe_core::key_graph::{Edge, Node};
/// use tfhe_core::sets;
///
/// let set = sets::PACKED_HEAD.compile()?;
/// assert_eq!((set.lookup().size().get(), set.arithmetic().size().get()), (2048, 4096));
/// assert_eq!(set.gadget(Edge::Lift { from: Node::Lookup, to: Node::Arithmetic })?.levels(), 4);
/// // A set with one ring: both names are its.
/// let set = sets::HEAD_EXACT.compile()?;
/// assert_eq!(set.lookup(), set.arithmetic());
/// let missing = set.gadget(Edge::Lift { from: Node::Lookup, to: Node::Arithmetic }).unwrap_err();
/// assert_eq!(missing.to_string(), "parameter set head_exact has no key switch from the lookup ring to the lookup ring");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    name: &'static str,
    keys: Vec<KeyParameters>,
    /// By node, in the order of [`Node::ALL`].
    rings: [Ring; 2],
    bootstraps: Vec<Bootstrap>,
    /// Of all edges, whose nodes are keys' names.
    gadgets: BTreeMap<Edge, Gadget>,
}

impl KeyLiteral {
    fn compile(self) -> Result<KeyParameters, ParameterError> {
        let shape = match self.shape {
            ShapeLiteral::Lwe(dimension) => KeyShape::Lwe(LweDimension::new(dimension)?),
            ShapeLiteral::Glwe(dimension, size) => KeyShape::Glwe(GlweShape {
                dimension: GlweDimension::new(dimension)?,
                polynomial_size: PolynomialSize::new(size)?,
            }),
        };
        Ok(KeyParameters { nodes: self.nodes, shape, noise: self.noise.validated()? })
    }
}

/// The parameters of the key that has the name `node`.
fn key(keys: &[KeyParameters], node: Node) -> Result<KeyParameters, ParameterError> {
    let mut named = keys.iter().filter(|key| key.nodes.contains(&node));
    match (named.next(), named.next()) {
        (Some(key), None) if key.nodes.iter().filter(|&&name| name == node).count() == 1 => Ok(*key),
        _ => Err(ParameterError::Node(node.name())),
    }
}

impl ParametersLiteral {
    /// # Errors
    /// The first inconsistency found.
    pub fn compile(self) -> Result<Parameters, ParameterError> {
        let keys = self.keys.iter().map(|key| key.compile()).collect::<Result<Vec<_>, _>>()?;
        Node::ALL.into_iter().try_for_each(|node| key(&keys, node).map(drop))?;
        let ring = |node: Node| key(&keys, node)?.ring().ok_or(ParameterError::NotARing(node.name()));
        let small = key(&keys, Node::Small)?;
        let rings = [ring(Node::Lookup)?, ring(Node::Arithmetic)?];
        // A key that has none of the names could not be reached.
        if keys.iter().any(|key| key.nodes.is_empty()) {
            return Err(ParameterError::Node("none"));
        }
        if self.bootstraps.is_empty() {
            return Err(ParameterError::NoBootstrap);
        }
        let small_size = small.ring().map(|ring| ring.size());
        if small_size.is_some_and(|size| size > rings[0].size()) || rings[0].size() > rings[1].size() {
            return Err(ParameterError::RingOrder);
        }
        let mut set = Parameters { name: self.name, keys, rings, bootstraps: Vec::new(), gadgets: BTreeMap::new() };
        for (number, &(to, literal, grouping)) in self.bootstraps.iter().enumerate() {
            let gadget = set.add(Edge::Bootstrapping { gadget: number }, to, literal)?;
            if grouping != Grouping::One && gadget.precision() == Precision::Split {
                return Err(ParameterError::SplitGroups);
            }
            set.bootstraps.push(Bootstrap { ring: set.name_of(to), gadget, grouping });
        }
        for &(from, literal) in self.keyswitches {
            set.add(Edge::Keyswitch { from }, from, literal)?;
        }
        for &(ring, literal) in self.automorphisms {
            let gadget = set.automorphism_gadgets(ring);
            set.add(Edge::Automorphisms { ring, gadget }, ring, literal)?;
        }
        for &(ring, literal) in self.relinearizations {
            set.add(Edge::Relinearization { ring }, ring, literal)?;
        }
        for &(from, to, literal) in self.lifts {
            set.add(Edge::Lift { from, to }, to, literal)?;
        }
        for &(ring, literal) in self.external_products {
            set.add(Edge::ExternalProduct { ring }, ring, literal)?;
        }
        Ok(set)
    }
}

impl Parameters {
    /// Adds an edge in, from or to the ring of `node`, whose products have to be exact where its gadget is split: its gadget.
    fn add(&mut self, edge: Edge, node: Node, literal: GadgetLiteral) -> Result<Gadget, ParameterError> {
        let ring = key(&self.keys, node)?.ring().ok_or(ParameterError::NotARing(node.name()))?;
        let (base_log, levels, precision) = literal;
        let gadget = Gadget::new(base_log, levels, precision)?;
        let k = ring.shape.dimension.get();
        let gadget = match edge {
            Edge::Keyswitch { .. } => match self.regrouped(ring.lwe_dimension()) {
                // In integers: exact with any gadget.
                None => gadget,
                Some(regrouped) => gadget.in_ring(regrouped.polynomial_size, regrouped.dimension.get())?,
            },
            Edge::Lift { from, .. } => {
                let smaller = key(&self.keys, from)?.ring().ok_or(ParameterError::NotARing(from.name()))?;
                if smaller.size() > ring.size() {
                    return Err(ParameterError::RingOrder);
                }
                gadget.in_ring(ring.size(), smaller.shape.dimension.get())?
            }
            Edge::Automorphisms { .. } => gadget.in_ring(ring.size(), k)?,
            Edge::Relinearization { .. } if k != 1 => return Err(ParameterError::ProductRing(k)),
            Edge::Relinearization { .. } => gadget.in_ring(ring.size(), 1)?,
            Edge::Bootstrapping { .. } | Edge::ExternalProduct { .. } => gadget.in_ring(ring.size(), k + 1)?,
        };
        match self.gadgets.insert(self.canonical(edge), gadget) {
            None => Ok(gadget),
            Some(_) => Err(ParameterError::Twice(edge.to_string())),
        }
    }

    /// The name of the key that `node` is a name of.
    fn name_of(&self, node: Node) -> Node {
        self.key(node).node()
    }

    /// The edge with each key's name.
    pub(crate) fn canonical(&self, edge: Edge) -> Edge {
        match edge {
            Edge::Keyswitch { from } => Edge::Keyswitch { from: self.name_of(from) },
            Edge::Lift { from, to } => Edge::Lift { from: self.name_of(from), to: self.name_of(to) },
            Edge::Automorphisms { ring, gadget } => Edge::Automorphisms { ring: self.name_of(ring), gadget },
            Edge::Relinearization { ring } => Edge::Relinearization { ring: self.name_of(ring) },
            Edge::Bootstrapping { gadget } => Edge::Bootstrapping { gadget },
            Edge::ExternalProduct { ring } => Edge::ExternalProduct { ring: self.name_of(ring) },
        }
    }

    /// Ciphertexts of dimension `dimension` as those of polynomials of the small key's ring, if it has one.
    pub(crate) fn regrouped(&self, dimension: LweDimension) -> Option<GlweShape> {
        let polynomial_size = self.small().ring()?.size();
        let k = GlweDimension::new(dimension.get() / polynomial_size.get())
            .expect("no ring is smaller than the small key's");
        Some(GlweShape { dimension: k, polynomial_size })
    }

    /// The set's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The secret keys' parameters.
    pub fn keys(&self) -> &[KeyParameters] {
        &self.keys
    }

    /// Those of the key that `node` is a name of.
    pub fn key(&self, node: Node) -> &KeyParameters {
        self.keys.iter().find(|key| key.nodes.contains(&node)).expect("a set has every node")
    }

    /// Those of the small key, of what is bootstrapped.
    pub fn small(&self) -> &KeyParameters {
        self.key(Node::Small)
    }

    /// The ring of results of bootstrappings.
    pub fn lookup(&self) -> Ring {
        self.rings[0]
    }

    /// The ring of inputs, products and outputs.
    pub fn arithmetic(&self) -> Ring {
        self.rings[1]
    }

    /// The ring of a bootstrapping's, an automorphism's, … key: of any node but an LWE key's.
    pub(crate) fn ring(&self, node: Node) -> Ring {
        self.key(node).ring().expect("edges are between rings, and that was checked")
    }

    /// The bootstrappings, from coarse and quick to precise. Never empty.
    pub fn bootstraps(&self) -> &[Bootstrap] {
        &self.bootstraps
    }

    /// How many gadgets for automorphisms of `ring` there are.
    pub fn automorphism_gadgets(&self, ring: Node) -> usize {
        let ring = self.name_of(ring);
        self.gadgets.keys().filter(|edge| matches!(edge, Edge::Automorphisms { ring: of, .. } if *of == ring)).count()
    }

    /// The edges and their gadgets.
    pub fn edges(&self) -> impl Iterator<Item = (Edge, Gadget)> {
        self.gadgets.iter().map(|(&edge, &gadget)| (edge, gadget))
    }

    /// The gadget of an edge.
    ///
    /// # Errors
    /// If the set has no such edge.
    pub fn gadget(&self, edge: Edge) -> Result<Gadget, MissingEdge> {
        let edge = self.canonical(edge);
        self.gadgets.get(&edge).copied().ok_or(MissingEdge { set: self.name, edge })
    }

    /// The fingerprint of all its numbers. The name is none of them: sets that differ in nothing else are the same.
    pub fn fingerprint(&self) -> Fingerprint {
        // What `rings` and `bootstraps` have is in the others.
        let Self { name: _, keys, rings: _, bootstraps, gadgets } = self;
        let mut fields = Fields::new("key graph").integer(keys.len() as u64);
        for KeyParameters { nodes, shape, noise } in keys {
            fields = fields.integers(nodes.iter().map(|&node| node as u64));
            fields = noise.append_to(match shape {
                KeyShape::Lwe(dimension) => fields.name("LWE").integer(dimension.get() as u64),
                KeyShape::Glwe(shape) => shape.append_to(fields.name("GLWE")),
            });
        }
        fields = fields.integers(bootstraps.iter().map(|bootstrap| bootstrap.ring as u64));
        fields = fields.integer(gadgets.len() as u64);
        fields = gadgets.iter().fold(fields, |fields, (edge, gadget)| gadget.append_to(edge.append_to(fields)));
        // Only if one of them is not one, so that sets without have the fingerprints that they had. It cannot be taken for a gadget: how many
        // of these there are is said before.
        let groupings = bootstraps.iter().map(|bootstrap| bootstrap.grouping.bits() as u64);
        if groupings.clone().any(|bits| bits != 1) {
            fields = fields.name("groupings").integers(groupings);
        }
        fields.fingerprint()
    }

    /// Whether this is one of the insecure sets that exist to be read.
    pub fn is_toy(&self) -> bool {
        self.name.starts_with("toy")
    }
}

impl Edge {
    /// Which edge it is, for a fingerprint.
    fn append_to(self, fields: Fields) -> Fields {
        match self {
            Self::Keyswitch { from } => fields.name("key switch").integer(from as u64),
            Self::Lift { from, to } => fields.name("lift").integer(from as u64).integer(to as u64),
            Self::Automorphisms { ring, gadget } => {
                fields.name("automorphisms").integer(ring as u64).integer(gadget as u64)
            }
            Self::Relinearization { ring } => fields.name("relinearization").integer(ring as u64),
            Self::Bootstrapping { gadget } => fields.name("bootstrapping").integer(gadget as u64),
            Self::ExternalProduct { ring } => fields.name("external product").integer(ring as u64),
        }
    }
}

#[cfg(test)]
mod tests;
