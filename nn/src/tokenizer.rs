//! Text to tokens and back: GPT-2's byte-level byte-pair encoding, by the crate `tokenizers`.

use crate::error::Error;
use std::path::{Path, PathBuf};
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// The tokenizer of a model.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads `tokenizer.json`, or `vocab.json` and `merges.txt` (`encoder.json` and `vocab.bpe` by OpenAI's names).
    ///
    /// # Errors
    /// [`Error::Malformed`] if the folder has none of them, or they are not a tokenizer.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let whole = folder.join("tokenizer.json");
        if whole.is_file() {
            let read = tokenizers::Tokenizer::from_file(&whole);
            return read.map(|inner| Self { inner }).map_err(|error| malformed(whole, error));
        }
        for (vocabulary, merges) in [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")] {
            let (vocabulary, merges) = (folder.join(vocabulary), folder.join(merges));
            if vocabulary.is_file() && merges.is_file() {
                return Self::byte_level(&vocabulary, &merges);
            }
        }
        Err(malformed(folder.into(), "it has neither tokenizer.json nor vocab.json and merges.txt"))
    }

    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is not a tokenizer.
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        let read = tokenizers::Tokenizer::from_bytes(text);
        read.map(|inner| Self { inner }).map_err(|error| malformed("tokenizer.json".into(), error))
    }

    /// GPT-2's tokenizer from its vocabulary and its merges.
    fn byte_level(vocabulary: &Path, merges: &Path) -> Result<Self, Error> {
        let model = BPE::from_file(&vocabulary.to_string_lossy(), &merges.to_string_lossy()).build();
        let mut inner = tokenizers::Tokenizer::new(model.map_err(|error| malformed(vocabulary.into(), error))?);
        // GPT-2 puts no space before the text.
        inner.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)));
        inner.with_decoder(Some(ByteLevel::default()));
        Ok(Self { inner })
    }

    /// The number of tokens.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the vocabulary cannot express the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.inner.encode_fast(text, false).map_err(|error| Error::Tokenizer(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of tokens.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] if one is not in the vocabulary, [`Error::Tokenizer`].
    pub fn decode(&self, tokens: &[u32]) -> Result<String, Error> {
        if let Some(&token) = tokens.iter().find(|&&token| self.inner.id_to_token(token).is_none()) {
            return Err(Error::UnknownToken { token, vocabulary: self.vocabulary_size() });
        }
        self.inner.decode(tokens, false).map_err(|error| Error::Tokenizer(error.to_string()))
    }
}

fn malformed(path: PathBuf, error: impl ToString) -> Error {
    Error::Malformed { path, reason: error.to_string() }
}
