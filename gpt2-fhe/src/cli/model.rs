//! The language model: the one inside the program, or a folder's.

use std::path::Path;

use anyhow::bail;
use gpt2_fhe::run::Attention;
use nn::attention::Part;
use nn::checkpoint::Checkpoint;
use nn::gpt2::{Config, Gpt2};
use nn::matrix::Matrix;
use nn::tokenizer::{TextStream, Tokenizer};
use serde::Serialize;

use super::arguments::{Layers, Recipe};
use super::input::quantize;
use super::progress::while_showing;
use super::source::{check_folder, read_text};
use super::text::plural;

const CONFIG: &[u8] = include_bytes!("../../../models/embedded/config.json");
const WEIGHTS: &[u8] = include_bytes!("../../../models/embedded/model.safetensors");
const TOKENIZER: &[u8] = include_bytes!("../../../models/embedded/tokenizer.json");
/// Prompts that scales and ranges are calibrated on, one a line: the server's tables are made of them, so they must not
/// be the client's secret input.
const CALIBRATION: &str = include_str!("../../../models/calibration.txt");

/// The texts that a model of a folder draws itself, to be calibrated on: how many, and of how many tokens.
const DRAWN: (usize, usize) = (8, 64);
/// The texts that blocks are calibrated on, of which each channel of a block has a range: how many, and of how many tokens at most.
const BLOCK_TEXTS: (usize, usize) = (64, 64);
/// What these draws come from: the same texts, and with them the same tables, for every run.
const DRAWN_SEED: u64 = 0;

/// What scales and ranges are calibrated on.
enum Calibration {
    Text(String),
    Drawn(Vec<Vec<u32>>),
}

/// Why a text ends.
#[derive(Clone, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub(super) enum End {
    /// The model generated a token that ends a text.
    Token { token: u32, text: String },
    /// It has as many tokens as were asked for.
    Tokens { asked: usize },
}

impl End {
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Token { token, text } => format!("the model ended the text, by token {token}, {text:?}"),
            Self::Tokens { asked } => format!("after {}, as --tokens asks", plural(*asked, "token")),
        }
    }
}

/// A GPT-2 with its tokenizer.
pub(super) struct LanguageModel {
    pub(super) gpt2: Gpt2,
    pub(super) name: String,
    tokenizer: Tokenizer,
    /// The tokens that end a text.
    end_tokens: Vec<u32>,
    is_embedded: bool,
}

impl LanguageModel {
    /// The model of `folder`, or the embedded one.
    pub(super) fn load(folder: Option<&Path>) -> anyhow::Result<Self> {
        let Some(folder) = folder else {
            let config = Config::from_json(CONFIG)?;
            let weights = Checkpoint::from_bytes("the embedded model", WEIGHTS)?;
            let gpt2 = Gpt2::from_checkpoint(config, &weights)?;
            let name = "the one inside this program, trained on Shakespeare".into();
            return Ok(Self::new(gpt2, name, Tokenizer::from_json(TOKENIZER)?, true));
        };
        check_folder(folder, "--model")?;
        while_showing("loading the model", || {
            let (gpt2, name) = (Gpt2::load(folder)?, folder.display().to_string());
            Ok(Self::new(gpt2, name, Tokenizer::load(folder)?, false))
        })
    }

    fn new(gpt2: Gpt2, name: String, tokenizer: Tokenizer, is_embedded: bool) -> Self {
        let end_tokens = gpt2.config().end_tokens(&tokenizer);
        Self { gpt2, name, tokenizer, end_tokens, is_embedded }
    }

    /// Whether a text ends with this token.
    pub(super) fn ends_text(&self, token: u32) -> bool {
        self.end_tokens.contains(&token)
    }

    /// Why a text ends: with `token`, or after as many tokens as were asked for.
    pub(super) fn end(&self, token: Option<u32>, asked: usize) -> Result<End, nn::Error> {
        Ok(match token {
            Some(token) => End::Token { token, text: self.decode(&[token])? },
            None => End::Tokens { asked },
        })
    }

    /// The tokens of a text.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, nn::Error> {
        self.tokenizer.encode(text)
    }

    /// Tokens as quoted text.
    pub(super) fn quote(&self, tokens: &[u32]) -> Result<String, nn::Error> {
        Ok(format!("{:?}", self.tokenizer.decode(tokens)?))
    }

    /// The text of tokens.
    pub(super) fn decode(&self, tokens: &[u32]) -> Result<String, nn::Error> {
        self.tokenizer.decode(tokens)
    }

    /// The text of tokens as they come.
    pub(super) fn stream(&self) -> TextStream<'_> {
        self.tokenizer.stream()
    }

    /// What to calibrate on: the text that `option` names, where there is one. Without, for the embedded model the lines that are part of this
    /// program; any other may not know their language, and draws texts itself.
    fn calibration(&self, text: Option<&Path>, option: &str) -> anyhow::Result<Calibration> {
        Ok(match text {
            Some(path) => Calibration::Text(read_text(path, option)?),
            None if self.is_embedded => Calibration::Text(CALIBRATION.into()),
            None => {
                let draw = || self.gpt2.draw_texts(DRAWN, DRAWN_SEED);
                Calibration::Drawn(while_showing("drawing texts to calibrate on", draw)?)
            }
        })
    }

    /// What is calibrated on without a text, in words.
    pub(super) fn default_calibration(&self) -> &'static str {
        if self.is_embedded { "the prompts inside this program" } else { "texts that the model draws itself" }
    }

    /// The tokens of each text to calibrate on, as a whole.
    pub(super) fn calibration_texts(&self, text: Option<&Path>, option: &str) -> anyhow::Result<Vec<Vec<u32>>> {
        Ok(match self.calibration(text, option)? {
            Calibration::Text(text) => vec![self.encode(&text)?],
            Calibration::Drawn(texts) => texts,
        })
    }

    /// The prompts to calibrate on: each line of a text, or each text that is drawn.
    pub(super) fn calibration_prompts(&self, text: Option<&Path>, option: &str) -> anyhow::Result<Vec<Vec<u32>>> {
        let lines = match self.calibration(text, option)? {
            Calibration::Text(lines) => lines,
            Calibration::Drawn(texts) => return Ok(texts),
        };
        let lines = lines.lines().filter(|line| !line.trim().is_empty());
        let mut prompts = lines.map(|line| self.encode(line)).collect::<Result<Vec<_>, _>>()?;
        prompts.iter_mut().for_each(|tokens| tokens.truncate(self.gpt2.config().n_positions));
        prompts.retain(|tokens| !tokens.is_empty());
        match text {
            Some(_) if prompts.is_empty() => bail!("{option} holds no prompt to calibrate on; give it one a line"),
            _ => Ok(prompts),
        }
    }

    /// The tokens of each text to calibrate blocks on: pieces of a given text, or what the model draws itself.
    pub(super) fn block_texts(&self, text: Option<&Path>, option: &str) -> anyhow::Result<Vec<Vec<u32>>> {
        let (count, length) = BLOCK_TEXTS;
        let length = length.min(self.gpt2.config().n_positions);
        let Some(path) = text else {
            let draw = || self.gpt2.draw_texts((count, length), DRAWN_SEED);
            return Ok(while_showing("drawing texts to calibrate on", draw)?);
        };
        let tokens = self.encode(&read_text(path, option)?)?;
        if tokens.is_empty() {
            bail!("{option} holds no text to calibrate on");
        }
        Ok(tokens.chunks(length).take(count).map(<[u32]>::to_vec).collect())
    }

    /// The inputs of the attention of each layer, `[T, E]` for each prompt.
    pub(super) fn calibration_inputs(
        &self,
        text: Option<&Path>,
        option: &str,
    ) -> anyhow::Result<Vec<Vec<Matrix<f32>>>> {
        let mut inputs = vec![Vec::new(); self.gpt2.config().n_layer];
        for prompt in self.calibration_prompts(text, option)? {
            for (layer, input) in inputs.iter_mut().zip(self.gpt2.attention_inputs(&prompt)?) {
                layer.push(input);
            }
        }
        Ok(inputs)
    }

    /// The token that `--public-start` puts before a text.
    pub(super) fn public_start(&self, is_given: bool) -> anyhow::Result<Option<u32>> {
        match (is_given, self.gpt2.config().bos_token_id) {
            (false, _) => Ok(None),
            (true, Some(token)) => Ok(Some(token)),
            (true, None) => {
                bail!("--public-start needs a token that begins texts, and config.json has no bos_token_id")
            }
        }
    }

    /// The layers that `--layers` selects.
    pub(super) fn selected_layers(&self, layers: &Layers) -> anyhow::Result<Vec<usize>> {
        let count = self.gpt2.config().n_layer;
        let layers = match layers {
            Layers::All => (0..count).collect(),
            Layers::Some(layers) => layers.clone(),
        };
        if let Some(layer) = layers.iter().find(|&&layer| layer >= count) {
            bail!("--layers has {layer}; the model has layers 0 to {}", count - 1);
        }
        Ok(layers)
    }

    /// A part of a layer's attention, for at most `max_tokens` tokens, calibrated on the inputs of that layer.
    pub(super) fn quantize(
        &self,
        layer: usize,
        part: Part,
        recipe: Recipe<'_>,
        (inputs, max_tokens): (&[Matrix<f32>], usize),
    ) -> anyhow::Result<Attention> {
        quantize(self.gpt2.attention(layer)?, part, inputs, max_tokens, recipe)
    }
}
