//! Pages for a browser: one file each, that loads nothing, light or dark as the browser is.

/// The colours and letters of all pages.
const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c1f24; --paper: #ffffff; --soft: #5b6470; --line: #d8dde3; --bar: #7aa7d9; --curve: #1c1f24;
  --good: #1a7f37; --bad: #c62828; --open: #8a6100; --link: #0b57b0; --mark: #fff0b8 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --paper: #14171b; --soft: #9aa4b0; --line: #2d333b; --bar: #3d6ea5;
  --curve: #e6e8eb; --good: #57c26d; --bad: #ff7b72; --open: #e0b341; --link: #7db7ff; --mark: #574a14 } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto; padding: 1rem; max-width: 62rem;
  overflow-wrap: anywhere }
h1 { font-size: 1.5rem; margin: .5rem 0 }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid var(--line) }
a { color: var(--link) }
ul { padding-left: 1.2rem; margin: .4rem 0 }
.soft, dt, small { color: var(--soft) }
";

/// A page.
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    /// What the style of all pages does not say.
    pub(super) style: &'a str,
    /// What the body consists of.
    pub(super) body: &'a str,
    /// A program of the page's own; none if it is empty.
    pub(super) script: &'a str,
}

impl Page<'_> {
    /// The file.
    pub(super) fn document(&self) -> String {
        let Self { style, body, script, .. } = self;
        let title = escaped(self.title);
        let script = if script.is_empty() { String::new() } else { format!("<script>{script}</script>\n") };
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
             <style>{STYLE}{style}</style>\n</head>\n<body>\n{body}{script}</body>\n</html>\n"
        )
    }
}

/// A text as part of a page, or of a picture.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
