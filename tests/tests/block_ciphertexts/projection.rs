//! The output projection of an attention by itself, on numbers that a client has sent: 768 of each row, times `[768, 768]` weights.
//!
//! Errors of one row's outputs are different sums of the same noise, so nothing says that they are independent. What they have in common
//! follows from the weights: with errors e_i, of variance V_i, at the coefficients of the inputs' ciphertexts and weights W as
//! [`BlockLayout::weights`] has them, output a is off by Σ_i W_{a−i}·e_i, and Σ_a s_a times output a by Σ_i (Σ_a s_a·W_{a−i})·e_i.

use gpt2_fhe::block::backend::BlockBackend;
use gpt2_fhe::block::encoding::{BlockAnswer, BlockEncoding};
use gpt2_fhe::block::noise::FreshNoise;
use gpt2_fhe::block::prediction::BlockPrediction;
use gpt2_fhe::encoding::Encoding;
use integration_tests::assert_variance;
use integration_tests::layer::Layer;
use nn::attention::{Linear, Part};
use nn::evaluator::{Form, LinearMap};
use nn::matrix::{Matrix, relative_error};
use tfhe_core::key_graph::Node;
use tfhe_core::noise::Variance;
use tfhe_core::torus;

use super::{PARTIES, UNUSED, error, inner_product, received};

/// A projection, and what is known of its errors beforehand.
struct Projection {
    /// Of f32 weights, which are multiplied by `levels` and rounded.
    weight: Matrix<i32>,
    levels: f64,
    /// Of f32 inputs.
    turns: f64,
    inputs: Matrix<f32>,
    output: Linear,
    /// W, of each image ciphertext those of each features' ciphertext.
    polynomials: Vec<Vec<Vec<i32>>>,
    fresh: FreshNoise,
}

impl Projection {
    const CHANNELS: usize = 768;
    /// The largest integer of the weights: as many bits as a block's have.
    const LEVELS: f64 = 255.0;

    fn new(layer: &Layer) -> Self {
        let (parties, output) = (&*PARTIES, layer.weights.output().unwrap().clone());
        let heads = layer.weights.heads_of(Part::Whole).unwrap();
        let mut inputs = Matrix::from_fn(layer.unseen.rows(), Self::CHANNELS, |_, _| 0.0);
        for (index, head) in heads.iter().enumerate() {
            inputs.set_columns(index * layer.weights.head_size(), &head.attend(&layer.unseen).output);
        }
        let largest = |numbers: &[f32]| f64::from(numbers.iter().fold(0.0_f32, |largest, x| largest.max(x.abs())));
        let levels = Self::LEVELS / largest(output.weight().data());
        let weight = output.weight().map(|&w| (f64::from(w) * levels).round() as i32);
        let product = inputs.multiply(output.weight());
        let turns = (0.45 / (levels * largest(product.data()))).min(0.45 / largest(inputs.data()));
        let ciphertexts = |form| 0..parties.layout.ciphertexts(form, Self::CHANNELS);
        let of_pair = |input, output| parties.layout.weights(&weight, Form::Image, [input, output]);
        let of_output = |output| ciphertexts(Form::Features).map(|input| of_pair(input, output)).collect();
        let polynomials = ciphertexts(Form::Image).map(of_output).collect();
        let transforms = parties.secrets.fft(Node::Arithmetic).transforms();
        let fresh = BlockPrediction::on(transforms, parties.parameters(), parties.layout).unwrap().fresh();
        Self { weight, levels, turns, inputs, output, polynomials, fresh }
    }

    /// What each error of the inputs' ciphertexts counts in Σ_a s_a times output a, and its variance.
    fn shares<'a>(&'a self, sum: &'a [(usize, f64)]) -> impl Iterator<Item = (f64, f64)> {
        let layout = &PARTIES.layout;
        let [numbers, between] = [self.fresh.numbers, self.fresh.between].map(Variance::get);
        let share = move |input: usize, at: usize| -> f64 {
            let part = |&(channel, factor): &(usize, f64)| {
                let (output, place) = layout.place(Form::Image, channel);
                let (index, negated) = layout.monomial(place as i64 - at as i64);
                let weight = f64::from(self.polynomials[output][input][index]);
                if negated { -factor * weight } else { factor * weight }
            };
            sum.iter().map(part).sum()
        };
        let coefficients =
            (0..self.polynomials[0].len()).flat_map(|input| (0..layout.size()).map(move |at| (input, at)));
        coefficients.map(move |(input, at)| {
            (share(input, at), if at.is_multiple_of(layout.stride()) { numbers } else { between })
        })
    }

    fn variance(&self, sum: &[(usize, f64)]) -> f64 {
        self.shares(sum).map(|(share, variance)| share * share * variance).sum()
    }

    fn covariance(&self, a: usize, b: usize) -> f64 {
        let [a, b] = [a, b].map(|channel| [(channel, 1.0)]);
        self.shares(&a).zip(self.shares(&b)).map(|((a, variance), (b, _))| a * b * variance).sum()
    }

    /// The errors of each row's outputs, of so many requests, in turns; and the outputs of the first.
    fn run(&self, requests: usize) -> (Vec<Vec<f64>>, Matrix<f32>) {
        let (parties, tokens) = (&*PARTIES, self.inputs.rows());
        let (layout, channels) = (parties.layout, Self::CHANNELS);
        let encoding = BlockEncoding { layout, tokens, channels, answer: BlockAnswer::Stream };
        let map = LinearMap { weight: &self.weight, bias: &[], form: Form::Image };
        let (mut errors, mut first) = (Vec::new(), None);
        for request in 0..requests {
            // A client with a seed encrypts equal inputs equally: each request is a little smaller. The last column has means, which nothing
            // reads.
            let turns = self.turns * (1.0 - request as f64 / 1024.0);
            let state = |token: usize, channel: usize| {
                if channel < channels { f64::from(self.inputs[(token, channel)]) * turns } else { 0.0 }
            };
            let integers = encoding.integers(&Matrix::from_fn(tokens, channels + 1, state)).unwrap();
            let request = parties.client.encrypt(&integers, &encoding).unwrap();
            let opened = request.open(&parties.keys, &encoding.context(), encoding.request_len()).unwrap();
            let received = received(&encoding, opened);
            let result = parties.server().linear(&parties.server().narrowed(&received, channels), &[map], &[UNUSED]);
            let found = parties.decrypt(&result[0], Form::Image, Self::CHANNELS);
            let exact = |row: usize, channel: usize| {
                let column = (0..Self::CHANNELS).map(|feature| i64::from(self.weight.row(feature)[channel]));
                inner_product(column, integers.row(row)[..channels].iter().map(|&units| (units as u64) << 32))
            };
            let row = |(row, found): (usize, &Vec<u64>)| {
                found.iter().enumerate().map(|(channel, &found)| error(found, exact(row, channel))).collect()
            };
            errors.extend(found.iter().enumerate().map(row).collect::<Vec<Vec<f64>>>());
            first.get_or_insert_with(|| {
                let number =
                    |row: usize, channel: usize| torus::to_f64(found[row][channel]) / (self.turns * self.levels);
                Matrix::from_fn(tokens, Self::CHANNELS, |row, channel| number(row, channel) as f32)
            });
        }
        (errors, first.expect("a request"))
    }

    /// What it is off by, and that errors, their products, and their sums are as predicted.
    fn check(&self) {
        let (errors, outputs) = self.run(40);
        let mut expected = self.inputs.multiply(self.output.weight());
        println!("‖output − f32‖/‖f32‖ of the projection alone: {:.5}", relative_error(&outputs, &expected));
        let rounded = self.weight.map(|&w| (f64::from(w) / self.levels) as f32);
        let of_weights = relative_error(&self.inputs.multiply(&rounded), &expected);
        println!("of its weights' {} levels alone: {of_weights:.5}", Self::LEVELS);
        expected = self.inputs.multiply(&rounded);
        println!("of noise alone: {:.2e}", relative_error(&outputs, &expected));

        let variances: Vec<f64> = (0..Self::CHANNELS).map(|channel| self.variance(&[(channel, 1.0)])).collect();
        let normalized: Vec<f64> = errors
            .iter()
            .flat_map(|row| row.iter().zip(&variances).map(|(error, variance)| error / variance.sqrt()))
            .collect();
        assert_variance("outputs, in predicted deviations", &normalized, Variance::new(1.0), 0.1);

        let predicted = (1..Self::CHANNELS).map(|b| self.covariance(b - 1, b)).sum::<f64>();
        let measured: f64 =
            errors.iter().map(|row| row.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>()).sum::<f64>()
                / errors.len() as f64;
        let of_all: f64 = variances.iter().sum();
        let [measured, predicted] = [measured, predicted].map(|covariance| covariance / of_all);
        println!("correlation of neighbours: {measured:.4} measured, {predicted:.4} predicted");
        // Of 184,000 pairs one standard error is 0.0023. What roundings of one ciphertext have in common adds some of its own.
        assert!((measured - predicted).abs() < 0.0125, "neighbours: {measured}, predicted {predicted}");

        let sums: Vec<f64> = errors.iter().map(|row| row.iter().sum()).collect();
        let all: Vec<(usize, f64)> = (0..Self::CHANNELS).map(|channel| (channel, 1.0)).collect();
        let of_sum = self.variance(&all);
        println!("the sum of all outputs: {:.3} times the variance that independent ones would have", of_sum / of_all);
        assert_variance("sums of all outputs", &sums, Variance::new(of_sum), 0.4);
        let mut groups = Vec::new();
        for group in all.chunks(64) {
            let deviation = self.variance(group).sqrt();
            let first = group[0].0;
            groups.extend(errors.iter().map(|row| row[first..first + group.len()].iter().sum::<f64>() / deviation));
        }
        assert_variance("sums of 64 outputs, in predicted deviations", &groups, Variance::new(1.0), 0.15);
    }
}

#[test]
fn errors_of_a_projection_are_as_independent_as_its_weights_make_them() {
    Projection::new(&Layer::like_gpt2()).check();
}

/// On GPT-2 itself. `tests/figures.rs` runs what is in here, and compares what it prints with the documents.
mod printed {
    use super::*;

    #[test]
    #[ignore = "needs ../shared: the output projection of GPT-2's layer 0"]
    fn errors_of_gpt2_projection_are_as_independent_as_its_weights_make_them() {
        Projection::new(&Layer::of_gpt2()).check();
    }
}
