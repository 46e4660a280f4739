//! What an exchange in memory and its workers share.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::batch::{BatchId, KeyName};
use crate::exchange::Event;
use crate::info::{ServerInfo, WorkerInfo};

/// What a worker does with a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It computes it and answers.
    None,
    /// It takes it, and is never heard of again.
    Die,
    /// It stands still, computes, and answers late.
    Freeze(Duration),
    /// It stands still until [`release`](super::MemoryExchange::release) is called, computes, and answers.
    Hold,
    /// It answers twice.
    Twice,
    /// A byte of its answer is damaged on the way.
    Damage,
    /// One bit of what it has computed is wrong, in an answer whose checksum is right.
    Wrong,
    /// It answers that it does not compute it, with this line.
    Refuse(String),
}

/// A batch, and how many times it may still be given to a worker.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) id: BatchId,
    pub(super) bytes: Arc<[u8]>,
    pub(super) deliveries: usize,
}

/// Everything that is there.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) connected: bool,
    pub(super) closed: bool,
    /// How many times [`release`](super::MemoryExchange::release) was called.
    pub(super) released: usize,
    pub(super) waiting: VecDeque<Work>,
    /// Given to a worker that has not said that it is done, until when it has time.
    pub(super) given: Vec<(Instant, Work)>,
    pub(super) events: VecDeque<Event>,
    /// What workers have said of themselves last, and whether that was told.
    pub(super) workers: Vec<(WorkerInfo, bool)>,
    pub(super) keys: HashMap<KeyName, Arc<[u8]>>,
    /// How many times keys were put here.
    pub(super) offers: usize,
    pub(super) told: Vec<ServerInfo>,
}

/// What the exchange and its workers share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) changed: Condvar,
    pub(super) patience: Duration,
}

impl Shared {
    pub(super) fn new(patience: Duration) -> Self {
        let state = State { connected: true, ..State::default() };
        Self { state: Mutex::new(state), changed: Condvar::new(), patience }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, for no longer than until `until`.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>, until: Instant) -> MutexGuard<'a, State> {
        let time = until.saturating_duration_since(Instant::now());
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.notify_all();
        changed
    }
}

impl State {
    /// What was given to workers that have not said in time that it is done is there again, as long as it may be given to anybody.
    pub(super) fn take_back(&mut self, now: Instant) {
        let late = self.given.extract_if(.., |(until, _)| *until <= now).map(|(_, work)| work);
        self.waiting.extend(late.filter(|work| work.deliveries > 0));
    }

    pub(super) fn event(&mut self) -> Option<Event> {
        // What has come from workers is on the other side of a broken connection.
        let is_here = |event: &Event| self.connected || !matches!(event, Event::Result(_) | Event::Worker(_));
        if let Some(first) = self.events.iter().position(is_here) {
            return self.events.remove(first);
        }
        let connected = self.connected;
        let news = self.workers.iter_mut().find(|(_, told)| connected && !told);
        news.map(|(info, told)| {
            *told = true;
            Event::Worker(info.clone())
        })
    }
}
