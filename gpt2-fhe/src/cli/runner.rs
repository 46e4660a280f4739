//! Attention in one of the three modes, on one input after another.

use std::collections::BTreeMap;

use gpt2_fhe::run::trace::TracePlace;
use gpt2_fhe::run::{Attention, Circuit, Mode, Outcome, Plan, RunError, Session, check_saturation};
use nn::attention::Part;
use nn::matrix::Matrix;
use nn::packed::Span;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::random::SampleSeed;

use super::arguments::Execution;
use super::progress::{Progress, while_showing};

/// Runs attention, and checks what comes out.
pub(super) struct Runner {
    engine: Engine,
    allow_out_of_range: bool,
}

/// What runs it.
enum Engine {
    /// On plain numbers.
    Clear,
    /// With drawn noise; run i draws from seed i of the seed's.
    Simulate { seed: SampleSeed, runs: u64 },
    /// Encrypted, with keys made once. Layers of the packed circuit share those of the first.
    Execute(BTreeMap<usize, Session>),
}

impl Runner {
    /// For some layers' attention on inputs of at most `tokens` tokens; in execute mode, this makes the keys. That a layer cannot be run
    /// is said before anything is.
    ///
    /// # Errors
    /// As [`Attention::plan`]; that the system has no randomness.
    pub(super) fn new<'a>(
        execution: &Execution,
        layers: impl IntoIterator<Item = (usize, &'a Attention)>,
        tokens: usize,
        part: Part,
    ) -> anyhow::Result<Self> {
        let plan = |(layer, attention): (usize, &'a Attention)| {
            let plan = attention.plan(Span::all(tokens)).map_err(|error| error.in_layer(layer).of_part(part))?;
            Ok((layer, attention, plan))
        };
        let plans = || layers.into_iter().map(plan).collect::<Result<Vec<_>, RunError>>();
        let resources = &execution.resources;
        let engine = match execution.mode {
            Mode::Clear => Engine::Clear,
            Mode::Simulate => {
                plans()?;
                Engine::Simulate { seed: resources.sample_seed()?, runs: 0 }
            }
            Mode::Execute => {
                let (plans, seed) = (plans()?, resources.client_seed()?);
                while_showing("making the keys", || Engine::make_keys(&plans, &seed))?
            }
        };
        Ok(Self { engine, allow_out_of_range: execution.allows_out_of_range() })
    }

    /// The rows of `span` of a layer, on `hidden: [T, E]`.
    ///
    /// # Errors
    /// As [`Session::execute`] and [`Outcome::check`].
    pub(super) fn run(
        &mut self,
        attention: &Attention,
        layer: usize,
        hidden: &Matrix<f32>,
        span: Span,
    ) -> Result<Outcome, RunError> {
        self.checked(attention, layer, hidden, |engine| Ok((engine.run(attention, layer, hidden, span)?, ())))
            .map(|(outcome, ())| outcome)
    }

    /// The same of all rows, with every number on its way, in the modes that have noise.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(super) fn trace(
        &mut self,
        attention: &Attention,
        layer: usize,
        hidden: &Matrix<f32>,
    ) -> Result<(Outcome, Vec<TracePlace>), RunError> {
        self.checked(attention, layer, hidden, |engine| engine.trace(attention, layer, hidden))
    }

    /// What is computed of an input within its ranges, unless others are allowed; and what else that gives.
    fn checked<T>(
        &mut self,
        attention: &Attention,
        layer: usize,
        hidden: &Matrix<f32>,
        compute: impl FnOnce(&mut Engine) -> Result<(Outcome, T), RunError>,
    ) -> Result<(Outcome, T), RunError> {
        if !self.allow_out_of_range {
            check_saturation(&attention.saturation(hidden)?)?;
        }
        let (outcome, rest) = compute(&mut self.engine).map_err(|error| error.in_layer(layer))?;
        outcome.check(self.allow_out_of_range)?;
        Ok((outcome, rest))
    }
}

/// The seed of the next simulated run.
fn next_seed(seed: &SampleSeed, runs: &mut u64) -> SampleSeed {
    let next = seed.derive(*runs);
    *runs += 1;
    next
}

/// The session of a layer.
fn session<'a>(sessions: &'a mut BTreeMap<usize, Session>, attention: &Attention, layer: usize) -> &'a mut Session {
    let session = match attention.circuit() {
        Circuit::Exact => sessions.get_mut(&layer),
        Circuit::Packed => sessions.values_mut().next(),
    };
    session.expect("a layer of this runner")
}

impl Engine {
    fn make_keys(plans: &[(usize, &Attention, Plan)], seed: &ClientSeed) -> Result<Self, RunError> {
        let mut sessions = BTreeMap::new();
        for (layer, attention, plan) in plans {
            if attention.circuit() == Circuit::Exact || sessions.is_empty() {
                sessions.insert(*layer, Session::new(attention, plan, &seed.bound_to("layer", *layer as u64))?);
            }
        }
        Ok(Self::Execute(sessions))
    }

    fn run(
        &mut self,
        attention: &Attention,
        layer: usize,
        hidden: &Matrix<f32>,
        span: Span,
    ) -> Result<Outcome, RunError> {
        let progress = &mut Progress::new(attention);
        match self {
            Self::Clear => attention.run_clear(hidden, span),
            Self::Simulate { seed, runs } => attention.run_simulated(hidden, span, &next_seed(seed, runs), progress),
            Self::Execute(sessions) => session(sessions, attention, layer).execute(attention, hidden, span, progress),
        }
    }

    /// The same of all rows, and every place of the circuit. On plain numbers there is nothing to see.
    fn trace(
        &mut self,
        attention: &Attention,
        layer: usize,
        hidden: &Matrix<f32>,
    ) -> Result<(Outcome, Vec<TracePlace>), RunError> {
        let progress = &mut Progress::new(attention);
        match self {
            Self::Clear => attention.run_clear(hidden, Span::all(hidden.rows())).map(|outcome| (outcome, Vec::new())),
            Self::Simulate { seed, runs } => attention.trace_simulated(hidden, &next_seed(seed, runs), progress),
            Self::Execute(sessions) => session(sessions, attention, layer).trace(attention, hidden, progress),
        }
    }
}
