//! The exact circuit in the three modes.

use std::time::Instant;

use nn::clear::ClearEngine;
use nn::head::{HeadProgram, QuantizedHead};
use nn::matrix::Matrix;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::glwe::SeededGlweCiphertext;
use tfhe_core::key_graph::{MissingEdge, Parameters};
use tfhe_core::keys::SeededEvaluationKeys;
use tfhe_core::noise;
use tfhe_core::random::SampleSeed;
use tfhe_core::{security, sets, wide};

use crate::boundary::Refused;
use crate::client::{Client, nearest_integer};
use crate::engine::counted::Counted;
use crate::engine::plan::{Multiply, Predictor};
use crate::engine::simulated::Simulated;
use crate::engine::statistics::Statistics;
use crate::engine::{HomomorphicEngine, Observer, Unobserved};
use crate::server::Server;

use super::{Bytes, MAX_LOG2_FAILURE, Outcome, Plan, RunError, Seconds, check_finite};

/// The step in which the client reads the answer, of a plan.
const DECRYPTION: &str = "decryption";

/// What will run: known before anything is encrypted.
#[derive(Clone, Debug)]
pub struct CircuitPlan {
    /// The parameter set.
    pub parameters: Parameters,
    /// Operations, noise and failure probabilities by step; no times.
    pub statistics: Statistics,
    /// log2 of the probability that the run decrypts to anything but the clear engine's integers: see [`super::FAILURE_MEANING`].
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
        let size = parameters.arithmetic().size().get();
        let length = tokens.max(program.head_size());
        if length > size {
            return Err(RunError::TooLong { length, size });
        }
        let predictor = Predictor::new(&parameters)?;
        let observer = &mut Unobserved;
        let mut engine = HomomorphicEngine::new(Counted, predictor.clone(), multiply, program, observer);
        let output = program.evaluate(&mut engine, &tokens, tokens)?;
        // The answer is packed, and its integers read by rounding.
        let decryption = output
            .iter()
            .map(|entry| predictor.decryption_failure(entry.noise.clone(), entry.bits))
            .fold(f64::NEG_INFINITY, noise::log2_sum);
        let mut statistics = engine.statistics().clone();
        statistics.step(DECRYPTION).log2_failure_probability = decryption;
        let log2_failure_probability = statistics.log2_failure_probability();
        let bytes = Bytes::predict(&parameters, program, tokens, multiply)?;
        Ok(Self { parameters, statistics, log2_failure_probability, bytes })
    }

    /// The security level of the set, in bits.
    pub fn security_bits(&self) -> Option<f64> {
        security::parameters_level(&self.parameters).map(|level| level.bits)
    }
}

/// Keys of one client for heads of one plan, so that several inputs are run with one key generation.
pub struct ExactSession {
    plan: CircuitPlan,
    multiply: Multiply,
    client: Client,
    evaluation_keys: tfhe_core::keys::EvaluationKeys,
    evaluation_key_bytes: usize,
    keygen_seconds: f64,
}

impl ExactSession {
    /// Makes all keys.
    ///
    /// # Errors
    /// [`RunError::Refused`] if the plan's set is not one of this circuit.
    pub fn new(
        head: &QuantizedHead,
        plan: CircuitPlan,
        multiply: Multiply,
        seed: &ClientSeed,
    ) -> Result<Self, RunError> {
        let start = Instant::now();
        let program = head.program();
        let seed = seed.bound_to(multiply.name(), program.input_bits().into());
        let seed = seed.bound_to("whole attention", program.is_whole().into());
        let client = Client::new(&plan.parameters, &seed).map_err(Refused::from)?;
        let seeded = client.evaluation_keys(multiply, program.input_bits(), program.is_whole())?;
        let evaluation_key_bytes = seeded.bytes();
        let evaluation_keys = seeded.prepare().map_err(Refused::from)?;
        let keygen_seconds = start.elapsed().as_secs_f64();
        Ok(Self { plan, multiply, client, evaluation_keys, evaluation_key_bytes, keygen_seconds })
    }

    /// Encrypts, evaluates, decrypts.
    ///
    /// # Errors
    /// [`RunError::Input`], [`RunError::Randomness`], [`RunError::Engine`], [`RunError::NotFinite`].
    pub fn execute(
        &mut self,
        head: &QuantizedHead,
        hidden: &Matrix<f32>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, RunError> {
        let input = head.client().quantize_input(hidden)?;
        let start = Instant::now();
        let request = self.client.encrypt(&input, head.program().accumulator_bits())?;
        let encrypt = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let server = Server::new(head.program(), &self.evaluation_keys, self.multiply)?;
        let (response, statistics) = server.evaluate(&request, observer)?;
        let evaluate = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let size = (input.rows(), head.program().output_size());
        let integers = self.client.decrypt(&response, request.request.label(), size)?;
        let decrypt = start.elapsed().as_secs_f64();
        let mut outcome = finish(head, hidden, &clear_integers(head, &input), integers, statistics)?;
        outcome.seconds = Seconds { keygen: self.keygen_seconds, encrypt, evaluate, decrypt, ..outcome.seconds };
        outcome.bytes =
            Bytes { evaluation_key: self.evaluation_key_bytes, request: request.bytes(), response: response.bytes() };
        outcome.plan = Some(Plan::Exact(self.plan.clone()));
        Ok(outcome)
    }
}

/// The head on plain integers.
///
/// # Errors
/// [`RunError::Input`], [`RunError::NotFinite`].
pub fn run_clear(head: &QuantizedHead, hidden: &Matrix<f32>) -> Result<Outcome, RunError> {
    let input = head.client().quantize_input(hidden)?;
    let start = Instant::now();
    let clear = clear_integers(head, &input);
    let evaluate = start.elapsed().as_secs_f64();
    let mut outcome = finish(head, hidden, &clear, clear.0.clone(), Statistics::of_clear(&clear.1))?;
    outcome.seconds.evaluate = evaluate;
    Ok(outcome)
}

/// The head on phases with drawn noise.
///
/// # Errors
/// [`RunError::Input`], [`RunError::Engine`], [`RunError::NotFinite`].
pub fn run_simulated(
    head: &QuantizedHead,
    hidden: &Matrix<f32>,
    plan: CircuitPlan,
    multiply: Multiply,
    seed: &SampleSeed,
    observer: &mut dyn Observer,
) -> Result<Outcome, RunError> {
    let input = head.client().quantize_input(hidden)?;
    let start = Instant::now();
    let predictor = Predictor::new(&plan.parameters)?;
    let backend = Simulated::new(predictor.clone(), seed);
    let mut engine = HomomorphicEngine::new(backend, predictor, multiply, head.program(), observer);
    let output = head.program().evaluate(&mut engine, &input, input.rows())?;
    let integers = output.map(|entry| nearest_integer(entry.ciphertext, entry.bits));
    let evaluate = start.elapsed().as_secs_f64();
    let statistics = engine.statistics().clone();
    let mut outcome = finish(head, hidden, &clear_integers(head, &input), integers, statistics)?;
    outcome.seconds.evaluate = evaluate;
    outcome.plan = Some(Plan::Exact(plan));
    Ok(outcome)
}

/// What the clear engine computes, and the engine with its counts.
fn clear_integers(head: &QuantizedHead, input: &Matrix<i32>) -> (Matrix<i64>, ClearEngine) {
    let mut engine = ClearEngine::new();
    let integers = head.program().evaluate_clear(&mut engine, input);
    (integers, engine)
}

fn finish(
    head: &QuantizedHead,
    hidden: &Matrix<f32>,
    (clear, engine): &(Matrix<i64>, ClearEngine),
    integers: Matrix<i64>,
    statistics: Statistics,
) -> Result<Outcome, RunError> {
    let real = |integers: &Matrix<i64>| integers.map(|&integer| integer as f64);
    let [output, clear_output] = [&integers, clear].map(|integers| head.client().dequantize_output(integers));
    [&output, &clear_output].into_iter().try_for_each(check_finite)?;
    Ok(Outcome {
        numbers: real(&integers),
        clear_numbers: real(clear),
        tolerance: None,
        output,
        clear_output,
        out_of_range: engine.out_of_range() + engine.overflows(),
        saturation: head.client().saturation(hidden),
        seconds: Seconds::of_steps(&statistics),
        statistics,
        bytes: Bytes::default(),
        plan: None,
    })
}

impl Bytes {
    /// Of a program on `tokens` tokens: seeded keys; ⌈E/N⌉ seeded ciphertexts per token; as many ciphertexts of the
    /// answer as hold T·d numbers of one head, or T·E of a whole attention.
    fn predict(
        parameters: &Parameters,
        program: &HeadProgram,
        tokens: usize,
        multiply: Multiply,
    ) -> Result<Self, MissingEdge> {
        let (shape, n) = (parameters.arithmetic().shape, parameters.arithmetic().size().get());
        let needs = Predictor::needs(multiply, program.input_bits(), program.is_whole());
        let request = tokens * program.embedding_size().div_ceil(n);
        let response = (tokens * program.output_size()).div_ceil(n);
        Ok(Self {
            evaluation_key: SeededEvaluationKeys::predicted_bytes(parameters, &needs)?,
            request: request * SeededGlweCiphertext::bytes_of_shape(shape),
            response: response * shape.ciphertext_len() * size_of::<u64>(),
        })
    }
}
