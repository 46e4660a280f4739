//! What a client derives its keys from.

use std::io;

use super::decoder::Decoder;
use super::encoder::Encoder;
use super::error::FormatError;
use super::header::ENVELOPE_BYTES;
use crate::derivation::RequestRandomness;
use crate::random::{SecretBytes, SecretSeed};

/// Bytes of a whole file of a secret.
pub const SECRET_BYTES: u64 = ENVELOPE_BYTES + 32 + 8;

impl Encoder<'_> {
    /// The seed of a client's keys, and where the randomness of its requests comes from. What is written to has the secret then.
    ///
    /// # Errors
    /// Those of what is written to.
    pub fn secret(&mut self, seed: &SecretSeed, requests: RequestRandomness) -> io::Result<()> {
        self.digest(seed.expose())?;
        self.integer(u64::from(requests == RequestRandomness::Reproducible))
    }
}

impl Decoder<'_> {
    /// The seed of a client's keys, and where the randomness of its requests comes from.
    ///
    /// # Errors
    /// [`FormatError::Contents`].
    pub fn secret(&mut self) -> Result<(SecretSeed, RequestRandomness), FormatError> {
        let seed = SecretSeed(SecretBytes::filled(|bytes| self.fill(bytes))?);
        let requests = match self.count(1)? {
            0 => RequestRandomness::Fresh,
            _ => RequestRandomness::Reproducible,
        };
        Ok((seed, requests))
    }
}
