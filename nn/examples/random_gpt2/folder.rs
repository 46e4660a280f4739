//! Hugging Face folders with random weights, in every layout that the Hub has.

use anyhow::Context;
use nn::gpt2::{Activation, Config};
use rand::RngExt;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use safetensors::Dtype;
use safetensors::tensor::{View, serialize_to_file};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The standard deviation of weights, as GPT-2 was initialised.
const DEVIATION: f32 = 0.02;

/// A GPT-2 with random weights, and how a folder holds it.
#[derive(Clone, Debug)]
pub(crate) struct RandomGpt2 {
    /// The contents of `config.json`.
    pub(crate) config: Value,
    /// Decides every weight; the same for every layout.
    pub(crate) seed: u64,
    /// f64, f32, f16 or bf16.
    pub(crate) dtype: Dtype,
    /// The number of files; more than one come with an index.
    pub(crate) shards: usize,
    /// Whether all names but the output's begin with `transformer.`.
    pub(crate) prefix: bool,
    /// Whether there are the masks of old exports, `attn.bias` and `attn.masked_bias`.
    pub(crate) masks: bool,
}

/// A tensor whose entries are made when they are written.
struct RandomTensor {
    shape: Vec<usize>,
    dtype: Dtype,
    /// What entries are spread around: 1 for the weights of LayerNorm.
    mean: f32,
    seed: u64,
    /// Each tensor of a model has its own stream of random numbers.
    stream: u64,
}

impl RandomTensor {
    /// Uniform entries of the given mean and standard deviation [`DEVIATION`].
    fn entries(&self) -> impl Iterator<Item = f32> {
        let mut generator = ChaCha20Rng::seed_from_u64(self.seed);
        generator.set_stream(self.stream);
        let reach = DEVIATION * 3.0_f32.sqrt();
        let count = self.shape.iter().product();
        (0..count).map(move |_| self.mean + generator.random_range(-reach..reach))
    }
}

impl View for &RandomTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let entries = self.entries();
        Cow::Owned(match self.dtype {
            Dtype::F16 => entries.flat_map(|entry| half::f16::from_f32(entry).to_le_bytes()).collect(),
            Dtype::F64 => entries.flat_map(|entry| f64::from(entry).to_le_bytes()).collect(),
            Dtype::BF16 => entries.flat_map(|entry| half::bf16::from_f32(entry).to_le_bytes()).collect(),
            _ => entries.flat_map(f32::to_le_bytes).collect(),
        })
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

impl RandomGpt2 {
    /// A model of the given `config.json`: one file of f32, names without a prefix.
    pub(crate) fn new(config: Value, seed: u64) -> Self {
        Self { config, seed, dtype: Dtype::F32, shards: 1, prefix: false, masks: false }
    }

    /// Writes `config.json` and the weights.
    ///
    /// # Errors
    /// What is wrong with the configuration; that a file cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(&self.config)?;
        let tensors = self.tensors(&Config::from_json(&text)?);
        std::fs::write(folder.join("config.json"), text).context("cannot write config.json")?;
        let size = tensors.len().div_ceil(self.shards);
        let parts: Vec<&[(String, RandomTensor)]> = tensors.chunks(size).collect();
        let mut weight_map = BTreeMap::new();
        for (number, part) in (1..).zip(&parts) {
            let name = match parts.len() {
                1 => "model.safetensors".into(),
                count => format!("model-{number:05}-of-{count:05}.safetensors"),
            };
            weight_map.extend(part.iter().map(|(tensor, _)| (tensor, name.clone())));
            let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
            let views = part.iter().map(|(name, tensor)| (name, tensor));
            serialize_to_file(views, Some(metadata), &folder.join(&name))
                .with_context(|| format!("cannot write {name}"))?;
        }
        if parts.len() > 1 {
            let total: usize = tensors.iter().map(|(_, tensor)| (&tensor).data_len()).sum();
            let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
            std::fs::write(folder.join("model.safetensors.index.json"), index.to_string())
                .context("cannot write the index")?;
        }
        Ok(())
    }

    /// Every tensor with its name in the file.
    fn tensors(&self, config: &Config) -> Vec<(String, RandomTensor)> {
        let (size, inner) = (config.n_embd, config.inner_size());
        let mut shapes: Vec<(String, Vec<usize>)> = vec![
            ("wte.weight".into(), vec![config.vocab_size, size]),
            ("wpe.weight".into(), vec![config.n_positions, size]),
        ];
        for layer in 0..config.n_layer {
            for (name, inputs, outputs) in [
                ("attn.c_attn", size, 3 * size),
                ("attn.c_proj", size, size),
                ("mlp.c_fc", size, inner),
                ("mlp.c_proj", inner, size),
            ] {
                shapes.push((format!("h.{layer}.{name}.weight"), vec![inputs, outputs]));
                shapes.push((format!("h.{layer}.{name}.bias"), vec![outputs]));
            }
            // What a nonlinearity learns.
            let learnt: &[(&str, &[usize])] = match config.activation_function {
                Activation::Prelu => &[("weight", &[1])],
                Activation::Xielu => &[("alpha_p", &[1]), ("alpha_n", &[1]), ("beta", &[]), ("eps", &[])],
                _ => &[],
            };
            shapes.extend(learnt.iter().map(|(part, shape)| (format!("h.{layer}.mlp.act.{part}"), shape.to_vec())));
            for part in ["ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"] {
                shapes.push((format!("h.{layer}.{part}"), vec![size]));
            }
        }
        shapes.extend(["ln_f.weight", "ln_f.bias"].map(|name| (name.into(), vec![size])));
        if !config.tie_word_embeddings {
            shapes.push(("lm_head.weight".into(), vec![config.vocab_size, size]));
        }
        if self.masks {
            let positions = config.n_positions;
            for layer in 0..config.n_layer {
                shapes.push((format!("h.{layer}.attn.bias"), vec![1, 1, positions, positions]));
                shapes.push((format!("h.{layer}.attn.masked_bias"), vec![]));
            }
        }
        let tensors = shapes.into_iter().zip(0..).map(|((name, shape), stream)| {
            let mean = if name.contains("ln_") && name.ends_with(".weight") { 1.0 } else { 0.0 };
            let prefixed = self.prefix && name != "lm_head.weight";
            let tensor = RandomTensor { shape, dtype: self.dtype, mean, seed: self.seed, stream };
            (if prefixed { format!("transformer.{name}") } else { name }, tensor)
        });
        tensors.collect()
    }
}
