//! Two builds of `gpt2-fhe` by turns on one machine: how long each takes for the same encrypted runs of GPT-2's layer 0.
//!
//! ```text
//! cargo run --release -p kernel-benches --example two_builds -- OLD NEW ../shared/gpt2 [ROUNDS] [ROW]
//! ```
//!
//! OLD and NEW are the programs, say of a checkout of an older revision (`cargo build --release` there) and of this one, and
//! `../shared/gpt2` is the folder with GPT-2's weights. In each round each program runs each row once, and which comes first changes
//! from round to round, so that drift of the machine's clock falls on both. The figures are medians over three rounds, or as many
//! as are asked for, of the server's seconds. With ROW, only rows whose names contain it.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

use kernel_benches::machine::Machine;
use serde_json::Value;

/// How many times each program runs each row.
const ROUNDS: usize = 3;

/// What is run, and what of its report is compared.
struct Row {
    name: &'static str,
    /// Tensors of the input.
    tensors: &'static str,
    options: &'static [&'static str],
    seconds: fn(&Value) -> Option<f64>,
}

/// Of an encrypted run, the server's.
fn evaluation(report: &Value) -> Option<f64> {
    report["seconds"]["evaluate"].as_f64()
}

/// Of one lookup, of a step that has nothing else, all of them in one batch.
fn lookup(report: &Value) -> Option<f64> {
    // 8 tokens have 28 pairs of a query and an earlier key, in each of 12 heads.
    Some(report["seconds"]["steps"]["softplus"].as_f64()? / (12.0 * 28.0))
}

const EIGHT_TOKENS: &[&str] = &["--circuit", "packed", "--all-heads", "--tokens", "8", "--guard", "2"];

const ROWS: [Row; 4] = [
    Row {
        name: "exact head, 4 bits, 6 tokens, products of ciphertexts",
        tensors: "ex0.hidden",
        options: &["--circuit", "exact", "--bits", "4", "--multiply", "product"],
        seconds: evaluation,
    },
    Row {
        name: "12 heads and projection, 8 tokens, packed",
        tensors: "ex0.hidden,ex1.hidden",
        options: EIGHT_TOKENS,
        seconds: evaluation,
    },
    Row {
        name: "of these, one coarse lookup in two rings, all threads",
        tensors: "ex0.hidden,ex1.hidden",
        options: EIGHT_TOKENS,
        seconds: lookup,
    },
    Row {
        name: "one head, 64 tokens, packed",
        tensors: "ex0.hidden,ex1.hidden,ex2.hidden,ex0.hidden,ex1.hidden,ex2.hidden,ex0.hidden,ex1.hidden,ex2.hidden,ex0.hidden,ex1.hidden",
        options: &["--circuit", "packed", "--tokens", "64", "--guard", "2"],
        seconds: evaluation,
    },
];

fn run(program: &Path, folder: &Path, row: &Row) -> Result<f64, String> {
    let reference = folder.join("layer0_reference.safetensors");
    let mut command = Command::new(program);
    command.arg("head").arg("--attention").arg(folder.join("layer0_attention.safetensors"));
    command.arg("--hidden").arg(&reference).args(["--tensor", row.tensors]);
    command.arg("--calibration").arg(&reference).args(["--calibration-tensors", "ex0.hidden,ex1.hidden"]);
    command.args(row.options).arg("--json");
    let shown = program.display();
    let output = command.output().map_err(|error| format!("cannot run {shown}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{shown} fails: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let report: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("{shown} --json: {error}"))?;
    if report["matches_clear"] != Value::Bool(true) {
        return Err(format!("{shown}: what it decrypts is not what the clear engine computes"));
    }
    (row.seconds)(&report).ok_or_else(|| format!("{shown} --json has no seconds of this row"))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    if times.len() % 2 == 1 { times[middle] } else { (times[middle - 1] + times[middle]) / 2.0 }
}

fn compare(programs: [&Path; 2], folder: &Path, rounds: usize, chosen: &str) -> Result<(), String> {
    let machine = Machine::here().map_err(|error| error.to_string())?;
    println!("{}", machine.describe());
    machine.warning().iter().for_each(|warning| eprintln!("{warning}"));
    println!("\n| row | old | new | old/new, median | of each round |\n|---|---|---|---|---|");
    for row in ROWS.iter().filter(|row| row.name.contains(chosen)) {
        let mut times = [vec![], vec![]];
        for round in 0..rounds {
            for turn in 0..2 {
                let which = (round + turn) % 2;
                times[which].push(run(programs[which], folder, row)?);
                eprintln!("{}, round {}: {:.4} s, {}", row.name, round + 1, times[which][round], ["old", "new"][which]);
            }
        }
        let ratios: Vec<f64> = times[0].iter().zip(&times[1]).map(|(old, new)| old / new).collect();
        let [old, new] = times.map(median);
        let each = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(", ");
        println!("| {} | {old:.4} s | {new:.4} s | {:.2} | {each} |", row.name, old / new);
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let number = |text: &OsString| text.to_str()?.parse().ok().filter(|&rounds| rounds > 0);
    let done = match &arguments[..] {
        [old, new, folder, rest @ ..] if rest.len() <= 2 => match rest.first().map_or(Some(ROUNDS), number) {
            Some(rounds) => {
                let chosen = rest.get(1).and_then(|text| text.to_str()).unwrap_or("");
                compare([Path::new(old), Path::new(new)], Path::new(folder), rounds, chosen)
            }
            None => Err("ROUNDS has to be a number, at least 1".into()),
        },
        _ => Err("usage: two_builds OLD NEW FOLDER [ROUNDS] [ROW]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
