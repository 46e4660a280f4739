//! Events that wait for a server.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::exchange::Event;
use crate::info::WorkerInfo;

/// The most bytes of results that wait: what a server that reads none would get back is computed elsewhere.
const MOST_BYTES: usize = 256 << 20;
/// The most workers of which the last word is kept.
const MOST_WORKERS: usize = 16_384;

/// Events in the order in which they came. Of a worker only the last word waits: nobody may ask for hours.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    bytes: usize,
    workers: BTreeMap<String, WorkerInfo>,
}

impl Waiting {
    fn take(&mut self) -> Option<Event> {
        let event = self.events.pop_front().or_else(|| Some(Event::Worker(self.workers.pop_first()?.1)));
        if let Some(Event::Result(bytes)) = &event {
            self.bytes -= bytes.len();
        }
        event
    }
}

impl EventQueue {
    pub(super) fn push(&self, event: Event) {
        let mut waiting = self.lock();
        match event {
            Event::Worker(info) => {
                if waiting.workers.len() < MOST_WORKERS || waiting.workers.contains_key(&info.worker) {
                    waiting.workers.insert(info.worker.clone(), info);
                }
            }
            Event::Result(bytes) => {
                if waiting.bytes + bytes.len() > MOST_BYTES {
                    tracing::warn!("a result is dropped: those that wait are not read");
                    return;
                }
                waiting.bytes += bytes.len();
                waiting.events.push_back(Event::Result(bytes));
            }
            event => waiting.events.push_back(event),
        }
        self.came.notify_one();
    }

    /// The next one, if it comes in time.
    pub(super) fn next(&self, patience: Duration) -> Option<Event> {
        let begun = Instant::now();
        let mut waiting = self.lock();
        loop {
            if let Some(event) = waiting.take() {
                return Some(event);
            }
            let left = patience.checked_sub(begun.elapsed()).filter(|left| !left.is_zero())?;
            waiting = self.came.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(name: &str, batches: u64) -> Event {
        Event::Worker(WorkerInfo { worker: name.into(), batches, ..WorkerInfo::default() })
    }

    #[test]
    fn results_come_in_order_and_of_a_worker_the_last_word() {
        let queue = EventQueue::default();
        (0..3).for_each(|i| queue.push(worker("a", i)));
        (0..3).for_each(|i| queue.push(Event::Result(vec![i])));
        for i in 0..3 {
            assert!(matches!(queue.next(Duration::ZERO), Some(Event::Result(bytes)) if bytes == [i]));
        }
        assert!(matches!(queue.next(Duration::ZERO), Some(Event::Worker(info)) if info.batches == 2));
        assert!(queue.next(Duration::from_millis(5)).is_none());
    }

    #[test]
    fn what_nobody_reads_is_bounded() {
        let queue = EventQueue::default();
        (0..5).for_each(|_| queue.push(Event::Result(vec![0; MOST_BYTES / 4])));
        assert_eq!(std::iter::from_fn(|| queue.next(Duration::ZERO)).count(), 4);
        queue.push(Event::Result(vec![0; MOST_BYTES / 4]));
        assert!(queue.next(Duration::ZERO).is_some());
    }

    #[test]
    fn who_waits_is_woken() {
        let queue = EventQueue::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.next(Duration::from_secs(60)));
            queue.push(Event::Connected);
            assert!(matches!(waiting.join().unwrap(), Some(Event::Connected)));
        });
    }
}
