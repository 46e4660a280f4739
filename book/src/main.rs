//! Builds `docs/` into pages in `target/book`, which need no network:
//!
//! ```sh
//! cargo run --release --manifest-path book/Cargo.toml
//! ```
//!
//! The sources are plain Markdown, which reads well where the repository is looked at. On the way to mdBook formulas become
//! MathML, comments go, and links to files of the repository become links to pages of them. A formula that is none, and a
//! link or anchor that leads nowhere, end it.

mod check;
mod formulas;
mod links;
mod markdown;
mod sources;

use anyhow::{Context, Result, ensure};
use links::Pages;
use markdown::Piece;
use mdbook_driver::MDBook;
use mdbook_driver::book::{BookItem, Chapter};
use mdbook_driver::config::Config;
use regex::{Captures, Regex};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    ensure!(std::env::args_os().len() == 1, "no arguments: the book is built in target/book");
    let package =
        Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().context("this program's sources are not there")?;
    let root = package.parent().context("the package lies in the repository")?;
    let config = Config::from_str(include_str!("../book.toml"))?;
    let mut book = MDBook::load_with_config(&package, config)?;

    let mut writer = Writer { pages: Pages::new(root), formulas: Vec::new(), link: Regex::new(r"\]\(([^()\s]+)\)")? };
    let mut errors = Vec::new();
    book.book.for_each_chapter_mut(|chapter| {
        let file = Path::new("docs").join(chapter.source_path.as_deref().unwrap_or(Path::new("")));
        match writer.rewritten(&file, &chapter.content) {
            Ok(text) => chapter.content = text,
            Err(error) => errors.push(format!("{}: {error:#}", file.display())),
        }
        if file == Path::new("docs/README.md") {
            chapter.path = Some(PathBuf::from("index.md"));
        }
    });
    book.book.items.extend(writer.other_documents(root, &mut errors));
    ensure!(errors.is_empty(), "{}", errors.join("\n"));

    book.build()?;
    let out = book.build_dir_for("html").canonicalize().context("mdBook has written nothing")?;
    formulas::copy_style(&package.join("Cargo.toml"), &out.join("formulas"))?;
    insert_formulas(&out, &writer.formulas)?;
    sources::write(root, &writer.pages, &out)?;
    let (pages, links) = check::check(&out)?;
    let formulas = writer.formulas.len();
    println!("{}: {pages} pages, {formulas} formulas, {links} links", out.join("index.html").display());
    Ok(())
}

/// Documents on their way to mdBook.
struct Writer {
    pages: Pages,
    formulas: Vec<String>,
    link: Regex,
}

impl Writer {
    /// A document as mdBook takes it. Formulas are places to be filled later, so that nothing on the way reads them as
    /// Markdown.
    fn rewritten(&mut self, file: &Path, text: &str) -> Result<String> {
        let mut written = String::with_capacity(text.len());
        for piece in markdown::pieces(text)? {
            match piece {
                Piece::Code(code) => written.push_str(code),
                Piece::Comment(comment) => {
                    if let Some((path, item)) =
                        comment.trim().strip_prefix("code of ").and_then(|of| of.split_once(", "))
                    {
                        let link = self.pages.resolve(file, &links::relative(file, Path::new(path)))?;
                        written.push_str(&format!("<p class=\"code-of\"><a href=\"{link}\">{path}</a>, {item}</p>\n"));
                    }
                }
                Piece::Formula { tex, is_display } => {
                    written.push_str(&place(self.formulas.len()));
                    self.formulas.push(formulas::mathml(tex, is_display)?);
                }
                Piece::Text(text) => {
                    let mut errors = Vec::new();
                    let linked = self.link.replace_all(text, |found: &Captures<'_>| {
                        let link = self.pages.resolve(file, &found[1]).map_err(|error| errors.push(error));
                        format!("]({})", link.unwrap_or_default())
                    });
                    if let Some(error) = errors.into_iter().next() {
                        return Err(error);
                    }
                    written.push_str(&linked);
                }
            }
        }
        Ok(written)
    }

    /// Documents outside of the book that it links to, and those that they link to.
    fn other_documents(&mut self, root: &Path, errors: &mut Vec<String>) -> Vec<BookItem> {
        let mut done = BTreeSet::new();
        let mut items = Vec::new();
        while let Some(file) = self.pages.documents.difference(&done).next().cloned() {
            let text = std::fs::read_to_string(root.join(&file)).map_err(anyhow::Error::from);
            match text.and_then(|text| self.rewritten(&file, &text)) {
                Ok(content) => {
                    let path = Path::new("repository").join(&file);
                    let name = file.display().to_string();
                    items.push(BookItem::Chapter(Chapter::new(&name, content, path, Vec::new())));
                }
                Err(error) => errors.push(format!("{}: {error:#}", file.display())),
            }
            done.insert(file);
        }
        if !items.is_empty() {
            items.insert(0, BookItem::PartTitle("In the repository".to_owned()));
        }
        items
    }
}

/// Where a formula will be.
fn place(number: usize) -> String {
    format!("<span class=\"formula\" data-number=\"{number}\"></span>")
}

/// Puts each formula into its place, in all pages.
fn insert_formulas(out: &Path, formulas: &[String]) -> Result<()> {
    let place = Regex::new(r#"<span class="formula" data-number="(\d+)"></span>"#)?;
    let mut inserted = BTreeSet::new();
    let mut folders = vec![out.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "html") {
                let page = std::fs::read_to_string(&path)?;
                let filled = place.replace_all(&page, |found: &Captures<'_>| {
                    let number: usize = found[1].parse().unwrap_or(usize::MAX);
                    inserted.insert(number);
                    formulas.get(number).cloned().unwrap_or_default()
                });
                std::fs::write(&path, filled.as_bytes())?;
            }
        }
    }
    ensure!(
        inserted.len() == formulas.len(),
        "{} of {} formulas are on no page",
        formulas.len() - inserted.len(),
        formulas.len()
    );
    Ok(())
}
