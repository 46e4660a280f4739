//! Which files of a folder say what its tokenizer is.

use super::added::{Added, malformed, token_number};
use crate::error::Error;
use crate::file::{self, decode_text, is_there, read_json};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The vocabulary by Hugging Face's name and by OpenAI's.
const VOCABULARIES: [&str; 2] = ["vocab.json", "encoder.json"];
/// The merges by Hugging Face's name and by OpenAI's.
const MERGES: [&str; 2] = ["merges.txt", "vocab.bpe"];
/// The largest file of merges that is read, in bytes: millions of merges.
const MAX_MERGES_BYTES: u64 = 100_000_000;

/// What a folder says of its tokenizer.
pub(super) struct Found {
    /// What errors are about.
    pub(super) path: PathBuf,
    /// In the format of `tokenizer.json`.
    pub(super) definition: Value,
    /// What the files beside it add.
    pub(super) added: Added,
}

/// Reads the files of a folder.
pub(super) fn find(folder: &Path) -> Result<Found, Error> {
    let whole = folder.join("tokenizer.json");
    if is_there(&whole)? {
        let definition = read_json(&whole)?.map_err(|error| malformed(&whole, error))?;
        let added = Added::of_definition(folder)?;
        return Ok(Found { path: whole, definition, added });
    }
    let find = |names: [&str; 2]| {
        let paths = names.map(|name| folder.join(name));
        let there = paths.each_ref().map(|path| is_there(path));
        paths.into_iter().zip(there).find_map(|(path, there)| match there {
            Ok(false) => None,
            Ok(true) => Some(Ok(path)),
            Err(error) => Some(Err(error)),
        })
    };
    match (find(VOCABULARIES).transpose()?, find(MERGES).transpose()?) {
        (Some(vocabulary), Some(merges)) => byte_level(folder, &vocabulary, &merges),
        (Some(_), None) => Err(malformed(folder, "it has a vocabulary but no merges.txt or vocab.bpe")),
        (None, Some(_)) => Err(malformed(folder, "it has merges but no vocab.json or encoder.json")),
        (None, None) => Err(malformed(folder, "it has neither tokenizer.json nor vocab.json and merges.txt")),
    }
}

/// GPT-2's tokenizer from its vocabulary and its merges.
fn byte_level(folder: &Path, vocabulary: &Path, merges: &Path) -> Result<Found, Error> {
    let numbers = read_vocabulary(vocabulary)?;
    let pairs = read_merges(merges, &numbers)?;
    let added = Added::of_vocabulary(folder, &numbers)?;
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let vocabulary: Map<String, Value> = numbers.into_iter().map(|(token, number)| (token, number.into())).collect();
    let definition = json!({
        "version": "1.0",
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": pairs},
    });
    Ok(Found { path: folder.into(), definition, added })
}

/// The number of each token of a vocabulary.
fn read_vocabulary(path: &Path) -> Result<HashMap<String, u32>, Error> {
    let tokens: Map<String, Value> =
        read_json(path)?.map_err(|error| malformed(path, format!("it is not a vocabulary ({error})")))?;
    let numbered = tokens.into_iter().map(|(token, value)| match token_number(&value) {
        Some(number) => Ok((token, number)),
        None => Err(malformed(path, format!("it numbers {token:?} {value}, which is not the number of a token"))),
    });
    numbered.collect()
}

/// The pairs of tokens that become one, in order. Lines that are empty, or a remark of the version, are none.
fn read_merges(path: &Path, numbers: &HashMap<String, u32>) -> Result<Vec<[String; 2]>, Error> {
    let bytes = file::read(path, MAX_MERGES_BYTES)?;
    let text = decode_text(&bytes).map_err(|error| malformed(path, error))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with("#version"));
    let pair = |(index, line): (usize, &str)| {
        let wrong = |reason: String| malformed(path, format!("line {}, {line:?}, {reason}", index + 1));
        let Some((first, second)) = line.split_once(' ').filter(|(_, second)| !second.contains(' ')) else {
            return Err(wrong("is not two tokens with a space between them".into()));
        };
        for token in [first, second, &format!("{first}{second}")] {
            if !numbers.contains_key(token) {
                return Err(wrong(format!("needs the token {token:?}, which the vocabulary does not have")));
            }
        }
        Ok([first.to_owned(), second.to_owned()])
    };
    lines.map(pair).collect()
}
