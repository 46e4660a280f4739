//! What the exact circuit has of its own of a trace.

use nn::clear::{ClearEvaluator, ClearTensor};
use nn::integer::steps;
use nn::packed::Span;
use nn::table::LookupTable;
use nn::watched::{Operation, OperationKind, Watched};

use super::model::TraceUnit;
use super::pass::{ClearNumber, Collector, PredictedNumber, WatchedPass};
use super::place::{PlaceKind, Traced, WatchedAnswer};
use crate::integer::counted::CountedIntegers;
use crate::integer::encoding::answer_rounding;
use crate::integer::evaluator::IntegerEvaluator;
use crate::integer::prediction::Predictor;
use crate::integer::prepared::evaluate;
use crate::integer::tensor::{Integer, IntegerTensor};
use crate::run::error::RunError;
use crate::run::exact::ExactAttention;
use crate::run::lowering::Reference;
use crate::run::outcome::Outcome;
use crate::run::plan::Plan;
use crate::track::Unobserved;

/// What the two lookups of the first step are of.
const LOOKED_UP: [&str; 2] = ["queries and keys", "values"];

impl Traced for ExactAttention {
    /// Noise is gone after each lookup: formulas say all of it.
    const SIMULATED: bool = false;

    fn clear_pass(&self, reference: &Reference, _: &Plan) -> Result<WatchedPass<ClearNumber>, RunError> {
        let mut pass = Vec::new();
        let number = |&number: &f64, table: Option<&LookupTable>| {
            let left = |table: &LookupTable| {
                let offset = number + (table.rounding_offset() - table.first()) as f64;
                offset.min(2f64.powi(table.bits() as i32) - 1.0 - offset)
            };
            ClearNumber { left: table.map_or(f64::INFINITY, left), ..ClearNumber::new(number) }
        };
        let (mut evaluator, input) = (ClearEvaluator::new(), ClearTensor::input(&reference.input));
        let mut collector = Collector::new(&mut pass, number);
        let watched = &mut Watched::new(&mut evaluator, &mut collector);
        self.program().evaluate(watched, &input, reference.span.tokens()).expect("nothing fails on plain numbers");
        Ok(pass)
    }

    fn predicted_pass(&self, plan: &Plan, span: Span) -> Result<WatchedPass<PredictedNumber>, RunError> {
        let (program, mut pass) = (self.program(), Vec::new());
        let number = |shown: &Integer<()>, _: Option<&LookupTable>| PredictedNumber {
            unit: 2f64.powi(-(shown.bits as i32) - 1),
            noise: Some(shown.noise.variance().std()),
            read: None,
        };
        let (predictor, observer) = (Predictor::new(&plan.parameters)?, &mut Unobserved);
        let mut evaluator = IntegerEvaluator::new(CountedIntegers, predictor, self.multiply, program, observer);
        let input = IntegerTensor::Input(span.tokens(), program.accumulator_bits());
        let mut collector = Collector::new(&mut pass, number);
        evaluate(program, &mut evaluator, (&input, span.tokens()), Some(&mut collector))?;
        Ok(pass)
    }

    fn kind(&self, Operation { step, .. }: Operation, _: usize, round: usize) -> PlaceKind {
        let numbers_of = if step == steps::QUERY_KEY_VALUE { LOOKED_UP[round.min(1)] } else { "" };
        PlaceKind { numbers_of, unit: TraceUnit::Integers }
    }

    /// Whatever is not looked up fits, with its sign, in a turn; what was looked up is a value of a table.
    fn limited(&self, operation: Operation, _: usize, number: f64, unit: f64) -> ClearNumber {
        let left = if operation.kind == OperationKind::Lookup { f64::INFINITY } else { 0.5 / unit - number.abs() };
        ClearNumber { left, ..ClearNumber::new(number) }
    }

    /// A lookup is several bootstrappings, each with a noise of its own: the narrowest counts. Products by lookups are read on the way, too.
    fn headroom(&self, plan: &Plan, Operation { step, kind, .. }: Operation) -> Option<f64> {
        let is_read = matches!(kind, OperationKind::Arguments | OperationKind::Product | OperationKind::WeightedSum);
        let headroom = plan.statistics.steps.iter().find(|of| of.name == step).map(|of| of.headroom);
        headroom.filter(|headroom| is_read && headroom.is_finite())
    }

    fn answer_place(
        &self,
        outcome: &Outcome,
        plan: &Plan,
        last: &[PredictedNumber],
    ) -> Result<WatchedAnswer, RunError> {
        let predictor = Predictor::new(&plan.parameters)?;
        let sent = predictor.packing() + answer_rounding(predictor.shape(), self.program().output_bits());
        let with_sent = |of: &PredictedNumber| PredictedNumber {
            noise: of.noise.map(|noise| (noise * noise + sent.get()).sqrt()),
            ..*of
        };
        // Integers are told apart half a step away.
        let clear = |(&number, of): (&f64, &PredictedNumber)| ClearNumber {
            room: 0.5,
            left: 0.5 / of.unit - number.abs(),
            number,
        };
        Ok(WatchedAnswer {
            kind: PlaceKind { numbers_of: "", unit: TraceUnit::Integers },
            clear: outcome.clear_numbers.iter().zip(last).map(clear).collect(),
            predicted: last.iter().map(with_sent).collect(),
            simulated: None,
            is_rounded: true,
        })
    }
}
