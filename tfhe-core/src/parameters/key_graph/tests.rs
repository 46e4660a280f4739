//! What sets are refused, and what is part of their fingerprints.

use super::*;
use crate::sets::{HEAD_EXACT, PACKED_HEAD, TOY};
use Node::{Arithmetic, Lookup, Small};

const NOISE: NoiseDistribution = NoiseDistribution::TUniform { bound_log: 20 };

fn inexact(literal: ParametersLiteral) -> (u32, usize, usize) {
    match literal.compile().unwrap_err() {
        ParameterError::Inexact { base_log, polynomial_size, inputs, .. } => (base_log, polynomial_size, inputs),
        other => panic!("{other}"),
    }
}

/// A set of these keys and the edges of `packed_head`.
fn error_of_keys(keys: &'static [KeyLiteral]) -> ParameterError {
    ParametersLiteral { keys, ..PACKED_HEAD }.compile().unwrap_err()
}

const fn glwe(nodes: &'static [Node], k: usize, n: usize) -> KeyLiteral {
    KeyLiteral { nodes, shape: ShapeLiteral::Glwe(k, n), noise: NOISE }
}

#[test]
fn nonsense_is_refused() {
    const SMALL: KeyLiteral = glwe(&[Small], 2, 16);
    const LOUD: KeyLiteral = KeyLiteral { noise: NoiseDistribution::TUniform { bound_log: 63 }, ..SMALL };
    const LWE: KeyLiteral = KeyLiteral { nodes: &[Lookup, Arithmetic], shape: ShapeLiteral::Lwe(64), noise: NOISE };
    let order = error_of_keys(&const { [SMALL, glwe(&[Lookup], 1, 256), glwe(&[Arithmetic], 1, 128)] });
    assert_eq!(order, ParameterError::RingOrder);
    let order = error_of_keys(&const { [glwe(&[Small], 1, 128), glwe(&[Lookup, Arithmetic], 1, 64)] });
    assert_eq!(order, ParameterError::RingOrder);
    let size = error_of_keys(&const { [SMALL, glwe(&[Lookup, Arithmetic], 1, 100)] });
    assert_eq!(size, ParameterError::PolynomialSize(100));
    assert_eq!(error_of_keys(&const { [LOUD, glwe(&[Lookup, Arithmetic], 1, 64)] }), ParameterError::Noise(63));
    assert_eq!(error_of_keys(&const { [SMALL, glwe(&[Lookup], 1, 64)] }), ParameterError::Node("arithmetic"));
    let twice = error_of_keys(&const { [SMALL, glwe(&[Lookup, Arithmetic], 1, 64), glwe(&[Lookup], 1, 64)] });
    assert_eq!(twice, ParameterError::Node("lookup"));
    assert_eq!(error_of_keys(&const { [SMALL, LWE] }), ParameterError::NotARing("lookup"));
    let nameless = error_of_keys(&const { [SMALL, glwe(&[Lookup, Arithmetic], 1, 64), glwe(&[], 1, 64)] });
    assert_eq!(nameless, ParameterError::Node("none"));
    let two = ParametersLiteral { keys: &const { [SMALL, glwe(&[Lookup, Arithmetic], 2, 64)] }, ..TOY };
    let no_product = two.compile().unwrap_err();
    assert_eq!(no_product, ParameterError::ProductRing(2));

    let none = ParametersLiteral { bootstraps: &[], ..PACKED_HEAD };
    assert_eq!(none.compile().unwrap_err(), ParameterError::NoBootstrap);
    let lifts = &[(Arithmetic, Lookup, (9, 4, Precision::Single))];
    assert_eq!(ParametersLiteral { lifts, ..PACKED_HEAD }.compile().unwrap_err(), ParameterError::RingOrder);
    let keyswitches = &[(Small, (2, 8, Precision::Single)); 2];
    assert!(ParametersLiteral { keyswitches, ..PACKED_HEAD }.compile().is_err());
    let keyswitches = &[(Lookup, (3, 6, Precision::Single)), (Arithmetic, (3, 6, Precision::Single))];
    let twice = ParametersLiteral { keyswitches, ..HEAD_EXACT }.compile().unwrap_err();
    assert!(matches!(twice, ParameterError::Twice(_)), "one ring has one key switch: {twice}");
}

/// Every gadget of a set, by the ring and the number of polynomials that its products have.
#[test]
fn split_gadgets_that_are_not_exact_are_refused() {
    const SPLIT: GadgetLiteral = (14, 3, Precision::Split);
    let set = PACKED_HEAD;
    assert_eq!(inexact(ParametersLiteral { keyswitches: &[(Arithmetic, SPLIT)], ..set }), (14, 128, 32));
    assert_eq!(inexact(ParametersLiteral { bootstraps: &[(Lookup, SPLIT, Grouping::One)], ..set }), (14, 2048, 2));
    assert_eq!(inexact(ParametersLiteral { automorphisms: &[(Lookup, SPLIT)], ..set }), (14, 2048, 1));
    assert_eq!(inexact(ParametersLiteral { lifts: &[(Lookup, Arithmetic, SPLIT)], ..set }), (14, 4096, 1));
    assert_eq!(inexact(ParametersLiteral { relinearizations: &[(Arithmetic, SPLIT)], ..set }), (14, 4096, 1));
    assert_eq!(inexact(ParametersLiteral { external_products: &[(Arithmetic, SPLIT)], ..set }), (14, 4096, 2));
    let external_products = &[(Arithmetic, (10, 3, Precision::Split))];
    assert!(ParametersLiteral { external_products, ..set }.compile().is_ok());

    // A key switch of one polynomial is exact where an external product of two is not.
    let finer = (12, 4, Precision::Split);
    let bootstraps =
        &[(Lookup, (23, 1, Precision::Single), Grouping::One), (Lookup, (12, 4, Precision::Split), Grouping::One)];
    assert_eq!(inexact(ParametersLiteral { bootstraps, ..HEAD_EXACT }), (12, 4096, 2));
    let automorphisms = &[(Lookup, (12, 4, Precision::Split))];
    assert_eq!(inexact(ParametersLiteral { automorphisms, ..HEAD_EXACT }), (finer.0, 4096, 1));
    let automorphisms = &[(Lookup, (11, 5, Precision::Split))];
    assert!(ParametersLiteral { automorphisms, ..HEAD_EXACT }.compile().is_ok());
}

/// A ring may have several gadgets for automorphisms, and bootstrappings may lead to any ring.
#[test]
fn gadgets_and_rings_can_be_added() {
    let automorphisms = &[
        (Lookup, (8, 5, Precision::Split)),
        (Arithmetic, (2, 31, Precision::Split)),
        (Lookup, (5, 9, Precision::Split)),
    ];
    let bootstraps =
        &[(Lookup, (23, 1, Precision::Single), Grouping::One), (Arithmetic, (12, 3, Precision::Single), Grouping::One)];
    let set = ParametersLiteral { automorphisms, bootstraps, ..PACKED_HEAD }.compile().unwrap();
    assert_eq!((set.automorphism_gadgets(Lookup), set.automorphism_gadgets(Arithmetic)), (2, 1));
    assert_eq!(set.gadget(Edge::Automorphisms { ring: Lookup, gadget: 1 }).unwrap().base_log(), 5);
    assert_eq!(set.bootstraps()[1].ring, Arithmetic);
    assert_eq!(set.gadget(Edge::Bootstrapping { gadget: 1 }).unwrap(), set.bootstraps()[1].gadget);
    let missing = set.gadget(Edge::Automorphisms { ring: Arithmetic, gadget: 1 }).unwrap_err();
    assert_eq!(missing.edge, Edge::Automorphisms { ring: Arithmetic, gadget: 1 });
    assert_ne!(set.fingerprint(), PACKED_HEAD.compile().unwrap().fingerprint());
}

/// Whatever differs, the fingerprint does, but for the name.
#[test]
fn fingerprints_are_of_all_numbers() {
    let one: &[_] = &[(Lookup, (8, 7, Precision::Split))];
    let sets = [
        HEAD_EXACT,
        ParametersLiteral { bootstraps: &[(Lookup, (23, 1, Precision::Single), Grouping::One)], ..HEAD_EXACT },
        ParametersLiteral { bootstraps: &[(Lookup, (22, 1, Precision::Single), Grouping::One)], ..HEAD_EXACT },
        ParametersLiteral { bootstraps: &[(Lookup, (22, 1, Precision::Single), Grouping::Two)], ..HEAD_EXACT },
        ParametersLiteral { automorphisms: &[], ..HEAD_EXACT },
        ParametersLiteral { automorphisms: &[], external_products: one, ..HEAD_EXACT },
        ParametersLiteral { keyswitches: &[(Lookup, (3, 5, Precision::Single))], ..HEAD_EXACT },
        ParametersLiteral { relinearizations: &[], ..HEAD_EXACT },
        ParametersLiteral { lifts: &[(Lookup, Arithmetic, (8, 7, Precision::Split))], ..HEAD_EXACT },
        PACKED_HEAD,
        ParametersLiteral { bootstraps: &[(Arithmetic, (23, 1, Precision::Single), Grouping::One)], ..PACKED_HEAD },
        ParametersLiteral { bootstraps: &[(Lookup, (23, 1, Precision::Single), Grouping::One)], ..PACKED_HEAD },
    ];
    let print = |literal: &ParametersLiteral| literal.compile().unwrap().fingerprint();
    for (i, a) in sets.iter().enumerate() {
        sets[..i].iter().for_each(|b| assert_ne!(print(a), print(b), "{a:?} and {b:?}"));
        assert_eq!(print(a), print(&ParametersLiteral { name: "another", ..*a }));
    }
}

/// What is multiplied by turns in f64 is not exact.
#[test]
fn two_bits_in_a_step_are_for_single_precision() {
    let of = |precision| {
        let bootstraps: &[_] = match precision {
            Precision::Single => &[(Lookup, (11, 4, Precision::Single), Grouping::Two)],
            Precision::Split => &[(Lookup, (11, 4, Precision::Split), Grouping::Two)],
        };
        ParametersLiteral { bootstraps, ..HEAD_EXACT }.compile()
    };
    assert_eq!(of(Precision::Split), Err(ParameterError::SplitGroups));
    assert_eq!(of(Precision::Single).unwrap().bootstraps()[0].grouping, Grouping::Two);
}
