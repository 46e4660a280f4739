//! What each chapter of the book has, that links lead somewhere, and that code in it is the sources'.
//!
//! A chapter is a file `docs/NN-name.md`. Code that is a source's stands after a comment that names the file, and the item
//! in it:
//!
//! ```text
//! <!-- code of tfhe-core/src/scheme/cmux.rs, cmux -->
//! ```
//!
//! A chapter without a picture says why: `<!-- no picture: why -->`.

use integration_tests::documents::{markdown_of, root, without_comments};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The most words that a chapter may have, comments not counted.
const MOST_WORDS: usize = 2500;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn name(path: &Path) -> String {
    path.file_name().expect("a file has a name").to_string_lossy().into_owned()
}

/// All documents, in folders that hold some.
fn all_documents() -> Vec<PathBuf> {
    let folders = ["", "docs", "models", "peers", "findings", "benches/results"];
    folders.iter().flat_map(|folder| markdown_of(&root().join(folder))).collect()
}

/// Lines of a text, and whether each is within a block of code.
fn lines(text: &str) -> Vec<(&str, bool)> {
    let mut is_code = false;
    let line = |line| {
        let is_fence = str::trim_start(line).starts_with("```");
        is_code ^= is_fence;
        (line, is_code || is_fence)
    };
    text.lines().map(line).collect()
}

/// Headings: how deep, and the words.
fn headings(text: &str) -> Vec<(usize, &str)> {
    let heading = |line: &'_ str| {
        let depth = line.len() - line.trim_start_matches('#').len();
        (depth > 0 && line[depth..].starts_with(' ')).then_some(depth)
    };
    let of_text = lines(text).into_iter().filter(|(_, is_code)| !is_code);
    of_text.filter_map(|(line, _)| heading(line).map(|depth| (depth, line[depth..].trim()))).collect()
}

/// The anchors of a document's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut counts, mut found) = (BTreeMap::new(), BTreeSet::new());
    for (_, words) in headings(text) {
        let visible =
            links(words).iter().fold(words.to_owned(), |words, link| words.replace(&format!("]({link})"), "]"));
        let kept =
            visible.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
        let anchor = kept.replace(' ', "-");
        let count = counts.entry(anchor.clone()).and_modify(|count| *count += 1).or_insert(0);
        found.insert(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
    }
    found
}

/// The targets of links in some text.
fn links(text: &str) -> Vec<&str> {
    let ends = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    ends.map(|(target, _)| target).filter(|target| !target.contains(char::is_whitespace)).collect()
}

/// Text without code: blocks, and code within lines.
fn without_code(text: &str) -> String {
    let of_text: Vec<&str> = lines(text).into_iter().filter(|(_, is_code)| !is_code).map(|(line, _)| line).collect();
    let text = of_text.join("\n");
    text.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// A path without `..`.
fn normalized(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            parts.pop();
        } else {
            parts.push(component);
        }
    }
    parts
}

/// What is wrong with a chapter.
fn complaints(chapter: &str, text: &str, number: usize) -> Vec<String> {
    let visible = without_comments(text);
    let mut found = Vec::new();
    let mut ensure = |holds: bool, what: &str| {
        if !holds {
            found.push(format!("{chapter}: {what}"));
        }
    };
    ensure(chapter.starts_with(&format!("{number:02}-")), "its number does not follow");
    ensure(text.starts_with(&format!("# {number}. ")), "its title has no number, or another");
    let words = visible.split_whitespace().count();
    ensure(words <= MOST_WORDS, &format!("{words} words, of at most {MOST_WORDS}"));
    let beginning = visible.split("\n## ").next().unwrap_or_default();
    let says_what = |paragraph: &str| !paragraph.trim().is_empty() && !paragraph.starts_with("Sources: ");
    ensure(beginning.split("\n\n").skip(1).any(says_what), "it does not begin with what it is about");
    let picture = ["![", "```text\n"].iter().any(|start| visible.contains(start)) || text.contains("<!-- no picture: ");
    ensure(picture, "neither a picture nor a reason");
    let end = visible.split_once("\n## Try it\n").map(|(_, end)| end).unwrap_or_default();
    let is_command =
        |line: &(&str, bool)| line.1 && ["cargo ", "gpt2-fhe "].iter().any(|start| line.0.starts_with(start));
    ensure(lines(end).iter().any(is_command), "no section \"Try it\" with a command");
    let exercise = end.split_once("**Exercise.** ").map(|(_, exercise)| exercise).unwrap_or_default();
    let answer = exercise.split_once("<summary>Answer</summary>\n\n").map(|(_, answer)| answer).unwrap_or_default();
    ensure(answer.contains("\n</details>"), "no exercise with an answer");
    found
}

#[test]
fn each_chapter_has_all_that_a_chapter_has() {
    let is_chapter = |path: &PathBuf| name(path).starts_with(|c: char| c.is_ascii_digit());
    let chapters: Vec<PathBuf> = markdown_of(&root().join("docs")).into_iter().filter(is_chapter).collect();
    assert!(chapters.len() > 8);
    let of_chapter = |(at, path): (usize, &PathBuf)| complaints(&name(path), &read(path), at + 1);
    let found: Vec<String> = chapters.iter().enumerate().flat_map(of_chapter).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn what_a_chapter_lacks_is_noticed() {
    let good = "# 3. A\n\nWhat it is about.\n\n## B\n\n![C](d.svg)\n\n## Try it\n\n```\ncargo run\n```\n\n**Exercise.** E?\n\n\
        <details>\n<summary>Answer</summary>\n\nF.\n\n</details>\n";
    assert_eq!(complaints("03-a.md", good, 3), [""; 0]);
    let changes = [
        ("# 3. A", "# A"),
        ("What it is about.", ""),
        ("![C](d.svg)", ""),
        ("## Try it", "## Try"),
        ("cargo run", "run"),
        ("**Exercise.** ", ""),
        ("</details>", ""),
        ("F.", &"f ".repeat(MOST_WORDS)),
    ];
    for (from, to) in changes {
        assert!(!complaints("03-a.md", &good.replace(from, to), 3).is_empty(), "{from}");
    }
    assert!(!complaints("04-a.md", good, 3).is_empty());
}

#[test]
fn the_summary_has_every_document_by_its_title() {
    let docs = root().join("docs");
    let summary = read(&docs.join("SUMMARY.md"));
    let entry = |line: &str| {
        let (title, file) = line.trim_start_matches("- ").strip_prefix('[')?.split_once("](")?;
        Some((file.trim_end_matches(')').to_owned(), title.to_owned()))
    };
    let entries: Vec<(String, String)> = summary.lines().filter_map(entry).collect();
    let listed: BTreeSet<String> = entries.iter().map(|(file, _)| file.clone()).collect();
    let written: BTreeSet<String> =
        markdown_of(&docs).iter().map(|path| name(path)).filter(|file| file != "SUMMARY.md").collect();
    assert_eq!(listed, written);
    assert_eq!(entries.len(), listed.len(), "an entry stands there twice");
    for (file, title) in entries {
        let text = read(&docs.join(&file));
        assert_eq!(headings(&text).first(), Some(&(1, title.as_str())), "{file}");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let (mut dead, mut followed) = (Vec::new(), 0);
    let mut known: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for path in all_documents() {
        let text = read(&path);
        for link in links(&without_code(&without_comments(&text))) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            followed += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = path.parent().expect("a document lies in a folder");
            let target = if file.is_empty() { path.clone() } else { normalized(&folder.join(file)) };
            let has_anchor = |target: &PathBuf, known: &mut BTreeMap<PathBuf, BTreeSet<String>>| {
                known.entry(target.clone()).or_insert_with(|| anchors(&read(target))).contains(anchor)
            };
            let is_there = target.exists() && (anchor.is_empty() || has_anchor(&target, &mut known));
            if !is_there {
                dead.push(format!("{}: {link}", path.strip_prefix(root()).unwrap_or(&path).display()));
            }
        }
    }
    println!("{followed} links");
    assert!(followed > 500);
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// Lines without what they are all indented by.
fn dedented(lines: &[&str]) -> Vec<String> {
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let common = lines.iter().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    lines.iter().map(|line| line.get(common..).unwrap_or_default().trim_end().to_owned()).collect()
}

/// Whether a source has some lines, one after the other, however far they are indented.
fn has_lines(source: &str, code: &[&str]) -> bool {
    let lines: Vec<&str> = source.lines().collect();
    let wanted = dedented(code);
    !code.is_empty() && lines.windows(code.len()).any(|window| dedented(window) == wanted)
}

#[test]
fn code_in_the_book_is_the_sources() {
    let mut wrong = Vec::new();
    for path in all_documents() {
        let text = read(&path);
        for (_, rest) in text.match_indices("<!-- code of ").map(|(at, marker)| text.split_at(at + marker.len())) {
            let (of, after) = rest.split_once(" -->\n").unwrap_or((rest, ""));
            let (source, item) = of.split_once(", ").unwrap_or((of, ""));
            let block = after.strip_prefix("```rust\n").and_then(|block| block.split_once("\n```"));
            let code: Vec<&str> = block.map(|(code, _)| code.lines().collect()).unwrap_or_default();
            let is_there = fs::read_to_string(root().join(source)).is_ok_and(|source| has_lines(&source, &code));
            let names_item =
                !item.is_empty() && code.iter().any(|line| line.contains(item.rsplit("::").next().unwrap_or(item)));
            if !is_there || !names_item {
                wrong.push(format!("{}: {of}", name(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "not as in the source:\n{}", wrong.join("\n"));
}

#[test]
fn changed_code_is_noticed() {
    let source = "mod a {\n    fn f() {\n        g();\n    }\n}\n";
    assert!(has_lines(source, &["fn f() {", "    g();", "}"]));
    assert!(!has_lines(source, &["fn f() {", "    h();", "}"]));
    assert!(!has_lines(source, &["fn f() {", "g();", "}"]));
    assert!(!has_lines(source, &[]));
}
