//! Operations on ciphertexts with the keys of each set: key switches, traces, packing and splitting, products; encryption and decryption.

use kernel_benches::work::Work;
use kernel_benches::{Benches, inputs, keys};
use tfhe_core::automorphism::AutomorphismKeys;
use tfhe_core::glwe::{FourierGlwe, GlweCiphertext};
use tfhe_core::integer_product::FourierIntegers;
use tfhe_core::key_graph::{Edge, Node, Parameters};
use tfhe_core::keys::{ClientKeys, EvaluationKeys};
use tfhe_core::params::Gadget;
use tfhe_core::random::SecretSeed;

use crate::{name, named_sets, random};

/// Ciphertexts that are switched together.
const SWITCHED: usize = 32;

/// Ciphertexts that are packed into one, and parts that one is taken apart into.
const PARTS: usize = 16;

pub(crate) fn time(benches: &mut Benches) {
    for literal in named_sets() {
        let (client, server) = keys(literal);
        let set = server.parameters();
        for (edge, gadget) in set.edges() {
            let size = |ring: Node| format!("{}_{}", set.name(), ring.name());
            match edge {
                Edge::Keyswitch { from } => lwe_keyswitch(benches, &client, &server, from, gadget),
                Edge::Automorphisms { ring, gadget: index } => {
                    let keys = server.automorphisms(ring, index, 0).unwrap();
                    automorphisms(benches, set, keys, (ring, gadget));
                }
                Edge::Relinearization { ring } => {
                    let key = server.relinearization(ring).unwrap();
                    let shape = set.key(ring).ring().unwrap().shape;
                    let factor = key.factor(&GlweCiphertext::trivial(shape, &random(shape.polynomial_size.get())));
                    benches.group(format!("tensor_product_{}", name(gadget))).kernel(size(ring), Work::ONE, |b| {
                        b.iter(|| key.multiply(&factor, &factor, 10));
                    });
                }
                Edge::Lift { from, to } => {
                    let key = server.lift(from, to).unwrap();
                    let input =
                        GlweCiphertext::trivial(key.input_shape(), &random(key.input_shape().polynomial_size.get()));
                    let scratch = &mut key.scratch();
                    benches.group(format!("lift_{}", name(gadget))).kernel(size(to), Work::ONE, |b| {
                        b.iter(|| key.keyswitch(&input, scratch));
                    });
                }
                Edge::ExternalProduct { ring } => {
                    let (key, shape) = (server.relinearization(ring).unwrap(), set.key(ring).ring().unwrap().shape);
                    let input = GlweCiphertext::trivial(shape, &random(shape.polynomial_size.get()));
                    benches.group(format!("ggsw_by_relinearization_{}", name(gadget))).kernel(
                        size(ring),
                        Work::ONE,
                        |b| {
                            b.iter(|| key.ggsw(&input, gadget));
                        },
                    );
                }
                // They have benches of their own.
                Edge::Bootstrapping { .. } => {}
            }
        }
        encryption(benches, &client);
    }
}

fn lwe_keyswitch(benches: &mut Benches, client: &ClientKeys, server: &EvaluationKeys, from: Node, gadget: Gadget) {
    let (key, set) = (server.keyswitch(from).unwrap(), server.parameters().name());
    for count in [1, SWITCHED] {
        let inputs = inputs(client, from, count);
        let (mut group, size) =
            (benches.group(format!("lwe_keyswitch_{}", name(gadget))), format!("{set}_{}_of_{count}", from.name()));
        group.kernel(size, Work::ONE.times(count).shared(), |b| b.iter(|| key.keyswitch(&inputs)));
    }
}

fn automorphisms(benches: &mut Benches, set: &Parameters, keys: &AutomorphismKeys, (ring, gadget): (Node, Gadget)) {
    let shape = set.key(ring).ring().unwrap().shape;
    let (log_n, size) = (shape.polynomial_size.log2(), format!("{}_{}", set.name(), ring.name()));
    let ciphertext = GlweCiphertext::trivial(shape, &random(shape.polynomial_size.get()));
    let mut time = |what: &str, work: Work, call: &mut dyn FnMut()| {
        benches.group(format!("{what}_{}", name(gadget))).kernel(&size, work, |b| b.iter(&mut *call));
    };
    time("trace", Work::ONE, &mut || drop(keys.trace(&ciphertext, 1..=log_n)));
    let inputs = vec![Some(ciphertext.clone()); PARTS];
    let parts = Work::ONE.times(PARTS).shared();
    time("pack_of_16", parts, &mut || drop(keys.pack(inputs.clone())));
    time("split_cosets_of_16", parts, &mut || drop(keys.split_cosets(&ciphertext, log_n - PARTS.ilog2(), PARTS)));
    time("expand_of_16", parts, &mut || drop(keys.expand(&ciphertext, log_n - PARTS.ilog2(), PARTS)));
}

fn encryption(benches: &mut Benches, client: &ClientKeys) {
    let (set, seed) = (client.parameters(), SecretSeed::from_number(2));
    let (mut masks, mut noises) = seed.experiment(1).into_streams();
    let seed = &mut seed.experiment(0);
    for node in [Node::Lookup, Node::Arithmetic] {
        // A set with one ring has it by both names.
        let ring = set.key(node);
        if ring.node() != node {
            continue;
        }
        let (shape, noise, size) =
            (ring.ring().unwrap().shape, ring.noise(), format!("{}_{}", set.name(), node.name()));
        let lwe = client.lwe_key(node);
        benches.group("lwe_encrypt").kernel(&size, Work::ONE, |b| {
            b.iter(|| lwe.encrypt(1 << 60, noise, &mut masks, &mut noises));
        });
        let sample = inputs(client, node, 1).remove(0);
        benches.group("lwe_decrypt").kernel(&size, Work::ONE, |b| b.iter(|| lwe.phase(&sample)));
        let (key, fft, plaintext) = (client.glwe_key(node), client.fft(node), vec![0; shape.polynomial_size.get()]);
        benches.group("glwe_encrypt").kernel(&size, Work::ONE, |b| {
            b.iter(|| key.encrypt(fft, &plaintext, noise, seed));
        });
        let encrypted = key.encrypt(fft, &plaintext, noise, seed).expand();
        benches.group("glwe_decrypt").kernel(&size, Work::ONE, |b| b.iter(|| key.phase(fft, &encrypted)));
        let scratch = &mut fft.scratch();
        let weights: Vec<i32> = (0..plaintext.len() as i32).map(|j| j % 63 - 31).collect();
        let weights = FourierIntegers::new(fft, &weights, scratch);
        let transformed = FourierGlwe::new(fft, &encrypted, scratch);
        benches.group("plaintext_product").kernel(&size, Work::ONE, |b| {
            b.iter(|| {
                let mut sum = FourierGlwe::zero(fft, shape);
                sum.add_product(fft, &transformed, &weights);
                sum.inverse(fft, scratch)
            });
        });
    }
}
