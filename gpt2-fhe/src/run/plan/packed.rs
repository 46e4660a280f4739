//! The plan of the packed circuit.

use nn::packed::{PackedAttention, PackedHead, PackedProgram, Span};
use tfhe_core::key_graph::Parameters;
use tfhe_core::sets;

use super::{Bytes, Kind, Packing, Plan};
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

/// Plans a run on the tokens of `span`.
///
/// # Errors
/// [`RunError::TooLarge`], [`RunError::Unreliable`], [`RunError::Noisy`].
pub(in crate::run) fn plan_packed(attention: &PackedAttention, span: Span) -> Result<Plan, RunError> {
    let plan = plan_reliable(attention, span)?;
    let heads = plan.packing()?.exponent_noise.iter().zip(attention.program().heads()).enumerate();
    match heads.max_by(|(_, (a, _)), (_, (b, _))| a.total_cmp(b)) {
        Some((head, (&noise, program))) if !is_within(noise, MAX_EXPONENT_NOISE) => {
            Err(RunError::Noisy { layer: None, head, noise, score_turn: program.score_turn() })
        }
        _ => Ok(plan),
    }
}

/// A plan without regard to how much noise probabilities have.
pub(in crate::run) fn plan_reliable(attention: &PackedAttention, span: Span) -> Result<Plan, RunError> {
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
    let kind = Kind::Packed(Box::new(Packing { layout, prediction, exponent_noise }));
    Ok(Plan { parameters, statistics, log2_failure_probability, bytes, kind })
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
    evaluator.count_answer(program);
    Ok((evaluator.statistics().without_times(), exponent_noise))
}
