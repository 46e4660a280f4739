//! Linear maps with known weights.

use std::sync::Arc;

use nn::evaluator::{Form, LinearMap, Rows};
use rayon::prelude::*;
use tfhe_core::glwe::{FourierGlwe, GlweCiphertext};
use tfhe_core::integer_product::FourierIntegers;

use super::context::BlockCiphertexts;
use super::reals::EncryptedReals;

/// How many ciphertexts of inputs are held as transforms: each takes as much memory as two ciphertexts.
const TRANSFORMED: usize = 1024;

impl BlockCiphertexts<'_> {
    /// Maps of features.
    ///
    /// Weights stay integers. Their polynomials are transformed as they are multiplied, once for all rows that are held as transforms: a
    /// layer's transforms would fill gibibytes.
    pub(crate) fn map(&self, input: &EncryptedReals, maps: &[LinearMap<'_>]) -> Vec<EncryptedReals> {
        assert_eq!(input.form, Form::Features, "what maps read");
        let empty = |map: &LinearMap<'_>| {
            assert_eq!(map.weight.rows(), input.channels, "a weight for each feature");
            assert!(map.bias.is_empty(), "constants of real numbers are added in turns");
            EncryptedReals { form: map.form, channels: map.weight.cols(), rows: Vec::new() }
        };
        let mut results: Vec<EncryptedReals> = maps.iter().map(empty).collect();
        let together = (TRANSFORMED / self.layout.ciphertexts(input.form, input.channels).max(1)).max(1);
        for rows in input.rows.chunks(together) {
            let transform = |ciphertext: &Arc<GlweCiphertext>| {
                FourierGlwe::new(self.keys.fft, ciphertext, &mut self.keys.fft.scratch())
            };
            let transformed: Rows<FourierGlwe> =
                rows.par_iter().map(|row| row.par_iter().map(transform).collect()).collect();
            results.iter_mut().zip(maps).for_each(|(result, map)| result.rows.extend(self.map_rows(&transformed, map)));
        }
        results
    }

    /// Of each row, the ciphertexts of a map's result.
    fn map_rows(&self, rows: &[Vec<FourierGlwe>], map: &LinearMap<'_>) -> Rows<Arc<GlweCiphertext>> {
        let outputs = self.layout.ciphertexts(map.form, map.weight.cols());
        let columns: Vec<Vec<GlweCiphertext>> =
            (0..outputs).into_par_iter().map(|output| self.map_output(rows, map, output, outputs)).collect();
        let mut mapped: Rows<Arc<GlweCiphertext>> = rows.iter().map(|_| Vec::with_capacity(outputs)).collect();
        for column in columns {
            mapped.iter_mut().zip(column).for_each(|(row, ciphertext)| row.push(Arc::new(ciphertext)));
        }
        mapped
    }

    /// Of each row, ciphertext `output` of `outputs`: Σ_i x_i·W_i. Where there are few outputs, the sum is computed in parts.
    fn map_output(
        &self,
        rows: &[Vec<FourierGlwe>],
        map: &LinearMap<'_>,
        output: usize,
        outputs: usize,
    ) -> Vec<GlweCiphertext> {
        let (fft, shape) = (self.keys.fft, self.shape());
        let partial = |inputs: &[usize]| -> Vec<GlweCiphertext> {
            let scratch = &mut fft.scratch();
            let mut sums = vec![FourierGlwe::zero(fft, shape); rows.len()];
            for &input in inputs {
                let weights = self.layout.weights(map.weight, map.form, [input, output]);
                let weights = FourierIntegers::new(fft, &weights, scratch);
                sums.iter_mut().zip(rows).for_each(|(sum, row)| sum.add_product(fft, &row[input], &weights));
            }
            sums.into_iter().map(|sum| sum.inverse(fft, scratch)).collect()
        };
        let add = |mut sums: Vec<GlweCiphertext>, parts: Vec<GlweCiphertext>| {
            sums.iter_mut().zip(&parts).for_each(|(sum, part)| sum.add_scaled(part, 1));
            sums
        };
        let inputs: Vec<usize> = (0..self.layout.ciphertexts(Form::Features, map.weight.rows())).collect();
        let parts = rayon::current_num_threads().div_ceil(outputs);
        let zero = || vec![GlweCiphertext::zero(shape); rows.len()];
        inputs.par_chunks(inputs.len().div_ceil(parts).max(1)).map(partial).reduce_with(add).unwrap_or_else(zero)
    }
}
