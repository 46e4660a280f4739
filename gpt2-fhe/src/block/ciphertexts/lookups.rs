//! Lookups.

use std::sync::Arc;

use nn::evaluator::SmoothUse;
use nn::table::SmoothTable;
use rayon::prelude::*;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::refresh::{FunctionTable, LevelTables, RefreshError};

use super::context::BlockCiphertexts;
use super::number::{EncryptedNumber, EncryptedSum, Samples};

/// How many numbers one thread extracts before it switches them: each is as large as the mask of a ciphertext, or two.
const SAMPLES: usize = 16;

/// Tables of a batch, as polynomials: each once, however many numbers are read by it.
struct Tabulated<T> {
    distinct: Vec<T>,
    /// Of each number.
    indices: Vec<usize>,
}

impl<T: Send> Tabulated<T> {
    fn new(tables: &[&SmoothTable], tabulate: impl Fn(&SmoothTable) -> Result<T, RefreshError> + Sync) -> Self {
        let (mut distinct, mut indices) = (Vec::<&SmoothTable>::new(), Vec::with_capacity(tables.len()));
        for &table in tables {
            let found = distinct.iter().position(|&other| other == table);
            indices.push(found.unwrap_or(distinct.len()));
            if found.is_none() {
                distinct.push(table);
            }
        }
        let tabulate =
            |table: &&SmoothTable| tabulate(table).expect("tables of programs are finite on their half turn");
        Self { distinct: distinct.par_iter().map(tabulate).collect(), indices }
    }

    fn of_numbers(&self) -> Vec<&T> {
        self.indices.iter().map(|&index| &self.distinct[index]).collect()
    }
}

/// The middle of the half turn that a table is read on.
fn middle(table: &SmoothTable) -> f64 {
    0.25 - table.offset()
}

impl BlockCiphertexts<'_> {
    /// Numbers under the small key.
    pub(crate) fn arguments(&self, result: SmoothUse, numbers: &[&EncryptedSum]) -> Vec<LweCiphertext> {
        let (refresh, lookup) = (self.keys.refresh(result), self.keys.parameters.lookup().lwe_dimension());
        let switch = |numbers: &[&EncryptedSum]| {
            let samples: Vec<Samples> = numbers.iter().map(|number| number.samples(lookup)).collect();
            let arguments: Vec<_> = samples.iter().map(Samples::argument).collect();
            refresh.keyswitch_arguments(&arguments).expect("samples of the two rings")
        };
        numbers.par_chunks(SAMPLES).flat_map_iter(switch).collect()
    }

    /// Table `i` at number `i`.
    pub(super) fn read(
        &self,
        result: SmoothUse,
        numbers: &[&EncryptedSum],
        tables: &[&SmoothTable],
    ) -> Vec<EncryptedNumber> {
        assert_eq!(numbers.len(), tables.len(), "one table for each number");
        let (refresh, shape, arguments) =
            (self.keys.refresh(result), self.keys.parameters.lookup().shape, self.arguments(result, numbers));
        const MATCH: &str = "arguments under the small key, and tables of the lookup ring";
        match result {
            SmoothUse::Multiplier { log_shared } => {
                let tables = Tabulated::new(tables, |table| {
                    let range = middle(table)..=middle(table);
                    LevelTables::new(shape, range, self.keys.product, log_shared, |turns| table.at(turns))
                });
                let levels = refresh.look_up_levels(&arguments, &tables.of_numbers()).expect(MATCH);
                levels.into_iter().map(|levels| EncryptedNumber::Levels(Arc::new(levels))).collect()
            }
            _ => {
                let tables = Tabulated::new(tables, |table| {
                    FunctionTable::new(shape, middle(table)..=middle(table), |turns| table.at(turns))
                        .map(|tabulated| tabulated.rounded(refresh.result_bits()))
                });
                let results = refresh.look_up(&arguments, &tables.of_numbers()).expect(MATCH);
                results.into_iter().map(|result| EncryptedNumber::Sum(EncryptedSum::result(result))).collect()
            }
        }
    }
}
