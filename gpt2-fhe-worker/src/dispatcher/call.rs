//! One call: blind rotations that are wanted now, cut into batches.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use tfhe_core::blind_rotation::Wanted;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::lwe::LweCiphertext;

use super::handle::Dispatcher;
use super::inbox::{Awaited, Inbox, Message};
use super::key::SessionKey;
use super::lock::locked;
use super::shared::Shared;
use crate::batch::{Batch, BatchError, BatchId, BatchResult, ExpectedResult};
use crate::cutting::{Cutting, IN_FLIGHT};
use crate::scale::record::{BatchRecord, CallRecord};

/// How many times as long as expected a batch may take.
const SLACK: u32 = 3;

/// How many batches are published at the same time.
const AT_ONCE: usize = 64;

/// How long the coordinator waits for messages before it looks at the clock.
const TICK: Duration = Duration::from_millis(20);

/// Something that a thread of this process may compute.
struct Task {
    batch: usize,
    /// Whether workers have had it, or must not.
    is_own: bool,
    claimed: Option<(String, Vec<GlweCiphertext>)>,
}

/// Tasks that nobody has begun.
struct Queue {
    tasks: VecDeque<Task>,
    /// Whether threads of this process take tasks that workers could have.
    is_open: bool,
    is_closed: bool,
}

/// Tasks, as threads share them.
struct Tasks {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Tasks {
    fn put(&self, task: Task) {
        locked(&self.queue).tasks.push_front(task);
        self.changed.notify_all();
    }

    /// The next task for a thread of this process; `None` when there is none any more.
    fn own(&self) -> Option<Task> {
        let mut queue = locked(&self.queue);
        loop {
            if queue.is_closed {
                return None;
            }
            // What only this process can do is at the front.
            let is_open = queue.is_open;
            if queue.tasks.front().is_some_and(|task| is_open || task.is_own) {
                return queue.tasks.pop_front();
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A batch for workers.
    fn others(&self) -> Option<Task> {
        let mut queue = locked(&self.queue);
        if queue.tasks.back().is_some_and(|task| !task.is_own) { queue.tasks.pop_back() } else { None }
    }

    fn open(&self, is_open: bool) {
        let mut queue = locked(&self.queue);
        if queue.is_open != is_open {
            queue.is_open = is_open;
            self.changed.notify_all();
        }
    }

    fn close(&self) {
        locked(&self.queue).is_closed = true;
        self.changed.notify_all();
    }
}

/// Ends the threads that wait for tasks, however whoever hands them out ends.
struct CloseTasks<'a>(&'a Tasks);

impl Drop for CloseTasks<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Tells whoever waits for a thread that it has ended by a panic.
struct TellPanic<'a>(&'a Inbox);

impl Drop for TellPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.put(Message::Panicked);
        }
    }
}

/// A batch that was published.
struct Sent {
    batch: usize,
    at: Instant,
    bytes: u64,
    overdue: Instant,
    /// Whether it was given to somebody else since.
    is_given_up: bool,
}

/// Blind rotations that are wanted now.
pub(super) struct Call<'a> {
    pub(super) dispatcher: &'a Dispatcher,
    pub(super) session: &'a SessionKey<'a>,
    pub(super) inputs: &'a [LweCiphertext],
    pub(super) polynomials: &'a [&'a GlweCiphertext],
    pub(super) wanted: &'a Wanted<'a>,
}

/// How far a call is.
struct Progress {
    ranges: Vec<Range<usize>>,
    results: Vec<Option<Vec<GlweCiphertext>>>,
    left: usize,
    /// Of each batch, what it took, when it is done.
    records: Vec<Option<BatchRecord>>,
    sent: BTreeMap<u64, Sent>,
    /// Whether a batch was given to somebody else while it was on its way.
    is_given_up: bool,
}

impl Call<'_> {
    fn shared(&self) -> &Shared {
        &self.dispatcher.shared
    }

    /// In batches that messages have room for, each rotation with a polynomial of its own.
    fn cutting(&self) -> Cutting {
        let (key, bits, cutting) = (self.session.key, self.wanted.bits as usize, Cutting::default());
        let size = key.shape().polynomial_size.get();
        let masks = key.shape().extracted_lwe_dimension().get();
        let bodies = self.wanted.bodies.iter().max().copied().unwrap_or(0);
        // Elements, and what stands beside them.
        let batch = key.lwe_dimension().get() * size.ilog2() as usize / 8 + 9 * size + 128;
        let result = (masks + bodies) * bits / 8 + 64;
        let limit = self.shared().exchange.message_limit().saturating_sub(4096);
        Cutting { most: (limit / batch.max(result)).clamp(1, cutting.most), ..cutting }
    }

    /// The turned polynomials.
    pub(super) fn run(&self) -> Vec<GlweCiphertext> {
        let begun = Instant::now();
        let ranges = self.cutting().ranges(self.inputs.len(), self.dispatcher.threads());
        self.shared().calls.fetch_add(1, Ordering::Relaxed);
        let (tasks, inbox) = (Tasks::new(ranges.len()), Arc::<Inbox>::default());
        let results = vec![None; ranges.len()];
        let mut done = Progress {
            left: ranges.len(),
            ranges: ranges.clone(),
            results,
            sent: BTreeMap::new(),
            is_given_up: false,
            records: vec![None; ranges.len()],
        };
        let span = tracing::Span::current();
        std::thread::scope(|scope| {
            for pool in &self.dispatcher.pools {
                let (tasks, inbox, ranges) = (&tasks, &inbox, &ranges);
                scope.spawn(move || self.compute(pool, ranges, tasks, inbox));
            }
            // Not on the caller's thread: one of rayon that waits for other threads may begin something else, which may take long.
            scope.spawn(|| span.in_scope(|| self.coordinate(&mut done, &tasks, &inbox)));
        });
        let mut awaited = locked(&self.shared().awaited);
        done.sent.keys().for_each(|number| {
            awaited.remove(number);
        });
        drop(awaited);
        if !self.inputs.is_empty() {
            self.session.note(self.record(&done), begun);
        }
        // What nobody needs any more is not computed, if it is not another call's that it would take back, too.
        let is_last = self.shared().calls.fetch_sub(1, Ordering::Relaxed) == 1;
        if is_last && done.is_given_up {
            self.shared().exchange.withdraw();
        }
        done.results.into_iter().flatten().flatten().collect()
    }

    /// What is recorded of it, but for times.
    fn record(&self, done: &Progress) -> CallRecord {
        let tables: HashSet<*const GlweCiphertext> = self.polynomials.iter().map(|&p| std::ptr::from_ref(p)).collect();
        CallRecord {
            gadget: self.session.gadget,
            rotations: self.inputs.len(),
            tables: tables.len(),
            own_seconds: 0.0,
            seconds: 0.0,
            batches: done.records.iter().flatten().copied().collect(),
        }
    }

    /// What one thread of this process does.
    fn compute(&self, pool: &rayon::ThreadPool, ranges: &[Range<usize>], tasks: &Tasks, inbox: &Inbox) {
        let _told = TellPanic(inbox);
        while let Some(Task { batch, claimed, .. }) = tasks.own() {
            let range = ranges[batch].clone();
            let start = Instant::now();
            let mut results = pool.install(|| {
                self.session.key.blind_rotate(&self.inputs[range.clone()], &self.polynomials[range.clone()])
            });
            self.expected(&range).trim(&mut results);
            let seconds = start.elapsed().as_secs_f64();
            self.took(range.len(), seconds);
            inbox.put(Message::Own { batch, results, seconds, claimed });
        }
    }

    /// What a result has to be.
    fn expected(&self, range: &Range<usize>) -> ExpectedResult {
        let bodies = self.wanted.bodies[range.clone()].to_vec();
        let (identity, shape) = (self.session.identity, self.session.key.shape());
        ExpectedResult { identity, shape, bits: self.wanted.bits, bodies }
    }

    fn took(&self, rotations: usize, seconds: f64) {
        locked(&self.shared().board).took(self.session.gadget, rotations, seconds);
    }

    /// Publishes, takes what comes, and looks at the clock, until all is there.
    fn coordinate(&self, progress: &mut Progress, tasks: &Tasks, inbox: &Arc<Inbox>) {
        let _closed = CloseTasks(tasks);
        let shared = self.shared();
        while progress.left > 0 {
            let has_keys = self.dispatcher.shared.has_keys(&self.session.file);
            let workers = if has_keys { shared.worker_threads() } else { 0 };
            tasks.open(shared.options.beside_workers || workers == 0);
            let room = (workers * IN_FLIGHT).saturating_sub(progress.on_the_way()).min(AT_ONCE);
            let next: Vec<usize> = std::iter::from_fn(|| tasks.others()).map(|task| task.batch).take(room).collect();
            if !next.is_empty() {
                self.publish(&next, workers, progress, (tasks, inbox));
            }
            // Where there are more, what has come is looked at in between.
            let patience = if next.len() == AT_ONCE { Duration::ZERO } else { TICK };
            for message in inbox.take(patience) {
                match message {
                    Message::Result { number, bytes, read } => self.take(number, (bytes, *read), progress, tasks),
                    // It goes on to whoever asked, when all threads have ended.
                    Message::Panicked => return,
                    Message::Own { batch, results, seconds, claimed } => {
                        if let Some((worker, claimed)) = claimed {
                            self.verify(&worker, claimed == results);
                        }
                        let rotations = results.len();
                        let record = BatchRecord {
                            rotations,
                            seconds,
                            turnaround: seconds,
                            bytes_out: 0,
                            bytes_back: 0,
                            by_server: true,
                        };
                        self.keep(batch, results, record, progress);
                    }
                }
            }
            let now = Instant::now();
            for sent in progress.sent.values_mut() {
                let is_done = progress.results[sent.batch].is_some();
                if !is_done && !sent.is_given_up && (workers == 0 || sent.overdue < now) {
                    (sent.is_given_up, progress.is_given_up) = (true, true);
                    shared.count(|counts| counts.overdue += 1);
                    tasks.put(Task { batch: sent.batch, is_own: true, claimed: None });
                }
            }
        }
    }

    /// Batches are on their way to workers, but for those that cannot be brought there, which this process computes.
    fn publish(
        &self,
        batches: &[usize],
        workers: usize,
        progress: &mut Progress,
        (tasks, inbox): (&Tasks, &Arc<Inbox>),
    ) {
        let shared = self.shared();
        let ranges = &progress.ranges;
        // Where one cannot be sent, the next ones are not tried: each would be waited for as long.
        let is_failed = AtomicBool::new(false);
        let send = |&batch: &usize| {
            let sent = if is_failed.load(Ordering::Relaxed) { None } else { self.send(&ranges[batch], inbox) };
            is_failed.fetch_or(sent.is_none(), Ordering::Relaxed);
            (batch, sent)
        };
        // Writing takes time, and each waits until the exchange has it.
        let sent: Vec<_> = shared.messages.install(|| batches.par_iter().map(send).collect());
        for (batch, sent) in sent {
            let Some((number, at, bytes)) = sent else {
                tasks.put(Task { batch, is_own: true, claimed: None });
                continue;
            };
            shared.count(|counts| {
                counts.published += 1;
                counts.bytes_out += bytes;
            });
            let expected = locked(&shared.board).expected(self.session.gadget, progress.ranges[batch].len());
            let expected = expected.unwrap_or(shared.options.overdue);
            // All that is on its way may be before it.
            let before = (progress.on_the_way() / workers.max(1) + 1) as u32;
            let overdue = at + shared.options.overdue + expected * SLACK * before;
            progress.sent.insert(number, Sent { batch, at, bytes, overdue, is_given_up: false });
        }
    }

    /// Brings a batch to the exchange: its number, when that began, and how many bytes it has.
    fn send(&self, range: &Range<usize>, inbox: &Arc<Inbox>) -> Option<(u64, Instant, u64)> {
        let (shared, at) = (self.shared(), Instant::now());
        let id = shared.new_id();
        let bytes = match self.batch(id, range).encode() {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!("a batch cannot be written, it is computed here: {error}");
                return None;
            }
        };
        let length = bytes.len() as u64;
        let awaited = Awaited { inbox: Arc::downgrade(inbox), expected: self.expected(range) };
        locked(&shared.awaited).insert(id.number, awaited);
        if let Err(error) = shared.exchange.publish(id, bytes) {
            locked(&shared.awaited).remove(&id.number);
            tracing::warn!("a batch does not reach the exchange, it is computed here: {error}");
            return None;
        }
        Some((id.number, at, length))
    }

    fn batch(&self, id: BatchId, range: &Range<usize>) -> Batch {
        let mut polynomials: Vec<&GlweCiphertext> = Vec::new();
        let mut indices = HashMap::new();
        let mut lookups = Vec::with_capacity(range.len());
        for index in range.clone() {
            let polynomial = self.polynomials[index];
            // Those of a call are shared where they are equal.
            let place = *indices.entry(std::ptr::from_ref(polynomial)).or_insert_with(|| {
                polynomials.push(polynomial);
                polynomials.len() - 1
            });
            lookups.push((place, self.wanted.bodies[index]));
        }
        Batch {
            id,
            identity: self.session.identity,
            keys: self.session.file.name,
            gadget: self.session.gadget,
            bits: self.wanted.bits,
            inputs: self.inputs[range.clone()].to_vec(),
            polynomials: polynomials.into_iter().cloned().collect(),
            lookups,
        }
    }

    /// Takes a worker's result, if it is one, and the first.
    fn take(
        &self,
        number: u64,
        (bytes, read): (u64, Result<BatchResult, BatchError>),
        progress: &mut Progress,
        tasks: &Tasks,
    ) {
        let shared = self.shared();
        let Some(sent) = progress.sent.get_mut(&number) else { return };
        let batch = sent.batch;
        if progress.results[batch].is_some() {
            shared.count(|counts| counts.late += 1);
            return;
        }
        // Whatever is wrong with it: the batch is computed here, if it is not already.
        let again = |sent: &mut Sent| {
            if !std::mem::replace(&mut sent.is_given_up, true) {
                tasks.put(Task { batch, is_own: true, claimed: None });
            }
        };
        let range = progress.ranges[batch].clone();
        let BatchResult { worker, seconds, outcome, .. } = match read {
            Ok(result) => result,
            Err(error) => {
                tracing::warn!("a result is dropped: {error}");
                shared.count(|counts| counts.damaged += 1);
                return again(sent);
            }
        };
        if !locked(&shared.board).trusts(&worker) {
            return again(sent);
        }
        match outcome {
            Err(line) => {
                tracing::warn!(worker, "a worker refuses a batch: {line}");
                shared.count(|counts| counts.refused += 1);
                // Perhaps the keys are not there any more.
                locked(&shared.offered).remove(&self.session.file.name);
                again(sent);
            }
            Ok(results) => {
                self.took(range.len(), seconds);
                tracing::debug!(
                    worker,
                    number,
                    rotations = range.len(),
                    seconds,
                    way = sent.at.elapsed().as_secs_f64()
                );
                shared.count(|counts| {
                    counts.used += 1;
                    counts.by_workers += range.len() as u64;
                });
                if self.is_chosen() {
                    sent.is_given_up = true;
                    tasks.put(Task { batch, is_own: true, claimed: Some((worker, results)) });
                } else {
                    let record = BatchRecord {
                        rotations: range.len(),
                        seconds,
                        turnaround: sent.at.elapsed().as_secs_f64(),
                        bytes_out: sent.bytes,
                        bytes_back: bytes,
                        by_server: false,
                    };
                    self.keep(batch, results, record, progress);
                }
            }
        }
    }

    /// The first result counts.
    fn keep(&self, batch: usize, results: Vec<GlweCiphertext>, record: BatchRecord, progress: &mut Progress) {
        if progress.results[batch].is_none() {
            self.shared().count(|counts| counts.rotations += record.rotations as u64);
            (progress.results[batch], progress.records[batch]) = (Some(results), Some(record));
            progress.left -= 1;
        }
    }

    /// Whether a result is computed again, by chance that no worker can foresee.
    fn is_chosen(&self) -> bool {
        let share = self.shared().options.verify;
        // Without randomness, all are.
        share > 0.0 && getrandom::u32().map_or(true, |draw| f64::from(draw) < share * 2f64.powi(32))
    }

    fn verify(&self, worker: &str, is_right: bool) {
        self.shared().count(|counts| {
            counts.verified += 1;
            counts.wrong += u64::from(!is_right);
        });
        if is_right {
            return;
        }
        tracing::error!(worker, "a worker's result is wrong: it is not believed any more");
        locked(&self.shared().board).distrust(worker);
        self.session.fail(format!(
            "worker {worker} has sent a wrong result, so what else it computed for this request cannot be relied on: it gets no more \
             batches, send the request again"
        ));
    }
}

impl Tasks {
    fn new(batches: usize) -> Self {
        let tasks = (0..batches).map(|batch| Task { batch, is_own: false, claimed: None }).collect();
        Self { queue: Mutex::new(Queue { tasks, is_open: false, is_closed: false }), changed: Condvar::new() }
    }
}

impl Progress {
    /// How many batches workers have, or will have.
    fn on_the_way(&self) -> usize {
        self.sent.values().filter(|sent| !sent.is_given_up && self.results[sent.batch].is_none()).count()
    }
}
