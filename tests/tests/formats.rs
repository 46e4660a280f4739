//! Sizes of what is sent, as `docs/formats.md` has them.

use std::collections::BTreeMap;

use gpt2_fhe::block::agreement::{self, BlockAgreement, BlockRequest, BlockSizes, keys_file};
use gpt2_fhe::block::encoding::BlockEncoding;
use gpt2_fhe::block::keys::needs;
use gpt2_fhe::client::Client;
use gpt2_fhe::encoding::Encoding;
use nn::matrix::Matrix;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fingerprint::Fields;
use tfhe_core::format::{self, Encoder, Header};
use tfhe_core::key_graph::Edge;
use tfhe_core::key_graph::Node::Lookup;
use tfhe_core::keys::Needs;

/// What writes the contents of a file.
type Contents<'a> = &'a dyn Fn(&mut Encoder<'_>) -> std::io::Result<()>;

/// Requests and answers of blocks, written: the embedded model's, and those of GPT-2's shape. And the sizes of evaluation keys, one kind after
/// the other, against those of all.
#[test]
fn sizes_of_messages() {
    let parameters = agreement::parameters();
    let client = Client::new(BlockEncoding::CIRCUIT, &parameters, &ClientSeed::from_number(1)).unwrap();
    let written = |(header, contents): (Header, Contents<'_>)| {
        let mut output = Vec::new();
        format::write(&mut output, &header, contents).unwrap();
        output.len()
    };
    let program = Fields::new("a program").fingerprint();
    for (model, embedding, tokens, last) in [
        ("embedded model", 128, 1, None),
        ("embedded model", 128, 8, None),
        ("GPT-2's shape", 768, 8, None),
        ("embedded model", 128, 8, Some(("last state", 129))),
        ("GPT-2's shape", 768, 8, Some(("last state", 769))),
        ("embedded model", 128, 8, Some(("logits", 1024))),
    ] {
        let sizes = BlockSizes { head: 64, embedding, last: last.map(|(_, size)| size), max_tokens: 64 };
        let (agreement, shape) = (BlockAgreement::new(sizes).unwrap(), parameters.arithmetic().shape);
        let encoding = agreement.encoding(tokens);
        let request = client.encrypt(&Matrix::from_fn(tokens, encoding.sent_channels(), |_, _| 1), &encoding).unwrap();
        let ciphertexts = (0..encoding.answer_len()).map(|_| request.ciphertexts()[0].expand()).collect();
        let answer = encoding.answer(request.label(), ciphertexts);
        assert_eq!([request.bytes(), answer.bytes()], [encoding.request_bytes(shape), encoding.answer_bytes(shape)]);
        let request = BlockRequest { earlier: 0, tokens, request };
        let (header, contents) = BlockAgreement::request_file(&request, &program);
        let sent = written((header, &contents));
        // With the numbers of earlier and new tokens.
        assert_eq!(sent, request.request.bytes() + 16);
        let (header, contents) = BlockAgreement::answer_file(&answer, &program);
        let received = written((header, &contents));
        assert_eq!(received, answer.bytes());
        match last {
            None => {
                println!("request, {model}, {tokens}: {sent} bytes");
                println!("answer, {model}, {tokens}: {received} bytes");
            }
            Some((what, _)) => println!("answer, {model}, {what}: {received} bytes"),
        }
    }

    let of = |needs: &Needs| format::evaluation_key_bytes(&parameters, needs).unwrap();
    // An envelope, and a number of keys.
    let (nothing, none) = (of(&Needs::default()), client.evaluation_keys(&Needs::default()).unwrap());
    let (header, contents) = keys_file(&none);
    assert_eq!(nothing, written((header, &contents)) as u64);
    // What a key has before its bodies.
    const BEFORE: u64 = 112;
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
        Edge::Automorphisms { ring, gadget } => {
            let name = if ring == Lookup {
                "automorphisms of the lookup ring"
            } else {
                "automorphisms of the arithmetic ring"
            };
            Some((name, none.automorphisms(ring, gadget, 0)))
        }
        Edge::Relinearization { ring } => Some(("relinearization", none.relinearization(ring))),
        Edge::Bootstrapping { gadget } => Some(("bootstrapping", none.bootstrapping(gadget))),
        Edge::ExternalProduct { .. } => None,
    }
}
