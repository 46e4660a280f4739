//! What sessions and whoever listens to the exchange share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::board::Board;
use super::inbox::{Awaited, Message};
use super::key_file::KeyFile;
use super::lock::locked;
use crate::batch::{BatchId, BatchResult, KeyName};
use crate::exchange::{Event, Exchange};
use crate::info::{Counts, PROTOCOL, RequestInfo, ServerInfo};

/// How long keys are not offered again after that failed.
const OFFER_AGAIN: Duration = Duration::from_secs(30);

/// How a dispatcher shares the work.
#[derive(Clone, Debug)]
pub struct DispatchOptions {
    /// The names of the parameter sets of batches: workers that have none of them get none. If there are none, any may be.
    pub sets: Vec<String>,
    /// How many threads of this process compute lookups.
    pub own_threads: usize,
    /// Whether they do that beside workers, or only what workers do not.
    pub beside_workers: bool,
    /// Which share of results is computed again, and compared: 0 to 1.
    pub verify: f64,
    /// The least time after which a batch is taken to be lost.
    pub overdue: Duration,
}

impl Default for DispatchOptions {
    fn default() -> Self {
        let own_threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { sets: Vec::new(), own_threads, beside_workers: true, verify: 0.0, overdue: Duration::from_secs(2) }
    }
}

/// What sessions and the listener share.
pub(super) struct Shared {
    pub(super) exchange: Arc<dyn Exchange>,
    pub(super) options: DispatchOptions,
    pub(super) run: [u8; 16],
    pub(super) arithmetic: String,
    pub(super) next_number: AtomicU64,
    /// How many calls there are.
    pub(super) calls: AtomicUsize,
    pub(super) connected: AtomicBool,
    pub(super) board: Mutex<Board>,
    /// Results that somebody waits for, by the number of their batch.
    pub(super) awaited: Mutex<HashMap<u64, Awaited>>,
    /// Who writes batches and reads results.
    pub(super) messages: rayon::ThreadPool,
    pub(super) counts: Mutex<Counts>,
    /// Keys that are where workers find them, or are on their way, or could not be brought there.
    pub(super) offered: Mutex<HashMap<KeyName, Offer>>,
    /// Requests that are being computed.
    pub(super) requests: Mutex<HashMap<u64, RequestInfo>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

/// How far keys are on their way to workers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offer {
    Underway,
    There,
    Failed(Instant),
}

impl Shared {
    pub(super) fn take(&self, event: Event) {
        match event {
            Event::Worker(info) => {
                let name = info.worker.clone();
                if locked(&self.board).seen(info, &self.arithmetic, &self.options.sets) {
                    tracing::info!(worker = name, "a worker is there");
                }
            }
            Event::Result(bytes) => self.deliver(bytes),
            Event::Disconnected(why) => {
                if self.connected.swap(false, Ordering::Relaxed) {
                    tracing::warn!("the exchange cannot be reached: {why}; all lookups are computed here until it can");
                    locked(&self.counts).disconnected += 1;
                }
            }
            Event::Connected => {
                if !self.connected.swap(true, Ordering::Relaxed) {
                    tracing::info!("the exchange can be reached again");
                }
                // Whether they are still there is asked again.
                locked(&self.offered).retain(|_, offer| matches!(offer, Offer::Underway));
            }
        }
    }

    /// Hands a result to whoever waits for it, when it is read.
    pub(super) fn deliver(&self, bytes: Vec<u8>) {
        self.count(|counts| counts.bytes_in += bytes.len() as u64);
        let Some(id) = BatchResult::peek(&bytes) else {
            tracing::warn!("a result is shorter than one can be");
            self.count(|counts| counts.damaged += 1);
            return;
        };
        let awaited = if id.run == self.run { locked(&self.awaited).get(&id.number).cloned() } else { None };
        let Some((inbox, expected)) = awaited.and_then(|it| Some((it.inbox.upgrade()?, it.expected))) else {
            locked(&self.counts).late += 1;
            return;
        };
        self.messages.spawn(move || {
            let read = Box::new(BatchResult::decode(&bytes, |_, _| Some(expected)));
            inbox.put(Message::Result { number: id.number, bytes: bytes.len() as u64, read });
        });
    }

    pub(super) fn worker_threads(&self) -> usize {
        if self.connected.load(Ordering::Relaxed) { locked(&self.board).threads() } else { 0 }
    }

    pub(super) fn new_id(&self) -> BatchId {
        BatchId { run: self.run, number: self.next_number.fetch_add(1, Ordering::Relaxed) }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut locked(&self.counts));
    }

    pub(super) fn info(&self) -> ServerInfo {
        ServerInfo {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").into(),
            run: format!("{:032x}", u128::from_be_bytes(self.run)),
            host: crate::info::host(),
            arithmetic: self.arithmetic.clone(),
            sets: self.options.sets.clone(),
            requests: locked(&self.requests).values().cloned().collect(),
            counts: *locked(&self.counts),
        }
    }

    /// Whether workers can find the keys; if not, they are brought there, meanwhile.
    pub(super) fn has_keys(self: &Arc<Self>, file: &Arc<KeyFile>) -> bool {
        let mut offered = locked(&self.offered);
        match offered.get(&file.name) {
            Some(Offer::There) => return true,
            Some(Offer::Underway) => return false,
            Some(Offer::Failed(when)) if when.elapsed() < OFFER_AGAIN => return false,
            _ => {}
        }
        offered.insert(file.name, Offer::Underway);
        drop(offered);
        let (shared, file) = (self.clone(), file.clone());
        let bring = move || {
            let offer = match shared.exchange.offer_keys(file.name, &mut |output| (file.write)(output)) {
                Ok(()) => Offer::There,
                Err(error) => {
                    tracing::warn!("keys cannot be brought to workers, lookups are computed here: {error}");
                    Offer::Failed(Instant::now())
                }
            };
            locked(&shared.offered).insert(file.name, offer);
        };
        if let Err(error) = std::thread::Builder::new().name("keys".into()).spawn(bring) {
            tracing::warn!("keys cannot be brought to workers: {error}");
        }
        false
    }
}
