//! The packed circuit in the three modes.

use std::time::Instant;

use nn::attention::{AttentionWeights, Part};
use nn::matrix::Matrix;
use nn::packed::{
    Calibration, ClearOutput, ClearPackedEngine, Function, PackedAttention, PackedOptions, PackedProgram, Span,
};
use rayon::prelude::*;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::glwe::SeededGlweCiphertext;
use tfhe_core::random::SampleSeed;
use tfhe_core::ring_pair::RingPairParameters;
use tfhe_core::ring_pair_keys::{RingPairKeys, SeededRingPairKeys};
use tfhe_core::{security, sets};

use crate::engine::Observer;
use crate::engine::statistics::Statistics;
use crate::packed::client::{PackedHeadClient, WireScales};
use crate::packed::counted::CountedPacked;
use crate::packed::evaluator::PreparedAttention;
use crate::packed::layout::{Layout, Sizes};
use crate::packed::prediction::Prediction;
use crate::packed::server::PackedServer;
use crate::packed::simulated::SimulatedPacked;

use super::{Bytes, MAX_LOG2_FAILURE, Outcome, Plan, RunError, Seconds};

/// The smallest modulus of scores that is tried: weights would have hardly more than a sign.
const MIN_LOG_MODULUS: u32 = 16;
/// Simulated runs from which the noise of each output is estimated.
const SIMULATIONS: u64 = 32;
/// How many estimated standard deviations an output may be from the clear engine's. The estimate from 32 runs has a relative
/// standard error of an eighth; were it exact, one of 64·768 Gaussian errors would exceed eight with a chance of 2^-34.
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
    /// Plans a run on the tokens of `span`.
    ///
    /// # Errors
    /// [`RunError::TooLarge`], [`RunError::Unreliable`].
    pub fn new(attention: &PackedAttention, span: Span) -> Result<Self, RunError> {
        let program = attention.program();
        let parameters = sets::PACKED_HEAD.compile().expect("named sets are valid");
        let layout = layout(program, &parameters, span)?;
        let prediction = Prediction::new(&parameters, program, &layout);
        let statistics = CountedPacked::count(program, &parameters, &prediction, layout);
        let log2_failure_probability = statistics.log2_failure_probability();
        if log2_failure_probability > MAX_LOG2_FAILURE {
            return Err(RunError::Unreliable { best: log2_failure_probability.min(0.0) });
        }
        let arithmetic = parameters.arithmetic().shape;
        let bytes = Bytes {
            evaluation_key: SeededRingPairKeys::predicted_bytes(&parameters, layout.subring()),
            request: layout.groups() * layout.input_chunks() * SeededGlweCiphertext::bytes_of_shape(arithmetic),
            response: layout.answers() * arithmetic.ciphertext_len() * size_of::<u64>(),
        };
        Ok(Self { parameters, layout, prediction, statistics, log2_failure_probability, bytes })
    }

    /// The plan to simulate as if every noise had `factor` times its standard deviation. Failure probabilities stay
    /// those of the noise as it is.
    pub fn with_noise(self, factor: f64) -> Self {
        Self { prediction: self.prediction.scaled(factor), ..self }
    }

    /// The security level of the set, in bits.
    pub fn security_bits(&self) -> Option<f64> {
        security::ring_pair_level(&self.parameters).map(|level| level.bits)
    }
}

fn layout(program: &PackedProgram, parameters: &RingPairParameters, span: Span) -> Result<Layout, RunError> {
    let sizes = Sizes {
        embedding: program.embedding_size(),
        head: program.head_size(),
        output: program.output_size(),
        heads: program.heads().len(),
    };
    Ok(Layout::new(parameters, sizes, span)?)
}

/// Quantizes a part of the attention, each head with the largest modulus of scores, up to that of the options, with which a run
/// of it on the most tokens is reliable, and scores have at most half the noise that the rounding of a lookup's argument
/// adds: a larger modulus means finer weights, and more noise.
///
/// # Errors
/// [`RunError::Input`]: as [`Calibration::new`] and [`Calibration::quantize`]; [`RunError::TooLarge`], [`RunError::Unreliable`].
pub fn calibrate(
    weights: &AttentionWeights,
    part: Part,
    calibration: &[Matrix<f32>],
    options: &PackedOptions,
) -> Result<PackedAttention, RunError> {
    let heads = match part {
        Part::Head(head) => head..head + 1,
        Part::Whole => 0..weights.heads(),
    };
    let calibration = Calibration::new(weights, calibration, options)?;
    let log_moduli: Vec<u32> = heads
        .into_par_iter()
        .map(|head| largest_modulus(&calibration, head, options.log_modulus))
        .collect::<Result<_, RunError>>()?;
    Ok(calibration.quantize(part, &log_moduli)?)
}

/// The modulus of one head's scores.
fn largest_modulus(calibration: &Calibration<'_>, head: usize, mut limit: u32) -> Result<u32, RunError> {
    loop {
        let calibrated = calibration.quantize(Part::Head(head), &[limit])?;
        let log_modulus = calibrated.program().heads()[0].log_modulus();
        let smaller = limit > MIN_LOG_MODULUS;
        match PackedPlan::new(&calibrated, Span::all(calibrated.program().max_tokens())) {
            Ok(plan) if plan.prediction.heads[0].score.repeated(4.0) > plan.prediction.modulus_switch && smaller => {}
            Ok(_) => return Ok(log_modulus),
            Err(RunError::Unreliable { .. }) if smaller => {}
            Err(error) => return Err(error),
        }
        // That of the head may be smaller already, for want of bits of weights.
        limit = log_modulus.min(limit) - 1;
    }
}

/// Keys of one client, and what the server has prepared.
pub struct PackedSession {
    parameters: RingPairParameters,
    client: PackedHeadClient,
    evaluation_keys: RingPairKeys,
    evaluation_key_bytes: usize,
    keygen_seconds: f64,
    /// The attention of each layer that was run, to be used again.
    prepared: Vec<PreparedAttention>,
}

impl PackedSession {
    /// Makes all keys.
    pub fn new(plan: &PackedPlan, seed: &ClientSeed) -> Self {
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
            prepared: Vec::new(),
        }
    }

    /// Encrypts, evaluates, decrypts: the rows of `span`, of `hidden` `[T, E]`.
    ///
    /// # Errors
    /// [`RunError::Input`], [`RunError::Randomness`], [`RunError::Engine`]; as [`PackedPlan::new`].
    pub fn execute(
        &mut self,
        attention: &PackedAttention,
        hidden: &Matrix<f32>,
        span: Span,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, RunError> {
        let input = attention.client().quantize_input(hidden)?;
        let plan = PackedPlan::new(attention, span)?;
        let (program, layout) = (attention.program(), plan.layout);
        let start = Instant::now();
        let prepared = self.prepare(program);
        let prepare = start.elapsed().as_secs_f64();
        let scales = WireScales::new(&self.parameters, program);
        let start = Instant::now();
        let request = self.client.encrypt(&input, &layout, &scales)?;
        let encrypt = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let server = PackedServer::new(&self.prepared[prepared], &self.evaluation_keys);
        let (response, statistics) = server.evaluate(&request, &layout, observer)?;
        let evaluate = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let numbers = self.client.decrypt(&response, &layout, &scales, attention.client());
        let decrypt = start.elapsed().as_secs_f64();
        let bytes =
            Bytes { evaluation_key: self.evaluation_key_bytes, request: request.bytes(), response: response.bytes() };
        let mut outcome = finish(attention, &Clear::new(attention, &input, span), numbers, statistics, Some(plan));
        let keygen = self.keygen_seconds;
        outcome.seconds = Seconds { keygen, prepare, encrypt, evaluate, decrypt, ..outcome.seconds };
        outcome.bytes = bytes;
        Ok(outcome)
    }

    /// The index of the prepared attention of `program`.
    fn prepare(&mut self, program: &PackedProgram) -> usize {
        self.prepared.iter().position(|prepared| prepared.program() == program).unwrap_or_else(|| {
            self.prepared.push(PreparedAttention::new(program, &self.parameters));
            self.prepared.len() - 1
        })
    }
}

/// The attention without noise.
///
/// # Errors
/// [`RunError::Input`].
pub fn run_clear(attention: &PackedAttention, hidden: &Matrix<f32>, span: Span) -> Result<Outcome, RunError> {
    let input = attention.client().quantize_input(hidden)?;
    let start = Instant::now();
    let clear = Clear::new(attention, &input, span);
    let evaluate = start.elapsed().as_secs_f64();
    let mut statistics = Statistics::default();
    for function in [Function::Softplus, Function::Exponential] {
        statistics.step(function.step()).lookups = attention.program().heads().len() * span.lookups(function);
    }
    let mut outcome = finish(attention, &clear, clear.output.numbers.clone(), statistics, None);
    outcome.seconds.evaluate = evaluate;
    Ok(outcome)
}

/// The attention with drawn noise.
///
/// # Errors
/// [`RunError::Input`]; as [`PackedPlan::new`].
pub fn run_simulated(
    attention: &PackedAttention,
    hidden: &Matrix<f32>,
    span: Span,
    seed: &SampleSeed,
) -> Result<Outcome, RunError> {
    let input = attention.client().quantize_input(hidden)?;
    let plan = PackedPlan::new(attention, span)?;
    let start = Instant::now();
    let clear = Clear::new(attention, &input, span);
    let numbers = simulate_from(attention, &plan, &clear.engine, seed);
    let evaluate = start.elapsed().as_secs_f64();
    let statistics = plan.statistics.clone();
    let mut outcome = finish(attention, &clear, numbers, statistics, Some(plan));
    outcome.seconds.evaluate = evaluate;
    Ok(outcome)
}

/// One simulated run: `[rows, O]` in units of the output's integers; and how many numbers left their range without
/// noise.
pub fn simulate(
    attention: &PackedAttention,
    plan: &PackedPlan,
    input: &Matrix<i32>,
    seed: &SampleSeed,
) -> (Matrix<f64>, usize) {
    let clear = Clear::new(attention, input, plan.layout.span());
    (simulate_from(attention, plan, &clear.engine, seed), clear.output.out_of_range)
}

fn simulate_from(
    attention: &PackedAttention,
    plan: &PackedPlan,
    clear: &ClearPackedEngine<'_>,
    seed: &SampleSeed,
) -> Matrix<f64> {
    let PackedPlan { parameters, prediction, layout, .. } = plan;
    let engine = SimulatedPacked::new(attention.program(), parameters, prediction, *layout, clear, seed);
    engine.evaluate(attention.client())
}

/// The clear engine, and what it computes.
struct Clear<'a> {
    engine: ClearPackedEngine<'a>,
    output: ClearOutput,
}

impl<'a> Clear<'a> {
    fn new(attention: &'a PackedAttention, input: &Matrix<i32>, span: Span) -> Self {
        let engine = ClearPackedEngine::new(attention.program(), input, span);
        Self { output: engine.clone().evaluate(), engine }
    }

    /// How far each output of a run may be from the clear engine's.
    fn tolerance(&self, attention: &PackedAttention, plan: &PackedPlan) -> Matrix<f64> {
        let simulate = |run| simulate_from(attention, plan, &self.engine, &SampleSeed::from_number(run));
        let runs: Vec<Matrix<f64>> = (0..SIMULATIONS).into_par_iter().map(simulate).collect();
        let numbers = &self.output.numbers;
        let square =
            |index: usize| runs.iter().map(|run| (run.data()[index] - numbers.data()[index]).powi(2)).sum::<f64>();
        let cols = numbers.cols();
        Matrix::from_fn(numbers.rows(), cols, |row, column| {
            TOLERANCE * (square(row * cols + column) / SIMULATIONS as f64).sqrt()
        })
    }
}

fn finish(
    attention: &PackedAttention,
    clear: &Clear<'_>,
    numbers: Matrix<f64>,
    statistics: Statistics,
    plan: Option<PackedPlan>,
) -> Outcome {
    let clear_numbers = &clear.output.numbers;
    Outcome {
        tolerance: plan.as_ref().map(|plan| clear.tolerance(attention, plan)),
        output: attention.client().dequantize_output(&numbers),
        clear_output: attention.client().dequantize_output(clear_numbers),
        numbers,
        clear_numbers: clear_numbers.clone(),
        out_of_range: clear.output.out_of_range,
        seconds: Seconds::of_steps(&statistics),
        statistics,
        bytes: Bytes::default(),
        plan: plan.map(|plan| Plan::Packed(Box::new(plan))),
    }
}
