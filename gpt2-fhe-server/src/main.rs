//! The server: whole blocks of a GPT-2 on encrypted data, by HTTP.
#![deny(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use gpt2_fhe_server::arguments::ServerArguments;
use gpt2_fhe_server::blocks::BlockEngine;

/// Computes blocks of a GPT-2 on data that it cannot read, for whoever asks by HTTP.
///
/// Clients send evaluation keys once, then requests, and fetch answers: `gpt2-fhe generate --server URL` does all of it. There is no secret
/// in this program, and no code that could hold one.
#[derive(Parser)]
#[command(name = "gpt2-fhe-server", version)]
struct CommandLine {
    /// File of the blocks that `gpt2-fhe quantize --encrypt` wrote: the server's half, or both; can be given several times
    #[arg(long, value_name = "FILE", required = true)]
    quantized: Vec<PathBuf>,
    /// Threads to compute with, of all requests together [default: as many as the machine has cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    #[cfg(feature = "nats")]
    #[command(flatten)]
    workers: gpt2_fhe_server::workers::WorkerArguments,
    #[command(flatten)]
    server: ServerArguments,
}

fn run(line: &CommandLine) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(threads) = line.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global()?;
    }
    let engine = BlockEngine::load(&line.quantized)?;
    // The connection to the NATS server is told of.
    #[cfg(feature = "nats")]
    gpt2_fhe_program::start_log(line.server.log);
    #[cfg(feature = "nats")]
    let engine = line.workers.engine(engine, rayon::current_num_threads())?;
    Ok(gpt2_fhe_server::service::run(engine, &line.server)?)
}

fn main() -> ExitCode {
    let command = CommandLine::command();
    #[cfg(feature = "nats")]
    let command = gpt2_fhe_server::workers::WorkerArguments::optional(command);
    let line = CommandLine::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    match run(&line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
