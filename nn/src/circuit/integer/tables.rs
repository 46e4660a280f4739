//! From ranges to tables, and to the moduli of products.

use crate::error::Error;
use crate::evaluator::FactorUse;
use crate::range::IntegerRange;
use crate::table::LookupTable;

/// The range of `observed`, guarded; −limit ..= limit is the worst case.
pub(super) fn guarded(observed: impl IntoIterator<Item = i64>, limit: i64) -> IntegerRange {
    let observed = IntegerRange::covering(observed).unwrap_or(IntegerRange::of(0));
    observed.guarded(IntegerRange::symmetric(limit))
}

/// The table of `function` over a range, which is centred in it; more than `msbs` bits are rounded to as many.
pub(super) fn table_over(
    step: &'static str,
    range: IntegerRange,
    msbs: u32,
    function: impl Fn(i64) -> i64,
) -> Result<LookupTable, Error> {
    let bits = range.bits();
    if bits > LookupTable::MAX_BITS {
        return Err(Error::TooWide { step, bits, limit: LookupTable::MAX_BITS });
    }
    let rounded_bits = bits.saturating_sub(msbs);
    let slack = (1 << bits) - range.width();
    // With rounding, the inputs are those from half a step below `first`.
    let half_step = (1 << rounded_bits) / 2;
    Ok(LookupTable::tabulate(range.min - slack / 2 + half_step, bits, rounded_bits, function))
}

/// The use of factors of at most `left` and `right` in size, whose products lie in `range` and are read by `table`.
pub(super) fn factor_use(range: IntegerRange, table: Option<&LookupTable>, left: i32, right: i32) -> FactorUse {
    let operands = IntegerRange::symmetric(left as i64 + right as i64);
    FactorUse { product_bits: product_bits(range, table), operand_bits: operands.signed_bits() + 1 }
}

/// Bits of the modulus of products that lie in `range` and are read by `table`.
pub(super) fn product_bits(range: IntegerRange, table: Option<&LookupTable>) -> u32 {
    range.signed_bits().max(table.map_or(0, LookupTable::bits))
}
