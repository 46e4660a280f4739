//! What each operation of a block gives, beside what the clear engine and simulations have there.
//!
//! In execute mode the client decrypts what the server's operations gave: this is for study, with both in one process. A server that serves
//! somebody else has the ciphertexts only.

use std::ops::ControlFlow;

use nn::clear::ClearEvaluator;
use nn::evaluator::{BlockEvaluator, Form, Rows};
use nn::matrix::Matrix;
use nn::watched::{Operation, OperationKind, WatchedError};
use rayon::prelude::*;
use tfhe_core::random::SampleSeed;

use super::session::BlockKeyPair;
use super::simulated::rows;
use super::{BlockModel, BlockText, SIMULATIONS};
use crate::block::ciphertexts::EncryptedNumber;
use crate::block::circuit::BlockCircuit;
use crate::block::counted::{CountedBlock, CountedReals};
use crate::block::simulated::SimulatedBlock;
use crate::block::tensor::{Held, StreamNumber};
use crate::block::watched::{watch, watch_request};
use crate::run::error::RunError;
use crate::track::{Observer, Unobserved};

/// What computes a watched block.
pub enum WatchedMode<'a> {
    /// Plain numbers.
    Clear,
    /// With noise that is drawn from a seed.
    Simulate(&'a SampleSeed),
    /// Ciphertexts. The observer is told how far the computation has come.
    Execute(&'a BlockKeyPair, &'a mut dyn Observer),
}

/// What an operation gave.
///
/// Numbers are in turns, of which only the fraction matters; of [`OperationKind::Integers`] they are integers.
#[derive(Clone, Debug)]
pub struct OperationResult {
    /// The operation.
    pub operation: Operation,
    /// Without noise.
    pub clear: Rows<f64>,
    /// With it; none in clear mode.
    pub noisy: Option<NoisyResult>,
}

/// What an operation gave with noise, and how much of it.
#[derive(Clone, Debug)]
pub struct NoisyResult {
    /// Decrypted, or computed with drawn noise.
    pub numbers: Rows<f64>,
    /// The mean square of the differences from the clear engine's numbers in each of [`SIMULATIONS`] simulated runs.
    pub simulated: Vec<f64>,
    /// The mean of the variances that a plan predicts for the ciphertexts. What an argument was off by when a table read it is not in
    /// it. None of integers, which are exact once they are looked up.
    pub predicted: Option<f64>,
}

impl OperationResult {
    /// The number of its numbers.
    pub fn count(&self) -> usize {
        self.clear.iter().map(Vec::len).sum()
    }

    /// What two numbers of this operation differ by, given their difference: of numbers in turns that of their fractions.
    pub fn difference(&self, difference: f64) -> f64 {
        fraction(self.operation.kind, difference)
    }

    /// The mean square of the differences from the clear engine's numbers, if there is noise.
    pub fn measured(&self) -> Option<f64> {
        Some(mean_square(self.operation.kind, &self.noisy.as_ref()?.numbers, &self.clear))
    }
}

fn fraction(kind: OperationKind, difference: f64) -> f64 {
    if kind == OperationKind::Integers { difference } else { difference - difference.round_ties_even() }
}

/// Of the differences of an operation's numbers.
fn mean_square(kind: OperationKind, numbers: &[Vec<f64>], clear: &[Vec<f64>]) -> f64 {
    let pairs = numbers.iter().flatten().zip(clear.iter().flatten());
    mean(pairs.map(|(number, clear)| fraction(kind, number - clear).powi(2)))
}

fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = numbers.fold((0.0, 0_usize), |(sum, count), x| (sum + x, count + 1));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// What every operation of a step gives; of every step without one.
///
/// The first run is on plain numbers, to the end: it says after how many operations the step is finished. All others stop there.
struct Watch<'a> {
    circuit: &'a BlockCircuit,
    turns: Matrix<f64>,
    step: Option<&'static str>,
}

/// What was seen: operations with their numbers.
type Seen<T> = Vec<(Operation, T)>;

impl BlockText<'_> {
    /// What every operation of `step` of the blocks gives on a text's first tokens, of hidden states `[n, E]`; of every step without one. The
    /// computation ends with the last of them. Also, how many numbers of the clear engine left their ranges, in all of the blocks.
    ///
    /// # Errors
    /// As [`BlockText::advance`].
    pub fn watch(
        model: &BlockModel,
        mode: WatchedMode<'_>,
        hidden: &Matrix<f32>,
        step: Option<&'static str>,
    ) -> Result<(Vec<OperationResult>, usize), RunError> {
        let turns = model.client().encode(hidden)?;
        let watch = Watch { circuit: model.circuit(), turns, step };
        let (clear, out_of_range) = watch.clear();
        let numbers = match mode {
            WatchedMode::Clear => None,
            WatchedMode::Simulate(seed) => Some(watch.simulated(clear.len(), seed, |_, numbers| numbers)?),
            WatchedMode::Execute(keys, observer) => Some(watch.executed(clear.len(), keys, observer)?),
        };
        let noisy = numbers.map(|numbers| watch.noisy(&clear, numbers)).transpose()?;
        let mut noisy = noisy.into_iter().flatten();
        let result = |(operation, clear)| OperationResult { operation, clear, noisy: noisy.next() };
        Ok((clear.into_iter().map(result).collect(), out_of_range))
    }
}

impl Watch<'_> {
    /// Keeps what `number` makes of the results of the step, until there are as many of them as the step has.
    fn keeping<'s, L, T>(
        &self,
        (seen, most): (&'s mut Seen<T>, usize),
        mut number: impl FnMut(Operation, Rows<L>) -> T + 's,
    ) -> impl FnMut(Operation, Rows<L>) -> ControlFlow<()> + 's {
        let step = self.step;
        move |operation, rows| {
            if step.is_none_or(|step| step == operation.step) {
                seen.push((operation, number(operation, rows)));
            }
            if seen.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    fn clear(&self) -> (Seen<Rows<f64>>, usize) {
        let (mut evaluator, mut seen) = (ClearEvaluator::new(), Vec::new());
        let stream = evaluator.known(rows(&self.turns), Form::Features);
        let keep = self.keeping((&mut seen, usize::MAX), |_, numbers| numbers);
        match self.circuit.program().watch(&mut evaluator, stream, keep) {
            Ok(_) | Err(WatchedError::Stopped) => {}
        }
        let out_of_range = evaluator.out_of_range() + evaluator.overflows();
        (seen, out_of_range)
    }

    fn simulated<T>(
        &self,
        operations: usize,
        seed: &SampleSeed,
        mut number: impl FnMut(Operation, Rows<f64>) -> T,
    ) -> Result<Seen<T>, RunError> {
        let (prediction, mut seen) = (self.circuit.prediction(), Vec::new());
        let mut backend = SimulatedBlock::new(*prediction.layout(), prediction.lookup_size(), seed);
        let fresh = prediction.fresh();
        let stream = Held::fresh(backend.encrypt(&self.turns, fresh), [self.turns.rows(), self.turns.cols()], fresh);
        let keep = self.keeping((&mut seen, operations), |operation, rows: Rows<StreamNumber<f64>>| {
            number(operation, each(&rows, |number| *number.content()))
        });
        watch(self.circuit, (backend, stream), &mut Unobserved, keep)?;
        Ok(seen)
    }

    /// Decrypted.
    fn executed(
        &self,
        operations: usize,
        BlockKeyPair(keys): &BlockKeyPair,
        observer: &mut dyn Observer,
    ) -> Result<Seen<Rows<f64>>, RunError> {
        let encoding = self.circuit.encoding(self.turns.rows());
        let request = keys.client.encrypt(&encoding.integers(&self.turns)?, &encoding)?;
        let (reader, mut seen) = (keys.client.block_numbers()?, Vec::new());
        let keep = self.keeping((&mut seen, operations), |_, rows: Rows<StreamNumber<EncryptedNumber>>| {
            let decrypt = |number: &StreamNumber<EncryptedNumber>| reader.number(number.content());
            rows.par_iter().map(|row| row.par_iter().map(decrypt).collect()).collect()
        });
        watch_request(self.circuit, &keys.evaluation_keys, (&request, &encoding), observer, keep)?;
        Ok(seen)
    }

    /// The variances that a plan predicts.
    fn predicted(&self, operations: usize) -> Result<Seen<f64>, RunError> {
        let (prediction, mut seen) = (self.circuit.prediction(), Vec::new());
        let [rows, channels] = [self.turns.rows(), self.turns.cols()];
        let stream = Held::fresh(CountedReals { rows, channels }, [rows, channels], prediction.fresh());
        let keep = self.keeping((&mut seen, operations), |_, rows: Rows<StreamNumber<()>>| {
            let variances = each(&rows, |number| number.noise().get());
            mean(variances.into_iter().flatten())
        });
        watch(self.circuit, (CountedBlock, stream), &mut Unobserved, keep)?;
        Ok(seen)
    }

    /// Of each operation: its numbers, with what simulations and predictions say of their noise.
    fn noisy(&self, clear: &Seen<Rows<f64>>, numbers: Seen<Rows<f64>>) -> Result<Vec<NoisyResult>, RunError> {
        let simulate = |run: u64| {
            let mut clear = clear.iter();
            let squares = |operation: Operation, numbers: Rows<f64>| {
                let (_, clear) = clear.next().expect("every run has the same operations");
                mean_square(operation.kind, &numbers, clear)
            };
            self.simulated(numbers.len(), &SampleSeed::from_number(run), squares)
        };
        let runs = (0..SIMULATIONS).into_par_iter().map(simulate).collect::<Result<Vec<_>, RunError>>()?;
        let predicted = self.predicted(numbers.len())?;
        let noisy = |(index, (operation, numbers)): (usize, (Operation, Rows<f64>))| NoisyResult {
            numbers,
            simulated: runs.iter().map(|run| run[index].1).collect(),
            predicted: (operation.kind != OperationKind::Integers).then(|| predicted[index].1),
        };
        Ok(numbers.into_iter().enumerate().map(noisy).collect())
    }
}

fn each<L>(rows: &[Vec<L>], number: impl Fn(&L) -> f64) -> Rows<f64> {
    rows.iter().map(|row| row.iter().map(&number).collect()).collect()
}
