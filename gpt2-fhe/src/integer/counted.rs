//! The backend that computes nothing: for what depends on the circuit alone, its operations, noise and failure probability.

use nn::matrix::Matrix;

use super::backend::{BackendProduct, IntegerBackend, NarrowTable, WideLookup};

/// Ciphertexts without content.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountedIntegers;

impl IntegerBackend for CountedIntegers {
    type Ciphertext = ();
    /// The number of tokens.
    type Input = usize;

    fn project(&mut self, tokens: &usize, weight: &Matrix<i32>, _bits: u32) -> Matrix<()> {
        Matrix::from_fn(*tokens, weight.cols(), |_, _| ())
    }

    fn combine(&self, _terms: &[(&(), i64)], _plaintext: u64) {}

    fn weighted_sums(&self, _values: &[&()], weight: &Matrix<i32>, _constants: &[u64]) -> Vec<()> {
        vec![(); weight.cols()]
    }

    fn bootstrap(&mut self, _gadget: usize, inputs: &[()], _tables: &[&NarrowTable]) -> Vec<()> {
        inputs.to_vec()
    }

    fn wide_lookup(&mut self, _: usize, _: usize, _inputs: &[()], lookups: &[WideLookup<'_>]) -> Vec<Vec<()>> {
        lookups.iter().map(|lookup| vec![(); lookup.tables.len()]).collect()
    }

    fn matrix_product(&mut self, product: BackendProduct<'_, ()>) -> Matrix<Option<()>> {
        product.needed.map(|&needed| needed.then_some(()))
    }
}
