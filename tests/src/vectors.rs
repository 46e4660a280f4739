//! Test vectors of another implementation: tfhe-rs's, which are published as CBOR files (RFC 8949), maps of names to numbers.
//!
//! They are data from elsewhere, so that anything may be in them: what is not as expected is an error, and memory is taken for what is
//! there and not for what is announced.

use std::collections::BTreeMap;
use std::path::Path;

use ciborium::Value;
use sha2::{Digest, Sha256};

/// The largest file that is read. What it becomes takes some fifty times as much memory at most.
pub const MAXIMUM_BYTES: usize = 1 << 20;

/// A map of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vector(BTreeMap<String, Entry>);

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A number.
    Number(u64),
    /// Numbers.
    Numbers(Vec<u64>),
    /// A map in the map.
    Map(Vector),
}

impl Vector {
    /// Reads a file: one map, and nothing after it.
    ///
    /// # Errors
    /// If the bytes are too many, or no CBOR, or something else than such a map.
    pub fn read(mut bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAXIMUM_BYTES {
            return Err(format!("{} bytes are more than {MAXIMUM_BYTES}", bytes.len()));
        }
        let value: Value = ciborium::from_reader(&mut bytes).map_err(|error| format!("it is no CBOR: {error}"))?;
        if !bytes.is_empty() {
            return Err(format!("{} bytes follow after its end", bytes.len()));
        }
        match Entry::of(value, "the file")? {
            Entry::Map(vector) => Ok(vector),
            Entry::Number(_) | Entry::Numbers(_) => Err("the file is not a map".to_owned()),
        }
    }

    /// The file `set/name.cbor` of a folder, if its SHA-256 is in the folder's `checksums.sha256`.
    ///
    /// # Errors
    /// If a file cannot be read, its checksum is another or is missing, or [`Self::read`] refuses it.
    pub fn load(folder: &Path, set: &str, name: &str) -> Result<Self, String> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let (path, list) = (folder.join(set).join(format!("{name}.cbor")), folder.join("checksums.sha256"));
        let (bytes, checksums) = (read(&path)?, read(&list)?);
        let published = format!("data/{set}/{name}.cbor");
        let of_line =
            |line: &str| line.split_once("  ").filter(|(_, file)| *file == published).map(|(sum, _)| sum.to_owned());
        let expected = String::from_utf8_lossy(&checksums).lines().find_map(of_line);
        let expected = expected.ok_or_else(|| format!("{} has no line for {published}", list.display()))?;
        let found = hexadecimal(&Sha256::digest(&bytes));
        if found != expected {
            return Err(format!("{}: SHA-256 {found} instead of {expected}", path.display()));
        }
        Self::read(&bytes).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn entry(&self, name: &str) -> Result<&Entry, String> {
        self.0.get(name).ok_or_else(|| format!("it has no {name}"))
    }

    /// The number `name`.
    ///
    /// # Errors
    /// If it is missing, or no number.
    pub fn number(&self, name: &str) -> Result<u64, String> {
        match self.entry(name)? {
            Entry::Number(number) => Ok(*number),
            _ => Err(format!("{name} is no number")),
        }
    }

    /// The `count` numbers `name`.
    ///
    /// # Errors
    /// If they are missing, or no numbers, or more or fewer.
    pub fn numbers(&self, name: &str, count: usize) -> Result<&[u64], String> {
        match self.entry(name)? {
            Entry::Numbers(numbers) if numbers.len() == count => Ok(numbers),
            Entry::Numbers(numbers) => Err(format!("{name} has {} numbers instead of {count}", numbers.len())),
            _ => Err(format!("{name} is no list")),
        }
    }

    /// The map `name`.
    ///
    /// # Errors
    /// If it is missing, or no map.
    pub fn map(&self, name: &str) -> Result<&Self, String> {
        match self.entry(name)? {
            Entry::Map(map) => Ok(map),
            _ => Err(format!("{name} is no map")),
        }
    }
}

impl Entry {
    fn of(value: Value, name: &str) -> Result<Self, String> {
        let number = |value: Value| match value {
            Value::Integer(integer) => u64::try_from(integer).map_err(|_| format!("{name} is not from 0 to 2^64 - 1")),
            _ => Err(format!("{name} has something that is no number")),
        };
        match value {
            Value::Integer(_) => number(value).map(Self::Number),
            Value::Array(values) => values.into_iter().map(number).collect::<Result<_, _>>().map(Self::Numbers),
            Value::Map(pairs) => {
                let mut entries = BTreeMap::new();
                for (key, value) in pairs {
                    let Value::Text(key) = key else { return Err(format!("{name} has a name that is no text")) };
                    let entry = Self::of(value, &key)?;
                    if entries.insert(key.clone(), entry).is_some() {
                        return Err(format!("{name} has {key} twice"));
                    }
                }
                Ok(Self::Map(Vector(entries)))
            }
            _ => Err(format!("{name} is no number, list or map")),
        }
    }
}

/// Bytes as they are written in lists of checksums.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
