//! The server with an engine that only counts and echoes: for tests that need a process of their own, and to try the API.
#![deny(unsafe_code)]

mod engine;

use std::process::ExitCode;

use clap::Parser;
use gpt2_fhe_server::arguments::ServerArguments;

use engine::ToyEngine;

/// A server that computes nothing: it waits, counts and echoes
#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    server: ServerArguments,
}

fn main() -> ExitCode {
    match gpt2_fhe_server::service::run(ToyEngine::default(), &CommandLine::parse().server) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
