//! Where links lead: each relative link of a document is to a file of the repository, which has a page.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Which pages there are, and will have to be.
#[derive(Debug)]
pub(crate) struct Pages {
    root: PathBuf,
    /// Documents outside of `docs` that something links to, not yet made chapters.
    pub(crate) documents: BTreeSet<PathBuf>,
    /// Other files and folders that something links to.
    pub(crate) sources: BTreeSet<PathBuf>,
}

impl Pages {
    /// No page yet, of the repository in a folder.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), documents: BTreeSet::new(), sources: BTreeSet::new() }
    }

    /// The link on the page of `from`, a file of the repository, to what `link` names; and its page is noted.
    pub(crate) fn resolve(&mut self, from: &Path, link: &str) -> Result<String> {
        let (path, anchor) = match link.split_once('#') {
            Some((path, anchor)) => (path, format!("#{anchor}")),
            None => (link, String::new()),
        };
        if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
            return Ok(link.to_owned());
        }
        let folder = from.parent().context("a document lies in a folder")?;
        let target = normalized(&folder.join(path)).with_context(|| format!("{link} leads out of the repository"))?;
        let on_disk = self.root.join(&target);
        ensure!(on_disk.exists(), "a dead link: {link}");
        let is_document = target.extension().is_some_and(|end| end == "md");
        ensure!(is_document || anchor.is_empty(), "an anchor in what is no document: {link}");
        let is_of_the_book = target.starts_with("docs") && on_disk.is_file();
        if !is_of_the_book {
            let pages = if is_document { &mut self.documents } else { &mut self.sources };
            pages.insert(target.clone());
        }
        Ok(format!("{}{anchor}", relative(&page_of(from), &self.place(&target))))
    }

    /// Where the page of a file or folder is.
    pub(crate) fn place(&self, target: &Path) -> PathBuf {
        if self.root.join(target).is_dir() {
            Path::new("repository").join(target).join("index.html")
        } else {
            page_of(target)
        }
    }
}

/// Where the page of a file is: the book's own on top, all else below `repository`.
pub(crate) fn page_of(file: &Path) -> PathBuf {
    let is_document = file.extension().is_some_and(|end| end == "md");
    match file.strip_prefix("docs") {
        Ok(inner) if inner == Path::new("README.md") => PathBuf::from("index.html"),
        Ok(inner) if is_document => inner.with_extension("html"),
        // Pictures are copied as they are.
        Ok(inner) => inner.to_path_buf(),
        Err(_) if is_document => Path::new("repository").join(file).with_extension("html"),
        Err(_) => Path::new("repository").join(format!("{}.html", file.display())),
    }
}

/// A path without `.` and `..`; none, if it leads out.
fn normalized(path: &Path) -> Result<PathBuf> {
    let mut parts = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::ParentDir if parts.pop() => {}
            _ => bail!("no path in the repository"),
        }
    }
    Ok(parts)
}

/// From one page to another.
pub(crate) fn relative(from: &Path, to: &Path) -> String {
    let ups = from.components().count().saturating_sub(1);
    "../".repeat(ups) + &to.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_pages() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
        let mut pages = Pages::new(root);
        let mut from = |file: &str, link: &str| pages.resolve(Path::new(file), link);
        let resolved = |found: Result<String>| found.expect("a page");
        assert_eq!(resolved(from("docs/README.md", "05-bootstrapping.md#a")), "05-bootstrapping.html#a");
        assert_eq!(resolved(from("docs/05-bootstrapping.md", "README.md")), "index.html");
        assert_eq!(resolved(from("docs/README.md", "../nn/src/lib.rs")), "repository/nn/src/lib.rs.html");
        assert_eq!(resolved(from("docs/README.md", "../nn/src")), "repository/nn/src/index.html");
        assert_eq!(resolved(from("peers/README.md", "../docs/README.md")), "../../index.html");
        assert_eq!(resolved(from("README.md", "peers/README.md")), "../repository/peers/README.html");
        assert_eq!(resolved(from("docs/README.md", "https://example.org")), "https://example.org");
        for dead in ["no-such.md", "../../x", "../nn/src/lib.rs#no"] {
            from("docs/README.md", dead).expect_err(dead);
        }
        assert_eq!(pages.documents, [PathBuf::from("peers/README.md")].into());
        assert_eq!(pages.sources, [PathBuf::from("nn/src"), PathBuf::from("nn/src/lib.rs")].into());
    }
}
