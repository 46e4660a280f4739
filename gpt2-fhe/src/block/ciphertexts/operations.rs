//! The operations of the backend: what each takes and gives.

use std::sync::Arc;

use nn::evaluator::{Entries, Form, LinearMap, Rows, SmoothUse};
use nn::table::SmoothTable;
use rayon::prelude::*;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::noise::{Distribution, Variance};
use tfhe_core::refresh::Place;
use tfhe_core::torus;

use super::context::BlockCiphertexts;
use super::multipliers::EncryptedMultipliers;
use super::number::{EncryptedNumber, EncryptedSum};
use super::reals::EncryptedReals;
use crate::block::backend::{BlockBackend, LookupNoise, ReadNumber};

impl BlockCiphertexts<'_> {
    /// A row of features.
    fn pack_row(&self, row: &[EncryptedNumber], form: Form) -> Vec<Arc<GlweCiphertext>> {
        let lookup = self.keys.parameters.lookup().lwe_dimension();
        let result = |number: &EncryptedNumber| -> LweCiphertext {
            let samples = number.sum().samples(lookup);
            assert!(samples.arithmetic.is_none(), "results of lookups are packed");
            samples.lookup.expect("a sum without coefficients")
        };
        let pack = |numbers: &[EncryptedNumber]| {
            let places: Vec<Place> =
                (0..numbers.len()).map(|index| Place::from(self.layout.place(form, index).1)).collect();
            let packed = self.keys.refresh(SmoothUse::Feature).pack(numbers.iter().map(result).collect(), &places);
            Arc::new(packed.expect("places of their own, which the lookup ring has"))
        };
        let ciphertexts = self.layout.ciphertexts(form, row.len());
        row.par_chunks(if ciphertexts == 1 { row.len() } else { self.layout.inputs() }).map(pack).collect()
    }
}

impl BlockBackend for BlockCiphertexts<'_> {
    type Reals = EncryptedReals;
    type Multipliers = EncryptedMultipliers;
    type Number = EncryptedNumber;

    fn together(&self) -> usize {
        self.keys.refresh(SmoothUse::Read).rotator().together()
    }

    fn linear(&mut self, input: &EncryptedReals, maps: &[LinearMap<'_>], _: &[Variance]) -> Vec<EncryptedReals> {
        self.map(input, maps)
    }

    fn scale_rows(
        &mut self,
        reals: EncryptedReals,
        multipliers: &EncryptedMultipliers,
        _: &Distribution,
    ) -> EncryptedReals {
        self.multiply_rows(&reals, multipliers)
    }

    fn multiply(
        &mut self,
        queries: &EncryptedReals,
        keys: &EncryptedMultipliers,
        entries: Entries,
        _: &Distribution,
    ) -> Rows<EncryptedNumber> {
        self.multiply_keys(queries, keys, entries)
    }

    fn weigh(
        &mut self,
        weights: &EncryptedMultipliers,
        values: &EncryptedReals,
        sum: Option<EncryptedReals>,
        _: &Distribution,
    ) -> EncryptedReals {
        self.weigh_rows(weights, values, sum)
    }

    fn numbers(&mut self, reals: EncryptedReals) -> Rows<EncryptedNumber> {
        reals.numbers(self.layout)
    }

    fn add_scaled(&self, sum: &mut EncryptedNumber, other: &EncryptedNumber, factor: i64) {
        sum.sum_mut().add_scaled(other.sum(), factor);
    }

    fn constant(&self, turns: f64) -> EncryptedNumber {
        EncryptedNumber::Sum(EncryptedSum::constant(torus::from_f64(turns)))
    }

    fn look_up(
        &mut self,
        result: SmoothUse,
        numbers: &[&ReadNumber<EncryptedNumber>],
        tables: &[&SmoothTable],
        _: LookupNoise,
    ) -> Vec<EncryptedNumber> {
        let numbers: Vec<&EncryptedSum> = numbers.iter().map(|number| number.content.sum()).collect();
        self.read(result, &numbers, tables)
    }

    fn pack(&mut self, rows: Rows<EncryptedNumber>, form: Form, _: Variance) -> EncryptedReals {
        let channels = rows.first().map_or(0, Vec::len);
        let rows = rows.par_iter().map(|row| self.pack_row(row, form)).collect();
        EncryptedReals { form, channels, rows }
    }

    fn pack_multipliers(&mut self, rows: Rows<EncryptedNumber>, form: Form) -> EncryptedMultipliers {
        self.pack_levels(&rows, form)
    }

    fn add_constants(&mut self, mut reals: EncryptedReals, turns: &[f64]) -> EncryptedReals {
        reals.add_constants(self.layout, turns);
        reals
    }

    fn add(&mut self, sum: &mut EncryptedReals, other: &EncryptedReals) {
        sum.add(other);
    }

    fn append(&mut self, above: &mut EncryptedReals, below: EncryptedReals) {
        above.append(below);
    }

    fn append_multipliers(&mut self, above: &mut EncryptedMultipliers, below: EncryptedMultipliers) {
        above.append(below);
    }

    fn last_row(&mut self, reals: &EncryptedReals) -> EncryptedReals {
        reals.last_row()
    }

    fn narrowed(&mut self, reals: &EncryptedReals, channels: usize) -> EncryptedReals {
        reals.narrowed(self.layout, channels)
    }

    fn last_multipliers(&mut self, multipliers: &EncryptedMultipliers) -> EncryptedMultipliers {
        multipliers.last_row()
    }

    fn known(&mut self, rows: Rows<f64>, form: Form) -> EncryptedReals {
        EncryptedReals::known(self.layout, self.shape(), form, &rows)
    }

    fn known_multipliers(&mut self, rows: Rows<f64>, form: Form) -> EncryptedMultipliers {
        self.known_levels(&rows, form)
    }
}
