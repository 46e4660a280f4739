//! Whole blocks on a text that grows, in every mode, with everything that is worth knowing about each request.
//!
//! The client sends the hidden states of new tokens, encrypted, and gets back the stream after the last of the blocks; of the last token
//! only where that is the model's last, or the logits after it where the model ends on the server. What is between is seen by nobody. The
//! server keeps, encrypted, what later tokens need of earlier ones (keys and values), so that a new token costs its own rows only.
//!
//! What blocks are for, and judged by, is the *update*: the output less the input ([`BlockOutcome::relative_error`]); logits are judged by
//! their differences. The stream carries the
//! mean of each row as a channel of its own, which no LayerNorm sees.

mod hooks;
mod journal;
mod measure;
mod model;
mod outcome;
mod party;
mod session;
mod simulated;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tiny;
mod watched;

pub use hooks::{BlockSource, ReplacedBlocks};
pub use journal::is_journal;
pub use measure::OperationSeconds;
pub use model::BlockModel;
pub(crate) use outcome::without_means;
pub use outcome::{BlockOutcome, NoiseSquares};
pub use party::{BlockParty, RemoteCost, RemoteServer, RemoteText};
pub use session::{BlockKeyPair, BlockSession, GoingOn};
pub use watched::{NoisyResult, OperationResult, WatchedMode};

use std::time::Instant;

use nn::block::{AnswerScale, BlockCache, Ending};
use nn::clear::ClearEvaluator;
use nn::evaluator::{BlockEvaluator, Form};
use nn::matrix::Matrix;
use nn::quantizers::Saturation;
use nn::table::SmoothTable;
use rayon::prelude::*;
use tfhe_core::random::SampleSeed;

use self::simulated::{SimulatedText, rows};
use super::error::{RunError, check_finite};
use super::lowering::RunOutput;
use super::outcome::Outcome;
use super::plan::{Plan, forecast_blocks};
use crate::block::circuit::BlockCircuit;
use crate::block::forecast::check_reliable;
use crate::encoding::Encoding;
use crate::track::statistics::Statistics;

/// Simulated texts from which the noise of each output is estimated.
pub const SIMULATIONS: u64 = 32;
/// How many estimated standard deviations an output may be from the clear engine's, as in the packed circuit.
const TOLERANCE: f64 = 8.0;

/// What computes the blocks.
enum Engine<'a> {
    Clear,
    /// With drawn noise.
    Simulate(Box<SimulatedText<'a>>),
    Execute(Box<BlockSession<'a>>),
}

/// Blocks on one text, request after request.
///
/// Beside what was asked for it computes, where there is noise, what it is compared with: the clear engine's numbers, and
/// simulated ones.
pub struct BlockText<'a> {
    model: &'a BlockModel,
    engine: Engine<'a>,
    clear: Vec<BlockCache<ClearEvaluator<SmoothTable>>>,
    simulations: Vec<SimulatedText<'a>>,
    /// Of the requests to come, the next one last.
    plans: Vec<Plan>,
}

/// What the clear engine computes.
struct Clear {
    /// In turns.
    numbers: Matrix<f64>,
    out_of_range: usize,
    statistics: Statistics,
}

impl<'a> BlockText<'a> {
    /// Plans requests that follow each other, of so many new tokens each.
    ///
    /// # Errors
    /// [`RunError::UnreliableBlocks`] if one of them may fail with more than 2^-40.
    pub fn plan(circuit: &BlockCircuit, requests: &[usize]) -> Result<Vec<Plan>, RunError> {
        let plans = Self::forecast(circuit, requests)?;
        plans.iter().try_for_each(|plan| check_reliable(&plan.statistics))?;
        Ok(plans)
    }

    /// The same, reliable or not.
    ///
    /// # Errors
    /// [`RunError::Refused`] if the set is not one of this circuit.
    pub fn forecast(circuit: &BlockCircuit, requests: &[usize]) -> Result<Vec<Plan>, RunError> {
        forecast_blocks(circuit, requests)
    }

    /// On plain numbers.
    pub fn clear(model: &'a BlockModel) -> Self {
        Self::of(model, Engine::Clear, Vec::new())
    }

    /// On plain numbers with noise that is drawn from `seed`, in requests as they were planned. Without plans, nothing is said of how far
    /// numbers may be from the clear engine's.
    pub fn simulated(model: &'a BlockModel, plans: Vec<Plan>, seed: &SampleSeed) -> Self {
        Self::of(model, Engine::Simulate(Box::new(SimulatedText::new(model.circuit(), *seed))), plans)
    }

    /// Encrypted, in requests as they were planned.
    pub fn executed(model: &'a BlockModel, session: BlockSession<'a>, plans: Vec<Plan>) -> Self {
        Self::of(model, Engine::Execute(Box::new(session)), plans)
    }

    fn of(model: &'a BlockModel, engine: Engine<'a>, mut plans: Vec<Plan>) -> Self {
        let circuit = model.circuit();
        let simulations = if plans.is_empty() { 0 } else { SIMULATIONS };
        let simulated = |run| SimulatedText::new(circuit, SampleSeed::from_number(run));
        plans.reverse();
        let (clear, simulations) =
            (circuit.program().caches(&mut ClearEvaluator::new()), (0..simulations).map(simulated).collect());
        Self { model, engine, clear, simulations, plans }
    }

    /// What the blocks end with ([`Ending`]), of new tokens with hidden states `hidden: [n, E]` before the first of
    /// the blocks.
    ///
    /// # Errors
    /// [`RunError::Input`] and [`RunError::Refused`] if they do not fit; as [`BlockSession::answer`]; [`RunError::NotFinite`].
    pub fn advance(&mut self, hidden: &Matrix<f32>) -> Result<BlockOutcome, RunError> {
        let turns = self.model.client().encode(hidden)?;
        // What cannot be sent is refused in every mode.
        self.model.circuit().encoding(turns.rows()).integers(&turns)?;
        let plan = self.plans.pop();
        let start = Instant::now();
        let answer = match &mut self.engine {
            Engine::Clear => None,
            Engine::Simulate(text) => {
                let (numbers, statistics) = text.advance(&turns)?;
                Some(RunOutput::computed(numbers, statistics, start))
            }
            Engine::Execute(session) => Some(session.answer(&turns)?),
        };
        let start = Instant::now();
        let clear = self.advance_clear(&turns);
        let answer =
            answer.unwrap_or_else(|| RunOutput::computed(clear.numbers.clone(), clear.statistics.clone(), start));
        let tolerance = match self.engine {
            Engine::Clear => None,
            Engine::Simulate(_) | Engine::Execute(_) => Some(self.tolerance(&turns, &clear.numbers)?),
        };
        self.outcome(hidden, answer, clear, (tolerance, plan))
    }

    fn advance_clear(&mut self, turns: &Matrix<f64>) -> Clear {
        let mut evaluator = ClearEvaluator::new();
        let stream = evaluator.known(rows(turns), Form::Features);
        let Ok(answer) = self.model.circuit().program().answer(&mut evaluator, stream, &mut self.clear);
        let (count, columns) = self.model.circuit().encoding(turns.rows()).output_size();
        let numbers = Matrix::from_fn(count, columns, |row, column| answer.rows()[row][column]);
        let out_of_range = evaluator.out_of_range() + evaluator.overflows();
        Clear { numbers, out_of_range, statistics: Statistics::of_clear(&evaluator) }
    }

    /// How far each number may be from the clear engine's: where nothing was planned, nothing is said of that.
    fn tolerance(&mut self, turns: &Matrix<f64>, clear: &Matrix<f64>) -> Result<Matrix<f64>, RunError> {
        if self.simulations.is_empty() {
            return Ok(clear.map(|_| f64::INFINITY));
        }
        let simulate = |text: &mut SimulatedText<'a>| Ok(text.advance(turns)?.0);
        let runs = self.simulations.par_iter_mut().map(simulate).collect::<Result<Vec<_>, RunError>>()?;
        let square = |at: (usize, usize)| runs.iter().map(|run| (run[at] - clear[at]).powi(2)).sum::<f64>();
        Ok(Matrix::from_fn(clear.rows(), clear.cols(), |row, channel| {
            TOLERANCE * (square((row, channel)) / SIMULATIONS as f64).sqrt()
        }))
    }

    /// Differences from the clear engine, where they were simulated, in units of outputs.
    fn noise(&self, run: &Outcome) -> Option<NoiseSquares> {
        let deviations = run.tolerance.as_ref().filter(|_| !self.simulations.is_empty())?.map(|x| x / TOLERANCE);
        let (numbers, clear, client) = (&run.numbers, &run.clear_numbers, self.model.client());
        let differences = Matrix::from_fn(numbers.rows(), numbers.cols(), |row, column| {
            numbers[(row, column)] - clear[(row, column)]
        });
        let square = |turns: &f64| turns.powi(-2);
        let turns = client.end().last().map_or(client.scale().turns(), AnswerScale::turns);
        let mut weights: Vec<f64> = turns.iter().map(square).collect();
        if client.end().ending() != Ending::Logits {
            // A mean is part of each of its row's hidden states.
            weights[client.embedding_size()] *= client.embedding_size() as f64;
        }
        Some(NoiseSquares::new(&differences, &deviations, &weights))
    }

    fn outcome(
        &self,
        hidden: &Matrix<f32>,
        answer: RunOutput,
        clear: Clear,
        (tolerance, plan): (Option<Matrix<f64>>, Option<Plan>),
    ) -> Result<BlockOutcome, RunError> {
        let client = self.model.client();
        let RunOutput { numbers, statistics, seconds, bytes } = answer;
        let (output, clear_output) = (client.decode(&numbers)?, client.decode(&clear.numbers)?);
        [&output, &clear_output].into_iter().try_for_each(check_finite)?;
        // Where there is a plan, it says what is done, and runs how long it took.
        let statistics = plan.as_ref().map_or(statistics.clone(), |plan| plan.statistics.with_times_of(&statistics));
        let run = Outcome {
            numbers,
            clear_numbers: clear.numbers,
            tolerance,
            output,
            clear_output,
            out_of_range: clear.out_of_range,
            saturation: Saturation::default(),
            statistics,
            seconds,
            bytes,
            plan,
        };
        let input = match client.end().ending() {
            Ending::Stream => Some(hidden.clone()),
            Ending::LastState => Some(hidden.row_range(hidden.rows() - 1..hidden.rows())),
            Ending::Logits => None,
        };
        Ok(BlockOutcome { noise: self.noise(&run), run, input })
    }
}
