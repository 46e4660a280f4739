//! The file of keys that workers get.

use std::io::{self, Write};

use crate::batch::KeyName;

/// Writes a file of keys, as often as it is asked to.
pub type WriteKeys = Box<dyn Fn(&mut dyn Write) -> io::Result<()> + Send + Sync>;

/// A file of bootstrapping keys, for workers.
pub struct KeyFile {
    /// The hash of its bytes.
    pub name: KeyName,
    /// Writes its bytes.
    pub write: WriteKeys,
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile").field("name", &self.name).finish_non_exhaustive()
    }
}

impl KeyFile {
    /// Of keys that nobody else gets.
    pub fn nowhere() -> Self {
        Self { name: KeyName::of_bytes(&[]), write: Box::new(|_| Ok(())) }
    }
}
