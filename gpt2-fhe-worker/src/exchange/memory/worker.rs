//! A worker of an exchange in memory.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::state::{Fault, Shared, State, Work};
use crate::batch::{Batch, BatchId, BatchResult};
use crate::compute::{KeyCache, KeyStream, Slot};
use crate::exchange::Event;
use crate::info::{PROTOCOL, WorkerInfo, arithmetic};

/// How often a worker says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long keys that nobody uses are kept.
const IDLE: Duration = Duration::from_secs(600);

/// One thread that computes batches.
pub(super) struct MemoryWorker {
    info: WorkerInfo,
    shared: Arc<Shared>,
    faults: VecDeque<Fault>,
    keys: Arc<KeyCache>,
}

impl MemoryWorker {
    pub(super) fn new(name: &str, shared: Arc<Shared>, faults: VecDeque<Fault>) -> Self {
        let files = Arc::clone(&shared);
        let source = move |name| {
            let state = files.lock();
            if !state.connected {
                return Err(io::ErrorKind::NotConnected.into());
            }
            let file = state.keys.get(&name).cloned().ok_or(io::ErrorKind::NotFound)?;
            Ok(KeyStream { bytes: file.len() as u64, input: Box::new(io::Cursor::new(file)) })
        };
        let info = WorkerInfo {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            worker: name.to_owned(),
            host: "memory".to_owned(),
            arithmetic: arithmetic(),
            threads: 1,
            ..WorkerInfo::default()
        };
        Self { info, shared, faults, keys: Arc::new(KeyCache::new(source, usize::MAX, IDLE)) }
    }

    /// Until the exchange is dropped, or the worker dies.
    pub(super) fn run(mut self) {
        let slot = match Slot::new(&self.info.worker, Arc::clone(&self.keys)) {
            Ok(slot) => slot,
            Err(error) => return tracing::error!("a worker has no thread: {error}"),
        };
        while let Some(work) = self.take() {
            let fault = self.faults.pop_front().unwrap_or(Fault::None);
            if fault == Fault::Die || !self.stand_still(&fault) {
                return;
            }
            match self.results(&slot, &work.bytes, fault) {
                Ok(results) => self.answer(work.id, results),
                Err(error) => tracing::warn!("a batch is left alone: {error}"),
            }
            self.info.busy = 0;
        }
    }

    /// What whoever watches is told.
    fn say(&mut self, state: &mut State) {
        self.info.keys = self.keys.names().iter().map(|name| name.to_string()[..8].to_owned()).collect();
        state.workers.retain(|(info, _)| info.worker != self.info.worker);
        state.workers.push((self.info.clone(), false));
    }

    /// The next batch, or nothing if there will be none.
    fn take(&mut self) -> Option<Work> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let mut beat = Instant::now();
        loop {
            let now = Instant::now();
            if now >= beat {
                self.say(&mut state);
                shared.changed.notify_all();
                beat = now + HEARTBEAT;
            }
            if state.closed {
                return None;
            }
            state.take_back(now);
            let next = if state.connected { state.waiting.pop_front() } else { None };
            if let Some(mut work) = next {
                work.deliveries -= 1;
                state.given.push((now + shared.patience, work.clone()));
                self.info.busy = 1;
                self.say(&mut state);
                shared.changed.notify_all();
                return Some(work);
            }
            let late = state.given.iter().map(|(until, _)| *until).min();
            state = shared.wait(state, late.map_or(beat, |late| late.min(beat)));
        }
    }

    /// Stands still as long as is asked for: whether it is to go on then.
    fn stand_still(&self, fault: &Fault) -> bool {
        let begin = Instant::now();
        let mut state = self.shared.lock();
        while !state.closed {
            let until = match fault {
                Fault::Freeze(time) => begin + *time,
                Fault::Hold if state.released == 0 => Instant::now() + HEARTBEAT,
                Fault::Hold => {
                    state.released -= 1;
                    return true;
                }
                _ => return true,
            };
            if Instant::now() >= until {
                return true;
            }
            state = self.shared.wait(state, until);
        }
        false
    }

    /// What it answers to a batch.
    fn results(&mut self, slot: &Slot, bytes: &[u8], fault: Fault) -> Result<Vec<Vec<u8>>, String> {
        let batch = Batch::decode(bytes);
        if let (Fault::Refuse(line), Ok(batch)) = (&fault, &batch) {
            self.info.refused += 1;
            let result = BatchResult {
                id: batch.id,
                identity: batch.identity,
                worker: self.info.worker.clone(),
                seconds: 0.0,
                outcome: Err(line.clone()),
            };
            return Ok(vec![result.encode(None).map_err(|error| error.to_string())?]);
        }
        let computed = slot.compute(bytes).map_err(|error| error.to_string())?;
        self.info.batches += u64::from(computed.refusal.is_none());
        self.info.refused += u64::from(computed.refusal.is_some());
        self.info.rotations += computed.rotations as u64;
        self.info.seconds += computed.seconds;
        let mut result = computed.result;
        match (fault, batch) {
            (Fault::Twice, _) => Ok(vec![result.clone(), result]),
            (Fault::Damage, _) => {
                let middle = result.len() / 2;
                result[middle] ^= 1;
                Ok(vec![result])
            }
            (Fault::Wrong, Ok(batch)) => wrong(&batch, &result).map(|result| vec![result]),
            _ => Ok(vec![result]),
        }
    }

    /// Sends results, and then says that the batch is done: once the exchange can be reached.
    fn answer(&mut self, id: BatchId, results: Vec<Vec<u8>>) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        while !state.connected && !state.closed {
            state = shared.wait(state, Instant::now() + HEARTBEAT);
        }
        state.events.extend(results.into_iter().map(Event::Result));
        state.given.retain(|(_, work)| work.id != id);
        state.waiting.retain(|work| work.id != id);
        self.info.busy = 0;
        self.say(&mut state);
        drop(state);
        shared.changed.notify_all();
    }
}

/// A result with one bit that is wrong, the lowest of those that are sent of one element.
fn wrong(batch: &Batch, result: &[u8]) -> Result<Vec<u8>, String> {
    let expected = batch.expected().ok_or("a batch without polynomials")?;
    let mut result = BatchResult::decode(result, |_, _| Some(expected.clone())).map_err(|error| error.to_string())?;
    if let Ok(results) = &mut result.outcome {
        results[0].data_mut()[0] ^= 1 << (u64::BITS - expected.bits);
    }
    result.encode(Some(&expected)).map_err(|error| error.to_string())
}
