//! The arguments of `audit`.

use std::path::PathBuf;

use clap::Args;

use super::{Replacing, Reporting, Resources};

/// The arguments of `audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArguments {
    /// Only this parameter set; can be given several times [default: all named sets]
    ///
    /// Keys, noise and randomness are looked at set by set. What is said of circuits, transforms, memory and messages does not depend on it.
    #[arg(long, value_name = "NAME")]
    pub(crate) set: Vec<String>,
    /// Half a minute instead of minutes: noise of the set packed_block alone (or of the sets that --set names), fewer samples, fewer circuits
    #[arg(long)]
    pub(crate) quick: bool,
    /// File to write a page to, for a browser: all claims and figures, and measured noise as pictures
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) resources: Resources,
    #[command(flatten)]
    pub(crate) replacing: Replacing,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}
