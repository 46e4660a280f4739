//! Batches of random contents: to try, and to time, what carries and computes batches.

use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::Identity;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::random::SampleSeed;

use super::{Batch, BatchId, KeyName};

/// Elements of so many bits each, which a number decides.
pub(crate) fn elements(number: u64, count: usize, bits: u32) -> Vec<u64> {
    let mut stream = SampleSeed::from_number(number).stream(0);
    (0..count).map(|_| stream.uniform() >> (u64::BITS - bits) << (u64::BITS - bits)).collect()
}

impl Batch {
    /// `count` blind rotations with gadget 0 of a set, of inputs that the batch's number decides, with results of `bits` bits. They turn
    /// `polynomials` in turns; of bodies one coefficient is wanted.
    pub fn random(
        parameters: &Parameters,
        (id, identity, keys): (BatchId, Identity, KeyName),
        bits: u32,
        count: usize,
        polynomials: Vec<GlweCiphertext>,
    ) -> Self {
        let elements_of_one = parameters.small().lwe_dimension().get() + 1;
        let exponent_bits = parameters.lookup().shape.polynomial_size.log2() + 1;
        let inputs = elements(id.number, count * elements_of_one, exponent_bits);
        let inputs = inputs.chunks(elements_of_one).map(|input| LweCiphertext::from_data(input.to_vec())).collect();
        let lookups = (0..count).map(|index| (index % polynomials.len().max(1), 1)).collect();
        Self { id, identity, keys, gadget: 0, bits, inputs, polynomials, lookups }
    }

    /// Polynomials of a set's lookup ring without any order, for [`Self::random`].
    pub fn random_polynomials(parameters: &Parameters, number: u64, count: usize) -> Vec<GlweCiphertext> {
        let shape = parameters.lookup().shape;
        let size = shape.polynomial_size.get();
        let bodies = elements(number, count * size, u64::BITS);
        bodies.chunks(size).map(|body| GlweCiphertext::trivial(shape, body)).collect()
    }
}
