//! What the files beside a vocabulary add to it: special tokens, and what is put around texts.

use crate::error::Error;
use crate::file::{is_there, read_json};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use tokenizers::AddedToken;

/// The token that stands between texts, and the only special one of GPT-2.
pub(super) const END_OF_TEXT: &str = "<|endoftext|>";

/// The special tokens that have a name, in the order in which `transformers` adds them.
const NAMED: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
const CONFIG: &str = "tokenizer_config.json";
const ADDED: &str = "added_tokens.json";

/// What is added to a tokenizer.
#[derive(Debug, Default)]
pub(super) struct Added {
    /// In the order in which they get their numbers.
    tokens: Vec<Entry>,
    /// The token before each text, and the one after it; `None` where the tokenizer decides.
    around: Option<[Option<String>; 2]>,
    /// Whether a space is put before each text; `None` where the tokenizer decides.
    prefix_space: Option<bool>,
    /// Whether special tokens in a text are text.
    splits_special: bool,
}

/// A token as files describe it.
#[derive(Clone, Debug, Deserialize)]
struct Entry {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl Entry {
    fn new(content: &str, special: bool) -> Self {
        Self { content: content.into(), single_word: false, lstrip: false, rstrip: false, normalized: None, special }
    }

    /// A token that is a string, or an object.
    fn parse(value: &Value) -> Option<Self> {
        match value {
            Value::String(content) => Some(Self::new(content, true)),
            Value::Object(_) => Self::deserialize(value).ok(),
            _ => None,
        }
    }
}

impl Added {
    /// What is added to the `tokenizer.json` of a folder.
    pub(super) fn of_definition(folder: &Path) -> Result<Self, Error> {
        let settings = Settings::read(folder)?;
        let (tokens, _) = settings.tokens(None)?;
        Ok(Self {
            tokens,
            around: None,
            prefix_space: settings.flag("add_prefix_space")?,
            splits_special: settings.flag("split_special_tokens")?.unwrap_or(false),
        })
    }

    /// What is added to the vocabulary of a folder.
    pub(super) fn of_vocabulary(folder: &Path, numbers: &HashMap<String, u32>) -> Result<Self, Error> {
        let settings = Settings::read(folder)?;
        let (tokens, named) = settings.tokens(Some(numbers))?;
        let around = |flag, name| {
            let wanted = settings.flag(flag)?.unwrap_or(false);
            Ok::<_, Error>(named.get(name).filter(|_| wanted).cloned())
        };
        Ok(Self {
            tokens,
            around: Some([around("add_bos_token", "bos_token")?, around("add_eos_token", "eos_token")?]),
            prefix_space: settings.flag("add_prefix_space")?,
            splits_special: settings.flag("split_special_tokens")?.unwrap_or(false),
        })
    }

    /// The tokens, in the order in which they get their numbers.
    pub(super) fn tokens(&self) -> Vec<AddedToken> {
        let token = |entry: &Entry| {
            AddedToken::from(entry.content.as_str(), entry.special)
                .single_word(entry.single_word)
                .lstrip(entry.lstrip)
                .rstrip(entry.rstrip)
                .normalized(entry.normalized.unwrap_or(!entry.special))
        };
        self.tokens.iter().map(token).collect()
    }

    pub(super) fn splits_special(&self) -> bool {
        self.splits_special
    }

    /// Sets whether a space is put before each text, in a definition whose pre-tokenizer can.
    pub(super) fn set_prefix_space(&self, definition: &mut Value) {
        let Some(prefix_space) = self.prefix_space else { return };
        match definition.get_mut("pre_tokenizer") {
            Some(Value::Object(fields)) if fields.get("type") == Some(&"ByteLevel".into()) => {
                fields.insert("add_prefix_space".into(), prefix_space.into());
            }
            _ => {}
        }
    }

    /// The post-processor that puts tokens around texts, if there are any to be put there.
    pub(super) fn template(&self, number: impl Fn(&str) -> Option<u32>) -> Option<Value> {
        let around = self.around.as_ref()?;
        let [first, last] = around.each_ref().map(|token| {
            let token = token.as_deref()?;
            Some((token, number(token)?))
        });
        (first.is_some() || last.is_some()).then(|| template(first, last))
    }
}

/// The fields of `tokenizer_config.json`, and of `special_tokens_map.json` where that one counts.
struct Settings<'a> {
    folder: &'a Path,
    fields: Map<String, Value>,
}

impl<'a> Settings<'a> {
    fn read(folder: &'a Path) -> Result<Self, Error> {
        let mut fields = read_object(folder, CONFIG)?.unwrap_or_default();
        if !fields.contains_key("added_tokens_decoder") {
            // What it had under the older name has precedence over the other file.
            if let Some(extra) = fields.remove("additional_special_tokens") {
                fields.entry("extra_special_tokens").or_insert(extra);
            }
            fields.extend(read_object(folder, "special_tokens_map.json")?.unwrap_or_default());
        }
        Ok(Self { folder, fields })
    }

    /// A field that is true or false; `None` if it is not there.
    fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(value) => {
                Err(malformed(&self.folder.join(CONFIG), format!("{name} is {value}; it must be true or false")))
            }
        }
    }

    /// All tokens that are added, in order, and the content of those with a name. To a vocabulary, whose numbers are
    /// given, are added the special tokens that GPT-2 has where a file does not name others.
    fn tokens(
        &self,
        vocabulary: Option<&HashMap<String, u32>>,
    ) -> Result<(Vec<Entry>, HashMap<String, String>), Error> {
        let wrong = |name: &str, value: &Value| {
            malformed(&self.folder.join(CONFIG), format!("{name} is {value}; it must be a token, or several"))
        };
        let mut special: Vec<(String, Entry)> = Vec::new();
        for name in NAMED {
            let usual = vocabulary.is_some() && ["bos_token", "eos_token", "unk_token"].contains(&name);
            match self.fields.get(name) {
                None if usual => special.push((name.into(), Entry::new(END_OF_TEXT, true))),
                None | Some(Value::Null) => {}
                Some(value) => special.push((name.into(), Entry::parse(value).ok_or_else(|| wrong(name, value))?)),
            }
        }
        let others = self.fields.iter().filter(|(name, _)| name.ends_with("_token") && !NAMED.contains(&name.as_str()));
        let others = others.filter_map(|(name, value)| Some((name.clone(), value.as_str()?)));
        special.extend(others.map(|(name, content)| (name, Entry::new(content, true))));
        for name in ["extra_special_tokens", "additional_special_tokens"] {
            let values: Vec<&Value> = match self.fields.get(name) {
                None | Some(Value::Null) => continue,
                Some(Value::Array(list)) => list.iter().collect(),
                Some(Value::Object(named)) => named.values().collect(),
                Some(other) => return Err(wrong(name, other)),
            };
            for value in &values {
                special.push((name.into(), Entry::parse(value).ok_or_else(|| wrong(name, value))?));
            }
            if !values.is_empty() {
                break;
            }
        }
        special.iter_mut().for_each(|(_, token)| token.special = true);
        let mut all = self.listed(&special, vocabulary)?;
        for (_, token) in &special {
            match all.iter_mut().find(|other| other.content == token.content) {
                Some(listed) => listed.special = true,
                None => all.push(token.clone()),
            }
        }
        Ok((all, special.into_iter().map(|(name, token)| (name, token.content)).collect()))
    }

    /// The tokens that files list with their numbers, sorted by these.
    fn listed(
        &self,
        special: &[(String, Entry)],
        vocabulary: Option<&HashMap<String, u32>>,
    ) -> Result<Vec<Entry>, Error> {
        let mut listed: BTreeMap<u32, Entry> = BTreeMap::new();
        let taken: HashMap<u32, &String> =
            vocabulary.into_iter().flatten().map(|(token, &number)| (number, token)).collect();
        let mut insert = |path: &Path, token: Option<Entry>, number: Option<u32>, what: String| {
            let (Some(token), Some(number)) = (token, number) else {
                return Err(malformed(path, format!("it lists {what}, which is not a token with its number")));
            };
            if let Some(other) = taken.get(&number).filter(|other| ***other != token.content) {
                let reason = format!(
                    "it numbers {:?} {number}, which is the number of {other:?} in the vocabulary; added tokens have \
                     other numbers",
                    token.content
                );
                return Err(malformed(path, reason));
            }
            listed.insert(number, token);
            Ok(())
        };
        if let Some(decoder) = self.fields.get("added_tokens_decoder") {
            let path = self.folder.join(CONFIG);
            let Value::Object(decoder) = decoder else {
                return Err(malformed(&path, "added_tokens_decoder is not an object of tokens by their numbers"));
            };
            for (number, token) in decoder {
                insert(&path, Entry::parse(token), number.parse().ok(), format!("{number:?}: {token}"))?;
            }
        } else {
            let is_special = |content: &str| special.iter().any(|(_, token)| token.content == content);
            for (content, number) in read_object(self.folder, ADDED)?.unwrap_or_default() {
                let token = Entry::new(&content, is_special(&content));
                insert(&self.folder.join(ADDED), Some(token), token_number(&number), format!("{content:?}: {number}"))?;
            }
        }
        Ok(listed.into_values().collect())
    }
}

/// The JSON object of a file of the folder, if the file is there.
fn read_object(folder: &Path, name: &str) -> Result<Option<Map<String, Value>>, Error> {
    let path = folder.join(name);
    if !is_there(&path)? {
        return Ok(None);
    }
    read_json(&path)?.map(Some).map_err(|error| malformed(&path, error))
}

/// A post-processor that puts a token before each text, and one after it.
fn template(first: Option<(&str, u32)>, last: Option<(&str, u32)>) -> Value {
    let special = |(token, _): (&str, u32)| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let sequence = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    let around = |inner: Vec<Value>| -> Vec<Value> {
        first.map(special).into_iter().chain(inner).chain(last.map(special)).collect()
    };
    let tokens = first
        .into_iter()
        .chain(last)
        .map(|(token, number)| (token.to_owned(), json!({"id": token, "ids": [number], "tokens": [token]})));
    json!({
        "type": "TemplateProcessing",
        "single": around(vec![sequence("A")]),
        "pair": around(vec![sequence("A"), sequence("B")]),
        "special_tokens": tokens.collect::<serde_json::Map<_, _>>(),
    })
}

/// The number of a token, if the value is one.
pub(super) fn token_number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

pub(super) fn malformed(path: &Path, reason: impl ToString) -> Error {
    Error::Malformed { path: path.into(), reason: reason.to_string() }
}
