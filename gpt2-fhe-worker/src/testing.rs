//! What unit tests share: parties of the toy set, and batches of theirs, the same each time.

use tfhe_core::derivation::ClientSeed;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::keys::{ClientKeys, EvaluationKeys, Needs, SeededEvaluationKeys};
use tfhe_core::sets;

use crate::batch::{Batch, BatchId, KeyName};
use crate::keys::write_keys;

/// Bits of results.
pub(crate) const BITS: u32 = 21;
pub(crate) const RUN: [u8; 16] = *b"the run of tests";

/// A client of the toy set, and what it sends.
pub(crate) struct Toy {
    pub(crate) sent: SeededEvaluationKeys,
    pub(crate) prepared: EvaluationKeys,
    /// The file of its bootstrapping keys, and what it is called.
    pub(crate) file: Vec<u8>,
    pub(crate) name: KeyName,
}

impl Toy {
    pub(crate) fn new(number: u64) -> Self {
        let parameters = sets::TOY.compile().unwrap();
        let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(number)).unwrap();
        let sent = client.evaluation_keys(&Needs::everything(&parameters)).unwrap();
        let mut file = Vec::new();
        write_keys(&sent, &mut file).unwrap();
        Self { prepared: sent.clone().prepare().unwrap(), sent, name: KeyName::of_bytes(&file), file }
    }

    /// `count` blind rotations of three polynomials.
    pub(crate) fn batch(&self, number: u64, count: usize) -> Batch {
        let parameters = self.sent.parameters();
        let of = (BatchId { run: RUN, number }, *self.sent.identity(), self.name);
        let polynomials = Batch::random_polynomials(parameters, number, count.min(3));
        let mut batch = Batch::random(parameters, of, BITS, count, polynomials);
        let size = parameters.lookup().shape.polynomial_size.get();
        batch.lookups.iter_mut().enumerate().for_each(|(index, lookup)| lookup.1 = 1 + index * 5 % size);
        batch
    }

    /// What its results are.
    pub(crate) fn results(&self, batch: &Batch) -> Vec<GlweCiphertext> {
        let polynomials: Vec<_> = batch.lookups.iter().map(|lookup| &batch.polynomials[lookup.0]).collect();
        let key = self.prepared.bootstrapping_key(batch.gadget).unwrap();
        let mut results = key.blind_rotate(&batch.inputs, &polynomials);
        batch.expected().into_iter().for_each(|expected| expected.trim(&mut results));
        results
    }
}
