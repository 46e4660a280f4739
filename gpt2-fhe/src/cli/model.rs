//! The language model: the one inside the program, or a folder's.

use std::path::Path;

use gpt2_fhe::run::Attention;
use nn::attention::Part;
use nn::checkpoint::Checkpoint;
use nn::gpt2::{Config, Gpt2};
use nn::matrix::Matrix;
use nn::tokenizer::{TextStream, Tokenizer};

use super::arguments::Recipe;
use super::input::quantize;
use super::progress::while_showing;
use super::source::check_folder;

const CONFIG: &[u8] = include_bytes!("../../../models/embedded/config.json");
const WEIGHTS: &[u8] = include_bytes!("../../../models/embedded/model.safetensors");
const TOKENIZER: &[u8] = include_bytes!("../../../models/embedded/tokenizer.json");
/// Prompts that scales and ranges are calibrated on, one a line: the server's tables are made of them, so they must not
/// be the client's secret input.
pub(super) const CALIBRATION: &str = include_str!("../../../models/calibration.txt");

/// A GPT-2 with its tokenizer.
pub(super) struct LanguageModel {
    pub(super) gpt2: Gpt2,
    pub(super) name: String,
    tokenizer: Tokenizer,
}

impl LanguageModel {
    /// The model of `folder`, or the embedded one.
    pub(super) fn load(folder: Option<&Path>) -> anyhow::Result<Self> {
        let Some(folder) = folder else {
            let config = Config::from_json(CONFIG)?;
            let weights = Checkpoint::from_bytes("the embedded model", WEIGHTS)?;
            let gpt2 = Gpt2::from_checkpoint(config, &weights)?;
            let name = "the one inside this program, trained on Shakespeare".into();
            return Ok(Self { gpt2, name, tokenizer: Tokenizer::from_json(TOKENIZER)? });
        };
        check_folder(folder, "--model")?;
        while_showing("loading the model", || {
            let (gpt2, name) = (Gpt2::load(folder)?, folder.display().to_string());
            Ok(Self { gpt2, name, tokenizer: Tokenizer::load(folder)? })
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

    /// A part of a layer's attention, for at most `max_tokens` tokens, calibrated on prompts that are part of this program.
    pub(super) fn quantize(
        &self,
        layer: usize,
        part: Part,
        recipe: Recipe<'_>,
        max_tokens: usize,
    ) -> anyhow::Result<Attention> {
        let inputs = self.calibration_inputs(CALIBRATION, layer)?;
        quantize(self.gpt2.attention(layer)?, part, &inputs, max_tokens, recipe)
    }

    /// The inputs of a layer's attention, `[T, E]` each, on the prompts of a text, one a line; blank lines are none.
    pub(super) fn calibration_inputs(&self, text: &str, layer: usize) -> Result<Vec<Matrix<f32>>, nn::Error> {
        let prompts = text.lines().filter(|prompt| !prompt.trim().is_empty());
        let input = |prompt| {
            let mut tokens = self.encode(prompt)?;
            tokens.truncate(self.gpt2.config().n_positions);
            self.gpt2.attention_input(&tokens, layer)
        };
        prompts.map(input).collect()
    }
}
