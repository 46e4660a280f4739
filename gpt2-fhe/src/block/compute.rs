//! What a server does with a request for blocks that came as bytes.

use tfhe_core::keys::{Answer, EvaluationKeys};

use super::agreement::BlockRequest;
use super::circuit::BlockCircuit;
use super::forecast::{BlockForecast, UnreliableBlocks, check_reliable, forecast};
use super::keys::Rotators;
use super::server::BlockServer;
use crate::store::{Store, StoreError};
use crate::track::statistics::Statistics;
use crate::track::{EvaluationError, Observer};

/// Why there is no answer to a request.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    /// It does not belong to the keys or the program, or the computation was stopped.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// What is kept of its text cannot be used.
    #[error(transparent)]
    Text(#[from] StoreError),
    /// Its lookups would not read reliably.
    #[error(transparent)]
    Unreliable(#[from] UnreliableBlocks),
    /// It goes on with a text of another length.
    #[error(
        "the request is of new tokens after {asked}, and the server has {kept} of this text: send the requests of a text in their order, \
         each once, or begin a text anew"
    )]
    Place {
        /// How many tokens came before, as the request says.
        asked: usize,
        /// How many there are.
        kept: usize,
    },
}

/// What a request of `tokens` new tokens after `earlier` others would do, at least one in all, if it is reliable: to be asked before it is
/// computed.
///
/// # Errors
/// [`ComputeError::Unreliable`]; [`ComputeError::Evaluation`] if the set is not one of this circuit.
pub fn look_ahead(circuit: &BlockCircuit, earlier: usize, tokens: usize) -> Result<BlockForecast, ComputeError> {
    let before = (earlier > 0).then_some(earlier);
    let requests: Vec<usize> = before.into_iter().chain([tokens]).collect();
    let last = forecast(circuit, &requests)?.swap_remove(requests.len() - 1);
    check_reliable(&last.statistics)?;
    Ok(last)
}

/// The answer to a request. `text`: where the server keeps what it has of the request's text, from which requests that follow go on; a request
/// that was stopped goes on after its last block that was done, if it is sent again, and is forgotten if another one comes; the last one that
/// was answered is answered again. Without it, the request has to be the text's first, and nothing is kept. `rotators`: who does the blind
/// rotations of lookups, if others do.
///
/// # Errors
/// [`ComputeError`].
pub fn compute(
    circuit: &BlockCircuit,
    (keys, rotators): (&EvaluationKeys, Option<Rotators<'_>>),
    BlockRequest { earlier, tokens, request }: &BlockRequest,
    text: Option<Store>,
    observer: &mut dyn Observer,
) -> Result<(Answer, Statistics), ComputeError> {
    let server = BlockServer::with_rotators(circuit, (keys, rotators), observer);
    let mut server = server.map_err(EvaluationError::from)?;
    let encoding = circuit.encoding(*tokens);
    if let Some(text) = text {
        server.keep_in(text, circuit.agreement().max_tokens(), Some(request.label()))?;
    }
    let is_last = server.requests().last() == Some(request.label());
    if is_last && let Some(answered) = server.go_on() {
        return Ok(answered?);
    }
    if server.tokens() != *earlier {
        return Err(ComputeError::Place { asked: *earlier, kept: server.tokens() });
    }
    Ok(server.evaluate(request, &encoding)?)
}
