//! What carries batches to workers and results back.

#[cfg(test)]
pub mod memory;

use std::io::{self, Write};
use std::time::Duration;

use crate::batch::{BatchId, KeyName};
use crate::info::{ServerInfo, WorkerInfo};

/// A way to workers, as a server sees it. Whatever it loses or says twice, the [`dispatcher`](crate::dispatcher) makes up for; no call
/// waits for longer than a few seconds.
pub trait Exchange: Send + Sync {
    /// Puts a batch, as bytes, where a worker will find it.
    ///
    /// # Errors
    /// If it cannot be known that it is there.
    fn publish(&self, id: BatchId, bytes: Vec<u8>) -> Result<(), ExchangeError>;

    /// Takes back whatever is left of all batches of this server, as far as nobody has them yet: when a request ends early.
    fn withdraw(&self);

    /// The next event, if there is one within `patience`.
    fn next(&self, patience: Duration) -> Option<Event>;

    /// The most bytes that a batch or a result can have.
    fn message_limit(&self) -> usize;

    /// Puts evaluation keys where workers will find them, if they are not there. `write` writes their bytes.
    ///
    /// # Errors
    /// If it cannot be known that they are there.
    fn offer_keys(
        &self,
        name: KeyName,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ExchangeError>;

    /// Tells whoever watches.
    fn tell(&self, info: &ServerInfo);
}

/// An exchange where nobody is: whoever hands out batches computes all of them.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Exchange for Nobody {
    fn publish(&self, _: BatchId, _: Vec<u8>) -> Result<(), ExchangeError> {
        Err(ExchangeError("nobody is there".to_owned()))
    }

    fn withdraw(&self) {}

    fn next(&self, patience: Duration) -> Option<Event> {
        std::thread::sleep(patience);
        None
    }

    fn message_limit(&self) -> usize {
        usize::MAX
    }

    fn offer_keys(&self, _: KeyName, _: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Result<(), ExchangeError> {
        Ok(())
    }

    fn tell(&self, _: &ServerInfo) {}
}

/// What comes from an exchange.
#[derive(Clone, Debug)]
pub enum Event {
    /// A result, as bytes.
    Result(Vec<u8>),
    /// A worker is there.
    Worker(WorkerInfo),
    /// The exchange cannot be reached: why.
    Disconnected(String),
    /// It can be reached again. Whatever was there may be lost.
    Connected,
}

/// Why something did not reach an exchange.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExchangeError(pub String);
