//! How far a request has come, and whether it is to stop.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::engine::Progress;
use crate::metrics::Metrics;

/// Why a computation is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was asked for.
    Cancelled,
    /// The time of the request is over.
    Expired,
    /// The server shuts down: it is for the next start.
    Left,
}

const STOPS: [Option<Stop>; 4] = [None, Some(Stop::Cancelled), Some(Stop::Expired), Some(Stop::Left)];

/// What the worker writes and everyone may read.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    step: Mutex<String>,
    done: AtomicU64,
    /// Index into [`STOPS`].
    stop: AtomicU8,
}

impl Tracker {
    pub(crate) fn step(&self) -> String {
        self.step.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Operations that are done.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Asks to stop. The first reason counts.
    pub(crate) fn ask(&self, stop: Stop) {
        let index = STOPS.iter().position(|&listed| listed == Some(stop)).unwrap_or_default();
        let _ = self.stop.compare_exchange(0, index as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn stop(&self) -> Option<Stop> {
        STOPS.get(usize::from(self.stop.load(Ordering::Relaxed))).copied().flatten()
    }
}

/// What a computation is given to tell.
#[derive(Debug)]
pub(crate) struct Tracking<'a> {
    pub(crate) tracker: &'a Tracker,
    pub(crate) metrics: &'a Metrics,
    /// Of operations.
    pub(crate) total: u64,
}

impl Progress for Tracking<'_> {
    fn total(&self) -> u64 {
        self.total
    }

    fn begin(&mut self, step: &str, _operations: usize) {
        let mut current = self.tracker.step.lock().unwrap_or_else(PoisonError::into_inner);
        step.clone_into(&mut current);
    }

    fn advance(&mut self, operations: usize) -> bool {
        self.tracker.done.fetch_add(operations as u64, Ordering::Relaxed);
        self.metrics.operations.inc_by(operations as u64);
        self.tracker.stop().is_none()
    }
}
