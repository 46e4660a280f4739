//! The arguments of `status`.

use std::time::Duration;

use clap::Args;
use gpt2_fhe_worker::nats::NatsOptions;

use super::Reporting;

/// The arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    pub(crate) nats: NatsOptions,
    /// How long to listen: servers and workers say every second what they do
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    pub(crate) listen: Duration,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}
