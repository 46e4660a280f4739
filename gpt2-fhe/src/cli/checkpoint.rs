//! The folder of `--checkpoint`: a run that is kept while it goes on, and goes on from there after an interruption.
//!
//! | path | what |
//! |---|---|
//! | `lock` | empty; locked while a run uses the folder |
//! | `client/work` | the seed of the client's keys, and fingerprints of what is computed |
//! | `client/text-I/journal` | of circuit I: the answers to the client's requests |
//! | `server/text-I/` | of circuit I: what the server has ([`gpt2_fhe::block::state`]) |
//!
//! The two parts are of two parties, and only the client's is secret. `docs/formats.md` has every byte.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use gpt2_fhe::block::state::is_state;
use gpt2_fhe::run::block::{BlockModel, is_journal};
use gpt2_fhe::store::{Store, StoreError};
use tfhe_core::derivation::{ClientSeed, RequestRandomness};
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::format::{Decoder, FormatError, Header, Kind};
use tfhe_core::keys::Identity;
use tfhe_core::random::SecretSeed;

use super::arguments::{Checkpointing, Resources, no_randomness};
use super::output::{note, note_checkpoint};

const WORK: &str = "work";
const LOCK: &str = "lock";
const CLIENT: &str = "client";
const SERVER: &str = "server";
/// How the folders of texts begin.
const TEXT: &str = "text-";
/// Bytes of the file of the work, at most, and of a name in it.
const LIMIT: u64 = 4096;

/// What is computed, by the names of its parts.
pub(super) struct Work(Vec<(&'static str, Fingerprint)>);

impl Work {
    /// On the blocks of some circuits, of inputs that have these names.
    pub(super) fn new(models: &[BlockModel], inputs: Vec<(&'static str, Fingerprint)>) -> Self {
        let blocks =
            models.iter().fold(Fields::new("circuits"), |fields, model| fields.of(model.circuit().fingerprint()));
        let blocks = ("the model, its calibration, or what of it is encrypted", blocks.fingerprint());
        Self(std::iter::once(blocks).chain(inputs).collect())
    }

    /// The names of what is not the same.
    fn differences(&self, stored: &[(String, Fingerprint)]) -> Vec<&'static str> {
        let same = |(name, fingerprint): &&(&'static str, Fingerprint)| {
            !stored.iter().any(|(other, found)| other == name && found == fingerprint)
        };
        self.0.iter().filter(same).map(|(name, _)| *name).collect()
    }
}

/// A run in a folder.
pub(super) struct Checkpoint {
    folder: PathBuf,
    /// As long as this is open, no other run has the folder.
    _lock: File,
    client: Store,
    server: Store,
    work: Work,
    seed: SecretSeed,
    randomness: RequestRandomness,
    /// Of a run that goes on, whose keys it has.
    owner: Option<Identity>,
    /// The most tokens that a text of it can have.
    most: usize,
}

impl Checkpoint {
    /// That in the folder which the arguments name, if they do: of the same work as `work`, or a new one. A text of it can have at most
    /// `most` tokens.
    ///
    /// # Errors
    /// That the folder cannot be used; that what is in it is of other work, or damaged.
    pub(super) fn open(
        arguments: &Checkpointing,
        resources: &Resources,
        work: Work,
        most: usize,
    ) -> anyhow::Result<Option<Self>> {
        let Some(folder) = arguments.checkpoint.clone() else { return Ok(None) };
        check_folder(&folder)?;
        Store::open(&folder)?;
        let lock = lock(&folder)?;
        if arguments.restart {
            clear(&folder)?;
        }
        let (client, server) = (Store::open(&folder.join(CLIENT))?, Store::open(&folder.join(SERVER))?);
        let stored = match client.read(WORK, LIMIT).map_err(|error| advise(&error))? {
            None => None,
            Some(document) => {
                let read = document.open_of(KIND).and_then(Stored::decode);
                let stored = read.map_err(|error| advise(&client.refused(WORK, error)))?;
                Some((stored, document.header().identity))
            }
        };
        let numbered = resources.numbered_seed();
        let Some((stored, owner)) = stored else {
            if has_texts(&folder)? {
                bail!("{} has parts of a checkpoint and not {CLIENT}/{WORK}; {OTHERWISE}", folder.display());
            }
            let randomness =
                if numbered.is_some() { RequestRandomness::Reproducible } else { RequestRandomness::Fresh };
            let seed = numbered.map_or_else(SecretSeed::from_system, Ok).map_err(no_randomness)?;
            return Ok(Some(Self { folder, _lock: lock, client, server, work, seed, randomness, owner: None, most }));
        };
        let mut differences = work.differences(&stored.facts);
        if numbered.is_some_and(|seed| seed.expose() != stored.seed.expose()) {
            differences.push("--seed");
        }
        if !differences.is_empty() {
            let verb = if differences.len() == 1 { "is" } else { "are" };
            let what = differences.join(", and ");
            bail!("{} is the checkpoint of other work: {what} {verb} not the same; {OTHERWISE}", folder.display());
        }
        let Stored { seed, randomness, .. } = stored;
        Ok(Some(Self { folder, _lock: lock, client, server, work, seed, randomness, owner: Some(owner), most }))
    }

    /// What the keys are made from.
    pub(super) fn client_seed(&self) -> ClientSeed {
        let make = match self.randomness {
            RequestRandomness::Fresh => ClientSeed::stored,
            RequestRandomness::Reproducible => ClientSeed::reproducible,
        };
        make(self.seed.clone())
    }

    /// The most tokens that a text of it can have.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// In words.
    pub(super) fn name(&self) -> String {
        self.folder.display().to_string()
    }

    /// The keys are made: a new run is in the folder from now on.
    ///
    /// # Errors
    /// That they are not those of the run that is there; that the folder cannot be written.
    pub(super) fn begin(&self, keys: &Identity) -> anyhow::Result<()> {
        if self.owner.is_some_and(|owner| owner != *keys) {
            bail!("{} was kept by another version of this program, with other keys; {OTHERWISE}", self.name());
        }
        if self.owner.is_none() {
            let header = Header { kind: KIND, identity: *keys, context: Fields::new(WORK).fingerprint() };
            self.client.write(WORK, &header, |encoder| {
                encoder.digest(self.seed.expose())?;
                encoder.integer(u64::from(self.randomness == RequestRandomness::Reproducible))?;
                encoder.integer(self.work.0.len() as u64)?;
                self.work.0.iter().try_for_each(|(name, fingerprint)| {
                    encoder.bytes(name.as_bytes())?;
                    encoder.digest(fingerprint.as_bytes())
                })
            })?;
        }
        note_checkpoint(Some(self.name()));
        Ok(())
    }

    /// The folders of text number `text`: the client's, and the server's.
    ///
    /// # Errors
    /// That they cannot be used.
    pub(super) fn text(&self, text: usize) -> Result<[Store; 2], StoreError> {
        let name = format!("{TEXT}{text}");
        Ok([Store::open(&self.client.path(&name))?, Store::open(&self.server.path(&name))?])
    }

    /// The run has ended, and what it gave is where it should be: nothing of the checkpoint is needed any more.
    ///
    /// # Errors
    /// That it cannot be removed.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        note_checkpoint(None);
        clear(&self.folder)?;
        Store::open(&self.folder)?.clear(|name| name == LOCK)?;
        let name = self.name();
        drop(self);
        note(&format!("the checkpoint {name} is done, and was removed"));
        Ok(())
    }
}

const KIND: Kind = Kind(*b"work    ");
const OTHERWISE: &str = "give --checkpoint another folder, or begin anew with --restart, which removes it";

/// What can be done where a checkpoint cannot be used.
pub(super) fn advise(error: &dyn std::error::Error) -> anyhow::Error {
    anyhow!("{error}; {OTHERWISE}")
}

/// The file of the work.
struct Stored {
    seed: SecretSeed,
    randomness: RequestRandomness,
    facts: Vec<(String, Fingerprint)>,
}

impl Stored {
    fn decode(mut decoder: Decoder<'_>) -> Result<Self, FormatError> {
        let seed = SecretSeed::from_bytes(&decoder.digest()?);
        let randomness = match decoder.count(1)? {
            0 => RequestRandomness::Fresh,
            _ => RequestRandomness::Reproducible,
        };
        let mut facts = Vec::new();
        for _ in 0..decoder.count(LIMIT as usize)? {
            let name = String::from_utf8(decoder.bytes(LIMIT as usize)?);
            let name = name.map_err(|_| FormatError::Contents("a name is not UTF-8"))?;
            facts.push((name, decoder.fingerprint()?));
        }
        decoder.finish()?;
        Ok(Self { seed, randomness, facts })
    }
}

/// The names in a folder; none if it is not there.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
    }
}

/// Checks that a folder is one of a checkpoint, or empty, or not there.
fn check_folder(folder: &Path) -> anyhow::Result<()> {
    let name = folder.display();
    if folder.exists() && !folder.is_dir() {
        bail!("{name} is a file; give --checkpoint a folder, or the name of a new one");
    }
    let names = names(folder).map_err(|error| anyhow!("cannot read {name}: {error}"))?;
    match names.iter().find(|name| ![LOCK, CLIENT, SERVER].contains(&name.as_str())) {
        Some(other) => bail!("{name} has other things in it, like {other}; give --checkpoint a folder of its own"),
        None => Ok(()),
    }
}

/// The file that is open while a run uses a folder.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let failed = |error: io::Error| anyhow!("cannot write {}: {error}", folder.display());
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(folder.join(LOCK)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another run uses the checkpoint {}; wait until it ends, or give another folder", folder.display())
        }
        // Not every disk has locks.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The folders of texts, of both parties.
fn texts(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut texts = Vec::new();
    for party in [CLIENT, SERVER].map(|party| folder.join(party)) {
        let names = names(&party)?.into_iter().filter(|name| name.starts_with(TEXT));
        texts.extend(names.map(|name| party.join(name)));
    }
    Ok(texts)
}

/// Whether there is a text of which something is kept.
fn has_texts(folder: &Path) -> anyhow::Result<bool> {
    Ok(!texts(folder)?.is_empty())
}

/// Removes the two parts of a checkpoint.
fn clear(folder: &Path) -> anyhow::Result<()> {
    for text in texts(folder)? {
        Store::open(&text)?.clear(|name| is_state(name) || is_journal(name))?;
    }
    for party in [CLIENT, SERVER] {
        Store::open(&folder.join(party))?.clear(|name| name == WORK)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tfhe_core::format;
    use tfhe_core::keys::ClientKeys;
    use tfhe_core::sets;

    use super::*;

    /// They are compared with those of this program, and one that is no text is damage.
    #[test]
    fn names_of_work_are_text() {
        let keys = ClientKeys::generate(&sets::TOY.compile().unwrap(), &ClientSeed::from_number(1)).unwrap();
        let header = Header { kind: KIND, identity: *keys.identity(), context: Fields::new(WORK).fingerprint() };
        let names = |name: &[u8]| {
            let mut file = Vec::new();
            let write = format::write(&mut file, &header, |encoder| {
                encoder.digest(&[5; 32])?;
                encoder.integer(0)?;
                encoder.integer(1)?;
                encoder.bytes(name)?;
                encoder.digest(Fields::new("what it is").fingerprint().as_bytes())
            });
            write.unwrap();
            let document = format::read(&mut file.as_slice(), file.len() as u64, LIMIT).unwrap();
            let stored = document.open_of(KIND).and_then(Stored::decode);
            stored.map(|stored| stored.facts.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        assert_eq!(names("die Größe".as_bytes()).unwrap(), ["die Größe"]);
        assert_eq!(
            names(&[b'a', 0xff]).unwrap_err().to_string(),
            FormatError::Contents("a name is not UTF-8").to_string()
        );
    }
}
