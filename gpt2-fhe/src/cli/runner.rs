//! Attention in one of the three modes, on one input after another.

use std::collections::BTreeMap;

use gpt2_fhe::run::{Attention, Circuit, Mode, Outcome, RunError, Session};
use nn::matrix::Matrix;
use nn::packed::Span;
use tfhe_core::random::SecretSeed;

use super::progress::{Progress, while_showing};

/// Runs attention.
pub(super) enum Runner {
    /// On plain numbers.
    Clear,
    /// With drawn noise; run i draws from seed i of the seed's.
    Simulate { seed: SecretSeed, runs: u64 },
    /// Encrypted, with keys made once. Layers of the packed circuit share those of the first.
    Execute(BTreeMap<usize, Session>),
}

impl Runner {
    /// For some layers' attention on inputs of at most `tokens` tokens; in execute mode, this makes the keys.
    ///
    /// # Errors
    /// As [`Attention::plan`].
    pub(super) fn new<'a>(
        mode: Mode,
        layers: impl IntoIterator<Item = (usize, &'a Attention)>,
        tokens: usize,
        seed: SecretSeed,
    ) -> Result<Self, RunError> {
        Ok(match mode {
            Mode::Clear => Self::Clear,
            Mode::Simulate => Self::Simulate { seed, runs: 0 },
            Mode::Execute => while_showing("making the keys", || Self::make_keys(layers, tokens, &seed))?,
        })
    }

    fn make_keys<'a>(
        layers: impl IntoIterator<Item = (usize, &'a Attention)>,
        tokens: usize,
        seed: &SecretSeed,
    ) -> Result<Self, RunError> {
        let mut sessions = BTreeMap::new();
        for (layer, attention) in layers {
            if attention.circuit() == Circuit::Exact || sessions.is_empty() {
                let plan = attention.plan(Span::all(tokens))?;
                sessions.insert(layer, Session::new(attention, &plan, &seed.derive(layer as u64)));
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
