//! A head in one of the three modes, on one input after another.

use gpt2_fhe::run::{Attention, Mode, Outcome, Plan, RunError, Session};
use nn::matrix::Matrix;
use nn::packed::Span;
use tfhe_core::random::SecretSeed;

use super::progress::{Progress, check_interrupt, while_showing};

/// Runs a head.
pub(super) enum Runner {
    /// On plain numbers.
    Clear,
    /// With drawn noise; run i draws from seed i of the seed's.
    Simulate { seed: SecretSeed, runs: u64 },
    /// Encrypted, with keys made once.
    Execute(Box<Session>),
}

impl Runner {
    /// With a plan for the longest input; in execute mode, this makes the keys.
    ///
    /// # Errors
    /// [`RunError::Engine`] after Ctrl-C.
    pub(super) fn new(mode: Mode, head: &Attention, plan: Option<&Plan>, seed: SecretSeed) -> Result<Self, RunError> {
        let runner = match (mode, plan) {
            (Mode::Clear, _) | (_, None) => Self::Clear,
            (Mode::Simulate, Some(_)) => Self::Simulate { seed, runs: 0 },
            (Mode::Execute, Some(plan)) => {
                let make = || Session::new(head, plan, &seed);
                Self::Execute(Box::new(while_showing("making the keys", make)))
            }
        };
        check_interrupt()?;
        Ok(runner)
    }

    /// The rows of `span`, on `hidden: [T, E]`.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub(super) fn run(&mut self, head: &Attention, hidden: &Matrix<f32>, span: Span) -> Result<Outcome, RunError> {
        match self {
            Self::Clear => head.run_clear(hidden, span),
            Self::Simulate { seed, runs } => {
                let seed = seed.derive(*runs);
                *runs += 1;
                head.run_simulated(hidden, span, &seed, &mut Progress::new(head))
            }
            Self::Execute(session) => session.execute(head, hidden, span, &mut Progress::new(head)),
        }
    }
}
