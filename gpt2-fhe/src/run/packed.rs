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
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::{EvaluationKeys, SeededEvaluationKeys};
use tfhe_core::random::SampleSeed;
use tfhe_core::{security, sets};

use crate::boundary::Refused;
use crate::engine::Observer;
use crate::engine::statistics::Statistics;
use crate::packed::client::PackedHeadClient;
use crate::packed::counted::{CountedPacked, Counts};
use crate::packed::evaluator::PreparedAttention;
use crate::packed::keys::needs;
use crate::packed::layout::{Layout, Sizes};
use crate::packed::prediction::Prediction;
use crate::packed::server::PackedServer;
use crate::packed::simulated::SimulatedPacked;
use crate::packed::tables;
use crate::packed::wire::WireScales;

use super::{Bytes, MAX_LOG2_FAILURE, Outcome, Plan, RunError, Seconds, check_finite, is_within};

/// The smallest modulus of scores that is tried: weights would have hardly more than a sign.
const MIN_LOG_MODULUS: u32 = 16;
/// Simulated runs from which the noise of each output is estimated.
const SIMULATIONS: u64 = 32;
/// How many estimated standard deviations an output may be from the clear engine's. The estimate from 32 runs has a relative
/// standard error of an eighth; were it exact, one of 64·768 Gaussian errors would exceed eight with a chance of 2^-34.
const TOLERANCE: f64 = 8.0;

/// What the standard deviation of an exponent, as a head reads it, may be at most, in units of score.
///
/// It is a bound, with all slopes of softplus 1. Simulated outputs have a third to a half of it as their relative noise (chapter 15 has
/// the figures), so this is up to 3/8 of an output, five times what quantization costs. Beyond, e^δ is not near 1 + δ any more, and noise
/// grows faster than the bound.
pub const MAX_EXPONENT_NOISE: f64 = 0.75;

/// What will run.
#[derive(Clone, Debug)]
pub struct PackedPlan {
    /// The parameter set.
    pub parameters: Parameters,
    /// Where everything lies.
    pub layout: Layout,
    /// The noise of each step.
    pub prediction: Prediction,
    /// Operations, noise and failure probabilities by step; no times.
    pub statistics: Statistics,
    /// Of each head, the standard deviation with which an exponential reads its argument, at most, in units of score: the relative
    /// error of a probability.
    pub exponent_noise: Vec<f64>,
    /// log2 of the probability that an argument of a lookup within its range is read outside of the table, or an output within its
    /// range wraps around: see [`super::FAILURE_MEANING`].
    pub log2_failure_probability: f64,
    /// What will be sent.
    pub bytes: Bytes,
}

impl PackedPlan {
    /// Plans a run on the tokens of `span`.
    ///
    /// # Errors
    /// [`RunError::TooLarge`], [`RunError::Unreliable`], [`RunError::Noisy`].
    pub fn new(attention: &PackedAttention, span: Span) -> Result<Self, RunError> {
        let plan = Self::reliable(attention, span)?;
        let heads = plan.exponent_noise.iter().zip(attention.program().heads()).enumerate();
        match heads.max_by(|(_, (a, _)), (_, (b, _))| a.total_cmp(b)) {
            Some((head, (&noise, program))) if !is_within(noise, MAX_EXPONENT_NOISE) => {
                Err(RunError::Noisy { layer: None, head, noise, score_turn: program.score_turn() })
            }
            _ => Ok(plan),
        }
    }

    /// A plan without regard to how much noise probabilities have.
    fn reliable(attention: &PackedAttention, span: Span) -> Result<Self, RunError> {
        let program = attention.program();
        let parameters = sets::PACKED_HEAD.compile().expect("named sets are valid");
        let layout = layout(program, &parameters, span)?;
        let prediction = Prediction::new(&parameters, program, &layout)?;
        let Counts { statistics, exponents } = CountedPacked::count(program, &parameters, &prediction, layout);
        let exponent_noise =
            program.heads().iter().zip(exponents).map(|(head, read)| read.std() * head.exponent_turn()).collect();
        let log2_failure_probability = statistics.log2_failure_probability();
        if log2_failure_probability > MAX_LOG2_FAILURE {
            return Err(RunError::Unreliable { best: log2_failure_probability.min(0.0) });
        }
        let arithmetic = parameters.arithmetic().shape;
        let bytes = Bytes {
            evaluation_key: SeededEvaluationKeys::predicted_bytes(&parameters, &needs(&layout))?,
            request: layout.groups() * layout.input_chunks() * SeededGlweCiphertext::bytes_of_shape(arithmetic),
            response: layout.answers() * arithmetic.ciphertext_len() * size_of::<u64>(),
        };
        Ok(Self { parameters, layout, prediction, statistics, exponent_noise, log2_failure_probability, bytes })
    }

    /// What the root mean square noise of an input's outputs may be at most, in units of their integers: of a run whose values are as
    /// large as those of the calibration set, all that every row weighs. To first order in exponents' noise, which
    /// [`MAX_EXPONENT_NOISE`] allows for.
    pub fn output_noise(&self, program: &PackedProgram) -> f64 {
        let layout = &self.layout;
        let unit = tables::probability_turns(program);
        let added = self.prediction.output(layout, layout.tokens() - 1).variance().get() / unit.powi(2);
        let heads = program.heads().iter().zip(&self.exponent_noise);
        let read: f64 = heads.map(|(head, noise)| (noise * head.value_norm()).powi(2)).sum();
        (added + read / program.output_size() as f64).sqrt()
    }

    /// The plan to simulate as if every noise had `factor` times its standard deviation. Failure probabilities stay
    /// those of the noise as it is.
    pub fn with_noise(self, factor: f64) -> Self {
        Self { prediction: self.prediction.scaled(factor), ..self }
    }

    /// The security level of the set, in bits.
    pub fn security_bits(&self) -> Option<f64> {
        security::parameters_level(&self.parameters).map(|level| level.bits)
    }
}

fn layout(program: &PackedProgram, parameters: &Parameters, span: Span) -> Result<Layout, RunError> {
    Ok(Layout::new(parameters, Sizes::of(program), span)?)
}

/// Quantizes a part of the attention, each head with the largest modulus of scores, up to that of the options, with which a run
/// of it on the most tokens is reliable, and scores have at most half the noise that the rounding of a lookup's argument
/// adds: a larger modulus means finer weights, and more noise. Whether probabilities have too much of it is said by a plan.
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
        // That of the head may be smaller than the limit already, for want of bits of weights.
        let smaller = log_modulus.min(limit) > MIN_LOG_MODULUS;
        match PackedPlan::reliable(&calibrated, Span::all(calibrated.program().max_tokens())) {
            Ok(plan)
                if plan.prediction.heads[0].score.variance().repeated(4.0) > plan.prediction.modulus_switch
                    && smaller => {}
            Ok(_) => return Ok(log_modulus),
            Err(RunError::Unreliable { .. }) if smaller => {}
            Err(error) => return Err(error),
        }
        limit = log_modulus.min(limit) - 1;
    }
}

/// Keys of one client, and what the server has prepared.
pub struct PackedSession {
    parameters: Parameters,
    client: PackedHeadClient,
    evaluation_keys: EvaluationKeys,
    evaluation_key_bytes: usize,
    keygen_seconds: f64,
    /// The attention of each layer that was run, to be used again.
    prepared: Vec<PreparedAttention>,
}

impl PackedSession {
    /// Makes all keys.
    ///
    /// # Errors
    /// [`RunError::Refused`] if the plan's set is not one of this circuit.
    pub fn new(plan: &PackedPlan, seed: &ClientSeed) -> Result<Self, RunError> {
        let start = Instant::now();
        let client = PackedHeadClient::new(&plan.parameters, seed).map_err(Refused::from)?;
        let seeded = client.evaluation_keys(&plan.layout)?;
        let evaluation_key_bytes = seeded.bytes();
        let evaluation_keys = seeded.prepare().map_err(Refused::from)?;
        Ok(Self {
            parameters: plan.parameters.clone(),
            client,
            evaluation_keys,
            evaluation_key_bytes,
            keygen_seconds: start.elapsed().as_secs_f64(),
            prepared: Vec::new(),
        })
    }

    /// Encrypts, evaluates, decrypts: the rows of `span`, of `hidden` `[T, E]`.
    ///
    /// # Errors
    /// [`RunError::Input`], [`RunError::Randomness`], [`RunError::Engine`], [`RunError::NotFinite`]; as [`PackedPlan::new`].
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
        let prepared = self.prepare(program)?;
        let prepare = start.elapsed().as_secs_f64();
        let scales = WireScales::new(&self.parameters, program)?;
        let start = Instant::now();
        let request = self.client.encrypt(&input, &layout, &scales)?;
        let encrypt = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let server = PackedServer::new(&self.prepared[prepared], &self.evaluation_keys);
        let (response, statistics) = server.evaluate(&request, &layout, observer)?;
        let evaluate = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let label = request.request.label();
        let numbers = self.client.decrypt(&response, &layout, &scales, attention.client(), label)?;
        let decrypt = start.elapsed().as_secs_f64();
        let bytes =
            Bytes { evaluation_key: self.evaluation_key_bytes, request: request.bytes(), response: response.bytes() };
        let clear = Clear::new(attention, &input, span);
        let mut outcome = finish(attention, hidden, &clear, numbers, statistics, Some(plan))?;
        let keygen = self.keygen_seconds;
        outcome.seconds = Seconds { keygen, prepare, encrypt, evaluate, decrypt, ..outcome.seconds };
        outcome.bytes = bytes;
        Ok(outcome)
    }

    /// The index of the prepared attention of `program`.
    fn prepare(&mut self, program: &PackedProgram) -> Result<usize, RunError> {
        if let Some(index) = self.prepared.iter().position(|prepared| prepared.program() == program) {
            return Ok(index);
        }
        self.prepared.push(PreparedAttention::new(program, &self.parameters)?);
        Ok(self.prepared.len() - 1)
    }
}

/// The attention without noise.
///
/// # Errors
/// [`RunError::Input`], [`RunError::NotFinite`].
pub fn run_clear(attention: &PackedAttention, hidden: &Matrix<f32>, span: Span) -> Result<Outcome, RunError> {
    let input = attention.client().quantize_input(hidden)?;
    let start = Instant::now();
    let clear = Clear::new(attention, &input, span);
    let evaluate = start.elapsed().as_secs_f64();
    let mut statistics = Statistics::default();
    for function in [Function::Softplus, Function::Exponential] {
        statistics.step(function.step()).lookups = attention.program().heads().len() * span.lookups(function);
    }
    let mut outcome = finish(attention, hidden, &clear, clear.output.numbers.clone(), statistics, None)?;
    outcome.seconds.evaluate = evaluate;
    Ok(outcome)
}

/// The attention with drawn noise.
///
/// # Errors
/// [`RunError::Input`], [`RunError::NotFinite`]; as [`PackedPlan::new`].
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
    let mut outcome = finish(attention, hidden, &clear, numbers, statistics, Some(plan))?;
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
    let SimulatedRun { numbers, clear } = simulate_beside(attention, plan, input, seed);
    (numbers, clear.out_of_range)
}

/// A simulated run, and the same without noise.
pub(crate) struct SimulatedRun {
    /// `[rows, O]` in units of the output's integers.
    pub(crate) numbers: Matrix<f64>,
    pub(crate) clear: ClearOutput,
}

impl SimulatedRun {
    /// How many rows are farther from the clear engine's than `plan` predicts of outputs, where nothing left its range.
    pub(crate) fn unexplained_rows(&self, plan: &PackedPlan, program: &PackedProgram) -> usize {
        if self.clear.out_of_range > 0 {
            return 0;
        }
        let (limit, clear) = (TOLERANCE * plan.output_noise(program), &self.clear.numbers);
        let mean_square = |row: usize| {
            let pairs = self.numbers.row(row).iter().zip(clear.row(row));
            pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>() / clear.cols() as f64
        };
        (0..clear.rows()).filter(|&row| !is_within(mean_square(row).sqrt(), limit)).count()
    }
}

/// One simulated run, and the same without noise.
pub(crate) fn simulate_beside(
    attention: &PackedAttention,
    plan: &PackedPlan,
    input: &Matrix<i32>,
    seed: &SampleSeed,
) -> SimulatedRun {
    let clear = Clear::new(attention, input, plan.layout.span());
    SimulatedRun { numbers: simulate_from(attention, plan, &clear.engine, seed), clear: clear.output }
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
    hidden: &Matrix<f32>,
    clear: &Clear<'_>,
    numbers: Matrix<f64>,
    statistics: Statistics,
    plan: Option<PackedPlan>,
) -> Result<Outcome, RunError> {
    let client = attention.client();
    let clear_numbers = &clear.output.numbers;
    let [output, clear_output] = [&numbers, clear_numbers].map(|numbers| client.dequantize_output(numbers));
    [&output, &clear_output].into_iter().try_for_each(check_finite)?;
    Ok(Outcome {
        tolerance: plan.as_ref().map(|plan| clear.tolerance(attention, plan)),
        output,
        clear_output,
        numbers,
        clear_numbers: clear_numbers.clone(),
        out_of_range: clear.output.out_of_range,
        saturation: client.saturation(hidden),
        seconds: Seconds::of_steps(&statistics),
        statistics,
        bytes: Bytes::default(),
        plan: plan.map(|plan| Plan::Packed(Box::new(plan))),
    })
}
