//! Threads that compute, each on one core.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::oneshot;

use crate::compute::{Computed, KeyCache, Slot};

/// What a batch comes to: what was computed, or why nothing can be made of its bytes.
pub(super) type Answer = Result<Computed, String>;

/// A batch that waits for a thread. Whoever takes it out has it.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<Mutex<Option<Vec<u8>>>>);

impl Waiting {
    fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Some(bytes))))
    }

    /// The batch, if no thread has begun with it.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Job {
    batch: Waiting,
    answer: oneshot::Sender<Answer>,
}

/// The threads.
pub(super) struct Slots {
    jobs: mpsc::Sender<Job>,
    threads: usize,
    busy: Arc<AtomicUsize>,
}

impl Slots {
    pub(super) fn start(threads: usize, worker: &str, keys: &Arc<KeyCache>) -> io::Result<Self> {
        let (jobs, receiver) = mpsc::channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        let busy = Arc::new(AtomicUsize::new(0));
        for number in 0..threads {
            let slot = Slot::new(worker, keys.clone()).map_err(io::Error::other)?;
            let (receiver, busy) = (receiver.clone(), busy.clone());
            std::thread::Builder::new().name(format!("slot {number}")).spawn(move || {
                loop {
                    let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Job { batch, answer }) = job else { return };
                    let Some(bytes) = batch.take() else { continue };
                    busy.fetch_add(1, Ordering::Relaxed);
                    let computed = catch_unwind(AssertUnwindSafe(|| slot.compute(&bytes)));
                    busy.fetch_sub(1, Ordering::Relaxed);
                    // Nobody is there if the worker ends.
                    let failed = |_| Err("computing it has failed".to_owned());
                    let _ = answer.send(computed.map_or_else(failed, |computed| computed.map_err(|e| e.to_string())));
                }
            })?;
        }
        Ok(Self { jobs, threads, busy })
    }

    /// Gives a batch to the next thread that is free.
    pub(super) fn give(&self, bytes: Vec<u8>) -> (Waiting, oneshot::Receiver<Answer>) {
        let (answer, receiver) = oneshot::channel();
        let batch = Waiting::new(bytes);
        // Without threads the answer is that there is none.
        let _ = self.jobs.send(Job { batch: batch.clone(), answer });
        (batch, receiver)
    }

    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }
}
