//! The command line.
//!
//! Results go to standard output, everything else to standard error. Bad input is one line there that begins with `error:`. The
//! codes with which the program ends:
//!
//! | code | when |
//! |---|---|
//! | 0 | it did what was asked |
//! | 1 | it could not; or a claim of an audit, or what a lesson says, does not hold |
//! | 2 | wrong usage of options; or, with a line that says so, a run with other numbers than the clear engine's, or farther from them than the noise explains |
//! | 128 + n | signal n: 130 after Ctrl-C, 141 if nobody reads standard output any more |

mod arguments;
mod audit;
mod block;
mod blocks;
mod checkpoint;
mod circuit;
mod continuation;
mod demo;
mod describe;
mod evaluate;
mod exchange;
mod explain;
mod files;
mod generate;
mod guard;
mod head;
mod head_trace;
mod input;
mod interrupt;
mod model;
mod output;
mod page;
mod plan;
mod progress;
mod quantize;
mod quiet;
mod remote;
mod report;
mod run_report;
mod runner;
mod scale;
mod selected;
mod source;
#[cfg(feature = "nats")]
mod status;
mod stored;
mod text;
mod threads;
mod timing;
mod verdict;
mod watched;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use gpt2_fhe::run::{Circuit, Mode, RunError};
use tfhe_core::simd::Backend;

use arguments::{Command, CommandLine, Given, NotApplicable};
use output::ClosedPipe;
use verdict::{MISMATCH, Verdict};

/// The exit code after wrong usage, as clap has it.
const USAGE: u8 = 2;
/// The exit code where nobody reads standard output any more: 128 + SIGPIPE, as shells have it.
const CLOSED_PIPE: u8 = 141;

/// Runs the command of the process's arguments, and says with which code the process should end.
pub(crate) fn main() -> ExitCode {
    nn::guard::silence_panics();
    match guard::guarded("the program", start) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn start() -> anyhow::Result<ExitCode> {
    let matches = match CommandLine::command().try_get_matches() {
        Ok(matches) => matches,
        // --help and --version.
        Err(said) if said.exit_code() == 0 => {
            let text = said.render();
            let styled = std::io::stdout().is_terminal();
            output::stream(&if styled { text.ansi().to_string() } else { text.to_string() })?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(wrong) => {
            // Where nobody can be told, there is nothing left to do.
            let _ = wrong.print();
            return Ok(ExitCode::from(USAGE));
        }
    };
    let line = CommandLine::from_arg_matches(&matches)?;
    let given = Given::new(given_to_command(&matches));
    quiet::set_quiet(line.reporting().quiet);
    Ok(match run(&line, &given)?.failure() {
        None => ExitCode::SUCCESS,
        Some((what, code)) => {
            progress::print_above(&format!("error: {what}"));
            ExitCode::from(code)
        }
    })
}

/// The options of the command, if there is one.
fn given_to_command(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, of_command)| of_command)
}

/// Says what is wrong.
fn fail(error: &anyhow::Error) -> ExitCode {
    if error.is::<ClosedPipe>() {
        return ExitCode::from(CLOSED_PIPE);
    }
    output::complete_line();
    // One line, whatever the libraries below put into their messages.
    let message = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    progress::print_above(&format!("error: {message}"));
    match error.downcast_ref() {
        Some(RunError::Mismatch { .. }) => ExitCode::from(MISMATCH),
        _ if error.is::<NotApplicable>() => ExitCode::from(USAGE),
        _ => ExitCode::FAILURE,
    }
}

fn run(line: &CommandLine, given: &Given) -> anyhow::Result<Verdict> {
    interrupt::watch()?;
    Backend::selected()?;
    threads::start(line.threads())?;
    let verdict = match &line.command {
        None => demo::run(&line.demo, given),
        Some(Command::Demo(arguments)) => demo::run(arguments, given),
        Some(Command::Generate(arguments)) => generate::run(arguments, given),
        Some(Command::Head(arguments)) => head::run(arguments, given),
        Some(Command::Block(arguments)) if arguments.watching.is_watched() => watched::run(arguments),
        Some(Command::Block(arguments)) => block::run(arguments),
        Some(Command::Circuit(arguments)) => circuit::run(arguments, given),
        Some(Command::Plan(arguments)) => plan::run(arguments, given),
        Some(Command::Audit(arguments)) => audit::run(arguments),
        Some(Command::Explain(arguments)) => explain::run(arguments),
        Some(Command::Quantize(arguments)) => quantize::run(arguments, given),
        Some(Command::Evaluate(arguments)) => evaluate::run(arguments, given),
        Some(Command::Keygen(arguments)) => exchange::keygen(arguments),
        Some(Command::Encrypt(arguments)) => exchange::encrypt(arguments),
        Some(Command::Compute(arguments)) => exchange::compute(arguments),
        Some(Command::Decrypt(arguments)) => exchange::decrypt(arguments),
        #[cfg(feature = "nats")]
        Some(Command::Status(arguments)) => status::run(arguments),
    };
    verdict.map_err(|error| advise(error, line))
}

/// What can still be done where no encrypted run would be reliable: the exact circuit can be looked at without encryption, where there is
/// a mode to choose.
fn advise(error: anyhow::Error, line: &CommandLine) -> anyhow::Error {
    let unreliable = matches!(error.downcast_ref(), Some(RunError::Unreliable { .. }));
    match line.circuit_and_mode() {
        Some((Circuit::Exact, mode)) if unreliable && mode != Mode::Clear => {
            anyhow::anyhow!("{error}; or use --mode clear, without encryption")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

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

    #[test]
    fn options_of_a_command_are_those_given_to_it() {
        let given = |line: &[&str]| {
            let matches = CommandLine::command().try_get_matches_from(line).unwrap();
            Given::new(given_to_command(&matches))
        };
        let head = ["gpt2-fhe", "head", "--attention", "a", "--hidden", "b", "--tensor", "c", "--msbs", "8"];
        assert!(given(&head).has("msbs") && !given(&head).has("guard"));
        assert!(given(&["gpt2-fhe", "--guard", "2"]).has("guard"));
    }
}
