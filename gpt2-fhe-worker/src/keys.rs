//! Files of bootstrapping keys: what workers get of evaluation keys, and nothing more.
//!
//! A worker does blind rotations and no other operation, so its file of keys has the bootstrapping keys of a set, of all gadgets, and none of
//! the others. It is a file of evaluation keys as any other ([`tfhe_core::format`]), and its name is the SHA-256 of its bytes: whoever has
//! fetched it knows whether it is what was asked for, whoever kept it.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::format::{self, ENVELOPE_BYTES, FormatError, Header, Kind};
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::{Identity, Needs, SeededEvaluationKeys};

use crate::batch::KeyName;

/// Why a file of keys is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is damaged, or something else.
    #[error("the file of evaluation keys {0}: {1}")]
    Format(KeyName, #[source] FormatError),
    /// It is a file of keys, and not this one.
    #[error("the file of evaluation keys {0} is another one: its SHA-256 is {1}")]
    Name(KeyName, KeyName),
}

/// The keys that a worker needs: those of all bootstrapping gadgets of the set.
pub fn needs(parameters: &Parameters) -> Needs {
    (0..parameters.bootstraps().len()).fold(Needs::default(), Needs::bootstrapping)
}

fn context() -> Fingerprint {
    Fields::new("bootstrapping keys of workers").fingerprint()
}

fn header(identity: Identity) -> Header {
    Header { kind: Kind::EVALUATION_KEYS, identity, context: context() }
}

/// Writes the file of a worker's keys, out of a client's evaluation keys.
///
/// # Errors
/// Those of `output`, and that one of the keys is missing.
pub fn write_keys(keys: &SeededEvaluationKeys, output: &mut dyn Write) -> io::Result<()> {
    let needs = needs(keys.parameters());
    format::write(output, &header(*keys.identity()), |encoder| encoder.some_evaluation_keys(keys, &needs))
}

impl KeyName {
    /// The name of the file that [`write_keys`] writes: its bytes are made, hashed, and not kept.
    ///
    /// # Errors
    /// If one of the keys is missing.
    pub fn of(keys: &SeededEvaluationKeys) -> io::Result<Self> {
        let mut hash = Hash(Sha256::new());
        write_keys(keys, &mut hash)?;
        Ok(Self(hash.0.finalize().into()))
    }

    /// The name of a file with these bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// Reads a file of keys of a set, under keys `identity`: `available` bytes of `input`, as whoever keeps it says, which are as many as the set
/// says. Keys that are being read take the memory of themselves, as words of 64 bits; what is returned was all compared with the name.
///
/// # Errors
/// [`KeyFileError`].
pub fn read_keys(
    name: KeyName,
    input: &mut dyn Read,
    available: u64,
    (identity, parameters): (Identity, &Parameters),
) -> Result<SeededEvaluationKeys, KeyFileError> {
    let failed = |error| KeyFileError::Format(name, error);
    let needs = needs(parameters);
    let bytes = format::evaluation_key_bytes(parameters, &needs).map_err(|error| failed(error.into()))?;
    let mut hashed = Hashing { input, hash: Sha256::new() };
    let keys = format::decode(&mut hashed, available, bytes - ENVELOPE_BYTES, |found, decoder| {
        found.check(&header(identity))?;
        decoder.evaluation_keys(identity, parameters, &needs)
    });
    let keys = keys.map_err(failed)?;
    let found = KeyName(hashed.hash.finalize().into());
    if found == name { Ok(keys) } else { Err(KeyFileError::Name(name, found)) }
}

/// Hashes what is written.
struct Hash(Sha256);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes what is read.
struct Hashing<'a> {
    input: &'a mut dyn Read,
    hash: Sha256,
}

impl Read for Hashing<'_> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(output)?;
        self.hash.update(&output[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use tfhe_core::keys::Needs;

    use super::*;
    use crate::testing::Toy;

    fn read(name: KeyName, bytes: &[u8], toy: &Toy) -> Result<SeededEvaluationKeys, KeyFileError> {
        let of = (*toy.sent.identity(), toy.sent.parameters());
        read_keys(name, &mut &bytes[..], bytes.len() as u64, of)
    }

    fn file(toy: &Toy) -> (KeyName, Vec<u8>) {
        let mut bytes = Vec::new();
        write_keys(&toy.sent, &mut bytes).unwrap();
        (KeyName::of_bytes(&bytes), bytes)
    }

    #[test]
    fn a_file_has_the_bootstrapping_keys_and_no_others() {
        let toy = Toy::new(1);
        let (name, bytes) = file(&toy);
        assert_eq!(KeyName::of(&toy.sent).unwrap(), name);
        let keys = read(name, &bytes, &toy).unwrap();
        assert_eq!(keys.bootstrapping_key(0), toy.sent.bootstrapping_key(0));
        assert!(keys.lwe_keyswitch(tfhe_core::key_graph::Node::Lookup).is_err());
        let needs = Needs::default().bootstrapping(0);
        assert_eq!(bytes.len() as u64, format::evaluation_key_bytes(keys.parameters(), &needs).unwrap());
    }

    #[test]
    fn another_file_is_refused() {
        let (toy, other) = (Toy::new(1), Toy::new(2));
        let (name, bytes) = file(&toy);
        let line = |result: Result<_, KeyFileError>| result.map(|_: SeededEvaluationKeys| ()).unwrap_err().to_string();
        let wrong = KeyName([1; 32]);
        let expected = format!("the file of evaluation keys {wrong} is another one: its SHA-256 is {name}");
        assert_eq!(line(read(wrong, &bytes, &toy)), expected);
        assert!(line(read(name, &bytes, &other)).ends_with("it belongs to other keys"));
        assert!(line(read(name, &bytes[..900], &toy)).contains("it was cut off"));
        let mut damaged = bytes.clone();
        damaged[2000] ^= 1;
        assert!(line(read(name, &damaged, &toy)).contains("its checksum is wrong"));
        // A file that says that it is larger than such keys are.
        damaged[116..124].copy_from_slice(&(1_u64 << 40).to_le_bytes());
        assert!(line(read(name, &damaged, &toy)).contains("are possible"));
        // All evaluation keys.
        let mut all = Vec::new();
        format::write(&mut all, &header(*toy.sent.identity()), |encoder| encoder.evaluation_keys(&toy.sent)).unwrap();
        assert!(line(read(name, &all, &toy)).contains("are possible"));
    }

    #[test]
    fn keys_that_are_missing_are_not_written() {
        let toy = Toy::new(1);
        let (identity, parameters) = (*toy.sent.identity(), toy.sent.parameters());
        let needs = Needs::default().relinearization(tfhe_core::key_graph::Node::Arithmetic);
        let mut bytes = Vec::new();
        let written =
            format::write(&mut bytes, &header(identity), |encoder| encoder.some_evaluation_keys(&toy.sent, &needs));
        written.unwrap();
        let without = format::decode(&mut &bytes[..], bytes.len() as u64, 1 << 20, |_, decoder| {
            decoder.evaluation_keys(identity, parameters, &needs)
        });
        let refused = KeyName::of(&without.unwrap()).unwrap_err();
        assert_eq!(refused.to_string(), "the evaluation keys have no key for bootstrapping with gadget number 0");
    }
}
