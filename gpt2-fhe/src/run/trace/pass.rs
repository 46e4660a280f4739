//! A watched run of a head: what was seen of each number, operation after operation.

use std::ops::ControlFlow;

use nn::watched::{Operation, OperationKind, Watcher};
use rayon::prelude::*;

/// How many single numbers are looked at together. On ciphertexts each takes as much memory as a thousand and more plain ones.
const TOGETHER: usize = 256;

/// What an operation gave, or what it is about to read, number by number.
#[derive(Clone, Debug)]
pub struct SeenOperation<N> {
    /// The operation.
    pub(super) operation: Operation,
    /// Which of the results of operations that are done together.
    pub(super) part: usize,
    /// How many numbers each row has.
    pub(super) rows: Vec<usize>,
    /// Row by row.
    pub(super) numbers: Vec<N>,
}

/// All of them. Runs of one program have the same operations, with as many numbers.
pub type WatchedPass<N> = Vec<SeenOperation<N>>;

/// Keeps what a function makes of each number that is shown, and of its table if it is about to be looked up.
pub(in crate::run) struct Collector<'a, N, F> {
    pass: &'a mut WatchedPass<N>,
    number: F,
}

impl<'a, N, F> Collector<'a, N, F> {
    pub(in crate::run) fn new(pass: &'a mut WatchedPass<N>, number: F) -> Self {
        Self { pass, number }
    }
}

impl<N, F> Collector<'_, N, F> {
    /// Of what comes one after the other.
    fn collect<Shown: Send>(
        &mut self,
        operation: Operation,
        mut shown: &mut dyn Iterator<Item = Shown>,
        number: impl Fn(&F, &Shown) -> N + Sync,
    ) where
        N: Send,
        F: Sync,
    {
        let (mut numbers, of) = (Vec::new(), &self.number);
        loop {
            let together: Vec<Shown> = (&mut shown).take(TOGETHER).collect();
            if together.is_empty() {
                break;
            }
            numbers.par_extend(together.into_par_iter().map(|shown| number(of, &shown)));
        }
        self.pass.push(SeenOperation { operation, part: 0, rows: vec![numbers.len()], numbers });
    }
}

impl<S, T, N, F> Watcher<S, T> for Collector<'_, N, F>
where
    S: Send,
    T: Sync,
    N: Send,
    F: Fn(&S, Option<&T>) -> N + Sync,
{
    fn result(&mut self, operation: Operation, part: usize, rows: &mut dyn Iterator<Item = Vec<S>>) -> ControlFlow<()> {
        let (mut lengths, mut numbers, number) = (Vec::new(), Vec::new(), &self.number);
        for row in rows {
            lengths.push(row.len());
            numbers.par_extend(row.into_par_iter().map(|shown| number(&shown, None)));
        }
        self.pass.push(SeenOperation { operation, part, rows: lengths, numbers });
        ControlFlow::Continue(())
    }

    fn arguments(&mut self, operation: Operation, read: &mut dyn Iterator<Item = (S, &T)>) -> ControlFlow<()> {
        self.collect(operation, read, |number, (shown, table)| number(shown, Some(table)));
        ControlFlow::Continue(())
    }

    fn looked_up(&mut self, operation: Operation, results: &mut dyn Iterator<Item = S>) -> ControlFlow<()> {
        self.collect(operation, results, |number, shown| number(shown, None));
        ControlFlow::Continue(())
    }
}

impl<N> SeenOperation<N> {
    /// Of the first number of each row, its place among all.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.rows.iter().enumerate().flat_map(|(row, &length)| (0..length).map(move |column| (row, column)))
    }

    /// Whether it is about to be looked up.
    pub(super) fn is_read(&self) -> bool {
        self.operation.kind == OperationKind::Arguments
    }
}

/// A number of the clear engine, in the unit in which it is shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::run) struct ClearNumber {
    pub(in crate::run) number: f64,
    /// How far it may be off and be read right; infinite if nothing reads it.
    pub(in crate::run) room: f64,
    /// How far it is from the end of its range, negative beyond; infinite without one.
    pub(in crate::run) left: f64,
}

impl ClearNumber {
    /// One that has neither.
    pub(in crate::run) fn new(number: f64) -> Self {
        Self { number, room: f64::INFINITY, left: f64::INFINITY }
    }
}

/// What is predicted of a number, in turns.
#[derive(Clone, Copy, Debug)]
pub(in crate::run) struct PredictedNumber {
    /// The unit in which it is shown.
    pub(in crate::run) unit: f64,
    /// The standard deviation of its noise, where a formula gives it.
    pub(in crate::run) noise: Option<f64>,
    /// The same when a table reads it.
    pub(in crate::run) read: Option<f64>,
}

/// A number with noise, in turns.
#[derive(Clone, Copy, Debug)]
pub struct NoisyNumber {
    /// Decrypted, or computed with drawn noise.
    pub(in crate::run) turns: f64,
    /// The variance of the part of its noise that is not drawn yet.
    pub(in crate::run) undrawn: f64,
}

impl NoisyNumber {
    /// With all of its noise.
    pub(in crate::run) fn drawn(turns: f64) -> Self {
        Self { turns, undrawn: 0.0 }
    }
}
