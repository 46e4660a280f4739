//! Every operation of blocks on ciphertexts: results, and measured noise against the predictions, from both sides.

mod projection;

use std::sync::LazyLock;

use gpt2_fhe::block::backend::{BlockBackend, LookupNoise, ReadNumber};
use gpt2_fhe::block::ciphertexts::{BlockCiphertexts, EncryptedNumber, EncryptedReals, Samples};
use gpt2_fhe::block::encoding::{BlockAnswer, BlockEncoding};
use gpt2_fhe::block::keys::{BlockKeys, PRODUCT, gadget, needs};
use gpt2_fhe::block::layout::BlockLayout;
use gpt2_fhe::block::prediction::BlockPrediction;
use gpt2_fhe::boundary::Refused;
use gpt2_fhe::client::Client;
use gpt2_fhe::encoding::Encoding;
use integration_tests::assert_variance;
use nn::evaluator::{Entries, Form, LinearMap, Rows, SmoothUse};
use nn::matrix::Matrix;
use nn::table::{Smooth, SmoothTable};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::glwe::{GlweCiphertext, SeededGlweCiphertext};
use tfhe_core::key_graph::{Edge, Node, Parameters};
use tfhe_core::keys::{ClientKeys, EvaluationKeys, MissingKey, Needs};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::noise::{self, Distribution, LookedUpNoise, RefreshParameters, Variance};
use tfhe_core::random::{SampleSeed, SampleStream, SecretSeed};
use tfhe_core::sets::{PACKED_BLOCK, PACKED_HEAD, PRECISE};
use tfhe_core::torus;

/// Channels of a head: features are 32 coefficients apart, 128 of them in a ciphertext.
const HEAD: usize = 16;
/// Nothing is drawn on ciphertexts.
const UNUSED: Variance = Variance::ZERO;
const NO_NOISE: LookupNoise = LookupNoise { reading: UNUSED, result: UNUSED };

/// Client and server of one seed.
struct Parties {
    client: Client,
    secrets: ClientKeys,
    keys: EvaluationKeys,
    layout: BlockLayout,
}

static PARTIES: LazyLock<Parties> = LazyLock::new(|| Parties::new(11));

impl Parties {
    fn new(seed: u64) -> Self {
        let (parameters, seed) = (PACKED_BLOCK.compile().unwrap(), ClientSeed::from_number(seed));
        let client = Client::new(BlockEncoding::CIRCUIT, &parameters, &seed).unwrap();
        Self {
            secrets: ClientKeys::generate(&parameters, &Client::bound(BlockEncoding::CIRCUIT, &seed)).unwrap(),
            keys: client.evaluation_keys(&needs()).unwrap().prepare().unwrap(),
            layout: BlockLayout::new(&parameters, HEAD).unwrap(),
            client,
        }
    }

    fn parameters(&self) -> &Parameters {
        self.keys.parameters()
    }

    fn server(&self) -> BlockCiphertexts<'_> {
        BlockCiphertexts { keys: BlockKeys::new(&self.keys).unwrap(), layout: &self.layout }
    }

    /// Rows in turns, encrypted. Each `index` may be used once.
    fn encrypt(&self, rows: &[Vec<f64>], form: Form, index: u64) -> EncryptedReals {
        let (ring, fft) = (self.parameters().arithmetic(), self.secrets.fft(Node::Arithmetic));
        let seed = &mut SecretSeed::from_number(1).experiment(index);
        let channels = rows[0].len();
        let encrypt = |row: &Vec<f64>| {
            let mut plaintexts = vec![vec![0; ring.size().get()]; self.layout.ciphertexts(form, channels)];
            for (channel, &turns) in row.iter().enumerate() {
                let (ciphertext, coefficient) = self.layout.place(form, channel);
                plaintexts[ciphertext][coefficient] = torus::from_f64(turns);
            }
            let key = self.secrets.glwe_key(Node::Arithmetic);
            plaintexts.iter().map(|plaintext| key.encrypt(fft, plaintext, ring.noise, seed).expand()).collect()
        };
        let rows = rows.iter().map(encrypt).collect();
        EncryptedReals::new(&self.layout, form, channels, rows)
    }

    /// All coefficients of each row's ciphertexts.
    fn phases(&self, reals: &EncryptedReals) -> Rows<Vec<u64>> {
        let phase = |ciphertext: &std::sync::Arc<GlweCiphertext>| self.secrets.phase(ciphertext).to_vec();
        reals.rows().iter().map(|row| row.iter().map(phase).collect()).collect()
    }

    /// The numbers of each row, as torus elements.
    fn decrypt(&self, reals: &EncryptedReals, form: Form, channels: usize) -> Rows<u64> {
        let read = |row: &Vec<Vec<u64>>, channel| {
            let (ciphertext, coefficient) = self.layout.place(form, channel);
            row[ciphertext][coefficient]
        };
        self.phases(reals).iter().map(|row| (0..channels).map(|channel| read(row, channel)).collect()).collect()
    }

    fn decrypt_number(&self, number: &EncryptedNumber) -> u64 {
        let Samples { arithmetic, lookup } = number.sum().samples(self.parameters().lookup().lwe_dimension());
        let phase =
            |node, sample: Option<LweCiphertext>| sample.map_or(0, |sample| self.secrets.lwe_key(node).phase(&sample));
        phase(Node::Arithmetic, arithmetic).wrapping_add(phase(Node::Lookup, lookup))
    }

    /// Integers by lookups, and packed: each from an encrypted argument.
    fn look_up_integers(&self, integers: &[Vec<i64>], form: Form, log_shared: u32, index: u64) -> Multipliers {
        let server = &mut self.server();
        // A sixteenth of a turn to a unit: wide enough for any noise of an argument.
        let table = SmoothTable::of(Smooth::Identity, 16.0, [-0.25, 0.25], 1.0);
        let turns: Vec<Vec<f64>> = integers.iter().map(|row| row.iter().map(|&m| m as f64 / 16.0).collect()).collect();
        // Encrypted with as many numbers to a row as there are.
        let numbers: Vec<EncryptedNumber> = (turns.iter().zip(index..))
            .flat_map(|(row, index)| {
                server.numbers(self.encrypt(std::slice::from_ref(row), Form::Features, index)).remove(0)
            })
            .collect();
        let results = look_up(server, SmoothUse::Multiplier { log_shared }, numbers, &table);
        let mut results = results.into_iter();
        let rows = integers.iter().map(|row| results.by_ref().take(row.len()).collect()).collect();
        server.pack_multipliers(rows, form)
    }

    fn product_noise(&self, coefficients: &[usize], squares: f64) -> Distribution {
        let transforms = self.secrets.fft(Node::Arithmetic).transforms();
        LookedUpNoise::new(self.parameters(), PRECISE, transforms).unwrap().product(coefficients, squares)
    }
}

type Multipliers = <BlockCiphertexts<'static> as BlockBackend>::Multipliers;

fn look_up(
    server: &mut BlockCiphertexts<'_>,
    result: SmoothUse,
    numbers: Vec<EncryptedNumber>,
    table: &SmoothTable,
) -> Vec<EncryptedNumber> {
    let summed = |content| ReadNumber { content, arithmetic: true, lookup: false };
    let numbers: Vec<ReadNumber<EncryptedNumber>> = numbers.into_iter().map(summed).collect();
    let tables = vec![table; numbers.len()];
    server.look_up(result, &numbers.iter().collect::<Vec<_>>(), &tables, NO_NOISE)
}

fn stream(number: u64) -> SampleStream {
    SampleSeed::from_number(number).stream(0)
}

/// Numbers in −limit ..= limit.
fn turns(rows: usize, columns: usize, limit: f64, number: u64) -> Rows<f64> {
    let draws = &mut stream(number);
    let mut draw = || (draws.uniform() as i64) as f64 / 2f64.powi(63) * limit;
    (0..rows).map(|_| (0..columns).map(|_| draw()).collect()).collect()
}

/// Integers in −limit ..= limit.
fn integers(rows: usize, columns: usize, limit: i64, number: u64) -> Rows<i64> {
    let draws = &mut stream(number);
    let mut draw = || (draws.uniform() % (2 * limit as u64 + 1)) as i64 - limit;
    (0..rows).map(|_| (0..columns).map(|_| draw()).collect()).collect()
}

fn weights(rows: usize, columns: usize, number: u64) -> Matrix<i32> {
    let drawn = integers(rows, columns, 31, number);
    Matrix::from_fn(rows, columns, |row, column| drawn[row][column] as i32)
}

/// Σ w·x on the torus, exactly.
fn inner_product(integers: impl IntoIterator<Item = i64>, turns: impl IntoIterator<Item = u64>) -> u64 {
    integers.into_iter().zip(turns).fold(0, |sum: u64, (m, x)| sum.wrapping_add(x.wrapping_mul(m as u64)))
}

fn error(phase: u64, expected: u64) -> f64 {
    torus::to_f64(phase.wrapping_sub(expected))
}

/// x·W in every form, with the noise of the input times the weights. 150 features are two ciphertexts, 70 channels are three.
#[test]
fn linear_maps_multiply_matrices_with_the_predicted_noise() {
    let (parties, rows, features) = (&*PARTIES, 24, 150);
    let x = turns(rows, features, 0.01, 1);
    let input = parties.encrypt(&x, Form::Features, 0);
    let (image, queries) = (weights(features, 70, 2), weights(features, HEAD, 3));
    let map = |weight, form| LinearMap { weight, bias: &[], form };
    let maps = [map(&image, Form::Image), map(&queries, Form::Queries)];
    let results = parties.server().linear(&input, &maps, &[UNUSED; 2]);
    let fresh = parties.parameters().arithmetic().noise.variance();
    for (LinearMap { weight, form, .. }, result) in maps.iter().zip(&results) {
        let found = parties.decrypt(result, *form, weight.cols());
        let mut ratios = Vec::new();
        for (row, found) in x.iter().zip(&found) {
            for (channel, &found) in found.iter().enumerate() {
                let column = (0..features).map(|feature| i64::from(weight.row(feature)[channel]));
                let expected = inner_product(column, row.iter().map(|&turns| torus::from_f64(turns)));
                // A fresh encryption has noise everywhere: all weights of the ciphertext meet it.
                let (ciphertext, _) = parties.layout.place(*form, channel);
                let beside = |other: &usize| parties.layout.place(*form, *other).0 == ciphertext;
                let of_row =
                    |row: &[i32]| (0..row.len()).filter(beside).map(|c| f64::from(row[c]).powi(2)).sum::<f64>();
                let squares: f64 = (0..features).map(|feature| of_row(weight.row(feature))).sum();
                ratios.push(error(found, expected) / fresh.repeated(squares).std());
            }
        }
        // 1680 and 384 numbers: one standard error of the variance is 3 and 7 %.
        let tolerance = if *form == Form::Image { 0.14 } else { 0.28 };
        assert_variance(&format!("map to {form:?}, in predicted deviations"), &ratios, Variance::new(1.0), tolerance);
    }
}

/// More rows than are held as transforms, of one result's ciphertext each.
#[test]
fn maps_of_many_rows_are_exact() {
    let (parties, rows) = (&*PARTIES, 1030);
    let x = turns(rows, 4, 0.01, 4);
    let server = &mut parties.server();
    let input = server.known(x.clone(), Form::Features);
    let weight = weights(4, 3, 5);
    let map = LinearMap { weight: &weight, bias: &[], form: Form::Image };
    let result = server.linear(&input, &[map], &[UNUSED]).remove(0);
    let found = parties.decrypt(&result, Form::Image, 3);
    assert_eq!(found.len(), rows);
    for (row, found) in x.iter().zip(&found) {
        for (channel, &found) in found.iter().enumerate() {
            let column = (0..4).map(|feature| i64::from(weight.row(feature)[channel]));
            assert_eq!(found, inner_product(column, row.iter().map(|&turns| torus::from_f64(turns))));
        }
    }
}

/// Each row times an integer that was looked up, with one table to a bootstrapping and with all four.
#[test]
fn rows_are_multiplied_by_integers_that_were_looked_up() {
    let rows = 64;
    let mut of_shared = [0, 2].map(|log_shared| (log_shared, Vec::new()));
    let factors = integers(rows, 1, 3, 6);
    let squares = factors.iter().map(|factor| (factor[0] * factor[0]) as f64).sum::<f64>() / rows as f64;
    let mut predicted = Variance::ZERO;
    for parties in (11..14).map(Parties::new) {
        for (log_shared, errors) in &mut of_shared {
            let base = 1000 + 100 * u64::from(*log_shared);
            let multipliers = parties.look_up_integers(&factors, Form::Multipliers, *log_shared, base);
            let input = parties.encrypt(&turns(rows, 40, 0.01, 7), Form::Image, base + 50);
            let before = parties.phases(&input);
            let product = parties.server().scale_rows(input, &multipliers, &Distribution::ZERO);
            for ((before, after), factor) in before.iter().zip(parties.phases(&product)).zip(&factors) {
                for (before, after) in before.iter().flatten().zip(after.iter().flatten()) {
                    errors.push(error(*after, before.wrapping_mul(factor[0] as u64)));
                }
            }
        }
        predicted = parties.product_noise(&[0], squares).variance();
    }
    for (log_shared, errors) in of_shared {
        // Each row's GGSW ciphertext has few numbers of noise, that of one bootstrapping or of four, which all of its products have in
        // common: with 16 rows and one key the ratio was from 0.60 to 1.17, of six keys. Here are twelve times as many.
        assert_variance(&format!("rows, {log_shared}"), &errors, predicted, 0.4);
    }
}

/// Coefficient 0 of queries times keys, of which those that are needed.
#[test]
fn queries_meet_keys() {
    let (parties, queries, keys) = (&*PARTIES, 6, 6);
    let key_rows = integers(keys, HEAD, 3, 8);
    let packed = parties.look_up_integers(&key_rows, Form::Keys, 2, 2000);
    let x = turns(queries, HEAD, 0.005, 9);
    let input = parties.encrypt(&x, Form::Queries, 2100);
    let server = &mut parties.server();
    let coefficients: Vec<usize> = (0..HEAD).map(|channel| parties.layout.key_place(channel).0).collect();
    let fresh = parties.parameters().arithmetic().noise.variance();
    let mut ratios = Vec::new();
    let scores = server.multiply(&input, &packed, Entries::All, &Distribution::ZERO);
    assert!(scores.len() == queries && scores.iter().all(|row| row.len() == keys));
    for (query, scores) in x.iter().zip(&scores) {
        for (key, score) in key_rows.iter().zip(scores) {
            let squares = key.iter().map(|&k| (k * k) as f64).sum::<f64>();
            let expected = inner_product(key.iter().copied(), query.iter().map(|&turns| torus::from_f64(turns)));
            let predicted = parties.product_noise(&coefficients, squares).variance() + fresh.repeated(squares);
            ratios.push(error(parties.decrypt_number(score), expected) / predicted.std());
        }
    }
    // 36 products, of which half of the energy varies as above: one standard error of the variance is about 30 %.
    assert_variance("scores, in predicted deviations", &ratios, Variance::new(1.0), 0.9);
    let seen = server.multiply(&input, &packed, Entries::After { earlier: 2 }, &Distribution::ZERO);
    assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [3, 4, 5, 6, 6, 6]);
    assert_eq!(parties.decrypt_number(&seen[1][3]), parties.decrypt_number(&scores[1][3]));
}

/// Sums of values, each row of as many as it has weights for, on top of another sum.
#[test]
fn values_are_weighed() {
    let channels = 70;
    let weights: Rows<i64> = (0..16).map(|row| integers(1, 1 + row % 4, 3, 20 + row as u64).remove(0)).collect();
    let (mut errors, mut predicted) = (Vec::new(), Variance::ZERO);
    for parties in (11..14).map(Parties::new) {
        let multipliers = parties.look_up_integers(&weights, Form::Multipliers, 2, 3000);
        let values = parties.encrypt(&turns(4, channels, 0.01, 10), Form::Image, 3100);
        let first = parties.encrypt(&turns(weights.len(), channels, 0.01, 11), Form::Image, 3101);
        let (of_values, of_first) = (parties.phases(&values), parties.phases(&first));
        let sum = parties.server().weigh(&multipliers, &values, Some(first), &Distribution::ZERO);
        for ((weights, first), sum) in weights.iter().zip(&of_first).zip(parties.phases(&sum)) {
            for (ciphertext, sum) in sum.iter().enumerate() {
                for (index, &sum) in sum.iter().enumerate() {
                    let values = of_values.iter().map(|value| value[ciphertext][index]);
                    let expected =
                        inner_product(weights.iter().copied(), values).wrapping_add(first[ciphertext][index]);
                    errors.push(error(sum, expected));
                }
            }
        }
        let terms = weights.iter().flatten();
        let of_all: Distribution = terms.map(|&weight| parties.product_noise(&[0], (weight * weight) as f64)).sum();
        predicted = of_all.variance().repeated(1.0 / weights.len() as f64);
    }
    // With each key, 40 GGSW ciphertexts with 3 ciphertexts of a value each: as above. Of six keys the ratio was 0.85 to 1.34.
    assert_variance("weighed", &errors, predicted, 0.3);
}

/// Features are read by a table and packed again: half of each.
#[test]
fn features_are_read_and_packed() {
    let (parties, rows, channels) = (&*PARTIES, 2, 130);
    let x = turns(rows, channels, 0.15, 12);
    let server = &mut parties.server();
    let numbers = server.numbers(parties.encrypt(&x, Form::Features, 4000));
    let table = SmoothTable::of(Smooth::Identity, 1.0, [-0.1875, 0.1875], 0.5);
    let results = look_up(server, SmoothUse::Update, numbers.into_iter().flatten().collect(), &table);
    let packed = server.pack(results.chunks(channels).map(<[_]>::to_vec).collect(), Form::Features, UNUSED);
    let found = parties.decrypt(&packed, Form::Features, channels);
    let errors: Vec<f64> =
        found.iter().flatten().zip(x.iter().flatten()).map(|(&found, x)| torus::to_f64(found) - x / 2.0).collect();
    let transforms = parties.secrets.fft(Node::Arithmetic).transforms();
    let refresh = noise::refresh(&RefreshParameters::new(parties.parameters(), PRECISE, transforms).unwrap());
    let input = Distribution::from(parties.parameters().arithmetic().noise.variance());
    // 260 numbers: one standard error of the variance is 9 %.
    assert_variance("half of a feature", &errors, refresh.value(&input, 0.5).variance(), 0.35);
}

/// A sum of coefficients, of results of lookups and of a constant is one argument, and a known number is one too.
#[test]
fn sums_of_all_kinds_are_read() {
    let (parties, x) = (&*PARTIES, [0.03, -0.05, 0.07]);
    let server = &mut parties.server();
    let numbers = server.numbers(parties.encrypt(&[x.to_vec()], Form::Image, 5000)).remove(0);
    let double = SmoothTable::of(Smooth::Identity, 1.0, [-0.2, 0.2], 2.0);
    let doubled = look_up(server, SmoothUse::Read, numbers.clone(), &double);
    let mut sum = numbers[0].clone();
    server.add_scaled(&mut sum, &numbers[1], -1);
    server.add_scaled(&mut sum, &doubled[2], 1);
    server.add_scaled(&mut sum, &server.constant(0.02), -1);
    let expected = 2.0 * (x[0] - x[1] + 2.0 * x[2] - 0.02);
    let found = look_up(server, SmoothUse::Read, vec![sum, server.constant(0.11)], &double);
    let of_reading = noise::refresh(
        &RefreshParameters::new(
            parties.parameters(),
            gadget(SmoothUse::Read),
            parties.secrets.fft(Node::Lookup).transforms(),
        )
        .unwrap()
        .with_arguments(parties.parameters(), &[Node::Arithmetic, Node::Lookup])
        .unwrap(),
    );
    let input =
        Distribution::from(of_reading.bootstrapping + of_reading.argument(&Distribution::ZERO).variance().scaled(2.0));
    let deviation = (of_reading.argument(&input).variance().scaled(2.0) + of_reading.bootstrapping).std();
    assert!((torus::to_f64(parties.decrypt_number(&found[0])) - expected).abs() < 6.0 * deviation);
    let known = torus::to_f64(parties.decrypt_number(&found[1])) - 0.22;
    // A known argument is rounded to one of 4096 angles, twice as far where it is doubled, and has no other error.
    assert!(known.abs() < 1.0 / 4096.0 + 6.0 * of_reading.bootstrapping.std(), "{known}");
}

/// Known integers multiply as looked-up ones do, without their noise: what is rounded is left.
#[test]
fn known_integers_multiply() {
    let (parties, rows) = (&*PARTIES, 4);
    let server = &mut parties.server();
    let factors = [[3.0], [-2.0], [0.0], [50.0]].map(|row| row.to_vec()).to_vec();
    let multipliers = server.known_multipliers(factors.clone(), Form::Multipliers);
    let input = parties.encrypt(&turns(rows, 70, 0.001, 13), Form::Image, 6000);
    let before = parties.phases(&input);
    let product = server.scale_rows(input, &multipliers, &Distribution::ZERO);
    let (ring, product_gadget) = (parties.parameters().arithmetic(), parties.parameters().gadget(PRODUCT).unwrap());
    let rounding = |squares| noise::product_with_ggsw_rounding(product_gadget, ring.shape, squares);
    for ((before, after), factor) in before.iter().zip(parties.phases(&product)).zip(&factors) {
        let errors = before.iter().flatten().zip(after.iter().flatten());
        let errors: Vec<f64> =
            errors.map(|(before, &after)| error(after, before.wrapping_mul(factor[0] as i64 as u64))).collect();
        if factor[0] == 0.0 {
            assert!(errors.iter().all(|&error| error == 0.0));
        } else {
            // Three products: of each half of the energy varies.
            assert_variance("rounding", &errors, rounding(factor[0].powi(2)), 0.7);
        }
    }
    let keys = vec![vec![1.0, -2.0, 3.0, 0.0, 4.0]];
    let known = server.known_multipliers(keys, Form::Keys);
    let queries = server.known(vec![vec![0.01, 0.02, -0.01, 0.3, 0.005]], Form::Queries);
    let score = &server.multiply(&queries, &known, Entries::All, &Distribution::ZERO)[0][0];
    let expected = 0.01 - 0.04 - 0.03 + 0.02;
    assert!((torus::to_f64(parties.decrypt_number(score)) - expected).abs() < 8.0 * rounding(30.0).std());
}

/// Rows are appended, added up, and get constants; what others hold of them stays as it is.
#[test]
fn rows_are_put_together() {
    let parties = &*PARTIES;
    let server = &mut parties.server();
    let [above, below] = [vec![0.125, 0.25], vec![-0.125, 0.0625]];
    let mut rows = server.known(vec![above], Form::Queries);
    let first = rows.clone();
    let below = server.known(vec![below], Form::Queries);
    server.append(&mut rows, below);
    let doubled = &mut rows.clone();
    server.add(doubled, &rows);
    let moved = server.add_constants(doubled.clone(), &[0.0, 0.03125]);
    let read = |reals: &EncryptedReals| -> Rows<f64> {
        let found = parties.decrypt(reals, Form::Queries, 2);
        found.iter().map(|row| row.iter().map(|&x| torus::to_f64(x)).collect()).collect()
    };
    assert_eq!(read(&moved), [[0.25, -0.5 + 0.03125], [-0.25, 0.125 + 0.03125]]);
    assert_eq!(read(&first), [[0.125, 0.25]]);
    assert_eq!(read(&rows), [[0.125, 0.25], [-0.125, 0.0625]]);
}

/// What a server makes of a request: each row's features.
fn received(encoding: &BlockEncoding, opened: &[SeededGlweCiphertext]) -> EncryptedReals {
    let keys = BlockKeys::new(&PARTIES.keys).unwrap();
    let kept = PARTIES.layout.inputs().ilog2();
    let expand =
        |(ciphertext, count): (&SeededGlweCiphertext, usize)| keys.expansion.expand(&ciphertext.expand(), kept, count);
    let features: Vec<GlweCiphertext> = opened.iter().zip(encoding.expanded()).flat_map(expand).collect();
    let rows = features.chunks(encoding.row_len()).map(<[_]>::to_vec).collect();
    EncryptedReals::new(&PARTIES.layout, Form::Features, encoding.sent_channels(), rows)
}

/// A client's hidden states through a request to the server and back, with the predicted noise.
#[test]
fn hidden_states_arrive_and_return() {
    let (parties, tokens, channels) = (&*PARTIES, 256, 128);
    let encoding = BlockEncoding { layout: parties.layout, tokens, channels, answer: BlockAnswer::Stream };
    let transforms = parties.secrets.fft(Node::Arithmetic).transforms();
    let prediction = BlockPrediction::on(transforms, parties.parameters(), parties.layout).unwrap();
    let fresh = prediction.fresh();
    let (mut of_requests, mut of_answers) = (Vec::new(), Vec::new());
    for seed in 14..18 {
        let drawn = turns(tokens, channels + 1, 0.49, seed);
        let states = Matrix::from_fn(tokens, channels + 1, |token, channel| drawn[token][channel]);
        let integers = encoding.integers(&states).unwrap();
        let request = parties.client.encrypt(&integers, &encoding).unwrap();
        let opened = request.open(&parties.keys, &encoding.context(), encoding.request_len()).unwrap();
        // 512 ciphertexts of features, 32 coefficients apart, in 16. A row of the stream is one, and its variance is in another.
        assert_eq!((encoding.row_len(), encoding.stream_len(), opened.len()), (2, 1, 16));
        let reals = received(&encoding, opened);
        let sent = |channels: usize| {
            let row = |row: usize| integers.row(row)[..channels].iter().map(|&units| (units as u64) << 32);
            (0..tokens).flat_map(row).collect::<Vec<u64>>()
        };
        let found = parties.decrypt(&reals, Form::Features, encoding.sent_channels()).concat();
        of_requests.extend(found.iter().zip(sent(channels + 1)).map(|(&found, sent)| error(found, sent)));

        let stream = parties.server().narrowed(&reals, channels);
        let answer = encoding.answer(request.label(), stream.into_answer(&parties.layout));
        assert_eq!(answer.bytes(), encoding.answer_bytes(parties.parameters().arithmetic().shape));
        let found = parties.client.decrypt(&answer, &encoding, request.label()).unwrap();
        of_answers.extend(found.iter().zip(sent(channels)).map(|(&found, sent)| error(torus::from_f64(found), sent)));
    }
    // As in the test of expansion: half of the energy of 16 key switches, which count most, varies. Rounding counts most here.
    assert_variance("a request's numbers", &of_requests, fresh.numbers, 0.1);
    let predicted = fresh.numbers + prediction.answer(encoding.answer, fresh.between);
    // Of 64 ciphertexts: what is rounded of a mask meets a key, half of whose energy is in few frequencies.
    assert_variance("an answer's numbers", &of_answers, predicted, 0.3);
}

/// Where ciphertexts of features hold none they have little noise: many are added up, each at places of its own.
#[test]
fn answers_are_dense() {
    let (parties, rows, channels) = (&*PARTIES, 32, 60);
    let x = turns(rows, channels, 0.15, 15);
    let server = &mut parties.server();
    let encrypted = parties.encrypt(&x, Form::Features, 7000);
    let table = SmoothTable::of(Smooth::Identity, 1.0, [-0.1875, 0.1875], 0.5);
    let numbers = server.numbers(encrypted).into_iter().flatten().collect();
    let results = look_up(server, SmoothUse::Update, numbers, &table);
    let packed = server.pack(results.chunks(channels).map(<[_]>::to_vec).collect(), Form::Features, UNUSED);
    let before = parties.decrypt(&packed, Form::Features, channels).concat();
    let (transforms, parameters) = (parties.secrets.fft(Node::Arithmetic).transforms(), parties.parameters());
    let between = BlockPrediction::on(transforms, parameters, parties.layout).unwrap().between();
    // One ciphertext to a row, and all of them in one.
    let dense = packed.into_answer(&parties.layout);
    assert_eq!(dense.len(), 1);
    let phase = parties.secrets.phase(&dense[0]);
    let mut errors = Vec::new();
    for (index, &before) in before.iter().enumerate() {
        let (row, channel) = (index / channels, index % channels);
        let (_, place) = parties.layout.dense_place((row, parties.layout.feature_place(channel).1));
        errors.push(error(phase[place], before));
    }
    // 32 packings: what their last key switches round counts most, and half of its energy varies.
    assert_variance("beside, 31 times", &errors, between.repeated(31.0), 0.25);
}

#[test]
fn hidden_states_beyond_half_a_turn_are_refused() {
    let encoding = BlockEncoding { layout: PARTIES.layout, tokens: 2, channels: 3, answer: BlockAnswer::Stream };
    for outside in [0.5, -0.6, f64::NAN, f64::INFINITY] {
        let states = Matrix::from_fn(2, 4, |token, channel| if (token, channel) == (1, 2) { outside } else { -0.5 });
        assert_eq!(encoding.integers(&states).unwrap_err(), Refused::HiddenState { token: 1, channel: 2 });
    }
    // A variance is known modulo one turn.
    let of_variance = |variance| encoding.integers(&Matrix::from_fn(2, 4, |_, column| [0.0, variance][column / 3]));
    let [integers, turned] = [-0.25, 3.75].map(|variance| of_variance(variance).unwrap());
    assert_eq!((integers[(1, 2)], integers[(1, 3)], integers), (0, -(1 << 30), turned));
    assert_eq!(of_variance(f64::INFINITY).unwrap_err(), Refused::HiddenState { token: 0, channel: 3 });
    let size = Refused::Size { size: (1, 4), expected: (2, 4) };
    assert_eq!(encoding.integers(&Matrix::from_fn(1, 4, |_, _| 0.0)).unwrap_err(), size);
    let other = tfhe_core::sets::HEAD_EXACT.compile().unwrap();
    assert_eq!(encoding.check(&other).unwrap_err(), Refused::OtherRings("head_exact"));
    assert_ne!(encoding.context(), BlockEncoding { tokens: 3, channels: 2, ..encoding }.context());
    let [logits, more] = [3, 4].map(|size| BlockEncoding { answer: BlockAnswer::Last(size), ..encoding });
    assert!(logits.context() != encoding.context() && logits.context() != more.context());
}

#[test]
fn missing_keys_are_named() {
    let refused = |literal: tfhe_core::key_graph::ParametersLiteral, needs: &Needs| {
        let keys = ClientKeys::generate(&literal.compile().unwrap(), &ClientSeed::from_number(1)).unwrap();
        let keys = keys.evaluation_keys(needs).unwrap().prepare().unwrap();
        BlockKeys::new(&keys).map(|_| ()).unwrap_err()
    };
    let missing = |edge| Refused::Keys(MissingKey::Edge(edge));
    let none = Needs::default();
    let lookup = none.clone().keyswitch(Node::Lookup);
    assert_eq!(refused(PACKED_BLOCK, &none), missing(Edge::Keyswitch { from: Node::Lookup }));
    let relinearization = Edge::Relinearization { ring: Node::Arithmetic };
    assert_eq!(refused(PACKED_BLOCK, &lookup), missing(relinearization));
    let products = lookup.relinearization(Node::Arithmetic);
    let expansion = Edge::Automorphisms { ring: Node::Arithmetic, gadget: 0 };
    assert_eq!(refused(PACKED_BLOCK, &products), missing(expansion));
    // Of which there have to be all.
    let few = products.clone().automorphisms(Node::Arithmetic, 0, 5);
    let fewer = MissingKey::Automorphisms { edge: expansion, made: 5, asked: 0 };
    assert_eq!(refused(PACKED_BLOCK, &few), Refused::Keys(fewer));
    // Of another circuit's set, which has fewer gadgets.
    let others = products.automorphisms(Node::Arithmetic, 0, 0).refresh(0).bootstrapping(1);
    assert_eq!(refused(PACKED_HEAD, &others), missing(Edge::Bootstrapping { gadget: PRECISE }));
}
