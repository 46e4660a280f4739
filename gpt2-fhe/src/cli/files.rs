//! Files that a command writes: whole, or not at all, and never in the place of anything that was not meant.
//!
//! Of each file, a new one is made beside its place before the work begins, which shows that it can be written; at the end it gets the
//! contents and takes its place. Until then it is removed whatever happens, a signal included.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{anyhow, bail};
use tempfile::TempPath;
use tfhe_core::format::{self, Encoder, Header};

/// New files that have not taken their places yet, and the names of those that have.
///
/// Whoever makes, writes, moves or removes one holds the lock.
static FILES: Mutex<Files> = Mutex::new(Files { unfinished: Vec::new(), written: Vec::new() });

struct Files {
    unfinished: Vec<PathBuf>,
    written: Vec<String>,
}

fn files() -> MutexGuard<'static, Files> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// After a signal: removes what is unfinished, and returns the names of what was written. No file is made after this.
pub(super) fn abandon() -> Vec<String> {
    let mut files = std::mem::ManuallyDrop::new(files());
    for path in files.unfinished.drain(..) {
        // What is gone already is as it should be.
        let _ = std::fs::remove_file(path);
    }
    std::mem::take(&mut files.written)
}

/// What writes a file, given its path.
pub(super) type Contents<'a> = Box<dyn FnOnce(&Path) -> Result<(), nn::Error> + 'a>;

/// A text or other bytes.
pub(super) fn bytes(contents: Vec<u8>) -> Contents<'static> {
    Box::new(move |path| {
        let failed = |source| nn::Error::File { action: "write", path: path.into(), source };
        std::fs::write(path, contents).map_err(failed)
    })
}

/// An envelope of ciphertexts, or of what belongs to them.
pub(super) fn envelope<'a>(
    (header, contents): (Header, impl Fn(&mut Encoder<'_>) -> io::Result<()> + 'a),
) -> Contents<'a> {
    Box::new(move |path| {
        let failed = |source| nn::Error::File { action: "write", path: path.into(), source };
        let mut file = std::fs::File::create(path).map_err(failed)?;
        format::write(&mut file, &header, contents).map_err(failed)
    })
}

/// The files that the options of a command name.
pub(super) struct OutputFiles {
    /// Whether they may take the place of others.
    force: bool,
    files: Vec<PendingFile>,
}

/// A file to be written at the end of a long computation.
struct PendingFile {
    /// As it was given.
    name: String,
    /// Where it will be; links resolved.
    path: PathBuf,
    /// Where it is until then.
    temporary: PathBuf,
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        files().unfinished.retain(|path| *path != self.temporary);
        // Where it has taken its place, it is not here any more.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

impl OutputFiles {
    /// Makes the new files of `outputs`, of which each is an option and what it names. `inputs` are all files and folders that the
    /// command reads.
    ///
    /// # Errors
    /// That one cannot be written, exists while `force` is not given, or is another output or an input.
    pub(super) fn create(
        outputs: &[(&'static str, Option<&Path>)],
        inputs: &[(&'static str, Option<&Path>)],
        force: bool,
    ) -> anyhow::Result<Self> {
        let outputs: Vec<(&'static str, &Path)> =
            outputs.iter().filter_map(|&(option, path)| Some((option, path?))).collect();
        let places =
            outputs.iter().map(|&(option, path)| Place::of(option, path, force)).collect::<Result<Vec<_>, _>>()?;
        for (index, place) in places.iter().enumerate() {
            if let Some(other) = places[..index].iter().find(|other| other.identity == place.identity) {
                bail!("{} and {} name the same file, {}; give them two", other.option, place.option, place.name);
            }
            for &(option, input) in inputs {
                if input.is_some_and(|input| place.is_of(input)) {
                    bail!("{} names {}, which {option} reads; give it another name", place.option, place.name);
                }
            }
        }
        let files = places.into_iter().map(Place::pending).collect::<Result<_, _>>()?;
        Ok(Self { force, files })
    }

    /// Keeps the file of an output from everyone but its owner, before anything is in it.
    ///
    /// # Errors
    /// That the system does not let it.
    pub(super) fn keep_private(&self, output: usize) -> anyhow::Result<()> {
        #[cfg(unix)]
        {
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&self.files[output].temporary, private)?;
        }
        Ok(())
    }

    /// Has the contents of each written, in the order of the outputs that were given, then `report` printed, and then all of them take
    /// their places.
    ///
    /// # Errors
    /// That it cannot be; then no new file is left.
    pub(super) fn write(
        self,
        contents: Vec<Contents<'_>>,
        report: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let all = files();
        for (file, write) in self.files.iter().zip(contents) {
            let written = write(&file.temporary).map_err(reason);
            let written = written.and_then(|()| std::fs::File::open(&file.temporary)?.sync_all());
            if let Err(error) = written {
                drop(all);
                bail!("cannot write {}: {error}; no file was written", file.name);
            }
        }
        // A signal may come while somebody reads slowly.
        drop(all);
        report()?;
        let mut all = files();
        for (index, file) in self.files.iter().enumerate() {
            if let Err(error) = file.take_place(self.force) {
                let taken = self.take_back(index);
                all.written.clear();
                drop(all);
                bail!("cannot write {}: {error}{taken}", file.name);
            }
            all.written.push(file.name.clone());
        }
        drop(all);
        Ok(())
    }

    /// Removes the first `count` files from their places, where nothing was before them; says what cannot be taken back.
    fn take_back(&self, count: usize) -> String {
        let before = &self.files[..count];
        if self.force && !before.is_empty() {
            let names: Vec<&str> = before.iter().map(|file| &file.name[..]).collect();
            return format!("; {} had been replaced already", names.join(", "));
        }
        before.iter().for_each(|file| drop(std::fs::remove_file(&file.path)));
        "; no file was written".into()
    }
}

/// Why a file could not be written, without its name, which is that of the new file.
fn reason(error: nn::Error) -> io::Error {
    match error {
        nn::Error::File { source, .. } => source,
        other => io::Error::other(other),
    }
}

impl PendingFile {
    /// Moves the new file to its place, in one step. Unless forced, nothing may be there.
    fn take_place(&self, force: bool) -> io::Result<()> {
        let moving = TempPath::try_from_path(&self.temporary)?;
        let moved = if force { moving.persist(&self.path) } else { moving.persist_noclobber(&self.path) };
        moved.map_err(|failed| failed.error)
    }
}

/// What an output is to be, checked.
struct Place {
    option: &'static str,
    name: String,
    path: PathBuf,
    identity: Identity,
}

/// What makes two paths the same file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    /// A file that exists: device and number, or where there are none, its path without links.
    Existing(u64, u64, PathBuf),
    /// One that does not: its folder, and its name.
    New(Box<Identity>, std::ffi::OsString),
}

impl Identity {
    /// Of a file or folder that exists; links are followed.
    fn existing(path: &Path) -> io::Result<Self> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let metadata = std::fs::metadata(path)?;
            Ok(Self::Existing(metadata.dev(), metadata.ino(), PathBuf::new()))
        }
        #[cfg(not(unix))]
        Ok(Self::Existing(0, 0, std::fs::canonicalize(path)?))
    }
}

impl Place {
    fn of(option: &'static str, path: &Path, force: bool) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let failed = |error: io::Error| unwritable(&name, option, &error);
        let Some(file_name) = path.file_name() else {
            bail!("cannot write {name}: it has no file name; give {option} another name");
        };
        if name.ends_with(std::path::is_separator) {
            bail!("cannot write {name}: that is a folder; give {option} the name of a file");
        }
        let folder = folder_of(path);
        let (path, identity) = match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = Identity::existing(folder).map_err(failed)?;
                (path.to_path_buf(), Identity::New(Box::new(folder), file_name.to_owned()))
            }
            Err(error) => return Err(failed(error)),
            Ok(_) => {
                let Ok(metadata) = std::fs::metadata(path) else {
                    bail!("cannot write {name}: it is a link to a file that is not there; give {option} another name");
                };
                if !metadata.is_file() {
                    bail!("cannot write {name}: it exists and is not a file; give {option} another name");
                }
                if !force {
                    bail!("{name} exists already; give {option} another name, or allow it to be replaced by --force");
                }
                // Of a link, what it leads to is replaced.
                (std::fs::canonicalize(path).map_err(failed)?, Identity::existing(path).map_err(failed)?)
            }
        };
        Ok(Self { option, name, path, identity })
    }

    /// Whether this is `input`, or a file of the folder `input`.
    fn is_of(&self, input: &Path) -> bool {
        let same = |path: &Path| Identity::existing(path).is_ok_and(|identity| identity == self.identity);
        let entries = std::fs::read_dir(input).into_iter().flatten().flatten();
        same(input) || entries.into_iter().any(|entry| same(&entry.path()))
    }

    fn pending(self) -> anyhow::Result<PendingFile> {
        let Self { option, name, path, .. } = self;
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(path.file_name().unwrap_or_default());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".tmp");
        // As for any other new file: everything that the user's mask allows.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut all = files();
        let temporary = builder.tempfile_in(folder_of(&path)).map_err(|error| unwritable(&name, option, &error))?;
        let temporary = temporary.into_temp_path().keep()?;
        all.unfinished.push(temporary.clone());
        drop(all);
        let file = PendingFile { name, path, temporary };
        // What replaces a file is as open or closed to others as that was.
        if let Ok(replaced) = std::fs::metadata(&file.path) {
            std::fs::set_permissions(&file.temporary, replaced.permissions())?;
        }
        Ok(file)
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// That a place cannot be written to. The kind alone: the error itself names the new file.
fn unwritable(name: &str, option: &str, error: &io::Error) -> anyhow::Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "its folder is not there".into(),
        kind => kind.to_string(),
    };
    anyhow!("cannot write {name}: {why}; give {option} another name")
}
