//! The `config.json` of a Hugging Face folder.

use crate::error::Error;
use serde::Deserialize;
use std::path::Path;

/// The most that any size of a model may be: far beyond every GPT-2, and small enough that sizes never overflow.
const MAX_SIZE: usize = 1 << 24;

/// The sizes of a model and the variants it uses, by the names of `config.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Config {
    /// The number of layers.
    pub n_layer: usize,
    /// The number of heads of a layer.
    pub n_head: usize,
    /// E, the size of an embedding; a multiple of the number of heads.
    pub n_embd: usize,
    /// The most tokens of an input; `n_ctx` in some files.
    pub n_positions: usize,
    /// The number of tokens.
    pub vocab_size: usize,
    /// The size of the feed-forward layer; 4E if absent.
    #[serde(default)]
    pub n_inner: Option<usize>,
    /// The nonlinearity of the feed-forward layer.
    #[serde(default)]
    pub activation_function: Activation,
    /// What LayerNorm adds to the variance.
    #[serde(default = "default_epsilon")]
    pub layer_norm_epsilon: f32,
    /// Whether the output matrix is the token embedding.
    #[serde(default = "yes")]
    pub tie_word_embeddings: bool,
    /// Whether scores are divided by √d; models for which they are not cannot be read.
    #[serde(default = "yes")]
    scale_attn_weights: bool,
    /// Whether scores are also divided by the layer's number; models for which they are cannot be read.
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
}

/// A nonlinearity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Activation {
    /// GELU in its tanh form, as GPT-2 was trained.
    #[default]
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    /// x·Φ(x), with Φ the distribution function of the normal distribution.
    #[serde(rename = "gelu")]
    Gelu,
}

fn default_epsilon() -> f32 {
    1e-5
}

fn yes() -> bool {
    true
}

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Malformed`] if it is not the configuration of a GPT-2 that this crate can run.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read(path).map_err(|source| Error::File { action: "read", path: path.into(), source })?;
        Self::parse(&text).map_err(|reason| Error::Malformed { path: path.into(), reason })
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// [`Error::Malformed`], as [`Self::load`].
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        Self::parse(text).map_err(|reason| Error::Malformed { path: "config.json".into(), reason })
    }

    /// Parses and checks; the error says what is wrong.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let invalid = |error| format!("it is not the configuration of a GPT-2 ({error})");
        let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text).map_err(invalid)?;
        // Files have one of the two names, or both.
        if let Some(positions) = fields.get("n_ctx").cloned() {
            fields.entry("n_positions").or_insert(positions);
        }
        let config: Self = serde_json::from_value(fields.into()).map_err(invalid)?;
        let sizes = [
            ("n_layer", config.n_layer),
            ("n_head", config.n_head),
            ("n_embd", config.n_embd),
            ("n_positions", config.n_positions),
            ("vocab_size", config.vocab_size),
            ("n_inner", config.inner_size()),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| !(1..=MAX_SIZE).contains(size)) {
            return Err(format!("{name} is {size}; it must be in 1 ..= {MAX_SIZE}"));
        }
        if !config.n_embd.is_multiple_of(config.n_head) {
            return Err(format!("n_embd is {}, not a multiple of n_head, {}", config.n_embd, config.n_head));
        }
        if !(config.layer_norm_epsilon.is_finite() && config.layer_norm_epsilon >= 0.0) {
            return Err(format!("layer_norm_epsilon is {}; it must not be negative", config.layer_norm_epsilon));
        }
        if !config.scale_attn_weights || config.scale_attn_by_inverse_layer_idx {
            return Err("it scales attention scores otherwise than by 1/√d, which is not supported".into());
        }
        Ok(config)
    }

    /// The size of the feed-forward layer.
    pub fn inner_size(&self) -> usize {
        self.n_inner.unwrap_or(self.n_embd.saturating_mul(4))
    }
}

impl Activation {
    /// The nonlinearity of one value.
    pub fn apply(self, x: f32) -> f32 {
        match self {
            // D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units" (arXiv:1606.08415), section 2.
            Self::GeluTanh => {
                let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Self::Gelu => (x as f64 * normal_distribution(x as f64)) as f32,
        }
    }
}

/// Φ(x), the probability that a normal variable is at most x, to within 1e-12.
///
/// Φ(x) = 1/2 + φ(x)·Σ x^(2n+1) / (1·3·…·(2n+1)) (Abramowitz and Stegun, 26.2.11), where the sum has no cancellation.
fn normal_distribution(x: f64) -> f64 {
    const BEYOND: f64 = 8.0; // 1 − Φ(8) < 1e-15
    if x.abs() > BEYOND {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        let config = |text: &str| Config::from_json(text.as_bytes());
        let sizes = r#""n_layer":3,"n_head":3,"n_embd":48,"n_ctx":11,"vocab_size":3"#;
        let small = config(&format!("{{{sizes}}}")).unwrap();
        assert_eq!((small.n_positions, small.inner_size(), small.tie_word_embeddings), (11, 192, true));
        assert_eq!(small.activation_function, Activation::GeluTanh);
        assert_eq!(config(&format!(r#"{{{sizes},"n_positions":9}}"#)).unwrap().n_positions, 9);
        for change in [r#""n_inner":0"#, r#""activation_function":"relu""#, r#""scale_attn_weights":false"#] {
            assert!(config(&format!("{{{sizes},{change}}}")).is_err(), "{change}");
        }
        for (size, bad) in [("48", "50"), ("11", "0"), ("11", "99999999999"), ("48", "-48")] {
            assert!(config(&format!("{{{}}}", sizes.replace(size, bad))).is_err(), "{size} -> {bad}");
        }
    }

    /// Φ to 12 digits, from tables (Abramowitz and Stegun, table 26.1).
    #[test]
    fn normal_distribution_at_known_points() {
        let known = [(0.0, 0.5), (1.0, 0.841344746069), (2.0, 0.977249868052), (3.0, 0.998650101968)];
        for (x, phi) in known {
            assert!((normal_distribution(x) - phi).abs() < 1e-12, "{x}");
            assert!((normal_distribution(-x) - (1.0 - phi)).abs() < 1e-12, "-{x}");
        }
        assert!((normal_distribution(7.999) - 1.0).abs() < 1e-12 && normal_distribution(-9.0) == 0.0);
    }

    /// The tanh form stays within 5e-4 of the exact one (figure of arXiv:1606.08415; the largest gap is 4.7e-4).
    #[test]
    fn the_two_forms_are_close() {
        for step in -800..=800 {
            let x = step as f32 / 100.0;
            assert!((Activation::GeluTanh.apply(x) - Activation::Gelu.apply(x)).abs() < 5e-4, "{x}");
        }
    }
}
