//! An evaluator whose results are seen as they come, and that stops where it is told to.
//!
//! [`Watched`] computes nothing itself. It hands every operation on to another evaluator, has that show single numbers of what it
//! gave ([`Inspected`]), and a [`Watcher`] sees them. So what is seen of a program is seen in the same way on plain numbers, with drawn
//! noise and on ciphertexts, and there is no second copy of the program that could differ.

use crate::clear::{ClearEvaluator, ClearTensor};
use crate::evaluator::{BlockEvaluator, Entries, Evaluator, Form, LinearMap, Rows, SmoothEvaluator, SmoothUse, Use};
use crate::table::{Function, SmoothTable};
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// An operation of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// The number of its block among those of a program of blocks; 0 of others.
    pub block: usize,
    /// The step ([`crate::block::steps`], [`crate::packed::steps`], [`crate::integer::steps`]).
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
    /// No operation: the numbers that a lookup is about to read.
    Arguments,
    /// [`Evaluator::look_up`]: numbers in turns, or integers of tables of integers.
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
            Self::Arguments => "arguments of lookups",
            Self::Lookup => "lookups",
            Self::Integers => "looked-up integers",
            Self::ScaledRows => "rows times integers",
            Self::Constants => "constants added",
        }
    }
}

/// The numbers of a tensor, row by row. A row is made when it is asked for: single ciphertexts are large.
pub type InspectedRows<'a, S> = Box<dyn Iterator<Item = Vec<S>> + 'a>;

/// An evaluator whose numbers can be looked at on their way. Looking changes nothing of what is computed.
pub trait Inspected: Evaluator {
    /// A number as it is shown.
    type Shown;

    /// The numbers of an operation's result. `None` of one that has single numbers only when it is taken apart: then those of
    /// [`Evaluator::lanes`] are shown in their place.
    fn inspect<'s>(&'s mut self, tensor: &'s Self::Tensor) -> Option<InspectedRows<'s, Self::Shown>>;

    /// One number.
    fn inspect_lane(&self, lane: &Self::Lane) -> Self::Shown;
}

impl<T: Function> Inspected for ClearEvaluator<T> {
    type Shown = f64;

    /// Factors of products that count modulo a turn are in turns.
    fn inspect<'s>(&'s mut self, tensor: &'s ClearTensor) -> Option<InspectedRows<'s, f64>> {
        Some(Box::new(self.lanes(tensor.clone()).into_iter()))
    }

    fn inspect_lane(&self, &lane: &f64) -> f64 {
        lane
    }
}

/// Sees what the operations of a program give, and can stop it.
pub trait Watcher<S, T> {
    /// What an operation gave, in rows as the operation has them. Operations that are done together give several results, numbered from 0. It
    /// is seen before anything that follows is computed.
    fn result(&mut self, operation: Operation, part: usize, rows: &mut dyn Iterator<Item = Vec<S>>) -> ControlFlow<()>;

    /// What is about to be looked up, each number with its table.
    fn arguments(&mut self, _operation: Operation, _read: &mut dyn Iterator<Item = (S, &T)>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// What lookups gave, one after the other: without more ado, a result of one row.
    fn looked_up(&mut self, operation: Operation, results: &mut dyn Iterator<Item = S>) -> ControlFlow<()> {
        self.result(operation, 0, &mut std::iter::once_with(|| results.collect()))
    }
}

/// A function that sees the results of operations, and nothing else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchedBy<F>(pub(crate) F);

impl<S, T, F: FnMut(Operation, Rows<S>) -> ControlFlow<()>> Watcher<S, T> for WatchedBy<F> {
    fn result(&mut self, operation: Operation, _: usize, rows: &mut dyn Iterator<Item = Vec<S>>) -> ControlFlow<()> {
        self.0(operation, rows.collect())
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

/// An evaluator that shows every operation's results to a watcher, which can stop the program.
#[expect(missing_debug_implementations, reason = "neither evaluators nor watchers need one")]
pub struct Watched<'a, E, W: ?Sized> {
    inner: &'a mut E,
    watcher: &'a mut W,
    block: usize,
    /// Results that have not been seen, as they have not been taken apart.
    unseen: VecDeque<(Operation, usize)>,
    /// Whether the watcher had seen enough when a result was taken apart, where nothing can be stopped.
    stopped: bool,
}

impl<'a, E: Inspected, W: Watcher<E::Shown, E::Table> + ?Sized> Watched<'a, E, W> {
    /// Of an evaluator, and who watches.
    pub fn new(inner: &'a mut E, watcher: &'a mut W) -> Self {
        Self { inner, watcher, block: 0, unseen: VecDeque::new(), stopped: false }
    }

    fn operation(&self, (step, kind): (&'static str, OperationKind)) -> Operation {
        Operation { block: self.block, step, kind }
    }

    /// Before an operation.
    fn begin(&self) -> Result<(), WatchedError<E::Error>> {
        if self.stopped { Err(WatchedError::Stopped) } else { Ok(()) }
    }

    /// Shows a tensor, and gives it back.
    fn shown(
        &mut self,
        what: (&'static str, OperationKind),
        part: usize,
        tensor: E::Tensor,
    ) -> Result<E::Tensor, WatchedError<E::Error>> {
        let operation = self.operation(what);
        match self.inner.inspect(&tensor) {
            Some(mut rows) => going_on(self.watcher.result(operation, part, &mut rows))?,
            None => self.unseen.push_back((operation, part)),
        }
        Ok(tensor)
    }

    /// The same of several, or the error that there is in their place.
    fn all_shown(
        &mut self,
        what: (&'static str, OperationKind),
        tensors: Result<Vec<E::Tensor>, E::Error>,
    ) -> Result<Vec<E::Tensor>, WatchedError<E::Error>> {
        let tensors = tensors.map_err(WatchedError::Failed)?.into_iter().enumerate();
        tensors.map(|(part, tensor)| self.shown(what, part, tensor)).collect()
    }

    fn one_shown(
        &mut self,
        what: (&'static str, OperationKind),
        tensor: Result<E::Tensor, E::Error>,
    ) -> Result<E::Tensor, WatchedError<E::Error>> {
        self.shown(what, 0, tensor.map_err(WatchedError::Failed)?)
    }
}

fn going_on<E>(flow: ControlFlow<()>) -> Result<(), WatchedError<E>> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(WatchedError::Stopped),
    }
}

impl<E: Inspected, W: Watcher<E::Shown, E::Table> + ?Sized> Evaluator for Watched<'_, E, W> {
    type Tensor = E::Tensor;
    type Lane = E::Lane;
    type Table = E::Table;
    type Error = WatchedError<E::Error>;

    fn linear(
        &mut self,
        step: &'static str,
        input: &E::Tensor,
        maps: &[LinearMap<'_>],
    ) -> Result<Vec<E::Tensor>, Self::Error> {
        self.begin()?;
        let results = self.inner.linear(step, input, maps);
        self.all_shown((step, OperationKind::Map), results)
    }

    fn multiply(
        &mut self,
        step: &'static str,
        factors: Vec<[E::Tensor; 2]>,
        entries: Entries,
    ) -> Result<Vec<E::Tensor>, Self::Error> {
        self.begin()?;
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
        self.begin()?;
        let result = self.inner.weigh(step, weights, values, sum);
        self.one_shown((step, OperationKind::WeightedSum), result)
    }

    fn lanes(&mut self, tensor: E::Tensor) -> Rows<E::Lane> {
        let lanes = self.inner.lanes(tensor);
        if let Some((operation, part)) = self.unseen.pop_front() {
            let inner = &*self.inner;
            let mut rows = lanes.iter().map(|row| row.iter().map(|lane| inner.inspect_lane(lane)).collect());
            self.stopped |= self.watcher.result(operation, part, &mut rows).is_break();
        }
        lanes
    }

    fn pack(&mut self, rows: Rows<E::Lane>, form: Form) -> E::Tensor {
        self.inner.pack(rows, form)
    }

    fn look_up(
        &mut self,
        step: &'static str,
        lanes: &[E::Lane],
        tables: &[&E::Table],
        result: Use,
    ) -> Result<Vec<E::Lane>, Self::Error> {
        self.begin()?;
        let multiplies = matches!(result.smooth, SmoothUse::Multiplier { .. });
        let kind = if multiplies { OperationKind::Integers } else { OperationKind::Lookup };
        let (read, found) = (self.operation((step, OperationKind::Arguments)), self.operation((step, kind)));
        let inner = &*self.inner;
        let mut arguments = lanes.iter().zip(tables).map(|(lane, &table)| (inner.inspect_lane(lane), table));
        going_on(self.watcher.arguments(read, &mut arguments))?;
        let results = self.inner.look_up(step, lanes, tables, result).map_err(WatchedError::Failed)?;
        let inner = &*self.inner;
        going_on(self.watcher.looked_up(found, &mut results.iter().map(|lane| inner.inspect_lane(lane))))?;
        Ok(results)
    }

    fn add_scaled(&self, sum: &mut E::Lane, other: &E::Lane, factor: i64) {
        self.inner.add_scaled(sum, other, factor);
    }
}

impl<E, W> SmoothEvaluator for Watched<'_, E, W>
where
    E: SmoothEvaluator + Inspected,
    W: Watcher<E::Shown, SmoothTable> + ?Sized,
{
    fn constant(&self, turns: f64) -> E::Lane {
        self.inner.constant(turns)
    }

    fn add_constants(
        &mut self,
        step: &'static str,
        tensor: E::Tensor,
        turns: &[f64],
    ) -> Result<E::Tensor, Self::Error> {
        self.begin()?;
        let result = self.inner.add_constants(step, tensor, turns);
        self.one_shown((step, OperationKind::Constants), result)
    }
}

impl<E, W> BlockEvaluator for Watched<'_, E, W>
where
    E: BlockEvaluator + Inspected,
    W: Watcher<E::Shown, SmoothTable> + ?Sized,
{
    fn scale_rows(
        &mut self,
        step: &'static str,
        tensor: E::Tensor,
        multipliers: &E::Tensor,
    ) -> Result<E::Tensor, Self::Error> {
        self.begin()?;
        let result = self.inner.scale_rows(step, tensor, multipliers);
        self.one_shown((step, OperationKind::ScaledRows), result)
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
