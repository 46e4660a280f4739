//! What a server does with a request for blocks that came as bytes.

use tfhe_core::keys::{Answer, EvaluationKeys};

use super::agreement::BlockRequest;
use super::circuit::{BlockCircuit, Running};
use super::counted::{CountedBlock, CountedReals};
use super::evaluator::StreamEvaluator;
use super::server::BlockServer;
use super::tensor::Held;
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

/// The answer to a request. `text`: where the server keeps what it has of the request's text, from which requests that follow go on; a request
/// that was stopped goes on after its last block that was done, if it is sent again, and is forgotten if another one comes; the last one that
/// was answered is answered again. Without it, the request has to be the text's first, and nothing is kept.
///
/// # Errors
/// [`ComputeError`].
pub fn compute(
    circuit: &BlockCircuit,
    keys: &EvaluationKeys,
    BlockRequest { earlier, tokens, request }: &BlockRequest,
    text: Option<Store>,
    observer: &mut dyn Observer,
) -> Result<(Answer, Statistics), ComputeError> {
    let mut server = BlockServer::new(circuit, keys, observer).map_err(EvaluationError::from)?;
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

/// How many lookups and products an observer of a request of so many new tokens after others will be told of.
///
/// # Errors
/// [`EvaluationError::Refused`] if the set is not one of this circuit.
pub fn operations(circuit: &BlockCircuit, earlier: usize, tokens: usize) -> Result<usize, EvaluationError> {
    let (mut count, prediction, channels) = (Count(0), circuit.prediction(), circuit.channels());
    let mut after = |rows: usize| {
        let mut running = Running::new(circuit, StreamEvaluator::new(CountedBlock, prediction, &mut count));
        running.restart_untracked(circuit);
        for rows in [earlier, rows].into_iter().filter(|&rows| rows > 0) {
            let reals = CountedReals { rows, channels };
            running.advance(circuit, Held::fresh(reals, [rows, channels], prediction.fresh()))?;
        }
        drop(running);
        Ok::<_, EvaluationError>(std::mem::take(&mut count.0))
    };
    let before = if earlier > 0 { after(0)? } else { 0 };
    Ok(after(tokens)?.saturating_sub(before))
}

/// Adds up what it is told of.
struct Count(usize);

impl Observer for Count {
    fn begin(&mut self, _: &'static str, operations: usize) {
        self.0 += operations;
    }

    fn advance(&mut self, _: usize) -> bool {
        true
    }
}
