//! The arguments of `explain`.

use std::path::PathBuf;

use clap::Args;

use super::{Replacing, Reporting};

/// Without `--seed`: the small key of most lessons has as many ones as zeros, not all of them together.
const SEED: u64 = 7;

/// The arguments of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The lesson, or "all" [default: says which there are]
    ///
    /// encryption, decomposition, external-product, cmux, blind-rotation, sample-extraction, key-switch, lookup, head.
    #[arg(value_name = "LESSON")]
    pub(crate) lesson: Option<String>,
    /// Instead of a lesson: the file of a run, which `head --trace FILE` wrote
    ///
    /// Each step of the circuit with what the owner of the key would decrypt there, the noise, and how much more it could bear.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lesson", "seed", "pictures"])]
    pub(crate) of: Option<PathBuf>,
    /// Print all steps at once; on a terminal they come one by one otherwise: Enter goes on, b and Enter back, q and Enter ends
    #[arg(long)]
    pub(crate) all_at_once: bool,
    /// File to write a page to, for a browser: the lesson, all of them, or the run, with pictures and steps back and forth
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Folder to write each picture of the lesson, or of all of them, to, as NAME.svg
    #[arg(long, value_name = "DIR")]
    pub(crate) pictures: Option<PathBuf>,
    /// Number that keys, masks and noise are computed from: another number, other numbers in the lessons
    ///
    /// There is nothing secret in a lesson: its keys are so small that everybody can find them, and are printed.
    #[arg(long, default_value_t = SEED)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) replacing: Replacing,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}
