//! Text for people: numbers with units, and columns that line up.

use std::fmt::Write as _;

/// The number of characters that labels are padded to.
const LABEL: usize = 22;
/// Characters to a line of prose.
pub(super) const WIDTH: usize = 118;

/// "label   value".
pub(super) fn line(label: &str, value: impl AsRef<str>) -> String {
    format!("  {label:<LABEL$}{}", value.as_ref())
}

/// Bytes in the unit that leaves the fewest digits.
pub(super) fn bytes(count: usize) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    if count < 1024 {
        return format!("{count} bytes");
    }
    let (mut value, mut unit) = (count as f64 / 1024.0, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Seconds, or milliseconds where there are few of them.
pub(super) fn seconds(value: f64) -> String {
    if value < 0.1 { format!("{:.1} ms", value * 1000.0) } else { format!("{value:.1} s") }
}

/// 2^x, or 0 for −∞.
pub(super) fn power_of_two(log2: f64) -> String {
    if log2 == f64::NEG_INFINITY { "0".into() } else { format!("2^{log2:.1}") }
}

/// A count, "-" for none.
pub(super) fn count(value: usize) -> String {
    if value == 0 { "-".into() } else { value.to_string() }
}

/// "1 token", "2 tokens".
pub(super) fn plural(value: usize, noun: &str) -> String {
    if value == 1 { format!("1 {noun}") } else { format!("{value} {noun}s") }
}

/// In lines of [`WIDTH`], the first with one indent, the others with another.
pub(super) fn wrapped(text: &str, first: usize, rest: usize) -> String {
    let (mut out, mut column) = (" ".repeat(first), first);
    // Of several spaces, each but one is a word without characters: they stay.
    for (index, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > WIDTH {
            out = out.trim_end().to_owned();
            let _ = write!(out, "\n{}", " ".repeat(rest));
            column = rest;
        } else if index > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out + "\n"
}

/// Rows in columns: the first to the left, the others to the right.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("  {cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        });
        cells.collect::<String>().trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        assert_eq!([bytes(7), bytes(1536), bytes(3 << 30)], ["7 bytes", "1.5 KiB", "3.0 GiB"]);
        assert_eq!([seconds(0.0123), seconds(61.25)], ["12.3 ms", "61.2 s"]);
        assert_eq!([power_of_two(-41.26), power_of_two(f64::NEG_INFINITY)], ["2^-41.3", "0"]);
    }

    #[test]
    fn columns_line_up() {
        let rows = [["σ", "10"], ["long", "5"]].map(|row| row.map(String::from).to_vec());
        assert_eq!(table(&rows), "  σ     10\n  long   5");
    }

    #[test]
    fn lines_are_no_wider_than_they_may_be() {
        let text = wrapped(&"word ".repeat(100), 2, 15);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with(&" ".repeat(15)));
        assert_eq!(wrapped("a  b", 1, 2), " a  b\n");
    }
}
