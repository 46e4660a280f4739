//! A worker: it computes lookups for servers of encrypted blocks, and has no secret.
#![deny(unsafe_code)]

use std::num::NonZero;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Parser;
use gpt2_fhe_program::{LogFormat, start_log};
use gpt2_fhe_worker::info::host;
use gpt2_fhe_worker::nats::NatsOptions;
use gpt2_fhe_worker::nats::worker::{WorkerError, WorkerOptions, run, sets_with_lookups};
use tfhe_core::key_graph::Parameters;
use tfhe_core::sets;

/// Computes lookups for servers that compute on encrypted data (gpt2-fhe-server --engine URL).
///
/// Nearly all that such a server does is lookups: reading encrypted numbers through tables. It can hand them out to other machines, in
/// batches, by a NATS server. This program takes batches from there, computes them, and sends the results back. Start as many as there are
/// machines, at any time; a batch whose worker ends is given to another one.
///
/// A worker gets the evaluation keys of whoever has sent a request. These and the batches are encryptions: there is no secret in this
/// program, and no code that could hold one.
#[derive(Parser)]
#[command(name = "gpt2-fhe-worker", version)]
struct CommandLine {
    #[command(flatten)]
    nats: NatsOptions,
    /// How many batches are computed at the same time, each on one core [default: as many as the machine has cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// How much memory evaluation keys may take, as 500MB or 64GiB
    ///
    /// Ready for use, keys take more memory than their file has bytes. The least recently used ones are dropped, and fetched again when
    /// they are needed. Keys that are in use stay.
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    key_memory: ByteSize,
    /// How long evaluation keys are kept that no batch asks for, as 90s, 15m or 12h
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = humantime::parse_duration)]
    keep_keys: Duration,
    /// How long batches may go on that are being computed at Ctrl-C or SIGTERM
    ///
    /// All others are given back at once, and what is not finished by then is computed by another worker.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// Name of a parameter set to compute for; can be given several times [default: all that have what lookups take]
    #[arg(long = "set", value_name = "NAME", value_parser = set)]
    sets: Vec<Parameters>,
    /// What "gpt2-fhe status" is to call this machine [default: its host name]
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// How the log is written, to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Plain)]
    log: LogFormat,
}

fn set(name: &str) -> Result<Parameters, String> {
    let known = sets::ALL.map(|set| set.name).join(", ");
    let set = sets::by_name(name).ok_or_else(|| format!("no such parameter set: there are {known}"))?;
    if set.bootstraps().is_empty() { Err(format!("{name} has no lookups")) } else { Ok(set) }
}

fn options(line: CommandLine) -> WorkerOptions {
    let cores = available_parallelism().map_or(1, NonZero::get);
    WorkerOptions {
        nats: line.nats,
        threads: line.threads.map_or(cores, usize::from),
        host: line.host.unwrap_or_else(host),
        sets: if line.sets.is_empty() { sets_with_lookups() } else { line.sets },
        key_memory: line.key_memory.as_u64(),
        keep_keys: line.keep_keys,
        grace: line.grace,
    }
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    start_log(line.log);
    let ended: Result<(), WorkerError> = run(&options(line));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
