//! What the packed circuit has of its own.

use nn::attention::{AttentionWeights, Part};
use nn::clear::ClearEvaluator;
use nn::matrix::Matrix;
use nn::packed::{Calibration, PackedAttention, PackedOptions, Span};
use nn::quantizers::Saturation;
use nn::table::SmoothTable;
use nn::watched::Watcher;
use rayon::prelude::*;
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::Needs;
use tfhe_core::random::SampleSeed;
use tfhe_core::torus;

use crate::client::Client;
use crate::packed::ciphertexts::PreparedAttention;
use crate::packed::encoding::PackedEncoding;
use crate::packed::evaluator::{PackedEvaluator, PackedTensor};
use crate::packed::keys::needs;
use crate::packed::prepared::evaluate;
use crate::packed::simulated::SimulatedPacked;
use crate::packed::watched::ShownPacked;
use crate::track::statistics::Statistics;
use crate::track::{Observer, Unobserved};

use super::error::{RunError, is_within};
use super::lowering::{Lowering, Reference, ShownOf};
use super::plan::{Packing, Plan, plan_packed, plan_reliable};
use super::trace::{Collector, NoisyNumber, WatchedPass};

/// The smallest modulus of scores that is tried: weights would have hardly more than a sign.
const MIN_LOG_MODULUS: u32 = 16;
/// Simulated runs from which the noise of each output is estimated.
const SIMULATIONS: u64 = 32;
/// How many estimated standard deviations an output may be from the clear engine's. The estimate from 32 runs has a relative
/// standard error of an eighth; were it exact, one of 64·768 Gaussian errors would exceed eight with a chance of 2^-34.
pub(super) const TOLERANCE: f64 = 8.0;

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
        match plan_reliable(&calibrated, Span::all(calibrated.program().max_tokens())) {
            Ok(plan) => {
                let prediction = &plan.packing()?.prediction;
                let noisy = prediction.heads[0].score.variance().repeated(4.0) > prediction.modulus_switch;
                if !(noisy && smaller) {
                    return Ok(log_modulus);
                }
            }
            Err(RunError::Unreliable { .. }) if smaller => {}
            Err(error) => return Err(error),
        }
        limit = log_modulus.min(limit) - 1;
    }
}

/// A simulated run: `[rows, O]` in units of the output's integers, and the plan's figures with this run's times.
fn simulate(
    attention: &PackedAttention,
    plan: &Plan,
    reference: &Reference,
    seed: &SampleSeed,
    observer: &mut dyn Observer,
    pass: Option<&mut WatchedPass<NoisyNumber>>,
) -> Result<(Matrix<f64>, Statistics), RunError> {
    let (Packing { prediction, layout, .. }, program) = (plan.packing()?, attention.program());
    let lookup_size = plan.parameters.lookup().size();
    let backend = SimulatedPacked::new(prediction, *layout, lookup_size, seed);
    let mut evaluator = PackedEvaluator::new(backend, prediction, *layout, lookup_size, observer);
    let input = PackedTensor::Input(reference.input.clone());
    let seen = |shown: &ShownPacked<f64>, _: Option<&SmoothTable>| NoisyNumber {
        turns: shown.summed.content,
        undrawn: shown.undrawn.get(),
    };
    let mut collector = pass.map(|pass| Collector::new(pass, seen));
    let watcher = collector.as_mut().map(|collector| collector as &mut dyn Watcher<_, _>);
    let output = evaluate(program, &mut evaluator, (&input, reference.span), watcher)?.into_sum();
    let unit = program.output_turns();
    let numbers = Matrix::from_fn(reference.numbers.rows(), reference.numbers.cols(), |row, channel| {
        output.turns()[row][channel] / unit
    });
    Ok((attention.client().nearest(&numbers, 1.0 / unit)?, plan.statistics.with_times_of(evaluator.statistics())))
}

impl Lowering for PackedAttention {
    type Prepared = PreparedAttention;

    fn output_size(&self) -> usize {
        self.client().output_size()
    }

    fn quantize_input(&self, hidden: &Matrix<f32>) -> Result<Matrix<i32>, nn::Error> {
        self.client().quantize_input(hidden)
    }

    fn saturation(&self, hidden: &Matrix<f32>) -> Saturation {
        self.client().saturation(hidden)
    }

    fn dequantize_output(&self, numbers: &Matrix<f64>) -> Matrix<f32> {
        self.client().dequantize_output(numbers)
    }

    fn plan(&self, span: Span) -> Result<Plan, RunError> {
        plan_packed(self, span)
    }

    fn reference(&self, input: &Matrix<i32>, span: Span) -> Reference {
        let mut evaluator = ClearEvaluator::new();
        let numbers = self.program().evaluate_clear(&mut evaluator, input, span);
        Reference {
            input: input.clone(),
            span,
            numbers,
            out_of_range: evaluator.out_of_range() + evaluator.overflows(),
            statistics: Statistics::of_clear(&evaluator),
        }
    }

    fn simulate_watched(
        &self,
        reference: &Reference,
        plan: &Plan,
        seed: &SampleSeed,
        observer: &mut dyn Observer,
        pass: Option<&mut WatchedPass<NoisyNumber>>,
    ) -> Result<(Matrix<f64>, Statistics), RunError> {
        simulate(self, plan, reference, seed, observer, pass)
    }

    fn tolerance(&self, reference: &Reference, plan: &Plan) -> Result<Option<Matrix<f64>>, RunError> {
        let simulate =
            |run| Ok(simulate(self, plan, reference, &SampleSeed::from_number(run), &mut Unobserved, None)?.0);
        let runs = (0..SIMULATIONS).into_par_iter().map(simulate).collect::<Result<Vec<Matrix<f64>>, RunError>>()?;
        let numbers = &reference.numbers;
        let square =
            |index: usize| runs.iter().map(|run| (run.data()[index] - numbers.data()[index]).powi(2)).sum::<f64>();
        let cols = numbers.cols();
        Ok(Some(Matrix::from_fn(numbers.rows(), cols, |row, column| {
            TOLERANCE * (square(row * cols + column) / SIMULATIONS as f64).sqrt()
        })))
    }

    fn unexplained(&self, reference: &Reference, plan: &Plan, numbers: &Matrix<f64>) -> Result<usize, RunError> {
        let (limit, clear) = (TOLERANCE * plan.packing()?.output_noise(self.program()), &reference.numbers);
        let mean_square = |row: usize| {
            let pairs = numbers.row(row).iter().zip(clear.row(row));
            pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>() / clear.cols() as f64
        };
        Ok((0..clear.rows()).filter(|&row| !is_within(mean_square(row).sqrt(), limit)).count())
    }

    fn needs(&self, plan: &Plan) -> Result<Needs, RunError> {
        Ok(needs(&plan.packing()?.layout))
    }

    fn seen(client: &Client, shown: &ShownOf<Self>) -> NoisyNumber {
        let value = &shown.summed.content;
        NoisyNumber::drawn(torus::to_f64(client.phase(value.score.as_ref(), value.lookup.as_ref())))
    }

    fn prepare(&self, parameters: &Parameters) -> Result<PreparedAttention, RunError> {
        Ok(PreparedAttention::new(self.program(), parameters)?)
    }

    fn is_of(&self, prepared: &PreparedAttention) -> bool {
        prepared.program() == self.program()
    }

    fn encoding(&self, (plan, _): (&Plan, Span)) -> Result<PackedEncoding, RunError> {
        Ok(PackedEncoding::new(&plan.parameters, self.program(), plan.packing()?.layout)?)
    }

    fn numbers(&self, decrypted: Matrix<f64>, encoding: &PackedEncoding, _: Span) -> Result<Matrix<f64>, RunError> {
        Ok(self.client().nearest(&decrypted, 1.0 / encoding.output_turns)?)
    }
}
