//! Products of matrices of encrypted integers.

use nn::evaluator::Rows;
use nn::matrix::Matrix;
use nn::table::LookupTable;
use tfhe_core::noise::Variance;

use super::backend::{BackendProduct, IntegerBackend, needs};
use super::evaluator::IntegerEvaluator;
use super::output::Output;
use super::prediction::columns_per_ciphertext;
use super::tensor::{Integer, Product};
use crate::track::EvaluationError;
use crate::track::timed::Timed;

impl<B: IntegerBackend> IntegerEvaluator<'_, B> {
    /// By products of GLWE ciphertexts: one for each row of the left matrix and each group of columns of the right one.
    pub(super) fn multiply_ciphertexts(
        &mut self,
        step: &'static str,
        product: &Product<B::Ciphertext>,
    ) -> Result<Rows<Integer<B::Ciphertext>>, EvaluationError> {
        let bits = product.factor.product_bits;
        let rescale = |rows: &Rows<Integer<B::Ciphertext>>| -> Rows<Integer<B::Ciphertext>> {
            rows.iter().map(|row| row.iter().map(|entry| self.rescale(entry, bits)).collect()).collect()
        };
        let (left, right) = (rescale(&product.left), rescale(&product.right));
        let (depth, columns) = (right.len(), product.columns());
        let mut needed = Matrix::from_fn(left.len(), columns, |_, _| false);
        product.rows().for_each(|(row, count)| needed.row_mut(row)[..count].fill(true));
        let mut output = self.backend.matrix_product(BackendProduct {
            left: &Matrix::from_fn(left.len(), depth, |i, m| left[i].get(m).map(|entry| entry.ciphertext.clone())),
            right: &Matrix::from_fn(depth, columns, |m, j| right[m][j].ciphertext.clone()),
            needed: &needed,
            log_t: bits + 1,
        });
        let together = columns_per_ciphertext(depth).min(columns);
        let multiplied = |i: usize| (0..columns).step_by(together).filter(|&j| needs(&needed, i, j, together)).count();
        self.step(step).tensor_products += (0..left.len()).map(multiplied).sum::<usize>();
        self.advance(product.needed())?;
        let largest = |rows: &Rows<Integer<B::Ciphertext>>| {
            let variances = rows.iter().flatten().map(|entry| entry.noise.variance());
            variances.fold(Variance::ZERO, |a, b| if a > b { a } else { b })
        };
        let noise =
            self.predictor.matrix_product((largest(&left), depth), (largest(&right), depth * together), bits + 1);
        self.step(step).result(noise.variance());
        let mut entry = |row: usize, column: usize| {
            let ciphertext = output[(row, column)].take().expect("a needed entry");
            Integer { ciphertext, bits, noise: noise.clone() }
        };
        Ok(product.rows().map(|(row, count)| (0..count).map(|column| entry(row, column)).collect()).collect())
    }

    /// By lookups: x·y = ⌊(x+y)²/4⌋ − ⌊(x−y)²/4⌋, since x+y and x−y have the same parity.
    pub(super) fn multiply_by_lookup(
        &mut self,
        step: &'static str,
        product: &Product<B::Ciphertext>,
    ) -> Result<Rows<Integer<B::Ciphertext>>, EvaluationError> {
        let factor = product.factor;
        let first = -(1_i64 << (factor.operand_bits - 1));
        let square = LookupTable::tabulate(first, factor.operand_bits, 0, |u| (u * u).div_euclid(4));
        let terms = 2 * product.right.len();
        let output = Output::summand(factor.product_bits, terms, &self.predictor, &self.gadgets);
        let mut entry = |row: usize, column: usize| {
            let pairs = product.left[row].iter().zip(&product.right).map(|(x, right)| (x, &right[column]));
            let terms: Vec<_> =
                pairs.flat_map(|(x, y)| [self.sum([(x, 1), (y, 1)]), self.sum([(x, 1), (y, -1)])]).collect();
            self.observer.begin(step, terms.len());
            let squares = self.read_tables(step, &terms, &vec![&square; terms.len()], output)?;
            self.advance(1)?;
            let sum = self.alternating_sum(&squares);
            self.step(step).result(sum.noise.variance());
            Ok(sum)
        };
        product.rows().map(|(row, count)| (0..count).map(|column| entry(row, column)).collect()).collect()
    }

    /// v_0 − v_1 + v_2 − …
    fn alternating_sum(&mut self, values: &[Integer<B::Ciphertext>]) -> Integer<B::Ciphertext> {
        let terms: Vec<_> =
            values.iter().enumerate().map(|(i, value)| (&value.ciphertext, if i % 2 == 0 { 1 } else { -1 })).collect();
        Integer {
            ciphertext: self.backend.combine(&terms, 0),
            bits: values[0].bits,
            noise: values.iter().map(|value| value.noise.clone()).sum(),
        }
    }
}
