//! What is printed: results to standard output, all else to standard error.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::bail;
use serde::Serialize;

use super::progress::print_above;
use super::quiet::is_quiet;

/// What went to standard output so far.
static PRINTED: Mutex<Printed> = Mutex::new(Printed { half_line: false, tokens: None, checkpoint: None });

struct Printed {
    /// The last line has no line break yet.
    half_line: bool,
    /// Generated tokens that were reported; `None` where none are generated.
    tokens: Option<usize>,
    /// Where the run is kept, if it is.
    checkpoint: Option<String>,
}

impl Printed {
    fn write(&mut self, text: &str) -> anyhow::Result<()> {
        let mut output = std::io::stdout().lock();
        written(output.write_all(text.as_bytes()).and_then(|()| output.flush()))?;
        if !text.is_empty() {
            self.half_line = !text.ends_with('\n');
        }
        Ok(())
    }

    /// Completes a line that was begun. Where nobody can be told, there is nothing left to do.
    fn complete_line(&mut self) {
        if std::mem::take(&mut self.half_line) {
            let mut output = std::io::stdout();
            let _ = output.write_all(b"\n").and_then(|()| output.flush());
        }
    }
}

/// Nobody reads standard output any more. Not an error to tell anybody of: the process ends, as it does by SIGPIPE.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(super) struct ClosedPipe;

fn printed() -> MutexGuard<'static, Printed> {
    PRINTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes `text` and a line break to standard output.
///
/// # Errors
/// [`ClosedPipe`]; that it cannot be written.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    stream(&format!("{text}\n"))
}

/// Writes `value` as one line of JSON to standard output.
///
/// # Errors
/// As [`print`].
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string(value)?)
}

/// Writes `text` to standard output, at once and without a line break.
///
/// # Errors
/// As [`print`].
pub(super) fn stream(text: &str) -> anyhow::Result<()> {
    printed().write(text)
}

/// What is to be made of the result of writing to standard output.
fn written(result: std::io::Result<()>) -> anyhow::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ClosedPipe.into()),
        Err(error) => bail!("cannot write to standard output: {error}"),
    }
}

/// Completes a line of text that an error cut short.
pub(super) fn complete_line() {
    printed().complete_line();
}

/// Takes note that so many tokens have been generated and reported.
pub(super) fn count_tokens(tokens: usize) {
    printed().tokens = Some(tokens);
}

/// Takes note that the run is kept in a folder, or not any more.
pub(super) fn note_checkpoint(folder: Option<String>) {
    printed().checkpoint = folder;
}

/// As [`stream`], of a text with which so many tokens have been reported: neither is seen without the other.
///
/// # Errors
/// As [`print`].
pub(super) fn stream_token(text: &str, tokens: usize) -> anyhow::Result<()> {
    let mut printed = printed();
    printed.write(text)?;
    printed.tokens = Some(tokens);
    Ok(())
}

/// Writes a line to standard error, unless `--quiet`: what is no result, and no error.
pub(super) fn note(line: &str) {
    if !is_quiet() {
        print_above(line);
    }
}

/// After a signal: completes half a line, and says how far it came. `files` are those that had been written.
pub(super) fn abandon(files: &[String]) {
    // For good: nothing more is printed after this.
    let mut printed = std::mem::ManuallyDrop::new(printed());
    printed.complete_line();
    let mut line = String::from("stopped");
    match (printed.tokens, files) {
        (None, []) if printed.checkpoint.is_some() => line += " before the work was done",
        (Some(1), _) => line += " after 1 token",
        (Some(tokens), _) => {
            let _ = write!(line, " after {tokens} tokens");
        }
        (None, []) => line += " before the work was done; no file was written",
        (None, files) => {
            let _ = write!(line, "; written before: {}", files.join(", "));
        }
    }
    if let Some(folder) = &printed.checkpoint {
        let _ = write!(line, "; the same command goes on from the checkpoint {folder}");
    }
    let _ = writeln!(std::io::stderr(), "{line}");
}
