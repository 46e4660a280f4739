//! The options of the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use gpt2_fhe_program::LogFormat;

/// The options of a server, whatever it computes.
///
/// Durations are as `90s`, `15m`, `12h`, `7days`; sizes as `500MB` or `64GiB`.
#[derive(Args, Clone, Debug)]
pub struct ServerArguments {
    /// Folder in which keys, texts, requests and answers are kept
    ///
    /// It is made if it is not there. One server at a time can use it.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Address and port to listen at
    ///
    /// Other addresses than those of this computer itself (127.0.0.1, ::1) need --token-file. There is no TLS: put a reverse proxy
    /// that has it in front.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8077")]
    pub listen: SocketAddr,
    /// File with a secret word that everyone who asks must know
    ///
    /// It is asked for as "Authorization: Bearer WORD" everywhere but at /healthz. The file has at least 16 characters, and nobody but
    /// its owner may read it (chmod 600).
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How many requests are computed at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub parallel: u16,
    /// How many requests can wait, of all keys together
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub queue: usize,
    /// How many requests can wait of the same keys
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub queue_per_keys: usize,
    /// How many files of keys are kept
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub most_keys: usize,
    /// How many texts are kept
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub most_texts: usize,
    /// How many requests are known, with those that are answered or have failed
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub most_requests: usize,
    /// How much of the disk is used, for everything together
    #[arg(long, value_name = "SIZE", default_value = "64GiB")]
    pub disk: ByteSize,
    /// How much memory prepared keys may take
    ///
    /// The least recently used ones are dropped, and read again when they are needed. Keys that are in use stay, whatever they take.
    #[arg(long, value_name = "SIZE", default_value = "8GiB")]
    pub key_memory: ByteSize,
    /// How long an answer is kept, if nobody deletes it
    #[arg(long, value_name = "DURATION", default_value = "7days", value_parser = humantime::parse_duration)]
    pub keep_answers: Duration,
    /// How long keys and texts are kept that nobody uses
    #[arg(long, value_name = "DURATION", default_value = "30days", value_parser = humantime::parse_duration)]
    pub keep_idle: Duration,
    /// How long a request may take, waiting included; then it is given up
    #[arg(long, value_name = "DURATION", default_value = "7days", value_parser = humantime::parse_duration)]
    pub request_time: Duration,
    /// How long the server waits for the next bytes of whoever sends, or until whoever receives takes some
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub patience: Duration,
    /// How many bytes a second must come in, on average after the time of --patience
    #[arg(long, value_name = "SIZE", default_value = "16KiB")]
    pub slowest: ByteSize,
    /// How many connections are open at the same time; others wait
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,
    /// How long running requests may go on after Ctrl-C or SIGTERM
    ///
    /// What is not finished then is computed at the next start.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub grace: Duration,
    /// How the log is written, to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Plain)]
    pub log: LogFormat,
}
