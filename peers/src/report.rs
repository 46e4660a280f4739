//! The table and the JSON of a comparison.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::measure::Comparison;

/// What was compared, by name, in the order of measurement.
pub type Results = Vec<(String, Comparison)>;

/// An object with `{ours, peer, ratio}` for each name; times in seconds.
pub fn to_json(results: &Results) -> Value {
    let entry = |c: &Comparison| json!({ "ours": c.ours, "peer": c.peer, "ratio": c.ratio() });
    Value::Object(results.iter().map(|(name, c)| (name.clone(), entry(c))).collect::<Map<_, _>>())
}

/// The table, a line for each name.
pub fn to_table(results: &Results) -> String {
    let mut out = format!("{:<32}{:>13}{:>13}{:>8}\n", "", "tfhe-core", "tfhe-rs", "ratio");
    for (name, c) in results {
        let (ours, peer) = (duration(c.ours), duration(c.peer));
        writeln!(out, "{name:<32}{ours:>13}{peer:>13}{:>8.2}", c.ratio()).expect("a string can be written to");
    }
    out
}

/// Three or four digits and a unit.
fn duration(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 1e-6 => (s * 1e9, "ns"),
        s if s < 1e-3 => (s * 1e6, "µs"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    let decimals = if value < 10.0 { 3 } else { 1 };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_and_an_object() {
        let results = vec![("keyswitch".to_owned(), Comparison { ours: 0.0005, peer: 0.002 })];
        assert_eq!(to_json(&results)["keyswitch"]["ratio"], 4.0);
        let table = to_table(&results);
        let line = table.lines().nth(1).unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["keyswitch", "500.0", "µs", "2.000", "ms", "4.00"]);
        assert_eq!(duration(1.25e-7), "125.0 ns");
        assert_eq!(duration(2.5), "2.500 s");
    }
}
