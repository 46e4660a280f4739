//! Evaluation keys: as they are sent, and ready for use.

use std::collections::BTreeMap;

use super::label::Identity;
use crate::automorphism::{AutomorphismKeys, SeededAutomorphismKeys};
use crate::bootstrapping_key::{BootstrappingKey, SeededBootstrappingKey};
use crate::fft::NegacyclicFft;
use crate::glwe_keyswitch::{GlweKeyswitchKey, SeededGlweKeyswitchKey};
use crate::key_graph::{Edge, Node, Parameters, Ring};
use crate::keyswitch::{LweKeyswitchKey, SeededLweKeyswitchKey};
use crate::lwe::LweCiphertext;
use crate::params::PolynomialSize;
use crate::refresh::{Refresh, RefreshError};
use crate::simd::{Backend, BackendError};
use crate::tensor_product::{RelinearizationKey, SeededRelinearizationKey};

/// Evaluation keys do not have what is asked of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MissingKey {
    /// They were made without this key.
    #[error("the evaluation keys have no key for {0}")]
    Edge(Edge),
    /// They were made with other automorphisms.
    #[error(
        "the evaluation keys have automorphisms for subrings of 2^{made} coefficients and more, where 2^{asked} are asked for: {edge}"
    )]
    Automorphisms {
        /// The ring and the gadget.
        edge: Edge,
        /// m of the keys.
        made: u32,
        /// m that is asked for.
        asked: u32,
    },
}

/// Evaluation keys cannot refresh.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoRefresh {
    /// They were made without one of [`Needs::refresh`](super::Needs::refresh).
    #[error(transparent)]
    Missing(#[from] MissingKey),
    /// Their set is not one for it.
    #[error(transparent)]
    Set(#[from] RefreshError),
}

/// The plans of transforms of a set's rings.
#[derive(Clone, Debug)]
pub(super) struct Plans(BTreeMap<PolynomialSize, NegacyclicFft>);

impl Plans {
    /// # Errors
    /// If the environment asks for a backend that cannot be used.
    pub(super) fn new(parameters: &Parameters) -> Result<Self, BackendError> {
        Backend::selected()?;
        let sizes = parameters.keys().iter().filter_map(|key| key.ring()).map(|ring| ring.size());
        Ok(Self(sizes.map(|size| (size, NegacyclicFft::new(size))).collect()))
    }

    pub(super) fn of(&self, ring: Ring) -> &NegacyclicFft {
        &self.0[&ring.size()]
    }
}

/// One evaluation key, as stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum SeededKey {
    LweKeyswitch(SeededLweKeyswitchKey),
    GlweKeyswitch(SeededGlweKeyswitchKey),
    Automorphisms(u32, SeededAutomorphismKeys),
    Relinearization(SeededRelinearizationKey),
    Bootstrapping(SeededBootstrappingKey),
}

impl SeededKey {
    /// Ready for use: `edge` of `parameters`.
    fn prepare(self, edge: Edge, parameters: &Parameters, plans: &Plans) -> Key {
        let plan = |node: Node| plans.of(parameters.ring(node));
        match (self, edge) {
            (Self::LweKeyswitch(key), _) => Key::Keyswitch(KeyswitchKey::Lwe(key.expand())),
            (Self::GlweKeyswitch(key), Edge::Lift { to, .. }) => Key::Lift(key.prepare(plan(to))),
            (Self::GlweKeyswitch(key), _) => Key::Keyswitch(KeyswitchKey::Glwe(key.prepare(plan(Node::Small)))),
            (Self::Automorphisms(m, keys), Edge::Automorphisms { ring, .. }) => {
                Key::Automorphisms(m, keys.prepare(plan(ring)))
            }
            (Self::Relinearization(key), Edge::Relinearization { ring }) => {
                Key::Relinearization(key.prepare(plan(ring)))
            }
            (Self::Bootstrapping(key), Edge::Bootstrapping { gadget }) => {
                let ring = parameters.ring(parameters.bootstraps()[gadget].ring);
                Key::Bootstrapping(key.prepare(plans.of(ring), ring.shape))
            }
            (_, edge) => unreachable!("a key is made for its edge, {edge}"),
        }
    }
}

/// Evaluation keys as stored and sent.
#[derive(Clone, Debug, PartialEq)]
pub struct SeededEvaluationKeys {
    pub(super) parameters: Parameters,
    pub(super) identity: Identity,
    pub(super) keys: BTreeMap<Edge, SeededKey>,
}

impl SeededEvaluationKeys {
    /// The parameter set.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Whose they are.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    fn key(&self, edge: Edge) -> Result<&SeededKey, MissingKey> {
        let edge = self.parameters.canonical(edge);
        self.keys.get(&edge).ok_or(MissingKey::Edge(edge))
    }

    /// The key switch from `ring` to a small LWE key.
    ///
    /// # Errors
    /// If the keys were made without it, or the small key is a GLWE key.
    pub fn lwe_keyswitch(&self, ring: Node) -> Result<&SeededLweKeyswitchKey, MissingKey> {
        let edge = Edge::Keyswitch { from: ring };
        match self.key(edge)? {
            SeededKey::LweKeyswitch(key) => Ok(key),
            _ => Err(MissingKey::Edge(edge)),
        }
    }

    /// The bootstrapping key of gadget `gadget`.
    ///
    /// # Errors
    /// If the keys were made without it.
    pub fn bootstrapping_key(&self, gadget: usize) -> Result<&SeededBootstrappingKey, MissingKey> {
        let edge = Edge::Bootstrapping { gadget };
        match self.key(edge)? {
            SeededKey::Bootstrapping(key) => Ok(key),
            _ => Err(MissingKey::Edge(edge)),
        }
    }

    /// Expands the masks and transforms to the Fourier domain, releasing the stored keys as it goes.
    ///
    /// # Errors
    /// If the environment asks for a backend that cannot be used ([`Backend::selected`]).
    pub fn prepare(self) -> Result<EvaluationKeys, BackendError> {
        let Self { parameters, identity, keys } = self;
        let plans = Plans::new(&parameters)?;
        let keys = keys.into_iter().map(|(edge, key)| (edge, key.prepare(edge, &parameters, &plans))).collect();
        Ok(EvaluationKeys { parameters, identity, plans, keys })
    }
}

/// A key switch from a ring to the small key, ready for use.
#[derive(Debug)]
pub enum KeyswitchKey {
    /// To an LWE key.
    Lwe(LweKeyswitchKey),
    /// To a GLWE key, in its small ring.
    Glwe(GlweKeyswitchKey),
}

impl KeyswitchKey {
    /// Switches LWE ciphertexts of dimension kN to the small key, in parallel.
    ///
    /// # Panics
    /// If a ciphertext is of another dimension.
    pub fn keyswitch(&self, ciphertexts: &[LweCiphertext]) -> Vec<LweCiphertext> {
        match self {
            Self::Lwe(key) => key.keyswitch(ciphertexts),
            Self::Glwe(key) => key.keyswitch_lwe(ciphertexts),
        }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Lwe(key) => key.bytes(),
            Self::Glwe(key) => key.bytes(),
        }
    }
}

/// One evaluation key, ready for use.
#[derive(Debug)]
enum Key {
    Keyswitch(KeyswitchKey),
    Lift(GlweKeyswitchKey),
    Automorphisms(u32, AutomorphismKeys),
    Relinearization(RelinearizationKey),
    Bootstrapping(BootstrappingKey),
}

impl Key {
    fn bytes(&self) -> usize {
        match self {
            Self::Keyswitch(key) => key.bytes(),
            Self::Lift(key) => key.bytes(),
            Self::Automorphisms(_, keys) => keys.bytes(),
            Self::Relinearization(key) => key.bytes(),
            Self::Bootstrapping(key) => key.bytes(),
        }
    }
}

/// Evaluation keys, ready for use. They belong to the client that made them ([`Identity`]).
///
/// Whoever computes with them asks for all that it needs before it begins, and has an answer or an error; what it then
/// holds are references to keys.
#[derive(Debug)]
pub struct EvaluationKeys {
    parameters: Parameters,
    identity: Identity,
    plans: Plans,
    keys: BTreeMap<Edge, Key>,
}

impl EvaluationKeys {
    /// The parameter set.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Whose they are: they compute with requests of the same keys, and no others ([`Request::open`](super::Request::open)).
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The plan of transforms in the lookup ring.
    pub fn lookup_fft(&self) -> &NegacyclicFft {
        self.plans.of(self.parameters.lookup())
    }

    /// The plan of transforms in the arithmetic ring.
    pub fn arithmetic_fft(&self) -> &NegacyclicFft {
        self.plans.of(self.parameters.arithmetic())
    }

    /// The key of `edge`, if it is what `of_kind` says.
    fn key<'a, T>(&'a self, edge: Edge, of_kind: impl FnOnce(&'a Key) -> Option<T>) -> Result<T, MissingKey> {
        let edge = self.parameters.canonical(edge);
        self.keys.get(&edge).and_then(of_kind).ok_or(MissingKey::Edge(edge))
    }

    /// The key switch from `ring` to the small key.
    ///
    /// # Errors
    /// If the keys were made without it; so of the others.
    pub fn keyswitch(&self, ring: Node) -> Result<&KeyswitchKey, MissingKey> {
        self.key(Edge::Keyswitch { from: ring }, |key| match key {
            Key::Keyswitch(key) => Some(key),
            _ => None,
        })
    }

    /// The key switch from one ring, after X' = X^(N/N'), to a larger one.
    ///
    /// # Errors
    /// If the keys were made without it.
    pub fn lift(&self, from: Node, to: Node) -> Result<&GlweKeyswitchKey, MissingKey> {
        self.key(Edge::Lift { from, to }, |key| match key {
            Key::Lift(key) => Some(key),
            _ => None,
        })
    }

    /// The automorphisms of `ring` with its gadget number `gadget`, all l > m at least.
    ///
    /// # Errors
    /// If the keys were made without them, or without one of those.
    pub fn automorphisms(&self, ring: Node, gadget: usize, m: u32) -> Result<&AutomorphismKeys, MissingKey> {
        let edge = Edge::Automorphisms { ring, gadget };
        let (made, keys) = self.key(edge, |key| match key {
            Key::Automorphisms(made, keys) => Some((*made, keys)),
            _ => None,
        })?;
        if made <= m { Ok(keys) } else { Err(MissingKey::Automorphisms { edge, made, asked: m }) }
    }

    /// The relinearization key of `ring`.
    ///
    /// # Errors
    /// If the keys were made without it.
    pub fn relinearization(&self, ring: Node) -> Result<&RelinearizationKey, MissingKey> {
        self.key(Edge::Relinearization { ring }, |key| match key {
            Key::Relinearization(key) => Some(key),
            _ => None,
        })
    }

    /// The bootstrapping key of gadget `gadget`, from the small key to the gadget's ring.
    ///
    /// # Errors
    /// If the keys were made without it, or there is no such gadget.
    pub fn bootstrapping_key(&self, gadget: usize) -> Result<&BootstrappingKey, MissingKey> {
        self.key(Edge::Bootstrapping { gadget }, |key| match key {
            Key::Bootstrapping(key) => Some(key),
            _ => None,
        })
    }

    /// The keys of a refresh ([`crate::refresh`]) with bootstrapping gadget number `bootstrap`, and the key switch from the lookup ring if
    /// it is there. For another gadget: again, or [`Refresh::with_bootstrapping`].
    ///
    /// # Errors
    /// If the keys were made without one of [`Needs::refresh`](super::Needs::refresh), or the set is not one for it.
    pub fn refresh(&self, bootstrap: usize) -> Result<Refresh<'_>, NoRefresh> {
        let KeyswitchKey::Glwe(keyswitch) = self.keyswitch(Node::Arithmetic)? else {
            return Err(RefreshError::Keys("the small key is an LWE key").into());
        };
        let automorphisms = self.automorphisms(Node::Lookup, 0, 0)?;
        let lift = self.lift(Node::Lookup, Node::Arithmetic)?;
        let refresh = Refresh::new(keyswitch, self.bootstrapping_key(bootstrap)?, automorphisms, lift)?;
        match self.keyswitch(Node::Lookup) {
            Ok(KeyswitchKey::Glwe(lookup)) => Ok(refresh.with_lookup_keyswitch(lookup)?),
            _ => Ok(refresh),
        }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.keys.values().map(Key::bytes).sum()
    }
}
