//! Blocks in one of the three modes, with what they need for as long as they run.

use anyhow::bail;
use gpt2_fhe::run::block::{
    BlockKeyPair, BlockModel, BlockOutcome, BlockSession, BlockText, GoingOn, OperationResult, ReplacedBlocks,
    WatchedMode,
};
use gpt2_fhe::run::{Mode, Plan, RunError};
use nn::block::Ending;
use nn::gpt2::TextSession;
use nn::matrix::Matrix;
use tfhe_core::random::SampleSeed;

use super::arguments::Resources;
use super::checkpoint::{Checkpoint, advise};
use super::output::note;
use super::progress::{BlockProgress, while_showing};
use super::text::plural;

/// Blocks, or parts of several, for one text.
pub(super) struct Blocks {
    mode: Mode,
    models: Vec<BlockModel>,
    /// Of each, by request; none in clear mode.
    plans: Vec<Vec<Plan>>,
    engine: Engine,
    progress: BlockProgress,
    observers: Vec<BlockProgress>,
    /// Where the text is kept, if it is.
    checkpoint: Option<Checkpoint>,
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
    pub(super) fn new(
        models: Vec<BlockModel>,
        (mode, resources): (Mode, &Resources),
        requests: &[usize],
    ) -> anyhow::Result<Self> {
        Self::kept(models, (mode, resources), requests, None)
    }

    /// The same for one text that is kept, where there is a checkpoint.
    ///
    /// # Errors
    /// As [`Self::new`]; as [`Checkpoint::begin`].
    pub(super) fn kept(
        models: Vec<BlockModel>,
        (mode, resources): (Mode, &Resources),
        requests: &[usize],
        checkpoint: Option<Checkpoint>,
    ) -> anyhow::Result<Self> {
        let plans = plan(&models, mode, requests)?;
        let engine = match mode {
            Mode::Clear => Engine::Clear,
            Mode::Simulate => Engine::Simulate(resources.sample_seed()?),
            Mode::Execute => {
                let seed =
                    checkpoint.as_ref().map_or_else(|| resources.client_seed(), |kept| Ok(kept.client_seed()))?;
                let parameters = models[0].circuit().parameters();
                let keys = while_showing("making the keys", || BlockKeyPair::new(parameters, &seed))?;
                checkpoint.iter().try_for_each(|checkpoint| checkpoint.begin(keys.identity()))?;
                Engine::Execute(Box::new(keys))
            }
        };
        let progress = BlockProgress::new(models.last().map_or(Ending::Stream, |model| model.client().end().ending()));
        let observers = vec![progress.clone(); models.len()];
        Ok(Self { mode, models, plans, engine, progress, observers, checkpoint })
    }

    /// The run has ended, and what it gave is where it should be.
    ///
    /// # Errors
    /// As [`Checkpoint::finish`].
    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.checkpoint.map_or(Ok(()), Checkpoint::finish)
    }

    /// For other requests from now on.
    ///
    /// # Errors
    /// As [`BlockText::plan`].
    pub(super) fn replan(&mut self, requests: &[usize]) -> Result<(), RunError> {
        self.plans = plan(&self.models, self.mode, requests)?;
        Ok(())
    }

    /// What the operations of a step of the first of the models give, or of all steps, on a text's first tokens: [`BlockText::watch`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn watch(
        &mut self,
        hidden: &Matrix<f32>,
        step: Option<&'static str>,
    ) -> Result<(Vec<OperationResult>, usize), RunError> {
        let Self { models, engine, progress, .. } = self;
        let watch = |mode| BlockText::watch(&models[0], mode, hidden, step);
        match engine {
            Engine::Clear => watch(WatchedMode::Clear),
            Engine::Simulate(seed) => while_showing("computing the block", || watch(WatchedMode::Simulate(seed))),
            Engine::Execute(keys) => {
                let results = watch(WatchedMode::Execute(keys, progress));
                progress.end();
                results
            }
        }
    }

    /// The text, before its first token, of each of the circuits; and whether numbers may leave their ranges.
    ///
    /// # Errors
    /// As [`BlockSession::new`] and [`BlockSession::keep_in`].
    pub(super) fn texts(&mut self, allow_out_of_range: bool) -> anyhow::Result<BlockTexts<'_>> {
        let Self { models, plans, engine, progress, observers, checkpoint, .. } = self;
        let mut kept = checkpoint.as_ref().map(KeptTexts::new);
        let engine = &*engine;
        let mut plans = plans.clone().into_iter();
        let mut next_plans = || plans.next().unwrap_or_default();
        let mut texts = Vec::with_capacity(models.len());
        for ((model, observer), index) in models.iter().zip(observers).zip(0..) {
            texts.push(match engine {
                Engine::Clear => BlockText::clear(model),
                Engine::Simulate(seed) => BlockText::simulated(model, next_plans(), &seed.derive(index)),
                Engine::Execute(keys) => {
                    let (mut session, plans) = (BlockSession::new(model.circuit(), keys, observer)?, next_plans());
                    kept.iter_mut().try_for_each(|kept| kept.go_on(&mut session, plans.len()))?;
                    BlockText::executed(model, session, plans)
                }
            });
        }
        kept.iter().for_each(KeptTexts::tell);
        Ok(BlockTexts { texts, allow_out_of_range, progress: progress.clone() })
    }
}

/// Texts that go on from a checkpoint.
struct KeptTexts<'c> {
    checkpoint: &'c Checkpoint,
    texts: usize,
    /// Of all texts: the requests that were answered, and the blocks of the one in work that are done.
    found: GoingOn,
}

impl<'c> KeptTexts<'c> {
    fn new(checkpoint: &'c Checkpoint) -> Self {
        Self { checkpoint, texts: 0, found: GoingOn::default() }
    }

    /// The next text goes on, of which so many requests are asked for.
    fn go_on(&mut self, session: &mut BlockSession<'_>, requests: usize) -> anyhow::Result<()> {
        let [client, server] = self.checkpoint.text(self.texts)?;
        let found = while_showing("reading the checkpoint", || session.keep_in(client, server, self.checkpoint.most()));
        let found = found.map_err(|error| advise(&error))?;
        if found.answered > requests || (found.answered == requests && found.blocks > 0) {
            let (name, has) = (self.checkpoint.name(), plural(found.answered, "token"));
            bail!("the checkpoint {name} is of a longer text, with more than {has}; ask for at least as many --tokens");
        }
        self.texts += 1;
        self.found.answered += found.answered;
        self.found.blocks += found.blocks;
        Ok(())
    }

    /// Says from where they go on.
    fn tell(&self) {
        let GoingOn { answered, blocks } = self.found;
        if answered + blocks > 0 {
            let (name, answered) = (self.checkpoint.name(), plural(answered, "request"));
            let blocks = plural(blocks, "block");
            note(&format!("going on from the checkpoint {name}: {answered} answered, {blocks} of the next one done"));
        }
    }
}

/// Of each circuit, the requests; none in clear mode.
fn plan(models: &[BlockModel], mode: Mode, requests: &[usize]) -> Result<Vec<Vec<Plan>>, RunError> {
    match mode {
        Mode::Clear => Ok(Vec::new()),
        Mode::Simulate | Mode::Execute => while_showing("planning", || {
            models.iter().map(|model| BlockText::plan(model.circuit(), requests)).collect()
        }),
    }
}

/// Texts of the blocks of one model.
pub(super) struct BlockTexts<'a> {
    texts: Vec<BlockText<'a>>,
    allow_out_of_range: bool,
    progress: BlockProgress,
}

impl<'a> BlockTexts<'a> {
    /// The texts.
    pub(super) fn all(&mut self) -> &mut [BlockText<'a>] {
        &mut self.texts
    }

    /// A passage is done.
    pub(super) fn end(&self) {
        self.progress.end();
    }

    /// The stream after the first of the texts' blocks, of new tokens with hidden states `before`.
    ///
    /// # Errors
    /// As [`BlockText::advance`]; that the result cannot be relied on.
    pub(super) fn advance(&mut self, before: &Matrix<f32>) -> Result<BlockOutcome, RunError> {
        let outcome = self.texts[0].advance(before);
        self.progress.end();
        let outcome = outcome?;
        outcome.run.check(self.allow_out_of_range)?;
        Ok(outcome)
    }

    /// The logits of the token after the last of new ones in a model with these blocks, and the outcome of each request.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub(super) fn next_logits(
        &mut self,
        session: &mut TextSession<'_>,
        tokens: &[u32],
    ) -> anyhow::Result<(Vec<f32>, Vec<BlockOutcome>)> {
        let mut hooks = ReplacedBlocks::new(&mut self.texts, self.allow_out_of_range);
        let logits = session.next_logits(tokens, &mut hooks);
        let outcomes = hooks.into_outcomes();
        self.progress.end();
        Ok((logits.map_err(RunError::unhooked)?, outcomes))
    }
}
