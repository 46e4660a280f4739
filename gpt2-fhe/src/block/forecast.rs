//! What requests for blocks would do, without computing them: operations, noise, chance of failure. Whoever computes looks before: a request
//! that may fail is refused.

use std::cell::Cell;

use super::circuit::{BlockCircuit, Running};
use super::counted::{CountedBlock, CountedReals};
use super::evaluator::StreamEvaluator;
use super::schedule::Schedule;
use super::tensor::Held;
use crate::track::statistics::{Statistics, StepStatistics};
use crate::track::{EvaluationError, MAX_LOG2_FAILURE, Observer};

/// What one request would do.
#[derive(Clone, Debug)]
pub struct BlockForecast {
    /// By step, without times.
    pub statistics: Statistics,
    /// How many lookups and products an observer will be told of.
    pub operations: usize,
    /// In order; empty where it was not asked for.
    pub schedule: Schedule,
}

/// Lookups of blocks do not read reliably.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "these blocks cannot be evaluated with a chance of failure of at most 2^-40 ({}, most of it in the step \"{step}\"): calibrate on \
     other texts, or leave blocks to the client", if *.failure <= -1.0 { format!("it is 2^{failure:.1}") } else { "they may fail".into() }
)]
pub struct UnreliableBlocks {
    /// log2 of the failure probability.
    pub failure: f64,
    /// The step that has most of it.
    pub step: &'static str,
}

/// What requests that follow each other would do, of so many new tokens each, reliable or not.
///
/// # Errors
/// [`EvaluationError::Refused`] if the set is not one of this circuit.
pub fn forecast(circuit: &BlockCircuit, requests: &[usize]) -> Result<Vec<BlockForecast>, EvaluationError> {
    counted(circuit, requests, false)
}

/// The same with what is done in order ([`BlockForecast::schedule`]).
///
/// # Errors
/// As [`forecast`].
pub fn forecast_schedule(circuit: &BlockCircuit, requests: &[usize]) -> Result<Vec<BlockForecast>, EvaluationError> {
    counted(circuit, requests, true)
}

fn counted(circuit: &BlockCircuit, requests: &[usize], in_order: bool) -> Result<Vec<BlockForecast>, EvaluationError> {
    let (prediction, operations) = (circuit.prediction(), Cell::new(0));
    let channels = circuit.program().sent_channels();
    let mut count = Count(&operations);
    let mut running = Running::new(circuit, StreamEvaluator::new(CountedBlock, prediction, &mut count));
    // What is known of public tokens is no part of a request.
    running.take_statistics();
    operations.take();
    if in_order {
        running.begin_schedule();
    }
    let of_request = |&rows: &usize| {
        let reals = CountedReals { rows, channels };
        running.note_expansion(&circuit.encoding(rows), 0.0);
        running.advance(circuit, Held::fresh(reals, [rows, channels], prediction.fresh()))?;
        let statistics = running.take_statistics().without_times();
        Ok(BlockForecast { statistics, operations: operations.take(), schedule: running.take_schedule() })
    };
    requests.iter().map(of_request).collect()
}

/// Checks that what was counted fails with at most 2^-40, all steps together.
///
/// # Errors
/// [`UnreliableBlocks`].
pub fn check_reliable(statistics: &Statistics) -> Result<(), UnreliableBlocks> {
    let failure = statistics.log2_failure_probability();
    // NaN is not reliable.
    if failure <= MAX_LOG2_FAILURE {
        return Ok(());
    }
    let of_step = |step: &&StepStatistics| step.log2_failure_probability;
    let worst = statistics.steps.iter().max_by(|a, b| of_step(a).total_cmp(&of_step(b)));
    Err(UnreliableBlocks { failure: failure.min(0.0), step: worst.map_or("", |step| step.name) })
}

/// Adds up what it is told of.
struct Count<'a>(&'a Cell<usize>);

impl Observer for Count<'_> {
    fn begin(&mut self, _: &'static str, operations: usize) {
        self.0.set(self.0.get() + operations);
    }

    fn advance(&mut self, _: usize) -> bool {
        true
    }
}
