//! Which evaluation keys a circuit asks for.

use std::collections::BTreeMap;

use crate::key_graph::{Edge, MissingEdge, Node, Parameters};
use crate::params::Gadget;

/// Which evaluation keys a circuit needs.
///
/// ```
/// use tfhe_core::derivation::ClientSeed;
/// use tfhe_core::key_graph::Node;
/// use tfhe_core::keys::{ClientKeys, MissingKey, Needs};
/// use tfhe_core::sets;
///
/// let client = ClientKeys::generate(&sets::TOY.compile()?, &ClientSeed::from_system()?)?;
/// let lookups = Needs::default().keyswitch(Node::Lookup).bootstrapping(0);
/// let keys = client.evaluation_keys(&lookups)?.prepare()?;
/// assert!(keys.bootstrapping_key(0).is_ok());
/// // What was not asked for is not there, and what the set has not cannot be made.
/// let missing: MissingKey = keys.relinearization(Node::Arithmetic).unwrap_err();
/// assert_eq!(missing.to_string(), "the evaluation keys have no key for relinearization in the lookup ring");
/// assert!(client.evaluation_keys(&lookups.bootstrapping(7)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs(BTreeMap<Edge, Automorphisms>);

/// Of automorphisms, those with l > m; of other edges, nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Automorphisms {
    subring_log: u32,
}

impl Needs {
    fn with(mut self, edge: Edge, automorphisms: Automorphisms) -> Self {
        let entry = self.0.entry(edge).or_insert(automorphisms);
        entry.subring_log = entry.subring_log.min(automorphisms.subring_log);
        self
    }

    /// The key switch from `ring` to the small key.
    #[must_use]
    pub fn keyswitch(self, ring: Node) -> Self {
        self.with(Edge::Keyswitch { from: ring }, Automorphisms::default())
    }

    /// The bootstrapping with gadget `gadget`, an index of [`Parameters::bootstraps`].
    #[must_use]
    pub fn bootstrapping(self, gadget: usize) -> Self {
        self.with(Edge::Bootstrapping { gadget }, Automorphisms::default())
    }

    /// The key switch from one ring to a larger one.
    #[must_use]
    pub fn lift(self, from: Node, to: Node) -> Self {
        self.with(Edge::Lift { from, to }, Automorphisms::default())
    }

    /// The automorphisms l > m of `ring`, with the ring's gadget number `gadget`. They keep the subring Z\[Y\] of 2^m coefficients
    /// and clear all others; with m = 0 they are the full trace.
    #[must_use]
    pub fn automorphisms(self, ring: Node, gadget: usize, m: u32) -> Self {
        self.with(Edge::Automorphisms { ring, gadget }, Automorphisms { subring_log: m })
    }

    /// Relinearization in `ring`.
    #[must_use]
    pub fn relinearization(self, ring: Node) -> Self {
        self.with(Edge::Relinearization { ring }, Automorphisms::default())
    }

    /// What a refresh ([`crate::refresh`]) with bootstrapping gadget number `bootstrap` takes.
    #[must_use]
    pub fn refresh(self, bootstrap: usize) -> Self {
        let switched = self.keyswitch(Node::Arithmetic).bootstrapping(bootstrap);
        switched.automorphisms(Node::Lookup, 0, 0).lift(Node::Lookup, Node::Arithmetic)
    }

    /// What looked-up GGSW ciphertexts ([`crate::refresh::LevelTables`]) with bootstrapping gadget number `bootstrap` take: a refresh's
    /// keys, relinearization for their rows, and the key switch from the lookup ring for arguments that were looked up themselves.
    #[must_use]
    pub fn looked_up_ggsw(self, bootstrap: usize) -> Self {
        self.refresh(bootstrap).keyswitch(Node::Lookup).relinearization(Node::Arithmetic)
    }

    /// Everything that `parameters` has edges for.
    pub fn everything(parameters: &Parameters) -> Self {
        let keys = parameters.edges().filter(|(edge, _)| !matches!(edge, Edge::ExternalProduct { .. }));
        keys.fold(Self::default(), |needs, (edge, _)| needs.with(edge, Automorphisms::default()))
    }

    /// The edges as the set names them, with their gadgets, in their order.
    pub(crate) fn of_set(&self, parameters: &Parameters) -> Result<Vec<Need>, MissingEdge> {
        let canonical = |needs: Self, (&edge, &automorphisms)| needs.with(parameters.canonical(edge), automorphisms);
        let edges = self.0.iter().fold(Self::default(), canonical).0.into_iter();
        let need = |(edge, Automorphisms { subring_log })| {
            let gadget = parameters.gadget(edge)?;
            match edge {
                Edge::Automorphisms { ring, .. } if subring_log >= parameters.ring(ring).size().log2() => {
                    Err(MissingEdge { set: parameters.name(), edge })
                }
                _ => Ok(Need { edge, gadget, subring_log }),
            }
        };
        edges.map(need).collect()
    }
}

/// An edge of a set that is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) edge: Edge,
    pub(crate) gadget: Gadget,
    /// m, of automorphisms.
    pub(crate) subring_log: u32,
}
