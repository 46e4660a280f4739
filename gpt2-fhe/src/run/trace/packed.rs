//! What the packed circuit has of its own of a trace.

use nn::clear::{ClearEvaluator, ClearTensor};
use nn::packed::{PackedAttention, PackedProgram, Span, steps};
use nn::table::SmoothTable;
use nn::watched::{Operation, OperationKind, Watched};

use super::model::TraceUnit;
use super::pass::{ClearNumber, Collector, PredictedNumber, SeenOperation, WatchedPass};
use super::place::{PlaceKind, Traced, WatchedAnswer};
use crate::packed::counted::CountedPacked;
use crate::packed::evaluator::{PackedEvaluator, PackedTensor};
use crate::packed::prediction::Scales;
use crate::packed::prepared::evaluate;
use crate::packed::watched::ShownPacked;
use crate::run::error::RunError;
use crate::run::lowering::Reference;
use crate::run::outcome::Outcome;
use crate::run::packed::TOLERANCE;
use crate::run::plan::{Packing, Plan};
use crate::track::Unobserved;

/// The kinds of numbers that the maps of a head give.
const MAPS: [&str; 3] = ["queries", "keys", "values"];

/// What one of the numbers of each operation is in turns, operation after operation.
struct Units<'a> {
    program: &'a PackedProgram,
    scales: &'a Scales,
    maps: usize,
}

impl<'a> Units<'a> {
    fn new(program: &'a PackedProgram, packing: &'a Packing) -> Self {
        Self { program, scales: packing.prediction.scales(), maps: 0 }
    }

    /// Of the next one.
    fn next(&mut self, Operation { step, kind, .. }: Operation) -> f64 {
        match (kind, step) {
            (OperationKind::Map, _) => {
                let head = &self.program.heads()[self.maps / MAPS.len()];
                let form = head.maps()[self.maps % MAPS.len()].form;
                self.maps += 1;
                2f64.powi(-(self.scales.log_of(form) as i32))
            }
            (OperationKind::Lookup, steps::EXPONENTIAL)
            | (OperationKind::WeightedSum | OperationKind::Constants, _) => self.program.output_turns(),
            _ => 1.0,
        }
    }

    /// What the clear engine's numbers of the next operation are in turns: it has values as integers.
    fn next_clear(&mut self, operation: Operation) -> [f64; 2] {
        let of_values = self.maps % MAPS.len() + 1 == MAPS.len() && operation.kind == OperationKind::Map;
        let unit = self.next(operation);
        [if of_values { unit } else { 1.0 }, unit]
    }
}

impl Traced for PackedAttention {
    const SIMULATED: bool = true;

    fn clear_pass(&self, reference: &Reference, plan: &Plan) -> Result<WatchedPass<ClearNumber>, RunError> {
        let (program, mut pass) = (self.program(), Vec::new());
        let number = |&number: &f64, table: Option<&SmoothTable>| {
            let left = |table: &SmoothTable| (table.range()[1] - number).min(number - table.range()[0]);
            ClearNumber {
                number,
                room: table.map_or(f64::INFINITY, |table| table.room(number)),
                left: table.map_or(f64::INFINITY, left),
            }
        };
        let (mut evaluator, input) = (ClearEvaluator::new(), ClearTensor::input(&reference.input));
        let mut collector = Collector::new(&mut pass, number);
        let watched = &mut Watched::new(&mut evaluator, &mut collector);
        program.evaluate(watched, &input, reference.span).expect("nothing fails on plain numbers");
        let mut units = Units::new(program, plan.packing()?);
        for SeenOperation { operation, numbers, .. } in &mut pass {
            let [turns, unit] = units.next_clear(*operation);
            numbers.iter_mut().for_each(|number| number.number *= turns / unit);
        }
        Ok(pass)
    }

    fn predicted_pass(&self, plan: &Plan, span: Span) -> Result<WatchedPass<PredictedNumber>, RunError> {
        let (program, packing, mut pass) = (self.program(), plan.packing()?, Vec::new());
        let Packing { prediction, layout, .. } = packing;
        let number = |shown: &ShownPacked<()>, table: Option<&SmoothTable>| {
            let reading = |noise| noise + prediction.reading(shown.summed.score, shown.summed.lookup);
            PredictedNumber {
                unit: 1.0,
                noise: shown.noise.map(|noise| noise.std()),
                read: shown.noise.filter(|_| table.is_some()).map(|noise| reading(noise).std()),
            }
        };
        let (backend, lookup_size, observer) =
            (CountedPacked::new(*layout), plan.parameters.lookup().size(), &mut Unobserved);
        let mut evaluator = PackedEvaluator::new(backend, prediction, *layout, lookup_size, observer);
        let mut collector = Collector::new(&mut pass, number);
        evaluate(program, &mut evaluator, (&PackedTensor::Input(()), span), Some(&mut collector))?;
        let mut units = Units::new(program, packing);
        for SeenOperation { operation, numbers, .. } in &mut pass {
            let unit = units.next(*operation);
            // How much noise of an exponent is left in a probability depends on it.
            let is_probability = operation.kind == OperationKind::Lookup && operation.step == steps::EXPONENTIAL;
            for number in numbers {
                let noise = number.noise.filter(|_| !is_probability);
                *number = PredictedNumber { unit, noise, ..*number };
            }
        }
        Ok(pass)
    }

    fn kind(&self, Operation { step, kind, .. }: Operation, part: usize, _: usize) -> PlaceKind {
        let numbers_of = if kind == OperationKind::Map { MAPS[part] } else { "" };
        let unit = match (kind, step) {
            (OperationKind::Map, _) => TraceUnit::Integers,
            (OperationKind::Lookup, steps::EXPONENTIAL) => TraceUnit::Probability,
            (OperationKind::WeightedSum | OperationKind::Constants, _) => TraceUnit::OutputSteps,
            _ => TraceUnit::Turns,
        };
        PlaceKind { numbers_of, unit }
    }

    fn limited(&self, operation: Operation, column: usize, number: f64, _: f64) -> ClearNumber {
        if operation.kind == OperationKind::Constants { self.output(column, number) } else { ClearNumber::new(number) }
    }

    fn headroom(&self, _: &Plan, _: Operation) -> Option<f64> {
        None
    }

    fn answer_place(&self, outcome: &Outcome, _: &Plan, _: &[PredictedNumber]) -> Result<WatchedAnswer, RunError> {
        let (unit, columns) = (self.program().output_turns(), outcome.numbers.cols());
        let clear =
            outcome.clear_numbers.iter().enumerate().map(|(index, &number)| self.output(index % columns, number));
        let variance = |tolerance: &f64| (tolerance / TOLERANCE * unit).powi(2);
        Ok(WatchedAnswer {
            kind: PlaceKind { numbers_of: "", unit: TraceUnit::OutputSteps },
            clear: clear.collect(),
            predicted: vec![PredictedNumber { unit, noise: None, read: None }; outcome.numbers.data().len()],
            simulated: outcome.tolerance.as_ref().map(|tolerance| tolerance.iter().map(variance).collect()),
            is_rounded: false,
        })
    }
}

trait Output {
    /// An output: it is known modulo one turn, and the nearest to its center counts.
    fn output(&self, column: usize, number: f64) -> ClearNumber;
}

impl Output for PackedAttention {
    fn output(&self, column: usize, number: f64) -> ClearNumber {
        let program = self.program();
        let deviation = (number - program.output_bias()[column]).abs();
        ClearNumber { number, room: 0.5 / program.output_turns() - deviation, left: program.output_limit() - deviation }
    }
}
