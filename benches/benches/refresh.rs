//! Refreshes beside bootstrappings of the same gadget, in batches, on one thread and on two; key switch and packing alone.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::Node;
use tfhe_core::keys::{ClientKeys, Needs};
use tfhe_core::random::SecretSeed;
use tfhe_core::refresh::{FunctionTable, Lane, Place, Source};
use tfhe_core::sets::{FINEST, PACKED_BLOCK, PRECISE};

/// Values that are refreshed together.
const VALUES: usize = 64;

/// Values that are packed together, one to each channel's place.
const PACKED: usize = 1024;

fn refresh(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("refresh");
    group.sample_size(10);
    let parameters = PACKED_BLOCK.compile().expect("named sets are valid");
    let client = ClientKeys::generate(&parameters, &ClientSeed::from_number(1)).expect("a backend");
    let needs = Needs::default().refresh(PRECISE).refresh(FINEST);
    let keys = client.evaluation_keys(&needs).expect("a set that refreshes").prepare().expect("a backend");
    let arithmetic = parameters.arithmetic();
    let (key, size) = (client.glwe_key(Node::Arithmetic), arithmetic.size().get());
    let fft = NegacyclicFft::new(arithmetic.size());
    let seed = &mut SecretSeed::from_number(1).experiment(0);
    let plaintext: Vec<u64> = (0..size as u64).map(|j| j << 49).collect();
    let ciphertext: GlweCiphertext = key.encrypt(&fft, &plaintext, arithmetic.noise, seed).expand();
    let table = FunctionTable::new(parameters.lookup().shape, -0.1875..=0.1875, |x| x / 256.0).expect("a range of 3/8");
    let source = |coefficient| Source { ciphertext: &ciphertext, coefficient };
    let lanes: Vec<Lane<'_>> =
        (0..VALUES).map(|i| Lane { source: source(i), table: &table, place: (i * (size / VALUES)).into() }).collect();
    let sources: Vec<Source<'_>> = (0..VALUES).map(source).collect();
    let (tables, polynomials) = (vec![&table; VALUES], vec![table.polynomial(); VALUES]);
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
        let id = |what: String| BenchmarkId::new(what, format!("{threads} threads"));
        group.throughput(Throughput::Elements(VALUES as u64));
        for bootstrap in [PRECISE, FINEST] {
            let bootstrapping = keys.bootstrapping_key(bootstrap).expect("keys of a refresh");
            let refresh = keys.refresh(bootstrap).expect("keys of a refresh");
            let switched = refresh.keyswitch(&sources).expect("sources of this key");
            let (_, (base_log, levels, _)) = PACKED_BLOCK.bootstraps[bootstrap];
            group.bench_function(id(format!("bootstrapping {base_log}x{levels}")), |b| {
                b.iter(|| pool.install(|| bootstrapping.programmable_bootstrap(&switched, &polynomials)));
            });
            group.bench_function(id(format!("refresh {base_log}x{levels}")), |b| {
                b.iter(|| pool.install(|| refresh.refresh(&[&lanes])));
            });
            if bootstrap != FINEST {
                continue;
            }
            group.bench_function(id("key switch".to_owned()), |b| {
                b.iter(|| pool.install(|| refresh.keyswitch(&sources)))
            });
            let values = refresh.look_up(&switched, &tables).expect("arguments of this key");
            let many: Vec<_> = values.iter().cycle().take(PACKED).cloned().collect();
            let places: Vec<Place> = (0..PACKED).map(|i| (i * (size / PACKED)).into()).collect();
            group.throughput(Throughput::Elements(PACKED as u64));
            group.bench_function(id("packing and lift".to_owned()), |b| {
                b.iter(|| pool.install(|| refresh.pack(many.clone(), &places)));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = kernel_benches::criterion();
    targets = refresh
}
criterion_main!(benches);
