//! Measured against predicted noise, both ways, at the real parameters. `--nocapture` prints the table.

use integration_tests::{Parties, assert_variance, errors};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::{Edge, Node, ParametersLiteral};
use tfhe_core::keys::{ClientKeys, Needs};
use tfhe_core::noise;
use tfhe_core::params::{GlweDimension, GlweShape};
use tfhe_core::polynomial::schoolbook_add;
use tfhe_core::programmable_bootstrap::table_accumulator;
use tfhe_core::random::SecretSeed;
use tfhe_core::sets::{
    COARSE, FINE, HEAD_EXACT, HEAD_EXACT_NARROW, HEAD_EXACT_WIDE, MESSAGE_2_CARRY_2, MESSAGE_2_CARRY_2_PAIRS,
    PACKED_HEAD, PRECISE,
};

const SAMPLES: u64 = 512;
/// Four standard errors of the variance of 512 samples: 4·sqrt(2/512).
const TOLERANCE: f64 = 0.25;

fn key_switch_and_bootstrap(literal: ParametersLiteral, gadgets: &[usize]) {
    let mut parties = Parties::new(literal, gadgets, false);
    let parameters = parties.parameters().clone();
    let shape = parameters.lookup().shape;
    let p = 4;
    let inputs = parties.encrypt_indices(p, (0..SAMPLES).map(|i| i % 16));
    let before = parties.phases(&inputs);
    let switched = parties.keyswitch(&inputs);
    let after: Vec<u64> = switched.iter().map(|c| parties.client.lwe_key(Node::Small).phase(c)).collect();
    let predicted = noise::lwe_keyswitch(
        parameters.gadget(Edge::Keyswitch { from: Node::Lookup }).unwrap(),
        shape.extracted_lwe_dimension(),
        parameters.small().noise().variance(),
    );
    assert_variance(&format!("{}: LWE key switch", literal.name), &errors(&after, before), predicted, TOLERANCE);

    let values: Vec<u64> = (0..16_u64).map(|m| (m * 7 % 16) << 59).collect();
    let accumulator = table_accumulator(shape, &values);
    for &gadget in gadgets {
        let outputs =
            parties.bootstrapping_key(gadget).programmable_bootstrap(&switched, &vec![&accumulator; switched.len()]);
        let expected = (0..SAMPLES).map(|i| values[(i % 16) as usize]);
        let predicted = noise::blind_rotation(
            parameters.bootstraps()[gadget].gadget.on(parties.fft().transforms()),
            parameters.bootstraps()[gadget].grouping,
            shape,
            parameters.small().lwe_dimension(),
            parameters.lookup().noise.variance(),
        );
        let what = format!("{}: PBS {:?}", literal.name, literal.bootstraps[gadget].1);
        assert_variance(&what, &errors(&parties.phases(&outputs), expected), predicted, TOLERANCE);
    }
}

#[test]
fn key_switch_and_bootstrap_of_2_2() {
    key_switch_and_bootstrap(MESSAGE_2_CARRY_2, &[0]);
    key_switch_and_bootstrap(MESSAGE_2_CARRY_2_PAIRS, &[0]);
}

#[test]
fn key_switch_and_bootstrap_of_the_head() {
    key_switch_and_bootstrap(HEAD_EXACT, &[COARSE, FINE, PRECISE]);
}

#[test]
fn key_switch_and_bootstrap_of_the_narrow_head() {
    key_switch_and_bootstrap(HEAD_EXACT_NARROW, &[COARSE, FINE, PRECISE]);
}

/// `.ci/run` runs what is in here, with or without what else is ignored.
mod long {
    use super::*;

    #[test]
    #[ignore = "long: half a minute"]
    fn key_switch_and_bootstrap_of_the_wide_head() {
        key_switch_and_bootstrap(HEAD_EXACT_WIDE, &[PRECISE]);
    }
}

/// Packing 16 ciphertexts: the errors at the packed coefficients, over 32 packings.
#[test]
fn packing_of_the_head() {
    for (literal, index) in [(HEAD_EXACT_NARROW, 0), (HEAD_EXACT_NARROW, 1), (HEAD_EXACT, 0), (HEAD_EXACT_WIDE, 0)] {
        let mut parties = Parties::new(literal, &[], false);
        let parameters = parties.parameters().clone();
        let shape = parameters.lookup().shape;
        let gadget = parameters
            .gadget(Edge::Automorphisms { ring: Node::Lookup, gadget: index })
            .unwrap()
            .on(parties.fft().transforms());
        let one = noise::glwe_keyswitch(gadget, shape, parameters.lookup().noise.variance());
        let mut all = Vec::new();
        for round in 0..32_u64 {
            let inputs = parties.encrypt((0..16).map(|i| (round * 16 + i) << 50));
            let before = parties.phases(&inputs);
            let embedded = inputs.iter().map(|input| Some(GlweCiphertext::embed(shape, input))).collect();
            let packed = parties.automorphisms(index).pack(embedded);
            let phase = parties.client.glwe_key(Node::Lookup).phase(parties.client.fft(Node::Lookup), &packed);
            let spacing = shape.polynomial_size.get() / 16;
            let places: Vec<u64> = (0..16).map(|i| phase[i * spacing]).collect();
            all.extend(errors(&places, before));
        }
        let predicted = noise::trace(one, shape.polynomial_size.log2());
        assert_variance(&format!("{}: packing (trace), gadget {index}", literal.name), &all, predicted, TOLERANCE);
    }
}

/// Products of ciphertexts with fresh noise on all coefficients, at the scale of the 4-bit head's scores.
#[test]
fn tensor_product_of_the_head() {
    let parties = Parties::new(HEAD_EXACT, &[], true);
    let (shape, noise) = (parties.shape(), parties.parameters().lookup().noise);
    let n = shape.polynomial_size.get();
    let log_t = 28;
    let gadget = parties
        .parameters()
        .gadget(Edge::Relinearization { ring: Node::Lookup })
        .unwrap()
        .on(parties.fft().transforms());
    let relinearization = noise::relinearization(gadget, shape, noise.variance());
    let key = parties.relinearization();
    let mut all = Vec::new();
    for round in 0..40_u64 {
        let sparse = |salt: u64| {
            let mut message = vec![0_i64; n];
            (0..64).for_each(|i| message[((i * 61 + salt * 17) as usize) % n] = ((i + salt) % 15) as i64 - 7);
            message
        };
        let encode = |m: &[i64]| m.iter().map(|&x| (x as u64) << (64 - log_t)).collect::<Vec<u64>>();
        let (left, right) = (sparse(2 * round), sparse(2 * round + 1));
        let seed = &mut SecretSeed::from_number(77).experiment(round);
        let mut encrypt = |message: &[i64]| {
            let (fft, glwe) = (parties.client.fft(Node::Lookup), parties.client.glwe_key(Node::Lookup));
            glwe.encrypt(fft, &encode(message), noise, seed).expand()
        };
        let (c1, c2) = (encrypt(&left), encrypt(&right));
        let product = key.multiply(&key.factor(&c1), &key.factor(&c2), log_t);
        let mut expected = vec![0; n];
        schoolbook_add(&left, &encode(&right), &mut expected);
        all.extend(errors(
            &parties.client.glwe_key(Node::Lookup).phase(parties.client.fft(Node::Lookup), &product),
            expected,
        ));
    }
    let predicted =
        noise::tensor_product(shape, log_t, [noise::Spread::new(noise.variance(), n); 2]).variance() + relinearization;
    // 1.6·10^5 errors; the variance of those of one product varies by 3 % (4096 degrees of freedom for each factor).
    assert_variance("head_exact: tensor product, t = 2^28", &all, predicted, 0.05);
}

/// Key switches to the small key, from both rings.
#[test]
fn key_switches_of_the_packed_head() {
    let parameters = PACKED_HEAD.compile().unwrap();
    let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(2026)).unwrap();
    let needs = Needs::default().keyswitch(Node::Arithmetic).keyswitch(Node::Lookup);
    let keys = client.evaluation_keys(&needs).unwrap().prepare().unwrap();
    let small = parameters.small().ring().unwrap();
    let to = client.lwe_key(Node::Small);
    for (node, ring) in [(Node::Arithmetic, parameters.arithmetic()), (Node::Lookup, parameters.lookup())] {
        let (from, keyswitch) = (client.lwe_key(node), keys.keyswitch(node).unwrap());
        let (mut masks, mut noises) = SecretSeed::from_number(2026).experiment(0).into_streams();
        let inputs: Vec<_> = (0..SAMPLES).map(|i| from.encrypt(i << 50, ring.noise, &mut masks, &mut noises)).collect();
        let after: Vec<u64> = keyswitch.keyswitch(&inputs).iter().map(|output| to.phase(output)).collect();
        let size = small.shape.polynomial_size;
        let dimension = GlweDimension::new(ring.size().get() / size.get()).unwrap();
        let cut = GlweShape { dimension, polynomial_size: size };
        let gadget = parameters.gadget(Edge::Keyswitch { from: node }).unwrap();
        let predicted = noise::glwe_keyswitch_from(gadget, cut, small.shape, small.noise.variance());
        let before = inputs.iter().map(|input| from.phase(input));
        let what = format!("packed_head: key switch from the {} ring", node.name());
        assert_variance(&what, &errors(&after, before), predicted, TOLERANCE);
    }
}
