//! One head on one input, in any circuit and mode, with everything that is worth knowing about the run.

pub mod exact;
pub mod packed;

use nn::head::QuantizedHead;
use nn::matrix::{Matrix, relative_error};
use nn::packed::{PackedAttention, Span};
use serde::Serialize;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::random::{RandomnessError, SampleSeed};

use crate::engine::plan::Multiply;
use crate::engine::statistics::Statistics;
use crate::engine::{EngineError, Observer};
use crate::packed::layout::HeadTooLarge;

/// How the head becomes operations on ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Circuit {
    /// Everything linear or bilinear on whole ciphertexts, softmax by lookups of smooth functions: close to f32, and fast.
    Packed,
    /// The integer head of the article; decrypts to exactly the integers of the clear engine.
    Exact,
}

impl Circuit {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Packed => "packed",
            Self::Exact => "exact",
        }
    }
}

/// How the head is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// On plain integers.
    Clear,
    /// On plain integers with noise drawn from the predictions, through the same scalings and roundings as encrypted.
    Simulate,
    /// Encrypted.
    Execute,
}

/// The failure probability that a run may have at most, log2.
pub const MAX_LOG2_FAILURE: f64 = -40.0;

/// Why a head could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No named parameter set evaluates the head reliably.
    #[error(
        "no parameter set evaluates this head with a failure probability of at most 2^-40 (the best has \
         2^{best:.1}): use fewer bits, or --mode clear"
    )]
    Unreliable {
        /// log2 of the best set's failure probability.
        best: f64,
    },
    /// The squares of [`Multiply::Lut`] have too wide a table.
    #[error(
        "--multiply lut needs tables of {bits} bits here, and {limit} are possible: use --multiply product, or fewer bits"
    )]
    TooWide {
        /// Bits of the table.
        bits: u32,
        /// Bits that a table can have.
        limit: u32,
    },
    /// A row of a matrix does not fit one ciphertext.
    #[error("a row of {length} entries does not fit a ciphertext of {size} coefficients: use fewer tokens")]
    TooLong {
        /// Tokens, or the size of a head.
        length: usize,
        /// N.
        size: usize,
    },
    /// The head does not fit the packed circuit.
    #[error(transparent)]
    TooLarge(#[from] HeadTooLarge),
    /// The input does not fit the head.
    #[error(transparent)]
    Input(#[from] nn::Error),
    /// There is nothing to make a request's randomness from.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// The run was stopped.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Seconds of wall time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seconds {
    /// Making and preparing the keys.
    pub keygen: f64,
    /// Preparing the head's weights and functions, once for all inputs of one length: packed circuit only.
    pub prepare: f64,
    /// Encryption.
    pub encrypt: f64,
    /// The server's work.
    pub evaluate: f64,
    /// Decryption.
    pub decrypt: f64,
    /// The server's work, step by step.
    pub steps: std::collections::BTreeMap<&'static str, f64>,
}

impl Seconds {
    fn of_steps(statistics: &Statistics) -> Self {
        let steps = statistics.steps.iter().map(|step| (step.name, step.seconds)).collect();
        Self { steps, ..Self::default() }
    }
}

/// Bytes on the wire.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Bytes {
    /// Evaluation keys as sent (seeded).
    pub evaluation_key: usize,
    /// The encrypted input.
    pub request: usize,
    /// The encrypted output.
    pub response: usize,
}

/// The outcome of a run.
///
/// Numbers are in units of the output's integers: with the exact circuit, they are integers.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was decrypted, or computed, `[T, d]`.
    pub numbers: Matrix<f64>,
    /// What the clear engine computes.
    pub clear_numbers: Matrix<f64>,
    /// How far numbers may be from the clear engine's by the predicted noise. `None`: not at all.
    pub tolerance: Option<Matrix<f64>>,
    /// The numbers, dequantized.
    pub output: Matrix<f32>,
    /// The clear engine's, dequantized.
    pub clear_output: Matrix<f32>,
    /// Arguments of lookups and outputs that left their range, in the clear engine.
    pub out_of_range: usize,
    /// What was done; in clear mode, only lookups are counted.
    pub statistics: Statistics,
    /// Times.
    pub seconds: Seconds,
    /// Sizes.
    pub bytes: Bytes,
    /// The plan, in simulate and execute mode.
    pub plan: Option<Plan>,
}

impl Outcome {
    /// The outcome of some of the rows of a run on all.
    fn rows_of(self, span: Span) -> Self {
        fn rows<T: Clone>(all: &Matrix<T>, span: Span) -> Matrix<T> {
            Matrix::from_fn(span.rows().len(), all.cols(), |row, column| all[(span.rows().start + row, column)].clone())
        }
        Self {
            numbers: rows(&self.numbers, span),
            clear_numbers: rows(&self.clear_numbers, span),
            tolerance: self.tolerance.as_ref().map(|tolerance| rows(tolerance, span)),
            output: rows(&self.output, span),
            clear_output: rows(&self.clear_output, span),
            ..self
        }
    }

    /// Entries that are not the clear engine's, or farther from them than the noise explains.
    pub fn mismatches(&self) -> usize {
        let allowed = |index: usize| self.tolerance.as_ref().map_or(0.0, |tolerance| tolerance.data()[index]);
        let pairs = self.numbers.iter().zip(self.clear_numbers.iter()).enumerate();
        pairs.filter(|&(index, (a, b))| (a - b).abs() > allowed(index)).count()
    }

    /// The largest difference from the clear engine's numbers.
    pub fn max_abs_difference(&self) -> f64 {
        self.numbers.iter().zip(self.clear_numbers.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    /// ‖output − reference‖/‖reference‖.
    pub fn relative_error(&self, reference: &Matrix<f32>) -> f64 {
        relative_error(&self.output, reference)
    }

    /// The same of the clear engine's output: what quantization alone costs.
    pub fn clear_relative_error(&self, reference: &Matrix<f32>) -> f64 {
        relative_error(&self.clear_output, reference)
    }
}

/// A quantized part of a layer's attention, and the circuit that it is quantized for.
#[derive(Clone, Debug)]
pub enum Attention {
    /// For [`Circuit::Exact`].
    Exact(Box<QuantizedHead>, Multiply),
    /// For [`Circuit::Packed`].
    Packed(Box<PackedAttention>),
}

/// What will run: known before anything is encrypted.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Of the exact circuit.
    Exact(exact::CircuitPlan),
    /// Of the packed circuit.
    Packed(Box<packed::PackedPlan>),
}

impl Attention {
    /// The circuit.
    pub fn circuit(&self) -> Circuit {
        match self {
            Self::Exact(..) => Circuit::Exact,
            Self::Packed(_) => Circuit::Packed,
        }
    }

    /// The size of an output: d of one head, E of the whole attention.
    pub fn output_size(&self) -> usize {
        match self {
            Self::Exact(head, _) => head.program().output_size(),
            Self::Packed(head) => head.program().output_size(),
        }
    }

    /// Plans a run on the tokens of `span`.
    ///
    /// # Errors
    /// [`RunError`]: that it cannot be run, or not reliably.
    pub fn plan(&self, span: Span) -> Result<Plan, RunError> {
        Ok(match self {
            Self::Exact(head, multiply) => Plan::Exact(exact::CircuitPlan::new(head, span.tokens(), *multiply)?),
            Self::Packed(head) => Plan::Packed(Box::new(packed::PackedPlan::new(head, span)?)),
        })
    }

    /// The rows of `span` on plain numbers.
    ///
    /// # Errors
    /// [`RunError::Input`].
    pub fn run_clear(&self, hidden: &Matrix<f32>, span: Span) -> Result<Outcome, RunError> {
        match self {
            Self::Exact(head, _) => Ok(exact::run_clear(head, hidden)?.rows_of(span)),
            Self::Packed(head) => packed::run_clear(head, hidden, span),
        }
    }

    /// The rows of `span` on plain numbers with drawn noise.
    ///
    /// # Errors
    /// [`RunError::Input`], [`RunError::Engine`].
    pub fn run_simulated(
        &self,
        hidden: &Matrix<f32>,
        span: Span,
        seed: &SampleSeed,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, RunError> {
        match self {
            Self::Exact(head, multiply) => {
                let plan = exact::CircuitPlan::new(head, hidden.rows(), *multiply)?;
                Ok(exact::run_simulated(head, hidden, plan, *multiply, seed, observer)?.rows_of(span))
            }
            Self::Packed(head) => packed::run_simulated(head, hidden, span, seed),
        }
    }
}

impl Plan {
    /// Operations, noise and failure probabilities by step; no times.
    pub fn statistics(&self) -> &Statistics {
        match self {
            Self::Exact(plan) => &plan.statistics,
            Self::Packed(plan) => &plan.statistics,
        }
    }

    /// log2 of the probability that a lookup of the run fails, or the output is decrypted wrongly.
    pub fn log2_failure_probability(&self) -> f64 {
        match self {
            Self::Exact(plan) => plan.log2_failure_probability,
            Self::Packed(plan) => plan.log2_failure_probability,
        }
    }

    /// What will be sent.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Exact(plan) => &plan.bytes,
            Self::Packed(plan) => &plan.bytes,
        }
    }

    /// The security level of the parameter set, in bits.
    pub fn security_bits(&self) -> Option<f64> {
        match self {
            Self::Exact(plan) => plan.security_bits(),
            Self::Packed(plan) => plan.security_bits(),
        }
    }

    /// n, the number of external products of a bootstrapping.
    pub fn small_dimension(&self) -> usize {
        match self {
            Self::Exact(plan) => plan.parameters.lwe_dimension().get(),
            Self::Packed(plan) => plan.parameters.small().lwe_dimension().get(),
        }
    }

    /// External products, in bootstrappings and outside of them.
    pub fn external_products(&self) -> usize {
        let statistics = self.statistics();
        statistics.pbs() * self.small_dimension() + statistics.external_products()
    }
}

/// Keys of one client, so that several inputs are run with one key generation.
pub enum Session {
    /// Of the exact circuit.
    Exact(Box<exact::ExactSession>),
    /// Of the packed circuit.
    Packed(Box<packed::PackedSession>),
}

impl Session {
    /// Makes all keys, for `head` on inputs of at most as many tokens as the plan's. Sessions of other circuits, or of seeds
    /// bound to something else, have unrelated keys.
    ///
    /// # Panics
    /// If the plan is of another circuit than the head.
    pub fn new(head: &Attention, plan: &Plan, seed: &ClientSeed) -> Self {
        match (head, plan) {
            (Attention::Exact(head, multiply), Plan::Exact(plan)) => {
                Self::Exact(Box::new(exact::ExactSession::new(head, plan.clone(), *multiply, seed)))
            }
            (Attention::Packed(_), Plan::Packed(plan)) => {
                Self::Packed(Box::new(packed::PackedSession::new(plan, seed)))
            }
            _ => panic!("a plan of the head's circuit"),
        }
    }

    /// Encrypts, evaluates, decrypts: the rows of `span`. The exact circuit computes all rows, whichever are asked for.
    ///
    /// # Errors
    /// [`RunError::Input`], [`RunError::Randomness`], [`RunError::Engine`].
    ///
    /// # Panics
    /// If the head is of another circuit.
    pub fn execute(
        &mut self,
        head: &Attention,
        hidden: &Matrix<f32>,
        span: Span,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, RunError> {
        match (self, head) {
            (Self::Exact(session), Attention::Exact(head, _)) => {
                Ok(session.execute(head, hidden, observer)?.rows_of(span))
            }
            (Self::Packed(session), Attention::Packed(head)) => session.execute(head, hidden, span, observer),
            _ => panic!("a head of the session's circuit"),
        }
    }
}
