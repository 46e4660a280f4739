//! Bootstrapping: one at a time and in batches, with and without the key switch, on one thread and on all; blind rotations;
//! key generation.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernel_benches::{inputs, keys};
use tfhe_core::bootstrapping_key::SeededBootstrappingKey;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::GlweSecretKey;
use tfhe_core::key_graph::{Node, ParametersLiteral};
use tfhe_core::keys::{ClientKeys, Needs};
use tfhe_core::lwe::{LweCiphertext, LweSecretKey};
use tfhe_core::params::{Gadget, GlweShape, LweDimension, NoiseDistribution, Precision};
use tfhe_core::programmable_bootstrap::table_accumulator;
use tfhe_core::random::SecretSeed;
use tfhe_core::sets::{HEAD_EXACT, MESSAGE_2_CARRY_2};

fn bootstrap(criterion: &mut Criterion, literal: ParametersLiteral) {
    let mut group = criterion.benchmark_group(literal.name);
    let (client, server) = keys(literal);
    let shape = server.parameters().lookup().shape;
    let keyswitch = server.keyswitch(Node::Lookup).unwrap();
    let bootstrapping = |gadget| server.bootstrapping_key(gadget).unwrap();
    let table = table_accumulator(shape, &(0..16_u64).map(|m| m << 59).collect::<Vec<_>>());
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for gadget in 0..server.parameters().bootstraps().len() {
        let (_, (base_log, levels, precision)) = literal.bootstraps[gadget];
        let name = format!("pbs_{base_log}x{levels}_{precision:?}").to_lowercase();
        for count in [1, 16] {
            let switched = keyswitch.keyswitch(&inputs(&client, count));
            let tables = vec![&table; switched.len()];
            group.throughput(Throughput::Elements(count));
            group.bench_function(BenchmarkId::new(&name, format!("{count} on 1 thread")), |b| {
                b.iter(|| one_thread.install(|| bootstrapping(gadget).programmable_bootstrap(&switched, &tables)));
            });
        }
    }
    let single = inputs(&client, 1);
    let switched = keyswitch.keyswitch(&single);
    group.throughput(Throughput::Elements(1));
    group.bench_function("blind_rotation/1 on 1 thread", |b| {
        b.iter(|| one_thread.install(|| bootstrapping(0).blind_rotate(&switched, &[&table])));
    });
    group.bench_function("keyswitch_and_pbs/1 on 1 thread", |b| {
        b.iter(|| {
            one_thread.install(|| bootstrapping(0).programmable_bootstrap(&keyswitch.keyswitch(&single), &[&table]))
        });
    });
    let batch = inputs(&client, 64);
    let tables = vec![&table; batch.len()];
    let work = || bootstrapping(0).programmable_bootstrap(&keyswitch.keyswitch(&batch), &tables);
    group.throughput(Throughput::Elements(64));
    group.sample_size(10);
    group.bench_function("keyswitch_and_pbs/64 on 1 thread", |b| b.iter(|| one_thread.install(work)));
    group.bench_function("keyswitch_and_pbs/64 on all threads", |b| b.iter(work));
    group.finish();
}

/// The polynomial sizes of tables of 6 and of 8 bits in one bootstrapping, with tfhe-rs's dimensions and gadgets for them: the
/// key of a hundredth of the bits, since the time is proportional to their number. Milliseconds here are tenths of a
/// second of the whole.
fn large_polynomials(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pbs_hundredth_of_the_bits");
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
        for count in [1, 8] {
            let inputs = vec![LweCiphertext::from_data(input.clone()); count];
            let tables = vec![&table; count];
            let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(BenchmarkId::new(format!("{count} on 1 thread"), n), |b| {
                b.iter(|| one_thread.install(|| key.programmable_bootstrap(&inputs, &tables)));
            });
        }
    }
    group.finish();
}

fn message_2_carry_2(criterion: &mut Criterion) {
    bootstrap(criterion, MESSAGE_2_CARRY_2);
}

fn head_exact(criterion: &mut Criterion) {
    bootstrap(criterion, HEAD_EXACT);
}

fn key_generation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("key_generation");
    group.sample_size(10);
    for literal in [MESSAGE_2_CARRY_2, HEAD_EXACT] {
        let parameters = literal.compile().unwrap();
        let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(1)).unwrap();
        let needs = Needs::default().keyswitch(Node::Lookup).automorphisms(Node::Lookup, 0, 0);
        let needs = needs.relinearization(Node::Lookup).bootstrapping(0);
        group.bench_function(BenchmarkId::new("generate", literal.name), |b| {
            b.iter(|| client.evaluation_keys(&needs).unwrap());
        });
        let seeded = client.evaluation_keys(&needs).unwrap();
        group.bench_function(BenchmarkId::new("prepare", literal.name), |b| {
            b.iter_batched(|| seeded.clone(), |keys| keys.prepare().unwrap(), criterion::BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = kernel_benches::criterion();
    targets = message_2_carry_2, head_exact, large_polynomials, key_generation
}
criterion_main!(benches);
