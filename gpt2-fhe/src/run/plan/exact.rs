//! The plan of the exact circuit.

use nn::integer::IntegerAttention;
use tfhe_core::key_graph::{Parameters, ParametersLiteral};
use tfhe_core::{noise, sets};

use super::{Bytes, Kind, Plan};
use crate::boundary::Refused;
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

/// Plans the head for `tokens` tokens, with the first named set, from the fastest, that is wide and reliable enough.
///
/// # Errors
/// [`RunError::TooWide`], [`RunError::TooLong`], [`RunError::Unreliable`].
pub(in crate::run) fn plan_exact(head: &IntegerAttention, tokens: usize, multiply: Multiply) -> Result<Plan, RunError> {
    // Squares of sums of two factors have one bit more than what the narrow set reads in one bootstrapping.
    let sets: &[ParametersLiteral] = match multiply {
        Multiply::Product => &[sets::HEAD_EXACT_NARROW, sets::HEAD_EXACT, sets::HEAD_EXACT_WIDE],
        Multiply::Lut => &[sets::HEAD_EXACT, sets::HEAD_EXACT_WIDE],
    };
    let mut best = f64::INFINITY;
    for (index, literal) in sets.iter().enumerate() {
        let parameters = literal.compile().expect("named sets are valid");
        match with_parameters(head, tokens, multiply, parameters) {
            Ok(plan) if plan.log2_failure_probability <= MAX_LOG2_FAILURE => return Ok(plan),
            Ok(plan) => best = best.min(plan.log2_failure_probability),
            // A larger ring may do.
            Err(RunError::Refused(Refused::TooWide { .. }) | RunError::TooLong { .. }) if index + 1 < sets.len() => {}
            Err(RunError::Refused(Refused::TooWide { bits, limit })) if multiply == Multiply::Lut => {
                return Err(RunError::TooWide { bits, limit });
            }
            Err(error) => return Err(error),
        }
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
    let needs = Predictor::needs(&parameters, multiply, program.input_bits(), program.is_whole());
    Ok(Plan {
        log2_failure_probability: statistics.log2_failure_probability(),
        statistics,
        bytes: Bytes::of(&parameters, &needs, &IntegerEncoding::new(&parameters, program, tokens))?,
        parameters,
        kind: Kind::Exact,
    })
}
