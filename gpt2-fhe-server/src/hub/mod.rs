//! Everything that is kept, and what is done with it.
//!
//! One lock guards what is known ([`state`]); files are renamed and removed while it is held, so that folder and memory agree. Bytes come
//! in, and answers are computed, without it.

mod incoming;
mod keep;
mod keys;
mod requests;
mod restore;
pub(crate) mod state;
mod texts;
mod worker;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::arguments::ServerArguments;
use crate::engine::EngineCount;
use crate::folder::DataFolder;
use crate::keyring::Machine;
use crate::metrics::{Levels, Metrics};
use crate::tracker::Stop;
use state::State;

pub(crate) use incoming::Incoming;
pub(crate) use requests::Target;

/// The server without its connections.
pub(crate) struct Hub {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) arguments: ServerArguments,
    pub(crate) metrics: Metrics,
    /// Connections that are open.
    pub(crate) connections: AtomicUsize,
    folder: DataFolder,
    state: Mutex<State>,
    /// Of the next file that comes in.
    incoming: AtomicU64,
    /// There may be work, or the server is stopping.
    work: Condvar,
    /// Some request has come, begun or ended.
    changed: watch::Sender<()>,
}

impl Hub {
    fn new(machine: Arc<dyn Machine>, arguments: ServerArguments, folder: DataFolder, state: State) -> Self {
        Self {
            machine,
            arguments,
            metrics: Metrics::default(),
            connections: AtomicUsize::new(0),
            folder,
            state: Mutex::new(state),
            incoming: AtomicU64::new(0),
            work: Condvar::new(),
            changed: watch::Sender::new(()),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is told whenever a request has come, begun or ended.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Something has changed that workers, or those who look on, wait for.
    fn announce(&self) {
        self.work.notify_all();
        self.changed.send_replace(());
    }

    /// From now on nothing is accepted or begun.
    pub(crate) fn stop(&self) {
        self.state().is_stopping = true;
        self.announce();
    }

    /// What is being computed stops, and is left to the next start.
    pub(crate) fn leave(&self) {
        let state = self.state();
        let running = state.requests.values().filter(|entry| entry.running.is_some());
        running.for_each(|entry| entry.tracker.ask(Stop::Left));
    }

    /// Waits until nothing is being computed.
    pub(crate) async fn idle(&self) {
        let mut changed = self.watch();
        while self.state().running > 0 {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// What the engine has counted.
    pub(crate) fn engine_counts(&self) -> Vec<EngineCount> {
        self.machine.counts()
    }

    /// What there is at the moment.
    pub(crate) fn levels(&self) -> Levels {
        let (keys_in_memory, key_memory) = self.machine.memory();
        let state = self.state();
        Levels {
            queued: state.queue.len(),
            running: state.running,
            keys: state.keys.len(),
            key_bytes: state.keys.values().map(|entry| entry.bytes).sum(),
            keys_in_memory,
            key_memory,
            texts: state.texts.len(),
            disk: state.disk,
            connections: self.connections.load(Ordering::Relaxed),
        }
    }
}
