//! The commands of two parties that exchange files: `keygen`, `encrypt` and `decrypt` are the client's, `compute` is the server's.

mod compute;
mod decrypt;
mod encrypt;
mod keygen;

use std::fs::File;
use std::io::Seek;
use std::path::Path;

use anyhow::{anyhow, bail};
use gpt2_fhe::block::agreement::{self, BlockRequest};
use gpt2_fhe::block::circuit::BlockCircuit;
use gpt2_fhe::block::encoding::BlockEncoding;
use gpt2_fhe::client::Client;
use gpt2_fhe::encoding::Encoding;
use gpt2_fhe::run::block::BlockParty;
use gpt2_fhe::secret::ClientSecret;
use gpt2_fhe::store::open_file;
use nn::block::BlocksClient;
use nn::record::{AttentionFingerprint, ClientHalf, QuantizedFile, ServerHalf};
use tfhe_core::derivation::RequestRandomness;
use tfhe_core::format::{self, Kind};
use tfhe_core::random::SecretSeed;

pub(super) use compute::run as compute;
pub(super) use decrypt::run as decrypt;
pub(super) use encrypt::run as encrypt;
pub(super) use keygen::run as keygen;

use super::arguments::{ClientFiles, no_randomness};
use super::source::check_file;

/// What parties have, and send.
const KINDS: [Kind; 4] = [Kind::SECRET, Kind::EVALUATION_KEYS, Kind::REQUEST, Kind::ANSWER];
/// The circuit of the keys.
const CIRCUIT: &str = BlockEncoding::CIRCUIT;

/// That a file cannot be used, and why.
pub(super) fn refused(path: &Path, error: &dyn std::error::Error) -> anyhow::Error {
    anyhow!("cannot use {}: {error}", path.display())
}

/// A file of ciphertexts or keys, and its length.
pub(super) fn open(path: &Path, option: &str, kind: Kind) -> anyhow::Result<(File, u64)> {
    check_file(path, option)?;
    let opened = open_file(path).map_err(|error| refused(path, &error))?;
    let (mut file, length) = opened.ok_or_else(|| anyhow!("cannot open {}: it is not there", path.display()))?;
    // That it is one of the other files is said before that it is too long, or too short, for this one. What is damaged is none of them.
    if let Ok(header) = format::header(&mut file)
        && KINDS.contains(&header.kind)
    {
        header.check_kind(kind).map_err(|error| refused(path, &error))?;
    }
    file.rewind()?;
    Ok((file, length))
}

/// The client's half of blocks, from a file of `quantize`.
pub(super) fn client_half(path: &Path) -> anyhow::Result<(BlocksClient, AttentionFingerprint)> {
    check_file(path, "--quantized")?;
    let (file, name) = (QuantizedFile::read(path)?, path.display());
    match file.client() {
        Some(ClientHalf::Blocks(half)) => Ok((half.clone(), file.fingerprint())),
        Some(_) => bail!("{name} holds attention; give --quantized blocks, which quantize --encrypt writes"),
        None => bail!("{name} has no half for the client: give --quantized the file that has it"),
    }
}

/// The client of a secret.
pub(super) fn read_secret(path: &Path) -> anyhow::Result<Client> {
    if path.exists() {
        open(path, "--secret", Kind::SECRET)?;
    }
    ClientSecret::read(path, CIRCUIT, &agreement::parameters()).map_err(|error| refused(path, &error))
}

/// A client of a new secret, which is kept nowhere.
pub(super) fn new_secret() -> anyhow::Result<Client> {
    let seed = SecretSeed::from_system().map_err(no_randomness)?;
    Ok(ClientSecret::new(seed, RequestRandomness::Fresh).client(CIRCUIT, &agreement::parameters())?)
}

/// A client and what it knows of the blocks.
fn client(files: &ClientFiles) -> anyhow::Result<BlockParty> {
    let (half, program) = client_half(&files.quantized)?;
    Ok(BlockParty::new(half, program, read_secret(&files.secret)?)?)
}

/// Blocks as a server has them, from a file of `quantize`.
fn circuit(path: &Path) -> anyhow::Result<BlockCircuit> {
    check_file(path, "--quantized")?;
    let (file, name) = (QuantizedFile::read(path)?, path.display());
    let fingerprint = file.fingerprint();
    match file.into_halves().0 {
        Some(ServerHalf::Blocks(program)) => Ok(BlockCircuit::new(*program, &fingerprint)?),
        Some(_) => bail!("{name} holds attention; give --quantized blocks, which quantize --encrypt writes"),
        None => bail!("{name} has no half for the server: give --quantized the file that has it"),
    }
}

/// A request of this client.
fn own_request(party: &BlockParty, path: &Path) -> anyhow::Result<BlockRequest> {
    let (mut file, length) = open(path, "--request", Kind::REQUEST)?;
    let request = party.agreement().read_request(&mut file, length, party.fingerprint());
    let request = request.map_err(|error| refused(path, &error))?;
    if request.request.label().identity() != party.client().identity() {
        bail!("cannot use {}: it belongs to other keys than --secret", path.display());
    }
    Ok(request)
}
