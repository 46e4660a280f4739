//! A document cut into what is text and what is not: code, comments, formulas.

use anyhow::{Context, Result, bail, ensure};

/// A piece of a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Piece<'t> {
    /// Text, with its links.
    Text(&'t str),
    /// Code, with the backticks around it.
    Code(&'t str),
    /// The inside of a comment.
    Comment(&'t str),
    /// The inside of a formula.
    Formula { tex: &'t str, is_display: bool },
}

/// The pieces of a document, in their order.
pub(crate) fn pieces(text: &str) -> Result<Vec<Piece<'_>>> {
    let (mut found, mut start, mut at) = (Vec::new(), 0, 0);
    while let Some(next) = text[at..].chars().next() {
        let special = special(text, at).with_context(|| {
            format!("line {}: {}", line_of(text, at), text[at..].lines().next().unwrap_or_default())
        })?;
        if let Some((length, piece)) = special {
            found.push(Piece::Text(&text[start..at]));
            found.push(piece);
            at += length;
            start = at;
        } else {
            at += next.len_utf8();
            // What is escaped begins nothing.
            if next == '\\' {
                at += text[at..].chars().next().map_or(0, char::len_utf8);
            }
        }
    }
    found.push(Piece::Text(&text[start..]));
    found.retain(|piece| *piece != Piece::Text(""));
    Ok(found)
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// What begins at a place, if it is not text, and how long it is.
fn special(text: &str, at: usize) -> Result<Option<(usize, Piece<'_>)>> {
    let rest = &text[at..];
    if let Some(inside) = rest.strip_prefix("<!--") {
        let (comment, _) = inside.split_once("-->").context("a comment has no end")?;
        return Ok(Some(("<!---->".len() + comment.len(), Piece::Comment(comment))));
    }
    let ticks = rest.len() - rest.trim_start_matches('`').len();
    if ticks >= 3
        && text[..at].lines().next_back().is_none_or(|line| text[..at].ends_with('\n') || line.trim().is_empty())
    {
        let fence = &rest[..ticks];
        let mut length = 0;
        for (number, line) in rest.split_inclusive('\n').enumerate() {
            length += line.len();
            if number > 0 && line.trim() == fence {
                return Ok(Some((length, Piece::Code(&rest[..length]))));
            }
        }
        bail!("a block of code has no end");
    }
    if ticks > 0 {
        let fence = &rest[..ticks];
        let mut from = ticks;
        while let Some(next) = rest[from..].find(fence) {
            let end = from + next;
            let after = rest[end..].len() - rest[end..].trim_start_matches('`').len();
            if after == ticks {
                return Ok(Some((end + ticks, Piece::Code(&rest[..end + ticks]))));
            }
            from = end + after;
        }
        bail!("code in a line has no end");
    }
    let dollars = if rest.starts_with("$$") { "$$" } else { "$" };
    let Some(inside) = rest.strip_prefix(dollars) else {
        return Ok(None);
    };
    let (tex, _) = inside.split_once(dollars).context("a formula has no end; a dollar sign is written \\$")?;
    let is_display = dollars == "$$";
    ensure!(!tex.contains("\n\n") && !tex.trim().is_empty(), "a formula goes on over the end of a paragraph");
    // As where the sources are read: a dollar sign beside a space is one.
    ensure!(is_display || tex.trim() == tex, "a formula begins or ends with a space");
    Ok(Some((2 * dollars.len() + tex.len(), Piece::Formula { tex, is_display })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_cut_into_its_pieces() {
        let text = "a $x_1$ `$no$` ``a`b``\n```sh\n$ no <!-- no -->\n```\n<!-- $no$ -->\n$$\ny\n$$ \\$3";
        let expected = [
            Piece::Text("a "),
            Piece::Formula { tex: "x_1", is_display: false },
            Piece::Text(" "),
            Piece::Code("`$no$`"),
            Piece::Text(" "),
            Piece::Code("``a`b``"),
            Piece::Text("\n"),
            Piece::Code("```sh\n$ no <!-- no -->\n```\n"),
            Piece::Comment(" $no$ "),
            Piece::Text("\n"),
            Piece::Formula { tex: "\ny\n", is_display: true },
            Piece::Text(" \\$3"),
        ];
        assert_eq!(pieces(text).expect("a document"), expected);
    }

    #[test]
    fn what_has_no_end_is_an_error_with_its_line() {
        for text in ["\n<!-- a", "\n```\na", "\n`a", "\n$a", "\n$$a$", "\n$a\n\nb$", "\n$ a$"] {
            let error = pieces(text).expect_err(text);
            assert!(error.to_string().starts_with("line 2"), "{text}: {error}");
        }
    }
}
