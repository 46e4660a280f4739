//! The plan of the exact circuit.

use nn::integer::IntegerAttention;
use tfhe_core::key_graph::Parameters;
use tfhe_core::{noise, sets, wide};

use super::{Bytes, Kind, Plan};
use crate::integer::counted::CountedIntegers;
use crate::integer::encoding::IntegerEncoding;
use crate::integer::evaluator::IntegerEvaluator;
use crate::integer::multiply::Multiply;
use crate::integer::prediction::Predictor;
use crate::integer::tensor::IntegerTensor;
use crate::run::MAX_LOG2_FAILURE;
use crate::run::error::RunError;
use crate::track::Unobserved;

/// The step in which the client reads the answer, of a plan.
const DECRYPTION: &str = "decryption";

/// Plans the head for `tokens` tokens, with the first named set that is reliable enough.
///
/// # Errors
/// [`RunError::TooWide`], [`RunError::TooLong`], [`RunError::Unreliable`].
pub(in crate::run) fn plan_exact(head: &IntegerAttention, tokens: usize, multiply: Multiply) -> Result<Plan, RunError> {
    let widest = head.program().factors().iter().map(|(_, factor)| factor.operand_bits).max();
    if let Some(bits) = widest.filter(|&bits| multiply == Multiply::Lut && bits > wide::MAX_BITS) {
        return Err(RunError::TooWide { bits, limit: wide::MAX_BITS });
    }
    let mut best = f64::INFINITY;
    for literal in [sets::HEAD_EXACT, sets::HEAD_EXACT_WIDE] {
        let parameters = literal.compile().expect("named sets are valid");
        let plan = with_parameters(head, tokens, multiply, parameters)?;
        if plan.log2_failure_probability <= MAX_LOG2_FAILURE {
            return Ok(plan);
        }
        best = best.min(plan.log2_failure_probability);
    }
    // The union bound of a hopeless plan is above 1.
    Err(RunError::Unreliable { best: best.min(0.0) })
}

fn with_parameters(
    head: &IntegerAttention,
    tokens: usize,
    multiply: Multiply,
    parameters: Parameters,
) -> Result<Plan, RunError> {
    let program = head.program();
    let size = parameters.arithmetic().size().get();
    let length = tokens.max(program.head_size());
    if length > size {
        return Err(RunError::TooLong { length, size });
    }
    let predictor = Predictor::new(&parameters)?;
    predictor.check(program, multiply)?;
    let observer = &mut Unobserved;
    let mut evaluator = IntegerEvaluator::new(CountedIntegers, predictor.clone(), multiply, program, observer);
    let output = program.evaluate(&mut evaluator, &IntegerTensor::Input(tokens, program.accumulator_bits()), tokens)?;
    // The answer is packed, and its integers read by rounding.
    let decryption = output
        .iter()
        .flatten()
        .map(|entry| predictor.decryption_failure(entry.noise.clone(), entry.bits))
        .fold(f64::NEG_INFINITY, noise::log2_sum);
    let mut statistics = evaluator.statistics().without_times();
    statistics.step(DECRYPTION).log2_failure_probability = decryption;
    let needs = Predictor::needs(multiply, program.input_bits(), program.is_whole());
    Ok(Plan {
        log2_failure_probability: statistics.log2_failure_probability(),
        statistics,
        bytes: Bytes::of(&parameters, &needs, &IntegerEncoding::new(&parameters, program, tokens))?,
        parameters,
        kind: Kind::Exact,
    })
}
