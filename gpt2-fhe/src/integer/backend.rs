//! What the evaluator asks of a way to represent encrypted integers.

use nn::matrix::Matrix;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::params::GlweShape;
use tfhe_core::programmable_bootstrap::table_accumulator;
use tfhe_core::wide::WideTable;

/// A table of 2^p torus elements over the half torus, read by one bootstrapping.
#[derive(Clone, Debug)]
pub struct NarrowTable {
    /// The values.
    pub values: Vec<u64>,
    /// The polynomial that the bootstrapping rotates.
    pub accumulator: GlweCiphertext,
}

impl NarrowTable {
    /// Prepares `values`.
    pub fn new(shape: GlweShape, values: Vec<u64>) -> Self {
        let accumulator = table_accumulator(shape, &values);
        Self { values, accumulator }
    }
}

/// One lookup in two bootstrappings: several tables of one input, with results at one scale.
#[derive(Clone, Copy, Debug)]
pub struct WideLookup<'a> {
    /// The tables, all of the same number of bits.
    pub tables: &'a [WideTable],
    /// The scale of the results.
    pub delta: u64,
}

impl<'a> WideLookup<'a> {
    /// Any of the tables, for what they have in common.
    pub fn first(&self) -> &'a WideTable {
        &self.tables[0]
    }
}

/// A product of two matrices of integers at scale 2^−log_t.
#[derive(Clone, Copy, Debug)]
pub struct BackendProduct<'a, C> {
    /// `[n, m]`, `None` being zero.
    pub left: &'a Matrix<Option<C>>,
    /// `[m, p]`.
    pub right: &'a Matrix<C>,
    /// `[n, p]`.
    pub needed: &'a Matrix<bool>,
    /// log2 of the ratio of the torus to the scale.
    pub log_t: u32,
}

/// Whether row `row` needs any of the `count` columns from `first` on.
pub fn needs(needed: &Matrix<bool>, row: usize, first: usize, count: usize) -> bool {
    needed.row(row)[first..needed.cols().min(first + count)].contains(&true)
}

/// The primitive operations on torus elements, encrypted, simulated, or merely counted.
///
/// A ciphertext stands for a torus element with noise (a *phase*), of LWE dimension kN. Bootstrappings of gadget `gadget`
/// (an index of [`tfhe_core::key_graph::Parameters::bootstraps`]) include the key switch before them.
pub trait IntegerBackend {
    /// One torus element.
    type Ciphertext: Clone + Send + Sync;
    /// The encrypted input of the head.
    type Input;

    /// `input · weight`, `[T, E] × [E, C] -> [T, C]`, at the input's scale, which is
    /// 2^−(bits+1).
    fn project(&mut self, input: &Self::Input, weight: &Matrix<i32>, bits: u32) -> Matrix<Self::Ciphertext>;

    /// Σ factor·ciphertext + plaintext.
    fn combine(&self, terms: &[(&Self::Ciphertext, i64)], plaintext: u64) -> Self::Ciphertext;

    /// Σ_m values_m·weight_mj + constants_j, for each column j: `[m] × [m, p] -> [p]`.
    fn weighted_sums(
        &self,
        values: &[&Self::Ciphertext],
        weight: &Matrix<i32>,
        constants: &[u64],
    ) -> Vec<Self::Ciphertext>;

    /// Table i at input i.
    fn bootstrap(
        &mut self,
        gadget: usize,
        inputs: &[Self::Ciphertext],
        tables: &[&NarrowTable],
    ) -> Vec<Self::Ciphertext>;

    /// Lookup i at input i, which is at the scale of the tables' width; `[input][table]`. The first bootstrapping uses gadget
    /// `low`, the second, one for each table, gadget `high`.
    fn wide_lookup(
        &mut self,
        low: usize,
        high: usize,
        inputs: &[Self::Ciphertext],
        lookups: &[WideLookup<'_>],
    ) -> Vec<Vec<Self::Ciphertext>>;

    /// A product of matrices by products of ciphertexts.
    fn matrix_product(&mut self, product: BackendProduct<'_, Self::Ciphertext>) -> Matrix<Option<Self::Ciphertext>>;
}
