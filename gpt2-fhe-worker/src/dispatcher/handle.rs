//! The dispatcher of a server.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::lock::locked;
use super::shared::{DispatchOptions, Shared};
use crate::exchange::{Exchange, Nobody};
use crate::info::{Counts, arithmetic};

/// How long the listener waits for an event before it looks at the clock.
const PATIENCE: Duration = Duration::from_millis(200);

/// How many threads write batches and read results, at least: most of their time they wait until the exchange has a batch.
const MESSAGE_THREADS: usize = 8;

/// How often the server tells of itself.
const TELL: Duration = Duration::from_secs(1);

/// Hands out batches of all requests of a server.
#[derive(Debug)]
pub struct Dispatcher {
    pub(super) shared: Arc<Shared>,
    /// One core each.
    pub(super) pools: Vec<rayon::ThreadPool>,
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
    pub fn new(exchange: Arc<dyn Exchange>, run: [u8; 16], options: DispatchOptions) -> Result<Self, DispatchError> {
        let one = |_| rayon::ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "lookups".into()).build();
        let pools = (0..options.own_threads.max(1)).map(one).collect::<Result<Vec<_>, _>>();
        let pools = pools.map_err(|error| DispatchError::Thread(error.to_string()))?;
        let messages = rayon::ThreadPoolBuilder::new().num_threads(MESSAGE_THREADS.max(pools.len()));
        let messages = messages.thread_name(|_| "messages".into()).build();
        let messages = messages.map_err(|error| DispatchError::Thread(error.to_string()))?;
        let shared = Arc::new(Shared {
            exchange,
            options,
            run,
            arithmetic: arithmetic(),
            next_number: AtomicU64::new(0),
            calls: AtomicUsize::new(0),
            connected: AtomicBool::new(true),
            board: Mutex::default(),
            awaited: Mutex::default(),
            messages,
            counts: Mutex::default(),
            offered: Mutex::default(),
            requests: Mutex::default(),
        });
        let listened = Arc::downgrade(&shared);
        let listener = std::thread::Builder::new().name("exchange".into()).spawn(move || listen(&listened));
        listener.map_err(|error| DispatchError::Thread(error.to_string()))?;
        Ok(Self { shared, pools })
    }

    /// With nobody but this process: to cut calls into batches, and record them, as with workers.
    ///
    /// # Errors
    /// [`DispatchError`].
    pub fn alone(own_threads: usize) -> Result<Self, DispatchError> {
        let options = DispatchOptions { own_threads, ..DispatchOptions::default() };
        Self::new(Arc::new(Nobody), Self::random_run()?, options)
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
    pub(super) fn threads(&self) -> usize {
        self.worker_threads() + self.own_threads()
    }

    /// How many of this process compute, as long as workers are in time.
    pub(super) fn own_threads(&self) -> usize {
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
