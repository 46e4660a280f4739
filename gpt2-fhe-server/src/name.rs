//! Names of keys, texts and requests: digits in hex, and nothing else, so that they can be names of files.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A name: 64 digits of keys and requests, which are hashes, and 32 of texts, which are drawn.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Name(String);

impl Name {
    /// What a hash names.
    pub(crate) fn of_hash(hash: Sha256) -> Self {
        Self::of_bytes(&hash.finalize())
    }

    /// A name that was not there before.
    ///
    /// # Errors
    /// That the system gives no random bytes.
    pub(crate) fn drawn() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self::of_bytes(&bytes))
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The name, if it is one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (matches!(text.len(), 32 | 64) && text.bytes().all(is_digit)).then(|| Self(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a name of 32 or 64 digits in hex")
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hex_and_nothing_else() {
        assert_eq!(Name::parse(&"0a".repeat(16)).unwrap().as_str().len(), 32);
        assert!(Name::parse(&"0a".repeat(32)).is_some());
        for wrong in ["", "..", "0a", &"0A".repeat(16), &"../a".repeat(8), &"é".repeat(16), &"0a".repeat(33)] {
            assert_eq!(Name::parse(wrong), None, "{wrong}");
        }
        assert_ne!(Name::drawn().unwrap(), Name::drawn().unwrap());
        assert_eq!(Name::of_hash(Sha256::new()).as_str()[..8], *"e3b0c442");
    }
}
