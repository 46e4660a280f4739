//! Text for people: numbers with units, and columns that line up.

/// The number of characters that labels are padded to.
const LABEL: usize = 22;

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
}
