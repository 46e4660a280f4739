//! Failure probabilities of the named sets, computed.

use gpt2_fhe::integer::prediction::Predictor;
use tfhe_core::key_graph::{Bootstrap, Node, ParametersLiteral};
use tfhe_core::noise::{self, Variance};
use tfhe_core::params::{Grouping, ParameterError, Precision};
use tfhe_core::sets::{
    ALL, COARSE, FINE, HEAD_EXACT, HEAD_EXACT_NARROW, HEAD_EXACT_WIDE, MESSAGE_2_CARRY_2, MESSAGE_2_CARRY_2_PAIRS, TOY,
};
use tfhe_core::wide::{self, WideTable};

/// log2 of the failure probability of one lookup of p bits of an input with the noise of one bootstrapping, times `norm`.
fn narrow(literal: ParametersLiteral, gadget: usize, norm: f64, p: u32) -> f64 {
    let predictor = Predictor::new(&literal.compile().unwrap()).unwrap();
    let input = predictor.bootstrap(gadget).scaled(norm);
    predictor.failure(input, 2f64.powi(-(p as i32) - 2))
}

#[test]
fn message_2_carry_2_fails_with_at_most_2_to_the_minus_128() {
    // As tfhe-rs counts: linear combinations of norm 5 between bootstrappings; it publishes 2^-129.6 for this set.
    for set in [MESSAGE_2_CARRY_2, MESSAGE_2_CARRY_2_PAIRS] {
        let failure = narrow(set, 0, 5.0, 4);
        println!("{}: 2^{failure:.1}", set.name);
        assert!((-140.0..=-128.0).contains(&failure), "{failure}");
    }
}

#[test]
fn head_tables_fail_with_at_most_2_to_the_minus_60() {
    // 60 bits leave the 10,000 to 20,000 bootstrappings of a head below 2^-40.
    for literal in [HEAD_EXACT_NARROW, HEAD_EXACT, HEAD_EXACT_WIDE] {
        let bits = wide::narrow_bits(literal.compile().unwrap().lookup().size());
        let failure = narrow(literal, COARSE, 2.0, bits);
        println!("{}: {bits}-bit table 2^{failure:.1}", literal.name);
        assert!(failure <= -60.0, "{}: {failure}", literal.name);
    }
}

#[test]
fn wide_tables_fail_with_at_most_2_to_the_minus_60() {
    for (literal, widths) in [(HEAD_EXACT_NARROW, 5..=8), (HEAD_EXACT, 6..=10)] {
        let parameters = literal.compile().unwrap();
        let (predictor, size) = (Predictor::new(&parameters).unwrap(), parameters.lookup().size());
        assert_eq!(wide::bits(size), widths);
        for w in widths {
            let table = WideTable::new(&(0..1_i64 << w).map(|m| (m * 14) >> w).collect::<Vec<_>>(), size);
            let low = predictor.failure(Variance::ZERO, table.low_tolerance());
            let high = predictor.failure(Variance::ZERO, table.high_tolerance());
            let failure = noise::log2_sum(low, high);
            println!("{}: {w}-bit table 2^{failure:.1} (first reading 2^{low:.1}, second 2^{high:.1})", literal.name);
            assert!(failure <= -60.0, "{}, {w} bits: {failure}", literal.name);
        }
    }
}

#[test]
fn the_toy_set_reads_two_bits() {
    let failure = narrow(TOY, 0, 1.0, 2);
    println!("toy: 2^{failure:.1}");
    assert!(failure <= -40.0);
}

/// The split gadgets of all sets are exact on every backend, and the next larger base of the precise one is not: no set compiles
/// with it.
#[test]
fn split_gadgets_are_exact() {
    for literal in ALL {
        let parameters = literal.compile().unwrap();
        let precise = |bootstrap: &&Bootstrap| bootstrap.gadget.precision() == Precision::Split;
        let shape = parameters.lookup().shape;
        for &Bootstrap { gadget, .. } in parameters.bootstraps().iter().filter(precise) {
            assert!(
                noise::split_is_exact(gadget, shape.polynomial_size, shape.dimension.get() + 1),
                "{}",
                literal.name
            );
        }
    }
    let bootstraps = &[
        (Node::Lookup, (23, 1, Precision::Single), Grouping::One),
        (Node::Lookup, (12, 4, Precision::Split), Grouping::One),
    ];
    let refused = ParametersLiteral { bootstraps, ..HEAD_EXACT }.compile().unwrap_err();
    assert!(
        matches!(refused, ParameterError::Inexact { base_log: 12, polynomial_size: 4096, inputs: 2, .. }),
        "{refused}"
    );
}

/// Coarse noise is above fine noise: the order that choosing by index relies on.
#[test]
fn gadgets_go_from_coarse_to_precise() {
    for literal in [HEAD_EXACT, HEAD_EXACT_WIDE] {
        let predictor = Predictor::new(&literal.compile().unwrap()).unwrap();
        assert!(predictor.bootstrap(COARSE) > predictor.bootstrap(FINE));
        assert!(predictor.bootstrap(FINE) > predictor.bootstrap(tfhe_core::sets::PRECISE));
    }
}
