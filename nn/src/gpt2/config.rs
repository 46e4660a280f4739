//! The `config.json` of a Hugging Face folder.

use crate::attention::score_scale;
use crate::checkpoint::read_json;
use crate::error::Error;
use serde::Deserialize;
use std::path::Path;

/// The most that any size of a model may be: far beyond every GPT-2, and small enough that sizes never overflow.
const MAX_SIZE: usize = 1 << 24;

/// The fields of a `config.json`, as they are read.
type Fields = serde_json::Map<String, serde_json::Value>;

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
    /// Whether scores are divided by √d, d being the size of a head.
    #[serde(default = "yes")]
    pub scale_attn_weights: bool,
    /// Whether the scores of the layer of index l are divided by l + 1.
    #[serde(default)]
    pub scale_attn_by_inverse_layer_idx: bool,
}

/// A nonlinearity, by Hugging Face's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Activation {
    /// GELU in its tanh form, as GPT-2 was trained: x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2.
    #[default]
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh", alias = "gelu_fast")]
    GeluTanh,
    /// x·Φ(x), with Φ the distribution function of the normal distribution.
    #[serde(rename = "gelu")]
    Gelu,
    /// max(x, 0).
    #[serde(rename = "relu")]
    Relu,
    /// x/(1 + exp(−x)).
    #[serde(rename = "silu", alias = "swish")]
    Silu,
    /// tanh(x).
    #[serde(rename = "tanh")]
    Tanh,
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
        Self::parse(read_json(path)?).map_err(|reason| Error::Malformed { path: path.into(), reason })
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// [`Error::Malformed`], as [`Self::load`].
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        let fields = serde_json::from_slice(text);
        Self::parse(fields).map_err(|reason| Error::Malformed { path: "config.json".into(), reason })
    }

    /// Reads and checks the fields; the error says what is wrong.
    fn parse(fields: serde_json::Result<Fields>) -> Result<Self, String> {
        let invalid = |error| format!("it is not the configuration of a GPT-2 ({error})");
        let mut fields = fields.map_err(invalid)?;
        check_architecture(&fields)?;
        // Files have one of the two names, or both.
        if let Some(positions) = fields.get("n_ctx").cloned() {
            fields.entry("n_positions").or_insert(positions);
        }
        let config: Self = serde_json::from_value(fields.into()).map_err(invalid)?;
        config.check().map(|()| config)
    }

    /// Whether sizes and numbers are those of a model; the error says which is not.
    fn check(&self) -> Result<(), String> {
        let sizes = [
            ("n_layer", self.n_layer),
            ("n_head", self.n_head),
            ("n_embd", self.n_embd),
            ("n_positions", self.n_positions),
            ("vocab_size", self.vocab_size),
            ("n_inner", self.inner_size()),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| !(1..=MAX_SIZE).contains(size)) {
            return Err(format!("{name} is {size}; it must be in 1 ..= {MAX_SIZE}"));
        }
        if !self.n_embd.is_multiple_of(self.n_head) {
            return Err(format!("n_embd is {}, not a multiple of n_head, {}", self.n_embd, self.n_head));
        }
        if !(self.layer_norm_epsilon.is_finite() && self.layer_norm_epsilon >= 0.0) {
            return Err(format!("layer_norm_epsilon is {}; it must not be negative", self.layer_norm_epsilon));
        }
        Ok(())
    }

    /// The size of the feed-forward layer.
    pub fn inner_size(&self) -> usize {
        self.n_inner.unwrap_or(self.n_embd.saturating_mul(4))
    }

    /// The size of a head, d = E/heads.
    pub fn head_size(&self) -> usize {
        self.n_embd / self.n_head
    }

    /// What the products q·k of a layer are multiplied by to give scores: 1/√d, unless the options say otherwise.
    pub fn score_scale(&self, layer: usize) -> f32 {
        let of_size = if self.scale_attn_weights { score_scale(self.head_size()) } else { 1.0 };
        if self.scale_attn_by_inverse_layer_idx { of_size / (layer + 1) as f32 } else { of_size }
    }
}

/// Checks that the configuration is one of GPT-2's architecture; the error says why it is not.
fn check_architecture(fields: &Fields) -> Result<(), String> {
    match fields.get("model_type") {
        None => {}
        Some(serde_json::Value::String(name)) if name == "gpt2" => {}
        Some(other) => return Err(format!("its model_type is {other}; \"gpt2\" is the architecture that can be read")),
    }
    if fields.get("add_cross_attention") == Some(&true.into()) {
        return Err("it asks for cross-attention (add_cross_attention), which is not supported".into());
    }
    Ok(())
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
            Self::Relu => x.max(0.0),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
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
        let unsupported = [
            (r#""n_inner":0"#, "n_inner is 0"),
            (r#""activation_function":"mish""#, "unknown variant `mish`, expected one of"),
            (r#""layer_norm_epsilon":-1"#, "layer_norm_epsilon is -1"),
            (r#""model_type":"llama""#, r#"its model_type is "llama""#),
            (r#""add_cross_attention":true"#, "cross-attention"),
            (r#""n_layer":"three""#, "invalid type: string"),
        ];
        for (change, expected) in unsupported {
            let message = config(&format!("{{{sizes},{change}}}")).unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains('\n'), "{change}: {message}");
        }
        let missing = config(r#"{"n_layer":3,"n_head":3,"n_embd":48,"n_ctx":11}"#).unwrap_err().to_string();
        assert!(missing.contains("missing field `vocab_size`"), "{missing}");
        for (size, bad) in [("48", "50"), ("11", "0"), ("11", "99999999999"), ("48", "-48")] {
            assert!(config(&format!("{{{}}}", sizes.replace(size, bad))).is_err(), "{size} -> {bad}");
        }
    }

    #[test]
    fn every_scale_of_scores_is_known() {
        let scale = |options: &str, layer| {
            let sizes = r#""n_layer":3,"n_head":3,"n_embd":48,"n_ctx":11,"vocab_size":3"#;
            let config = Config::from_json(format!("{{{sizes}{options}}}").as_bytes()).unwrap();
            config.score_scale(layer)
        };
        assert_eq!(scale("", 2), 0.25);
        assert_eq!(scale(r#","scale_attn_weights":false"#, 2), 1.0);
        assert_eq!(scale(r#","scale_attn_by_inverse_layer_idx":true,"reorder_and_upcast_attn":true"#, 1), 0.125);
        assert_eq!(scale(r#","scale_attn_weights":false,"scale_attn_by_inverse_layer_idx":true"#, 3), 0.25);
    }

    #[test]
    fn every_activation_at_known_points() {
        let activation = |name: &str| serde_json::from_value::<Activation>(name.into()).unwrap();
        assert_eq!(activation("gelu_pytorch_tanh"), activation("gelu_new"));
        // Values of PyTorch's functions of these names, to 6 digits.
        let known = [
            ("gelu_new", [-0.158808, 0.841192]),
            ("gelu", [-0.158655, 0.841345]),
            ("relu", [0.0, 1.0]),
            ("silu", [-0.268941, 0.731059]),
            ("tanh", [-0.761594, 0.761594]),
        ];
        for (name, expected) in known {
            let values = [-1.0, 1.0].map(|x| activation(name).apply(x));
            assert!(values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{name}: {values:?}");
            assert!([-1e30, 1e30].iter().all(|&x| activation(name).apply(x).is_finite()), "{name}");
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
