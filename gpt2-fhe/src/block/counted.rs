//! The block backend that computes nothing: for what depends on the program and the number of tokens alone, its operations and noise.

use nn::evaluator::{Entries, Form, LinearMap, Rows, SmoothUse};
use nn::table::SmoothTable;
use tfhe_core::noise::{Distribution, Variance};

use super::backend::{BlockBackend, LookupNoise, ReadNumber};

/// Numbers without content.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountedBlock;

/// `[rows, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedReals {
    /// Tokens.
    pub rows: usize,
    /// Channels.
    pub channels: usize,
}

/// The number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedMultipliers(usize);

impl BlockBackend for CountedBlock {
    type Reals = CountedReals;
    type Multipliers = CountedMultipliers;
    type Number = ();

    fn linear(&mut self, input: &CountedReals, maps: &[LinearMap<'_>], _: &[Variance]) -> Vec<CountedReals> {
        maps.iter().map(|map| CountedReals { channels: map.weight.cols(), ..*input }).collect()
    }

    fn scale_rows(&mut self, reals: CountedReals, _: &CountedMultipliers, _: &Distribution) -> CountedReals {
        reals
    }

    fn multiply(
        &mut self,
        queries: &CountedReals,
        keys: &CountedMultipliers,
        entries: Entries,
        _: &Distribution,
    ) -> Rows<()> {
        entries.rows(queries.rows, keys.0).map(|(_, count)| vec![(); count]).collect()
    }

    fn weigh(
        &mut self,
        weights: &CountedMultipliers,
        values: &CountedReals,
        _: Option<CountedReals>,
        _: &Distribution,
    ) -> CountedReals {
        CountedReals { rows: weights.0, ..*values }
    }

    fn numbers(&mut self, reals: CountedReals) -> Rows<()> {
        vec![vec![(); reals.channels]; reals.rows]
    }

    fn add_scaled(&self, _: &mut (), _: &(), _: i64) {}

    fn constant(&self, _: f64) {}

    fn look_up(&mut self, _: SmoothUse, numbers: &[&ReadNumber<()>], _: &[&SmoothTable], _: LookupNoise) -> Vec<()> {
        vec![(); numbers.len()]
    }

    fn pack(&mut self, rows: Rows<()>, _: Form, _: Variance) -> CountedReals {
        CountedReals { rows: rows.len(), channels: rows.first().map_or(0, Vec::len) }
    }

    fn pack_multipliers(&mut self, rows: Rows<()>, _: Form) -> CountedMultipliers {
        CountedMultipliers(rows.len())
    }

    fn add_constants(&mut self, reals: CountedReals, _: &[f64]) -> CountedReals {
        reals
    }

    fn add(&mut self, _: &mut CountedReals, _: &CountedReals) {}

    fn append(&mut self, above: &mut CountedReals, below: CountedReals) {
        above.rows += below.rows;
    }

    fn append_multipliers(&mut self, above: &mut CountedMultipliers, below: CountedMultipliers) {
        above.0 += below.0;
    }

    fn last_row(&mut self, reals: &CountedReals) -> CountedReals {
        CountedReals { rows: reals.rows.min(1), ..*reals }
    }

    fn narrowed(&mut self, reals: &CountedReals, channels: usize) -> CountedReals {
        CountedReals { channels, ..*reals }
    }

    fn last_multipliers(&mut self, multipliers: &CountedMultipliers) -> CountedMultipliers {
        CountedMultipliers(multipliers.0.min(1))
    }

    fn known(&mut self, rows: Rows<f64>, _: Form) -> CountedReals {
        CountedReals { rows: rows.len(), channels: rows.first().map_or(0, Vec::len) }
    }

    fn known_multipliers(&mut self, rows: Rows<f64>, _: Form) -> CountedMultipliers {
        CountedMultipliers(rows.len())
    }
}
