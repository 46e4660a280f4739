//! What the machine can do at best, measured before the benches.

use std::time::Instant;

use tfhe_core::simd::{multiply_adds, read};

/// Rounds of multiply-adds that are timed together: some milliseconds.
const ROUNDS: usize = 1_000_000;

/// Numbers that are read: 256 MiB, more than caches hold.
const NUMBERS: usize = 32 << 20;

/// How often; the best counts.
const REPETITIONS: usize = 5;

/// The most that so many threads can do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Floating-point operations a second.
    pub operations: f64,
    /// Bytes of memory read a second.
    pub bytes: f64,
}

impl Limits {
    /// Measures them: a second.
    pub fn measure(threads: usize) -> Self {
        let numbers = vec![1.0; NUMBERS];
        let part = |thread: usize| &numbers[thread * NUMBERS / threads..(thread + 1) * NUMBERS / threads];
        Self { operations: best(threads, |_| multiply_adds(ROUNDS)), bytes: best(threads, |thread| read(part(thread))) }
    }
}

/// What threads do together in a second.
fn best(threads: usize, work: impl Fn(usize) -> usize + Sync) -> f64 {
    let once = || {
        let start = Instant::now();
        let done: usize = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|thread| {
                    scope.spawn({
                        let work = &work;
                        move || work(thread)
                    })
                })
                .collect();
            running.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
        });
        done as f64 / start.elapsed().as_secs_f64()
    };
    (0..REPETITIONS).map(|_| once()).fold(0.0, f64::max)
}
