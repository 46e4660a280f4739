//! The options of a server whose lookups are computed by workers, too.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, Command, ValueEnum};
use gpt2_fhe_worker::dispatcher::{DispatchError, DispatchOptions, Dispatcher};
use gpt2_fhe_worker::nats::{NatsError, NatsExchange, NatsOptions};

use crate::blocks::BlockEngine;

/// Who computes lookups.
///
/// With --engine, workers (gpt2-fhe-worker) can: they may come and go at any time, and see evaluation keys and ciphertexts, nothing else.
/// Without it, and without workers, the server computes everything itself.
#[derive(Args, Clone, Debug)]
pub struct WorkerArguments {
    #[command(flatten)]
    nats: Option<NatsOptions>,
    /// What lookups the server computes itself
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = OwnLookups::Some, requires = "engine")]
    own_lookups: OwnLookups,
    /// Which share of the workers' results the server computes again, to compare every bit: 1/100, say, or 0.01
    ///
    /// A worker whose result is wrong is not believed any more, and the request ends with an error.
    #[arg(long, value_name = "SHARE", default_value = "0", requires = "engine")]
    verify: Share,
    /// Folder for a record of each request's lookups, as JSON: how long each batch took, and its bytes. `gpt2-fhe plan --record` reads it
    #[arg(long, value_name = "DIR", requires = "engine")]
    records: Option<PathBuf>,
}

/// What a server with workers computes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OwnLookups {
    /// As many as it can, while workers compute others
    Some,
    /// Those that no worker computes in time: for a server on the same machine as its workers
    Late,
}

/// A share, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Share(f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.trim().parse::<f64>().map_err(|_| format!("{text} is no number; a share is 1/100 or 0.01, say"))
        };
        let share = match text.split_once('/') {
            Some((part, whole)) => number(part)? / number(whole)?,
            None => number(text)?,
        };
        // Not a number is not in the range.
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err("a share is from 0 to 1, as 1/100 or 0.01".into())
        }
    }
}

/// Why lookups cannot be handed to workers.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    /// The NATS server cannot be used.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// The system does not give what it takes.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The folder of records cannot be made, or written to.
    #[error("cannot write to the folder {0} of --records: {1}")]
    Records(PathBuf, #[source] std::io::Error),
}

impl WorkerArguments {
    /// A command line with these options, none of which has to be given: whoever needs a NATS server has to say where it is, and a server
    /// does not need one.
    #[must_use]
    pub fn optional(command: Command) -> Command {
        command.mut_arg("engine", |engine| engine.required(false))
    }

    /// An engine that hands lookups to workers, if there may be any; `threads` of this process compute.
    ///
    /// # Errors
    /// [`WorkersError`].
    pub fn engine(&self, engine: BlockEngine, threads: usize) -> Result<BlockEngine, WorkersError> {
        let Some(nats) = &self.nats else { return Ok(engine) };
        if let Some(folder) = &self.records {
            let tried = folder.join(".gpt2-fhe-records");
            // Not after hours.
            let made = std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&tried, b"records"))
                .and_then(|()| std::fs::remove_file(&tried));
            made.map_err(|error| WorkersError::Records(folder.clone(), error))?;
        }
        let run = Dispatcher::random_run()?;
        let options = DispatchOptions {
            sets: engine.set_names(),
            own_threads: threads,
            beside_workers: self.own_lookups == OwnLookups::Some,
            verify: self.verify.0,
            ..DispatchOptions::default()
        };
        let exchange = Arc::new(NatsExchange::connect(nats, run)?);
        Ok(engine.with_workers(Dispatcher::new(exchange, run, options)?, self.records.clone()))
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::{Share, WorkerArguments};

    /// Workers are for who asks for them; what is said of them without that is a mistake.
    #[test]
    fn workers_are_asked_for_by_the_address_alone() {
        #[derive(Parser)]
        struct CommandLine {
            #[command(flatten)]
            workers: WorkerArguments,
        }
        let parsed = |words: &[&str]| {
            let matches = WorkerArguments::optional(CommandLine::command());
            let matches = matches.try_get_matches_from([&["server"], words].concat())?;
            CommandLine::from_arg_matches(&matches)
        };
        assert!(parsed(&[]).unwrap().workers.nats.is_none());
        let engine = ["--engine", "nats://127.0.0.1"];
        assert!(parsed(&engine).unwrap().workers.nats.is_some());
        assert!(parsed(&[&engine[..], &["--verify", "1/100", "--own-lookups", "late"]].concat()).is_ok());
        for alone in [
            ["--verify", "1/100"],
            ["--own-lookups", "late"],
            ["--nats-ca", "file"],
            ["--nats-creds", "file"],
            ["--records", "folder"],
        ] {
            let error = parsed(&alone).err().unwrap().to_string();
            assert!(error.contains("--engine"), "{error}");
        }
    }

    #[test]
    fn shares_are_from_nothing_to_all() {
        for (text, share) in [("1/100", 0.01), ("0.25", 0.25), ("1", 1.0), ("0", 0.0)] {
            assert_eq!(text.parse(), Ok(Share(share)), "{text}");
        }
        for text in ["", "1/0", "0/0", "2", "-1", "NaN", "a/b", "1/"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
