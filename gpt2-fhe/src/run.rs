//! One head on one input, in any of the three modes, with everything that is worth knowing about the run.

use std::time::Instant;

use nn::clear::ClearEngine;
use nn::head::{HeadProgram, QuantizedHead};
use nn::matrix::{Matrix, relative_error};
use serde::Serialize;
use tfhe_core::glwe::SeededGlweCiphertext;
use tfhe_core::keys::SeededEvaluationKeys;
use tfhe_core::noise;
use tfhe_core::params::Parameters;
use tfhe_core::random::SecretSeed;
use tfhe_core::{security, sets, wide};

use crate::client::{Client, nearest_integer};
use crate::engine::counted::Counted;
use crate::engine::plan::{Multiply, Predictor};
use crate::engine::simulated::Simulated;
use crate::engine::statistics::Statistics;
use crate::engine::{EngineError, HomomorphicEngine, Observer, Unobserved};
use crate::server::Server;

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
    /// The input does not fit the head.
    #[error(transparent)]
    Input(#[from] nn::Error),
    /// The run was stopped.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What will run: known before anything is encrypted.
#[derive(Clone, Debug)]
pub struct CircuitPlan {
    /// The parameter set.
    pub parameters: Parameters,
    /// Operations, noise and failure probabilities by step; no times.
    pub statistics: Statistics,
    /// log2 of the probability that the run decrypts to anything but the clear engine's integers.
    pub log2_failure_probability: f64,
    /// What will be sent.
    pub bytes: Bytes,
}

impl CircuitPlan {
    /// Plans the head for `tokens` tokens, with the first named set that is reliable enough.
    ///
    /// # Errors
    /// [`RunError::TooWide`], [`RunError::TooLong`], [`RunError::Unreliable`].
    pub fn new(head: &QuantizedHead, tokens: usize, multiply: Multiply) -> Result<Self, RunError> {
        let widest = head.program().factors().iter().map(|(_, factor)| factor.operand_bits).max();
        if let Some(bits) = widest.filter(|&bits| multiply == Multiply::Lut && bits > wide::MAX_BITS) {
            return Err(RunError::TooWide { bits, limit: wide::MAX_BITS });
        }
        let mut best = f64::INFINITY;
        for literal in [sets::HEAD_EXACT, sets::HEAD_EXACT_WIDE] {
            let parameters = literal.compile().expect("named sets are valid");
            let plan = Self::with_parameters(head, tokens, multiply, parameters)?;
            if plan.log2_failure_probability <= MAX_LOG2_FAILURE {
                return Ok(plan);
            }
            best = best.min(plan.log2_failure_probability);
        }
        // The union bound of a hopeless plan is above 1.
        Err(RunError::Unreliable { best: best.min(0.0) })
    }

    fn with_parameters(
        head: &QuantizedHead,
        tokens: usize,
        multiply: Multiply,
        parameters: Parameters,
    ) -> Result<Self, RunError> {
        let program = head.program();
        let size = parameters.polynomial_size().get();
        let length = tokens.max(program.head_size());
        if length > size {
            return Err(RunError::TooLong { length, size });
        }
        let predictor = Predictor::new(&parameters);
        let observer = &mut Unobserved;
        let mut engine = HomomorphicEngine::new(Counted, predictor.clone(), multiply, program.input_bits(), observer);
        let output = program.evaluate(&mut engine, &tokens, tokens)?;
        let entry = &output.data()[0];
        // The answer is packed, and its integers read by rounding: half a step away from their neighbours.
        let decryption =
            noise::log2_tail_probability(entry.variance + predictor.packing(), 2f64.powi(-(entry.bits as i32) - 2))
                + f64::log2(output.data().len() as f64);
        let statistics = engine.statistics().clone();
        let log2_failure_probability = noise::log2_sum(statistics.log2_failure_probability(), decryption);
        let bytes = Bytes::predict(&parameters, program, tokens, multiply);
        Ok(Self { parameters, statistics, log2_failure_probability, bytes })
    }

    /// The security level of the set, in bits.
    pub fn security_bits(&self) -> Option<f64> {
        security::parameters_level(&self.parameters).map(|level| level.bits)
    }
}

/// Seconds of wall time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seconds {
    /// Making and preparing the keys.
    pub keygen: f64,
    /// Encryption.
    pub encrypt: f64,
    /// The server's work.
    pub evaluate: f64,
    /// Decryption.
    pub decrypt: f64,
    /// The server's work, step by step.
    pub steps: std::collections::BTreeMap<&'static str, f64>,
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

impl Bytes {
    /// Of a head on `tokens` tokens: seeded keys; ⌈E/N⌉ seeded ciphertexts per token; ⌈T·d/N⌉ ciphertexts of the answer.
    fn predict(parameters: &Parameters, program: &HeadProgram, tokens: usize, multiply: Multiply) -> Self {
        let (shape, n) = (parameters.glwe_shape(), parameters.polynomial_size().get());
        let gadgets = Predictor::gadgets(multiply, program.input_bits());
        let request = tokens * program.embedding_size().div_ceil(n);
        let response = (tokens * program.head_size()).div_ceil(n);
        Self {
            evaluation_key: SeededEvaluationKeys::predicted_bytes(parameters, &gadgets, multiply == Multiply::Product),
            request: request * SeededGlweCiphertext::bytes_of_shape(shape),
            response: response * shape.ciphertext_len() * size_of::<u64>(),
        }
    }
}

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The integers decrypted, `[T, d]`.
    pub integers: Matrix<i64>,
    /// The same, dequantized.
    pub output: Matrix<f32>,
    /// The clear engine's integers.
    pub clear: Matrix<i64>,
    /// Inputs of tables outside of their range, in the clear engine.
    pub out_of_range: usize,
    /// What was done; in clear mode, only lookups are counted.
    pub statistics: Statistics,
    /// Times.
    pub seconds: Seconds,
    /// Sizes.
    pub bytes: Bytes,
    /// The plan, in simulate and execute mode.
    pub plan: Option<CircuitPlan>,
}

impl Outcome {
    /// Entries that differ from the clear engine's.
    pub fn mismatches(&self) -> usize {
        self.integers.iter().zip(self.clear.iter()).filter(|(a, b)| a != b).count()
    }

    /// The largest difference from the clear engine's integers.
    pub fn max_abs_difference(&self) -> i64 {
        self.integers.iter().zip(self.clear.iter()).map(|(a, b)| (a - b).abs()).max().unwrap_or(0)
    }

    /// ‖output − reference‖/‖reference‖.
    pub fn relative_error(&self, reference: &Matrix<f32>) -> f64 {
        relative_error(&self.output, reference)
    }
}

/// Keys of one client for heads of one plan, so that several inputs are run with one key generation.
pub struct Session {
    plan: CircuitPlan,
    multiply: Multiply,
    client: Client,
    evaluation_keys: tfhe_core::keys::EvaluationKeys,
    evaluation_key_bytes: usize,
    keygen_seconds: f64,
}

impl Session {
    /// Makes all keys.
    pub fn new(head: &QuantizedHead, plan: CircuitPlan, multiply: Multiply, seed: &SecretSeed) -> Self {
        let start = Instant::now();
        let client = Client::new(&plan.parameters, seed);
        let seeded = client.evaluation_keys(multiply, head.program().input_bits());
        let evaluation_key_bytes = seeded.bytes();
        let evaluation_keys = seeded.prepare();
        let keygen_seconds = start.elapsed().as_secs_f64();
        Self { plan, multiply, client, evaluation_keys, evaluation_key_bytes, keygen_seconds }
    }

    /// Encrypts, evaluates, decrypts.
    ///
    /// # Errors
    /// [`RunError::Input`], [`RunError::Engine`].
    pub fn execute(
        &mut self,
        head: &QuantizedHead,
        hidden: &Matrix<f32>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, RunError> {
        let input = head.client().quantize_input(hidden)?;
        let start = Instant::now();
        let request = self.client.encrypt(&input, head.program().accumulator_bits());
        let encrypt = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let server = Server::new(head.program(), &self.evaluation_keys, self.multiply);
        let (response, statistics) = server.evaluate(&request, observer)?;
        let evaluate = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let integers = self.client.decrypt(&response);
        let decrypt = start.elapsed().as_secs_f64();
        let mut outcome = finish(head, &input, integers, statistics);
        outcome.seconds = Seconds { keygen: self.keygen_seconds, encrypt, evaluate, decrypt, ..outcome.seconds };
        outcome.bytes =
            Bytes { evaluation_key: self.evaluation_key_bytes, request: request.bytes(), response: response.bytes() };
        outcome.plan = Some(self.plan.clone());
        Ok(outcome)
    }
}

/// The head on plain integers.
///
/// # Errors
/// [`RunError::Input`].
pub fn run_clear(head: &QuantizedHead, hidden: &Matrix<f32>) -> Result<Outcome, RunError> {
    let input = head.client().quantize_input(hidden)?;
    let start = Instant::now();
    let (integers, engine) = clear_integers(head, &input);
    let evaluate = start.elapsed().as_secs_f64();
    let mut outcome = finish(head, &input, integers, Statistics::of_clear(&engine));
    outcome.seconds.evaluate = evaluate;
    Ok(outcome)
}

/// The head on phases with drawn noise.
///
/// # Errors
/// [`RunError::Input`], [`RunError::Engine`].
pub fn run_simulated(
    head: &QuantizedHead,
    hidden: &Matrix<f32>,
    plan: CircuitPlan,
    multiply: Multiply,
    seed: &SecretSeed,
    observer: &mut dyn Observer,
) -> Result<Outcome, RunError> {
    let input = head.client().quantize_input(hidden)?;
    let start = Instant::now();
    let predictor = Predictor::new(&plan.parameters);
    let backend = Simulated::new(predictor.clone(), seed);
    let bits = head.program().input_bits();
    let mut engine = HomomorphicEngine::new(backend, predictor, multiply, bits, observer);
    let output = head.program().evaluate(&mut engine, &input, input.rows())?;
    let integers = output.map(|entry| nearest_integer(entry.ciphertext, entry.bits));
    let mut outcome = finish(head, &input, integers, engine.statistics().clone());
    outcome.seconds.evaluate = start.elapsed().as_secs_f64();
    outcome.plan = Some(plan);
    Ok(outcome)
}

fn clear_integers(head: &QuantizedHead, input: &Matrix<i32>) -> (Matrix<i64>, ClearEngine) {
    let mut engine = ClearEngine::new();
    let integers = head.program().evaluate_clear(&mut engine, input);
    (integers, engine)
}

fn finish(head: &QuantizedHead, input: &Matrix<i32>, integers: Matrix<i64>, statistics: Statistics) -> Outcome {
    let (clear, engine) = clear_integers(head, input);
    let steps = statistics.steps.iter().map(|step| (step.name, step.seconds)).collect();
    Outcome {
        output: head.client().dequantize_output(&integers),
        integers,
        clear,
        out_of_range: engine.out_of_range(),
        statistics,
        seconds: Seconds { steps, ..Seconds::default() },
        bytes: Bytes::default(),
        plan: None,
    }
}
