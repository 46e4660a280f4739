//! The noise of a refresh, step by step.

use super::{
    Distribution, MODULUS_LOG, Variance, blind_rotation, glwe_keyswitch_from, modulus_switch, packing, rounded_body,
    rounded_ciphertext,
};
use crate::key_graph::{Edge, KeyParameters, MissingEdge, Node, Parameters};
use crate::params::{GadgetTransforms, GlweDimension, GlweShape, Grouping, NoiseDistribution};
use crate::rounding::Transforms;

/// What the noise of a refresh ([`crate::refresh`]) depends on: gadgets, and shape and noise of what is encrypted under each key.
#[derive(Clone, Copy, Debug)]
pub struct RefreshParameters {
    /// Of the key switch to the small key from the arithmetic ring, if arguments have a part under its key.
    pub keyswitch: Option<GadgetTransforms>,
    /// Of the key switch to the small key from the lookup ring, if arguments have a part under its key.
    pub lookup_keyswitch: Option<GadgetTransforms>,
    /// v: how many tables, 2^v, a bootstrapping reads together.
    pub log_tables: u32,
    /// Of the bootstrapping.
    pub bootstrapping: GadgetTransforms,
    /// How many bits of the small key each of its steps takes.
    pub grouping: Grouping,
    /// To how many bits what it leaves is rounded: 64 if it is not.
    pub result_bits: u32,
    /// Of the automorphisms of the lookup ring.
    pub automorphism: GadgetTransforms,
    /// Of the key switch from the lookup ring to the arithmetic ring.
    pub lift: GadgetTransforms,
    /// The small key: a GLWE key of small polynomials, used as an LWE key.
    pub small: (GlweShape, NoiseDistribution),
    /// The lookup ring.
    pub lookup: (GlweShape, NoiseDistribution),
    /// The arithmetic ring.
    pub arithmetic: (GlweShape, NoiseDistribution),
}

impl RefreshParameters {
    /// Of a set with two rings, with its bootstrapping gadget number `bootstrap`, on given transforms: with arguments of the arithmetic
    /// ring, and one table for each bootstrapping.
    ///
    /// # Errors
    /// If the set has no refresh with this gadget.
    pub fn new(parameters: &Parameters, bootstrap: usize, transforms: Transforms) -> Result<Self, MissingEdge> {
        let gadget = |edge| Ok(parameters.gadget(edge)?.on(transforms));
        let keyswitch = Edge::Keyswitch { from: Node::Arithmetic };
        let ring = |key: &KeyParameters| match key.ring() {
            Some(ring) => Ok((ring.shape, ring.noise)),
            // To an LWE key, it is another key switch than that of a refresh.
            None => Err(MissingEdge { set: parameters.name(), edge: keyswitch }),
        };
        Ok(Self {
            keyswitch: Some(gadget(keyswitch)?),
            lookup_keyswitch: None,
            log_tables: 0,
            bootstrapping: gadget(Edge::Bootstrapping { gadget: bootstrap })?,
            grouping: parameters.bootstraps()[bootstrap].grouping,
            result_bits: MODULUS_LOG,
            automorphism: gadget(Edge::Automorphisms { ring: Node::Lookup, gadget: 0 })?,
            lift: gadget(Edge::Lift { from: Node::Lookup, to: Node::Arithmetic })?,
            small: ring(parameters.small())?,
            lookup: ring(parameters.key(Node::Lookup))?,
            arithmetic: ring(parameters.key(Node::Arithmetic))?,
        })
    }

    /// With arguments that are sums of parts under the keys of the given rings of the set.
    ///
    /// # Errors
    /// If the set has no key switch from one of them.
    pub fn with_arguments(self, parameters: &Parameters, parts: &[Node]) -> Result<Self, MissingEdge> {
        let transforms = self.bootstrapping.transforms;
        let gadget = |node: Node| {
            let gadget = |from| Ok(parameters.gadget(Edge::Keyswitch { from })?.on(transforms));
            parts.contains(&node).then(|| gadget(node)).transpose()
        };
        Ok(Self { keyswitch: gadget(Node::Arithmetic)?, lookup_keyswitch: gadget(Node::Lookup)?, ..self })
    }

    /// With 2^`log_tables` tables for each bootstrapping ([`crate::refresh::FunctionTables`]).
    #[must_use]
    pub fn with_tables(self, log_tables: u32) -> Self {
        Self { log_tables, ..self }
    }

    /// With results rounded to `result_bits` bits ([`crate::refresh::Refresh::with_result_bits`]).
    #[must_use]
    pub fn with_result_bits(self, result_bits: u32) -> Self {
        Self { result_bits, ..self }
    }

    /// To how few bits results can be rounded, if that is to add at most `share` of the bootstrapping's variance.
    ///
    /// ```
    /// use tfhe_core::noise::{RefreshParameters, refresh};
    /// use tfhe_core::{rounding::Transforms, sets};
    ///
    /// let parameters = RefreshParameters::new(&sets::PACKED_BLOCK.compile()?, sets::FINE, Transforms::ANY)?;
    /// let bits = parameters.fewest_result_bits(0.001);
    /// let added = |bits| {
    ///     let [plain, rounded] = [parameters, parameters.with_result_bits(bits)].map(|p| refresh(&p).bootstrapping.get());
    ///     rounded / plain - 1.0
    /// };
    /// assert!(added(bits) <= 0.001 && added(bits - 1) > 0.001);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fewest_result_bits(&self, share: f64) -> u32 {
        let plain = refresh(&self.with_result_bits(MODULUS_LOG)).bootstrapping.get();
        let added = |bits| rounded_ciphertext(self.lookup.0, bits) + rounded_body(bits);
        let is_fine = |&bits: &u32| added(bits).get() <= share * plain;
        (1..MODULUS_LOG).find(is_fine).unwrap_or(MODULUS_LOG)
    }
}

/// The noise of a refresh, step by step. The same at each place, whatever the number of places: see [`packing`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RefreshNoise {
    /// What the key switches of its parts to the small key add to the argument.
    pub keyswitch: Variance,
    /// What rounding to one of 2N'/2^v angles adds to the argument: the mask's rounding errors that are not compensated, and the width of
    /// a table's slot, 2^v/2N', whose middle the table has. With 2^v tables that is 2^v times what it is with one.
    pub modulus_switch: Variance,
    /// What the bootstrapping leaves, rounded as the parameters say.
    pub bootstrapping: Variance,
    /// What packing adds.
    pub packing: Variance,
    /// What the key switch to the arithmetic ring adds.
    pub lift: Variance,
}

/// Predicts the noise of a refresh.
///
/// # Examples
/// What decides which entry of a table is read is coarse, and what the entry comes out with is fine. Two tables for one bootstrapping make
/// the former coarser, and leave the latter as it is.
/// ```
/// use tfhe_core::noise::{refresh, RefreshParameters};
/// use tfhe_core::{rounding::Transforms, sets};
///
/// let parameters = RefreshParameters::new(&sets::PACKED_BLOCK.compile()?, sets::FINE, Transforms::ANY)?;
/// let (one, two) = (refresh(&parameters), refresh(&parameters.with_tables(1)));
/// assert!(one.modulus_switch.log2_std() > one.fresh().log2_std() + 5.0);
/// assert!((two.modulus_switch.log2_std() - one.modulus_switch.log2_std() - 1.0).abs() < 1e-9);
/// assert_eq!(two.fresh(), one.fresh());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// If ciphertexts of the two rings cannot be cut into polynomials of the small key's size.
pub fn refresh(parameters: &RefreshParameters) -> RefreshNoise {
    let RefreshParameters { bootstrapping, automorphism, lift, small, lookup, arithmetic, .. } = *parameters;
    let small_size = small.0.polynomial_size;
    let keyswitch = |gadget: Option<GadgetTransforms>, from: GlweShape| {
        let cut = GlweDimension::new(from.extracted_lwe_dimension().get() / small_size.get());
        let cut = cut.expect("the small key's ring is no larger than the others");
        let cut = GlweShape { dimension: cut, polynomial_size: small_size };
        gadget.map_or(Variance::ZERO, |gadget| glwe_keyswitch_from(gadget, cut, small.0, small.1.variance()))
    };
    let small_dimension = small.0.extracted_lwe_dimension();
    let fine = modulus_switch(small_dimension, lookup.0.polynomial_size);
    RefreshNoise {
        keyswitch: keyswitch(parameters.keyswitch, arithmetic.0) + keyswitch(parameters.lookup_keyswitch, lookup.0),
        modulus_switch: fine.scaled(2f64.powi(parameters.log_tables as i32)),
        bootstrapping: blind_rotation(bootstrapping, parameters.grouping, lookup.0, small_dimension, lookup.1.variance())
            // And the table's values, which have as many.
            + rounded_ciphertext(lookup.0, parameters.result_bits)
            + rounded_body(parameters.result_bits),
        packing: packing(automorphism, lookup.0, lookup.1.variance()),
        lift: glwe_keyswitch_from(lift, lookup.0, arithmetic.0, arithmetic.1.variance()),
    }
}

impl RefreshNoise {
    /// The error of the argument that a table is read at, for a value with the error `input`.
    pub fn argument(&self, input: &Distribution) -> Distribution {
        input.clone() + self.keyswitch + self.modulus_switch
    }

    /// The error of a refreshed value besides that of its argument: of what was read from the table.
    pub fn fresh(&self) -> Variance {
        self.bootstrapping + self.packing + self.lift
    }

    /// The error of a refreshed value where the table has the given slope, in turns of the value by turns of the argument: to first order,
    /// with a slope that hardly changes over the argument's error.
    pub fn value(&self, input: &Distribution, slope: f64) -> Distribution {
        self.argument(input).scaled(slope) + self.fresh()
    }

    /// log2 of the probability that a value within the table's range is read beyond a guard band of `guard` turns, where the table goes on
    /// with the opposite sign. Of both sides together: at most one is near, so this is from above.
    pub fn log2_misread(&self, input: &Distribution, guard: f64) -> f64 {
        self.argument(input).log2_tail(guard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value in a range of 3/8 of a turn is read beyond a guard band of 1/16 with a probability that does not matter, and the steps
    /// after the bootstrapping add little to what it leaves.
    #[test]
    fn refreshes_of_the_packed_block_are_reliable() {
        let parameters = crate::sets::PACKED_BLOCK.compile().unwrap();
        let noise = refresh(&RefreshParameters::new(&parameters, crate::sets::PRECISE, Transforms::ANY).unwrap());
        let input = Distribution::from(parameters.arithmetic().noise.variance());
        assert!(noise.log2_misread(&input, 1.0 / 16.0) < -128.0);
        assert!(noise.fresh().log2_std() - noise.bootstrapping.log2_std() < 0.3);
    }

    /// Each step is the operation's own formula, with the gadget and the keys of that step. 8 small polynomials of 16 make up the lookup
    /// ring's 128, and 16 the arithmetic ring's 256.
    #[test]
    fn steps_have_the_noise_of_their_operations() {
        use crate::params::{Gadget, Precision};
        let shape = |k, n| GlweShape::new(k, n).unwrap();
        let gadget = |base_log, levels| Gadget::new(base_log, levels, Precision::Single).unwrap().on(Transforms::ANY);
        let noise = |log2_std| NoiseDistribution::Gaussian { log2_std };
        let parameters = RefreshParameters {
            keyswitch: Some(gadget(2, 8)),
            lookup_keyswitch: Some(gadget(3, 5)),
            log_tables: 2,
            bootstrapping: gadget(10, 3),
            grouping: Grouping::Two,
            result_bits: MODULUS_LOG,
            automorphism: gadget(7, 5),
            lift: gadget(8, 4),
            small: (shape(3, 16), noise(-20.0)),
            lookup: (shape(1, 128), noise(-40.0)),
            arithmetic: (shape(1, 256), noise(-45.0)),
        };
        let (small, lookup, arithmetic) = (noise(-20.0).variance(), noise(-40.0).variance(), noise(-45.0).variance());
        let found = refresh(&parameters);
        let from_arithmetic = glwe_keyswitch_from(gadget(2, 8), shape(16, 16), shape(3, 16), small);
        let from_lookup = glwe_keyswitch_from(gadget(3, 5), shape(8, 16), shape(3, 16), small);
        assert_eq!(found.keyswitch, from_arithmetic + from_lookup);
        // Four tables: exponents are four times as coarse.
        let rounded = modulus_switch(shape(3, 16).extracted_lwe_dimension(), shape(1, 128).polynomial_size);
        assert_eq!(found.modulus_switch, rounded.repeated(16.0));
        let small_dimension = shape(3, 16).extracted_lwe_dimension();
        assert_eq!(
            found.bootstrapping,
            blind_rotation(gadget(10, 3), Grouping::Two, shape(1, 128), small_dimension, lookup)
        );
        assert_eq!(found.packing, packing(gadget(7, 5), shape(1, 128), lookup));
        assert_eq!(found.lift, glwe_keyswitch_from(gadget(8, 4), shape(1, 128), shape(1, 256), arithmetic));

        let input = Distribution::from(Variance::new(1e-9));
        let argument = 1e-9 + found.keyswitch.get() + found.modulus_switch.get();
        assert!((found.argument(&input).variance().get() / argument - 1.0).abs() < 1e-12);
        let fresh = found.bootstrapping.get() + found.packing.get() + found.lift.get();
        assert!((found.fresh().get() / fresh - 1.0).abs() < 1e-12);
        assert!((found.value(&input, 0.1).variance().get() / (0.01 * argument + fresh) - 1.0).abs() < 1e-12);
        let misread = Distribution::from(Variance::new(argument)).log2_tail(0.3);
        assert!((found.log2_misread(&input, 0.3) - misread).abs() < 1e-6 && misread < -10.0);
    }

    /// A set's gadgets, keys and key switches: those that a refresh names, and of its parts those that are asked for.
    #[test]
    fn parameters_are_those_of_the_set() {
        let set = crate::sets::PACKED_BLOCK.compile().unwrap();
        let parameters = RefreshParameters::new(&set, crate::sets::FINE, Transforms::AVX2).unwrap();
        let gadget = |edge| set.gadget(edge).unwrap().on(Transforms::AVX2);
        let [from_arithmetic, from_lookup] =
            [Node::Arithmetic, Node::Lookup].map(|from| Some(gadget(Edge::Keyswitch { from })));
        assert_eq!(
            (parameters.keyswitch, parameters.lookup_keyswitch, parameters.log_tables),
            (from_arithmetic, None, 0)
        );
        assert_eq!(parameters.bootstrapping, gadget(Edge::Bootstrapping { gadget: crate::sets::FINE }));
        let switches = |parts: &[Node]| {
            let parameters = parameters.with_arguments(&set, parts).unwrap();
            (parameters.keyswitch, parameters.lookup_keyswitch)
        };
        assert_eq!(switches(&[Node::Arithmetic]), (from_arithmetic, None));
        assert_eq!(switches(&[Node::Lookup]), (None, from_lookup));
        assert_eq!(switches(&[Node::Lookup, Node::Arithmetic]), (from_arithmetic, from_lookup));
        assert_eq!(parameters.with_tables(3).log_tables, 3);
        // A set without an arithmetic ring of its own has no refresh.
        let toy = crate::sets::TOY.compile().unwrap();
        assert!(RefreshParameters::new(&toy, 0, Transforms::ANY).is_err());
    }
}
