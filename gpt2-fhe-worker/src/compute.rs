//! Computing a batch, as a worker does: the keys that it names, the blind rotations, a result.
//!
//! Batches are computed side by side, each on one core by a [`Slot`]: so a worker with few threads is as quick for its batches as one with
//! many, and nobody waits for the last part of a batch. Prepared keys are shared by all slots ([`KeyCache`]).

mod cache;

use std::sync::Arc;
use std::time::Instant;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::keys::Identity;

pub use self::cache::{KeyCache, KeyError, KeySource, KeyStream};
use crate::batch::{Batch, BatchError, BatchId, BatchResult, RefusedBatch, one_line};

/// One core of a worker.
#[derive(Debug)]
pub struct Slot {
    worker: String,
    keys: Arc<KeyCache>,
    /// Of one thread: blind rotations are spread over the threads of the pool that they are called in.
    pool: ThreadPool,
}

/// What came of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Computed {
    /// Which batch.
    pub id: BatchId,
    /// The file of the [`BatchResult`].
    pub result: Vec<u8>,
    /// Blind rotations that were done: none of a batch that was refused.
    pub rotations: usize,
    /// Seconds of computing.
    pub seconds: f64,
    /// Why the batch was refused, if it was: the line that the result has.
    pub refusal: Option<String>,
}

impl Slot {
    /// A core of the worker with this name.
    ///
    /// # Errors
    /// If the system starts no thread.
    pub fn new(worker: &str, keys: Arc<KeyCache>) -> Result<Self, ThreadPoolBuildError> {
        let name = |_| "blind-rotations".to_owned();
        let pool = ThreadPoolBuilder::new().num_threads(1).thread_name(name).build()?;
        Ok(Self { worker: worker.to_owned(), keys, pool })
    }

    /// Computes a batch. What cannot be computed is refused, in a result that says why, to whoever sent it.
    ///
    /// # Errors
    /// If it cannot be read whose batch it is: there is nobody to answer.
    pub fn compute(&self, bytes: &[u8]) -> Result<Computed, BatchError> {
        let batch = match Batch::decode(bytes) {
            Ok(batch) => batch,
            Err(refused) => {
                let RefusedBatch { batch, error } = *refused;
                return if let Some(of) = batch { Ok(self.refuse(of, &error)) } else { Err(error) };
            }
        };
        let of = (batch.id, batch.identity);
        let key = match self.keys.get(batch.keys, &batch.identity) {
            Ok(keys) => keys,
            Err(error) => return Ok(self.refuse(of, &error)),
        };
        let key = match key.bootstrapping_key(batch.gadget) {
            Ok(key) => key,
            Err(error) => return Ok(self.refuse(of, &error)),
        };
        let polynomials: Option<Vec<&GlweCiphertext>> =
            batch.lookups.iter().map(|lookup| batch.polynomials.get(lookup.0)).collect();
        let (Some(polynomials), Some(expected)) = (polynomials, batch.expected()) else {
            return Ok(self.refuse(of, &"the batch has no polynomials"));
        };
        let begin = Instant::now();
        let mut results = self.pool.install(|| key.blind_rotate(&batch.inputs, &polynomials));
        expected.trim(&mut results);
        let (seconds, rotations) = (begin.elapsed().as_secs_f64(), results.len());
        let result = BatchResult {
            id: batch.id,
            identity: batch.identity,
            worker: self.worker.clone(),
            seconds,
            outcome: Ok(results),
        };
        Ok(match result.encode(Some(&expected)) {
            Ok(result) => Computed { id: batch.id, result, rotations, seconds, refusal: None },
            Err(error) => self.refuse(of, &error),
        })
    }

    fn refuse(&self, (id, identity): (BatchId, Identity), why: &dyn std::fmt::Display) -> Computed {
        let line = one_line(&why.to_string());
        let outcome = Err(line.clone());
        let result = BatchResult { id, identity, worker: self.worker.clone(), seconds: 0.0, outcome };
        // A refusal is a line and a name, and both were made to be written.
        let result = result.encode(None).unwrap_or_default();
        Computed { id, result, rotations: 0, seconds: 0.0, refusal: Some(line) }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use tfhe_core::params::GlweShape;

    use super::*;
    use crate::batch::KeyName;
    use crate::testing::Toy;

    /// A core whose worker finds the keys of one client.
    fn slot(toy: &Toy) -> Slot {
        let (name, file) = (toy.name, toy.file.clone());
        let source = move |asked: KeyName| {
            let file = Some(file.clone()).filter(|_| asked == name).ok_or(io::ErrorKind::NotFound)?;
            Ok(KeyStream { bytes: file.len() as u64, input: Box::new(io::Cursor::new(file)) })
        };
        Slot::new("worker 1", Arc::new(KeyCache::new(source, usize::MAX, Duration::MAX))).unwrap()
    }

    fn outcome(computed: &Computed, batch: &Batch) -> Result<Vec<GlweCiphertext>, String> {
        let result = BatchResult::decode(&computed.result, |id, worker| {
            assert_eq!((id, worker), (computed.id, "worker 1"));
            batch.expected()
        });
        let result = result.unwrap();
        assert_eq!((result.identity, result.seconds), (batch.identity, computed.seconds));
        assert_eq!(result.outcome.as_ref().err(), computed.refusal.as_ref());
        result.outcome
    }

    /// The bits are those of the key itself, in as many threads as there are.
    #[test]
    fn a_batch_is_what_the_key_computes() {
        let toy = Toy::new(1);
        let slot = slot(&toy);
        for (number, count) in [(0, 1), (1, 3), (2, 50)] {
            let batch = toy.batch(number, count);
            let computed = slot.compute(&batch.encode().unwrap()).unwrap();
            assert_eq!((computed.id, computed.rotations), (batch.id, count));
            assert!(computed.seconds > 0.0);
            assert!(outcome(&computed, &batch).unwrap() == toy.results(&batch), "{number}");
        }
    }

    #[test]
    fn what_cannot_be_computed_is_refused_in_a_line() {
        let (toy, other) = (Toy::new(1), Toy::new(2));
        let (slot, batch) = (slot(&toy), toy.batch(7, 2));
        let refused = |bytes: &[u8], expected: &str| {
            let computed = slot.compute(bytes).unwrap();
            assert_eq!((computed.id, computed.rotations), (batch.id, 0));
            let line = outcome(&computed, &batch).unwrap_err();
            assert!(line.contains(expected) && !line.contains('\n'), "{line}");
        };
        refused(&batch.encode_for("another").unwrap(), "transforms are \"another\"");
        let changed = |change: &dyn Fn(&mut Batch)| {
            let mut batch = batch.clone();
            change(&mut batch);
            batch.encode().unwrap()
        };
        refused(&changed(&|batch| batch.keys = other.name), "cannot be fetched: entity not found");
        refused(&changed(&|batch| batch.gadget = 1), "no such bootstrapping gadget");
        let shape = GlweShape::new(1, 128).unwrap();
        refused(&changed(&|batch| batch.polynomials = vec![GlweCiphertext::zero(shape); 2]), "another ring");

        // Keys that the worker has, in a batch of somebody else.
        let foreign = Batch { identity: *other.sent.identity(), ..batch.clone() };
        slot.compute(&batch.encode().unwrap()).unwrap();
        let computed = slot.compute(&foreign.encode().unwrap()).unwrap();
        assert!(outcome(&computed, &foreign).unwrap_err().contains("are not those of whoever sends the batch"));
        // The right ones still are.
        assert!(slot.compute(&batch.encode().unwrap()).unwrap().refusal.is_none());

        // There is nobody to answer.
        let mut damaged = batch.encode().unwrap();
        damaged[300] ^= 1;
        assert_eq!(slot.compute(&damaged).unwrap_err().to_string(), "its checksum is wrong: it is damaged");
    }
}
