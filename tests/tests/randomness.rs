//! Attacks on randomness that is used twice, with public data only: ciphertexts, evaluation keys, the masks that seeds expand to.
//!
//! Each attack computes what its author would: with one seed for everything, and streams that are bound to nothing, it succeeds.
//! Secret keys are looked at only to say how well an attack did.

use std::collections::HashSet;

use gpt2_fhe::client::Client;
use gpt2_fhe::encoding::Encoding;
use gpt2_fhe::integer::encoding::IntegerEncoding;
use gpt2_fhe::packed::encoding::PackedEncoding;
use gpt2_fhe::packed::layout::{Layout, Sizes};
use nn::matrix::Matrix;
use nn::packed::Span;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::glwe::SeededGlweCiphertext;
use tfhe_core::key_graph::{Node, Parameters};
use tfhe_core::keys::{Answer, ClientKeys, Needs};
use tfhe_core::lwe::{LweCiphertext, LweSecretKey};
use tfhe_core::random::SecretSeed;
use tfhe_core::sets::{HEAD_EXACT, HEAD_EXACT_WIDE, PACKED_HEAD, PRECISE};

/// GPT-2's, for six tokens: 4,608 integers.
const TOKENS: usize = 6;
const EMBEDDING: usize = 768;
/// Of the integers' scale.
const BITS: u32 = 14;

fn input(salt: usize) -> Matrix<i32> {
    Matrix::from_fn(TOKENS, EMBEDDING, |i, j| ((i * 31 + j * 17 + salt * 101) % 31) as i32 - 15)
}

fn sets() -> [Parameters; 2] {
    [HEAD_EXACT, HEAD_EXACT_WIDE].map(|literal| literal.compile().unwrap())
}

fn exact_client(parameters: &Parameters, seed: &ClientSeed) -> Client {
    Client::new(IntegerEncoding::CIRCUIT, parameters, seed).unwrap()
}

/// Of the exact circuit, for answers of one head.
const EXACT: IntegerEncoding =
    IntegerEncoding { size: 4096, tokens: TOKENS, inputs: EMBEDDING, input_bits: BITS, outputs: 64, output_bits: BITS };

/// The ciphertexts of a request.
fn request(client: &Client, input: &Matrix<i32>, encoding: &impl Encoding) -> Vec<SeededGlweCiphertext> {
    client.encrypt(input, encoding).unwrap().ciphertexts().to_vec()
}

fn words(ciphertexts: &[SeededGlweCiphertext]) -> HashSet<u64> {
    ciphertexts.iter().flat_map(|ciphertext| ciphertext.expand().data().to_vec()).collect()
}

/// That no word of one is in the other: of uniform ones, with about 25,000 in each, a pair is equal with a chance of 2^-35.
fn assert_unrelated(what: &str, one: &[SeededGlweCiphertext], other: &[SeededGlweCiphertext]) {
    let common = words(one).intersection(&words(other)).count();
    assert_eq!(common, 0, "{what}: words in common");
}

/// How many of the differences of two inputs are the rounded differences of the bodies of their ciphertexts.
fn differences_read(
    (one, of_one): (&Matrix<i32>, &[SeededGlweCiphertext]),
    (other, of_other): (&Matrix<i32>, &[SeededGlweCiphertext]),
) -> usize {
    let mut read = 0;
    for token in 0..TOKENS {
        let (a, b) = (of_one[token].expand(), of_other[token].expand());
        for j in 0..EMBEDDING {
            let difference = a.body()[j].wrapping_sub(b.body()[j]);
            let rounded = (difference.wrapping_add(1 << (62 - BITS)) as i64) >> (63 - BITS);
            read += usize::from(rounded == i64::from(one[(token, j)] - other[(token, j)]));
        }
    }
    read
}

/// Two exact candidates of an evaluation, or two runs, with one seed. Where masks and noise are the same, a difference of
/// bodies is a difference of plaintexts.
#[test]
fn differences_of_ciphertexts_are_not_those_of_plaintexts() {
    let (parameters, inputs) = (&sets()[0], [input(1), input(2)]);
    let seed = ClientSeed::from_number(1);
    // With the same keys, with the keys of two candidates, and from a seed that was stored.
    let stored = ClientSeed::stored(SecretSeed::from_number(1));
    let candidates = [seed.bound_to("candidate", 0), seed.bound_to("candidate", 1)];
    for seeds in [[seed.clone(), seed], candidates, [stored.clone(), stored]] {
        let clients = seeds.map(|seed| exact_client(parameters, &seed));
        let requests = [0, 1].map(|i| request(&clients[i], &inputs[i], &EXACT));
        let read = differences_read((&inputs[0], &requests[0]), (&inputs[1], &requests[1]));
        // 4,608 guesses among 2^15 values.
        assert!(read <= 4, "{read} of {} differences are read off", TOKENS * EMBEDDING);
        assert_unrelated("two requests", &requests[0], &requests[1]);
    }
}

/// The exact circuit beside the packed one with one seed, on one input. Where masks and noise are the same, a difference of bodies
/// is A times the difference of the secret keys.
#[test]
fn exact_and_packed_requests_share_no_masks() {
    let parameters = PACKED_HEAD.compile().unwrap();
    let sizes = Sizes { embedding: EMBEDDING, head: 64, output: 64, heads: 1 };
    let layout = Layout::new(&parameters, sizes, Span::all(TOKENS)).unwrap();
    let encoding = PackedEncoding { layout, log_input: BITS, output_turns: 0.001 };
    for seed in [ClientSeed::from_number(1), ClientSeed::stored(SecretSeed::from_number(1))] {
        let packed = Client::new(PackedEncoding::CIRCUIT, &parameters, &seed).unwrap();
        let exact = request(&exact_client(&sets()[0], &seed), &input(1), &EXACT);
        assert_unrelated("exact and packed", &exact, &request(&packed, &input(1), &encoding));
    }
}

/// Bit i of a key.
fn bit(key: &LweSecretKey, i: usize) -> u64 {
    let mut data = vec![0; key.dimension().get() + 1];
    data[i] = 1;
    key.phase(&LweCiphertext::from_data(data)).wrapping_neg()
}

fn agreements(guessed: &[u64], key: &LweSecretKey) -> usize {
    guessed.iter().enumerate().filter(|&(i, &guess)| guess == bit(key, i)).count()
}

/// `head_exact` and `head_exact_wide` with one seed. The first row of a GGSW encryption of the bit m encrypts −m·S·q/β, with
/// β = 2^11 and 2^10. Where keys, masks and noise are the same, the difference of the two is m·S·2^53: all bits of both keys.
#[test]
fn two_sets_do_not_give_each_other_away() {
    let seed = ClientSeed::from_number(1);
    let clients = sets().map(|parameters| ClientKeys::generate(&parameters, &seed).unwrap());
    let needs = Needs::default().keyswitch(Node::Lookup).bootstrapping(PRECISE);
    let keys = clients.each_ref().map(|client| client.evaluation_keys(&needs).unwrap());
    let [exact, wide] = keys.each_ref().map(|keys| keys.bootstrapping_key(PRECISE).unwrap().to_raw());
    let n = clients[0].parameters().lookup().size().get();
    let (mut small, mut large, mut masks_in_common) = (Vec::new(), None, 0);
    for (a, b) in exact.zip(wide) {
        let (mask, body) = (0..n, n..2 * n);
        masks_in_common += usize::from(a[mask.clone()] == b[mask]);
        // Nearer to 2^53 than to 0.
        let near = |(&x, &y): (&u64, &u64)| u64::from(x.wrapping_sub(y).wrapping_sub(1 << 52) < 1 << 63);
        let difference: Vec<u64> = a[body.clone()].iter().zip(&b[body]).map(near).collect();
        let ones = difference.iter().sum::<u64>() as usize;
        small.push(u64::from(ones > n / 4));
        if ones > n / 4 && large.is_none() {
            large = Some(difference);
        }
    }
    assert_eq!(masks_in_common, 0);
    let large = large.expect("a bit that is guessed to be one");
    for client in &clients {
        for (guessed, key) in [(&small, client.lwe_key(Node::Small)), (&large, client.lwe_key(Node::Lookup))] {
            let (right, half) = (agreements(guessed, &key), guessed.len() / 2);
            // Guessing: within five standard deviations of half the bits.
            let allowed = 5.0 * (guessed.len() as f64).sqrt() / 2.0;
            assert!(right.abs_diff(half) as f64 <= allowed, "{right} of {} bits are right", guessed.len());
        }
    }
    // Nor have the two keys anything in common themselves.
    let keyswitch = |i: usize| keys[i].lwe_keyswitch(Node::Lookup).unwrap().to_raw();
    let [one, other] = clients.each_ref().map(|client| client.lwe_key(Node::Lookup));
    let equal = (0..n).filter(|&i| bit(&one, i) == bit(&other, i)).count();
    assert!(equal.abs_diff(n / 2) as f64 <= 5.0 * (n as f64).sqrt() / 2.0, "{equal} of {n} bits are equal");
    assert!(keyswitch(0)[..902] != keyswitch(1)[..902], "masks of the key switch");
}

/// A client that is started again from its stored seed has the same keys and other randomness, also on the same input.
#[test]
fn a_second_client_of_a_stored_seed_repeats_no_masks() {
    let (parameters, input) = (&sets()[0], input(1));
    let clients = [(); 2].map(|()| exact_client(parameters, &ClientSeed::stored(SecretSeed::from_number(1))));
    let requests = clients.each_ref().map(|client| request(client, &input, &EXACT));
    assert_unrelated("the same input", &requests[0], &requests[1]);
    let again = request(&clients[0], &input, &EXACT);
    assert_unrelated("the same input of the same client", &requests[0], &again);
    // Either decrypts what the other has encrypted, a ciphertext of 4,096 integers here.
    let (input, encoding) = (input.row_range(0..1), IntegerEncoding { tokens: 1, outputs: 4096, ..EXACT });
    let request = clients[0].encrypt(&input, &encoding).unwrap();
    let answer = Answer::new(request.label(), vec![request.ciphertexts()[0].expand()], 64);
    let decrypted = clients[1].decrypt(&answer, &encoding, request.label()).unwrap();
    assert!((0..EMBEDDING).all(|j| decrypted[(0, j)] == f64::from(input[(0, j)])));
}

/// With `--seed`: equal requests are equal, and whatever differs makes them unrelated.
#[test]
fn reproducible_requests_are_equal_or_unrelated() {
    let (parameters, input) = (&sets()[0], input(1));
    let seed = ClientSeed::from_number(1);
    let (client, second) = (exact_client(parameters, &seed), exact_client(parameters, &seed));
    let first = request(&client, &input, &EXACT);
    assert_eq!(request(&client, &input, &EXACT), first);
    assert_eq!(request(&second, &input, &EXACT), first);
    let mut changed = input.clone();
    changed[(TOKENS - 1, EMBEDDING - 1)] += 1;
    let doubled = Matrix::from_fn(TOKENS, EMBEDDING, |i, j| 2 * input[(i, j)]);
    assert_unrelated("one integer changed", &first, &request(&client, &changed, &EXACT));
    let finer = IntegerEncoding { input_bits: BITS + 1, ..EXACT };
    assert_unrelated("another scale", &first, &request(&client, &input, &finer));
    // The same torus elements.
    assert_unrelated("another scale and integers", &first, &request(&client, &doubled, &finer));
    for other in [IntegerEncoding { outputs: 768, ..EXACT }, IntegerEncoding { output_bits: BITS + 1, ..EXACT }] {
        assert_unrelated("another answer", &first, &request(&client, &input, &other));
    }
    let other = exact_client(parameters, &seed.bound_to("layer", 1));
    assert_unrelated("another circuit", &first, &request(&other, &input, &EXACT));
    let other = exact_client(parameters, &ClientSeed::from_number(2));
    assert_unrelated("another seed", &first, &request(&other, &input, &EXACT));
}

/// The same of the packed circuit, where the layout says what a plaintext means.
#[test]
fn reproducible_packed_requests_are_equal_or_unrelated() {
    let parameters = PACKED_HEAD.compile().unwrap();
    let sizes = Sizes { embedding: EMBEDDING, head: 64, output: 64, heads: 1 };
    let usual = PackedEncoding {
        layout: Layout::new(&parameters, sizes, Span::all(TOKENS)).unwrap(),
        log_input: BITS,
        output_turns: 0.001,
    };
    let laid_out = |sizes, span| PackedEncoding { layout: Layout::new(&parameters, sizes, span).unwrap(), ..usual };
    let client = Client::new(PackedEncoding::CIRCUIT, &parameters, &ClientSeed::from_number(1)).unwrap();
    let request = |input: &Matrix<i32>, encoding: &PackedEncoding| request(&client, input, encoding);
    let first = request(&input(1), &usual);
    assert_eq!(request(&input(1), &usual), first);
    let unrelated = |what, other: &[SeededGlweCiphertext]| assert_unrelated(what, &first, other);
    unrelated("another input", &request(&input(2), &usual));
    unrelated("other rows", &request(&input(1), &laid_out(sizes, Span::new(TOKENS - 1, TOKENS))));
    unrelated("more heads", &request(&input(1), &laid_out(Sizes { heads: 2, ..sizes }, Span::all(TOKENS))));
    unrelated("another scale of outputs", &request(&input(1), &PackedEncoding { output_turns: 0.002, ..usual }));
    unrelated("another scale", &request(&input(1), &PackedEncoding { log_input: BITS + 1, ..usual }));
}

/// Clients of one seed have the same evaluation keys for one circuit, and nothing in common for two.
#[test]
fn evaluation_keys_belong_to_a_circuit() {
    let parameters = tfhe_core::sets::TOY.compile().unwrap();
    let needs = Needs::everything(&parameters);
    let keys = |seed: ClientSeed| ClientKeys::generate(&parameters, &seed).unwrap().evaluation_keys(&needs).unwrap();
    let seed = ClientSeed::stored(SecretSeed::from_number(1));
    assert!(keys(seed.clone()) == keys(ClientSeed::from_number(1)), "a seed gives the same keys each time");
    let all = [seed.clone(), seed.bound_to("layer", 0), seed.bound_to("layer", 1), seed.bound_to("head", 0)].map(keys);
    let words = |i: usize| -> HashSet<u64> {
        let bootstrapping = all[i].bootstrapping_key(0).unwrap().to_raw().flatten();
        bootstrapping.chain(all[i].lwe_keyswitch(Node::Lookup).unwrap().to_raw()).collect()
    };
    for i in 0..all.len() {
        assert!((0..i).all(|j| words(i).is_disjoint(&words(j))), "circuit {i}");
    }
}
