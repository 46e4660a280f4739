//! The program `peers`: what `tfhe-core` and tfhe-rs take for the same work.
#![deny(unsafe_code)]

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use peers::measure::Effort;
use peers::{build, compare, report};

/// tfhe-core beside tfhe-rs.
#[derive(Debug, Parser)]
#[command(name = "peers", version, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Times the same work in both, by turns, and prints a table of ratios.
    Compare(Compare),
}

#[derive(Debug, Args)]
struct Compare {
    /// An object of {ours, peer, ratio} by name, in seconds, instead of the table
    #[arg(long)]
    json: bool,
    /// A few turns of each, to see that everything runs: the figures say little
    #[arg(long)]
    quick: bool,
    /// Only comparisons whose names begin so; several with commas
    #[arg(long, value_delimiter = ',', value_name = "NAME", value_parser = name_start)]
    only: Vec<String>,
    /// Measure this build, instead of building for this CPU and with link-time optimization first
    #[arg(long)]
    as_built: bool,
}

/// The beginning of at least one comparison's name.
fn name_start(start: &str) -> Result<String, String> {
    let known = compare::NAMES.iter().any(|name| !start.is_empty() && name.starts_with(start));
    if known { Ok(start.to_owned()) } else { Err(format!("the names are {}", compare::NAMES.join(", "))) }
}

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return usage(&error),
    };
    let Command::Compare(arguments) = line.command;
    run(&arguments).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Prints help as it is, and of an error the line that says what is wrong.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print!("{error}");
            return ExitCode::SUCCESS;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => eprintln!("error: a command is missing; try --help"),
        _ => eprintln!("{}", error.to_string().lines().next().unwrap_or_default()),
    }
    ExitCode::from(2)
}

fn run(arguments: &Compare) -> anyhow::Result<ExitCode> {
    // A backend that this CPU cannot run is reported before anything is built.
    tfhe_core::simd::Backend::selected()?;
    if !arguments.as_built {
        return run_fastest(arguments);
    }
    eprintln!("{}", build::description());
    let effort = if arguments.quick { Effort::QUICK } else { Effort::FULL };
    let results = compare::run(effort, &arguments.only, &mut |name| eprintln!("{name}"))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report::to_json(&results))?);
    } else {
        print!("{}", report::to_table(&results));
    }
    Ok(ExitCode::SUCCESS)
}

fn run_fastest(arguments: &Compare) -> anyhow::Result<ExitCode> {
    eprintln!("building for this CPU, with link-time optimization; minutes, the first time");
    let mut passed = vec!["compare", "--as-built"];
    passed.extend(arguments.json.then_some("--json"));
    passed.extend(arguments.quick.then_some("--quick"));
    passed.extend(arguments.only.iter().flat_map(|name| ["--only", name]));
    let status = build::run_fastest(&passed)?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
