//! One head on one input, in any circuit and mode, with everything that is worth knowing about the run.

pub mod exact;
pub mod packed;

use nn::attention::Part;
use nn::head::QuantizedHead;
use nn::matrix::{Matrix, relative_error};
use nn::packed::{PackedAttention, Span};
use nn::quantize::{SaturatedEntry, Saturation};
use serde::Serialize;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::key_graph::MissingEdge;
use tfhe_core::random::{RandomnessError, SampleSeed};

use crate::boundary::{EncryptError, Refused};
use crate::engine::plan::Multiply;
use crate::engine::statistics::Statistics;
use crate::engine::{EngineError, Observer};
use crate::packed::layout::HeadTooLarge;

/// How the head becomes operations on ciphertexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Circuit {
    /// Many numbers in each ciphertext: fast, and close to the result in the clear.
    Packed,
    /// One number in each ciphertext, as in the article: slow, and equal to the integers computed in the clear.
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
    /// Without encryption, on the quantized integers.
    Clear,
    /// Without encryption, with random errors as large as the noise of ciphertexts is predicted to be.
    Simulate,
    /// Encrypted.
    Execute,
}

impl Mode {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Simulate => "simulate",
            Self::Execute => "execute",
        }
    }
}

/// The failure probability that a run may have at most, log2.
pub const MAX_LOG2_FAILURE: f64 = -40.0;

/// How reliable the best parameter set is.
fn in_words(log2_failure: f64) -> String {
    // A union bound near 1 says nothing.
    if log2_failure <= -1.0 {
        format!("the best has 2^{log2_failure:.1}")
    } else {
        "with all of them it may fail".into()
    }
}

/// What a failure probability is of: to be said wherever one is printed.
pub const FAILURE_MEANING: &str = "the chance that noise makes any lookup or output of the request wrong, if all numbers stay in their \
                                   calibrated ranges; not counted: numbers beyond them, and the small errors that noise always leaves \
                                   in a packed output";

/// How many times its range an entry of an input may be, to be cut off to the range without an error.
///
/// What is cut off costs accuracy, the same in the clear and encrypted. A range is a fifth more than the farthest entry of the
/// calibration set at least (packed circuit), and other texts go a little beyond now and then: in 3,000 tokens for the model inside the
/// program, 140 to 263 entries of each layer do, at most 1.4 times as far. Three times as far is another kind of input.
pub const MAX_SATURATION: f64 = 3.0;

/// Why a head could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No named parameter set evaluates the head reliably.
    #[error(
        "no parameter set evaluates this attention with a chance of failure of at most 2^-40 ({}): use fewer bits or \
         fewer tokens",
        in_words(*.best)
    )]
    Unreliable {
        /// log2 of the best set's failure probability.
        best: f64,
    },
    /// The noise of lookups is too large for a head's scores.
    #[error(
        "{}: its scores are so far apart that noise may put probabilities off by {:.0} % (σ; at most {:.0} % is accepted), as a lookup \
         reads {score_turn:.0} units of score within one turn: {}", name_head(.layer, .head), percent(.noise),
        percent(&packed::MAX_EXPONENT_NOISE), remedy(.noise)
    )]
    Noisy {
        /// The layer, where it is known.
        layer: Option<usize>,
        /// The head.
        head: usize,
        /// The standard deviation of exponents, at most, in units of score: the relative error of a probability.
        noise: f64,
        /// What a turn of score stands for.
        score_turn: f64,
    },
    /// Numbers left their ranges.
    #[error(
        "the result is wrong, for arguments of lookups, or outputs, are beyond the ranges that calibration gave them ({count} in all): \
         calibrate on inputs like this one, use a larger --guard (packed circuit), or --allow-out-of-range to get the numbers all the same"
    )]
    OutOfRange {
        /// How many.
        count: usize,
    },
    /// An entry of the input is far beyond its range.
    #[error(
        "the input is not like those of the calibration: {} of its entries are beyond their ranges, channel {} of token {} {:.1} times as \
         far (at most {} times is accepted): calibrate on inputs like this one, or use --allow-out-of-range to get the numbers all the \
         same", .count, .farthest.channel, .farthest.row, .farthest.ratio, MAX_SATURATION
    )]
    Saturated {
        /// How many entries are cut off to their ranges.
        count: usize,
        /// The farthest.
        farthest: SaturatedEntry,
    },
    /// Numbers that are not the clear engine's, or farther from them than the noise explains.
    #[error(
        "{count} of {total} numbers are not those of the clear engine, or farther from them than the noise explains: none can be relied on"
    )]
    Mismatch {
        /// How many.
        count: usize,
        /// Of how many.
        total: usize,
    },
    /// An output is NaN or infinite.
    #[error(
        "{count} of the outputs are not finite numbers: calibrate on inputs like this one, or leave this attention to the client"
    )]
    NotFinite {
        /// How many.
        count: usize,
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
    /// Keys, a request or an answer are not those of the circuit.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The run was stopped.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<EncryptError> for RunError {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::Refused(refused) => refused.into(),
            EncryptError::Randomness(error) => error.into(),
        }
    }
}

impl From<MissingEdge> for RunError {
    fn from(missing: MissingEdge) -> Self {
        Self::Refused(missing.into())
    }
}

impl RunError {
    /// The same, of a layer's attention.
    pub fn in_layer(self, number: usize) -> Self {
        match self {
            Self::Noisy { head, noise, score_turn, .. } => Self::Noisy { layer: Some(number), head, noise, score_turn },
            other => other,
        }
    }

    /// The same, of a part: heads are numbered within their layer.
    pub fn of_part(self, part: Part) -> Self {
        match (self, part) {
            (Self::Noisy { layer, noise, score_turn, .. }, Part::Head(head)) => {
                Self::Noisy { layer, head, noise, score_turn }
            }
            (other, _) => other,
        }
    }
}

/// What would do about noise of exponents.
fn remedy(noise: &f64) -> &'static str {
    // A range is the farthest that scores are apart, and half as much more for the usual guard.
    if is_within(*noise, 1.5 * packed::MAX_EXPONENT_NOISE) {
        "use --guard 1 if inputs are like those of the calibration, or fewer tokens, or leave this head or layer to the client"
    } else {
        "leave this head or layer to the client, or try --circuit exact"
    }
}

/// Whether a number is at most `limit`; NaN is not.
pub(crate) fn is_within(value: f64, limit: f64) -> bool {
    value <= limit
}

fn percent(share: &f64) -> f64 {
    100.0 * share
}

fn name_head(layer: &Option<usize>, head: &usize) -> String {
    match layer {
        Some(layer) => format!("head {head} of layer {layer}"),
        None => format!("head {head}"),
    }
}

/// Checks that no entry of an input is too far beyond its range: what a client knows before it sends anything.
///
/// # Errors
/// [`RunError::Saturated`].
pub fn check_saturation(saturation: &Saturation) -> Result<(), RunError> {
    match saturation.farthest {
        Some(farthest) if !is_within(farthest.ratio, MAX_SATURATION) => {
            Err(RunError::Saturated { count: saturation.count, farthest })
        }
        _ => Ok(()),
    }
}

/// Checks that every output is a number.
pub(crate) fn check_finite(output: &Matrix<f32>) -> Result<(), RunError> {
    match output.iter().filter(|value| !value.is_finite()).count() {
        0 => Ok(()),
        count => Err(RunError::NotFinite { count }),
    }
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
    /// Arguments of lookups, products and outputs that left their range, in the clear engine: what they are in is wrong.
    pub out_of_range: usize,
    /// Entries of the input beyond their ranges, to which they were cut off.
    pub saturation: Saturation,
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
    /// Whether the numbers can be relied on; numbers and inputs beyond their ranges can be allowed.
    ///
    /// # Errors
    /// [`RunError::OutOfRange`], [`RunError::Saturated`], [`RunError::Mismatch`].
    pub fn check(&self, allow_out_of_range: bool) -> Result<(), RunError> {
        match (self.out_of_range, self.mismatches()) {
            (0, mismatches) => {
                if !allow_out_of_range {
                    check_saturation(&self.saturation)?;
                }
                match mismatches {
                    0 => Ok(()),
                    count => Err(RunError::Mismatch { count, total: self.numbers.data().len() }),
                }
            }
            // What leaves its range is wrong in every way, and need not be near anything.
            (_, _) if allow_out_of_range => Ok(()),
            (count, _) => Err(RunError::OutOfRange { count }),
        }
    }

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
        pairs.filter(|&(index, (a, b))| !is_within((a - b).abs(), allowed(index))).count()
    }

    /// Whether every number is the clear engine's, or as near to it as the noise allows. Where numbers left their ranges, the noise
    /// that would be allowed is not known.
    pub fn matches_clear(&self) -> bool {
        self.mismatches() == 0 && (self.tolerance.is_none() || self.out_of_range == 0)
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

    /// What the client cuts off of an input.
    ///
    /// # Errors
    /// [`RunError::Input`] if it does not fit.
    pub fn saturation(&self, hidden: &Matrix<f32>) -> Result<Saturation, RunError> {
        match self {
            Self::Exact(head, _) => head.client().quantize_input(hidden).map(|_| head.client().saturation(hidden)),
            Self::Packed(head) => head.client().quantize_input(hidden).map(|_| head.client().saturation(hidden)),
        }
        .map_err(RunError::from)
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

    /// log2 of a failure probability: see [`FAILURE_MEANING`].
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
            Self::Exact(plan) => plan.parameters.small().lwe_dimension().get(),
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
    /// # Errors
    /// [`RunError::Refused`] if the plan's set is not one of the circuit.
    ///
    /// # Panics
    /// If the plan is of another circuit than the head.
    pub fn new(head: &Attention, plan: &Plan, seed: &ClientSeed) -> Result<Self, RunError> {
        Ok(match (head, plan) {
            (Attention::Exact(head, multiply), Plan::Exact(plan)) => {
                Self::Exact(Box::new(exact::ExactSession::new(head, plan.clone(), *multiply, seed)?))
            }
            (Attention::Packed(_), Plan::Packed(plan)) => {
                Self::Packed(Box::new(packed::PackedSession::new(plan, seed)?))
            }
            _ => panic!("a plan of the head's circuit"),
        })
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
