//! The evaluation keys that a block takes, of one party.

use nn::evaluator::SmoothUse;
use tfhe_core::automorphism::AutomorphismKeys;
use tfhe_core::blind_rotation::BlindRotator;
use tfhe_core::bootstrapping_key::BootstrappingKey;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::key_graph::Node::{Arithmetic, Lookup};
use tfhe_core::key_graph::{Edge, MissingEdge, Parameters};
use tfhe_core::keys::{EvaluationKeys, MissingKey, Needs, NoRefresh};
use tfhe_core::noise::RefreshParameters;
use tfhe_core::params::Gadget;
use tfhe_core::refresh::Refresh;
use tfhe_core::rounding::Transforms;
use tfhe_core::sets::{COARSE, FINE, PRECISE};
use tfhe_core::tensor_product::RelinearizationKey;

use crate::boundary::Refused;

/// Everything that multiplies: rows times their factor, queries times keys, values times probabilities.
pub const PRODUCT: Edge = Edge::ExternalProduct { ring: Arithmetic };

/// Takes requests apart.
pub const EXPANSION: Edge = Edge::Automorphisms { ring: Arithmetic, gadget: 0 };

/// How many gadgets bootstrappings have.
pub const GADGETS: usize = 3;

/// The gadget of the bootstrapping for a use.
pub fn gadget(result: SmoothUse) -> usize {
    match result {
        SmoothUse::Read => COARSE,
        SmoothUse::Feature => FINE,
        SmoothUse::Multiplier { .. } | SmoothUse::Update => PRECISE,
    }
}

/// What rounding may add to the variance of a result of a lookup, as a share of it.
const ROUNDING_SHARE: f64 = 1.0 / 1024.0;

/// To how many bits results of lookups with bootstrapping gadget number `gadget` are rounded: what others compute has to be sent.
///
/// # Errors
/// If the set is not one of this circuit.
pub fn result_bits(parameters: &Parameters, gadget: usize) -> Result<u32, MissingEdge> {
    Ok(RefreshParameters::new(parameters, gadget, Transforms::ANY)?.fewest_result_bits(ROUNDING_SHARE))
}

/// The bootstrapping key of each gadget.
///
/// # Errors
/// If one is missing.
pub fn bootstrapping_keys(keys: &EvaluationKeys) -> Result<[&BootstrappingKey; GADGETS], MissingKey> {
    Ok([keys.bootstrapping_key(COARSE)?, keys.bootstrapping_key(FINE)?, keys.bootstrapping_key(PRECISE)?])
}

/// The evaluation keys that a block needs, whatever the size of its heads.
pub fn needs() -> Needs {
    let products = Needs::default().looked_up_ggsw(PRECISE).automorphisms(Arithmetic, 0, 0);
    [COARSE, FINE].into_iter().fold(products, Needs::bootstrapping)
}

/// Who does the blind rotations of lookups, if it is not the server itself: one for each bootstrapping gadget.
pub type Rotators<'a> = [&'a dyn BlindRotator; GADGETS];

/// The keys of one party that a block takes: all of [`needs`].
#[derive(Clone, Copy, Debug)]
pub struct BlockKeys<'a> {
    /// The set.
    pub parameters: &'a Parameters,
    /// The plan of transforms in the arithmetic ring.
    pub fft: &'a NegacyclicFft,
    /// Rows of GGSW ciphertexts.
    pub relinearization: &'a RelinearizationKey,
    /// [`EXPANSION`].
    pub expansion: &'a AutomorphismKeys,
    /// The gadget of [`PRODUCT`].
    pub product: Gadget,
    read: Refresh<'a>,
    feature: Refresh<'a>,
    precise: Refresh<'a>,
}

impl<'a> BlockKeys<'a> {
    /// Those of `keys`.
    ///
    /// # Errors
    /// If one is missing, or their set is not one of this circuit.
    pub fn new(keys: &'a EvaluationKeys) -> Result<Self, Refused> {
        let refresh = |result| {
            let refresh = keys.refresh(gadget(result)).map_err(|missing| match missing {
                NoRefresh::Missing(key) => Refused::Keys(key),
                NoRefresh::Set(_) => Refused::NoRefresh(keys.parameters().name()),
            });
            let bits = result_bits(keys.parameters(), gadget(result));
            Ok::<_, Refused>(refresh?.with_result_bits(bits?))
        };
        // A refresh without it reads no results of lookups.
        keys.keyswitch(Lookup)?;
        Ok(Self {
            parameters: keys.parameters(),
            fft: keys.arithmetic_fft(),
            relinearization: keys.relinearization(Arithmetic)?,
            expansion: keys.automorphisms(Arithmetic, 0, 0)?,
            product: keys.parameters().gadget(PRODUCT)?,
            read: refresh(SmoothUse::Read)?,
            feature: refresh(SmoothUse::Feature)?,
            precise: refresh(SmoothUse::Update)?,
        })
    }

    /// The same where the blind rotations of lookups are done by others.
    #[must_use]
    pub fn with_rotators(self, rotators: Rotators<'a>) -> Self {
        let with = |refresh: Refresh<'a>, gadget: usize| refresh.with_rotator(rotators[gadget]);
        Self {
            read: with(self.read, COARSE),
            feature: with(self.feature, FINE),
            precise: with(self.precise, PRECISE),
            ..self
        }
    }

    /// Key switches, the bootstrapping for a use, and what packs its results.
    pub fn refresh(&self, result: SmoothUse) -> &Refresh<'a> {
        match result {
            SmoothUse::Read => &self.read,
            SmoothUse::Feature => &self.feature,
            SmoothUse::Multiplier { .. } | SmoothUse::Update => &self.precise,
        }
    }
}
