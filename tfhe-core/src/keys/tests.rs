//! Sizes of keys, and which there are.

use super::*;
use crate::derivation::ClientSeed;
use crate::fingerprint::Fields;
use crate::format::{self, Header, Kind};
use crate::key_graph::Node::{Arithmetic, Lookup, Small};
use crate::key_graph::{Edge, KeyLiteral, Node, ParametersLiteral, ShapeLiteral};
use crate::params::{Grouping, NoiseDistribution, Precision};
use crate::sets;

const QUIET: NoiseDistribution = NoiseDistribution::TUniform { bound_log: 3 };

const fn glwe(nodes: &'static [Node], k: usize, n: usize) -> KeyLiteral {
    KeyLiteral { nodes, shape: ShapeLiteral::Glwe(k, n), noise: QUIET }
}

/// A small set of every kind of edge, some of them twice.
const MANY: ParametersLiteral = ParametersLiteral {
    name: "toy_pair",
    keys: &[glwe(&[Small], 2, 16), glwe(&[Lookup], 1, 64), glwe(&[Arithmetic], 1, 128)],
    bootstraps: &[
        (Lookup, (23, 1, Precision::Single), Grouping::Two),
        (Arithmetic, (12, 3, Precision::Single), Grouping::One),
    ],
    automorphisms: &[
        (Lookup, (8, 5, Precision::Split)),
        (Arithmetic, (2, 31, Precision::Split)),
        (Lookup, (5, 9, Precision::Split)),
    ],
    ..sets::PACKED_HEAD
};

#[test]
fn sizes_of_keys_are_predicted() {
    let bootstraps =
        &[(Lookup, (8, 3, Precision::Single), Grouping::Two), (Lookup, (7, 4, Precision::Split), Grouping::One)];
    let toy = ParametersLiteral { bootstraps, ..sets::TOY }.compile().unwrap();
    let pair = MANY.compile().unwrap();
    let one = |needs: Needs| needs.keyswitch(Lookup).automorphisms(Lookup, 0, 0);
    let none = Needs::default;
    let needs = [
        (&toy, one(none()).bootstrapping(0).bootstrapping(1).relinearization(Lookup)),
        (&toy, one(none()).bootstrapping(1)),
        (&toy, none()),
        (&toy, Needs::everything(&toy)),
        (&pair, none().automorphisms(Arithmetic, 0, 5).lift(Lookup, Arithmetic)),
        (&pair, none().automorphisms(Lookup, 1, 3).keyswitch(Arithmetic)),
        (&pair, Needs::everything(&pair)),
    ];
    for (parameters, needs) in needs {
        let keys = ClientKeys::generate(parameters, &ClientSeed::from_number(1)).unwrap();
        let keys = keys.evaluation_keys(&needs).unwrap();
        let predicted = SeededEvaluationKeys::predicted_bytes(parameters, &needs);
        assert_eq!(predicted, Ok(keys.bytes()), "{needs:?}");
        let context = Fields::new("keys").fingerprint();
        let header = Header { kind: Kind::EVALUATION_KEYS, identity: *keys.identity(), context };
        let mut file = Vec::new();
        format::write(&mut file, &header, |encoder| encoder.evaluation_keys(&keys)).unwrap();
        assert_eq!(keys.bytes(), file.len(), "{needs:?}");
        if parameters.small().ring().is_some() {
            let predicted = EvaluationKeys::predicted_bytes(parameters, &needs);
            assert_eq!(predicted, Ok(keys.prepare().unwrap().bytes()), "{needs:?}");
        }
    }
}

/// What was asked for is there, by either name of its ring, and nothing else is.
#[test]
fn keys_are_those_that_were_asked_for() {
    let client = ClientKeys::generate(&MANY.compile().unwrap(), &ClientSeed::from_number(1)).unwrap();
    let all = client.evaluation_keys(&Needs::everything(client.parameters())).unwrap().prepare().unwrap();
    assert!(all.keyswitch(Lookup).is_ok() && all.keyswitch(Arithmetic).is_ok());
    assert!(all.automorphisms(Lookup, 0, 0).is_ok() && all.automorphisms(Lookup, 1, 0).is_ok());
    assert!(all.lift(Lookup, Arithmetic).is_ok() && all.relinearization(Arithmetic).is_ok());
    assert_eq!(all.bootstrapping_key(0).unwrap().shape(), client.parameters().lookup().shape);
    assert_eq!(all.bootstrapping_key(1).unwrap().shape(), client.parameters().arithmetic().shape);
    assert_eq!(all.keyswitch(Small).unwrap_err(), MissingKey::Edge(Edge::Keyswitch { from: Small }));
    assert!(all.relinearization(Lookup).is_err() && all.lift(Arithmetic, Lookup).is_err());
    // Gadget 1 is for the other ring.
    assert!(all.refresh(0).is_ok());
    assert!(matches!(all.refresh(1), Err(NoRefresh::Set(_))));

    let few = Needs::default().automorphisms(Arithmetic, 0, 4).automorphisms(Arithmetic, 0, 3).bootstrapping(1);
    let few = client.evaluation_keys(&few).unwrap().prepare().unwrap();
    assert!(few.automorphisms(Arithmetic, 0, 3).is_ok() && few.automorphisms(Arithmetic, 0, 6).is_ok());
    let edge = Edge::Automorphisms { ring: Arithmetic, gadget: 0 };
    let missing = few.automorphisms(Arithmetic, 0, 2).unwrap_err();
    assert_eq!(missing, MissingKey::Automorphisms { edge, made: 3, asked: 2 });
    assert_eq!(few.bootstrapping_key(0).unwrap_err(), MissingKey::Edge(Edge::Bootstrapping { gadget: 0 }));
    assert!(few.bootstrapping_key(2).is_err() && few.automorphisms(Lookup, 0, 3).is_err());
    assert!(matches!(few.refresh(0), Err(NoRefresh::Missing(_))));

    let refresh = client.evaluation_keys(&Needs::default().refresh(0)).unwrap().prepare().unwrap();
    assert!(refresh.refresh(0).is_ok() && refresh.keyswitch(Lookup).is_err());

    let one_ring = ClientKeys::generate(&sets::TOY.compile().unwrap(), &ClientSeed::from_number(1)).unwrap();
    let needs = Needs::default().automorphisms(Lookup, 0, 5).automorphisms(Arithmetic, 0, 2).keyswitch(Arithmetic);
    let keys = one_ring.evaluation_keys(&needs).unwrap().prepare().unwrap();
    assert!(keys.automorphisms(Lookup, 0, 2).is_ok() && keys.automorphisms(Arithmetic, 0, 2).is_ok());
    assert!(keys.keyswitch(Lookup).is_ok());
    // Its small key has no ring.
    assert!(matches!(keys.refresh(0), Err(NoRefresh::Set(_))));
}

#[test]
fn what_a_set_has_not_cannot_be_made() {
    let client = ClientKeys::generate(&sets::TOY.compile().unwrap(), &ClientSeed::from_number(1)).unwrap();
    let none = Needs::default;
    for needs in [
        none().keyswitch(Small),
        none().lift(Lookup, Arithmetic),
        none().automorphisms(Lookup, 1, 0),
        none().automorphisms(Lookup, 0, 6),
        none().automorphisms(Small, 0, 0),
        none().relinearization(Small),
        none().bootstrapping(1),
    ] {
        let missing = client.evaluation_keys(&needs).unwrap_err();
        assert!(missing.to_string().starts_with("parameter set toy has no "), "{missing}");
        assert_eq!(SeededEvaluationKeys::predicted_bytes(client.parameters(), &needs), Err(missing));
    }
}
