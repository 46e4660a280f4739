//! The block backend on numbers with noise drawn from the predictions.
//!
//! Noise is drawn where it arises. A number that bears it is stored with it, so that what follows does to it what it does to the number. Each
//! goes through the same scales, offsets and roundings as a ciphertext's phase.

use nn::evaluator::{Entries, Form, LinearMap, Rows, SmoothUse};
use nn::matrix::Matrix;
use nn::table::SmoothTable;
use tfhe_core::noise::{Distribution, Variance};
use tfhe_core::params::PolynomialSize;
use tfhe_core::random::{SampleSeed, SampleStream};

use super::backend::{BlockBackend, LookupNoise, ReadNumber};
use super::layout::BlockLayout;
use super::noise::FreshNoise;
use super::prediction::log_shared;
use crate::packed::tables;

/// Computes on numbers in turns.
pub struct SimulatedBlock {
    layout: BlockLayout,
    lookup_size: PolynomialSize,
    generator: SampleStream,
    is_tracked: bool,
}

/// Rows of numbers in turns.
#[derive(Clone, Debug)]
pub struct SimulatedReals {
    turns: Matrix<f64>,
    form: Form,
}

impl SimulatedReals {
    /// Features `[T, E]`, in turns, as they are.
    pub fn features(turns: Matrix<f64>) -> Self {
        Self { turns, form: Form::Features }
    }

    /// In turns.
    pub fn turns(&self) -> &Matrix<f64> {
        &self.turns
    }
}

impl SimulatedBlock {
    /// In a layout, with lookups in a ring of `lookup_size` coefficients; noise is drawn from stream 0 of `seed`.
    pub fn new(layout: BlockLayout, lookup_size: PolynomialSize, seed: &SampleSeed) -> Self {
        Self { layout, lookup_size, generator: seed.stream(0), is_tracked: false }
    }

    /// The same, with noise predicted for every number, and for the integers that this run multiplies by: a counted run takes them
    /// to be as large as tables have them.
    #[must_use]
    pub fn tracked(self) -> Self {
        Self { is_tracked: true, ..self }
    }

    /// Features as a server has them of a request.
    pub fn encrypt(&mut self, turns: &Matrix<f64>, fresh: FreshNoise) -> SimulatedReals {
        let mut turns = turns.clone();
        self.add_noise(turns.data_mut(), fresh.numbers);
        SimulatedReals::features(turns)
    }

    /// Numbers as a client decrypts them: each with noise `sent` that they got on the way.
    pub fn answer(&mut self, reals: &SimulatedReals, sent: Variance) -> Matrix<f64> {
        let mut turns = reals.turns.clone();
        self.add_noise(turns.data_mut(), sent);
        turns
    }

    fn noise(&mut self, variance: Variance) -> f64 {
        if variance == Variance::ZERO { 0.0 } else { self.generator.normal() * variance.std() }
    }

    fn add_noise(&mut self, numbers: &mut [f64], variance: Variance) {
        if variance > Variance::ZERO {
            let std = variance.std();
            numbers.iter_mut().for_each(|x| *x += self.generator.normal() * std);
        }
    }

    /// Adds the noise of `products` products of ciphertexts to each number of a row: each has one variance in each ciphertext.
    fn add_products(&mut self, row: &mut [f64], form: Form, added: &Distribution, products: usize) {
        let per_ciphertext = if form == Form::Image { self.layout.stride() } else { row.len().max(1) };
        for ciphertext in row.chunks_mut(per_ciphertext) {
            let variance = (0..products).map(|_| added.draw_variance(&mut self.generator)).sum();
            self.add_noise(ciphertext, variance);
        }
    }
}

impl BlockBackend for SimulatedBlock {
    type Reals = SimulatedReals;
    /// Integers.
    type Multipliers = Rows<f64>;
    /// In turns, or an integer.
    type Number = f64;

    fn is_tracked(&self) -> bool {
        self.is_tracked
    }

    fn integer(&self, number: &f64) -> Option<f64> {
        Some(*number)
    }

    fn linear(&mut self, input: &SimulatedReals, maps: &[LinearMap<'_>], added: &[Variance]) -> Vec<SimulatedReals> {
        let map = |(map, &added): (&LinearMap<'_>, &Variance)| {
            let mut turns = input.turns.multiply(&map.weight.map(|&w| f64::from(w)));
            self.add_noise(turns.data_mut(), added);
            SimulatedReals { turns, form: map.form }
        };
        maps.iter().zip(added).map(map).collect()
    }

    fn scale_rows(
        &mut self,
        mut reals: SimulatedReals,
        multipliers: &Rows<f64>,
        added: &Distribution,
    ) -> SimulatedReals {
        for (row, multiplier) in multipliers.iter().enumerate() {
            let numbers = reals.turns.row_mut(row);
            numbers.iter_mut().for_each(|x| *x *= multiplier[0]);
            self.add_products(numbers, reals.form, added, 1);
        }
        reals
    }

    fn multiply(
        &mut self,
        queries: &SimulatedReals,
        keys: &Rows<f64>,
        entries: Entries,
        added: &Distribution,
    ) -> Rows<f64> {
        let product =
            |row: usize, key: &Vec<f64>| queries.turns.row(row).iter().zip(key).map(|(q, k)| q * k).sum::<f64>();
        let mut score = |row: usize, key: &Vec<f64>| {
            let variance = added.draw_variance(&mut self.generator);
            product(row, key) + self.noise(variance)
        };
        let rows = entries.rows(queries.turns.rows(), keys.len());
        rows.map(|(row, count)| keys[..count].iter().map(|key| score(row, key)).collect()).collect()
    }

    fn weigh(
        &mut self,
        weights: &Rows<f64>,
        values: &SimulatedReals,
        sum: Option<SimulatedReals>,
        added: &Distribution,
    ) -> SimulatedReals {
        let zero = || SimulatedReals {
            turns: Matrix::from_fn(weights.len(), values.turns.cols(), |_, _| 0.0),
            form: values.form,
        };
        let mut sum = sum.unwrap_or_else(zero);
        for (row, weights) in weights.iter().enumerate() {
            let sums = sum.turns.row_mut(row);
            for (token, weight) in weights.iter().enumerate() {
                sums.iter_mut().zip(values.turns.row(token)).for_each(|(sum, value)| *sum += weight * value);
            }
            self.add_products(sums, values.form, added, weights.len());
        }
        sum
    }

    fn numbers(&mut self, reals: SimulatedReals) -> Rows<f64> {
        (0..reals.turns.rows()).map(|row| reals.turns.row(row).to_vec()).collect()
    }

    fn add_scaled(&self, sum: &mut f64, other: &f64, factor: i64) {
        *sum += factor as f64 * other;
    }

    fn constant(&self, turns: f64) -> f64 {
        turns
    }

    fn look_up(
        &mut self,
        result: SmoothUse,
        numbers: &[&ReadNumber<f64>],
        found: &[&SmoothTable],
        noise: LookupNoise,
    ) -> Vec<f64> {
        let size = PolynomialSize::new(self.lookup_size.get() >> log_shared(result)).expect("a power of two");
        // Of the width of an angle: reading rounds to it.
        let rounding = (0.5 / size.get() as f64).powi(2) / 12.0;
        let reading = Variance::new((noise.reading.get() - rounding).max(0.0));
        let multiplies = matches!(result, SmoothUse::Multiplier { .. });
        let read = |(number, table): (&&ReadNumber<f64>, &&SmoothTable)| {
            let value = tables::read(table, number.content + self.noise(reading), size);
            // What a multiplier's levels bear is noise of products.
            if multiplies { value.round_ties_even() } else { value + self.noise(noise.result) }
        };
        numbers.iter().zip(found).map(read).collect()
    }

    fn pack(&mut self, rows: Rows<f64>, form: Form, added: Variance) -> SimulatedReals {
        let mut turns = matrix(rows);
        self.add_noise(turns.data_mut(), added);
        SimulatedReals { turns, form }
    }

    fn pack_multipliers(&mut self, rows: Rows<f64>, _: Form) -> Rows<f64> {
        rows
    }

    fn add_constants(&mut self, mut reals: SimulatedReals, turns: &[f64]) -> SimulatedReals {
        for row in 0..reals.turns.rows() {
            reals.turns.row_mut(row).iter_mut().zip(turns).for_each(|(x, constant)| *x += constant);
        }
        reals
    }

    fn add(&mut self, sum: &mut SimulatedReals, other: &SimulatedReals) {
        sum.turns.data_mut().iter_mut().zip(other.turns.data()).for_each(|(sum, x)| *sum += x);
    }

    fn append(&mut self, above: &mut SimulatedReals, below: SimulatedReals) {
        above.turns.append_rows(&below.turns);
    }

    fn append_multipliers(&mut self, above: &mut Rows<f64>, below: Rows<f64>) {
        above.extend(below);
    }

    fn last_row(&mut self, reals: &SimulatedReals) -> SimulatedReals {
        let rows = reals.turns.rows();
        SimulatedReals { turns: reals.turns.row_range(rows.saturating_sub(1)..rows), form: reals.form }
    }

    fn narrowed(&mut self, reals: &SimulatedReals, channels: usize) -> SimulatedReals {
        SimulatedReals { turns: reals.turns.columns(0..channels), form: reals.form }
    }

    fn last_multipliers(&mut self, multipliers: &Rows<f64>) -> Rows<f64> {
        multipliers.last().cloned().into_iter().collect()
    }

    fn known(&mut self, rows: Rows<f64>, form: Form) -> SimulatedReals {
        SimulatedReals { turns: matrix(rows), form }
    }

    fn known_multipliers(&mut self, rows: Rows<f64>, _: Form) -> Rows<f64> {
        rows
    }
}

/// Rows of one length.
fn matrix(rows: Rows<f64>) -> Matrix<f64> {
    let (count, columns) = (rows.len(), rows.first().map_or(0, Vec::len));
    Matrix::new(count, columns, rows.concat()).expect("rows of one length")
}
