//! What a lookup table is, for every evaluator.

use nn::table::LookupTable;
use proptest::prelude::*;

/// A table of any size up to 10 bits, with values that no two inputs share.
fn table() -> impl Strategy<Value = LookupTable> {
    (1_u32..=10, 0_u32..=4, -5000_i64..5000).prop_map(|(index_bits, rounded_bits, first)| {
        LookupTable::tabulate(first, index_bits + rounded_bits, rounded_bits, |input| input - first + 1)
    })
}

proptest! {
    #[test]
    fn tables_are_negacyclic(table in table(), input in -100_000_i64..100_000) {
        let period = 1 << table.bits();
        prop_assert_eq!(table.evaluate(input + period), -table.evaluate(input));
        prop_assert_eq!(table.evaluate(input + 2 * period), table.evaluate(input));
    }

    /// Inside its range a table is its function of the nearest multiple of 2^rounded_bits, counted from `first`, halves
    /// upward.
    #[test]
    fn tables_round_their_input(table in table(), input in -100_000_i64..100_000) {
        let period = 1 << table.bits();
        let step = 1_i64 << table.rounded_bits();
        let input = (input - table.first()).rem_euclid(period) + table.first() - table.rounding_offset();
        prop_assert!(table.contains(input));
        let rounded = table.evaluate(input) - 1 + table.first();
        prop_assert_eq!((rounded - table.first()) % step, 0);
        prop_assert!((-step < 2 * (rounded - input)) && (2 * (rounded - input) <= step));
    }

    #[test]
    fn a_table_contains_as_many_inputs_as_it_has_bits(table in table()) {
        let (first, size) = (table.first() - table.rounding_offset(), 1 << table.bits());
        prop_assert!(table.contains(first) && table.contains(first + size - 1));
        prop_assert!(!table.contains(first - 1) && !table.contains(first + size));
        prop_assert_eq!(table.values().len(), 1 << table.index_bits());
    }
}

#[test]
fn inconsistent_tables_are_not_made() {
    for (bits, rounded_bits, values) in [(2, 0, 3), (2, 1, 4), (2, 2, 1), (25, 20, 32), (20, 3, 1 << 17), (200, 199, 2)]
    {
        let made = LookupTable::new(0, bits, rounded_bits, vec![0; values]);
        assert!(made.is_err(), "{bits} bits, {rounded_bits} rounded");
    }
    assert!(LookupTable::new(i64::MIN, 1, 0, vec![0, 0]).is_err());
    assert!(LookupTable::new(0, 1, 0, vec![i64::MIN, 0]).is_err());
}
