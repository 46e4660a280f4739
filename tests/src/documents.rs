//! The documents and other files of the repository, as tests read them.

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

/// The files below `directory` (relative to the root) with this extension, `target` and virtual environments aside.
pub fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root().join(directory)];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let skipped = path.file_name().is_some_and(|name| {
                let name = name.to_string_lossy();
                name == "target" || (name.starts_with('.') && name.len() > 1)
            });
            if !skipped {
                let children = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                pending.extend(children.map(|child| child.expect("a directory can be listed").path()));
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
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
