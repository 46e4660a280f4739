//! Which workers there are.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::info::{PROTOCOL, WorkerInfo, is_for};

/// After how long without a word a worker is taken to be gone.
const SILENCE: Duration = Duration::from_secs(5);

/// What is known of workers.
#[derive(Debug, Default)]
pub(super) struct Board {
    workers: HashMap<String, (WorkerInfo, Instant)>,
    /// Names of those whose results were wrong.
    distrusted: HashSet<String>,
    /// Seconds of a blind rotation on one core, by gadget, as workers have needed them.
    seconds: HashMap<usize, f64>,
}

impl Board {
    /// Notes a worker that has the same arithmetic, and one of the sets; whether it is a new one.
    pub(super) fn seen(&mut self, info: WorkerInfo, arithmetic: &str, sets: &[String]) -> bool {
        self.workers.retain(|_, (_, at)| at.elapsed() < SILENCE);
        if info.protocol != PROTOCOL || info.arithmetic != arithmetic || !is_for(sets, &info.sets) {
            return false;
        }
        self.workers.insert(info.worker.clone(), (info, Instant::now())).is_none()
    }

    /// Threads of workers that are there, and believed.
    pub(super) fn threads(&self) -> usize {
        let is_there =
            |(info, at): &&(WorkerInfo, Instant)| at.elapsed() < SILENCE && !self.distrusted.contains(&info.worker);
        self.workers.values().filter(is_there).map(|(info, _)| info.threads as usize).sum()
    }

    /// Notes how long a batch took, on one core.
    pub(super) fn took(&mut self, gadget: usize, rotations: usize, seconds: f64) {
        if !(seconds.is_finite() && seconds > 0.0 && rotations > 0) {
            return;
        }
        let (one, known) = (seconds / rotations as f64, self.seconds.entry(gadget).or_insert(0.0));
        *known = if *known == 0.0 { one } else { 0.8 * *known + 0.2 * one };
    }

    /// How long a batch is expected to take on one core, if any such was computed.
    pub(super) fn expected(&self, gadget: usize, rotations: usize) -> Option<Duration> {
        let seconds = self.seconds.get(&gadget)? * rotations as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }

    pub(super) fn distrust(&mut self, worker: &str) {
        self.distrusted.insert(worker.into());
    }

    pub(super) fn trusts(&self, worker: &str) -> bool {
        !self.distrusted.contains(worker)
    }
}
