//! The plans of blocks.

use tfhe_core::keys::Needs;

use super::{Bytes, Kind, Plan};
use crate::block::circuit::{BlockCircuit, Running};
use crate::block::counted::{CountedBlock, CountedReals};
use crate::block::evaluator::StreamEvaluator;
use crate::block::keys::needs;
use crate::block::tensor::Held;
use crate::run::MAX_LOG2_FAILURE;
use crate::run::error::RunError;
use crate::track::Unobserved;
use crate::track::statistics::StepStatistics;

/// Plans requests that follow each other, of so many new tokens each.
///
/// # Errors
/// [`RunError::UnreliableBlocks`].
pub(in crate::run) fn plan_blocks(circuit: &BlockCircuit, requests: &[usize]) -> Result<Vec<Plan>, RunError> {
    let (prediction, observer, channels) = (circuit.prediction(), &mut Unobserved, circuit.channels());
    let mut running = Running::new(circuit, StreamEvaluator::new(CountedBlock, prediction, observer));
    // What is known of public tokens is no part of a request.
    running.take_statistics();
    let needs = needs();
    let plan = |&rows: &usize| {
        let reals = CountedReals { rows, channels };
        running.advance(circuit, Held::fresh(reals, [rows, channels], prediction.fresh()))?;
        let statistics = running.take_statistics().without_times();
        for x in &statistics.steps {
            eprintln!(
                "{} {} {:.1} {:.1} {:.1}",
                x.name, x.lookups, x.log2_failure_probability, x.log2_read_noise, x.log2_result_noise
            );
        }
        let log2_failure_probability = statistics.log2_failure_probability();
        if log2_failure_probability > MAX_LOG2_FAILURE {
            let failure = |step: &&StepStatistics| step.log2_failure_probability;
            let worst = statistics.steps.iter().max_by(|a, b| failure(a).total_cmp(&failure(b)));
            let step = worst.map_or("", |step| step.name);
            return Err(RunError::UnreliableBlocks { failure: log2_failure_probability.min(0.0), step });
        }
        let (parameters, bytes) = (circuit.parameters().clone(), bytes(circuit, rows, &needs)?);
        Ok(Plan { parameters, statistics, log2_failure_probability, bytes, kind: Kind::Blocks })
    };
    requests.iter().map(plan).collect()
}

fn bytes(circuit: &BlockCircuit, rows: usize, needs: &Needs) -> Result<Bytes, RunError> {
    Ok(Bytes::of(circuit.parameters(), needs, &circuit.encoding(rows))?)
}
