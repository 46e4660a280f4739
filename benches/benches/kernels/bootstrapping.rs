//! Bootstrapping: one at a time and in batches, with and without the key switch, on one thread and on all; key generation.

use std::collections::BTreeSet;

use kernel_benches::work::Work;
use kernel_benches::{Benches, inputs, keys};
use tfhe_core::blind_rotation::BLIND_ROTATION_BLOCK;
use tfhe_core::bootstrapping_key::SeededBootstrappingKey;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::GlweSecretKey;
use tfhe_core::key_graph::{Bootstrap, Node, ParametersLiteral};
use tfhe_core::keys::{ClientKeys, Needs};
use tfhe_core::lwe::{LweCiphertext, LweSecretKey};
use tfhe_core::params::{Gadget, GlweShape, LweDimension, NoiseDistribution, Precision};
use tfhe_core::programmable_bootstrap::table_accumulator;
use tfhe_core::random::SecretSeed;

use crate::{name_of, named_sets};

/// Ciphertexts in a batch, on one thread and on all.
const BATCH: usize = 64;

pub(crate) fn time(benches: &mut Benches) {
    let mut seen = BTreeSet::new();
    for literal in named_sets() {
        let set = literal.compile().unwrap();
        // Only where there is a bootstrapping that another set does not have.
        let of_set = |gadget: usize| {
            (set.small().lwe_dimension().get(), set.lookup().size().get(), name_of(set.bootstraps()[gadget]))
        };
        let gadgets: Vec<usize> = (0..set.bootstraps().len()).filter(|&gadget| seen.insert(of_set(gadget))).collect();
        if !gadgets.is_empty() {
            bootstrap(benches, literal, &gadgets);
            key_generation(benches, literal, gadgets[0]);
        }
    }
    large_polynomials(benches);
}

/// Of a step for each bit of the key or each two, with a key that is read once for each block.
fn work(literal: ParametersLiteral, gadget: usize, key_bytes: usize, count: usize) -> Work {
    let set = literal.compile().unwrap();
    let (n, columns) = (set.lookup().size().get(), set.lookup().shape.dimension.get() + 1);
    let Bootstrap { gadget, grouping, .. } = set.bootstraps()[gadget];
    let step = Work::rotation_step(n, gadget, grouping, columns);
    step.repeated(grouping.steps(set.small().lwe_dimension()))
        .times(count)
        .reading(count.div_ceil(BLIND_ROTATION_BLOCK) * key_bytes)
}

fn bootstrap(benches: &mut Benches, literal: ParametersLiteral, gadgets: &[usize]) {
    let (client, server) = keys(literal);
    let shape = server.parameters().lookup().shape;
    let keyswitch = server.keyswitch(Node::Lookup).unwrap();
    let table = table_accumulator(shape, &(0..16_u64).map(|m| m << 59).collect::<Vec<_>>());
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for &gadget in gadgets {
        let key = server.bootstrapping_key(gadget).unwrap();
        let kind = name_of(server.parameters().bootstraps()[gadget]);
        for count in [1, 2 * BLIND_ROTATION_BLOCK] {
            let switched = keyswitch.keyswitch(&inputs(&client, Node::Lookup, count));
            let (tables, work) = (vec![&table; count], work(literal, gadget, key.bytes(), count));
            let size = format!("{}_of_{count}", literal.name);
            benches.group(format!("bootstrapping_{kind}")).slow().kernel(size, work, |b| {
                b.iter(|| one_thread.install(|| key.programmable_bootstrap(&switched, &tables)));
            });
        }
    }
    let (key, kind) =
        (server.bootstrapping_key(gadgets[0]).unwrap(), name_of(server.parameters().bootstraps()[gadgets[0]]));
    let batch = inputs(&client, Node::Lookup, BATCH);
    let (tables, work) = (vec![&table; BATCH], work(literal, gadgets[0], key.bytes(), BATCH));
    let both = || key.programmable_bootstrap(&keyswitch.keyswitch(&batch), &tables);
    let size = format!("{}_of_{BATCH}", literal.name);
    benches.group(format!("keyswitch_and_bootstrapping_{kind}_one_thread")).slow().kernel(&size, work, |b| {
        b.iter(|| one_thread.install(both));
    });
    benches.group(format!("keyswitch_and_bootstrapping_{kind}_all_threads")).slow().kernel(&size, work.shared(), |b| {
        b.iter(both);
    });
}

/// The polynomial sizes of tables of 6 and of 8 bits in one bootstrapping, with tfhe-rs's dimensions and gadgets for them: the
/// key of a hundredth of the bits, since the time is proportional to their number. Milliseconds here are tenths of a
/// second of the whole.
fn large_polynomials(benches: &mut Benches) {
    for (n, lwe_dimension) in [(8192, 1077), (32768, 1096)] {
        let shape = GlweShape::new(1, n).unwrap();
        let seed = SecretSeed::from_number(1);
        let fft = NegacyclicFft::new(shape.polynomial_size);
        let to = GlweSecretKey::generate(&mut seed.experiment_bits(0), shape, &fft);
        let bits = lwe_dimension / 100;
        let from = LweSecretKey::generate(&mut seed.experiment_bits(1), LweDimension::new(bits).unwrap());
        let gadget = Gadget::new(15, 2, Precision::Single).unwrap();
        let noise = NoiseDistribution::TUniform { bound_log: 3 };
        let key =
            SeededBootstrappingKey::generate(&fft, &from, &to, gadget, noise, seed.experiment(1)).prepare(&fft, shape);
        let input: Vec<u64> = (0..=bits as u64).map(|i| (2 * i + 1) << 58).collect();
        let table = table_accumulator(shape, &(0..64_u64).map(|m| m << 57).collect::<Vec<_>>());
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        for count in [1, BLIND_ROTATION_BLOCK] {
            let inputs = vec![LweCiphertext::from_data(input.clone()); count];
            let tables = vec![&table; count];
            let work = Work::product(n, gadget, 2, 2).repeated(bits).times(count).reading(key.bytes());
            let mut group = benches.group("bootstrapping_15x2_hundredth_of_the_bits");
            group.kernel(format!("{n}_of_{count}"), work, |b| {
                b.iter(|| one_thread.install(|| key.programmable_bootstrap(&inputs, &tables)));
            });
        }
    }
}

fn key_generation(benches: &mut Benches, literal: ParametersLiteral, gadget: usize) {
    let parameters = literal.compile().unwrap();
    let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(1)).unwrap();
    let needs = Needs::default().keyswitch(Node::Lookup).bootstrapping(gadget);
    benches.group("keys_of_a_bootstrapping_generate").slow().kernel(literal.name, Work::ONE.shared(), |b| {
        b.iter(|| client.evaluation_keys(&needs).unwrap());
    });
    let seeded = client.evaluation_keys(&needs).unwrap();
    benches.group("keys_of_a_bootstrapping_prepare").slow().kernel(literal.name, Work::ONE.shared(), |b| {
        b.iter_batched(|| seeded.clone(), |keys| keys.prepare().unwrap(), criterion::BatchSize::PerIteration);
    });
}
