//! Integers on the torus, and those that are computed with together.

use nn::evaluator::{Entries, FactorUse, Form, Rows};
use tfhe_core::noise::Distribution;

/// An integer on the torus: m/2^(bits+1) plus noise.
#[derive(Clone, Debug)]
pub struct Integer<C> {
    /// The torus element.
    pub ciphertext: C,
    /// What its scale, 2^−(bits+1), is for: tables of so many bits.
    pub bits: u32,
    /// The predicted noise.
    pub noise: Distribution,
}

/// Integers that are computed with together.
#[derive(Clone, Debug)]
pub enum IntegerTensor<I, C> {
    /// What the client sent, at scale 2^−(bits+1), and its bits.
    Input(I, u32),
    /// Each on its own, and what they were made for. Factors are packed when they are multiplied.
    Integers(Rows<Integer<C>>, Form),
}

/// Bits of integers of a form.
pub(super) fn bits_of(form: Form) -> u32 {
    match form {
        Form::Integers { bits } => bits,
        Form::Factor(_, FactorUse { product_bits, .. }) => product_bits,
        Form::Terms(term) => term.sum_bits,
        _ => unreachable!("programs over tables of integers have no numbers in turns"),
    }
}

/// A product of two matrices, `[n, m] × [m, p]`, of which some entries are needed.
pub(super) struct Product<C> {
    /// Rows may be shorter than m: what is not there is zero.
    pub(super) left: Rows<Integer<C>>,
    pub(super) right: Rows<Integer<C>>,
    entries: Entries,
    pub(super) factor: FactorUse,
}

impl<C> Product<C> {
    /// Of factors, packed for each other.
    pub(super) fn new<I>(left: IntegerTensor<I, C>, right: IntegerTensor<I, C>, entries: Entries) -> Self {
        let factor = |tensor| match tensor {
            IntegerTensor::Integers(rows, Form::Factor(_, factor)) => (rows, factor),
            _ => unreachable!("what is multiplied is packed as a factor"),
        };
        let ((left, factor), (right, _)) = (factor(left), factor(right));
        Self { left, right, entries, factor }
    }

    /// p.
    pub(super) fn columns(&self) -> usize {
        self.right.first().map_or(0, Vec::len)
    }

    /// The rows, each with how many of its entries are needed.
    pub(super) fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        self.entries.rows(self.left.len(), self.columns())
    }

    /// How many entries are needed.
    pub(super) fn needed(&self) -> usize {
        self.rows().map(|(_, count)| count).sum()
    }
}
