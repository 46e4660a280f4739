//! Transforms, decomposition, gadget products, key switches, traces, packing, products of ciphertexts.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kernel_benches::{inputs, keys};
use tfhe_core::bootstrapping_key::SeededBootstrappingKey;
use tfhe_core::buffer::AlignedBuffer;
use tfhe_core::decomposition::decompose;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::gadget_product::{FourierRows, GadgetScratch};
use tfhe_core::glwe::{FourierGlwe, GlweCiphertext, GlweSecretKey};
use tfhe_core::integer_product::FourierIntegers;
use tfhe_core::key_graph::Node;
use tfhe_core::lwe::{LweCiphertext, LweSecretKey};
use tfhe_core::packing_keyswitch::PackingKeyswitchKey;
use tfhe_core::params::{Gadget, LweDimension, PolynomialSize, Precision};
use tfhe_core::random::{SampleSeed, SecretSeed};
use tfhe_core::sets::{HEAD_EXACT, MESSAGE_2_CARRY_2};

fn random(n: usize) -> Vec<u64> {
    let mut out = vec![0; n];
    SampleSeed::from_number(n as u64).stream(0).fill_uniform(&mut out);
    out
}

fn transform(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fft");
    for n in [128, 512, 1024, 2048, 4096, 8192, 32768] {
        let fft = NegacyclicFft::new(PolynomialSize::new(n).unwrap());
        let scratch = &mut fft.scratch();
        let torus = random(n);
        let digits: Vec<i32> = torus.iter().map(|&x| (x >> 48) as i32 - (1 << 15)).collect();
        let mut fourier = AlignedBuffer::zeros(n);
        group.bench_function(BenchmarkId::new("forward_integers", n), |b| {
            b.iter(|| fft.forward_integers(&digits, &mut fourier, scratch));
        });
        group.bench_function(BenchmarkId::new("forward_torus", n), |b| {
            b.iter(|| fft.forward_torus(&torus, &mut fourier, scratch));
        });
        let mut output = torus.clone();
        let saved = fourier.to_vec();
        group.bench_function(BenchmarkId::new("inverse_add_torus", n), |b| {
            b.iter(|| {
                fourier.copy_from_slice(&saved);
                fft.inverse_add_torus(&mut fourier, &mut output, scratch);
            });
        });
        let mut sum = AlignedBuffer::zeros(n);
        group.bench_function(BenchmarkId::new("multiply_accumulate", n), |b| {
            b.iter(|| fft.multiply_accumulate(&mut sum, &saved, &saved));
        });
        for (base_log, levels) in [(23, 1), (8, 7)] {
            let gadget = Gadget::new(base_log, levels, Precision::Single).unwrap();
            let mut digits = vec![0; levels as usize * n];
            group.bench_function(BenchmarkId::new(format!("decompose_{base_log}x{levels}"), n), |b| {
                b.iter(|| decompose(&torus, gadget, &mut digits));
            });
        }
    }
    group.finish();
}

/// Gadget products on random rows: the external product of a GGSW ciphertext (k+1 inputs) and a GLWE key switch (k inputs),
/// with the rows in the cache, and with rows that each product fetches for the next, as in a blind rotation.
fn gadget_products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gadget_product");
    for (n, k, inputs, (base_log, levels, precision)) in [
        (512, 3, 4, (10, 2, Precision::Single)),
        (2048, 1, 2, (23, 1, Precision::Single)),
        (4096, 1, 2, (23, 1, Precision::Single)),
        (4096, 1, 2, (15, 2, Precision::Single)),
        (4096, 1, 2, (11, 4, Precision::Split)),
        (4096, 1, 1, (8, 7, Precision::Split)),
        (4096, 1, 1, (3, 19, Precision::Split)),
        (128, 7, 7, (8, 4, Precision::Single)),
    ] {
        let fft = NegacyclicFft::new(PolynomialSize::new(n).unwrap());
        let gadget = Gadget::new(base_log, levels, precision).unwrap();
        let columns = k + 1;
        let rows = random(inputs * gadget.levels() * columns * n);
        let key = FourierRows::prepare(&fft, gadget, inputs, columns, &rows);
        // More than any second-level cache holds.
        let keys = vec![key.clone(); (16 << 20) / key.bytes() + 2];
        let (input, mut output) = (random(inputs * n), random(columns * n));
        let scratch = &mut GadgetScratch::new(&fft, gadget, columns);
        let name = format!("{inputs}x{columns}_{base_log}x{levels}_{precision:?}").to_lowercase();
        group.bench_function(BenchmarkId::new(format!("{name}_cached"), n), |b| {
            b.iter(|| key.add_product(&fft, &input, &mut output, scratch));
        });
        let mut i = 0;
        group.bench_function(BenchmarkId::new(format!("{name}_streaming"), n), |b| {
            b.iter(|| {
                let next = (i + 1) % keys.len();
                keys[i].add_product_before(Some(&keys[next]), &fft, &input, &mut output, scratch);
                i = next;
            });
        });
    }
    group.finish();
}

/// The cost of one CMUX: a blind rotation of one bit, with its modulus switch and copies, from a key of one bit.
fn cmux(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cmux");
    for literal in [MESSAGE_2_CARRY_2, HEAD_EXACT] {
        let parameters = literal.compile().unwrap();
        let (shape, seed) = (parameters.lookup().shape, SecretSeed::from_number(1));
        let fft = NegacyclicFft::new(shape.polynomial_size);
        let to = GlweSecretKey::generate(&mut seed.experiment_bits(0), shape, &fft);
        let from = LweSecretKey::generate(&mut seed.experiment_bits(1), LweDimension::new(1).unwrap());
        for (index, &(_, (base_log, levels, precision))) in literal.bootstraps.iter().enumerate() {
            let gadget = Gadget::new(base_log, levels, precision).unwrap();
            let (noise, seed) = (parameters.lookup().noise, seed.experiment(index as u64));
            let key = SeededBootstrappingKey::generate(&fft, &from, &to, gadget, noise, seed).prepare(&fft, shape);
            let inputs = vec![LweCiphertext::from_data(vec![3 << 60, 1 << 60]); 16];
            let table = GlweCiphertext::trivial(shape, &random(shape.polynomial_size.get()));
            let tables = vec![&table; inputs.len()];
            let name = format!("{base_log}x{levels}_{precision:?}_of_16").to_lowercase();
            group.bench_function(BenchmarkId::new(name, literal.name), |b| {
                b.iter(|| key.blind_rotate(&inputs, &tables))
            });
        }
    }
    group.finish();
}

fn ciphertexts(criterion: &mut Criterion) {
    for literal in [MESSAGE_2_CARRY_2, HEAD_EXACT] {
        let mut group = criterion.benchmark_group(literal.name);
        let (client, server) = keys(literal);
        let (parameters, node) = (server.parameters(), Node::Lookup);
        let (shape, noise) = (parameters.lookup().shape, parameters.lookup().noise);
        let keyswitch = server.keyswitch(node).unwrap();
        let automorphisms = server.automorphisms(node, 0, 0).unwrap();
        for count in [1, 32] {
            let inputs = inputs(&client, count);
            group.bench_function(BenchmarkId::new("lwe_keyswitch", count), |b| {
                b.iter(|| keyswitch.keyswitch(&inputs));
            });
        }
        let lwe = client.lwe_key(node);
        let seed = &mut SecretSeed::from_number(2).experiment(0);
        let (mut masks, mut noises) = SecretSeed::from_number(2).experiment(1).into_streams();
        group.bench_function("lwe_encrypt", |b| {
            b.iter(|| lwe.encrypt(1 << 60, noise, &mut masks, &mut noises));
        });
        let samples = inputs(&client, 16);
        group.bench_function("lwe_decrypt", |b| b.iter(|| lwe.phase(&samples[0])));
        let embedded: Vec<_> = samples.iter().map(|sample| Some(GlweCiphertext::embed(shape, sample))).collect();
        group.bench_function("trace", |b| {
            b.iter(|| automorphisms.trace(embedded[0].as_ref().unwrap(), 1..=shape.polynomial_size.log2()));
        });
        group.bench_function("pack/16", |b| b.iter(|| automorphisms.pack(embedded.clone())));
        let key = server.relinearization(node).unwrap();
        let factor = key.factor(embedded[0].as_ref().unwrap());
        group.bench_function("tensor_product", |b| b.iter(|| key.multiply(&factor, &factor, 10)));
        let plaintext = vec![0; shape.polynomial_size.get()];
        group.bench_function("glwe_encrypt", |b| {
            b.iter(|| client.glwe_key(node).encrypt(client.fft(node), &plaintext, noise, seed));
        });
        let encrypted = client.glwe_key(node).encrypt(client.fft(node), &plaintext, noise, seed).expand();
        group.bench_function("glwe_decrypt", |b| b.iter(|| client.glwe_key(node).phase(client.fft(node), &encrypted)));
        let scratch = &mut client.fft(node).scratch();
        let weights: Vec<i32> = (0..plaintext.len() as i32).map(|j| j % 63 - 31).collect();
        let weights = FourierIntegers::new(client.fft(node), &weights, scratch);
        let transformed = FourierGlwe::new(client.fft(node), &encrypted, scratch);
        group.bench_function("plaintext_product", |b| {
            b.iter(|| {
                let mut sum = FourierGlwe::zero(client.fft(node), shape);
                sum.add_product(client.fft(node), &transformed, &weights);
                sum.inverse(client.fft(node), scratch)
            });
        });
        group.finish();
    }
}

/// Packing by a key switch, for few ciphertexts of small dimension.
fn packing_keyswitch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packing_keyswitch");
    let parameters = MESSAGE_2_CARRY_2.compile().unwrap();
    let (shape, seed) = (parameters.lookup().shape, SecretSeed::from_number(1));
    let fft = NegacyclicFft::new(shape.polynomial_size);
    let to = GlweSecretKey::generate(&mut seed.experiment_bits(0), shape, &fft);
    let from = LweSecretKey::generate(&mut seed.experiment_bits(1), LweDimension::new(512).unwrap());
    let gadget = Gadget::new(8, 2, Precision::Single).unwrap();
    let (noise, seed) = (parameters.lookup().noise, seed.experiment(1));
    let key = PackingKeyswitchKey::generate(&fft, &from, &to, gadget, noise, seed);
    let inputs: Vec<_> = (0..4).map(|i| (LweCiphertext::from_data(random(513)), i)).collect();
    group.bench_function(BenchmarkId::new("4 of dimension 512", MESSAGE_2_CARRY_2.name), |b| {
        b.iter(|| key.packing_keyswitch(&inputs))
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = kernel_benches::criterion();
    targets = transform, gadget_products, cmux, ciphertexts, packing_keyswitch
}
criterion_main!(benches);
