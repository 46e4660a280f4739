//! The command `status`: who computes lookups, and how far requests are.

use gpt2_fhe_worker::nats::status::{table, watch};

use super::arguments::StatusArguments;
use super::output::{print, print_json};
use super::progress::while_showing;
use super::verdict::Verdict;

/// Listens for a while, and prints what was said.
///
/// # Errors
/// If the NATS server cannot be used.
pub(super) fn run(arguments: &StatusArguments) -> anyhow::Result<Verdict> {
    let status = while_showing("listening", || watch(&arguments.nats, arguments.listen))?;
    if arguments.reporting.json {
        print_json(&status)?
    } else {
        print(&table(&status))?
    }
    Ok(Verdict::Right)
}
