//! The folder in which everything is kept.
//!
//! A file is written as `NAME.tmp`, brought to the disk and renamed: each name leads to a whole file at any time. What ends with
//! `.tmp` when the folder is opened was not finished, and is removed.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::name::Name;

/// How the name of a file ends that is not whole yet.
const UNFINISHED: &str = "tmp";
/// How the name of a file ends that says what the file or folder beside it is.
const RECORD: &str = "json";

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another server uses it.
    #[error("another server uses {}: stop it, or choose another folder with --data", .0.display())]
    InUse(PathBuf),
    /// It, or something in it, cannot be made, read or removed.
    #[error("cannot use the folder {}: {}", .0.display(), .1)]
    Unusable(PathBuf, io::Error),
}

/// The parts of the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Keys,
    Texts,
    Requests,
    Answers,
}

impl Part {
    const ALL: [Self; 4] = [Self::Keys, Self::Texts, Self::Requests, Self::Answers];

    fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Texts => "texts",
            Self::Requests => "requests",
            Self::Answers => "answers",
        }
    }
}

/// The folder, locked.
#[derive(Debug)]
pub(crate) struct DataFolder {
    root: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl DataFolder {
    /// Opens the folder, which is made where it is not there, and removes what was not finished in it.
    ///
    /// # Errors
    /// [`FolderError`].
    pub(crate) fn open(root: &Path) -> Result<Self, FolderError> {
        let failed = |error| FolderError::Unusable(root.into(), error);
        make_private_folder(root).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let lock = private(&mut options).open(root.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::InUse(root.into())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let folder = Self { root: root.into(), _lock: lock };
        for part in Part::ALL {
            make_private_folder(&folder.part(part)).map_err(failed)?;
            folder.remove_unfinished(part).map_err(failed)?;
        }
        Ok(folder)
    }

    fn remove_unfinished(&self, part: Part) -> io::Result<()> {
        for entry in fs::read_dir(self.part(part))? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == UNFINISHED) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn part(&self, part: Part) -> PathBuf {
        self.root.join(part.name())
    }

    /// Where a file of keys, the folder of a text, a request or an answer is.
    pub(crate) fn path(&self, part: Part, name: &Name) -> PathBuf {
        self.part(part).join(name.as_str())
    }

    /// Where it is said what that is.
    pub(crate) fn record(&self, part: Part, name: &Name) -> PathBuf {
        self.path(part, name).with_extension(RECORD)
    }

    /// A new file that is not whole yet.
    ///
    /// # Errors
    /// That it cannot be made.
    pub(crate) fn unfinished(&self, part: Part, number: u64) -> io::Result<(File, PathBuf)> {
        let path = self.part(part).join(format!("{number}.{UNFINISHED}"));
        Ok((new_private_file(&path)?, path))
    }

    /// Gives a file that is whole, and on the disk, its name.
    ///
    /// # Errors
    /// That it cannot be renamed.
    pub(crate) fn place(&self, unfinished: &Path, part: Part, name: &Name) -> io::Result<()> {
        fs::rename(unfinished, self.path(part, name))?;
        sync_folder(&self.part(part))
    }

    /// Writes a file, in the place of the one that has its name, if there is one.
    ///
    /// # Errors
    /// That it cannot be written: then that is still there.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let unfinished = path.with_extension(UNFINISHED);
        let write = || {
            remove(&unfinished)?;
            let mut file = new_private_file(&unfinished)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&unfinished, path)?;
            path.parent().map_or(Ok(()), sync_folder)
        };
        write().inspect_err(|_| drop(remove(&unfinished)))
    }

    /// Makes the folder of a text.
    ///
    /// # Errors
    /// That it cannot be made.
    pub(crate) fn make_text(&self, name: &Name) -> io::Result<()> {
        make_private_folder(&self.path(Part::Texts, name))?;
        sync_folder(&self.part(Part::Texts))
    }

    /// What is named in a part, by files, folders or what says what they are: each name once.
    ///
    /// # Errors
    /// That the part cannot be read.
    pub(crate) fn names(&self, part: Part) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.part(part))? {
            let path = entry?.path();
            names.extend(path.file_stem().and_then(|stem| Name::parse(stem.to_str()?)));
        }
        names.sort();
        names.dedup();
        Ok(names)
    }
}

/// Removes a file, or a folder with all that is in it, if it is there.
///
/// # Errors
/// That it cannot be removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Bytes of a file, or of all files in a folder; 0 of what is not there.
pub(crate) fn bytes_of(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten();
    entries.flatten().map(|entry| bytes_of(&entry.path())).sum()
}

fn make_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

fn new_private_file(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().write(true).create_new(true)).open(path)
}

/// For the owner only.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Brings the names in a folder to the disk, where folders can be opened for that.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
