//! Torus elements as lessons write them: whole numbers of ticks, of which a turn has 65,536.

use tfhe_core::torus;

use super::lesson::LessonTable;

/// log2 of the ticks of a turn: as many bits of every number as a lesson keeps.
pub(super) const BITS: u32 = 16;
/// The ticks of a turn.
pub(super) const TURN: i64 = 1 << BITS;

/// From 0 to 65,535.
pub(super) fn ticks(x: u64) -> i64 {
    signed(x).rem_euclid(TURN)
}

/// From −32,768 to 32,767.
pub(super) fn signed(x: u64) -> i64 {
    torus::decode(x, BITS)
}

/// So many ticks.
pub(super) fn of_ticks(ticks: i64) -> u64 {
    torus::encode(ticks, BITS)
}

/// "24576/65536 = 0.375".
pub(super) fn fraction(x: u64) -> String {
    format!("{}/65536 = {}", ticks(x), decimal(ticks(x)))
}

/// The same of a small number, which may be negative: "-3/65536 = -0.0000458".
pub(super) fn signed_fraction(x: u64) -> String {
    format!("{}/65536 = {}", signed(x), decimal(signed(x)))
}

/// Ticks as a decimal fraction of a turn: all digits if they are few, else to 7 places.
fn decimal(ticks: i64) -> String {
    let exact = ticks as f64 / TURN as f64;
    let short = format!("{exact:.7}");
    let short = short.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".into() } else { short.into() }
}

/// The powers of X, as names of columns.
pub(super) fn powers(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|power| match power {
        0 => "1".into(),
        1 => "X".into(),
        power => format!("X^{power}"),
    })
}

/// A table of polynomials: a name, and a column for each power of X.
pub(super) fn polynomials(caption: &str, first: &str, size: usize) -> LessonTable {
    LessonTable::new(caption, std::iter::once(first.to_owned()).chain(powers(size)))
}

/// A row of such a table.
pub(super) fn coefficients<T: ToString>(name: &str, numbers: impl IntoIterator<Item = T>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(numbers.into_iter().map(|number| number.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_whole_and_fractions_can_be_checked() {
        assert_eq!([ticks(of_ticks(-3)), signed(of_ticks(-3)), signed(of_ticks(40_000))], [65_533, -3, -25_536]);
        assert_eq!(fraction(torus::encode(3, 3)), "24576/65536 = 0.375");
        assert_eq!(signed_fraction(of_ticks(-3)), "-3/65536 = -0.0000458");
        assert_eq!(signed_fraction(0), "0/65536 = 0");
        assert_eq!(powers(3).collect::<Vec<_>>(), ["1", "X", "X^2"]);
    }
}
