//! What was seen of each intermediate, and what it may be.

use crate::clear::{ClearEvaluator, StepRecord};
use crate::range::IntegerRange;
use crate::table::LookupTable;
use serde::Serialize;

/// The bits of one intermediate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RangeReport {
    /// The head; `None` for what all heads make together.
    pub head: Option<usize>,
    /// The step whose tables read the intermediate, or the last step, whose result none reads.
    pub step: &'static str,
    /// The integers that it takes on the calibration set.
    pub observed: IntegerRange,
    /// The integers that its tables, or its modulus, can hold.
    pub covered: IntegerRange,
    /// Bits of the tables that read it, or of its modulus without the sign.
    pub bits: u32,
    /// Bits of them that are rounded away.
    pub rounded_bits: u32,
}

/// What the inputs of tables take on the calibration set, and what the tables cover.
pub(super) fn table_reports<'a>(
    head: Option<usize>,
    tables: impl Iterator<Item = (&'static str, &'a LookupTable)>,
    evaluator: &ClearEvaluator<LookupTable>,
) -> Vec<RangeReport> {
    let mut reports: Vec<RangeReport> = Vec::new();
    for (step, table) in tables {
        let Some(observed) = evaluator.record(step).and_then(StepRecord::integer_inputs) else { continue };
        let report = RangeReport::of_table(head, step, observed, table);
        if reports.last() != Some(&report) {
            reports.push(report);
        }
    }
    reports
}

/// What the results of a step take on the calibration set, and what a modulus of `bits` bits and a sign holds.
pub(super) fn modulus_report(
    head: Option<usize>,
    step: &'static str,
    bits: u32,
    evaluator: &ClearEvaluator<LookupTable>,
) -> Option<RangeReport> {
    let observed = evaluator.record(step).and_then(StepRecord::integer_outputs)?;
    let covered = IntegerRange { min: -(1 << bits), max: (1 << bits) - 1 };
    Some(RangeReport { head, step, observed, covered, bits, rounded_bits: 0 })
}

impl RangeReport {
    pub(super) fn of_table(
        head: Option<usize>,
        step: &'static str,
        observed: IntegerRange,
        table: &LookupTable,
    ) -> Self {
        let min = table.first() - table.rounding_offset();
        let covered = IntegerRange { min, max: min + (1 << table.bits()) - 1 };
        Self { head, step, observed, covered, bits: table.bits(), rounded_bits: table.rounded_bits() }
    }
}
