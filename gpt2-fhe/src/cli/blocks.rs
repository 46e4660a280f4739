//! Blocks in one of the three modes, with what they need for as long as they run.

use gpt2_fhe::block::circuit::BlockCircuit;
use gpt2_fhe::run::block::{BlockKeyPair, BlockSession, BlockText};
use gpt2_fhe::run::{Mode, Plan, RunError};
use tfhe_core::random::SampleSeed;

use super::arguments::Execution;
use super::progress::{BlockProgress, while_showing};

/// Blocks, or parts of several, for one text.
pub(super) struct Blocks {
    circuits: Vec<BlockCircuit>,
    /// Of each, by request; none in clear mode.
    plans: Vec<Vec<Plan>>,
    engine: Engine,
    progress: BlockProgress,
    observers: Vec<BlockProgress>,
}

enum Engine {
    Clear,
    Simulate(SampleSeed),
    /// All blocks have the same keys.
    Execute(Box<BlockKeyPair>),
}

impl Blocks {
    /// For requests of so many new tokens each, which is planned first; in execute mode, this makes the keys.
    ///
    /// # Errors
    /// That there is no block; as [`BlockText::plan`]; that the system has no randomness.
    pub(super) fn new(circuits: Vec<BlockCircuit>, execution: &Execution, requests: &[usize]) -> anyhow::Result<Self> {
        let plan =
            || circuits.iter().map(|circuit| BlockText::plan(circuit, requests)).collect::<Result<_, RunError>>();
        let plans: Vec<Vec<Plan>> = match execution.mode {
            Mode::Clear => Vec::new(),
            Mode::Simulate | Mode::Execute => while_showing("planning", plan)?,
        };
        let engine = match execution.mode {
            Mode::Clear => Engine::Clear,
            Mode::Simulate => Engine::Simulate(execution.resources.sample_seed()?),
            Mode::Execute => {
                let (parameters, seed) = (circuits[0].parameters(), execution.resources.client_seed()?);
                let keys = while_showing("making the keys", || BlockKeyPair::new(parameters, &seed))?;
                Engine::Execute(Box::new(keys))
            }
        };
        let progress = BlockProgress::default();
        let observers = vec![progress.clone(); circuits.len()];
        Ok(Self { circuits, plans, engine, progress, observers })
    }

    /// What shows how far a request has come.
    pub(super) fn progress(&self) -> BlockProgress {
        self.progress.clone()
    }

    /// The text, before its first token, of each of the circuits.
    ///
    /// # Errors
    /// As [`BlockSession::new`].
    pub(super) fn texts<'a>(&'a mut self) -> Result<Vec<BlockText<'a>>, RunError> {
        let mut plans = self.plans.clone().into_iter();
        let mut next_plans = || plans.next().unwrap_or_default();
        let circuits = self.circuits.iter().zip(&mut self.observers).zip(0..);
        let text = |((circuit, observer), index): ((_, &'a mut BlockProgress), u64)| match &self.engine {
            Engine::Clear => Ok(BlockText::clear(circuit)),
            Engine::Simulate(seed) => Ok(BlockText::simulated(circuit, next_plans(), &seed.derive(index))),
            Engine::Execute(keys) => Ok(BlockText::executed(BlockSession::new(circuit, keys, observer)?, next_plans())),
        };
        circuits.map(text).collect()
    }
}
