//! Sizes of what is sent, as `docs/formats.md` has them.

use std::collections::BTreeMap;

use gpt2_fhe::block::keys::needs;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fingerprint::Fields;
use tfhe_core::format::{self, Header, Kind};
use tfhe_core::key_graph::Edge;
use tfhe_core::key_graph::Node::Lookup;
use tfhe_core::keys::{Answer, ClientKeys, Needs};
use tfhe_core::sets;
use zeroize::Zeroizing;

/// Ciphertexts of a token of the embedded model.
const COUNT: usize = 5;

/// A request and an answer of a block's set, written; and the sizes of its evaluation keys, one kind after the other, against those of all.
#[test]
fn sizes_of_messages() {
    let parameters = sets::PACKED_BLOCK.compile().unwrap();
    let shape = parameters.arithmetic().shape;
    let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(1)).unwrap();
    let context = Fields::new("sizes").fingerprint();
    let plaintexts = vec![Zeroizing::new(vec![0; shape.polynomial_size.get()]); COUNT];
    let request = client.encrypt(&plaintexts, &context, 64).unwrap();
    let written = |kind, contents: &dyn Fn(&mut format::Encoder<'_>) -> std::io::Result<()>| {
        let mut output = Vec::new();
        format::write(&mut output, &Header { kind, identity: *client.identity(), context }, contents).unwrap();
        output.len() as u64
    };
    let bytes = written(Kind::REQUEST, &|encoder| encoder.request(&request));
    assert_eq!((bytes, request.bytes() as u64), (format::request_bytes(shape, COUNT, 64), bytes));
    println!("request: {bytes} bytes");
    for bits in [64, 32] {
        let unused = 64 - bits;
        let rounded = request.ciphertexts().iter().map(|ciphertext| {
            let mut expanded = ciphertext.expand();
            expanded.data_mut().iter_mut().for_each(|x| *x = *x >> unused << unused);
            expanded
        });
        let answer = Answer::new(request.label(), rounded.collect(), bits);
        let bytes = written(Kind::ANSWER, &|encoder| encoder.answer(&answer));
        assert_eq!(bytes, format::answer_bytes(shape, COUNT, (bits, usize::MAX)));
        println!("answer of {bits} bits: {bytes} bytes");
    }

    let of = |needs: &Needs| format::evaluation_key_bytes(&parameters, needs).unwrap();
    // An envelope, and a number of keys.
    let nothing = of(&Needs::default());
    assert_eq!(
        nothing,
        written(Kind::EVALUATION_KEYS, &|encoder| {
            encoder.evaluation_keys(&client.evaluation_keys(&Needs::default()).unwrap())
        })
    );
    // What a key has before its bodies.
    const BEFORE: u64 = 104;
    let mut kinds: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for (edge, _) in parameters.edges() {
        let Some((name, needs)) = of_block(edge) else { continue };
        let [keys, bodies] = kinds.entry(name).or_default();
        (*keys, *bodies) = (*keys + 1, *bodies + of(&needs) - nothing - BEFORE);
    }
    for (name, [keys, bodies]) in &kinds {
        println!("bodies of {name}, {keys}: {bodies} bytes");
    }
    let [keys, bodies] = [0, 1].map(|i| kinds.values().map(|kind| kind[i]).sum::<u64>());
    assert_eq!(of(&needs()), nothing + keys * BEFORE + bodies);
    println!("evaluation keys, {keys}: {} bytes", of(&needs()));
}

/// The key of an edge that blocks need, and what it is called.
fn of_block(edge: Edge) -> Option<(&'static str, Needs)> {
    let none = Needs::default();
    match edge {
        Edge::Keyswitch { from } => Some(("key switches", none.keyswitch(from))),
        Edge::Lift { from, to } => Some(("lift", none.lift(from, to))),
        Edge::Automorphisms { ring: Lookup, gadget } => Some(("automorphisms", none.automorphisms(Lookup, gadget, 0))),
        Edge::Relinearization { ring } => Some(("relinearization", none.relinearization(ring))),
        Edge::Bootstrapping { gadget } => Some(("bootstrapping", none.bootstrapping(gadget))),
        Edge::Automorphisms { .. } | Edge::ExternalProduct { .. } => None,
    }
}
