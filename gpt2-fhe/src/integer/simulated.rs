//! The backend on phases: clear torus elements with noise drawn from the predictions.
//!
//! Every phase goes through the same scalings, offsets and roundings as in the encrypted backend, so a noise that is too
//! large shows as the same wrong lookups.

use nn::matrix::Matrix;
use tfhe_core::noise::Variance;
use tfhe_core::random::{SampleSeed, SampleStream};
use tfhe_core::torus;

use super::backend::{BackendProduct, IntegerBackend, NarrowTable, WideLookup};
use super::prediction::{Predictor, columns_per_ciphertext};

/// Computes on phases.
pub struct SimulatedIntegers {
    predictor: Predictor,
    generator: SampleStream,
}

impl SimulatedIntegers {
    /// Draws noise from stream 0 of `seed`.
    pub fn new(predictor: Predictor, seed: &SampleSeed) -> Self {
        Self { predictor, generator: seed.stream(0) }
    }

    fn noisy(&mut self, phase: u64, variance: Variance) -> u64 {
        phase.wrapping_add(torus::from_f64(self.generator.normal() * variance.std()))
    }

    /// Key switch and modulus switch.
    fn switched(&mut self, phase: u64) -> u64 {
        self.noisy(phase, self.predictor.switches())
    }
}

/// The index, of 2^bits over the half torus, and whether the phase lies on the negated half.
fn read_half_torus(phase: u64, bits: u32) -> (usize, bool) {
    ((phase << 1 >> 1 >> (63 - bits)) as usize, phase >> 63 == 1)
}

fn negate_if(negate: bool, x: u64) -> u64 {
    if negate { x.wrapping_neg() } else { x }
}

impl IntegerBackend for SimulatedIntegers {
    type Ciphertext = u64;
    type Input = Matrix<i32>;

    fn project(&mut self, input: &Matrix<i32>, weight: &Matrix<i32>, bits: u32) -> Matrix<u64> {
        let exact = input.multiply_exact(weight);
        Matrix::from_fn(exact.rows(), exact.cols(), |row, column| {
            let variance = self.predictor.project(weight, column);
            self.noisy((exact[(row, column)] as u64) << (63 - bits), variance)
        })
    }

    fn combine(&self, terms: &[(&u64, i64)], plaintext: u64) -> u64 {
        terms.iter().fold(plaintext, |sum, &(&phase, factor)| sum.wrapping_add(phase.wrapping_mul(factor as u64)))
    }

    fn weighted_sums(&self, values: &[&u64], weight: &Matrix<i32>, constants: &[u64]) -> Vec<u64> {
        let sum = |(column, &constant): (usize, &u64)| {
            let terms = values.iter().enumerate().map(|(row, &value)| (value, weight[(row, column)] as i64));
            self.combine(&terms.collect::<Vec<_>>(), constant)
        };
        constants.iter().enumerate().map(sum).collect()
    }

    fn bootstrap(&mut self, gadget: usize, inputs: &[u64], tables: &[&NarrowTable]) -> Vec<u64> {
        let read = |(&input, table): (&u64, &&NarrowTable)| {
            let (index, negate) = read_half_torus(self.switched(input), table.values.len().ilog2());
            let value = negate_if(negate, table.values[index]);
            self.noisy(value, self.predictor.bootstrap(gadget))
        };
        inputs.iter().zip(tables).map(read).collect()
    }

    fn wide_lookup(&mut self, low: usize, high: usize, inputs: &[u64], lookups: &[WideLookup<'_>]) -> Vec<Vec<u64>> {
        let mut read = |(&input, lookup): (&u64, &WideLookup<'_>)| {
            let first = lookup.first();
            let low_phase = self.combine(&[(&input, first.low_factor())], first.low_offset());
            let slot = first.low_slot(self.switched(low_phase));
            let high_phase = self.switched(input.wrapping_add(first.high_offset()));
            let values = lookup.tables.iter().map(|table| {
                let (index, negate) = read_half_torus(high_phase, table.boxes().ilog2());
                let value = lookup.delta.wrapping_mul(table.evaluate(index, slot) as u64);
                let variance = self.predictor.wide_table(low, table) + self.predictor.bootstrap(high);
                self.noisy(negate_if(negate, value), variance)
            });
            values.collect()
        };
        inputs.iter().zip(lookups).map(&mut read).collect()
    }

    fn matrix_product(&mut self, product: BackendProduct<'_, u64>) -> Matrix<Option<u64>> {
        let BackendProduct { left, right, needed, log_t } = product;
        // Factors' noise is their distance from the nearest multiple of the scale.
        let integer = |&phase: &u64| torus::decode(phase, log_t);
        let noise = |&phase: &u64| torus::to_f64(phase.wrapping_sub(torus::encode(integer(&phase), log_t)));
        let mean_square = |phases: &mut dyn Iterator<Item = &u64>| {
            let (sum, count) = phases.fold((0.0, 0), |(sum, count), phase| (sum + noise(phase).powi(2), count + 1));
            (Variance::new(sum / count.max(1) as f64), count)
        };
        let columns = columns_per_ciphertext(right.rows()).min(right.cols());
        let right_noise = (mean_square(&mut right.iter()).0, right.rows() * columns);
        // One draw for each product of ciphertexts: its entries have one variance.
        let variances = Matrix::from_fn(left.rows(), right.cols().div_ceil(columns), |i, _| {
            let left_noise = mean_square(&mut left.row(i).iter().flatten());
            let noise = self.predictor.matrix_product(left_noise, right_noise, log_t);
            noise.draw_variance(&mut self.generator)
        });
        Matrix::from_fn(left.rows(), right.cols(), |i, j| {
            needed[(i, j)].then(|| {
                let exact: i64 = (0..right.rows())
                    .filter_map(|m| left[(i, m)].as_ref().map(|l| integer(l) * integer(&right[(m, j)])))
                    .sum();
                self.noisy((exact as u64) << (64 - log_t), variances[(i, j / columns)])
            })
        })
    }
}
