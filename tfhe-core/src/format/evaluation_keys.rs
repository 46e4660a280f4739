//! Evaluation keys, in the order of edges ([`crate::key_graph::Edge`]).

use std::io::{self, ErrorKind};

use super::decoder::Decoder;
use super::elements::packed_bytes;
use super::encoder::Encoder;
use super::error::FormatError;
use super::header::ENVELOPE_BYTES;
use crate::key_graph::{Edge, MissingEdge, Parameters};
use crate::keys::{Identity, KeySizes, MissingKey, Need, Needs, SeededEvaluationKeys, StoredKey};
use crate::random::PublicSeed;

/// Bytes of a whole file of the evaluation keys that [`Needs`] asks for.
///
/// # Errors
/// If the set has not what is needed.
pub fn evaluation_key_bytes(parameters: &Parameters, needs: &Needs) -> Result<u64, MissingEdge> {
    Ok(file_bytes(needs.of_set(parameters)?.into_iter(), parameters))
}

fn file_bytes(needs: impl Iterator<Item = Need>, parameters: &Parameters) -> u64 {
    /// An edge, sizes, a seed.
    const BEFORE: u64 = 8 * (3 + 7) + 32;
    let key = |sizes: KeySizes| BEFORE + sizes.parts as u64 * packed_bytes(sizes.part_len() as u64, sizes.bits);
    let count = 8;
    ENVELOPE_BYTES + count + needs.map(|need| key(need.sizes(parameters))).sum::<u64>()
}

impl SeededEvaluationKeys {
    /// Bytes of their file: [`evaluation_key_bytes`].
    pub fn bytes(&self) -> usize {
        file_bytes(self.needs(), self.parameters()) as usize
    }

    /// What [`Self::bytes`] is of the keys that [`ClientKeys::evaluation_keys`](crate::keys::ClientKeys::evaluation_keys) makes with the same
    /// needs, without making them.
    ///
    /// # Errors
    /// If the set has not what is needed.
    pub fn predicted_bytes(parameters: &Parameters, needs: &Needs) -> Result<usize, MissingEdge> {
        Ok(evaluation_key_bytes(parameters, needs)? as usize)
    }
}

/// Which edge it is. These numbers are in the order of edges.
fn numbers(edge: Edge) -> [u64; 3] {
    match edge {
        Edge::Keyswitch { from } => [1, from as u64, 0],
        Edge::Lift { from, to } => [2, from as u64, to as u64],
        Edge::Automorphisms { ring, gadget } => [3, ring as u64, gadget as u64],
        Edge::Relinearization { ring } => [4, ring as u64, 0],
        Edge::Bootstrapping { gadget } => [5, gadget as u64, 0],
        Edge::ExternalProduct { ring } => [6, ring as u64, 0],
    }
}

impl KeySizes {
    fn numbers(&self) -> [u64; 7] {
        let Self { parts, first_stream, inputs, levels, masks, size, bits } = *self;
        [parts as u64, first_stream.into(), inputs as u64, levels as u64, masks as u64, size as u64, bits.into()]
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, error)
}

impl Encoder<'_> {
    /// Evaluation keys.
    ///
    /// # Errors
    /// Those of what is written to; that the keys are others than those of the envelope.
    pub fn evaluation_keys(&mut self, keys: &SeededEvaluationKeys) -> io::Result<()> {
        self.check_identity(keys.identity())?;
        let stored = keys.numbers();
        self.integer(stored.len() as u64)?;
        stored.into_iter().try_for_each(|key| self.evaluation_key(key, keys.parameters()))
    }

    /// Those of the evaluation keys that are needed, for whoever needs fewer of them.
    ///
    /// # Errors
    /// As [`Self::evaluation_keys`]; that one that is needed is not there, or has other automorphisms.
    pub fn some_evaluation_keys(&mut self, keys: &SeededEvaluationKeys, needs: &Needs) -> io::Result<()> {
        self.check_identity(keys.identity())?;
        let needs = needs.of_set(keys.parameters()).map_err(invalid)?;
        self.integer(needs.len() as u64)?;
        needs.into_iter().try_for_each(|need| {
            let found = keys.numbers().find(|key| key.need.edge == need.edge);
            let key = found.ok_or_else(|| invalid(MissingKey::Edge(need.edge)))?;
            let (edge, made, asked) = (need.edge, key.need.subring_log, need.subring_log);
            if made != asked {
                return Err(invalid(MissingKey::Automorphisms { edge, made, asked }));
            }
            self.evaluation_key(key, keys.parameters())
        })
    }

    fn evaluation_key(&mut self, key: StoredKey<&[u64]>, parameters: &Parameters) -> io::Result<()> {
        let StoredKey { need, seed, parts } = key;
        self.integers(numbers(need.edge))?;
        let sizes = need.sizes(parameters);
        self.integers(sizes.numbers())?;
        self.digest(&seed.0)?;
        parts.into_iter().try_for_each(|bodies| self.elements(bodies, sizes.bits))
    }
}

const SURPLUS: FormatError = FormatError::Contents("there is an evaluation key that is not needed");

impl Decoder<'_> {
    /// The evaluation keys that are needed, of a set, under keys `identity`: these and no others.
    ///
    /// # Errors
    /// [`FormatError::Edge`] if the set has not what is needed, [`FormatError::Other`] if the keys are of another set, [`FormatError::Key`] if
    /// one is missing or has other automorphisms, [`FormatError::Contents`].
    pub fn evaluation_keys(
        &mut self,
        identity: Identity,
        parameters: &Parameters,
        needs: &Needs,
    ) -> Result<SeededEvaluationKeys, FormatError> {
        if identity.set != parameters.fingerprint() {
            return Err(FormatError::Other("another parameter set"));
        }
        let needs = needs.of_set(parameters)?;
        let (count, needed) = (self.integer()?, needs.len() as u64);
        let mut keys = Vec::new();
        for (need, index) in needs.into_iter().zip(0..) {
            if index == count {
                return Err(MissingKey::Edge(need.edge).into());
            }
            keys.push(self.evaluation_key(need, parameters)?);
        }
        if count > needed { Err(SURPLUS) } else { Ok(SeededEvaluationKeys::from_numbers(parameters, identity, keys)) }
    }

    fn evaluation_key(&mut self, need: Need, parameters: &Parameters) -> Result<StoredKey<Vec<u64>>, FormatError> {
        let (edge, sizes) = (need.edge, need.sizes(parameters));
        let (found, expected) = (self.integers()?, numbers(edge));
        if found != expected {
            // They are in order: what comes before is one too many, and where something comes after, this one is missing.
            return Err(if found < expected { SURPLUS } else { MissingKey::Edge(edge).into() });
        }
        let (found, expected) = (self.integers()?, sizes.numbers());
        if found != expected {
            return Err(match (edge, u32::try_from(found[1])) {
                (Edge::Automorphisms { .. }, Ok(first @ 1..)) if first != sizes.first_stream => {
                    let [made, asked] = [first, sizes.first_stream].map(|l| l - 1);
                    MissingKey::Automorphisms { edge, made, asked }.into()
                }
                _ => FormatError::Contents("an evaluation key has other sizes than those of the parameter set"),
            });
        }
        let seed = PublicSeed(self.digest()?);
        let parts = self.list(sizes.parts, sizes.part_len(), sizes.bits, |bodies| bodies)?;
        Ok(StoredKey { need, seed, parts })
    }
}
