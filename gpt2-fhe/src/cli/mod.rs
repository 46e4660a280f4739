//! The command line.
//!
//! Results go to standard output, progress and errors to standard error. The program ends with code 0; with 1 and one
//! line that begins with `error:` if it could not do what was asked; with [`MISMATCH`] if an encrypted or simulated run
//! gave numbers that are not the clear engine's, or farther from them than the noise explains; with [`STOPPED`] after Ctrl-C. Usage errors are clap's own, with code 2.

mod arguments;
mod circuit;
mod demo;
mod describe;
mod evaluate;
mod generate;
mod generation;
mod head;
mod input;
mod model;
mod output;
mod progress;
mod quantize;
mod quantized;
mod report;
mod runner;

mod text;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gpt2_fhe::engine::EngineError;
use gpt2_fhe::run::RunError;
use tfhe_core::simd::Backend;

use arguments::{
    CircuitArguments, DemoArguments, EvaluateArguments, GenerateArguments, HeadArguments, QuantizeArguments,
};

/// The exit code of a run with other numbers than the clear engine's, or farther from them than the noise explains.
const MISMATCH: u8 = 2;
/// The exit code after Ctrl-C: 128 + SIGINT, as shells have it.
const STOPPED: u8 = 130;

/// GPT-2's attention on encrypted data.
///
/// A client encrypts the input of GPT-2's attention with TFHE, a server computes heads, softmax and output projection without
/// being able to read them, and the client decrypts. Without a command, this is the demo.
#[derive(Debug, Parser)]
#[command(name = "gpt2-fhe", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    demo: DemoArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A prompt continued with the model's attention encrypted, beside the same in f32, told step by step.
    Demo(DemoArguments),
    /// A prompt continued with the attention of some layers encrypted, token by token.
    Generate(GenerateArguments),
    /// One attention head, or all of a layer, on a tensor of a file: clear, simulated or encrypted.
    Head(HeadArguments),
    /// What a head will run, without running it: operations, widths, noise, failure probability, parameters, bytes.
    Circuit(CircuitArguments),
    /// Calibrates a head, or all of a layer, and writes what server and client need to a file, for head and circuit.
    Quantize(QuantizeArguments),
    /// What the attention costs a model's predictions over a text, by circuit and bits, beside controls.
    Evaluate(EvaluateArguments),
}

/// How a command that ran to its end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As it should.
    Right,
    /// So many of the decrypted integers are not the clear engine's.
    Mismatch(usize),
}

/// Runs the command of the process's arguments, and says with which code the process should end.
pub(crate) fn main() -> ExitCode {
    let line = CommandLine::parse();
    match run(line) {
        Ok(Verdict::Right) => ExitCode::SUCCESS,
        Ok(Verdict::Mismatch(count)) => {
            output::print_error(&format!("error: {count} decrypted numbers are not those of the clear engine"));
            ExitCode::from(MISMATCH)
        }
        Err(error) if is_cancelled(&error) => {
            output::print_error(&error.to_string());
            ExitCode::from(STOPPED)
        }
        Err(error) => {
            let mismatch = matches!(error.downcast_ref(), Some(RunError::Mismatch { .. }));
            // One line, whatever the libraries below put into their messages.
            let message = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            output::print_error(&format!("error: {message}"));
            if mismatch { ExitCode::from(MISMATCH) } else { ExitCode::FAILURE }
        }
    }
}

fn run(line: CommandLine) -> anyhow::Result<Verdict> {
    progress::handle_interrupts()?;
    Backend::selected()?;
    match line.command {
        None => demo::run(&line.demo),
        Some(Command::Demo(arguments)) => demo::run(&arguments),
        Some(Command::Generate(arguments)) => generate::run(&arguments),
        Some(Command::Head(arguments)) => head::run(&arguments),
        Some(Command::Circuit(arguments)) => circuit::run(&arguments),
        Some(Command::Quantize(arguments)) => quantize::run(&arguments),
        Some(Command::Evaluate(arguments)) => evaluate::run(&arguments),
    }
}

fn is_cancelled(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(EngineError::Cancelled))
        || matches!(error.downcast_ref(), Some(RunError::Engine(EngineError::Cancelled)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn without_a_command_the_arguments_are_those_of_the_demo() {
        let line = CommandLine::parse_from(["gpt2-fhe", "--prompt", "To be", "--tokens", "2"]);
        assert!(line.command.is_none());
        assert_eq!((line.demo.prompt.as_str(), line.demo.generation.tokens), ("To be", 2));
    }
}
