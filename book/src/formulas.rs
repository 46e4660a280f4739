//! Formulas, from LaTeX to MathML, which browsers show without a script; their style and fonts.

use anyhow::{Context, Result, anyhow, ensure};
use pulldown_latex::config::DisplayMode;
use pulldown_latex::{Event, Parser, RenderConfig, Storage, push_mathml};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A formula as MathML. What the renderer does not know is an error.
pub(crate) fn mathml(tex: &str, is_display: bool) -> Result<String> {
    let tex = &lists(tex);
    let storage = Storage::new();
    let events: Vec<Event<'_>> =
        Parser::new(tex, &storage).collect::<Result<_, _>>().map_err(|error| anyhow!("${tex}$: {error}"))?;
    let display_mode = if is_display { DisplayMode::Block } else { DisplayMode::Inline };
    let config = RenderConfig { display_mode, ..RenderConfig::default() };
    let mut written = String::new();
    push_mathml(&mut written, events.into_iter().map(Ok::<_, Infallible>), config)
        .map_err(|error| anyhow!("${tex}$: {error}"))?;
    ensure!(!written.contains("merror"), "${tex}$ is no formula");
    Ok(tight(&written))
}

/// With a space behind each comma between digits: the renderer takes `(1,0)` for a number with groups of digits, and TeX for two.
/// Numbers of the book have no groups within formulas.
fn lists(tex: &str) -> String {
    let mut written = String::with_capacity(tex.len());
    for (at, c) in tex.char_indices() {
        written.push(c);
        let is_digit = |next: Option<char>| next.is_some_and(|next| next.is_ascii_digit());
        if c == ',' && is_digit(tex[..at].chars().next_back()) && is_digit(tex[at + 1..].chars().next()) {
            written.push(' ');
        }
    }
    written
}

/// Without the space that browsers leave around a slash, and around brackets of a size of their own: TeX has none there.
fn tight(mathml: &str) -> String {
    let sized = mathml.replace("\"minsize=", "\" lspace=\"0\" rspace=\"0\" minsize=");
    sized.replace("<mo>/</mo>", "<mo lspace=\"0\" rspace=\"0\">/</mo>")
}

/// Copies style and fonts out of the renderer's package, wherever cargo keeps that.
pub(crate) fn copy_style(manifest: &Path, to: &Path) -> Result<()> {
    let package = package(manifest, "pulldown-latex")?;
    let fonts = to.join("font");
    std::fs::create_dir_all(&fonts)?;
    std::fs::copy(package.join("styles.css"), to.join("styles.css")).context("the style of formulas")?;
    for entry in std::fs::read_dir(package.join("font")).context("the fonts of formulas")? {
        let entry = entry?;
        std::fs::copy(entry.path(), fonts.join(entry.file_name()))?;
    }
    Ok(())
}

/// The folder of a package that this program is built of.
fn package(manifest: &Path, name: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--locked", "--manifest-path"]).arg(manifest);
    let output = command.output().context("cargo does not run")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let found = packages.iter().find(|package| package["name"] == name).context("the package is not there")?;
    let manifest = found["manifest_path"].as_str().context("the package has no folder")?;
    Ok(Path::new(manifest).parent().context("a manifest lies in a folder")?.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_rendered_and_what_is_none_is_refused() {
        let written = mathml(r"\underbrace{\tfrac12\lVert x\rVert}_{\text{half}}", true).expect("a formula");
        assert!(written.starts_with("<math display=\"block\"") && written.contains("<mfrac"), "{written}");
        assert_eq!(lists("(1,0,2),a,1"), "(1, 0, 2),a,1");
        assert_eq!(mathml(r"\big(a/b", false).expect("a formula").matches("lspace=\"0\"").count(), 2);
        for wrong in [r"\frac{1}{", r"\nosuchcommand", "x^", r"\left( x"] {
            mathml(wrong, false).expect_err(wrong);
        }
    }
}
