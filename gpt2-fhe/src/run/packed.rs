//! The packed circuit in the three modes.

use std::time::Instant;

use nn::attention::AttentionWeights;
use nn::matrix::Matrix;
use nn::packed::{ClearPackedEngine, Function, PackedHead, PackedOptions, PackedProgram};
use tfhe_core::glwe::SeededGlweCiphertext;
use tfhe_core::random::SecretSeed;
use tfhe_core::ring_pair::RingPairParameters;
use tfhe_core::ring_pair_keys::{RingPairKeys, SeededRingPairKeys};
use tfhe_core::{security, sets};

use crate::engine::Observer;
use crate::engine::statistics::Statistics;
use crate::packed::client::{PackedHeadClient, WireScales};
use crate::packed::counted::CountedPacked;
use crate::packed::evaluator::PreparedHead;
use crate::packed::layout::Layout;
use crate::packed::prediction::Prediction;
use crate::packed::server::PackedServer;
use crate::packed::simulated::SimulatedPacked;

use super::{Bytes, MAX_LOG2_FAILURE, Outcome, Plan, RunError, Seconds};

/// The smallest modulus of scores that is tried: weights would have hardly more than a sign.
const MIN_LOG_MODULUS: u32 = 16;
/// Simulated runs from which the noise of each output is estimated.
const SIMULATIONS: u64 = 32;
/// How many estimated standard deviations an output may be from the clear engine's. The estimate from 32 runs has a relative
/// standard error of an eighth; were it exact, one of 64·64 Gaussian errors would exceed eight with a chance of 2^-37.
const TOLERANCE: f64 = 8.0;

/// What will run.
#[derive(Clone, Debug)]
pub struct PackedPlan {
    /// The parameter set.
    pub parameters: RingPairParameters,
    /// Where everything lies.
    pub layout: Layout,
    /// The noise of each step.
    pub prediction: Prediction,
    /// Operations, noise and failure probabilities by step; no times.
    pub statistics: Statistics,
    /// log2 of the probability that an argument of a lookup within its range is read outside of the table, or an output within its
    /// range wraps around.
    pub log2_failure_probability: f64,
    /// What will be sent.
    pub bytes: Bytes,
}

impl PackedPlan {
    /// Plans the head for `tokens` tokens.
    ///
    /// # Errors
    /// [`RunError::TooLarge`], [`RunError::Unreliable`].
    pub fn new(head: &PackedHead, tokens: usize) -> Result<Self, RunError> {
        let program = head.program();
        let parameters = sets::PACKED_HEAD.compile().expect("named sets are valid");
        let layout = layout(program, &parameters, tokens)?;
        let prediction = Prediction::new(&parameters, program, &layout);
        let statistics = CountedPacked::count(program, &prediction, layout);
        let log2_failure_probability = statistics.log2_failure_probability();
        if log2_failure_probability > MAX_LOG2_FAILURE {
            return Err(RunError::Unreliable { best: log2_failure_probability.min(0.0) });
        }
        let arithmetic = parameters.arithmetic().shape;
        let answers = tokens.div_ceil(layout.tokens_per_answer());
        let bytes = Bytes {
            evaluation_key: SeededRingPairKeys::predicted_bytes(&parameters, layout.subring()),
            request: layout.groups() * layout.chunks() * SeededGlweCiphertext::bytes_of_shape(arithmetic),
            response: answers * arithmetic.ciphertext_len() * size_of::<u64>(),
        };
        Ok(Self { parameters, layout, prediction, statistics, log2_failure_probability, bytes })
    }

    /// The security level of the set, in bits.
    pub fn security_bits(&self) -> Option<f64> {
        security::ring_pair_level(&self.parameters).map(|level| level.bits)
    }
}

fn layout(program: &PackedProgram, parameters: &RingPairParameters, tokens: usize) -> Result<Layout, RunError> {
    Ok(Layout::new(parameters.arithmetic().size(), program.embedding_size(), program.head_size(), tokens)?)
}

/// Quantizes a head with the largest modulus of scores, up to that of the options, with which a run on the most tokens is
/// reliable, and scores have no more noise than the rounding of a lookup's argument adds: a larger modulus means finer weights, and
/// more noise.
///
/// # Errors
/// [`RunError::Input`]: as [`PackedHead::calibrate`]; [`RunError::TooLarge`], [`RunError::Unreliable`].
pub fn calibrate(
    weights: &AttentionWeights,
    head: usize,
    calibration: &[Matrix<f32>],
    options: &PackedOptions,
) -> Result<PackedHead, RunError> {
    let mut options = *options;
    loop {
        let calibrated = PackedHead::calibrate(weights, head, calibration, &options)?;
        let smaller = options.log_modulus > MIN_LOG_MODULUS;
        match PackedPlan::new(&calibrated, calibrated.program().max_tokens()) {
            Ok(plan) if plan.prediction.score > plan.prediction.modulus_switch && smaller => {}
            Ok(_) => return Ok(calibrated),
            Err(RunError::Unreliable { .. }) if smaller => {}
            Err(error) => return Err(error),
        }
        // That of the head may be smaller already, for want of bits of weights.
        options.log_modulus = calibrated.program().log_modulus().min(options.log_modulus) - 1;
    }
}

/// Keys of one client, and what the server has prepared.
pub struct PackedSession {
    parameters: RingPairParameters,
    client: PackedHeadClient,
    evaluation_keys: RingPairKeys,
    evaluation_key_bytes: usize,
    keygen_seconds: f64,
    prepared: Option<(PackedProgram, PreparedHead)>,
}

impl PackedSession {
    /// Makes all keys.
    pub fn new(plan: &PackedPlan, seed: &SecretSeed) -> Self {
        let start = Instant::now();
        let client = PackedHeadClient::new(&plan.parameters, seed);
        let seeded = client.evaluation_keys(&plan.layout);
        let evaluation_key_bytes = seeded.bytes();
        let evaluation_keys = seeded.prepare();
        Self {
            parameters: plan.parameters.clone(),
            client,
            evaluation_keys,
            evaluation_key_bytes,
            keygen_seconds: start.elapsed().as_secs_f64(),
            prepared: None,
        }
    }

    /// Encrypts, evaluates, decrypts.
    ///
    /// # Errors
    /// [`RunError::Input`], [`RunError::Engine`]; as [`PackedPlan::new`].
    pub fn execute(
        &mut self,
        head: &PackedHead,
        hidden: &Matrix<f32>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, RunError> {
        let plan = PackedPlan::new(head, hidden.rows())?;
        let (program, layout) = (head.program(), plan.layout);
        let input = head.client().quantize_input(hidden)?;
        let start = Instant::now();
        let parameters = &self.parameters;
        let fits = |(other, prepared): &(PackedProgram, PreparedHead)| other == program && *prepared.layout() == layout;
        let kept = self.prepared.take().filter(fits);
        let (_, prepared) = self
            .prepared
            .insert(kept.unwrap_or_else(|| (program.clone(), PreparedHead::new(program, parameters, layout))));
        let prepare = start.elapsed().as_secs_f64();
        let scales = WireScales::new(parameters, program);
        let start = Instant::now();
        let request = self.client.encrypt(&input, &layout, &scales);
        let encrypt = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let server = PackedServer::new(prepared, &self.evaluation_keys);
        let (response, statistics) = server.evaluate(&request, observer)?;
        let evaluate = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let numbers = self.client.decrypt(&response, &layout, &scales, program.head_size());
        let decrypt = start.elapsed().as_secs_f64();
        let bytes =
            Bytes { evaluation_key: self.evaluation_key_bytes, request: request.bytes(), response: response.bytes() };
        let mut outcome = finish(head, &input, numbers, statistics, Some(plan));
        let keygen = self.keygen_seconds;
        outcome.seconds = Seconds { keygen, prepare, encrypt, evaluate, decrypt, ..outcome.seconds };
        outcome.bytes = bytes;
        Ok(outcome)
    }
}

/// The head without noise.
///
/// # Errors
/// [`RunError::Input`].
pub fn run_clear(head: &PackedHead, hidden: &Matrix<f32>) -> Result<Outcome, RunError> {
    let input = head.client().quantize_input(hidden)?;
    let start = Instant::now();
    let numbers = ClearPackedEngine::new(head.program(), &input).evaluate();
    let evaluate = start.elapsed().as_secs_f64();
    let mut statistics = Statistics::default();
    for function in [Function::Softplus, Function::Exponential] {
        statistics.step(function.step()).lookups = PackedProgram::lookups(function, hidden.rows());
    }
    let mut outcome = finish(head, &input, numbers, statistics, None);
    outcome.seconds.evaluate = evaluate;
    Ok(outcome)
}

/// The head with drawn noise.
///
/// # Errors
/// [`RunError::Input`]; as [`PackedPlan::new`].
pub fn run_simulated(head: &PackedHead, hidden: &Matrix<f32>, seed: &SecretSeed) -> Result<Outcome, RunError> {
    let plan = PackedPlan::new(head, hidden.rows())?;
    let input = head.client().quantize_input(hidden)?;
    let start = Instant::now();
    let numbers = simulate(head, &plan, &input, seed);
    let evaluate = start.elapsed().as_secs_f64();
    let statistics = plan.statistics.clone();
    let mut outcome = finish(head, &input, numbers, statistics, Some(plan));
    outcome.seconds.evaluate = evaluate;
    Ok(outcome)
}

/// One simulated run: `[T, d]` in units of the output's integers.
pub fn simulate(head: &PackedHead, plan: &PackedPlan, input: &Matrix<i32>, seed: &SecretSeed) -> Matrix<f64> {
    let PackedPlan { parameters, prediction, layout, .. } = plan;
    SimulatedPacked::new(head.program(), parameters, prediction, *layout, input, seed).evaluate()
}

/// How far each output may be from the clear one.
fn tolerance(head: &PackedHead, plan: &PackedPlan, input: &Matrix<i32>, clear: &Matrix<f64>) -> Matrix<f64> {
    let mut squares = clear.map(|_| 0.0);
    for run in 0..SIMULATIONS {
        let simulated = simulate(head, plan, input, &SecretSeed::from_number(run));
        for ((sum, a), b) in squares.data_mut().iter_mut().zip(simulated.iter()).zip(clear.iter()) {
            *sum += (a - b).powi(2);
        }
    }
    squares.map(|sum| TOLERANCE * (sum / SIMULATIONS as f64).sqrt())
}

fn finish(
    head: &PackedHead,
    input: &Matrix<i32>,
    numbers: Matrix<f64>,
    statistics: Statistics,
    plan: Option<PackedPlan>,
) -> Outcome {
    let mut engine = ClearPackedEngine::new(head.program(), input);
    let clear = engine.evaluate();
    Outcome {
        tolerance: plan.as_ref().map(|plan| tolerance(head, plan, input, &clear)),
        output: head.client().dequantize_output(&numbers),
        clear_output: head.client().dequantize_output(&clear),
        numbers,
        clear_numbers: clear,
        out_of_range: engine.out_of_range(),
        seconds: Seconds::of_steps(&statistics),
        statistics,
        bytes: Bytes::default(),
        plan: plan.map(|plan| Plan::Packed(Box::new(plan))),
    }
}
