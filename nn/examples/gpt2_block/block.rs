//! A block in the shape of GPT-2's, and hidden states with outliers as GPT-2 has them.

use nn::Error;
use nn::attention::Linear;
use nn::checkpoint::{Checkpoint, write_tensors};
use nn::matrix::Matrix;
use nn::tensor::Tensor;
use rand::RngExt;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::path::Path;

use crate::layer::{RandomLayer, SIZE};

/// F of the feed-forward layer.
const INNER: usize = 4 * SIZE;
/// The root mean square that arguments of the activation have for hidden states as LayerNorm makes them, without outliers. With these they are
/// about a quarter of it, for GPT-2 has small gains where outliers are.
const ARGUMENTS: f32 = 4.0;
/// The standard deviation of the second map's weights: that of GPT-2's initialisation, less by the root of twice its number of layers, is
/// 0.0041; trained ones are many times that. Beside
/// GPT-2's own attention, and beside a drawn one, which adds less to hidden states.
const PROJECTIONS: [f32; 2] = [0.04, 0.02];
/// The norm of what attention gets in GPT-2's layer 0, which has small gains.
const INPUT_NORM: f32 = 2.4;
/// The standard deviation of tokens' embeddings.
const EMBEDDING: f32 = 0.14;
/// The number of channels that are outliers.
const OUTLIERS: usize = 4;
/// How many times the median channel's root mean square theirs is.
const OUTLIER: f32 = 40.0;
/// The standard deviation of an outlier over tokens, of its mean.
const OUTLIER_SPREAD: f32 = 0.2;

/// What the numbers are drawn from.
struct Random(ChaCha20Rng);

impl Random {
    fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha20Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// A sample of the normal distribution of variance 1, after Box and Muller.
    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.0.random::<f64>()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.0.random::<f64>()).cos()) as f32
    }
}

/// A block's tensors by their names after `h.0.`, and embeddings of positions, where there are some.
pub(crate) struct RandomBlock {
    tensors: BTreeMap<String, Tensor>,
    positions: Option<Matrix<f32>>,
    seed: u64,
}

impl RandomBlock {
    /// Of a layer that is drawn.
    pub(crate) fn new(seed: u64) -> Result<Self, Error> {
        let layer = RandomLayer::new(seed);
        let mut tensors = BTreeMap::new();
        put_linear(&mut tensors, "attn.c_attn", layer.weights.projection())?;
        put_linear(&mut tensors, "attn.c_proj", layer.weights.output()?)?;
        // What the outliers leave of other channels' root mean square.
        let left = (1.0 + OUTLIERS as f32 * OUTLIER * OUTLIER / SIZE as f32).sqrt();
        for (norm, gain) in [("ln_1", INPUT_NORM / (SIZE as f32).sqrt() * left), ("ln_2", 1.0)] {
            let gain = |channel| if channel < OUTLIERS { gain / OUTLIER } else { gain };
            tensors.insert(format!("{norm}.weight"), Tensor::new(vec![SIZE], (0..SIZE).map(gain).collect())?);
            tensors.insert(format!("{norm}.bias"), Tensor::new(vec![SIZE], vec![0.0; SIZE])?);
        }
        Self { tensors, positions: None, seed }.with_feed_forward(PROJECTIONS[1])
    }

    /// Of a layer whose attention and LayerNorms a file has, in Hugging Face names, and maybe `wpe.weight`.
    pub(crate) fn of_attention(checkpoint: &Checkpoint, seed: u64) -> Result<Self, Error> {
        let mut tensors = BTreeMap::new();
        for layer in ["ln_1", "attn.c_attn", "attn.c_proj", "ln_2"] {
            for part in ["weight", "bias"] {
                let name = format!("{layer}.{part}");
                tensors.insert(name.clone(), checkpoint.tensor(&format!("h.0.{name}"))?);
            }
        }
        let size = tensors["ln_1.weight"].shape().to_vec();
        if size != [SIZE] {
            return Err(Error::Shape { what: "LayerNorm 1".into(), expected: format!("[{SIZE}]"), found: size });
        }
        let positions = checkpoint.tensor("wpe.weight").ok();
        let matrix = |tensor: Tensor| Matrix::new(tensor.shape()[0], tensor.shape()[1], tensor.data().to_vec());
        Self { tensors, positions: positions.map(matrix).transpose()?, seed }.with_feed_forward(PROJECTIONS[0])
    }

    /// Maps of random weights.
    fn with_feed_forward(mut self, projection: f32) -> Result<Self, Error> {
        let gain = self.tensors["ln_2.weight"].data();
        let square = gain.iter().map(|gain| gain * gain).sum::<f32>();
        let mut random = Random::new(self.seed, 1);
        let mut map = |rows, cols, deviation: f32| {
            let weight = Matrix::from_fn(rows, cols, |_, _| deviation * random.normal());
            Linear::new(weight, (0..cols).map(|_| deviation * random.normal()).collect())
        };
        let maps = [map(SIZE, INNER, ARGUMENTS / square.sqrt())?, map(INNER, SIZE, projection)?];
        put_linear(&mut self.tensors, "mlp.c_fc", &maps[0])?;
        put_linear(&mut self.tensors, "mlp.c_proj", &maps[1])?;
        Ok(self)
    }

    /// Writes all tensors of layer 0.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let names: Vec<String> = self.tensors.keys().map(|name| format!("h.0.{name}")).collect();
        let entries: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(self.tensors.values()).collect();
        write_tensors(path, &entries, &[])
    }

    /// The hidden states of a text, `[tokens, E]`: embeddings of positions, if there are any, and of random tokens; and outliers, in the same
    /// channels in all texts.
    pub(crate) fn hidden(&self, tokens: usize, number: u64) -> Matrix<f32> {
        let mut random = Random::new(self.seed, 2 + number);
        let position =
            |row: usize, channel| self.positions.as_ref().map_or(0.0, |wpe| wpe[(row % wpe.rows(), channel)]);
        let mut hidden =
            Matrix::from_fn(tokens, SIZE, |row, channel| position(row, channel) + EMBEDDING * random.normal());
        for (index, channel) in self.outliers().into_iter().enumerate() {
            let mean = OUTLIER * EMBEDDING * if index % 2 == 0 { 1.0 } else { -1.0 };
            (0..tokens).for_each(|row| hidden[(row, channel)] = mean * (1.0 + OUTLIER_SPREAD * random.normal()));
        }
        hidden
    }

    /// The channels in which positions' embeddings are largest, as they are GPT-2's own outliers; or the first ones.
    fn outliers(&self) -> Vec<usize> {
        let size = |channel: usize| {
            self.positions
                .as_ref()
                .map_or(0.0, |wpe| (0..wpe.rows()).map(|row| wpe[(row, channel)].powi(2)).sum::<f32>())
        };
        let mut channels: Vec<(usize, f32)> = (0..SIZE).map(|channel| (channel, size(channel))).collect();
        channels.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        channels.into_iter().take(OUTLIERS).map(|(channel, _)| channel).collect()
    }
}

fn put_linear(tensors: &mut BTreeMap<String, Tensor>, name: &str, linear: &Linear) -> Result<(), Error> {
    let weight = linear.weight();
    let shape = vec![weight.rows(), weight.cols()];
    tensors.insert(format!("{name}.weight"), Tensor::new(shape, weight.data().to_vec())?);
    tensors.insert(format!("{name}.bias"), Tensor::new(vec![weight.cols()], linear.bias().to_vec())?);
    Ok(())
}
