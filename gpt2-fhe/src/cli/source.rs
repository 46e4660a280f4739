//! Files that a command reads: what they are is checked before they are opened.

use std::fs::{File, FileType};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use nn::file::decode_text;

use super::progress::while_showing;

/// The longest text that is read, in bytes. Its tokens take some 150 times as much memory while they are made.
pub(super) const MAX_TEXT_BYTES: u64 = 16 << 20;
/// How the names of a model's files end.
const MODEL_FILES: [&str; 3] = ["json", "safetensors", "txt"];
/// How long a pipe may be without anybody who writes to it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait before a pipe that has nothing yet is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// Checks that `path`, given to `option`, is a file: tensors are read at several places of it, which only files can do.
///
/// # Errors
/// That it is not there, or what it is instead.
pub(super) fn check_file(path: &Path, option: &str) -> anyhow::Result<()> {
    let name = path.display();
    let kind = kind(path, "open")?;
    if kind.is_file() {
        return Ok(());
    }
    if kind.is_dir() {
        let within = path.join("model.safetensors");
        let which = if within.is_file() { format!(", for instance {}", within.display()) } else { String::new() };
        bail!("{name} is a folder; give {option} a file in it{which}");
    }
    bail!("{name} is {}; {option} needs a file: write it to one first", in_words(kind))
}

/// Checks that `path`, given to `option`, is a folder whose files are files.
///
/// # Errors
/// That it is not there, or what it is instead.
pub(super) fn check_folder(path: &Path, option: &str) -> anyhow::Result<()> {
    let (name, kind) = (path.display(), kind(path, "read")?);
    if !kind.is_dir() {
        bail!("{name} is {}; {option} needs the folder of a model, with config.json in it", in_words(kind));
    }
    let entries = std::fs::read_dir(path).map_err(|error| anyhow!("cannot read {name}: {error}"))?;
    let of_model = |path: &PathBuf| path.extension().is_some_and(|end| MODEL_FILES.iter().any(|&other| end == other));
    for entry in entries.flatten().map(|entry| entry.path()).filter(of_model) {
        let Ok(kind) = std::fs::metadata(&entry).map(|metadata| metadata.file_type()) else { continue };
        if !kind.is_file() && !kind.is_dir() {
            bail!("{} is {}; a model's folder has files only", entry.display(), in_words(kind));
        }
    }
    Ok(())
}

/// Reads the text of `path`, given to `option`: a file, a pipe or a terminal, in UTF-8, of at most [`MAX_TEXT_BYTES`]. A byte order mark at
/// its beginning is no part of it.
///
/// # Errors
/// That it cannot be read; what it is instead.
pub(super) fn read_text(path: &Path, option: &str) -> anyhow::Result<String> {
    let name = path.display();
    let kind = kind(path, "read")?;
    if kind.is_dir() {
        bail!("{name} is a folder; give {option} a file with text");
    }
    let unreadable = |error: io::Error| anyhow!("cannot read {name}: {error}");
    let mut file = open_without_waiting(path, kind).map_err(unreadable)?;
    let mut bytes = Vec::new();
    if kind.is_file() && file.metadata().map_err(unreadable)?.len() > MAX_TEXT_BYTES {
        bail!(too_long(path, option));
    }
    while_showing("reading the text", || read_bounded(&mut file, &mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        bail!(too_long(path, option));
    }
    let text = decode_text(&bytes).map_err(|reason| anyhow!("cannot read {name}: {reason}"))?;
    Ok(text.to_owned())
}

fn too_long(path: &Path, option: &str) -> String {
    let limit = MAX_TEXT_BYTES >> 20;
    format!("{} has more than {limit} MiB of text; give {option} less, for instance its beginning", path.display())
}

/// What `path` leads to.
fn kind(path: &Path, action: &str) -> anyhow::Result<FileType> {
    let metadata = std::fs::metadata(path).map_err(|error| {
        let dangling = error.kind() == ErrorKind::NotFound && path.is_symlink();
        let why = if dangling { "it is a link to a file that is not there".into() } else { error.to_string() };
        anyhow!("cannot {action} {}: {why}", path.display())
    })?;
    Ok(metadata.file_type())
}

fn in_words(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if kind.is_dir() {
        "a folder"
    } else if kind.is_file() {
        "a file"
    } else {
        "no file"
    }
}

/// Opens a file; a pipe, without waiting for somebody who writes to it.
fn open_without_waiting(path: &Path, kind: FileType) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
        if kind.is_socket() {
            return Err(io::Error::other("it is a socket; give it a file or a pipe"));
        }
        if kind.is_fifo() {
            options.custom_flags(libc::O_NONBLOCK);
        }
    }
    options.open(path)
}

/// Reads to the end, or one byte more than is allowed. A pipe that nobody has opened for writing yet is waited for, not for long.
fn read_bounded(file: &mut File, bytes: &mut Vec<u8>) -> io::Result<()> {
    let is_pipe = in_words(file.metadata()?.file_type()) == "a pipe";
    let (start, mut has_writer) = (Instant::now(), !is_pipe);
    loop {
        let left = MAX_TEXT_BYTES + 1 - bytes.len() as u64;
        match file.take(left).read_to_end(bytes) {
            Ok(0) if !has_writer && bytes.is_empty() && start.elapsed() < PATIENCE => {}
            Ok(0) if !has_writer && bytes.is_empty() => return Err(io::Error::other("nobody writes to this pipe")),
            Ok(_) => return Ok(()),
            // Somebody has opened it, and has not written yet; what came before is in `bytes`.
            Err(error) if error.kind() == ErrorKind::WouldBlock => has_writer = true,
            Err(error) => return Err(error),
        }
        std::thread::sleep(PAUSE);
    }
}
