//! Where results go: standard output, and files that are either whole or not there.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use nn::checkpoint::write_tensors;
use nn::matrix::Matrix;
use nn::tensor::Tensor;
use tempfile::TempPath;

/// Writes `text` and a line break to standard output. That nobody reads it any more is no error.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    match writeln!(output, "{text}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => bail!("cannot write to standard output: {error}"),
        _ => Ok(()),
    }
}

/// Writes a line to standard error. Where nobody can be told, there is nothing left to do.
pub(super) fn print_error(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A file to be written at the end of a long computation, known to be writable before it.
///
/// The tensors go to a new file beside it, which then takes its place; if that does not come about, the new file is
/// removed.
pub(super) struct PendingFile {
    path: PathBuf,
    temporary: TempPath,
}

impl PendingFile {
    /// Makes the new file.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        if path.exists() && !path.is_file() {
            bail!("cannot write {}: it exists and is not a file; give --out another name", path.display());
        }
        let Some(name) = path.file_name() else { bail!("cannot write {}: it has no file name", path.display()) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".tmp");
        // As for any other new file: everything that the user's mask allows.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let temporary = builder.tempfile_in(folder).map_err(|error| {
            // The kind alone: the error itself names the temporary file.
            anyhow!("cannot write {}: {}; give --out another name", path.display(), error.kind())
        })?;
        Ok(Self { path: path.into(), temporary: temporary.into_temp_path() })
    }

    /// Writes `head_out` `[T, d]`.
    pub(super) fn write_head_output(self, output: &Matrix<f32>) -> anyhow::Result<()> {
        self.write(|path| write_tensors(path, &[("head_out", &Tensor::from(output.clone()))], &[]))
    }

    /// Has the new file written by `write`, which gets its path.
    pub(super) fn write(self, write: impl FnOnce(&Path) -> Result<(), nn::Error>) -> anyhow::Result<()> {
        let Self { path, temporary } = self;
        write(&temporary)?;
        temporary.persist(&path).map_err(|error| anyhow!("cannot write {}: {}", path.display(), error.error))
    }
}
