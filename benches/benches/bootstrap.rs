//! Bootstrapping: one at a time and in batches, with and without the key switch, on one thread and on all.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernel_benches::{inputs, keys};
use tfhe_core::bootstrap::table_accumulator;
use tfhe_core::keys::ClientKeys;
use tfhe_core::params::ParametersLiteral;
use tfhe_core::random::SecretSeed;
use tfhe_core::sets::{HEAD_EXACT, MESSAGE_2_CARRY_2};

fn bootstrap(criterion: &mut Criterion, literal: ParametersLiteral) {
    let mut group = criterion.benchmark_group(literal.name);
    let (client, server) = keys(literal);
    let shape = server.parameters().glwe_shape();
    let table = table_accumulator(shape, &(0..16_u64).map(|m| m << 59).collect::<Vec<_>>());
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for gadget in 0..server.parameters().bootstraps().len() {
        let (base_log, levels, precision) = literal.bootstraps[gadget];
        let name = format!("pbs_{base_log}x{levels}_{precision:?}").to_lowercase();
        for count in [1, 16] {
            let switched = server.keyswitch().switch(&inputs(&client, count));
            let tables = vec![&table; switched.len()];
            group.throughput(Throughput::Elements(count));
            group.bench_function(BenchmarkId::new(&name, format!("{count} on 1 thread")), |b| {
                b.iter(|| one_thread.install(|| server.bootstrapping_key(gadget).bootstrap(&switched, &tables)));
            });
        }
    }
    let batch = inputs(&client, 64);
    let tables = vec![&table; batch.len()];
    let work = || server.bootstrapping_key(0).bootstrap(&server.keyswitch().switch(&batch), &tables);
    group.throughput(Throughput::Elements(64));
    group.sample_size(10);
    group.bench_function("keyswitch_and_pbs/64 on 1 thread", |b| b.iter(|| one_thread.install(work)));
    group.bench_function("keyswitch_and_pbs/64 on all threads", |b| b.iter(work));
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
        let client = ClientKeys::generate(&parameters, &SecretSeed::from_number(1));
        group.bench_function(BenchmarkId::new("generate", literal.name), |b| {
            b.iter(|| client.evaluation_keys(&[0], true));
        });
        let seeded = client.evaluation_keys(&[0], true);
        group.bench_function(BenchmarkId::new("prepare", literal.name), |b| {
            b.iter_batched(|| seeded.clone(), |keys| keys.prepare(), criterion::BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = kernel_benches::criterion();
    targets = message_2_carry_2, head_exact, key_generation
}
criterion_main!(benches);
