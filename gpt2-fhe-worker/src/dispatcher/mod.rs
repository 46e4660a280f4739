//! Hands out batches, and sees to it that all of them are computed.
//!
//! A [`Session`] is one request's: it gives blind rotations to workers, as many as they can be expected to compute, and the rest to
//! this process's own threads. Nothing depends on a worker:
//!
//! | what happens | what is done |
//! |---|---|
//! | a batch takes too long: its worker died, froze, or was never there | it is computed here, or by whoever is first |
//! | a result comes twice, or late | the first counts |
//! | a result is damaged, or not of its batch | it is dropped, and the batch computed here |
//! | a worker refuses a batch | it is computed here |
//! | the exchange cannot be reached | everything is computed here, until it can |
//! | a result is wrong, which only [`Options::verify`] finds | the worker is not believed any more, and the request ends |
//!
//! So a call ends, and what it returns has the bits that this process would have computed, whoever did.

mod board;
mod call;
mod inbox;
mod session;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use self::board::Board;
use self::inbox::{Inbox, Message};
pub use self::session::{KeyFile, Session, WriteKeys};
use crate::batch::{BatchId, BatchResult, KeyName};
use crate::exchange::{Event, Exchange};
use crate::info::{Counts, PROTOCOL, RequestInfo, ServerInfo, arithmetic};

/// How long the listener waits for an event before it looks at the clock.
const PATIENCE: Duration = Duration::from_millis(200);

/// How often the server tells of itself.
const TELL: Duration = Duration::from_secs(1);

/// How long keys are not offered again after that failed.
const OFFER_AGAIN: Duration = Duration::from_secs(30);

/// How a dispatcher shares the work.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many threads of this process compute lookups.
    pub own_threads: usize,
    /// Whether they do that beside workers, or only what workers do not.
    pub beside_workers: bool,
    /// Which share of results is computed again, and compared: 0 to 1.
    pub verify: f64,
    /// The least time after which a batch is taken to be lost.
    pub overdue: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let own_threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { own_threads, beside_workers: true, verify: 0.0, overdue: Duration::from_secs(2) }
    }
}

/// Hands out batches of all requests of a server.
#[derive(Debug)]
pub struct Dispatcher {
    shared: Arc<Shared>,
    /// One core each.
    pools: Vec<rayon::ThreadPool>,
}

/// What sessions and the listener share.
struct Shared {
    exchange: Arc<dyn Exchange>,
    options: Options,
    run: [u8; 16],
    arithmetic: String,
    next_number: AtomicU64,
    /// How many calls there are.
    calls: AtomicUsize,
    connected: AtomicBool,
    board: Mutex<Board>,
    /// Where results of batches go.
    inboxes: Mutex<HashMap<u64, Weak<Inbox>>>,
    counts: Mutex<Counts>,
    /// Keys that are where workers find them, or are on their way, or could not be brought there.
    offered: Mutex<HashMap<KeyName, Offer>>,
    /// Requests that are being computed.
    requests: Mutex<HashMap<u64, RequestInfo>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

/// How far keys are on their way to workers.
#[derive(Clone, Copy, Debug)]
enum Offer {
    Underway,
    There,
    Failed(Instant),
}

/// What a mutex holds: nothing that is written under one is left half-done by a panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// That a dispatcher could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// There is no randomness to choose a run's name from.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// A thread cannot be started.
    #[error("a thread cannot be started: {0}")]
    Thread(String),
}

impl Dispatcher {
    /// Over an exchange.
    ///
    /// # Errors
    /// [`DispatchError`].
    pub fn new(exchange: Arc<dyn Exchange>, run: [u8; 16], options: Options) -> Result<Self, DispatchError> {
        let one = |_| rayon::ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "lookups".into()).build();
        let pools = (0..options.own_threads.max(1)).map(one).collect::<Result<Vec<_>, _>>();
        let pools = pools.map_err(|error| DispatchError::Thread(error.to_string()))?;
        let shared = Arc::new(Shared {
            exchange,
            options,
            run,
            arithmetic: arithmetic(),
            next_number: AtomicU64::new(0),
            calls: AtomicUsize::new(0),
            connected: AtomicBool::new(true),
            board: Mutex::default(),
            inboxes: Mutex::default(),
            counts: Mutex::default(),
            offered: Mutex::default(),
            requests: Mutex::default(),
        });
        let listened = Arc::downgrade(&shared);
        let listener = std::thread::Builder::new().name("exchange".into()).spawn(move || listen(&listened));
        listener.map_err(|error| DispatchError::Thread(error.to_string()))?;
        Ok(Self { shared, pools })
    }

    /// A name for a run, at random.
    ///
    /// # Errors
    /// [`DispatchError::Random`].
    pub fn random_run() -> Result<[u8; 16], DispatchError> {
        let mut run = [0; 16];
        getrandom::fill(&mut run).map_err(DispatchError::Random)?;
        Ok(run)
    }

    /// What has been counted.
    pub fn counts(&self) -> Counts {
        *locked(&self.shared.counts)
    }

    /// How many threads of workers there are that can be given batches.
    pub fn worker_threads(&self) -> usize {
        self.shared.worker_threads()
    }

    /// How many threads compute, of workers and of this process.
    fn threads(&self) -> usize {
        self.worker_threads() + self.own_threads()
    }

    /// How many of this process compute, as long as workers are in time.
    fn own_threads(&self) -> usize {
        if self.shared.options.beside_workers || self.worker_threads() == 0 { self.pools.len() } else { 0 }
    }

    /// Whether the exchange can be reached, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.shared.connected.load(Ordering::Relaxed)
    }
}

/// Takes what comes until nobody holds the dispatcher any more.
fn listen(shared: &Weak<Shared>) {
    let mut told = None::<Instant>;
    while let Some(shared) = shared.upgrade() {
        if let Some(event) = shared.exchange.next(PATIENCE) {
            shared.take(event);
        }
        if told.is_none_or(|told| told.elapsed() >= TELL) {
            told = Some(Instant::now());
            shared.exchange.tell(&shared.info());
        }
    }
}

impl Shared {
    fn take(&self, event: Event) {
        match event {
            Event::Worker(info) => {
                let name = info.worker.clone();
                if locked(&self.board).seen(info, &self.arithmetic) {
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

    /// Hands a result to whoever waits for it.
    fn deliver(&self, bytes: Vec<u8>) {
        self.count(|counts| counts.bytes_in += bytes.len() as u64);
        let Some(id) = BatchResult::peek(&bytes) else {
            tracing::warn!("a result is shorter than one can be");
            self.count(|counts| counts.damaged += 1);
            return;
        };
        let is_own = id.run == self.run;
        let inbox = if is_own { locked(&self.inboxes).get(&id.number).and_then(Weak::upgrade) } else { None };
        match inbox {
            Some(inbox) => inbox.put(Message::Result(id.number, bytes)),
            None => locked(&self.counts).late += 1,
        }
    }

    fn worker_threads(&self) -> usize {
        if self.connected.load(Ordering::Relaxed) { locked(&self.board).threads() } else { 0 }
    }

    fn new_id(&self) -> BatchId {
        BatchId { run: self.run, number: self.next_number.fetch_add(1, Ordering::Relaxed) }
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut locked(&self.counts));
    }

    fn info(&self) -> ServerInfo {
        ServerInfo {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").into(),
            run: format!("{:032x}", u128::from_be_bytes(self.run)),
            host: crate::info::host(),
            arithmetic: self.arithmetic.clone(),
            requests: locked(&self.requests).values().cloned().collect(),
            counts: *locked(&self.counts),
        }
    }

    /// Whether workers can find the keys; if not, they are brought there, meanwhile.
    fn has_keys(self: &Arc<Self>, file: &Arc<KeyFile>) -> bool {
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

/// Names of workers whose results were wrong.
type Distrusted = HashSet<String>;
