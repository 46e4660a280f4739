//! Every step of the packed head at GPT-2's sizes: measured noise against the predictions, from both sides.

use std::collections::BTreeMap;

use gpt2_fhe::client::Client;
use gpt2_fhe::encoding::Encoding;
use gpt2_fhe::packed::ciphertexts::{EncryptedValue, PackedCiphertexts, Placed, PreparedAttention, Projected};
use gpt2_fhe::packed::encoding::PackedEncoding;
use gpt2_fhe::packed::keys::{ISOLATION, PackedKeys, WEIGHING, needs};
use gpt2_fhe::packed::layout::{Layout, Sizes};
use gpt2_fhe::packed::prediction::Prediction;
use integration_tests::assert_variance;
use integration_tests::layer::Layer;
use nn::attention::Part;
use nn::evaluator::LinearMap;
use nn::matrix::Matrix;
use nn::packed::{PackedHead, PackedOptions, PackedProgram, Span, steps};
use nn::table::{Smooth, SmoothTable};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::Node;
use tfhe_core::keys::{ClientKeys, Request};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::noise::{self, Variance};
use tfhe_core::polynomial;
use tfhe_core::sets::PACKED_HEAD;
use tfhe_core::torus;

/// How many keys are made: products' noise varies from key to key, by the energy of a secret's lowest frequencies.
const KEYS: u64 = 16;
/// Lookups of each kind under each key.
const LOOKUPS: usize = 48;

/// Where the functions are flat, so that it hardly matters what exactly is read.
const FLAT: [(Smooth, f64); 2] = [(Smooth::Softplus, -0.237), (Smooth::Exponential, -0.4)];

/// Errors of each operation, as fractions of the torus.
#[derive(Default)]
struct Errors {
    projected: [Vec<f64>; 3],
    scores: Vec<f64>,
    keyswitched: [Vec<f64>; 2],
    looked_up: [Vec<f64>; 2],
    placed: Vec<f64>,
    weighed: Vec<f64>,
}

/// The first head's table of a function.
fn table(program: &PackedProgram, function: Smooth) -> SmoothTable {
    let [softplus, exponential] = program.heads()[0].tables(program.output_turns());
    if function == Smooth::Softplus { softplus } else { exponential }
}

/// Biases of values, which programs have added to the output: an evaluator takes them with the map all the same.
static VALUE_BIAS: [i64; 64] = {
    let mut bias = [0; 64];
    let mut channel = 0;
    while channel < 64 {
        bias[channel] = 3 * channel as i64 - 90;
        channel += 1;
    }
    bias
};

/// The maps of a head, that to values with a bias.
fn maps(head: &PackedHead) -> [LinearMap<'_>; 3] {
    let [query, key, value] = head.maps();
    [query, key, LinearMap { bias: &VALUE_BIAS, ..value }]
}

/// What the linear maps of one head give.
struct Projections {
    queries: Vec<GlweCiphertext>,
    keys: Vec<GlweCiphertext>,
    values: Vec<Vec<GlweCiphertext>>,
}

impl Projections {
    fn new(ciphertexts: &PackedCiphertexts<'_>, request: &Request, head: &PackedHead) -> Self {
        let input = ciphertexts.transform(request.ciphertexts());
        let [Projected::Queries(queries), Projected::Keys(keys), Projected::Values(values)] =
            maps(head).map(|map| ciphertexts.map(&input, &map))
        else {
            panic!("queries, keys and values")
        };
        Self { queries, keys, values }
    }
}

/// One client and server, and what the clear engine has.
struct Bench<'a> {
    client: Client,
    /// The client's.
    secrets: ClientKeys,
    keys: PackedKeys<'a>,
    attention: &'a PreparedAttention,
    layout: &'a Layout,
    exact: &'a [Matrix<i64>; 3],
}

impl Bench<'_> {
    fn program(&self) -> &PackedProgram {
        self.attention.program()
    }

    fn head(&self) -> &PackedHead {
        &self.program().heads()[0]
    }

    fn table(&self, function: Smooth) -> SmoothTable {
        table(self.program(), function)
    }

    fn look_up(
        &self,
        ciphertexts: &PackedCiphertexts<'_>,
        function: Smooth,
        inputs: &[EncryptedValue],
    ) -> Vec<LweCiphertext> {
        let table = self.table(function);
        ciphertexts.bootstrap(function, &inputs.iter().collect::<Vec<_>>(), &vec![&table; inputs.len()])
    }

    fn phase(&self, ciphertext: &GlweCiphertext) -> Vec<u64> {
        self.secrets.phase(ciphertext).to_vec()
    }

    /// Coefficients of queries, keys and values, against their integers.
    fn measure_projections(&self, projected: &Projections, errors: &mut Errors) {
        let layout = self.layout;
        let unit = 64 - self.head().log_modulus();
        let ggsw = PACKED_HEAD.compile().unwrap().gadget(WEIGHING).unwrap();
        let value_unit = 64 - ggsw.base_log() * ggsw.levels() as u32;
        let (queries, values) = (self.phase(&projected.queries[0]), self.phase(&projected.values[0][0]));
        for token in 0..layout.tokens() {
            let keys = self.phase(&projected.keys[token]);
            for channel in 0..self.program().head_size() {
                let exponent = (layout.cosets() * channel) as i64;
                let of_token = (layout.inputs() * token) as i64 + exponent;
                let places = [(&queries, of_token, unit), (&keys, -exponent, unit), (&values, of_token, value_unit)];
                for (part, (phase, exponent, unit)) in places.into_iter().enumerate() {
                    let (index, negated) = layout.monomial(exponent);
                    let exact = (self.exact[part][(token, channel)] as u64) << unit;
                    let negated = negated != (part == 2 && Layout::negates_value(channel));
                    let exact = if negated { exact.wrapping_neg() } else { exact };
                    errors.projected[part].push(torus::to_f64(phase[index].wrapping_sub(exact)));
                }
            }
        }
    }

    /// Scores that rows see, against their integers: of each query and key, its error and the block that it is in.
    fn score_errors(&self, products: &[((usize, usize), GlweCiphertext)]) -> Vec<Vec<((usize, usize), f64)>> {
        let phases: BTreeMap<_, _> = products.iter().map(|(block, product)| (*block, self.phase(product))).collect();
        let unit = 64 - self.head().log_modulus();
        let error = |i: usize, j: usize| {
            let exact: i64 = self.exact[0].row(i).iter().zip(self.exact[1].row(j)).map(|(q, k)| q * k).sum();
            let (block, position) = self.layout.score_position(i, j);
            (block, torus::to_f64(phases[&block][position].wrapping_sub((exact as u64) << unit)))
        };
        (0..self.layout.tokens()).map(|i| (0..=i).map(|j| error(i, j)).collect()).collect()
    }

    /// Ciphertexts with the given argument, in turns, and masks of scores.
    fn arguments(&self, product: &GlweCiphertext, argument: f64) -> Vec<LweCiphertext> {
        let key = self.secrets.lwe_key(Node::Arithmetic);
        let place = |i: usize| {
            let mut ciphertext = product.sample_extract(i);
            let phase = key.phase(&ciphertext);
            ciphertext.add_plaintext(torus::from_f64(argument).wrapping_sub(phase));
            ciphertext
        };
        (0..LOOKUPS).map(place).collect()
    }

    /// The same as arguments of the head's lookups.
    fn values(&self, product: &GlweCiphertext, argument: f64) -> Vec<EncryptedValue> {
        let value = |score| EncryptedValue { score: Some(score), lookup: None };
        self.arguments(product, argument).into_iter().map(value).collect()
    }

    /// Both functions where they are flat.
    fn measure_lookups(&self, ciphertexts: &PackedCiphertexts<'_>, product: &GlweCiphertext, errors: &mut Errors) {
        let key = self.secrets.lwe_key(Node::Lookup);
        for (index, (function, argument)) in FLAT.into_iter().enumerate() {
            let inputs = self.values(product, argument);
            let exact = torus::from_f64(self.table(function).at(argument));
            let outputs = self.look_up(ciphertexts, function, &inputs);
            errors.looked_up[index]
                .extend(outputs.iter().map(|output| torus::to_f64(key.phase(output).wrapping_sub(exact))));
        }
    }

    /// Key switches to the small key.
    fn measure_keyswitches(&self, product: &GlweCiphertext, lookups: &[LweCiphertext], errors: &mut Errors) {
        let secrets = &self.secrets;
        let small = secrets.lwe_key(Node::Small);
        let scores = self.arguments(product, 0.1);
        let parts = [
            (&scores[..], self.keys.score_keyswitch, secrets.lwe_key(Node::Arithmetic)),
            (lookups, self.keys.lookup_keyswitch, secrets.lwe_key(Node::Lookup)),
        ];
        for (errors, (inputs, keyswitch, from)) in errors.keyswitched.iter_mut().zip(parts) {
            let switched = keyswitch.keyswitch(inputs);
            let error = |(input, output): (&LweCiphertext, &LweCiphertext)| {
                torus::to_f64(small.phase(output).wrapping_sub(from.phase(input)))
            };
            errors.extend(inputs.iter().zip(&switched).map(error));
        }
    }

    /// Rows of probabilities as one ciphertext: each where it belongs; and the product with all tokens' values.
    fn measure_weighing(
        &self,
        ciphertexts: &PackedCiphertexts<'_>,
        projected: &Projections,
        lookups: &[LweCiphertext],
        errors: &mut Errors,
    ) {
        let key = self.secrets.lwe_key(Node::Lookup);
        let (layout, values) = (self.layout, ciphertexts.encrypt_values(&projected.values));
        let visible: Vec<(usize, usize)> =
            (0..layout.tokens()).flat_map(|row| (0..=row).map(move |token| (row, token))).collect();
        for lookups in lookups.chunks_exact(visible.len()) {
            let placed: Vec<Placed<'_>> = visible
                .iter()
                .zip(lookups)
                .map(|(&(row, token), probability)| Placed { row, token, probability })
                .collect();
            let block = ciphertexts.place(&placed);
            let phases = self.phase(&block);
            for Placed { row, token, probability } in placed {
                let (index, negated) = layout.monomial(layout.probability_exponent(row, token));
                let phase = if negated { phases[index].wrapping_neg() } else { phases[index] };
                errors.placed.push(torus::to_f64(phase.wrapping_sub(key.phase(probability))));
            }
            let mut product = [GlweCiphertext::zero(block.shape())];
            ciphertexts.weigh_block(&block, &[&values[0][0]], &mut product);
            let exact = self.multiply_values(&phases);
            let weighed = self.phase(&product[0]);
            for row in 0..layout.tokens() {
                for channel in 0..self.program().head_size() {
                    let index = row + layout.cosets() * channel;
                    errors.weighed.push(torus::to_f64(weighed[index].wrapping_sub(exact[index])));
                }
            }
        }
    }

    /// The product of a polynomial and all tokens' values, exactly.
    fn multiply_values(&self, polynomial: &[u64]) -> Vec<u64> {
        let mut product = vec![0; self.layout.size()];
        polynomial::schoolbook_add(&values_polynomial(self.layout, &self.exact[2]), polynomial, &mut product);
        product
    }

    fn measure(&mut self, input: &Matrix<i32>, errors: &mut Errors) {
        let encoding = PackedEncoding::new(self.keys.parameters, self.program(), *self.layout).unwrap();
        let request = self.client.encrypt(input, &encoding).unwrap();
        let ciphertexts = PackedCiphertexts { keys: self.keys, attention: self.attention, layout: self.layout };
        let projected = Projections::new(&ciphertexts, &request, self.head());
        self.measure_projections(&projected, errors);
        let products = ciphertexts.multiply_factors(&projected.queries, &projected.keys, self.head().log_modulus());
        errors.scores.extend(self.score_errors(&products).into_iter().flatten().map(|(_, error)| error));
        let product = &products[0].1;
        self.measure_lookups(&ciphertexts, product, errors);
        let probabilities = self.look_up(&ciphertexts, Smooth::Exponential, &self.values(product, -0.02));
        self.measure_keyswitches(product, &probabilities, errors);
        self.measure_weighing(&ciphertexts, &projected, &probabilities, errors);
    }
}

/// Rows of more than eight tokens have scores of several products of ciphertexts. Of 16 tokens: each score has the predicted noise, and so
/// has the difference of two scores of a row in different blocks, in which nothing cancels.
#[test]
fn scores_of_long_inputs_have_the_predicted_noise() {
    let layer = Layer::like_gpt2();
    let options = PackedOptions { max_tokens: Some(16), ..PackedOptions::new(5) };
    let quantized = layer.quantize(Part::Head(0), &options);
    let program = quantized.program();
    let mut rows = Matrix::from_fn(0, 768, |_, _| 0.0);
    [&layer.unseen, &layer.calibration[0], &layer.calibration[1]].into_iter().for_each(|input| rows.append_rows(input));
    rows.truncate_rows(16);
    let (parameters, span) = (PACKED_HEAD.compile().unwrap(), Span::all(16));
    let layout = Layout::new(&parameters, Sizes { embedding: 768, head: 64, output: 64, heads: 1 }, span).unwrap();
    let prepared = PreparedAttention::new(program, &parameters).unwrap();
    let input = quantized.client().quantize_input(&rows).unwrap();
    let exact = maps(&program.heads()[0]).map(|map| map.apply(&input));
    let exact = &exact;
    let (mut scores, mut differences) = (Vec::new(), Vec::new());
    for seed in 0..KEYS {
        let seed = ClientSeed::from_number(seed);
        let client = Client::new(PackedEncoding::CIRCUIT, &parameters, &seed).unwrap();
        let secrets = ClientKeys::generate(&parameters, &Client::bound(PackedEncoding::CIRCUIT, &seed)).unwrap();
        let keys = client.evaluation_keys(&needs(&layout)).unwrap().prepare().unwrap();
        let keys = PackedKeys::new(&keys, program.head_size()).unwrap();
        let bench = Bench { client, secrets, keys, attention: &prepared, layout: &layout, exact };
        let encoding = PackedEncoding::new(&parameters, program, layout).unwrap();
        let request = bench.client.encrypt(&input, &encoding).unwrap();
        let ciphertexts = PackedCiphertexts { keys, attention: &prepared, layout: &layout };
        let Projections { queries, keys, .. } = Projections::new(&ciphertexts, &request, bench.head());
        for row in bench.score_errors(&ciphertexts.multiply_factors(&queries, &keys, bench.head().log_modulus())) {
            let mut blocks: Vec<_> = row.chunk_by(|a, b| a.0 == b.0).collect();
            if let (Some(last), Some(first)) = (blocks.pop(), blocks.pop()) {
                differences.extend(first.iter().zip(last).map(|(a, b)| a.1 - b.1));
            }
            scores.extend(row.iter().map(|(_, error)| error));
        }
    }
    let predicted = Prediction::new(&parameters, program, &layout).unwrap().heads[0].score.variance();
    assert_variance("16 tokens: score", &scores, predicted, 0.21);
    assert_variance("16 tokens: difference of scores of two blocks", &differences, predicted.repeated(2.0), 0.21);
}

/// All tokens' values `[T, O]`, of the first chunk, as [`Layout`] has them.
fn values_polynomial(layout: &Layout, values: &Matrix<i64>) -> Vec<i64> {
    let mut integers = vec![0; layout.size()];
    for token in 0..layout.tokens() {
        for (channel, &value) in values.row(token)[layout.channels_of_chunk(0)].iter().enumerate() {
            let index = layout.inputs() * token + layout.cosets() * channel;
            integers[index] = if Layout::negates_value(channel) { -value } else { value };
        }
    }
    integers
}

/// The sum of squares of M that rounding errors meet: of M itself, and of M·S. The mean of the key's bits, 1/2, meets running sums of
/// M, which are those of these values and not of any with their squares, as the prediction has them.
fn met_by_rounding(values: &[i64]) -> f64 {
    let squares: f64 = values.iter().map(|&v| (v as f64).powi(2)).sum();
    let total: f64 = values.iter().map(|&v| v as f64).sum();
    let mut sum = 0.0;
    let running: f64 = values
        .iter()
        .map(|&v| {
            sum += v as f64;
            (sum - total / 2.0).powi(2)
        })
        .sum();
    let size = values.len() as f64;
    (squares * (1.0 + size / 4.0) + running) / (1.0 + size / 2.0)
}

#[test]
fn every_operation_has_the_predicted_noise() {
    assert_noise(&Layer::like_gpt2());
}

/// Measured σ within 10 % of the prediction, so measured variance within 20 %, for each operation.
fn assert_noise(layer: &Layer) {
    for number in [0, 5] {
        let quantized = layer.quantize(Part::Head(number), &PackedOptions::new(5));
        let program = quantized.program();
        let parameters = PACKED_HEAD.compile().unwrap();
        let span = Span::all(layer.unseen.rows());
        let layout = Layout::new(&parameters, Sizes::of(program), span).unwrap();
        let prepared = PreparedAttention::new(program, &parameters).unwrap();
        let input = quantized.client().quantize_input(&layer.unseen).unwrap();
        let exact = maps(&program.heads()[0]).map(|map| map.apply(&input));
        let mut errors = Errors::default();
        for seed in 0..KEYS {
            let seed = ClientSeed::from_number(seed);
            let client = Client::new(PackedEncoding::CIRCUIT, &parameters, &seed).unwrap();
            let secrets = ClientKeys::generate(&parameters, &Client::bound(PackedEncoding::CIRCUIT, &seed)).unwrap();
            let keys = client.evaluation_keys(&needs(&layout)).unwrap().prepare().unwrap();
            let keys = PackedKeys::new(&keys, program.head_size()).unwrap();
            let exact = &exact;
            Bench { client, secrets, keys, attention: &prepared, layout: &layout, exact }.measure(&input, &mut errors);
        }
        let transforms = NegacyclicFft::new(parameters.arithmetic().size()).transforms();
        let prediction = Prediction::on(transforms, &parameters, program, &layout).unwrap();
        let of_head = &prediction.heads[0];
        let check_within = |tolerance: f64, what: &str, errors: &[f64], predicted: Variance| {
            assert_variance(&format!("head {number}: {what}"), errors, predicted, tolerance);
        };
        let check = |what: &str, errors: &[f64], predicted: Variance| check_within(0.21, what, errors, predicted);
        println!("| operation | predicted log2 σ | measured | samples |\n|---|---|---|---|");
        for (part, name) in ["queries gathered", "keys gathered", "values gathered"].into_iter().enumerate() {
            check(name, &errors.projected[part], of_head.gathered[part]);
        }
        check("score", &errors.scores, of_head.score.variance());
        // The scores are coefficients of one product, whose rounding errors all meet the mean of the small key: those of one client have much in
        // common. Of 64 clients' mean squares the standard deviation is 0.38 of the mean, so 0.1 for these.
        check_within(0.4, "key switch of scores", &errors.keyswitched[0], prediction.score_keyswitch);
        check("key switch of lookups", &errors.keyswitched[1], prediction.lookup_keyswitch);
        for (index, (function, argument)) in FLAT.into_iter().enumerate() {
            // What is read with noise counts as much as the function is steep there.
            let step = 1e-5;
            let table = table(program, function);
            let rise = table.at(argument + step) - table.at(argument);
            let predicted = prediction.result(function) + prediction.reading(true, false).scaled(rise / step);
            check([steps::SOFTPLUS, steps::EXPONENTIAL][index], &errors.looked_up[index], predicted);
        }
        let lifts = prediction.lift.repeated(layout.ratio() as f64);
        // The plan's isolation is an upper bound: after the division by N' the first level has fewer digits than the others.
        let (gadget, lookup) = (parameters.gadget(ISOLATION).unwrap().on(transforms), parameters.lookup());
        let isolation = noise::packing(gadget, lookup.shape, lookup.noise.variance());
        assert!(isolation < prediction.isolation, "an upper bound");
        check("probability in its place", &errors.placed, isolation + lifts);
        let squares = met_by_rounding(&values_polynomial(&layout, &exact[2]));
        check(
            "external product",
            &errors.weighed,
            of_head.values.weighing.variance() + prediction.rounding.repeated(squares),
        );
    }
}

/// On GPT-2 itself. `tests/figures.rs` runs what is in here, and compares what it prints with the documents.
mod printed {
    use super::*;

    #[test]
    #[ignore = "needs ../shared: the noise of GPT-2's own heads"]
    fn every_operation_on_gpt2_has_the_predicted_noise() {
        assert_noise(&Layer::of_gpt2());
    }
}
