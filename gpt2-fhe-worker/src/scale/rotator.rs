//! Recording a run without workers: its blind rotations are cut into batches, and each is computed by one thread, as workers do it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tfhe_core::blind_rotation::{BlindRotator, Wanted};
use tfhe_core::bootstrapping_key::BootstrappingKey;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::lwe::LweCiphertext;

use super::record::{BatchRecord, RecordHeader, RunRecord};

/// Records the calls of a run, of all its rotators.
#[derive(Debug)]
pub struct LookupRecorder {
    /// Each of one thread.
    threads: Vec<ThreadPool>,
    batch: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    record: RunRecord,
    /// When the last call ended.
    ended: Instant,
}

impl LookupRecorder {
    /// With so many threads, and so many rotations to a batch. The run begins now.
    ///
    /// # Errors
    /// That there are no threads to be had.
    pub fn new(threads: usize, batch: usize, note: &str) -> Result<Self, ThreadPoolBuildError> {
        let of_one = |_| ThreadPoolBuilder::new().num_threads(1).build();
        let pools = (0..threads.max(1)).map(of_one).collect::<Result<Vec<_>, _>>()?;
        let record = RunRecord::new(RecordHeader::here(0, pools.len(), note));
        let state = Mutex::new(State { record, ended: Instant::now() });
        Ok(Self { threads: pools, batch: batch.max(1), state })
    }

    /// A key's rotator, whose calls are recorded.
    pub fn rotator<'a>(&'a self, key: &'a BootstrappingKey, gadget: usize) -> RecordingRotator<'a> {
        RecordingRotator { recorder: self, key, gadget }
    }

    /// What was recorded.
    pub fn into_record(self) -> RunRecord {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).record
    }
}

/// Does the blind rotations with one key.
#[derive(Clone, Copy, Debug)]
pub struct RecordingRotator<'a> {
    recorder: &'a LookupRecorder,
    key: &'a BootstrappingKey,
    gadget: usize,
}

/// What a thread has computed: number of the batch, results, seconds.
type Computed = (usize, Vec<GlweCiphertext>, f64);

impl BlindRotator for RecordingRotator<'_> {
    fn rotate(&self, inputs: &[LweCiphertext], polynomials: &[&GlweCiphertext], _: &Wanted<'_>) -> Vec<GlweCiphertext> {
        let LookupRecorder { threads, batch, state } = self.recorder;
        let begin = Instant::now();
        let batches: Vec<_> = inputs.chunks(*batch).zip(polynomials.chunks(*batch)).collect();
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::<Computed>::with_capacity(batches.len())));
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some((inputs, polynomials)) = batches.get(number) else { return };
                let start = Instant::now();
                let turned = self.key.blind_rotate(inputs, polynomials);
                let computed = (number, turned, start.elapsed().as_secs_f64());
                done.lock().unwrap_or_else(PoisonError::into_inner).push(computed);
            }
        };
        std::thread::scope(|scope| threads.iter().for_each(|thread| drop(scope.spawn(|| thread.install(work)))));
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(number, ..)| *number);
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let own = begin.duration_since(state.ended).as_secs_f64();
        let call = state.record.add_call(self.gadget, inputs.len(), distinct(polynomials), own);
        for (number, _, seconds) in &done {
            let (rotations, seconds) = (batches[*number].0.len(), *seconds);
            let of_server =
                BatchRecord { rotations, seconds, turnaround: seconds, bytes_out: 0, bytes_back: 0, by_server: true };
            state.record.add_batch(call, of_server);
        }
        state.record.end_call(call, begin.elapsed().as_secs_f64());
        state.ended = Instant::now();
        done.into_iter().flat_map(|(_, turned, _)| turned).collect()
    }

    /// As with many workers.
    fn together(&self) -> usize {
        4096
    }
}

/// How many different polynomials there are. One that is used twice is there once: whoever asks tabulates each once.
fn distinct(polynomials: &[&GlweCiphertext]) -> usize {
    let addresses = polynomials.iter().map(|polynomial| std::ptr::from_ref(*polynomial));
    addresses.collect::<std::collections::BTreeSet<_>>().len()
}
