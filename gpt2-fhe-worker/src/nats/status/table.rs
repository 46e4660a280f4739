//! A status as text.

use std::fmt::Write;

use super::{ServerStatus, Status, WorkerStatus};

/// What is shown of a name at most.
const NAME: usize = 24;

/// Workers, servers with their requests, and sums, in lines to read.
pub fn table(status: &Status) -> String {
    let mut text = String::new();
    let rows: Vec<[String; 8]> = status.workers.iter().map(worker).collect();
    let heads = ["worker", "host", "version", "vectors", "busy", "lookups/s", "lookups", "keys"];
    if rows.is_empty() {
        text += "no workers\n";
    } else {
        columns(&mut text, heads, &rows);
    }
    for worker in &status.workers {
        if let Some(reason) = &worker.gets_nothing {
            let _ = writeln!(text, "{} gets nothing: {}", shown(&worker.info.worker), shown_line(reason));
        }
    }
    text += "\n";
    if status.servers.is_empty() {
        text += "no servers\n";
    } else {
        let rows: Vec<[String; 8]> = status.servers.iter().map(server).collect();
        let heads = ["server", "host", "version", "vectors", "lookups/s", "lookups", "by workers", "requests"];
        columns(&mut text, heads, &rows);
    }
    for server in &status.servers {
        requests(&mut text, server);
    }
    let waiting = status.waiting.map_or("no stream of batches yet".to_owned(), |waiting| {
        format!("{waiting} batches that wait or are being computed")
    });
    let _ = writeln!(
        text,
        "\n{:.0} lookups a second, {:.0} of them by workers; {waiting}",
        status.server_rate, status.worker_rate
    );
    text
}

fn worker(WorkerStatus { info, rate, .. }: &WorkerStatus) -> [String; 8] {
    [
        shown(&info.worker),
        shown(&info.host),
        shown(&info.version),
        shown(&info.arithmetic),
        format!("{} of {}", info.busy, info.threads),
        rate.map_or("?".to_owned(), |rate| format!("{rate:.1}")),
        info.rotations.to_string(),
        info.keys.len().to_string(),
    ]
}

fn server(ServerStatus { info, rate, .. }: &ServerStatus) -> [String; 8] {
    [
        shown(&info.run),
        shown(&info.host),
        shown(&info.version),
        shown(&info.arithmetic),
        rate.map_or("?".to_owned(), |rate| format!("{rate:.1}")),
        info.counts.rotations.to_string(),
        info.counts.by_workers.to_string(),
        info.requests.len().to_string(),
    ]
}

fn requests(text: &mut String, server: &ServerStatus) {
    for (request, left) in server.info.requests.iter().zip(&server.seconds_left) {
        let left =
            left.map_or("time left not known yet".to_owned(), |seconds| format!("about {} left", duration(seconds)));
        let (done, all, step) = (request.done, request.operations, shown_line(&request.step));
        let _ = writeln!(text, "{}: {step}: {done} of {all} operations, {left}", shown(&server.info.run));
    }
    let counts = &server.info.counts;
    let seen = [
        (counts.overdue, "batches took too long and were computed elsewhere"),
        (counts.refused, "batches were refused by workers"),
        (counts.damaged, "results were damaged"),
        (counts.wrong, "results were wrong"),
        (counts.disconnected, "times the NATS server could not be reached"),
    ];
    for (count, what) in seen.into_iter().filter(|(count, _)| *count > 0) {
        let _ = writeln!(text, "{}: {count} {what}", shown(&server.info.run));
    }
}

/// Columns as wide as what is in them: text to the left, numbers to the right.
fn columns<const N: usize>(text: &mut String, heads: [&str; N], rows: &[[String; N]]) {
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).fold(heads[i].len(), usize::max);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut line = |cells: [&str; N]| {
        let cells: Vec<String> = (0..N)
            .map(|i| {
                let is_text = i < 4;
                if is_text { format!("{:<1$}", cells[i], widths[i]) } else { format!("{:>1$}", cells[i], widths[i]) }
            })
            .collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    };
    line(heads);
    rows.iter().for_each(|row| line(std::array::from_fn(|i| row[i].as_str())));
}

/// A name of somebody else: nothing that a terminal takes for more than letters, and not too long.
fn shown(name: &str) -> String {
    let plain = name.chars().map(|c| if c.is_control() { '?' } else { c });
    plain.take(NAME).collect()
}

fn shown_line(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { '?' } else { c }).take(400).collect()
}

/// In the largest two units.
fn duration(seconds: f64) -> String {
    let whole = std::time::Duration::from_secs(seconds.clamp(0.0, 1e9).ceil() as u64);
    let text = humantime::format_duration(whole).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
