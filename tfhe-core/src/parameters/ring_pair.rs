//! Parameters with two rings: a large one for arithmetic, a small one for lookups.
//!
//! Sums, products with plaintexts and products of ciphertexts need little noise, so a large ring, but are few. Bootstrappings
//! are many, and their cost is proportional to the ring's size; they need no less noise than a table has steps. So each gets a ring, and a
//! key, of its own, and ciphertexts move between them:
//!
//! | from | to | by |
//! |---|---|---|
//! | a coefficient in the arithmetic ring, dimension N | the small key, n = k·N | a key switch in a small ring ([`crate::glwe_keyswitch`]) |
//! | a result of a lookup, dimension N' | the small key | the same |
//! | the small key | a lookup's result, dimension N' | bootstrapping |
//! | a lookup's result | the arithmetic ring | a key switch after X' = X^(N/N') |
//!
//! The small key is a GLWE key of k polynomials of few coefficients, used as an LWE key.

use crate::fingerprint::{Fields, Fingerprint};
use crate::params::{
    Gadget, GlweDimension, GlweShape, LweDimension, NoiseDistribution, ParameterError, PolynomialSize, Precision,
};

/// (log2 β, ℓ, precision).
type GadgetLiteral = (u32, u32, Precision);

/// A set before it is validated.
#[derive(Clone, Copy, Debug)]
pub struct RingPairLiteral {
    /// The set's name.
    pub name: &'static str,
    /// k and N of the small key.
    pub small: (usize, usize),
    /// Noise of the key-switching keys to the small key.
    pub small_noise: NoiseDistribution,
    /// N' of the lookup ring; k' = 1.
    pub lookup_size: usize,
    /// Noise of the keys under the lookup ring's key.
    pub lookup_noise: NoiseDistribution,
    /// N of the arithmetic ring; k = 1.
    pub arithmetic_size: usize,
    /// Noise of ciphertexts and keys under the arithmetic ring's key.
    pub arithmetic_noise: NoiseDistribution,
    /// Of the key switches to the small key.
    pub keyswitch: GadgetLiteral,
    /// Of the bootstrapping keys, from coarse and quick to precise.
    pub bootstraps: &'static [GadgetLiteral],
    /// Of automorphisms in the lookup ring.
    pub lookup_automorphism: GadgetLiteral,
    /// Of the key switch from the lookup ring to the arithmetic ring.
    pub lift: GadgetLiteral,
    /// Of automorphisms and relinearization in the arithmetic ring.
    pub arithmetic_keyswitch: GadgetLiteral,
    /// Of external products with encrypted integers in the arithmetic ring.
    pub ggsw: GadgetLiteral,
}

/// A validated set.
#[derive(Clone, Debug, PartialEq)]
pub struct RingPairParameters {
    name: &'static str,
    small: Ring,
    lookup: Ring,
    arithmetic: Ring,
    keyswitch: Gadget,
    bootstraps: Vec<Gadget>,
    lookup_automorphism: Gadget,
    lift: Gadget,
    arithmetic_keyswitch: Gadget,
    ggsw: Gadget,
}

/// The shape of the ciphertexts under one key, and the noise of what is encrypted under it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ring {
    /// k and N.
    pub shape: GlweShape,
    /// The noise of fresh encryptions.
    pub noise: NoiseDistribution,
}

impl Ring {
    fn new(dimension: usize, size: usize, noise: NoiseDistribution) -> Result<Self, ParameterError> {
        let (dimension, polynomial_size) = (GlweDimension::new(dimension)?, PolynomialSize::new(size)?);
        Ok(Self { shape: GlweShape { dimension, polynomial_size }, noise: noise.validated()? })
    }

    /// N.
    pub fn size(&self) -> PolynomialSize {
        self.shape.polynomial_size
    }

    /// kN.
    pub fn lwe_dimension(&self) -> LweDimension {
        self.shape.extracted_lwe_dimension()
    }
}

impl RingPairLiteral {
    /// # Errors
    /// The first inconsistency found.
    pub fn compile(self) -> Result<RingPairParameters, ParameterError> {
        let gadget = |(base_log, levels, precision): GadgetLiteral, ring: Ring, inputs: usize| {
            Gadget::new(base_log, levels, precision)?.in_ring(ring.size(), inputs)
        };
        let (small_dimension, small_size) = self.small;
        if self.bootstraps.is_empty() {
            return Err(ParameterError::NoBootstrap);
        }
        if !(small_size <= self.lookup_size && self.lookup_size <= self.arithmetic_size) {
            return Err(ParameterError::RingOrder);
        }
        let small = Ring::new(small_dimension, small_size, self.small_noise)?;
        let lookup = Ring::new(1, self.lookup_size, self.lookup_noise)?;
        let arithmetic = Ring::new(1, self.arithmetic_size, self.arithmetic_noise)?;
        Ok(RingPairParameters {
            name: self.name,
            // From the arithmetic ring, in polynomials of the small one; from the lookup ring there are fewer.
            keyswitch: gadget(self.keyswitch, small, self.arithmetic_size / small_size)?,
            bootstraps: self.bootstraps.iter().map(|&one| gadget(one, lookup, 2)).collect::<Result<_, _>>()?,
            lookup_automorphism: gadget(self.lookup_automorphism, lookup, 1)?,
            lift: gadget(self.lift, arithmetic, 1)?,
            arithmetic_keyswitch: gadget(self.arithmetic_keyswitch, arithmetic, 1)?,
            ggsw: gadget(self.ggsw, arithmetic, 2)?,
            small,
            lookup,
            arithmetic,
        })
    }
}

impl RingPairParameters {
    /// The set's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The small key, of what is bootstrapped.
    pub fn small(&self) -> Ring {
        self.small
    }

    /// The lookup ring, of results of bootstrappings.
    pub fn lookup(&self) -> Ring {
        self.lookup
    }

    /// The arithmetic ring, of inputs, products and outputs.
    pub fn arithmetic(&self) -> Ring {
        self.arithmetic
    }

    /// The three keys' rings with what they are called.
    pub fn rings(&self) -> [(&'static str, Ring); 3] {
        [("small", self.small), ("lookup", self.lookup), ("arithmetic", self.arithmetic)]
    }

    /// The gadget of key switches to the small key.
    pub fn keyswitch(&self) -> Gadget {
        self.keyswitch
    }

    /// The gadgets of the bootstrapping keys, from coarse and quick to precise. Never empty.
    pub fn bootstraps(&self) -> &[Gadget] {
        &self.bootstraps
    }

    /// The gadget of automorphisms in the lookup ring.
    pub fn lookup_automorphism(&self) -> Gadget {
        self.lookup_automorphism
    }

    /// The gadget of the key switch from the lookup ring to the arithmetic ring.
    pub fn lift(&self) -> Gadget {
        self.lift
    }

    /// The gadget of automorphisms and relinearization in the arithmetic ring.
    pub fn arithmetic_keyswitch(&self) -> Gadget {
        self.arithmetic_keyswitch
    }

    /// The gadget of external products with encrypted integers.
    pub fn ggsw(&self) -> Gadget {
        self.ggsw
    }

    /// The fingerprint of all its numbers. The name is none of them: sets that differ in nothing else are the same.
    pub fn fingerprint(&self) -> Fingerprint {
        let Self {
            name: _,
            small,
            lookup,
            arithmetic,
            keyswitch,
            bootstraps,
            lookup_automorphism,
            lift,
            arithmetic_keyswitch,
            ggsw,
        } = self;
        let mut fields = Fields::new("two rings");
        for Ring { shape, noise } in [small, lookup, arithmetic] {
            fields = noise.append_to(shape.append_to(fields));
        }
        fields = keyswitch.append_to(fields).integer(bootstraps.len() as u64);
        fields = bootstraps.iter().fold(fields, |fields, gadget| gadget.append_to(fields));
        [lookup_automorphism, lift, arithmetic_keyswitch, ggsw]
            .into_iter()
            .fold(fields, |fields, gadget| gadget.append_to(fields))
            .fingerprint()
    }

    /// Whether this is one of the insecure sets that exist to be read.
    pub fn is_toy(&self) -> bool {
        self.name.starts_with("toy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused() {
        let literal = RingPairLiteral {
            name: "toy_pair",
            small: (2, 16),
            small_noise: NoiseDistribution::TUniform { bound_log: 40 },
            lookup_size: 64,
            lookup_noise: NoiseDistribution::TUniform { bound_log: 20 },
            arithmetic_size: 128,
            arithmetic_noise: NoiseDistribution::TUniform { bound_log: 3 },
            keyswitch: (3, 5, Precision::Single),
            bootstraps: &[(12, 2, Precision::Single)],
            lookup_automorphism: (9, 4, Precision::Single),
            lift: (9, 4, Precision::Single),
            arithmetic_keyswitch: (3, 19, Precision::Split),
            ggsw: (9, 3, Precision::Single),
        };
        assert!(literal.compile().is_ok());
        let error = |literal: RingPairLiteral| literal.compile().unwrap_err();
        assert_eq!(error(RingPairLiteral { lookup_size: 256, ..literal }), ParameterError::RingOrder);
        assert_eq!(error(RingPairLiteral { bootstraps: &[], ..literal }), ParameterError::NoBootstrap);
        assert_eq!(error(RingPairLiteral { arithmetic_size: 100, ..literal }), ParameterError::PolynomialSize(100));
        let noise = NoiseDistribution::TUniform { bound_log: 63 };
        assert_eq!(error(RingPairLiteral { lookup_noise: noise, ..literal }), ParameterError::Noise(63));
    }

    /// Every gadget of the set, by the ring and the number of polynomials that its products have.
    #[test]
    fn split_gadgets_that_are_not_exact_are_refused() {
        let set = crate::sets::PACKED_HEAD;
        let split = |base_log, levels| (base_log, levels, Precision::Split);
        let refused = |literal: RingPairLiteral, expected: (usize, usize)| match literal.compile().unwrap_err() {
            ParameterError::Inexact { polynomial_size, inputs, .. } => assert_eq!((polynomial_size, inputs), expected),
            other => panic!("{other}"),
        };
        refused(RingPairLiteral { keyswitch: split(14, 3), ..set }, (128, 32));
        refused(RingPairLiteral { bootstraps: const { &[(14, 3, Precision::Split)] }, ..set }, (2048, 2));
        refused(RingPairLiteral { lookup_automorphism: split(14, 3), ..set }, (2048, 1));
        refused(RingPairLiteral { lift: split(14, 3), ..set }, (4096, 1));
        refused(RingPairLiteral { arithmetic_keyswitch: split(14, 3), ..set }, (4096, 1));
        refused(RingPairLiteral { ggsw: split(14, 3), ..set }, (4096, 2));
        assert!(RingPairLiteral { ggsw: split(10, 3), ..set }.compile().is_ok());
    }
}
