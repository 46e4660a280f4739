//! Evaluation keys as numbers, for [`crate::format`]: how many each has, by what the set and the needs say, and which they are.
//!
//! A key is a public seed and *parts*. A part has `inputs`·ℓ rows, of which the bodies are stored, N elements each; their masks are those of a
//! stream of the seed. Of the elements of bootstrapping keys' bodies, which are nearly all there is, the bits that are more than noise are kept
//! ([`stored_bits`]).
//!
//! | key | parts | streams | inputs | N |
//! |---|---|---|---|---|
//! | key switch to an LWE key | 1 | one for each input, from 0 | n', bits | 1 |
//! | key switch to a GLWE key, lift | 1 | 0 | k' | N |
//! | automorphisms l > m | log2 N − m | l, from m + 1 | k | N |
//! | relinearization | 1 | 0 | 1 | N |
//! | bootstrapping | GGSW ciphertexts ([`crate::params::Grouping::ciphertexts`]) | one for each part, from 0 | k + 1 | N |

use super::evaluation::{EvaluationKeys, SeededEvaluationKeys, SeededKey};
use super::label::Identity;
use super::needs::{Need, Needs};
use crate::automorphism::SeededAutomorphismKeys;
use crate::bootstrapping_key::SeededBootstrappingKey;
use crate::ggsw::SeededGgswCiphertext;
use crate::glwe_keyswitch::SeededGlweKeyswitchKey;
use crate::key_graph::{Edge, MissingEdge, Node, Parameters, Ring};
use crate::keyswitch::SeededLweKeyswitchKey;
use crate::noise::stored_bits;
use crate::params::{GlweShape, LweDimension};
use crate::random::PublicSeed;
use crate::rows::SeededRows;
use crate::tensor_product::SeededRelinearizationKey;
use crate::torus::MODULUS_LOG;

/// How many numbers a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeySizes {
    /// How many parts it has.
    pub(crate) parts: usize,
    /// The stream of the first part's masks.
    pub(crate) first_stream: u32,
    /// How many polynomials, or numbers, a part's rows encrypt at ℓ levels each.
    pub(crate) inputs: usize,
    /// ℓ.
    pub(crate) levels: usize,
    /// k, or n of an LWE key: how many masks a row has.
    pub(crate) masks: usize,
    /// N, or 1: how many elements a mask has, and a body.
    pub(crate) size: usize,
    /// How many bits of each element of a body are kept.
    pub(crate) bits: u32,
}

impl KeySizes {
    /// Elements of a part's bodies.
    pub(crate) fn part_len(&self) -> usize {
        self.inputs * self.levels * self.size
    }
}

/// A key as numbers.
#[derive(Debug)]
pub(crate) struct StoredKey<Bodies> {
    pub(crate) need: Need,
    pub(crate) seed: PublicSeed,
    /// Of each part, `[inputs][ℓ][N]`.
    pub(crate) parts: Vec<Bodies>,
}

impl Need {
    /// The shape of what its key switches or multiplies, and the ring in which it does; of a key switch to an LWE key, nothing.
    fn shapes(self, parameters: &Parameters) -> Option<(GlweShape, Ring)> {
        let own = |ring: Node| Some((parameters.ring(ring).shape, parameters.ring(ring)));
        match self.edge {
            Edge::Keyswitch { from } => {
                Some((parameters.regrouped(parameters.ring(from).lwe_dimension())?, parameters.small().ring()?))
            }
            Edge::Lift { from, to } => {
                let to = parameters.ring(to);
                Some((GlweShape { polynomial_size: to.size(), ..parameters.ring(from).shape }, to))
            }
            Edge::Automorphisms { ring, .. } | Edge::Relinearization { ring } | Edge::ExternalProduct { ring } => {
                own(ring)
            }
            Edge::Bootstrapping { gadget } => own(parameters.bootstraps()[gadget].ring),
        }
    }

    /// Of a key switch to an LWE key, n' and n.
    fn lwe_dimensions(self, parameters: &Parameters) -> [LweDimension; 2] {
        let from = if let Edge::Keyswitch { from } = self.edge { from } else { Node::Small };
        [from, Node::Small].map(|node| parameters.key(node).lwe_dimension())
    }

    /// How many numbers its key has.
    pub(crate) fn sizes(self, parameters: &Parameters) -> KeySizes {
        let levels = self.gadget.levels();
        let Some((input, ring)) = self.shapes(parameters) else {
            let [inputs, masks] = self.lwe_dimensions(parameters).map(LweDimension::get);
            return KeySizes { parts: 1, first_stream: 0, inputs, levels, masks, size: 1, bits: MODULUS_LOG };
        };
        let (k, masks, size) = (input.dimension.get(), ring.shape.dimension.get(), ring.size().get());
        let (parts, first_stream, inputs) = match self.edge {
            Edge::Keyswitch { .. } | Edge::Lift { .. } => (1, 0, k),
            Edge::Automorphisms { .. } => ((ring.size().log2() - self.subring_log) as usize, self.subring_log + 1, k),
            Edge::Relinearization { .. } => (1, 0, 1),
            Edge::Bootstrapping { gadget } => {
                let grouping = parameters.bootstraps()[gadget].grouping;
                (grouping.ciphertexts(parameters.small().lwe_dimension()), 0, k + 1)
            }
            Edge::ExternalProduct { .. } => (0, 0, k + 1),
        };
        let bits = match self.edge {
            Edge::Bootstrapping { .. } => stored_bits(ring.noise.variance()),
            _ => MODULUS_LOG,
        };
        KeySizes { parts, first_stream, inputs, levels, masks, size, bits }
    }
}

impl EvaluationKeys {
    /// What [`Self::bytes`] is of keys with these needs, before they are read: bodies and masks, prepared. (A key switch to an LWE key is
    /// packed in another way; what it takes is counted as if it were not.)
    ///
    /// # Errors
    /// If the set has not what is needed.
    pub fn predicted_bytes(parameters: &Parameters, needs: &Needs) -> Result<usize, MissingEdge> {
        let of = |need: Need| {
            let sizes = need.sizes(parameters);
            let parts = match need.edge {
                Edge::Bootstrapping { gadget } => {
                    let grouping = parameters.bootstraps()[gadget].grouping;
                    grouping.prepared_ciphertexts(parameters.small().lwe_dimension())
                }
                _ => sizes.parts,
            };
            let elements = parts * sizes.part_len() * (sizes.masks + 1);
            // Each is one f64, or one of each half.
            let limbs = if sizes.size > 1 { need.gadget.precision().limbs() } else { 1 };
            elements * limbs * size_of::<f64>()
        };
        Ok(needs.of_set(parameters)?.into_iter().map(of).sum())
    }
}

impl SeededKey {
    /// m, of automorphisms.
    fn subring_log(&self) -> u32 {
        if let Self::Automorphisms(m, _) = self { *m } else { 0 }
    }

    /// The seed of its masks, and the bodies of each part.
    fn numbers(&self) -> (PublicSeed, Vec<&[u64]>) {
        fn of_rows<'a>(rows: impl IntoIterator<Item = &'a SeededRows>) -> (PublicSeed, Vec<&'a [u64]>) {
            let mut rows = rows.into_iter().peekable();
            let seed = rows.peek().expect("a key has rows").seed();
            (seed, rows.map(SeededRows::bodies).collect())
        }
        match self {
            Self::LweKeyswitch(key) => (key.seed(), vec![key.bodies()]),
            Self::GlweKeyswitch(key) => of_rows([key.rows()]),
            Self::Automorphisms(_, keys) => of_rows(keys.rows()),
            Self::Relinearization(key) => of_rows([key.rows()]),
            Self::Bootstrapping(key) => of_rows(key.ciphertexts().iter().map(SeededGgswCiphertext::rows)),
        }
    }

    /// That of which these are the numbers: as many as [`Need::sizes`] says.
    fn from_numbers(key: StoredKey<Vec<u64>>, parameters: &Parameters) -> Self {
        let StoredKey { need, seed, parts } = key;
        let Need { edge, gadget, subring_log } = need;
        let Some((input, ring)) = need.shapes(parameters) else {
            let (dimensions, noise) = (need.lwe_dimensions(parameters), parameters.small().noise());
            let bodies = parts.into_iter().flatten().collect();
            return Self::LweKeyswitch(SeededLweKeyswitchKey::from_bodies(dimensions, gadget, noise, seed, bodies));
        };
        let first = need.sizes(parameters).first_stream;
        let rows = |(bodies, stream)| SeededRows::from_bodies(ring.shape, gadget, (seed, stream), bodies);
        let mut rows = parts.into_iter().zip(u64::from(first)..).map(rows);
        match edge {
            Edge::Automorphisms { .. } => {
                Self::Automorphisms(subring_log, SeededAutomorphismKeys::from_rows(first, rows.collect()))
            }
            Edge::Bootstrapping { gadget } => Self::Bootstrapping(SeededBootstrappingKey::from_ciphertexts(
                parameters.small().lwe_dimension(),
                parameters.bootstraps()[gadget].grouping,
                rows.map(SeededGgswCiphertext::from_rows).collect(),
            )),
            Edge::Relinearization { .. } => Self::Relinearization(SeededRelinearizationKey::from_rows(only(&mut rows))),
            _ => Self::GlweKeyswitch(SeededGlweKeyswitchKey::from_rows(input, only(&mut rows))),
        }
    }
}

/// The rows of a key of one part.
fn only(rows: &mut impl Iterator<Item = SeededRows>) -> SeededRows {
    rows.next().expect("a key has as many parts as its sizes say")
}

impl SeededEvaluationKeys {
    /// Of the numbers of each key that is needed.
    pub(crate) fn from_numbers(
        parameters: &Parameters,
        identity: Identity,
        keys: impl IntoIterator<Item = StoredKey<Vec<u64>>>,
    ) -> Self {
        let key = |key: StoredKey<_>| (key.need.edge, SeededKey::from_numbers(key, parameters));
        Self { parameters: parameters.clone(), identity, keys: keys.into_iter().map(key).collect() }
    }

    /// What they are, in the order of edges.
    pub(crate) fn needs(&self) -> impl ExactSizeIterator<Item = Need> {
        self.keys.iter().map(|(&edge, key)| {
            let gadget = self.parameters.gadget(edge).expect("keys are of edges of their set");
            Need { edge, gadget, subring_log: key.subring_log() }
        })
    }

    /// The numbers of each key, in the order of edges.
    pub(crate) fn numbers(&self) -> impl ExactSizeIterator<Item = StoredKey<&[u64]>> {
        self.needs().zip(self.keys.values()).map(|(need, key)| {
            let (seed, parts) = key.numbers();
            StoredKey { need, seed, parts }
        })
    }
}
