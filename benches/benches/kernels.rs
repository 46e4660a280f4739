//! Transforms, decomposition, gadget products, key switches, traces, packing, products of ciphertexts.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kernel_benches::{inputs, keys};
use tfhe_core::buffer::AlignedBuffer;
use tfhe_core::decomposition::decompose;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::params::{Gadget, PolynomialSize, Precision};
use tfhe_core::random::{Domain, SecretSeed};
use tfhe_core::sets::{HEAD_EXACT, MESSAGE_2_CARRY_2};

fn random(n: usize) -> Vec<u64> {
    let mut out = vec![0; n];
    SecretSeed::from_number(n as u64).generator(Domain::Sample, 0).fill_uniform(&mut out);
    out
}

fn transform(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fft");
    for n in [512, 1024, 2048, 4096, 8192] {
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

fn ciphertexts(criterion: &mut Criterion) {
    for literal in [MESSAGE_2_CARRY_2, HEAD_EXACT] {
        let mut group = criterion.benchmark_group(literal.name);
        let (client, server) = keys(literal);
        let shape = server.parameters().glwe_shape();
        for count in [1, 32] {
            let inputs = inputs(&client, count);
            group.bench_function(BenchmarkId::new("lwe_keyswitch", count), |b| {
                b.iter(|| server.keyswitch().switch(&inputs));
            });
        }
        let samples = inputs(&client, 16);
        let embedded: Vec<_> = samples.iter().map(|sample| Some(GlweCiphertext::embed(shape, sample))).collect();
        group.bench_function("trace", |b| {
            b.iter(|| {
                server
                    .automorphisms()
                    .trace(embedded[0].as_ref().unwrap(), 1..=server.parameters().polynomial_size().log2())
            });
        });
        group.bench_function("pack/16", |b| b.iter(|| server.automorphisms().pack(embedded.clone())));
        let key = server.relinearization();
        let factor = key.factor(embedded[0].as_ref().unwrap());
        group.bench_function("tensor_product", |b| b.iter(|| key.multiply(&factor, &factor, shape, 10)));
        let plaintext = vec![0; shape.polynomial_size.get()];
        let noise = client.parameters().glwe_noise();
        let (masks, noises) = (client.seed().derive_public(5), client.seed().derive(5));
        group.bench_function("glwe_encrypt", |b| {
            b.iter(|| client.glwe_key().encrypt(client.fft(), &plaintext, noise, masks, &noises, 0));
        });
        group.finish();
    }
}

criterion_group! { name = benches; config = kernel_benches::criterion(); targets = transform, ciphertexts }
criterion_main!(benches);
