//! The plan of the packed circuit.

use std::ops::Deref;

use nn::packed::{PackedAttention, PackedHead, PackedProgram, Span, steps};
use tfhe_core::key_graph::Parameters;
use tfhe_core::sets;

use super::forecast::{Bytes, Forecast};
use crate::packed::counted::CountedPacked;
use crate::packed::encoding::PackedEncoding;
use crate::packed::evaluator::{PackedEvaluator, PackedTensor};
use crate::packed::keys::needs;
use crate::packed::layout::{Layout, Sizes};
use crate::packed::prediction::Prediction;
use crate::run::error::{RunError, is_within};
use crate::run::{MAX_EXPONENT_NOISE, MAX_LOG2_FAILURE};
use crate::track::Unobserved;
use crate::track::statistics::Statistics;

/// What will run. Its failure is that an argument of a lookup within its range is read outside of the table, or that an output
/// within its range wraps around.
#[derive(Clone, Debug)]
pub struct PackedPlan {
    /// Where everything lies.
    pub layout: Layout,
    /// The noise of each step.
    pub prediction: Prediction,
    /// Of each head, the standard deviation with which an exponential reads its argument, at most, in units of score: the relative
    /// error of a probability.
    pub exponent_noise: Vec<f64>,
    forecast: Forecast,
}

impl Deref for PackedPlan {
    type Target = Forecast;

    fn deref(&self) -> &Forecast {
        &self.forecast
    }
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
    pub(in crate::run) fn reliable(attention: &PackedAttention, span: Span) -> Result<Self, RunError> {
        let program = attention.program();
        let parameters = sets::PACKED_HEAD.compile().expect("named sets are valid");
        let layout = Layout::new(&parameters, Sizes::of(program), span)?;
        let prediction = Prediction::new(&parameters, program, &layout)?;
        let (statistics, exponent_noise) = count(program, &parameters, &prediction, layout)?;
        let log2_failure_probability = statistics.log2_failure_probability();
        if log2_failure_probability > MAX_LOG2_FAILURE {
            return Err(RunError::Unreliable { best: log2_failure_probability.min(0.0) });
        }
        let encoding = PackedEncoding::new(&parameters, program, layout)?;
        let bytes = Bytes::of(&parameters, &needs(&layout), &encoding)?;
        let forecast = Forecast { statistics, log2_failure_probability, bytes, parameters };
        Ok(Self { layout, prediction, exponent_noise, forecast })
    }

    /// What the root mean square noise of an input's outputs may be at most, in units of their integers: of a run whose values are as
    /// large as those of the calibration set, all that every row weighs. To first order in exponents' noise, which
    /// [`MAX_EXPONENT_NOISE`] allows for.
    pub fn output_noise(&self, program: &PackedProgram) -> f64 {
        let layout = &self.layout;
        let unit = program.output_turns();
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
}

/// What a run does and how reliable it is, and the noise of each head's exponents in units of score.
fn count(
    program: &PackedProgram,
    parameters: &Parameters,
    prediction: &Prediction,
    layout: Layout,
) -> Result<(Statistics, Vec<f64>), RunError> {
    let (lookup_size, observer) = (parameters.lookup().size(), &mut Unobserved);
    let mut evaluator = PackedEvaluator::new(CountedPacked::new(layout), prediction, layout, lookup_size, observer);
    program.evaluate(&mut evaluator, &PackedTensor::Input(()), layout.span())?;
    let exponent_noise = |head: &PackedHead| {
        let [_, exponential] = head.tables(program.output_turns());
        let read = evaluator.exponents().iter().find(|(table, _)| *table == exponential);
        read.map_or(0.0, |(_, read)| read.std() * head.exponent_turn())
    };
    let exponent_noise = program.heads().iter().map(exponent_noise).collect();
    let mut statistics = evaluator.statistics().clone();
    let output = prediction.output(&layout, layout.tokens() - 1);
    let counted = statistics.step(steps::OUTPUT);
    counted.automorphisms += layout.answer_automorphisms();
    counted.result(output.variance());
    // What is left between the limit of outputs and half a turn.
    let margin = 0.5 - program.output_limit() * program.output_turns();
    let outputs = (layout.span().rows().len() * program.output_size()) as f64;
    counted.log2_failure_probability = output.log2_tail(margin) + outputs.log2();
    Ok((statistics, exponent_noise))
}
