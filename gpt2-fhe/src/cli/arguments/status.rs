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
    /// How long to listen, from 2s on: servers and workers say every second what they do
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = listening_time)]
    pub(crate) listen: Duration,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

/// Who is not listened to for as long is not heard.
fn listening_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; it is written as 3s or 1m"))?;
    if (Duration::from_secs(2)..=Duration::from_secs(24 * 3600)).contains(&time) {
        Ok(time)
    } else {
        Err("from 2s to 24h are possible".to_owned())
    }
}
