//! The plans of blocks.

use super::{Bytes, Kind, Plan};
use crate::block::circuit::BlockCircuit;
use crate::block::forecast::{BlockForecast, forecast_schedule};
use crate::block::keys::needs;
use crate::run::error::RunError;

/// What requests that follow each other would do, of so many new tokens each, reliable or not.
///
/// # Errors
/// [`RunError::Refused`] if the set is not one of this circuit.
pub(in crate::run) fn forecast_blocks(circuit: &BlockCircuit, requests: &[usize]) -> Result<Vec<Plan>, RunError> {
    let needs = needs();
    let plan = |(BlockForecast { statistics, schedule, .. }, &rows): (BlockForecast, &usize)| {
        Ok(Plan {
            parameters: circuit.parameters().clone(),
            log2_failure_probability: statistics.log2_failure_probability(),
            statistics,
            bytes: Bytes::of(circuit.parameters(), &needs, &circuit.encoding(rows))?,
            kind: Kind::Blocks(schedule),
        })
    };
    forecast_schedule(circuit, requests)?.into_iter().zip(requests).map(plan).collect()
}
