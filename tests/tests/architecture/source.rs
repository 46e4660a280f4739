//! Reading Rust sources: what is code in them, and what it names.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The text of a file.
pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Rust source without comments and the contents of string and character literals; lines stay lines.
pub(crate) fn without_comments_and_literals(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string_hashes(rest, &out) {
            let start = hashes + 2;
            let end = format!("\"{}", "#".repeat(hashes));
            rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
        } else if next == '"' {
            literal_length(rest, '"')
        } else if next == '\'' && is_character_literal(rest) {
            literal_length(rest, '\'')
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        out.extend(rest[..skipped].chars().filter(|&c| c == '\n'));
        rest = &rest[skipped..];
    }
    out
}

/// The number of `#` of a raw string that begins here.
fn raw_string_hashes(rest: &str, before: &str) -> Option<usize> {
    let inside_name = before.ends_with(|c: char| c.is_alphanumeric() || c == '_') && !before.ends_with('b');
    let tail = rest.strip_prefix('r').filter(|_| !inside_name)?;
    let hashes = tail.len() - tail.trim_start_matches('#').len();
    tail[hashes..].starts_with('"').then_some(hashes)
}

/// `'x'` or `'\…'`, not a lifetime.
fn is_character_literal(rest: &str) -> bool {
    let mut following = rest.chars().skip(1);
    following.next() == Some('\\') || following.next() == Some('\'')
}

/// Bytes of the literal that begins here, both quotes included.
fn literal_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// The code that a build without tests compiles: items under `#[cfg(test)]` are left out (as rustfmt lays them out).
pub(crate) fn code(source: &str) -> String {
    let source = without_comments_and_literals(source);
    let mut out = String::with_capacity(source.len());
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let indentation = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indentation}}}");
        for line in lines.by_ref() {
            let line = line.trim_end();
            if line == end || (line.ends_with(';') && !line[indentation.len()..].starts_with(' ')) {
                break;
            }
        }
    }
    out
}

/// The identifiers of some code.
pub(crate) fn identifiers(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|name| !name.is_empty())
}

/// The top-level modules that code names by a path from the crate's root.
pub(crate) fn modules_named(code: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = BTreeSet::new();
    for (at, prefix) in code.match_indices("crate::") {
        if code[..at].ends_with(is_name) {
            continue;
        }
        let path = &code[at + prefix.len()..];
        if !path.starts_with('{') {
            names.extend(identifiers(path).next());
            continue;
        }
        // A group: its entries at depth one begin after the brace and after each comma.
        let (mut depth, mut start) = (0, 0);
        for (at, c) in path.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            let entry_ends = depth == 0 || (depth == 1 && c == ',');
            if entry_ends {
                names.extend(identifiers(&path[start..at]).next());
                start = at + 1;
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}

/// The types and traits that a file declares as public, without restriction.
pub(crate) fn public_types(code: &str) -> impl Iterator<Item = &str> {
    code.lines().filter_map(|line| {
        let mut words = line.trim_start().strip_prefix("pub ")?.split(|c: char| !c.is_alphanumeric() && c != '_');
        let kind = words.find(|word| *word != "unsafe")?;
        ["struct", "enum", "union", "trait", "type"].contains(&kind).then(|| words.next())?
    })
}

#[test]
fn the_reader_of_sources_reads_what_it_should() {
    let source = "use crate::{a::b, c::{d, e}}; // crate::no\nfn f<'a>(x: &'a str) { g('\"', \"crate::no\", r#\"\"crate::no\"#) }\n\
        #[cfg(test)]\nmod tests;\nuse crate::g;\n#[cfg(test)]\nmod tests {\n    use crate::h;\n}\nuse crate::i::j;\n";
    assert_eq!(modules_named(&code(source)), BTreeSet::from(["a", "c", "g", "i"]));
    let source = "pub struct A<T>(T);\npub(crate) struct B;\nstruct C;\npub unsafe trait D {\n    type E;\n}\npub fn f() {}\npub type G = u8;\n";
    assert_eq!(public_types(source).collect::<Vec<_>>(), ["A", "D", "G"]);
}
