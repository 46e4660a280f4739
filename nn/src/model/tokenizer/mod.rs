//! Text to tokens and back: GPT-2's byte-level byte-pair encoding, by the crate `tokenizers`.
//!
//! What a folder says of its tokenizer is read as `transformers` (5.24) reads it, with these differences. A
//! `tokenizer.json` has its own normalizer, pre-tokenizer and decoder, which are obeyed; `transformers` replaces them by
//! GPT-2's in the folder of a GPT-2. Truncation, padding and dropout are for training: where a file asks for them, they
//! are left out.

mod added;
mod files;
mod limits;
mod stream;

pub use stream::TextStream;

use crate::error::Error;
use crate::file::parse_json;
use crate::guard::{Panic, catch_panic};
use added::{Added, END_OF_TEXT};
use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;
use tokenizers::{Model, PostProcessorWrapper};

/// The tokenizer of a model.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads `tokenizer.json`; or else a vocabulary (`vocab.json` or `encoder.json`) and its merges (`merges.txt` or
    /// `vocab.bpe`). To either is added what `tokenizer_config.json` says; or, if that one does not list added tokens,
    /// what `special_tokens_map.json` and `added_tokens.json` say.
    ///
    /// Added tokens that are not in the vocabulary get the numbers after it in the order of the numbers that the files
    /// give them, as in `transformers`: gaps between those are closed.
    ///
    /// # Errors
    /// [`Error::Malformed`] if one of them is missing, or is not part of a tokenizer; [`Error::File`].
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let files::Found { path, definition, added } = files::find(folder)?;
        Self::build(definition, &added).map_err(|reason| Error::Malformed { path, reason })
    }

    /// Reads the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is not a tokenizer.
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        let built = parse_json(text).and_then(|definition| Self::build(definition, &Added::default()));
        built.map_err(|reason| Error::Malformed { path: "tokenizer.json".into(), reason })
    }

    /// The tokenizer of a definition, in the format of `tokenizer.json`, and what is added to it.
    fn build(mut definition: Value, added: &Added) -> Result<Self, String> {
        leave_out_training(&mut definition);
        added.set_prefix_space(&mut definition);
        limits::check(&definition)?;
        let text = definition.to_string();
        let inner = catch_panic(|| {
            let mut inner = tokenizers::Tokenizer::from_bytes(&text).map_err(|error| error.to_string())?;
            let known: HashSet<String> =
                inner.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
            let new: Vec<_> = added.tokens().into_iter().filter(|token| !known.contains(&token.content)).collect();
            inner.add_tokens(&new);
            inner.set_encode_special_tokens(added.splits_special());
            Ok::<_, String>(inner)
        });
        let mut inner = inner.map_err(failed)??;
        check_numbers(&inner)?;
        if let Some(template) = added.template(|token| inner.token_to_id(token)) {
            let template: PostProcessorWrapper =
                serde_json::from_value(template).map_err(|error| format!("it begins texts with no token ({error})"))?;
            inner.with_post_processor(Some(template));
        }
        Ok(Self { inner })
    }

    /// The number of tokens.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The token between texts, `<|endoftext|>`, if the vocabulary has it.
    pub fn end_of_text(&self) -> Option<u32> {
        self.inner.token_to_id(END_OF_TEXT)
    }

    /// The tokens of a text, with those that the tokenizer puts around every text: GPT-2's puts none. Where the text
    /// spells a special token, as in `<|endoftext|>`, it becomes that token.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the tokenizer cannot express the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoded = catch_panic(|| self.inner.encode_fast(text, true));
        let encoding = encoded.map_err(|panic| Error::Tokenizer(failed(panic)))?;
        Ok(encoding.map_err(|error| Error::Tokenizer(error.to_string()))?.get_ids().to_vec())
    }

    /// The text of tokens. Those that the vocabulary does not have, as models have some whose number of tokens is rounded
    /// up, have no text.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the tokenizer cannot decode them.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, Error> {
        if tokens.iter().all(|&token| self.inner.id_to_token(token).is_none()) {
            return Ok(String::new());
        }
        let decoded = catch_panic(|| self.inner.decode(tokens, false));
        decoded.map_err(|panic| Error::Tokenizer(failed(panic)))?.map_err(|error| Error::Tokenizer(error.to_string()))
    }

    /// How the vocabulary writes a token.
    fn spelling(&self, token: u32) -> Option<String> {
        self.inner.id_to_token(token)
    }
}

/// Leaves out of a definition what is for training: truncation and padding of batches, and dropout of merges.
fn leave_out_training(definition: &mut Value) {
    let leave_out = |object: Option<&mut Value>, fields: &[&str]| {
        if let Some(Value::Object(object)) = object {
            fields.iter().for_each(|&field| drop(object.remove(field)));
        }
    };
    leave_out(definition.get_mut("model"), &["dropout"]);
    leave_out(Some(definition), &["truncation", "padding"]);
}

/// Checks that no number is of two tokens; the error names them.
fn check_numbers(tokenizer: &tokenizers::Tokenizer) -> Result<(), String> {
    let model = tokenizer.get_model();
    let twice = |number, first: &str, second: &str| {
        Err(format!(
            "it has {first:?} and {second:?} for the token of number {number}; each token needs its own number"
        ))
    };
    for (token, number) in model.get_vocab() {
        match model.id_to_token(number) {
            Some(other) if other != token => return twice(number, &other, &token),
            _ => {}
        }
    }
    for (number, token) in tokenizer.get_added_tokens_decoder() {
        match model.id_to_token(number) {
            Some(other) if other != token.content => return twice(number, &other, &token.content),
            _ => {}
        }
    }
    Ok(())
}

/// The message of a panic of the crate `tokenizers`, in words.
fn failed(panic: Panic) -> String {
    format!("the library for tokenizers cannot work with its settings ({})", panic.message)
}
