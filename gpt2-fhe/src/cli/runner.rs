//! Attention in one of the three modes, on one input after another.

use std::collections::BTreeMap;

use gpt2_fhe::run::{Attention, Circuit, Mode, Outcome, RunError, Session};
use nn::matrix::Matrix;
use nn::packed::Span;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::random::SampleSeed;

use super::arguments::Execution;
use super::progress::{Progress, check_interrupt, while_showing};

/// Runs attention.
pub(super) enum Runner {
    /// On plain numbers.
    Clear,
    /// With drawn noise; run i draws from seed i of the seed's.
    Simulate { seed: SampleSeed, runs: u64 },
    /// Encrypted, with keys made once. Layers of the packed circuit share those of the first.
    Execute(BTreeMap<usize, Session>),
}

impl Runner {
    /// For some layers' attention on inputs of at most `tokens` tokens; in execute mode, this makes the keys.
    ///
    /// # Errors
    /// As [`Attention::plan`]; that the system has no randomness; [`RunError::Engine`] after Ctrl-C.
    pub(super) fn new<'a>(
        execution: &Execution,
        layers: impl IntoIterator<Item = (usize, &'a Attention)>,
        tokens: usize,
    ) -> anyhow::Result<Self> {
        let resources = &execution.resources;
        let runner = match execution.mode {
            Mode::Clear => Self::Clear,
            Mode::Simulate => Self::Simulate { seed: resources.sample_seed()?, runs: 0 },
            Mode::Execute => {
                let seed = resources.client_seed()?;
                while_showing("making the keys", || Self::make_keys(layers, tokens, &seed))?
            }
        };
        check_interrupt()?;
        Ok(runner)
    }

    fn make_keys<'a>(
        layers: impl IntoIterator<Item = (usize, &'a Attention)>,
        tokens: usize,
        seed: &ClientSeed,
    ) -> Result<Self, RunError> {
        let mut sessions = BTreeMap::new();
        for (layer, attention) in layers {
            if attention.circuit() == Circuit::Exact || sessions.is_empty() {
                let plan = attention.plan(Span::all(tokens))?;
                sessions.insert(layer, Session::new(attention, &plan, &seed.bound_to("layer", layer as u64)));
            }
        }
        Ok(Self::Execute(sessions))
    }

    /// The rows of `span` of a layer, on `hidden: [T, E]`.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub(super) fn run(
        &mut self,
        attention: &Attention,
        layer: usize,
        hidden: &Matrix<f32>,
        span: Span,
    ) -> Result<Outcome, RunError> {
        let progress = &mut Progress::new(attention);
        match self {
            Self::Clear => attention.run_clear(hidden, span),
            Self::Simulate { seed, runs } => {
                let seed = seed.derive(*runs);
                *runs += 1;
                attention.run_simulated(hidden, span, &seed, progress)
            }
            Self::Execute(sessions) => {
                let session = match attention.circuit() {
                    Circuit::Exact => sessions.get_mut(&layer),
                    Circuit::Packed => sessions.values_mut().next(),
                };
                session.expect("a layer of this runner").execute(attention, hidden, span, progress)
            }
        }
    }
}
