//! Products of matrices of encrypted integers.

use nn::engine::{FactorUse, LookupTable, Product};
use nn::matrix::Matrix;
use tfhe_core::noise::Variance;

use super::backend::{BackendProduct, TorusBackend, needs};
use super::output::Output;
use super::plan::columns_per_ciphertext;
use super::{EngineError, HomomorphicEngine, Integer};

type Factor<C> = Integer<C>;

impl<B: TorusBackend> HomomorphicEngine<'_, B> {
    /// By products of GLWE ciphertexts: one for each row of the left matrix and each group of columns of the right one.
    pub(super) fn multiply_ciphertexts(
        &mut self,
        step: &'static str,
        product: &Product<'_, Factor<B::Ciphertext>>,
        factor: FactorUse,
    ) -> Result<Matrix<Option<Factor<B::Ciphertext>>>, EngineError> {
        let bits = factor.product_bits;
        let left = product.left.map(|entry| entry.as_ref().map(|entry| self.rescale(entry, bits)));
        let right = product.right.map(|entry| self.rescale(entry, bits));
        let output = self.backend.matrix_product(BackendProduct {
            left: &left.map(|entry| entry.as_ref().map(|entry| entry.ciphertext.clone())),
            right: &right.map(|entry| entry.ciphertext.clone()),
            needed: product.needed,
            log_t: bits + 1,
        });
        let columns = columns_per_ciphertext(right.rows()).min(right.cols());
        let multiplied = |i: usize| {
            (0..right.cols()).step_by(columns).filter(move |&j| needs(product.needed, i, j, columns)).count()
        };
        self.step(step).tensor_products += (0..left.rows()).map(multiplied).sum::<usize>();
        self.advance(product.needed.iter().filter(|&&needed| needed).count())?;
        let largest = |variances: &mut dyn Iterator<Item = Variance>| {
            variances.fold(Variance::ZERO, |a, b| if a > b { a } else { b })
        };
        let left_noise = largest(&mut left.iter().flatten().map(|entry| entry.noise.variance()));
        let right_noise = largest(&mut right.iter().map(|entry| entry.noise.variance()));
        let noise =
            self.predictor.matrix_product((left_noise, left.cols()), (right_noise, right.rows() * columns), bits + 1);
        self.step(step).result(noise.variance());
        Ok(output.map(|entry| entry.as_ref().map(|c| Integer { ciphertext: c.clone(), bits, noise: noise.clone() })))
    }

    /// By lookups: x·y = ⌊(x+y)²/4⌋ − ⌊(x−y)²/4⌋, since x+y and x−y have the same parity.
    pub(super) fn multiply_by_lookup(
        &mut self,
        step: &'static str,
        product: &Product<'_, Factor<B::Ciphertext>>,
        factor: FactorUse,
    ) -> Result<Matrix<Option<Factor<B::Ciphertext>>>, EngineError> {
        let first = -(1_i64 << (factor.operand_bits - 1));
        let square = LookupTable::tabulate(first, factor.operand_bits, 0, |u| (u * u).div_euclid(4));
        let terms = 2 * product.right.rows();
        let output = Output::summand(factor.product_bits, terms, &self.predictor, &self.gadgets);
        let mut entries = Vec::with_capacity(product.needed.data().len());
        for i in 0..product.left.rows() {
            for j in 0..product.right.cols() {
                if !product.needed[(i, j)] {
                    entries.push(None);
                    continue;
                }
                let terms: Vec<_> = (0..product.right.rows())
                    .filter_map(|m| product.left[(i, m)].as_ref().map(|x| (x, &product.right[(m, j)])))
                    .flat_map(|(x, y)| [self.sum([(x, 1), (y, 1)]), self.sum([(x, 1), (y, -1)])])
                    .collect();
                self.observer.begin(step, terms.len());
                let squares = self.read_tables(step, &terms, &vec![&square; terms.len()], output)?;
                entries.push(Some(self.alternating_sum(&squares)));
                self.advance(1)?;
            }
        }
        let shape = "as many entries as the matrix of needed ones";
        Ok(Matrix::new(product.needed.rows(), product.needed.cols(), entries).expect(shape))
    }

    /// v_0 − v_1 + v_2 − …
    fn alternating_sum(&mut self, values: &[Factor<B::Ciphertext>]) -> Factor<B::Ciphertext> {
        let terms: Vec<_> =
            values.iter().enumerate().map(|(i, value)| (&value.ciphertext, if i % 2 == 0 { 1 } else { -1 })).collect();
        Integer {
            ciphertext: self.backend.combine(&terms, 0),
            bits: values[0].bits,
            noise: values.iter().map(|value| value.noise.clone()).sum(),
        }
    }
}
