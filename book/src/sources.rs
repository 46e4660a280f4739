//! Pages of source files and folders that the book links to.

use crate::links::{Pages, page_of, relative};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;

/// Writes the page of each.
pub(crate) fn write(root: &Path, pages: &Pages, to: &Path) -> Result<()> {
    for source in &pages.sources {
        let place = pages.place(source);
        let page = if root.join(source).is_dir() { folder(root, pages, source)? } else { file(root, source)? };
        let path = to.join(&place);
        std::fs::create_dir_all(path.parent().context("a page lies in a folder")?)?;
        std::fs::write(&path, page).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn file(root: &Path, source: &Path) -> Result<String> {
    let text = std::fs::read_to_string(root.join(source)).with_context(|| source.display().to_string())?;
    let language = match source.extension().and_then(|end| end.to_str()) {
        Some("rs") => "rust",
        Some("toml") => "ini",
        Some("py") => "python",
        Some("sh") => "bash",
        Some("json") => "json",
        _ => "plaintext",
    };
    let body = format!("<pre><code class=\"hljs language-{language}\">{}</code></pre>", escaped(&text));
    Ok(page(source, &page_of(source), &body))
}

fn folder(root: &Path, pages: &Pages, source: &Path) -> Result<String> {
    let place = pages.place(source);
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(root.join(source))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut body = String::from("<ul>");
    for name in names {
        let inner = source.join(&name);
        let shown = escaped(&name);
        if pages.sources.contains(&inner) {
            let link = relative(&place, &pages.place(&inner));
            write!(body, "<li><a href=\"{link}\"><code>{shown}</code></a></li>")?;
        } else {
            write!(body, "<li><code>{shown}</code></li>")?;
        }
    }
    body.push_str("</ul>");
    Ok(page(source, &place, &body))
}

/// A page, with the book's highlighting: that is a script of the book, which fetches nothing.
fn page(source: &Path, place: &Path, body: &str) -> String {
    let to = |target: &str| relative(place, Path::new(target));
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<link rel="stylesheet" href="{light}">
<link rel="stylesheet" href="{dark}" media="(prefers-color-scheme: dark)">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 100%/1.4 sans-serif; margin: 1rem; }}
pre {{ overflow-x: auto; font-size: 0.85rem; }}
a {{ color: light-dark(#20609f, #8ab4f8); }}
</style>
</head>
<body>
<p><a href="{home}">The book</a> · <code>{name}</code></p>
{body}
<script src="{script}"></script>
<script>document.querySelectorAll("pre code").forEach((block) => hljs.highlightBlock(block));</script>
</body>
</html>
"#,
        name = escaped(&source.display().to_string()),
        light = to("highlight.css"),
        dark = to("tomorrow-night.css"),
        home = to("index.html"),
        script = to("highlight.js"),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
