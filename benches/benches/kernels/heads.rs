//! The heads: clear, simulated, and encrypted, the integer head on a layer small enough to be repeated.

use gpt2_fhe::integer::multiply::Multiply;
use gpt2_fhe::run::exact::ExactAttention;
use gpt2_fhe::run::{Attention, Lowering, Session, packed};
use gpt2_fhe::track::Unobserved;
use kernel_benches::Benches;
use kernel_benches::work::Work;
use nn::attention::{AttentionWeights, Linear, Part};
use nn::integer::{IntegerAttention, IntegerOptions};
use nn::matrix::Matrix;
use nn::packed::{PackedOptions, Span};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::random::SampleSeed;

/// A layer of three heads of size `size` on embeddings of 3·size, with an input of `tokens` tokens.
fn layer(size: usize, tokens: usize) -> (AttentionWeights, Matrix<f32>) {
    let wave = |x: usize| ((x * x % 1009) as f32 * 0.7).sin();
    let embedding = 3 * size;
    // Scores of a few units, as those of trained models: the packed circuit refuses heads whose scores are hundreds apart.
    let scale = 1.0 / (embedding as f32).sqrt();
    let weight = Matrix::from_fn(embedding, 3 * embedding, |i, j| scale * wave(i * 3 * embedding + j));
    let bias = (0..3 * embedding).map(|j| 0.3 * wave(j + 7)).collect();
    let output = Matrix::from_fn(embedding, embedding, |i, j| scale * wave(i * embedding + 3 * j + 11));
    let output = Linear::new(output, vec![0.1; embedding]).unwrap();
    let weights = AttentionWeights::new(Linear::new(weight, bias).unwrap(), 3).unwrap().with_output(output).unwrap();
    let hidden = Matrix::from_fn(tokens, embedding, |i, j| 2.0 * wave(i * embedding + j + 3));
    (weights, hidden)
}

/// One of its heads in integers.
fn head(size: usize, tokens: usize) -> (ExactAttention, Matrix<f32>) {
    let (weights, hidden) = layer(size, tokens);
    let quantized =
        IntegerAttention::calibrate(&weights, Part::Head(0), std::slice::from_ref(&hidden), &IntegerOptions::new(4))
            .unwrap();
    (ExactAttention { quantized, multiply: Multiply::Product }, hidden)
}

pub(crate) fn time(benches: &mut Benches) {
    exact(benches);
    packed_heads(benches);
}

fn exact(benches: &mut Benches) {
    let mut time = |what: &str, size: &str, call: &mut dyn FnMut()| {
        let group = benches.group(format!("exact_head_of_4_bits_{what}"));
        group.slow().kernel(size, Work::ONE.shared(), |b| b.iter(&mut *call));
    };
    let (large, hidden) = head(64, 6);
    time("clear", "6_tokens_of_64", &mut || drop(large.run_clear(&hidden, Span::all(6)).unwrap()));
    let (seed, samples) = (ClientSeed::from_number(1), SampleSeed::from_number(1));
    time("simulated", "6_tokens_of_64", &mut || {
        drop(large.run_simulated(&hidden, Span::all(6), &samples, &mut Unobserved).unwrap());
    });
    let (small, hidden) = head(4, 2);
    let (small, span) = (Attention::Exact(Box::new(small)), Span::all(2));
    let mut session = Session::new(&small, &small.plan(span).unwrap(), &seed).unwrap();
    time("encrypted", "2_tokens_of_4", &mut || {
        drop(session.execute(&small, &hidden, span, &mut Unobserved).unwrap());
    });
}

/// The packed head of a size that GPT-2 has, 8 tokens.
fn packed_heads(benches: &mut Benches) {
    let mut time = |what: &str, size: &str, call: &mut dyn FnMut()| {
        benches.group(format!("packed_{what}")).slow().kernel(size, Work::ONE.shared(), |b| b.iter(&mut *call));
    };
    let (weights, hidden) = layer(64, 8);
    let options = PackedOptions::new(5);
    let quantize = |part| packed::calibrate(&weights, part, std::slice::from_ref(&hidden), &options).unwrap();
    let (head, samples, span) = (quantize(Part::Head(0)), SampleSeed::from_number(1), Span::all(8));
    time("head_clear", "8_tokens_of_64", &mut || drop(head.run_clear(&hidden, span).unwrap()));
    time("head_simulated", "8_tokens_of_64", &mut || {
        drop(head.run_simulated(&hidden, span, &samples, &mut Unobserved).unwrap());
    });
    let head = Attention::Packed(Box::new(head));
    let mut session = Session::new(&head, &head.plan(span).unwrap(), &ClientSeed::from_number(1)).unwrap();
    time("head_encrypted", "8_tokens_of_64", &mut || {
        drop(session.execute(&head, &hidden, span, &mut Unobserved).unwrap());
    });
    let whole = Attention::Packed(Box::new(quantize(Part::Whole)));
    for (span, size) in [(span, "8_tokens_of_192"), (Span::new(7, 8), "last_of_8_tokens_of_192")] {
        time("attention_of_3_heads_encrypted", size, &mut || {
            drop(session.execute(&whole, &hidden, span, &mut Unobserved).unwrap());
        });
    }
}
