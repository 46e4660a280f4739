//! The plans of blocks.

use super::{Bytes, Kind, Plan};
use crate::block::circuit::{BlockCircuit, Running};
use crate::block::counted::{CountedBlock, CountedReals};
use crate::block::evaluator::StreamEvaluator;
use crate::block::keys::needs;
use crate::block::tensor::Held;
use crate::run::MAX_LOG2_FAILURE;
use crate::run::error::{RunError, is_within};
use crate::track::Unobserved;
use crate::track::statistics::StepStatistics;

/// What requests that follow each other would do, of so many new tokens each, reliable or not.
///
/// # Errors
/// [`RunError::Refused`] if the set is not one of this circuit.
pub(in crate::run) fn forecast_blocks(circuit: &BlockCircuit, requests: &[usize]) -> Result<Vec<Plan>, RunError> {
    let (prediction, observer, channels) = (circuit.prediction(), &mut Unobserved, circuit.channels());
    let mut running = Running::new(circuit, StreamEvaluator::new(CountedBlock, prediction, observer));
    // What is known of public tokens is no part of a request.
    running.take_statistics();
    let needs = needs();
    let plan = |&rows: &usize| {
        let (reals, encoding) = (CountedReals { rows, channels }, circuit.encoding(rows));
        running.note_expansion(&encoding, 0.0);
        running.advance(circuit, Held::fresh(reals, [rows, channels], prediction.fresh()))?;
        let statistics = running.take_statistics().without_times();
        Ok(Plan {
            parameters: circuit.parameters().clone(),
            log2_failure_probability: statistics.log2_failure_probability(),
            statistics,
            bytes: Bytes::of(circuit.parameters(), &needs, &encoding)?,
            kind: Kind::Blocks,
        })
    };
    requests.iter().map(plan).collect()
}

/// Checks that a request of blocks is reliable.
///
/// # Errors
/// [`RunError::UnreliableBlocks`].
pub(in crate::run) fn check_blocks(plan: &Plan) -> Result<(), RunError> {
    if is_within(plan.log2_failure_probability, MAX_LOG2_FAILURE) {
        return Ok(());
    }
    let failure = |step: &&StepStatistics| step.log2_failure_probability;
    let worst = plan.statistics.steps.iter().max_by(|a, b| failure(a).total_cmp(&failure(b)));
    let step = worst.map_or("", |step| step.name);
    Err(RunError::UnreliableBlocks { failure: plan.log2_failure_probability.min(0.0), step })
}
