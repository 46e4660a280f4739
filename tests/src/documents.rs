//! The documents of the repository, as tests read them.

use std::path::{Path, PathBuf};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// The Markdown files of the book, and the README.
pub fn documents() -> Vec<PathBuf> {
    let mut found = markdown_of(&root().join("docs"));
    found.push(root().join("README.md"));
    found.sort();
    found
}

/// The Markdown files in a folder.
pub fn markdown_of(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files = entries.map(|entry| entry.expect("a file").path());
    let mut found: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    found.sort();
    found
}

/// A document as its readers see it: without comments.
pub fn without_comments(text: &str) -> String {
    let mut parts = text.split("<!--");
    let first = parts.next().unwrap_or_default();
    let rest = parts.filter_map(|part| part.split_once("-->")).map(|(_, visible)| visible);
    std::iter::once(first).chain(rest).collect::<Vec<_>>().join(" ")
}
