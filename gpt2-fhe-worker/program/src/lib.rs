//! What programs that run for long have in common: how they log, and what asks them to end.
//!
//! A package of its own, so that the features of `gpt2-fhe-worker` are the same for a client, which has no log, and beside a server.
#![deny(unsafe_code)]

use std::io;

use clap::ValueEnum;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry};

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines to read
    Plain,
    /// A JSON object a line
    Json,
}

/// Logs to standard error from now on; of other libraries only what is wrong. Whoever has a log already keeps it.
pub fn start_log(format: LogFormat) {
    let wanted = Targets::new().with_default(Level::INFO).with_target("async_nats", Level::WARN);
    let log = fmt::layer().with_writer(io::stderr).with_target(false);
    let _ = match format {
        LogFormat::Plain => registry().with(log.with_ansi(false).with_filter(wanted)).try_init(),
        LogFormat::Json => registry().with(log.json().flatten_event(true).with_filter(wanted)).try_init(),
    };
}

/// What asks the process to end: Ctrl-C, or SIGTERM.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Takes note of them from now on. To be called within a runtime of tokio.
    ///
    /// # Errors
    /// If the system gives no signals.
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    /// Takes note of them from now on.
    ///
    /// # Errors
    /// None.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
