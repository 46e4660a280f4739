//! A head in one of the three modes, on one input after another.

use gpt2_fhe::engine::plan::Multiply;
use gpt2_fhe::run::{CircuitPlan, Mode, Outcome, RunError, Session, run_clear, run_simulated};
use nn::head::QuantizedHead;
use nn::matrix::Matrix;
use tfhe_core::random::SecretSeed;

use super::progress::{Progress, check_interrupt, while_showing};

/// Runs a head.
pub(super) enum Runner {
    /// On plain integers.
    Clear,
    /// On phases with noise; run i draws from seed i of the seed's.
    Simulate { plan: Box<CircuitPlan>, multiply: Multiply, seed: SecretSeed, runs: u64 },
    /// Encrypted, with keys made once.
    Execute(Box<Session>),
}

impl Runner {
    /// With a plan for the longest input; in execute mode, this makes the keys.
    ///
    /// # Errors
    /// [`RunError::Engine`] after Ctrl-C.
    pub(super) fn new(
        mode: Mode,
        head: &QuantizedHead,
        plan: Option<&CircuitPlan>,
        multiply: Multiply,
        seed: SecretSeed,
    ) -> Result<Self, RunError> {
        let runner = match (mode, plan) {
            (Mode::Clear, _) | (_, None) => Self::Clear,
            (Mode::Simulate, Some(plan)) => Self::Simulate { plan: Box::new(plan.clone()), multiply, seed, runs: 0 },
            (Mode::Execute, Some(plan)) => {
                let make = || Session::new(head, plan.clone(), multiply, &seed);
                Self::Execute(Box::new(while_showing("making the keys", make)))
            }
        };
        check_interrupt()?;
        Ok(runner)
    }

    /// The head on `hidden: [T, E]`.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub(super) fn run(&mut self, head: &QuantizedHead, hidden: &Matrix<f32>) -> Result<Outcome, RunError> {
        match self {
            Self::Clear => run_clear(head, hidden),
            Self::Simulate { plan, multiply, seed, runs } => {
                let seed = seed.derive(*runs);
                *runs += 1;
                run_simulated(head, hidden, (**plan).clone(), *multiply, &seed, &mut Progress::new())
            }
            Self::Execute(session) => session.execute(head, hidden, &mut Progress::new()),
        }
    }
}
