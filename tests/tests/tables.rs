//! Every input of every width of table that the named sets are made for, and many bootstrappings of one.

use gpt2_fhe::integer::backend::{IntegerBackend, WideLookup};
use gpt2_fhe::integer::ciphertexts::IntegerCiphertexts;
use integration_tests::Parties;
use tfhe_core::key_graph::ParametersLiteral;
use tfhe_core::programmable_bootstrap::table_accumulator;
use tfhe_core::sets::{
    COARSE, FINE, HEAD_EXACT, HEAD_EXACT_NARROW, HEAD_EXACT_WIDE, MESSAGE_2_CARRY_2, MESSAGE_2_CARRY_2_PAIRS, PRECISE,
    TOY,
};
use tfhe_core::torus;
use tfhe_core::wide::{self, WideTable};

/// A permutation of the indices, so that every value occurs and neighbours differ.
fn scrambled(m: u64, p: u32) -> u64 {
    (m * 5 + 3) % (1 << p)
}

fn narrow_tables(literal: ParametersLiteral, gadgets: &[usize], widths: std::ops::RangeInclusive<u32>) {
    let mut parties = Parties::new(literal, gadgets, false);
    let shape = parties.shape();
    for p in widths {
        let inputs = parties.encrypt_indices(p, 0..1 << p);
        let switched = parties.keyswitch(&inputs);
        let values: Vec<u64> = (0..1 << p).map(|m| scrambled(m, p) << (63 - p)).collect();
        let accumulator = table_accumulator(shape, &values);
        for &gadget in gadgets {
            let outputs =
                parties.bootstrapping_key(gadget).programmable_bootstrap(&switched, &vec![&accumulator; inputs.len()]);
            for (m, phase) in parties.phases(&outputs).into_iter().enumerate() {
                let read = torus::switch_modulus(phase, p + 1) % (2 << p);
                assert_eq!(read, scrambled(m as u64, p), "{}: input {m} of {p} bits, gadget {gadget}", literal.name);
            }
        }
    }
}

#[test]
fn toy_tables() {
    narrow_tables(TOY, &[0], 1..=2);
}

#[test]
fn message_2_carry_2_tables() {
    narrow_tables(MESSAGE_2_CARRY_2, &[0], 1..=4);
    narrow_tables(MESSAGE_2_CARRY_2_PAIRS, &[0], 1..=4);
}

#[test]
fn head_tables() {
    narrow_tables(HEAD_EXACT_NARROW, &[COARSE, FINE, PRECISE], 1..=4);
    narrow_tables(HEAD_EXACT, &[COARSE, FINE, PRECISE], 1..=5);
    narrow_tables(HEAD_EXACT_WIDE, &[PRECISE], 1..=5);
}

/// Tables in two bootstrappings, every input (of the widest, whose narrow boxes take long to pack, every third), on a requantization-like
/// staircase and on a scrambled table.
#[test]
fn wide_tables() {
    wide_tables_of(HEAD_EXACT_NARROW);
}

fn wide_tables_of(literal: ParametersLiteral) {
    let mut parties = Parties::new(literal, &[COARSE, FINE], false);
    let size = parties.shape().polynomial_size;
    for w in wide::bits(size) {
        let count = 1_i64 << w;
        let staircase: Vec<i64> = (0..count).map(|m| ((m - count / 2) * 14) / count).collect();
        let scrambled: Vec<i64> = (0..count).map(|m| (m * 5 + 3) % 15 - 7).collect();
        // Steps of up to 14 need the finer key for the first bootstrapping.
        for (what, values, low) in [("staircase", staircase, COARSE), ("scrambled", scrambled, FINE)] {
            let is_widest = w == *wide::bits(size).end();
            if is_widest && what == "scrambled" {
                continue; // As many boxes, each with a window's differences: covered by the staircase and by the unit tests.
            }
            let table = [WideTable::new(&values, size)];
            let delta = 1_u64 << 59;
            let indices: Vec<u64> = (0..1 << w).step_by(if is_widest { 3 } else { 1 }).collect();
            let inputs = parties.encrypt(indices.iter().map(|m| m << (63 - w)));
            let lookups = vec![WideLookup { tables: &table, delta }; inputs.len()];
            let mut outputs = Vec::new();
            for (inputs, lookups) in inputs.chunks(64).zip(lookups.chunks(64)) {
                outputs.extend(
                    IntegerCiphertexts::new(&parties.server, &[COARSE, FINE], false)
                        .unwrap()
                        .wide_lookup(low, COARSE, inputs, lookups),
                );
            }
            let outputs: Vec<_> = outputs.into_iter().map(|mut output| output.remove(0)).collect();
            for (m, phase) in indices.into_iter().zip(parties.phases(&outputs)) {
                let read = torus::decode(phase, 5);
                assert_eq!(read, values[m as usize], "{what}: input {m} of {w} bits");
            }
        }
    }
}

/// `.ci/run --long` runs what is in here.
mod minutes {
    use super::*;

    #[test]
    #[ignore = "minutes: nearly two on a slow machine"]
    fn wide_tables_of_the_larger_ring() {
        wide_tables_of(HEAD_EXACT);
    }

    /// 10,000 bootstrappings of the 2_2 set, inputs fresh from a previous bootstrapping's noise level or better.
    #[test]
    #[ignore = "minutes: one"]
    fn ten_thousand_bootstrappings_of_2_2_without_an_error() {
        let mut parties = Parties::new(MESSAGE_2_CARRY_2, &[0], false);
        let values: Vec<u64> = (0..16).map(|m| scrambled(m, 4) << 59).collect();
        let accumulator = table_accumulator(parties.shape(), &values);
        let mut done = 0_u64;
        while done < 10_000 {
            let batch = 500;
            let inputs = parties.encrypt_indices(4, (0..batch).map(|i| (done + i) % 16));
            let switched = parties.keyswitch(&inputs);
            let outputs =
                parties.bootstrapping_key(0).programmable_bootstrap(&switched, &vec![&accumulator; inputs.len()]);
            for (i, phase) in parties.phases(&outputs).into_iter().enumerate() {
                assert_eq!(torus::switch_modulus(phase, 5) % 32, scrambled((done + i as u64) % 16, 4));
            }
            done += batch;
        }
    }
}
