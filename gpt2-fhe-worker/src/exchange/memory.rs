//! An exchange in the memory of one process, with workers that fail on demand: for tests of whoever hands out batches.
//!
//! It is one server's. It does what the ones between machines do: a batch is given to one worker, and to another one if the first has not said
//! within some time that it is done ([`MemoryExchange::with_patience`]); results come in any order, and may come twice. Its workers are threads that compute as
//! those of other machines do, from bytes to bytes. What goes wrong is said before ([`Fault`]), for each batch that a worker takes, so a test
//! is the same each time.

mod state;
#[cfg(test)]
mod tests;
mod worker;

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use self::state::Fault;
use self::state::{Shared, State, Work};
use self::worker::MemoryWorker;
use super::{Event, Exchange, ExchangeError};
use crate::batch::{BatchId, KeyName};
use crate::info::ServerInfo;

/// An exchange in memory. Its workers end when it is dropped.
pub struct MemoryExchange {
    shared: Arc<Shared>,
    message_limit: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for MemoryExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryExchange").field("message_limit", &self.message_limit).finish_non_exhaustive()
    }
}

impl Default for MemoryExchange {
    fn default() -> Self {
        Self::with_patience(Duration::from_secs(10))
    }
}

/// How many times a batch is given to a worker at most.
const DELIVERIES: usize = 3;

impl MemoryExchange {
    /// An exchange without workers, where a batch is given to another worker if one has not said within `patience` that it is done.
    pub fn with_patience(patience: Duration) -> Self {
        Self { shared: Arc::new(Shared::new(patience)), message_limit: 1 << 20, threads: Mutex::default() }
    }

    /// The same with messages of at most `limit` bytes.
    #[must_use]
    pub fn with_message_limit(mut self, limit: usize) -> Self {
        self.message_limit = limit;
        self
    }

    /// Adds a worker with this name, of one thread. What it does with the batches that it takes is what `faults` says, one after the other;
    /// then it computes all of them.
    pub fn add_worker(&self, name: &str, faults: impl IntoIterator<Item = Fault>) {
        let worker = MemoryWorker::new(name, Arc::clone(&self.shared), faults.into_iter().collect());
        let thread = std::thread::spawn(move || worker.run());
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    /// Breaks the connection: nothing can be published, and nothing comes. Workers go on with what they have.
    pub fn disconnect(&self) {
        self.shared.change(|state| {
            state.connected = false;
            state.events.push_back(Event::Disconnected("the connection was broken by the test".to_owned()));
        });
    }

    /// Makes it whole.
    pub fn connect(&self) {
        self.shared.change(|state| {
            state.connected = true;
            state.events.push_back(Event::Connected);
        });
    }

    /// Forgets batches, results and keys, as a broker that is started anew without its disk. Workers that compute still answer.
    pub fn lose_everything(&self) {
        self.shared.change(|state| {
            state.waiting.clear();
            state.given.clear();
            state.events.clear();
            state.keys.clear();
            state.events.push_back(Event::Disconnected("the exchange was started anew by the test".to_owned()));
            state.events.push_back(Event::Connected);
        });
    }

    /// Lets one worker that stands still because of [`Fault::Hold`] go on: the one that does so now, or else the next one.
    pub fn release(&self) {
        self.shared.change(|state| state.released += 1);
    }

    /// How many batches wait for a worker.
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting.len()
    }

    /// How many batches workers have taken and have not said to be done.
    pub fn given(&self) -> usize {
        self.shared.lock().given.len()
    }

    /// How many times keys were put here: those that were there are not.
    pub fn offers(&self) -> usize {
        self.shared.lock().offers
    }

    /// What the server has said of itself.
    pub fn told(&self) -> Vec<ServerInfo> {
        self.shared.lock().told.clone()
    }
}

fn not_connected() -> ExchangeError {
    ExchangeError("the exchange cannot be reached".to_owned())
}

impl Exchange for MemoryExchange {
    fn publish(&self, id: BatchId, bytes: Vec<u8>) -> Result<(), ExchangeError> {
        let (size, limit) = (bytes.len(), self.message_limit);
        if size > limit {
            return Err(ExchangeError(format!("a batch has {size} bytes, and {limit} are possible")));
        }
        let work = Work { id, bytes: bytes.into(), deliveries: DELIVERIES };
        self.shared.change(|state| {
            if !state.connected {
                return Err(not_connected());
            }
            state.waiting.push_back(work);
            Ok(())
        })
    }

    fn withdraw(&self) {
        self.shared.change(|state| {
            if state.connected {
                state.waiting.clear();
            }
        });
    }

    fn next(&self, patience: Duration) -> Option<Event> {
        let until = Instant::now() + patience;
        let mut state = self.shared.lock();
        loop {
            let event = state.event();
            if event.is_some() || Instant::now() >= until {
                return event;
            }
            state = self.shared.wait(state, until);
        }
    }

    fn message_limit(&self) -> usize {
        self.message_limit
    }

    fn offer_keys(
        &self,
        name: KeyName,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ExchangeError> {
        let is_there = |state: &State| {
            if state.connected { Ok(state.keys.contains_key(&name)) } else { Err(not_connected()) }
        };
        if is_there(&self.shared.lock())? {
            return Ok(());
        }
        let mut bytes = Vec::new();
        write(&mut bytes).map_err(|error| ExchangeError(error.to_string()))?;
        self.shared.change(|state| {
            is_there(state)?;
            state.keys.insert(name, bytes.into());
            state.offers += 1;
            Ok(())
        })
    }

    fn tell(&self, info: &ServerInfo) {
        self.shared.change(|state| {
            if state.connected {
                state.told.push(info.clone());
            }
        });
    }
}

impl Drop for MemoryExchange {
    fn drop(&mut self) {
        self.shared.change(|state| state.closed = true);
        let threads = std::mem::take(self.threads.get_mut().unwrap_or_else(PoisonError::into_inner));
        // One that has panicked has printed why.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}
