//! A client's secret as a file, which its owner alone can read.

use std::io;
use std::path::Path;

use tfhe_core::derivation::{ClientSeed, RequestRandomness};
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::format::{self, ENVELOPE_BYTES, Encoder, FormatError, Header, Kind, SECRET_BYTES};
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::Identity;
use tfhe_core::random::SecretSeed;
use tfhe_core::simd::BackendError;

use crate::client::Client;
use crate::store::open_file;

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read, or is something else.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It is not there.
    #[error("there is no such file: make it with `gpt2-fhe keygen`")]
    Missing,
    /// Others can read it.
    #[error("others than its owner can read it (mode {0:03o}): chmod 600 it, if it is still a secret")]
    Readable(u32),
    /// Another version of the program makes other keys from it.
    #[error(
        "keys are made from it in another way than when it was written: use the version of the program that wrote it"
    )]
    OtherKeys,
    /// The environment asks for vector instructions that cannot be used.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// What the keys of a client of one circuit are made from.
#[derive(Clone, Debug)]
pub struct ClientSecret {
    seed: SecretSeed,
    requests: RequestRandomness,
}

fn context(circuit: &str) -> Fingerprint {
    Fields::new("secret of a client").name(circuit).fingerprint()
}

impl ClientSecret {
    /// From a seed. Reproducible: equal requests are equal ciphertexts, by which they are recognized.
    pub fn new(seed: SecretSeed, requests: RequestRandomness) -> Self {
        Self { seed, requests }
    }

    /// The client, for a circuit and a parameter set.
    ///
    /// # Errors
    /// If the environment asks for a backend that cannot be used.
    pub fn client(&self, circuit: &str, parameters: &Parameters) -> Result<Client, BackendError> {
        let seed = match self.requests {
            RequestRandomness::Fresh => ClientSeed::stored(self.seed.clone()),
            RequestRandomness::Reproducible => ClientSeed::reproducible(self.seed.clone()),
        };
        Client::new(circuit, parameters, &seed)
    }

    /// The header of its file, and what writes its contents. `identity`: of the keys that are made from it.
    pub fn file(&self, circuit: &str, identity: &Identity) -> (Header, impl Fn(&mut Encoder<'_>) -> io::Result<()>) {
        let header = Header { kind: Kind::SECRET, identity: *identity, context: context(circuit) };
        (header, |encoder| encoder.secret(&self.seed, self.requests))
    }

    /// Reads such a file, and makes the client for that circuit and parameter set.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(path: &Path, circuit: &str, parameters: &Parameters) -> Result<Client, SecretError> {
        let (mut file, length) = open_file(path)?.ok_or(SecretError::Missing)?;
        check_mode(&file)?;
        let (identity, secret) =
            format::decode(&mut file, length, SECRET_BYTES - ENVELOPE_BYTES, |header, decoder| {
                header.check_of(Kind::SECRET, &parameters.fingerprint(), &context(circuit))?;
                let (seed, requests) = decoder.secret()?;
                Ok((header.identity, Self { seed, requests }))
            })?;
        let client = secret.client(circuit, parameters)?;
        if *client.identity() == identity { Ok(client) } else { Err(SecretError::OtherKeys) }
    }
}

#[cfg(unix)]
fn check_mode(file: &std::fs::File) -> Result<(), SecretError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().map_err(FormatError::from)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(SecretError::Readable(mode)) }
}

#[cfg(not(unix))]
fn check_mode(_: &std::fs::File) -> Result<(), SecretError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::agreement::parameters;
    use crate::block::encoding::BlockEncoding;
    use crate::encoding::Encoding;
    use crate::store::write_file;

    const CIRCUIT: &str = BlockEncoding::CIRCUIT;

    fn write(secret: &ClientSecret, path: &Path, identity: &Identity) {
        let (header, contents) = secret.file(CIRCUIT, identity);
        write_file(path, &header, contents).unwrap();
    }

    #[test]
    fn the_same_client_is_read() {
        let (folder, parameters) = (tempfile::tempdir().unwrap(), parameters());
        let path = folder.path().join("secret");
        for requests in [RequestRandomness::Fresh, RequestRandomness::Reproducible] {
            let secret = ClientSecret::new(SecretSeed::from_number(3), requests);
            let client = secret.client(CIRCUIT, &parameters).unwrap();
            write(&secret, &path, client.identity());
            let read = ClientSecret::read(&path, CIRCUIT, &parameters).unwrap();
            assert_eq!(read.identity(), client.identity());
        }
        let other = ClientSecret::read(&path, "another circuit", &parameters).unwrap_err();
        assert!(matches!(other, SecretError::Format(FormatError::Other(_))), "{other}");
        let other = ClientSecret::read(&folder.path().join("nothing"), CIRCUIT, &parameters).unwrap_err();
        assert!(matches!(other, SecretError::Missing), "{other}");
        // Whose keys are others: as if keys were made in another way.
        let secret = ClientSecret::new(SecretSeed::from_number(4), RequestRandomness::Fresh);
        let client = ClientSecret::new(SecretSeed::from_number(5), RequestRandomness::Fresh);
        write(&secret, &path, client.client(CIRCUIT, &parameters).unwrap().identity());
        let other = ClientSecret::read(&path, CIRCUIT, &parameters).unwrap_err();
        assert!(matches!(other, SecretError::OtherKeys), "{other}");
    }

    #[cfg(unix)]
    #[test]
    fn what_others_can_read_is_no_secret() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, parameters) = (tempfile::tempdir().unwrap(), parameters());
        let path = folder.path().join("secret");
        let secret = ClientSecret::new(SecretSeed::from_number(3), RequestRandomness::Fresh);
        let client = secret.client(CIRCUIT, &parameters).unwrap();
        write(&secret, &path, client.identity());
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(ClientSecret::read(&path, CIRCUIT, &parameters).is_ok());
        mode(0o640);
        let refused = ClientSecret::read(&path, CIRCUIT, &parameters).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "others than its owner can read it (mode 640): chmod 600 it, if it is still a secret"
        );
    }
}
