//! Folders of files that are whole at any time, whatever ends the process or the power.
//!
//! A file is written under another name beside its place, brought to the disk, and renamed. So each name leads to what was written last, or
//! before that, and never to a part of it. Files are in the envelope of [`tfhe_core::format`], and readable by their owner only from the
//! start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tfhe_core::format::{self, Document, Encoder, FormatError, Header};

/// How the name of a file ends that is not whole yet.
const UNFINISHED: &str = ".tmp";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It, or a file of it, cannot be made or removed.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of it cannot be read, or is not what it should be.
    #[error("cannot go on from {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: FormatError,
    },
}

/// A folder of files.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// A folder, which is made where it is not there. What was not finished in it is removed.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let store = Self { folder: folder.into() };
        let failed = |source| StoreError::Write { path: folder.into(), source };
        make_private_folder(folder).map_err(failed)?;
        for name in store.names().map_err(failed)?.into_iter().filter(|name| name.ends_with(UNFINISHED)) {
            store.remove(&name)?;
        }
        Ok(store)
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file, in the place of the one that has its name, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Write`]: then that is still there.
    pub fn write(
        &self,
        name: &str,
        header: &Header,
        contents: impl Fn(&mut Encoder<'_>) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        write_file(&self.path(name), header, contents)
    }

    /// Reads a file, whose contents have at most `limit` bytes. `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Document>, StoreError> {
        let read = || -> Result<Option<Document>, FormatError> {
            let Some((mut file, length)) = open_file(&self.path(name))? else { return Ok(None) };
            format::read(&mut file, length, limit).map(Some)
        };
        read().map_err(|source| self.refused(name, source))
    }

    /// That the contents of a file are not what they should be.
    pub fn refused(&self, name: &str, source: FormatError) -> StoreError {
        StoreError::Read { path: self.path(name), source }
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(StoreError::Write { path, source }),
            _ => Ok(()),
        }
    }

    /// Removes the files whose names are `ours`, and the folder, if nothing else is in it.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn clear(self, ours: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let failed = |source| StoreError::Write { path: self.folder.clone(), source };
        for name in self.names().map_err(failed)?.iter().filter(|name| ours(name)) {
            self.remove(name)?;
        }
        match std::fs::remove_dir(&self.folder) {
            Err(source) if source.kind() != ErrorKind::DirectoryNotEmpty => Err(failed(source)),
            _ => Ok(()),
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<std::fs::DirEntry>| entry.map(|entry| entry.file_name().into_string().ok());
        std::fs::read_dir(&self.folder)?.filter_map(|entry| name(entry).transpose()).collect()
    }
}

/// Writes a file, in the place of the one that is there, if there is one; its folder has to be there.
///
/// # Errors
/// [`StoreError::Write`]: then that is still there.
pub fn write_file(
    path: &Path,
    header: &Header,
    contents: impl Fn(&mut Encoder<'_>) -> io::Result<()>,
) -> Result<(), StoreError> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let write = || {
        let mut file = make_private_file(&unfinished)?;
        format::write(&mut file, header, contents)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        sync_folder(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
    };
    write().map_err(|source| {
        // It may not be there.
        let _ = std::fs::remove_file(&unfinished);
        StoreError::Write { path: path.into(), source }
    })
}

/// Opens a file, with its length. `None` if there is none.
///
/// # Errors
/// [`FormatError::Io`]; [`FormatError::Foreign`] if it is none of bytes that stay.
pub fn open_file(path: &Path) -> Result<Option<(File, u64)>, FormatError> {
    // Before it is opened: a pipe would be waited for.
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(FormatError::Foreign),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok(Some((file, length)))
}

fn make_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// A new file: whatever has its name is removed before.
fn make_private_file(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Brings the names in a folder to the disk, where folders can be opened for that.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tfhe_core::fingerprint::Fields;
    use tfhe_core::format::Kind;
    use tfhe_core::keys::ClientKeys;
    use tfhe_core::sets;

    fn header() -> Header {
        let seed = tfhe_core::derivation::ClientSeed::from_number(1);
        let keys = ClientKeys::generate(&sets::TOY.compile().unwrap(), &seed).unwrap();
        Header { kind: Kind(*b"test    "), identity: *keys.identity(), context: Fields::new("").fingerprint() }
    }

    #[test]
    fn a_file_is_what_was_written_last_or_before() {
        let (folder, header) = (tempfile::tempdir().unwrap(), header());
        let store = Store::open(&folder.path().join("new")).unwrap();
        assert!(store.read("a", 100).unwrap().is_none());
        for integer in [1, 2] {
            store.write("a", &header, |encoder| encoder.integer(integer)).unwrap();
            let document = store.read("a", 100).unwrap().unwrap();
            assert_eq!(document.open(&header).unwrap().integer().unwrap(), integer);
        }
        // Writing that ends in an error leaves what was there, and nothing else.
        let full = |encoder: &mut Encoder<'_>| {
            encoder.bytes(&vec![0; 1 << 18])?;
            Err(io::Error::from(ErrorKind::StorageFull))
        };
        let refused = store.write("a", &header, full).unwrap_err().to_string();
        assert!(refused.starts_with("cannot write ") && refused.contains("/a: "), "{refused}");
        assert_eq!(store.names().unwrap(), ["a"]);
        // What a process that was killed left is gone when the folder is opened again.
        std::fs::write(store.path("b.tmp"), b"half").unwrap();
        let store = Store::open(&folder.path().join("new")).unwrap();
        assert_eq!(store.names().unwrap(), ["a"]);
        let document = store.read("a", 100).unwrap().unwrap();
        assert_eq!(document.open(&header).unwrap().integer().unwrap(), 2);
        std::fs::write(store.path("other"), b"").unwrap();
        store.clone().clear(|name| name == "a").unwrap();
        assert_eq!(store.names().unwrap(), ["other"]);
        store.remove("other").unwrap();
        store.clear(|_| false).unwrap();
        assert!(!folder.path().join("new").exists());
    }

    #[cfg(unix)]
    #[test]
    fn files_are_their_owners_from_the_start() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("new")).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let seen = std::cell::Cell::new(0);
        let look = |encoder: &mut Encoder<'_>| {
            seen.set(mode(&store.path("a.tmp")));
            encoder.integer(1)
        };
        store.write("a", &header(), look).unwrap();
        assert_eq!([seen.get(), mode(&store.path("a")), mode(&folder.path().join("new"))], [0o600, 0o600, 0o700]);
    }
}
