//! An evaluator whose results are seen as they come, and that stops where it is told to.
//!
//! [`Watched`] computes nothing itself. It hands every operation on to another evaluator, takes what comes back apart into single
//! numbers, and shows them. So what is seen of a program is seen in the same way on plain numbers, with drawn noise and on
//! ciphertexts, and there is no second copy of the program that could differ.

use crate::evaluator::{BlockEvaluator, Entries, Evaluator, Form, LinearMap, Rows, SmoothEvaluator, SmoothUse, Use};
use crate::table::SmoothTable;
use std::ops::ControlFlow;

/// An operation of a program of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// The number of its block among those of the program.
    pub block: usize,
    /// The step ([`crate::block::steps`]).
    pub step: &'static str,
    /// What was done.
    pub kind: OperationKind,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// [`Evaluator::linear`], one of its maps.
    Map,
    /// [`Evaluator::multiply`], one of its products.
    Product,
    /// [`Evaluator::weigh`], with all that was weighed before.
    WeightedSum,
    /// [`Evaluator::look_up`]: numbers in turns.
    Lookup,
    /// The same: integers that multiply.
    Integers,
    /// [`BlockEvaluator::scale_rows`].
    ScaledRows,
    /// [`SmoothEvaluator::add_constants`].
    Constants,
}

impl OperationKind {
    /// Its results, in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Map => "linear map",
            Self::Product => "products",
            Self::WeightedSum => "weighted sum",
            Self::Lookup => "lookups",
            Self::Integers => "looked-up integers",
            Self::ScaledRows => "rows times integers",
            Self::Constants => "constants added",
        }
    }
}

/// Why a watched program was not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchedError<E> {
    /// Whoever watches had seen enough.
    #[error("the program was stopped by whoever watches it")]
    Stopped,
    /// The evaluator's.
    #[error(transparent)]
    Failed(E),
}

/// An evaluator that shows every operation's results to a function, which can stop the program.
///
/// Numbers come in rows as the operation has them; those of lookups in one. A result is shown before anything that follows is computed.
#[expect(missing_debug_implementations, reason = "neither evaluators nor functions need one")]
pub struct Watched<'a, E, W> {
    inner: &'a mut E,
    watcher: W,
    block: usize,
}

impl<'a, E: BlockEvaluator, W: FnMut(Operation, Rows<E::Lane>) -> ControlFlow<()>> Watched<'a, E, W> {
    /// Of an evaluator, watched by a function.
    pub fn new(inner: &'a mut E, watcher: W) -> Self {
        Self { inner, watcher, block: 0 }
    }

    fn show(
        &mut self,
        (step, kind): (&'static str, OperationKind),
        rows: Rows<E::Lane>,
    ) -> Result<(), WatchedError<E::Error>> {
        match (self.watcher)(Operation { block: self.block, step, kind }, rows) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(WatchedError::Stopped),
        }
    }

    /// Shows a tensor, and gives it back.
    fn shown(
        &mut self,
        what: (&'static str, OperationKind),
        tensor: Result<E::Tensor, E::Error>,
    ) -> Result<E::Tensor, WatchedError<E::Error>> {
        let tensor = tensor.map_err(WatchedError::Failed)?;
        let rows = self.inner.lanes(tensor.clone());
        self.show(what, rows)?;
        Ok(tensor)
    }

    /// The same of several.
    fn all_shown(
        &mut self,
        what: (&'static str, OperationKind),
        tensors: Result<Vec<E::Tensor>, E::Error>,
    ) -> Result<Vec<E::Tensor>, WatchedError<E::Error>> {
        let tensors = tensors.map_err(WatchedError::Failed)?;
        tensors.into_iter().map(|tensor| self.shown(what, Ok(tensor))).collect()
    }
}

impl<E: BlockEvaluator, W: FnMut(Operation, Rows<E::Lane>) -> ControlFlow<()>> Evaluator for Watched<'_, E, W> {
    type Tensor = E::Tensor;
    type Lane = E::Lane;
    type Table = SmoothTable;
    type Error = WatchedError<E::Error>;

    fn linear(
        &mut self,
        step: &'static str,
        input: &E::Tensor,
        maps: &[LinearMap<'_>],
    ) -> Result<Vec<E::Tensor>, Self::Error> {
        let results = self.inner.linear(step, input, maps);
        self.all_shown((step, OperationKind::Map), results)
    }

    fn multiply(
        &mut self,
        step: &'static str,
        factors: Vec<[E::Tensor; 2]>,
        entries: Entries,
    ) -> Result<Vec<E::Tensor>, Self::Error> {
        let results = self.inner.multiply(step, factors, entries);
        self.all_shown((step, OperationKind::Product), results)
    }

    fn weigh(
        &mut self,
        step: &'static str,
        weights: E::Tensor,
        values: E::Tensor,
        sum: Option<E::Tensor>,
    ) -> Result<E::Tensor, Self::Error> {
        let result = self.inner.weigh(step, weights, values, sum);
        self.shown((step, OperationKind::WeightedSum), result)
    }

    fn lanes(&mut self, tensor: E::Tensor) -> Rows<E::Lane> {
        self.inner.lanes(tensor)
    }

    fn pack(&mut self, rows: Rows<E::Lane>, form: Form) -> E::Tensor {
        self.inner.pack(rows, form)
    }

    fn look_up(
        &mut self,
        step: &'static str,
        lanes: &[E::Lane],
        tables: &[&SmoothTable],
        result: Use,
    ) -> Result<Vec<E::Lane>, Self::Error> {
        let multiplies = matches!(result.smooth, SmoothUse::Multiplier { .. });
        let kind = if multiplies { OperationKind::Integers } else { OperationKind::Lookup };
        let results = self.inner.look_up(step, lanes, tables, result).map_err(WatchedError::Failed)?;
        self.show((step, kind), vec![results.clone()])?;
        Ok(results)
    }

    fn add_scaled(&self, sum: &mut E::Lane, other: &E::Lane, factor: i64) {
        self.inner.add_scaled(sum, other, factor);
    }
}

impl<E: BlockEvaluator, W: FnMut(Operation, Rows<E::Lane>) -> ControlFlow<()>> SmoothEvaluator for Watched<'_, E, W> {
    fn constant(&self, turns: f64) -> E::Lane {
        self.inner.constant(turns)
    }

    fn add_constants(
        &mut self,
        step: &'static str,
        tensor: E::Tensor,
        turns: &[f64],
    ) -> Result<E::Tensor, Self::Error> {
        let result = self.inner.add_constants(step, tensor, turns);
        self.shown((step, OperationKind::Constants), result)
    }
}

impl<E: BlockEvaluator, W: FnMut(Operation, Rows<E::Lane>) -> ControlFlow<()>> BlockEvaluator for Watched<'_, E, W> {
    fn scale_rows(
        &mut self,
        step: &'static str,
        tensor: E::Tensor,
        multipliers: &E::Tensor,
    ) -> Result<E::Tensor, Self::Error> {
        let result = self.inner.scale_rows(step, tensor, multipliers);
        self.shown((step, OperationKind::ScaledRows), result)
    }

    fn add(&mut self, sum: &mut E::Tensor, other: &E::Tensor) {
        self.inner.add(sum, other);
    }

    fn append(&mut self, above: &mut E::Tensor, below: E::Tensor) {
        self.inner.append(above, below);
    }

    fn enter_block(&mut self, index: usize) {
        self.block = index;
        self.inner.enter_block(index);
    }

    fn last_row(&mut self, tensor: &E::Tensor) -> E::Tensor {
        self.inner.last_row(tensor)
    }

    fn split_last(&mut self, tensor: &E::Tensor) -> (E::Tensor, Vec<E::Lane>) {
        self.inner.split_last(tensor)
    }

    fn note_decrypted(&mut self, step: &'static str, tensor: &E::Tensor, limit: f64) {
        self.inner.note_decrypted(step, tensor, limit);
    }

    fn known(&mut self, rows: Rows<f64>, form: Form) -> E::Tensor {
        self.inner.known(rows, form)
    }
}
