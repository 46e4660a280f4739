//! The results of all benches that ran, on one page.

use std::path::Path;
use std::time::SystemTime;

use serde::Deserialize;

use crate::limits::Limits;
use crate::work::Work;

/// A bench, by the names of its folder.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) group: String,
    pub(crate) backend: &'static str,
    pub(crate) size: String,
    pub(crate) work: Work,
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    confidence_interval: Interval,
    point_estimate: f64,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// One thread's limits, and those of all.
pub(crate) struct OfThreads {
    pub(crate) one: Limits,
    pub(crate) all: Limits,
}

/// A table of the `rows` that were measured since `started`, from criterion's folder; `None` if there is none.
pub(crate) fn table(rows: &[Row], folder: &Path, started: SystemTime, limits: &OfThreads) -> Option<String> {
    let lines: Vec<String> =
        rows.iter().filter_map(|row| line(row, &estimates(row, folder, started)?, limits)).collect();
    let header = "| kernel | of | time | ± | GFLOP/s | of the limit | GB/s | of the limit |\n|---|---|---|---|---|---|---|---|\n";
    (!lines.is_empty()).then(|| header.to_owned() + &lines.concat())
}

fn estimates(row: &Row, folder: &Path, started: SystemTime) -> Option<Estimates> {
    let path = folder.join(&row.group).join(row.backend).join(&row.size).join("new/estimates.json");
    // Others are of earlier runs.
    let written = path.metadata().and_then(|metadata| metadata.modified()).ok()?;
    (written >= started).then(|| serde_json::from_slice(&std::fs::read(&path).ok()?).ok())?
}

fn line(row: &Row, estimates: &Estimates, limits: &OfThreads) -> Option<String> {
    let Estimate { confidence_interval: Interval { lower_bound, upper_bound }, point_estimate } = &estimates.median;
    let (seconds, work) = (point_estimate * 1e-9, row.work);
    let limits = if work.shared { &limits.all } else { &limits.one };
    let rate = |amount: f64, limit: f64| match amount {
        0.0 => "| | ".to_owned(),
        _ => format!("| {:.1} | {:.0} % ", amount / seconds * 1e-9, 100.0 * amount / seconds / limit),
    };
    let spread = 50.0 * (upper_bound - lower_bound) / point_estimate;
    Some(format!(
        "| {} | {} | {} | {spread:.1} % {}{}|\n",
        row.group,
        row.size,
        duration(seconds / work.count as f64),
        rate(work.operations, limits.operations),
        rate(work.bytes, limits.bytes),
    ))
}

/// Four digits and a unit.
fn duration(seconds: f64) -> String {
    let (value, unit) = match seconds {
        1.0.. => (seconds, "s"),
        1e-3.. => (seconds * 1e3, "ms"),
        1e-6.. => (seconds * 1e6, "µs"),
        _ => (seconds * 1e9, "ns"),
    };
    let digits = if value < 10.0 {
        3
    } else if value < 100.0 {
        2
    } else {
        1
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: OfThreads =
        OfThreads { one: Limits { operations: 50e9, bytes: 10e9 }, all: Limits { operations: 100e9, bytes: 10e9 } };

    fn estimates_of(median: f64) -> String {
        format!(
            r#"{{"mean":{{}},"median":{{"confidence_interval":{{"confidence_level":0.95,"lower_bound":{},"upper_bound":{}}},"point_estimate":{median},"standard_error":0.1}}}}"#,
            0.99 * median,
            1.01 * median
        )
    }

    #[test]
    fn a_page_has_what_was_measured_since_it_began() {
        let folder = tempfile::tempdir().unwrap();
        let row = |group: &str, work| Row { group: group.to_owned(), backend: "avx2", size: "2048".to_owned(), work };
        let rows = [row("a", Work { count: 2, operations: 4000.0, bytes: 0.0, shared: false }), row("b", Work::ONE)];
        let of_a = folder.path().join("a/avx2/2048/new");
        std::fs::create_dir_all(&of_a).unwrap();
        std::fs::write(of_a.join("estimates.json"), estimates_of(200.0)).unwrap();
        let past = SystemTime::now() - std::time::Duration::from_secs(60);
        let page = table(&rows, folder.path(), past, &LIMITS).unwrap();
        // 4000 operations in 200 ns, two things.
        assert_eq!(page.lines().nth(2).unwrap(), "| a | 2048 | 100.0 ns | 1.0 % | 20.0 | 40 % | | |");
        assert_eq!(page.lines().count(), 3);
        let future = SystemTime::now() + std::time::Duration::from_secs(60);
        assert_eq!(table(&rows, folder.path(), future, &LIMITS), None);
        let shared = [row("a", Work { operations: 4000.0, bytes: 1000.0, ..Work::ONE }.shared())];
        let page = table(&shared, folder.path(), past, &LIMITS).unwrap();
        assert_eq!(page.lines().nth(2).unwrap(), "| a | 2048 | 200.0 ns | 1.0 % | 20.0 | 20 % | 5.0 | 50 % |");
    }

    #[test]
    fn durations_have_four_digits() {
        let written = [1.5e-9, 12.346e-6, 0.9, 3.0].map(duration);
        assert_eq!(written, ["1.500 ns", "12.35 µs", "900.0 ms", "3.000 s"]);
    }
}
