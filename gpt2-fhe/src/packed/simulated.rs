//! The packed backend on numbers with noise drawn from the predictions.
//!
//! Every number goes through the same scales, offsets and roundings as a ciphertext's phase.

use std::collections::BTreeMap;

use nn::evaluator::{Form, LinearMap, Rows};
use nn::matrix::Matrix;
use nn::table::{Smooth, SmoothTable};
use nn::watched::InspectedRows;
use tfhe_core::noise::{Distribution, Variance};
use tfhe_core::params::PolynomialSize;
use tfhe_core::random::{SampleSeed, SampleStream};

use super::backend::{PackedBackend, Partial, Summed};
use super::layout::Layout;
use super::prediction::{Prediction, ValueNoise};
use super::tables;

/// Computes on numbers in turns.
pub struct SimulatedPacked<'a> {
    prediction: &'a Prediction,
    layout: Layout,
    lookup_size: PolynomialSize,
    generator: SampleStream,
}

/// A product of queries and keys.
pub struct SimulatedProduct {
    /// Exact, in turns.
    scores: Rows<f64>,
    /// Of each block: the scores of one product of ciphertexts have one variance.
    variances: BTreeMap<(usize, usize), Variance>,
}

/// Outputs.
pub struct SimulatedSum {
    /// `[rows, O]`, in turns; without the noise of [`Self::spread`] until constants are added, with which programs end.
    turns: Rows<f64>,
    /// `[rows][chunks]`: the variance of outputs.
    spread: Rows<Variance>,
}

impl<'a> SimulatedPacked<'a> {
    /// In a layout, with lookups in a ring of `lookup_size` coefficients; noise is drawn from stream 0 of `seed`.
    pub fn new(prediction: &'a Prediction, layout: Layout, lookup_size: PolynomialSize, seed: &SampleSeed) -> Self {
        Self { prediction, layout, lookup_size, generator: seed.stream(0) }
    }

    fn noise(&mut self, variance: Variance) -> f64 {
        self.generator.normal() * variance.std()
    }

    /// Adds what one row's weights give.
    fn weigh_row(
        &mut self,
        row: usize,
        weights: &[Summed<f64>],
        (values, noise): (&Matrix<i64>, &ValueNoise),
        variances: &mut BTreeMap<(usize, usize), Variance>,
        (sums, spread): (&mut [f64], &mut [Variance]),
    ) {
        let (prediction, layout) = (self.prediction, self.layout);
        let squares = |token: usize, chunk: usize| {
            values.row(token)[layout.channels_of_chunk(chunk)].iter().map(|&v| (v as f64).powi(2)).sum::<f64>()
        };
        for group in 0..=row / layout.group() {
            // What the products of one ciphertext of weights add has one variance.
            let drawn = variances.entry((row / layout.group(), group));
            let weighing = *drawn.or_insert_with(|| noise.weighing.draw_variance(&mut self.generator));
            for (chunk, spread) in spread.iter_mut().enumerate() {
                let of_group = layout.tokens_of_group(group).map(|token| squares(token, chunk)).sum::<f64>();
                *spread = *spread + prediction.block_besides(&layout, of_group) + weighing;
            }
        }
        for (token, weight) in weights.iter().enumerate() {
            // A known weight is not encrypted: there is no mask whose automorphisms add noise.
            let turns = if weight.lookup { weight.content + self.noise(prediction.isolation) } else { weight.content };
            sums.iter_mut().zip(values.row(token)).for_each(|(sum, &v)| *sum += turns * v as f64);
            for (chunk, spread) in spread.iter_mut().enumerate() {
                *spread = *spread + noise.value.scaled(turns);
                if weight.lookup {
                    let channels = layout.channels_of_chunk(chunk).len() as f64;
                    *spread = *spread + prediction.isolation_beside(squares(token, chunk) / channels);
                }
            }
        }
    }
}

impl PackedBackend for SimulatedPacked<'_> {
    const TRACKED: bool = false;

    /// Integers, `[T, E]`.
    type Input = Matrix<i32>;
    /// Integers, `[T, C]`.
    type Projection = Matrix<i64>;
    type Product = SimulatedProduct;
    /// In turns.
    type Number = f64;
    type Sum = SimulatedSum;

    fn project(&mut self, input: &Matrix<i32>, maps: &[LinearMap<'_>]) -> Vec<Matrix<i64>> {
        maps.iter().map(|map| map.apply(input)).collect()
    }

    fn multiply(
        &mut self,
        [queries, keys]: [Matrix<i64>; 2],
        log_modulus: u32,
        noise: &Distribution,
    ) -> SimulatedProduct {
        let turn = 2f64.powi(-(log_modulus as i32));
        let score = |i: usize, j: usize| {
            queries.row(i).iter().zip(keys.row(j)).map(|(&q, &k)| q * k).sum::<i64>() as f64 * turn
        };
        let rows = self.layout.span().rows();
        let scores = rows.map(|i| (0..=i).map(|j| score(i, j)).collect()).collect();
        let blocks = self.layout.score_blocks().into_iter();
        let variances = blocks.map(|block| (block, noise.draw_variance(&mut self.generator))).collect();
        SimulatedProduct { scores, variances }
    }

    fn scores(&mut self, product: SimulatedProduct) -> Rows<f64> {
        let SimulatedProduct { mut scores, variances } = product;
        for (row, i) in scores.iter_mut().zip(self.layout.span().rows()) {
            for (j, score) in row.iter_mut().enumerate() {
                *score += self.noise(variances[&self.layout.score_position(i, j).0]);
            }
        }
        scores
    }

    fn add_scaled(&self, sum: &mut f64, other: &f64, factor: i64) {
        *sum += factor as f64 * other;
    }

    fn constant(&self, turns: f64) -> f64 {
        turns
    }

    fn look_up(&mut self, function: Smooth, numbers: &[&Summed<f64>], found: &[&SmoothTable]) -> Vec<f64> {
        let read = |(number, table): (&&Summed<f64>, &&SmoothTable)| {
            let argument = number.content + self.noise(self.prediction.reading(number.score, number.lookup));
            tables::read(table, argument, self.lookup_size) + self.noise(self.prediction.result(function))
        };
        numbers.iter().zip(found).map(read).collect()
    }

    fn weigh(
        &mut self,
        weights: &[Vec<Summed<f64>>],
        values: Matrix<i64>,
        noise: &ValueNoise,
        sum: Option<SimulatedSum>,
    ) -> SimulatedSum {
        let rows = weights.len();
        let zero = || SimulatedSum {
            turns: vec![vec![0.0; values.cols()]; rows],
            spread: vec![vec![self.prediction.packing + self.prediction.answer; self.layout.output_chunks()]; rows],
        };
        let mut sum = sum.unwrap_or_else(zero);
        let mut variances = BTreeMap::new();
        for (index, row) in self.layout.span().rows().enumerate() {
            let sums = (&mut sum.turns[index][..], &mut sum.spread[index][..]);
            self.weigh_row(row, &weights[index], (&values, noise), &mut variances, sums);
        }
        sum
    }

    fn add_constants(&mut self, mut sum: SimulatedSum, turns: &[f64]) -> SimulatedSum {
        let chunk = self.layout.subring();
        for (row, spread) in sum.turns.iter_mut().zip(&mut sum.spread) {
            for (channel, (x, constant)) in row.iter_mut().zip(turns).enumerate() {
                *x = *x + constant + self.noise(spread[channel / chunk]);
            }
            spread.fill(Variance::ZERO);
        }
        sum
    }

    /// Noise of queries and keys is drawn with scores, and that of values with weighted sums.
    fn projected<'s>(
        &'s self,
        projection: &'s Matrix<i64>,
        form: Form,
        gathered: Variance,
    ) -> InspectedRows<'s, Partial<f64>> {
        let unit = 2f64.powi(-(self.prediction.scales().log_of(form) as i32));
        let number = move |&integer: &i64| Partial { content: integer as f64 * unit, undrawn: gathered };
        Box::new((0..projection.rows()).map(move |row| projection.row(row).iter().map(number).collect()))
    }

    fn summed<'s>(&'s self, sum: &'s SimulatedSum) -> InspectedRows<'s, Partial<f64>> {
        let chunk = self.layout.subring();
        let numbers = move |(turns, spread): (&Vec<f64>, &Vec<Variance>)| {
            let number = |(channel, &content)| Partial { content, undrawn: spread[channel / chunk] };
            turns.iter().enumerate().map(number).collect()
        };
        Box::new(sum.turns.iter().zip(&sum.spread).map(numbers))
    }
}

impl SimulatedSum {
    /// `[rows, O]`, in turns.
    pub fn turns(&self) -> &Rows<f64> {
        &self.turns
    }
}
