//! Text to tokens and back: GPT-2's byte-level byte-pair encoding, by the crate `tokenizers`.

use crate::checkpoint::read_json;
use crate::error::Error;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    AddedToken, DecodeStream, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper,
};

/// The token that stands between texts, and the only special one of GPT-2.
const END_OF_TEXT: &str = "<|endoftext|>";
/// The vocabulary by Hugging Face's name and by OpenAI's.
const VOCABULARIES: [&str; 2] = ["vocab.json", "encoder.json"];
/// The merges by Hugging Face's name and by OpenAI's.
const MERGES: [&str; 2] = ["merges.txt", "vocab.bpe"];

/// The tokenizer of a model.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads `tokenizer.json`; or else a vocabulary (`vocab.json` or `encoder.json`), its merges (`merges.txt` or
    /// `vocab.bpe`) and what `added_tokens.json` adds to them, if it is there.
    ///
    /// # Errors
    /// [`Error::Malformed`] if one of them is missing, or is not part of a tokenizer; [`Error::File`].
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let whole = folder.join("tokenizer.json");
        if whole.is_file() {
            let read = tokenizers::Tokenizer::from_file(&whole);
            return read.map(|inner| Self { inner }).map_err(|error| malformed(whole, error));
        }
        let find = |names: [&str; 2]| names.into_iter().map(|name| folder.join(name)).find(|path| path.is_file());
        match (find(VOCABULARIES), find(MERGES)) {
            (Some(vocabulary), Some(merges)) => Self::byte_level(folder, &vocabulary, &merges),
            (Some(_), None) => Err(malformed(folder.into(), "it has a vocabulary but no merges.txt or vocab.bpe")),
            (None, Some(_)) => Err(malformed(folder.into(), "it has merges but no vocab.json or encoder.json")),
            (None, None) => {
                Err(malformed(folder.into(), "it has neither tokenizer.json nor vocab.json and merges.txt"))
            }
        }
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
    fn byte_level(folder: &Path, vocabulary: &Path, merges: &Path) -> Result<Self, Error> {
        let model = BPE::from_file(&vocabulary.to_string_lossy(), &merges.to_string_lossy()).build();
        let failed = |error| {
            let names = [vocabulary, merges].map(|path| path.file_name().unwrap_or_default().to_string_lossy());
            malformed(folder.into(), format!("{} and {} are not a tokenizer ({error})", names[0], names[1]))
        };
        let mut inner = tokenizers::Tokenizer::new(model.map_err(failed)?);
        // GPT-2 puts no space before the text.
        inner.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)));
        inner.with_decoder(Some(ByteLevel::default()));
        if inner.token_to_id(END_OF_TEXT).is_some() {
            inner.add_special_tokens(&[AddedToken::from(END_OF_TEXT, true)]);
        }
        let mut tokenizer = Self { inner };
        let added = folder.join("added_tokens.json");
        if added.is_file() {
            tokenizer.add_tokens(&added)?;
        }
        Ok(tokenizer)
    }

    /// Adds the tokens of an `added_tokens.json`, which maps each to its number.
    fn add_tokens(&mut self, path: &Path) -> Result<(), Error> {
        let numbers: BTreeMap<String, u32> = read_json(path)?.map_err(|error| malformed(path.into(), error))?;
        let mut added: Vec<(u32, String)> = numbers.into_iter().map(|(token, number)| (number, token)).collect();
        added.sort_unstable();
        for (number, token) in added {
            self.inner.add_tokens(&[AddedToken::from(token.as_str(), false)]);
            let found = self.inner.token_to_id(&token);
            if found != Some(number) {
                let reason =
                    format!("it numbers {token:?} {number}, which is not the next number after the vocabulary");
                return Err(malformed(path.into(), reason));
            }
        }
        Ok(())
    }

    /// The number of tokens.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The token between texts, at which generation ends: `<|endoftext|>`, if the vocabulary has it.
    pub fn end_of_text(&self) -> Option<u32> {
        self.inner.token_to_id(END_OF_TEXT)
    }

    /// The tokens of a text. Where the text spells a special token, as in `<|endoftext|>`, it becomes that token.
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
        tokens.iter().try_for_each(|&token| self.check(token))?;
        self.inner.decode(tokens, false).map_err(|error| Error::Tokenizer(error.to_string()))
    }

    /// A decoder of tokens that come one after the other.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream { tokenizer: self, inner: self.inner.decode_stream(false), pending: Vec::new() }
    }

    fn check(&self, token: u32) -> Result<(), Error> {
        match self.inner.id_to_token(token) {
            Some(_) => Ok(()),
            None => Err(Error::UnknownToken { token, vocabulary: self.vocabulary_size() }),
        }
    }
}

/// Text out of tokens as they come.
///
/// A token can end within a character of several bytes. Such a token gives no text until the character is complete.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    inner: DecodeStream<'a, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>,
    /// The tokens since the last text.
    pending: Vec<u32>,
}

impl TextStream<'_> {
    /// The text that a token completes; empty if it ends within a character.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, token: u32) -> Result<String, Error> {
        self.tokenizer.check(token)?;
        let text = self.inner.step(token).map_err(|error| Error::Tokenizer(error.to_string()))?;
        match text {
            Some(_) => self.pending.clear(),
            None => self.pending.push(token),
        }
        Ok(text.unwrap_or_default())
    }

    /// The text of the tokens that are left, with U+FFFD for bytes that are no character.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(self) -> Result<String, Error> {
        self.tokenizer.decode(&self.pending)
    }
}

fn malformed(path: PathBuf, error: impl ToString) -> Error {
    Error::Malformed { path, reason: error.to_string() }
}
