//! The edges of a parameter set that the packed circuit takes, and the keys of one party on them.

use nn::table::Smooth;
use tfhe_core::automorphism::AutomorphismKeys;
use tfhe_core::bootstrapping_key::BootstrappingKey;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe_keyswitch::GlweKeyswitchKey;
use tfhe_core::key_graph::Node::{Arithmetic, Lookup};
use tfhe_core::key_graph::{Edge, Parameters};
use tfhe_core::keys::{EvaluationKeys, KeyswitchKey, Needs};
use tfhe_core::params::Gadget;
use tfhe_core::sets::COARSE;
use tfhe_core::tensor_product::RelinearizationKey;

use super::layout::Layout;
use super::tables;
use crate::boundary::Refused;

/// From scores to the small key.
pub const SCORE_KEYSWITCH: Edge = Edge::Keyswitch { from: Arithmetic };
/// From results of lookups to the small key.
pub const LOOKUP_KEYSWITCH: Edge = Edge::Keyswitch { from: Lookup };
/// From results of lookups to the arithmetic ring.
pub const LIFT: Edge = Edge::Lift { from: Lookup, to: Arithmetic };
/// Clear what a probability has beside it.
pub const ISOLATION: Edge = Edge::Automorphisms { ring: Lookup, gadget: 0 };
/// Gather projections, and pack answers.
pub const AUTOMORPHISMS: Edge = Edge::Automorphisms { ring: Arithmetic, gadget: 0 };
/// Scores, and GGSW encryptions of values.
pub const RELINEARIZATION: Edge = Edge::Relinearization { ring: Arithmetic };
/// Probabilities with values.
pub const WEIGHING: Edge = Edge::ExternalProduct { ring: Arithmetic };

/// The bootstrapping of a function.
pub fn bootstrapping(function: Smooth) -> Edge {
    Edge::Bootstrapping { gadget: tables::gadget(function) }
}

/// The evaluation keys that a run in `layout` needs.
pub fn needs(layout: &Layout) -> Needs {
    let keyswitches = Needs::default().keyswitch(Arithmetic).keyswitch(Lookup).lift(Lookup, Arithmetic);
    let automorphisms = keyswitches.automorphisms(Lookup, 0, 0).automorphisms(Arithmetic, 0, layout.subring_log());
    let functions = [Smooth::Softplus, Smooth::Exponential].map(tables::gadget);
    functions.into_iter().fold(automorphisms.relinearization(Arithmetic), Needs::bootstrapping)
}

/// The keys of one party that the circuit takes: all of [`needs`].
#[derive(Clone, Copy, Debug)]
pub struct PackedKeys<'a> {
    /// The set.
    pub parameters: &'a Parameters,
    /// The plan of transforms in the arithmetic ring.
    pub fft: &'a NegacyclicFft,
    /// [`SCORE_KEYSWITCH`].
    pub score_keyswitch: &'a KeyswitchKey,
    /// [`LOOKUP_KEYSWITCH`].
    pub lookup_keyswitch: &'a KeyswitchKey,
    /// [`LIFT`].
    pub lift: &'a GlweKeyswitchKey,
    /// [`ISOLATION`].
    pub isolation: &'a AutomorphismKeys,
    /// [`AUTOMORPHISMS`].
    pub automorphisms: &'a AutomorphismKeys,
    /// [`RELINEARIZATION`].
    pub relinearization: &'a RelinearizationKey,
    /// The gadget of [`WEIGHING`].
    pub weighing: Gadget,
    softplus: &'a BootstrappingKey,
    exponential: &'a BootstrappingKey,
}

impl<'a> PackedKeys<'a> {
    /// Those of `keys` for heads of `head_size` channels.
    ///
    /// # Errors
    /// If one is missing.
    pub fn new(keys: &'a EvaluationKeys, head_size: usize) -> Result<Self, Refused> {
        let (parameters, subring_log) = (keys.parameters(), Layout::subring_of(head_size).ilog2());
        let bootstrapping = |function| keys.bootstrapping_key(tables::gadget(function));
        Ok(Self {
            parameters,
            fft: keys.arithmetic_fft(),
            score_keyswitch: keys.keyswitch(Arithmetic)?,
            lookup_keyswitch: keys.keyswitch(Lookup)?,
            lift: keys.lift(Lookup, Arithmetic)?,
            isolation: keys.automorphisms(Lookup, 0, 0)?,
            automorphisms: keys.automorphisms(Arithmetic, 0, subring_log)?,
            relinearization: keys.relinearization(Arithmetic)?,
            weighing: parameters.gadget(WEIGHING)?,
            softplus: bootstrapping(Smooth::Softplus)?,
            exponential: bootstrapping(Smooth::Exponential)?,
        })
    }

    /// The bootstrapping key of a function.
    pub fn bootstrapping(&self, function: Smooth) -> &'a BootstrappingKey {
        if tables::gadget(function) == COARSE { self.softplus } else { self.exponential }
    }
}
