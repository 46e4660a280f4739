//! What a worker does: it takes batches, computes them, and sends results, until it is asked to end.

mod shared;
mod slots;
mod taker;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gpt2_fhe_program::Signals;
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::EvaluationKeys;
use tfhe_core::noise::RefreshParameters;
use tfhe_core::rounding::Transforms;
use tfhe_core::sets;
use tfhe_core::simd::{Backend, BackendError};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::shared::{Done, Shared};
use self::slots::Slots;
use self::taker::{Load, Taker};
use super::connection::{Link, NatsError, NatsOptions};
use super::keys::fetch;
use super::names;
use crate::batch::KeyName;
use crate::compute::KeyCache;
use crate::info::{PROTOCOL, WorkerInfo, arithmetic};
use crate::keys::needs;

/// How often a worker says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How much is told of the name of a file of keys.
const KEY_DIGITS: usize = 12;
/// How long it is waited for what is on its way to the NATS server.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// What a worker is told when it starts.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Where batches come from.
    pub nats: NatsOptions,
    /// How many are computed at the same time, each on one core.
    pub threads: usize,
    /// What those who watch are told of the machine.
    pub host: String,
    /// Parameter sets of the batches.
    pub sets: Vec<Parameters>,
    /// The most bytes of memory that prepared keys may take.
    pub key_memory: u64,
    /// After how long keys are dropped that no batch has asked for.
    pub keep_keys: Duration,
    /// How long batches may go on that are being computed when the worker is asked to end.
    pub grace: Duration,
}

/// Why a worker does not start, or has to end.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Of the NATS server.
    #[error(transparent)]
    Connection(#[from] NatsError),
    /// `TFHE_BACKEND` asks for vector instructions that this CPU does not have.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// No keys of a set have room.
    #[error(
        "evaluation keys of {set} take at least {} of memory, and --key-memory allows {}: allow more, or name other sets by --set",
        bytesize::ByteSize(*.bytes),
        bytesize::ByteSize(*.limit)
    )]
    KeyMemory {
        /// The parameter set.
        set: String,
        /// What its keys take at least.
        bytes: u64,
        /// What they may.
        limit: u64,
    },
    /// The system gives no threads, or no signals.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// The parameter sets whose lookups can be done by others: all named ones that can refresh.
pub fn sets_with_lookups() -> Vec<Parameters> {
    let sets = sets::ALL.iter().filter_map(|literal| literal.compile().ok());
    sets.filter(|set| RefreshParameters::new(set, 0, Transforms::ANY).is_ok()).collect()
}

fn names_of(sets: &[Parameters]) -> Vec<String> {
    sets.iter().map(|set| set.name().to_owned()).collect()
}

/// Takes batches and computes them until Ctrl-C or SIGTERM: what is being computed then is finished, everything else given back. It logs.
///
/// # Errors
/// [`WorkerError`].
pub fn run(options: &WorkerOptions) -> Result<(), WorkerError> {
    Backend::selected()?;
    for set in &options.sets {
        let bytes = EvaluationKeys::predicted_bytes(set, &needs(set)).expect("a set has its own bootstrappings") as u64;
        if bytes > options.key_memory {
            let (set, limit) = (set.name().to_owned(), options.key_memory);
            return Err(WorkerError::KeyMemory { set, bytes, limit });
        }
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("nats").enable_all().build()?;
    let ended = run_in(&runtime, options);
    runtime.shutdown_timeout(FLUSH_TIME);
    ended
}

fn run_in(runtime: &Runtime, options: &WorkerOptions) -> Result<(), WorkerError> {
    let mut signals = runtime.block_on(async { Signals::listen() })?;
    let name = new_name();
    let called = format!("gpt2-fhe-worker {name}");
    let link = runtime.block_on(async {
        tokio::select! {
            link = Link::connect(&options.nats, ("worker", &called)) => link.map(Some),
            () = signals.next() => Ok(None),
        }
    })?;
    let Some(link) = link else { return Ok(()) };
    let (store, handle) = (link.clone(), runtime.handle().clone());
    let source = move |name: KeyName| fetch(&store, &handle, name);
    let limit = usize::try_from(options.key_memory).unwrap_or(usize::MAX);
    let keys = Arc::new(KeyCache::new(source, limit, options.keep_keys));
    let slots = Slots::start(options.threads, &name, &keys)?;
    let (stop, stopping) = watch::channel(false);
    let shared = Arc::new(Shared { link, slots, counts: Done::default(), stopping });
    tracing::info!(
        worker = name,
        arithmetic = arithmetic(),
        threads = options.threads,
        "worker {name} takes batches of arithmetic {} with {} threads",
        arithmetic(),
        options.threads
    );
    runtime.block_on(async {
        let mut takers = JoinSet::new();
        let load = Arc::new(watch::Sender::new(Load::new(options.threads, options.sets.len())));
        for (i, set) in options.sets.iter().enumerate() {
            let consumer = names::work_consumer(&arithmetic(), &set.fingerprint());
            let taker = Arc::new(Taker::new(shared.clone(), (load.clone(), i), consumer));
            (0..=options.threads).for_each(|_| drop(takers.spawn(taker.clone().run())));
        }
        let told = tokio::spawn(tell(shared.clone(), keys, (name, options.host.clone(), names_of(&options.sets))));
        let failure = tokio::select! {
            () = signals.next() => None,
            Some(Ok(Err(failure))) = takers.join_next() => Some(failure),
        };
        tracing::info!("ending: what is being computed has {:?}, a second signal ends it", options.grace);
        stop.send_replace(true);
        let finished = async { while takers.join_next().await.is_some() {} };
        tokio::select! {
            _ = timeout(options.grace, finished) => {}
            () = signals.next() => {}
        }
        // What is still here comes back to the stream by itself.
        drop(takers);
        told.abort();
        let _ = timeout(FLUSH_TIME, shared.link.client.flush()).await;
        tracing::info!("ended");
        failure.map_or(Ok(()), |failure| Err(failure.into()))
    })
}

/// Told workers apart by nothing but chance.
fn new_name() -> String {
    let mut bytes = [0; 8];
    // Without randomness of the system, the time and the process are still not those of another one.
    if getrandom::fill(&mut bytes).is_err() {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos() as u64;
        bytes = (since ^ (u64::from(std::process::id()) << 40)).to_be_bytes();
    }
    format!("{:016x}", u64::from_be_bytes(bytes))
}

/// Says what the worker does, and drops keys that nobody needs.
async fn tell(shared: Arc<Shared>, keys: Arc<KeyCache>, (worker, host, sets): (String, String, Vec<String>)) {
    let mut ticks = interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        keys.drop_unused(Instant::now());
        let counts = &shared.counts;
        let info = WorkerInfo {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            worker: worker.clone(),
            host: host.clone(),
            arithmetic: arithmetic(),
            sets: sets.clone(),
            threads: shared.slots.threads() as u32,
            busy: shared.slots.busy() as u32,
            batches: counts.batches.load(Ordering::Relaxed),
            rotations: counts.rotations.load(Ordering::Relaxed),
            seconds: counts.microseconds.load(Ordering::Relaxed) as f64 / 1e6,
            refused: counts.refused.load(Ordering::Relaxed),
            keys: keys.names().iter().map(|name| name.to_string().chars().take(KEY_DIGITS).collect()).collect(),
        };
        if shared.link.state.borrow().is_connected
            && let Ok(bytes) = serde_json::to_vec(&info)
        {
            let _ = shared.link.client.publish(names::WORKER_SUBJECT, bytes.into()).await;
        }
    }
}
