//! Blocks whose operations are watched: a text's first request, step by step.
//!
//! It is [`StreamProgram::watch`](nn::block::StreamProgram::watch) on each of the backends. On ciphertexts the results that are shown are
//! ciphertexts, and what becomes of them is for whoever watches to say.

use std::ops::ControlFlow;

use nn::evaluator::{Evaluator, Rows};
use nn::watched::{Inspected, InspectedRows, Operation, WatchedError};
use tfhe_core::keys::{EvaluationKeys, Request};

use super::backend::BlockBackend;
use super::ciphertexts::{BlockCiphertexts, EncryptedNumber};
use super::circuit::BlockCircuit;
use super::encoding::BlockEncoding;
use super::evaluator::StreamEvaluator;
use super::keys::BlockKeys;
use super::server::opened;
use super::tensor::{StreamNumber, StreamTensor};
use crate::track::{EvaluationError, Observer};

impl<B: BlockBackend> Inspected for StreamEvaluator<'_, B> {
    type Shown = StreamNumber<B::Number>;

    fn inspect<'s>(&'s mut self, tensor: &'s StreamTensor<B>) -> Option<InspectedRows<'s, Self::Shown>> {
        Some(Box::new(self.lanes(tensor.clone()).into_iter()))
    }

    fn inspect_lane(&self, lane: &StreamNumber<B::Number>) -> Self::Shown {
        lane.clone()
    }
}

/// On any backend, until the watcher stops it or the blocks end.
///
/// # Errors
/// The evaluator's.
pub fn watch<B: BlockBackend>(
    circuit: &BlockCircuit,
    (backend, stream): (B, StreamTensor<B>),
    observer: &mut dyn Observer,
    watcher: impl FnMut(Operation, Rows<StreamNumber<B::Number>>) -> ControlFlow<()>,
) -> Result<(), EvaluationError> {
    let mut evaluator = StreamEvaluator::new(backend, circuit.prediction(), observer);
    match circuit.program().watch(&mut evaluator, stream, watcher) {
        Ok(_) | Err(WatchedError::Stopped) => Ok(()),
        Err(WatchedError::Failed(error)) => Err(error),
    }
}

/// On a request, with the keys that it belongs to.
///
/// # Errors
/// As those of [`BlockServer::evaluate`](super::server::BlockServer::evaluate).
pub fn watch_request(
    circuit: &BlockCircuit,
    keys: &EvaluationKeys,
    (request, encoding): (&Request, &BlockEncoding),
    observer: &mut dyn Observer,
    watcher: impl FnMut(Operation, Rows<StreamNumber<EncryptedNumber>>) -> ControlFlow<()>,
) -> Result<(), EvaluationError> {
    let stream = opened(circuit, keys, request, encoding)?;
    let backend = BlockCiphertexts { keys: BlockKeys::new(keys)?, layout: circuit.prediction().layout() };
    watch(circuit, (backend, stream), observer, watcher)
}
