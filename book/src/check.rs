//! What the finished pages have to be: no link leads nowhere, and nothing is fetched from a network.

use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One tag of a page: its name and attributes.
#[derive(Debug, PartialEq)]
struct Tag<'t> {
    name: &'t str,
    attributes: Vec<(&'t str, &'t str)>,
}

impl<'t> Tag<'t> {
    fn id(&self) -> Option<&'t str> {
        self.attributes.iter().find(|(name, _)| *name == "id").map(|(_, id)| *id)
    }
}

/// The opening tags of a page. Scripts and styles have none inside.
fn tags(page: &str) -> Vec<Tag<'_>> {
    let (mut found, mut rest) = (Vec::new(), page);
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        if !rest.starts_with(|first: char| first.is_ascii_alphabetic()) {
            continue;
        }
        let end = rest.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap_or(rest.len());
        let mut tag = Tag { name: &rest[..end], attributes: Vec::new() };
        rest = &rest[end..];
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
            if rest.is_empty() || rest.starts_with('>') {
                break;
            }
            let end = rest.find(|c: char| c.is_whitespace() || c == '=' || c == '>').unwrap_or(rest.len()).max(1);
            let name = &rest[..end];
            rest = &rest[end..];
            let mut value = "";
            if let Some(after) = rest.strip_prefix('=') {
                let quote = after.chars().next().filter(|first| matches!(first, '"' | '\''));
                (value, rest) = match quote {
                    Some(quote) => after[1..].split_once(quote).unwrap_or((&after[1..], "")),
                    None => after.split_at(after.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(after.len())),
                };
            }
            tag.attributes.push((name, value));
        }
        if matches!(tag.name, "script" | "style") {
            let close = format!("</{}", tag.name);
            rest = rest.find(&close).map_or("", |at| &rest[at..]);
        }
        found.push(tag);
    }
    found
}

fn is_elsewhere(link: &str) -> bool {
    let link = link.trim().trim_start_matches(['"', '\'']);
    !link.starts_with("data:") && (link.starts_with("//") || link.contains("://"))
}

/// Whether a style has a picture, font or style from elsewhere. The address of a namespace is a name, and nothing is there.
fn fetches(style: &str) -> bool {
    let mut addresses = style.split("url(").zip(style.split("url(").skip(1));
    addresses.any(|(before, after)| {
        let is_name = before.rsplit(';').next().is_some_and(|start| start.trim_start().starts_with("@namespace"));
        !is_name && is_elsewhere(after.split(')').next().unwrap_or_default())
    })
}

/// All files below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() { files(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

/// Refuses pages with a dead link, and such as would fetch something. Returns how many pages and links there are.
pub(crate) fn check(out: &Path) -> Result<(usize, usize)> {
    let mut all = Vec::new();
    files(out, &mut all)?;
    let mut pages = BTreeMap::new();
    for path in &all {
        match path.extension().and_then(|end| end.to_str()) {
            Some("html") => {
                pages.insert(path.clone(), std::fs::read_to_string(path)?);
            }
            Some("css") => {
                let style = std::fs::read_to_string(path)?;
                ensure!(!fetches(&style), "{} fetches something", path.display());
            }
            _ => {}
        }
    }
    let tags_of: BTreeMap<&Path, Vec<Tag<'_>>> =
        pages.iter().map(|(path, page)| (path.as_path(), tags(page))).collect();
    let ids: BTreeMap<&Path, BTreeSet<&str>> =
        tags_of.iter().map(|(path, tags)| (*path, tags.iter().filter_map(Tag::id).collect())).collect();
    let (mut errors, mut links) = (Vec::new(), 0);
    for (path, tags) in &tags_of {
        let shown = path.strip_prefix(out).unwrap_or(path).display();
        for tag in tags {
            for (name, value) in &tag.attributes {
                if *name == "class" && value.split(' ').any(|class| class == "playground") {
                    errors.push(format!("{shown}: code that is run elsewhere"));
                }
                if !matches!(*name, "href" | "src") {
                    continue;
                }
                if is_elsewhere(value) {
                    if tag.name != "a" {
                        errors.push(format!("{shown}: {} fetches {value}", tag.name));
                    }
                    continue;
                }
                if value.starts_with("mailto:") || value.starts_with("data:") || value.starts_with("javascript:") {
                    continue;
                }
                links += 1;
                let (file, anchor) = value.split_once('#').unwrap_or((value, ""));
                let file = file.split('?').next().unwrap_or_default();
                let target = match file {
                    "" => path.to_path_buf(),
                    file => path.parent().context("a page lies in a folder")?.join(file),
                };
                match target.canonicalize() {
                    Err(_) => errors.push(format!("{shown}: a dead link: {value}")),
                    Ok(target) if !anchor.is_empty() => {
                        if !ids.get(target.as_path()).is_some_and(|ids| ids.contains(anchor)) {
                            errors.push(format!("{shown}: no such anchor: {value}"));
                        }
                    }
                    Ok(_) => {}
                }
            }
        }
    }
    errors.sort();
    errors.dedup();
    ensure!(errors.is_empty(), "{}", errors.join("\n"));
    Ok((pages.len(), links))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_and_what_looks_like_them_is_not() {
        let page = "<a href=\"x>y\" id='b' c>1 < 2 <br/></a><script>'<a href=\"no\">'</script><!-- <p> --><p class=d>";
        let expected = [
            Tag { name: "a", attributes: vec![("href", "x>y"), ("id", "b"), ("c", "")] },
            Tag { name: "br", attributes: vec![] },
            Tag { name: "script", attributes: vec![] },
            Tag { name: "p", attributes: vec![("class", "d")] },
        ];
        assert_eq!(tags(page), expected);
    }

    #[test]
    fn styles_that_fetch_something_are_found() {
        assert!(!fetches("@namespace m url('http://a');\np { background: url(b.png), url(data:image/png) }"));
        assert!(fetches("@namespace m url('http://a');\np { background: url(b.png), url(\"https://b\") }"));
    }

    #[test]
    fn dead_links_and_what_is_fetched_are_refused() {
        let folder = std::env::temp_dir().join(format!("book-check-{}", std::process::id()));
        let folder = {
            std::fs::create_dir_all(&folder).expect("a folder");
            folder.canonicalize().expect("a folder")
        };
        let page = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a page");
        page("b.html", "<h1 id=\"here\">");
        page("a.html", "<a href=\"b.html#here\"></a><a href=\"https://example.org\"></a>");
        assert_eq!(check(&folder).expect("good pages"), (2, 1));
        for wrong in [
            "<a href=\"c.html\">",
            "<a href=\"b.html#there\">",
            "<img src=\"https://example.org/a.svg\">",
            "<script src=\"//example.org/a.js\"></script>",
            "<pre class=\"playground\">",
        ] {
            page("a.html", wrong);
            check(&folder).expect_err(wrong);
        }
        std::fs::remove_dir_all(&folder).expect("the folder is there");
    }
}
