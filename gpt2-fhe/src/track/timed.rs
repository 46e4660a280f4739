//! Steps with their time and progress.

use super::observer::{EvaluationError, Observer};
use super::statistics::Statistics;

/// What computes step by step, and is watched.
pub(crate) trait Timed {
    /// Who watches, and what is noted.
    fn observed(&mut self) -> (&mut dyn Observer, &mut Statistics);

    /// Runs `work` as a part of step `name`, with its time.
    fn timed<T>(
        &mut self,
        name: &'static str,
        operations: usize,
        work: impl FnOnce(&mut Self) -> Result<T, EvaluationError>,
    ) -> Result<T, EvaluationError> {
        self.observed().0.begin(name, operations);
        self.clocked(name, work)
    }

    /// Runs `work`, which is not announced, with its time as a part of step `name`.
    fn clocked<T>(&mut self, name: &'static str, work: impl FnOnce(&mut Self) -> T) -> T {
        let start = std::time::Instant::now();
        let result = work(self);
        self.observed().1.step(name).seconds += start.elapsed().as_secs_f64();
        result
    }

    /// Reports progress; an error if the observer wants to stop.
    fn advance(&mut self, operations: usize) -> Result<(), EvaluationError> {
        if self.observed().0.advance(operations) { Ok(()) } else { Err(EvaluationError::Cancelled) }
    }
}
