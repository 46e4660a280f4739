//! The integer head: clear, simulated, and encrypted on a layer small enough to be repeated.

use criterion::{Criterion, criterion_group, criterion_main};
use gpt2_fhe::engine::Unobserved;
use gpt2_fhe::engine::plan::Multiply;
use gpt2_fhe::run::exact::{CircuitPlan, ExactSession, run_clear, run_simulated};
use nn::attention::{AttentionWeights, Linear};
use nn::head::{HeadOptions, QuantizedHead};
use nn::matrix::Matrix;
use tfhe_core::random::SecretSeed;

/// A head of size `size` on embeddings of 3·size, with an input of `tokens` tokens.
fn head(size: usize, tokens: usize) -> (QuantizedHead, Matrix<f32>) {
    let wave = |x: usize| ((x * x % 1009) as f32 * 0.7).sin();
    let embedding = 3 * size;
    let weight = Matrix::from_fn(embedding, 3 * embedding, |i, j| wave(i * 3 * embedding + j));
    let bias = (0..3 * embedding).map(|j| 0.3 * wave(j + 7)).collect();
    let weights = AttentionWeights::new(Linear::new(weight, bias).unwrap(), 3).unwrap();
    let hidden = Matrix::from_fn(tokens, embedding, |i, j| 2.0 * wave(i * embedding + j + 3));
    let head = QuantizedHead::calibrate(&weights, 0, std::slice::from_ref(&hidden), &HeadOptions::new(4)).unwrap();
    (head, hidden)
}

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head_4_bits");
    group.sample_size(10);
    let (large, hidden) = head(64, 6);
    group.bench_function("clear/6 tokens of 64", |b| b.iter(|| run_clear(&large, &hidden).unwrap()));
    let plan = CircuitPlan::new(&large, 6, Multiply::Product).unwrap();
    let seed = SecretSeed::from_number(1);
    group.bench_function("simulate/6 tokens of 64", |b| {
        b.iter(|| run_simulated(&large, &hidden, plan.clone(), Multiply::Product, &seed, &mut Unobserved).unwrap());
    });
    let (small, hidden) = head(4, 2);
    let plan = CircuitPlan::new(&small, 2, Multiply::Product).unwrap();
    let mut session = ExactSession::new(&small, plan, Multiply::Product, &seed);
    group.bench_function("execute/2 tokens of 4", |b| {
        b.iter(|| session.execute(&small, &hidden, &mut Unobserved).unwrap());
    });
    group.finish();
}

criterion_group! { name = benches; config = kernel_benches::criterion(); targets = heads }
criterion_main!(benches);
