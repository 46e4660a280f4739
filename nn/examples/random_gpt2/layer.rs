//! A layer's attention, and inputs of it, drawn with the statistics of GPT-2's layer 0: what tests calibrate and run
//! where GPT-2's own weights are not needed.
//!
//! [`HEADS`] and the constants beside it were measured on GPT-2 124M's layer 0 and the inputs of three prompts of six
//! tokens, by [`HeadStatistics::measure`] for heads; `nn/tests/layer.rs` measures them again, on what is drawn here
//! and, where it is at hand, on the original.

use nn::attention::{AttentionWeights, Linear};
use nn::matrix::Matrix;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

/// The size of an embedding.
pub(crate) const SIZE: usize = 768;
/// The size of a head.
pub(crate) const HEAD_SIZE: usize = 64;

/// The norm of an input's mean over tokens.
const MEAN_NORM: f32 = 1.64;
/// The root of the mean squared distance of a token from it.
const DEVIATION_NORM: f32 = 1.70;
/// Channels' standard deviations over tokens are lognormal; this is the standard deviation of their logarithms.
const LOG_DEVIATION: f32 = 0.34;
/// Inputs and weights have some directions in common: that many,
const COMMON: usize = 24;
/// with this share of the variance of inputs
const COMMON_OF_INPUTS: f32 = 0.6;
/// and this of the weights, so that queries, keys and values are half as large again as for weights that know nothing of
/// the inputs, and lie in fewer dimensions.
const COMMON_OF_WEIGHTS: f32 = 0.08;
/// How much of a token's deviation is that of its position, the same in every input: of the first token and of others.
const POSITION_SHARES: [f32; 2] = [0.9, 0.3];
/// Tokens by which weights are scaled to what queries, keys and values are to be.
const SAMPLES: usize = 256;
/// The scale of the output projection's biases, of Student's distribution with two degrees of freedom.
const OUTPUT_BIAS: f32 = 0.065;
/// Root mean squares of the output projection's weights to one output: their quantiles, most near the first, an eighth
/// of them ten times as large.
const OUTPUT_QUANTILES: [(f32, f32); 6] =
    [(0.0, 0.019), (0.5, 0.030), (0.65, 0.049), (0.75, 0.173), (0.95, 0.312), (1.0, 0.686)];

/// What queries, keys and values of one head are like over tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadStatistics {
    /// Root mean square, over channels, of the mean over tokens: of queries, keys and values.
    pub(crate) mean: [f32; 3],
    /// Root mean square of the deviations from it.
    pub(crate) deviation: [f32; 3],
    /// Root mean square of the biases.
    pub(crate) bias: [f32; 3],
    /// The cosine of the mean query and the mean key.
    pub(crate) mean_cosine: f32,
    /// The mean cosine of the deviations of a token's query and of its own key: how much tokens attend to themselves.
    pub(crate) cosine: f32,
}

const fn head(mean: [f32; 3], deviation: [f32; 3], bias: [f32; 3], [mean_cosine, cosine]: [f32; 2]) -> HeadStatistics {
    HeadStatistics { mean, deviation, bias, mean_cosine, cosine }
}

/// GPT-2's layer 0. Heads 1 and 5 have scores up to 15, most heads within ±5.
pub(crate) const HEADS: [HeadStatistics; 12] = [
    head([0.495, 1.261, 0.108], [0.511, 0.547, 0.124], [0.255, 0.096, 0.049], [-0.26, -0.13]),
    head([0.930, 0.882, 0.127], [0.867, 0.862, 0.153], [0.358, 0.480, 0.072], [0.44, 0.84]),
    head([0.585, 1.205, 0.096], [0.460, 0.558, 0.152], [0.290, 0.093, 0.035], [-0.33, 0.01]),
    head([0.713, 2.519, 0.152], [0.805, 0.939, 0.108], [0.455, 0.184, 0.052], [-0.13, 0.58]),
    head([0.773, 1.484, 0.085], [0.676, 0.694, 0.098], [0.304, 0.091, 0.030], [-0.08, 0.41]),
    head([0.987, 0.847, 0.151], [0.888, 1.222, 0.117], [0.368, 0.262, 0.046], [0.53, 0.82]),
    head([0.517, 1.271, 0.105], [0.483, 0.557, 0.131], [0.287, 0.075, 0.015], [-0.18, -0.04]),
    head([0.512, 1.645, 0.096], [0.619, 0.614, 0.126], [0.435, 0.111, 0.040], [-0.52, -0.13]),
    head([0.681, 1.289, 0.093], [0.518, 0.512, 0.149], [0.294, 0.075, 0.030], [-0.29, 0.13]),
    head([0.632, 1.014, 0.181], [0.365, 0.375, 0.232], [0.433, 0.080, 0.064], [-0.36, -0.26]),
    head([0.603, 0.992, 0.153], [0.414, 0.457, 0.210], [0.232, 0.096, 0.054], [0.33, 0.74]),
    head([0.656, 0.672, 0.154], [0.389, 0.421, 0.162], [0.312, 0.059, 0.055], [-0.52, 0.01]),
];

/// Attention of twelve heads with its output projection, and what its inputs are drawn around.
pub(crate) struct RandomLayer {
    /// The weights.
    pub(crate) weights: AttentionWeights,
    inputs: Inputs,
    seed: u64,
}

impl RandomLayer {
    /// Everything is drawn from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = generator(seed, 0);
        let inputs = Inputs::new(&mut random);
        let projection = projection(&mut random, &inputs);
        let output = output(&mut random);
        let weights = AttentionWeights::new(projection, HEADS.len()).expect("shapes fit");
        Self { weights: weights.with_output(output).expect("shapes fit"), inputs, seed }
    }

    /// An input of that many tokens; each number has another one.
    pub(crate) fn input(&self, tokens: usize, number: u64) -> Matrix<f32> {
        let mut input = self.inputs.deviations(&mut generator(self.seed, 1 + number), tokens);
        for position in 0..tokens {
            let share = POSITION_SHARES[usize::from(position > 0)];
            let of_position = self.inputs.deviations(&mut generator(self.seed, u64::MAX - position as u64), 1);
            let blended = blend(of_position.row(0), input.row(position), share.sqrt());
            input.row_mut(position).copy_from_slice(&blended);
        }
        input.add_to_rows(&self.inputs.mean);
        input
    }
}

/// What inputs are drawn from.
struct Inputs {
    mean: Vec<f32>,
    /// The standard deviation of each channel.
    scales: Vec<f32>,
    /// Directions that inputs and weights have in common, `[COMMON, E]`, of vectors whose entries have variance 1/COMMON.
    common: Matrix<f32>,
}

impl Inputs {
    fn new(random: &mut ChaCha20Rng) -> Self {
        let mean = with_norm(heavy_tailed(random, SIZE), MEAN_NORM);
        let scale = |_| (LOG_DEVIATION * normal(random)).exp();
        let scales = with_norm((0..SIZE).map(scale).collect(), DEVIATION_NORM);
        let common = Matrix::from_fn(COMMON, SIZE, |_, _| normal(random) / (COMMON as f32).sqrt());
        Self { mean, scales, common }
    }

    /// Vectors of variance 1, of which `share` lies in the common directions, `[count, E]`.
    fn vectors(&self, random: &mut ChaCha20Rng, count: usize, share: f32) -> Matrix<f32> {
        let mut vectors = Matrix::from_fn(count, COMMON, |_, _| share.sqrt() * normal(random)).multiply(&self.common);
        vectors.data_mut().iter_mut().for_each(|entry| *entry += (1.0 - share).sqrt() * normal(random));
        vectors
    }

    /// Deviations of tokens from the mean, `[tokens, E]`.
    fn deviations(&self, random: &mut ChaCha20Rng, tokens: usize) -> Matrix<f32> {
        let mut deviations = self.vectors(random, tokens, COMMON_OF_INPUTS);
        for row in 0..tokens {
            deviations.row_mut(row).iter_mut().zip(&self.scales).for_each(|(entry, scale)| *entry *= scale);
        }
        deviations
    }
}

impl HeadStatistics {
    /// Of every head of a layer, over the tokens of all inputs.
    pub(crate) fn measure(weights: &AttentionWeights, inputs: &[Matrix<f32>]) -> Vec<Self> {
        let mut tokens = inputs[0].clone();
        inputs[1..].iter().for_each(|input| tokens.append_rows(input));
        let head = |index| {
            let head = weights.head(index).expect("a head of the layer");
            Self::of_parts([&head.query, &head.key, &head.value], &tokens)
        };
        (0..weights.heads()).map(head).collect()
    }

    fn of_parts(parts: [&Linear; 3], tokens: &Matrix<f32>) -> Self {
        let outputs = parts.map(|part| part.apply(tokens));
        let count = tokens.rows();
        let means = outputs.each_ref().map(|output| -> Vec<f32> {
            (0..output.cols())
                .map(|column| (0..count).map(|row| output[(row, column)]).sum::<f32>() / count as f32)
                .collect()
        });
        let deviations: [Vec<Vec<f32>>; 3] = std::array::from_fn(|part| {
            let (output, mean) = (&outputs[part], &means[part]);
            (0..count).map(|row| output.row(row).iter().zip(mean).map(|(value, mean)| value - mean).collect()).collect()
        });
        let cosines = deviations[0].iter().zip(&deviations[1]).map(|(query, key)| cosine(query, key));
        Self {
            mean: means.each_ref().map(|mean| root_mean_square(mean)),
            deviation: deviations.each_ref().map(|rows| root_mean_square(&rows.concat())),
            bias: parts.map(|part| root_mean_square(part.bias())),
            mean_cosine: cosine(&means[0], &means[1]),
            cosine: cosines.sum::<f32>() / count as f32,
        }
    }
}

/// `c_attn`.
fn projection(random: &mut ChaCha20Rng, inputs: &Inputs) -> Linear {
    let samples = inputs.deviations(random, SAMPLES);
    let parts: Vec<[Linear; 3]> = HEADS.iter().map(|head| head_parts(random, inputs, &samples, head)).collect();
    let mut weight = Matrix::from_fn(SIZE, 3 * SIZE, |_, _| 0.0);
    let mut bias = Vec::with_capacity(3 * SIZE);
    for part in 0..3 {
        for (index, head) in parts.iter().enumerate() {
            weight.set_columns(part * SIZE + index * HEAD_SIZE, head[part].weight());
            bias.extend_from_slice(head[part].bias());
        }
    }
    Linear::new(weight, bias).expect("shapes fit")
}

/// The projections of a head to queries, keys and values, each `[E, d]`.
fn head_parts(
    random: &mut ChaCha20Rng,
    inputs: &Inputs,
    samples: &Matrix<f32>,
    statistics: &HeadStatistics,
) -> [Linear; 3] {
    let means = mean_vectors(random, statistics);
    let mut draw = || inputs.vectors(random, HEAD_SIZE, COMMON_OF_WEIGHTS).transpose();
    let (query, other, value) = (draw(), draw(), draw());
    let key = blend(query.data(), other.data(), statistics.cosine);
    let key = Matrix::new(SIZE, HEAD_SIZE, key).expect("as many entries");
    let mut parts = [query, key, value].into_iter().zip(means).enumerate().map(|(part, (mut weight, targets))| {
        let scale = statistics.deviation[part] / root_mean_square(samples.multiply(&weight).data());
        weight.data_mut().iter_mut().for_each(|entry| *entry *= scale);
        let bias: Vec<f32> = targets.iter().map(|_| statistics.bias[part] * normal(random)).collect();
        add_mean(&mut weight, &bias, &inputs.mean, &targets);
        Linear::new(weight, bias).expect("shapes fit")
    });
    std::array::from_fn(|_| parts.next().expect("three parts"))
}

/// Makes the inputs' mean give `targets`. What biases and weights leave of them comes from weights along the mean: outlier
/// channels of the input have outlier weights, as in GPT-2.
fn add_mean(weight: &mut Matrix<f32>, bias: &[f32], mean: &[f32], targets: &[f32]) {
    let at_mean = Matrix::new(1, SIZE, mean.to_vec()).expect("one row").multiply(weight);
    let along = |column: usize| (targets[column] - bias[column] - at_mean[(0, column)]) / (MEAN_NORM * MEAN_NORM);
    let along: Vec<f32> = (0..targets.len()).map(along).collect();
    for (row, mean) in mean.iter().enumerate() {
        weight.row_mut(row).iter_mut().zip(&along).for_each(|(entry, along)| *entry += along * mean);
    }
}

/// The mean query, key and value of a head.
fn mean_vectors(random: &mut ChaCha20Rng, statistics: &HeadStatistics) -> [Vec<f32>; 3] {
    let norm = (HEAD_SIZE as f32).sqrt();
    let mut draw = || -> Vec<f32> { (0..HEAD_SIZE).map(|_| normal(random)).collect() };
    let (query, other, value) = (with_norm(draw(), norm), draw(), with_norm(draw(), norm));
    // Without what it has of the query: the cosine is to be exact, and two random vectors' is ±1/8.
    let shared = dot(&query, &other) / dot(&query, &query);
    let other = with_norm(other.iter().zip(&query).map(|(other, query)| other - shared * query).collect(), norm);
    let key = blend(&query, &other, statistics.mean_cosine);
    let scaled = |vector: Vec<f32>, scale: f32| vector.into_iter().map(|entry| scale * entry).collect();
    [scaled(query, statistics.mean[0]), scaled(key, statistics.mean[1]), scaled(value, statistics.mean[2])]
}

/// `c_proj`: few outputs have most of the weights.
fn output(random: &mut ChaCha20Rng) -> Linear {
    let mut scales: Vec<f32> = (0..SIZE).map(|rank| quantile((rank as f32 + 0.5) / SIZE as f32)).collect();
    scales.shuffle(random);
    let bias = heavy_tailed(random, SIZE).into_iter().map(|entry| OUTPUT_BIAS * entry).collect();
    let weight = Matrix::from_fn(SIZE, SIZE, |_, column| scales[column] * normal(random));
    Linear::new(weight, bias).expect("shapes fit")
}

/// The quantile of [`OUTPUT_QUANTILES`], its logarithm interpolated.
fn quantile(share: f32) -> f32 {
    let above = OUTPUT_QUANTILES.iter().position(|&(at, _)| at >= share).expect("a share is at most 1");
    let [(low, from), (high, to)] = [OUTPUT_QUANTILES[above - 1], OUTPUT_QUANTILES[above]];
    from * (to / from).powf((share - low) / (high - low))
}

fn generator(seed: u64, stream: u64) -> ChaCha20Rng {
    let mut generator = ChaCha20Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    generator
}

/// A sample of the normal distribution of variance 1, after Box and Muller.
fn normal(random: &mut ChaCha20Rng) -> f32 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * random.random::<f64>()).cos()) as f32
}

/// The quantiles, in random order, of Student's distribution with two degrees of freedom: a few of them are many times
/// larger than all others, as channels of a language model are.
fn heavy_tailed(random: &mut ChaCha20Rng, count: usize) -> Vec<f32> {
    let quantile = |rank: usize| {
        let share = (rank as f32 + 0.5) / count as f32;
        (2.0 * share - 1.0) / (2.0 * share * (1.0 - share)).sqrt()
    };
    let mut values: Vec<f32> = (0..count).map(quantile).collect();
    values.shuffle(random);
    values
}

/// `cosine`·a + sin·b.
fn blend(a: &[f32], b: &[f32], cosine: f32) -> Vec<f32> {
    let sine = (1.0 - cosine * cosine).sqrt();
    a.iter().zip(b).map(|(a, b)| cosine * a + sine * b).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn root_mean_square(values: &[f32]) -> f32 {
    (dot(values, values) / values.len() as f32).sqrt()
}

fn with_norm(values: Vec<f32>, norm: f32) -> Vec<f32> {
    let scale = norm / dot(&values, &values).sqrt();
    values.into_iter().map(|value| scale * value).collect()
}
