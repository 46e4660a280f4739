//! The `config.json` of a Hugging Face folder.

use super::activation::Activation;
use crate::attention::score_scale;
use crate::error::Error;
use crate::file::{is_there, parse_json, read_json};
use crate::tokenizer::Tokenizer;
use serde_json::Value;
use std::path::Path;

/// The most that any size of a model may be: far beyond every GPT-2, and small enough that sizes never overflow.
const MAX_SIZE: usize = 1 << 24;

/// The sizes of a model and the variants it uses, by the names of `config.json`.
///
/// What a file leaves out, or sets to null, is what `transformers` (5.24) takes it to be: as in the smallest GPT-2.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The number of layers; also named `num_hidden_layers` or `num_layers`.
    pub n_layer: usize,
    /// The number of heads of a layer; also named `num_attention_heads`.
    pub n_head: usize,
    /// E, the size of an embedding; a multiple of the number of heads; also named `hidden_size`.
    pub n_embd: usize,
    /// The most tokens of an input; also named `max_position_embeddings`, and `n_ctx` in some files that have neither.
    pub n_positions: usize,
    /// The number of tokens.
    pub vocab_size: usize,
    /// The size of the feed-forward layer; 4E if absent.
    pub n_inner: Option<usize>,
    /// The nonlinearity of the feed-forward layer.
    pub activation_function: Activation,
    /// What LayerNorm adds to the variance.
    pub layer_norm_epsilon: f32,
    /// Whether the output matrix is the token embedding.
    pub tie_word_embeddings: bool,
    /// Whether scores are divided by √d, d being the size of a head.
    pub scale_attn_weights: bool,
    /// Whether the scores of the layer of index l are divided by l + 1.
    pub scale_attn_by_inverse_layer_idx: bool,
    /// The token that texts begin with.
    pub bos_token_id: Option<u32>,
    /// The tokens that end a text; `None` if the file says nothing of them.
    pub eos_token_ids: Option<Vec<u32>>,
}

/// The fields of a JSON object.
struct Fields(serde_json::Map<String, Value>);

impl Fields {
    /// A field by the first of its names that is there and is not null, with that name.
    fn get<'a>(&self, names: &[&'a str]) -> Option<(&'a str, &Value)> {
        names.iter().find_map(|&name| self.0.get(name).filter(|value| !value.is_null()).map(|value| (name, value)))
    }

    /// A number of things by one of its names, or what it is where the file does not say.
    fn size(&self, names: &[&str], default: usize) -> Result<usize, String> {
        let Some((name, value)) = self.get(names) else { return Ok(default) };
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
        size.filter(|size| (1..=MAX_SIZE).contains(size))
            .ok_or_else(|| format!("{name} is {value}; it must be a whole number in 1 ..= {MAX_SIZE}"))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.get(&[name]) {
            None => Ok(default),
            Some((_, Value::Bool(value))) => Ok(*value),
            Some((_, value)) => Err(format!("{name} is {value}; it must be true or false")),
        }
    }

    /// A real number that is not negative.
    fn real(&self, name: &str, default: f32) -> Result<f32, String> {
        let Some((_, value)) = self.get(&[name]) else { return Ok(default) };
        let real = value.as_f64().filter(|&value| (0.0..=f64::from(f32::MAX)).contains(&value));
        real.map(|value| value as f32).ok_or_else(|| {
            format!("{name} is {value}; it must be a number that is not negative, and at most 3.4e38, the largest f32")
        })
    }

    /// The tokens that a field names, one or a list; `None` if it is not there, and no token if it is null. Numbers that
    /// no token has (some files say -1) are left out.
    fn tokens(&self, name: &str) -> Result<Option<Vec<u32>>, String> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let list = match value {
            Value::Null => &[],
            Value::Array(list) => &list[..],
            one => std::slice::from_ref(one),
        };
        if !list.iter().all(|token| token.is_i64() || token.is_u64()) {
            return Err(format!("{name} is {value}; it must be the number of a token, or a list of such numbers"));
        }
        let number = |token: &Value| token.as_u64().and_then(|token| u32::try_from(token).ok());
        Ok(Some(list.iter().filter_map(number).collect()))
    }
}

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Malformed`] if it is not the configuration of a GPT-2 that this crate can run.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::parse(read_json(path)?).map_err(|reason| Error::Malformed { path: path.into(), reason })
    }

    /// Reads a folder's `config.json`, and its `generation_config.json` if it has one. That one alone then says which
    /// tokens end a text.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_folder(folder: &Path) -> Result<Self, Error> {
        let mut config = Self::load(&folder.join("config.json"))?;
        let path = folder.join("generation_config.json");
        if is_there(&path)? {
            let malformed = |reason| Error::Malformed { path: path.clone(), reason };
            let fields = Fields(read_json(&path)?.map_err(malformed)?);
            config.eos_token_ids = Some(fields.tokens("eos_token_id").map_err(malformed)?.unwrap_or_default());
        }
        Ok(config)
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// [`Error::Malformed`], as [`Self::load`].
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        let malformed = |reason| Error::Malformed { path: "config.json".into(), reason };
        Self::parse(parse_json(text)).map_err(malformed)
    }

    /// Reads and checks the fields; the error says what is wrong.
    fn parse(fields: Result<serde_json::Map<String, Value>, String>) -> Result<Self, String> {
        let fields = Fields(fields.map_err(|error| format!("it is not the configuration of a GPT-2 ({error})"))?);
        check_architecture(&fields)?;
        let n_embd = fields.size(&["hidden_size", "n_embd"], 768)?;
        let n_head = fields.size(&["num_attention_heads", "n_head"], 12)?;
        if !n_embd.is_multiple_of(n_head) {
            return Err(format!("n_embd is {n_embd}, not a multiple of n_head, {n_head}"));
        }
        let n_inner = fields.size(&["n_inner"], n_embd.saturating_mul(4))?;
        if n_inner > MAX_SIZE {
            return Err(format!("n_embd is {n_embd}; four times that must be at most {MAX_SIZE}"));
        }
        let first = |tokens: Option<Vec<u32>>| tokens.and_then(|tokens| tokens.first().copied());
        Ok(Self {
            n_layer: fields.size(&["num_hidden_layers", "n_layer", "num_layers"], 12)?,
            n_head,
            n_embd,
            n_positions: fields.size(&["max_position_embeddings", "n_positions", "n_ctx"], 1024)?,
            vocab_size: fields.size(&["vocab_size"], 50257)?,
            n_inner: fields.get(&["n_inner"]).map(|_| n_inner),
            activation_function: match fields.get(&["activation_function"]) {
                None => Activation::default(),
                Some((_, name)) => Activation::parse(name)?,
            },
            layer_norm_epsilon: fields.real("layer_norm_epsilon", 1e-5)?,
            tie_word_embeddings: fields.flag("tie_word_embeddings", true)?,
            scale_attn_weights: fields.flag("scale_attn_weights", true)?,
            scale_attn_by_inverse_layer_idx: fields.flag("scale_attn_by_inverse_layer_idx", false)?,
            bos_token_id: first(fields.tokens("bos_token_id")?),
            eos_token_ids: fields.tokens("eos_token_id")?,
        })
    }

    /// The tokens that end a text when the model generates one, as `transformers` (5.24) takes them from a folder. Where
    /// no file names any, they are the token that GPT-2 has for it and the one of that name, `<|endoftext|>`.
    pub fn end_tokens(&self, tokenizer: &Tokenizer) -> Vec<u32> {
        const USUAL: u32 = 50256;
        match &self.eos_token_ids {
            Some(tokens) => tokens.clone(),
            None => tokenizer.end_of_text().into_iter().chain([USUAL]).collect(),
        }
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
    match fields.get(&["model_type"]) {
        None => {}
        Some((_, Value::String(name))) if name == "gpt2" => {}
        Some((_, other)) => {
            return Err(format!("its model_type is {other}; \"gpt2\" is the architecture that can be read"));
        }
    }
    if fields.flag("add_cross_attention", false)? {
        return Err("it asks for cross-attention (add_cross_attention), which is not supported".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: &str = r#""n_layer":3,"n_head":3,"n_embd":48,"n_ctx":11,"vocab_size":3"#;

    fn config(text: &str) -> Result<Config, Error> {
        Config::from_json(text.as_bytes())
    }

    #[test]
    fn sizes_are_checked() {
        let small = config(&format!("{{{SIZES}}}")).unwrap();
        assert_eq!((small.n_positions, small.inner_size(), small.tie_word_embeddings), (11, 192, true));
        assert_eq!(small.activation_function, Activation::GeluTanh);
        assert_eq!(config(&format!(r#"{{{SIZES},"n_positions":9}}"#)).unwrap().n_positions, 9);
        let unsupported = [
            (r#""n_inner":0"#, "n_inner is 0; it must be a whole number in 1 ..= 16777216"),
            (r#""n_positions":1024.5"#, "n_positions is 1024.5"),
            (r#""n_positions":18446744073709551616"#, "n_positions is 1.8446744073709552e+19"),
            (r#""activation_function":"nonsense""#, r#"activation_function is "nonsense"; one of gelu"#),
            (r#""activation_function":7"#, "activation_function is 7"),
            (r#""layer_norm_epsilon":-1"#, "layer_norm_epsilon is -1; it must be a number that is not negative"),
            (
                r#""layer_norm_epsilon":1e300"#,
                "layer_norm_epsilon is 1e+300; it must be a number that is not negative, and",
            ),
            (r#""layer_norm_epsilon":NaN"#, r#"layer_norm_epsilon is "NaN"; it must be a number"#),
            (r#""scale_attn_weights":1"#, "scale_attn_weights is 1; it must be true or false"),
            (r#""eos_token_id":[1,"2"]"#, r#"eos_token_id is [1,"2"]; it must be the number of a token"#),
            (r#""model_type":"llama""#, r#"its model_type is "llama""#),
            (r#""add_cross_attention":true"#, "cross-attention"),
            (r#""n_layer":"three""#, r#"n_layer is "three"; it must be a whole number"#),
        ];
        for (change, expected) in unsupported {
            let message = config(&format!("{{{SIZES},{change}}}")).unwrap_err().to_string();
            assert!(message.contains(expected) && !message.contains('\n'), "{change}: {message}");
        }
        for (size, bad) in [("48", "50"), ("11", "0"), ("11", "99999999999"), ("48", "-48")] {
            assert!(config(&format!("{{{}}}", SIZES.replace(size, bad))).is_err(), "{size} -> {bad}");
        }
    }

    /// The values of `GPT2Config()` of transformers 5.24, and its `attribute_map`, in which the alias has precedence.
    #[test]
    fn fields_have_defaults_and_other_names() {
        let smallest = config("{}").unwrap();
        assert_eq!((smallest.n_layer, smallest.n_head, smallest.n_embd), (12, 12, 768));
        assert_eq!((smallest.n_positions, smallest.vocab_size, smallest.inner_size()), (1024, 50257, 3072));
        assert_eq!((smallest.layer_norm_epsilon, smallest.bos_token_id, smallest.eos_token_ids), (1e-5, None, None));
        let named = config(
            r#"{"num_hidden_layers":2,"n_layer":9,"num_attention_heads":4,"hidden_size":16,
                "max_position_embeddings":20,"n_ctx":7,"n_inner":null,"activation_function":null}"#,
        );
        let named = named.unwrap();
        assert_eq!((named.n_layer, named.n_head, named.n_embd, named.n_positions), (2, 4, 16, 20));
        assert_eq!(config(r#"{"num_layers":5}"#).unwrap().n_layer, 5);
    }

    #[test]
    fn fields_that_nobody_needs_may_hold_anything() {
        let unused = r#""initializer_range":NaN,"resid_pdrop":-Infinity,"x":"NaN \" Infinity","summary_type":[1]"#;
        assert_eq!(config(&format!("{{{SIZES},{unused}}}")).unwrap(), config(&format!("{{{SIZES}}}")).unwrap());
        let marked = format!("\u{feff}{{{SIZES}}}");
        assert!(config(&marked).is_ok());
        let utf_16: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(Config::from_json(&utf_16).unwrap_err().to_string().contains("UTF-16"));
    }

    #[test]
    fn tokens_that_end_a_text() {
        let ends = |text: &str| config(text).unwrap().eos_token_ids;
        assert_eq!(ends(r#"{"eos_token_id":7}"#), Some(vec![7]));
        assert_eq!(ends(r#"{"eos_token_id":[7,9]}"#), Some(vec![7, 9]));
        assert_eq!((ends(r#"{"eos_token_id":null}"#), ends("{}")), (Some(vec![]), None));
        // Not 7 modulo 2^32.
        assert_eq!(ends(r#"{"eos_token_id":[4294967303,-1,8]}"#), Some(vec![8]));
        assert_eq!(config(r#"{"bos_token_id":4294967303}"#).unwrap().bos_token_id, None);
    }

    #[test]
    fn every_scale_of_scores_is_known() {
        let scale = |options: &str, layer| config(&format!("{{{SIZES}{options}}}")).unwrap().score_scale(layer);
        assert_eq!(scale("", 2), 0.25);
        assert_eq!(scale(r#","scale_attn_weights":false"#, 2), 1.0);
        assert_eq!(scale(r#","scale_attn_by_inverse_layer_idx":true,"reorder_and_upcast_attn":true"#, 1), 0.125);
        assert_eq!(scale(r#","scale_attn_weights":false,"scale_attn_by_inverse_layer_idx":true"#, 3), 0.25);
    }
}
