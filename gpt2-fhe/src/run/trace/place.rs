//! From watched runs to the places of a trace.

use std::time::Instant;

use nn::matrix::Matrix;
use nn::packed::Span;
use nn::watched::{Operation, OperationKind};
use rayon::prelude::*;
use tfhe_core::random::SampleSeed;

use super::model::{KEPT_NUMBERS, TraceNumber, TracePlace, TraceUnit};
use super::pass::{ClearNumber, NoisyNumber, PredictedNumber, SeenOperation, WatchedPass};
use crate::run::error::RunError;
use crate::run::lowering::{Lowering, Parties, Reference, RunOutput};
use crate::run::outcome::Outcome;
use crate::run::plan::Plan;
use crate::track::{Observer, Unobserved};

/// Simulated runs that noise is compared with.
pub(in crate::run) const SIMULATIONS: u64 = 32;
/// How many of them are in memory at once.
const SIMULATED_TOGETHER: usize = 8;
/// The place after the last operation: what the client decrypts.
const ANSWER: &str = "answer";

/// What the numbers of an operation are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::run) struct PlaceKind {
    /// Which of the numbers, where a step has several kinds.
    pub(in crate::run) numbers_of: &'static str,
    /// What they count.
    pub(in crate::run) unit: TraceUnit,
}

/// What a client decrypts at the end, number by number.
pub(in crate::run) struct WatchedAnswer {
    pub(in crate::run) kind: PlaceKind,
    pub(in crate::run) clear: Vec<ClearNumber>,
    pub(in crate::run) predicted: Vec<PredictedNumber>,
    /// The variance of each in simulated runs, in turns, where there are some.
    pub(in crate::run) simulated: Option<Vec<f64>>,
    /// Whether what was decrypted is rounded, so that nothing is left of its noise.
    pub(in crate::run) is_rounded: bool,
}

/// What a circuit has of its own of a trace.
pub(in crate::run) trait Traced: Lowering + Sync {
    /// Numbers without noise.
    ///
    /// # Errors
    /// [`RunError::OtherCircuit`] if the plan is not of the circuit.
    fn clear_pass(&self, reference: &Reference, plan: &Plan) -> Result<WatchedPass<ClearNumber>, RunError>;

    /// What is predicted of them.
    ///
    /// # Errors
    /// As [`Self::clear_pass`]; [`RunError::Evaluation`].
    fn predicted_pass(&self, plan: &Plan, span: Span) -> Result<WatchedPass<PredictedNumber>, RunError>;

    /// Whether predictions are from simulated runs where no formula says what noise does to what is looked up.
    const SIMULATED: bool;

    /// What the numbers of an operation are, the `part`-th of its kind that are done together, the `round`-th lookup of the step.
    fn kind(&self, operation: Operation, part: usize, round: usize) -> PlaceKind;

    /// A result of an operation that is not about to be looked up, of column `column`, with its room and range.
    fn limited(&self, operation: Operation, column: usize, number: f64, unit: f64) -> ClearNumber;

    /// How many standard deviations what an operation's numbers are read by leaves at least, where that is known of a step and not of a number.
    fn headroom(&self, plan: &Plan, operation: Operation) -> Option<f64>;

    /// The answer.
    ///
    /// # Errors
    /// As [`Self::clear_pass`].
    fn answer_place(&self, outcome: &Outcome, plan: &Plan, last: &[PredictedNumber])
    -> Result<WatchedAnswer, RunError>;
}

/// An encrypted run, and its places.
///
/// # Errors
/// As [`Lowering::execute`].
pub(in crate::run) fn trace_executed<L: Traced>(
    lowering: &L,
    parties: &mut Parties<L>,
    (hidden, span): (&Matrix<f32>, Span),
    observer: &mut dyn Observer,
) -> Result<(Outcome, Vec<TracePlace>), RunError> {
    let plan = lowering.plan_with_keys(&parties.plan, span)?;
    let (input, mut seen) = (lowering.quantize_input(hidden)?, Vec::new());
    let answer = lowering.answer_watched(parties, &input, (&plan, span), observer, Some(&mut seen))?;
    let reference = lowering.reference(&input, span);
    let outcome = lowering.outcome(hidden, &reference, answer, Some(plan.clone()))?;
    let places = places(lowering, (&reference, &plan), &seen, &outcome)?;
    Ok((outcome, places))
}

/// A run with drawn noise, and its places.
///
/// # Errors
/// As [`Lowering::run_simulated`].
pub(in crate::run) fn trace_simulated<L: Traced>(
    lowering: &L,
    (hidden, span): (&Matrix<f32>, Span),
    seed: &SampleSeed,
    observer: &mut dyn Observer,
) -> Result<(Outcome, Vec<TracePlace>), RunError> {
    let input = lowering.quantize_input(hidden)?;
    let plan = lowering.plan(span)?;
    let start = Instant::now();
    let (reference, mut seen) = (lowering.reference(&input, span), Vec::new());
    let (numbers, statistics) = lowering.simulate_watched(&reference, &plan, seed, observer, Some(&mut seen))?;
    let answer = RunOutput::computed(numbers, statistics, start);
    let outcome = lowering.outcome(hidden, &reference, answer, Some(plan.clone()))?;
    let places = places(lowering, (&reference, &plan), &seen, &outcome)?;
    Ok((outcome, places))
}

/// All places of a run, in order.
fn places<L: Traced>(
    lowering: &L,
    (reference, plan): (&Reference, &Plan),
    seen: &[SeenOperation<NoisyNumber>],
    outcome: &Outcome,
) -> Result<Vec<TracePlace>, RunError> {
    let clear = lowering.clear_pass(reference, plan)?;
    let predicted = lowering.predicted_pass(plan, reference.span)?;
    let same = |other: usize| assert_eq!(other, clear.len(), "every run has the same operations");
    same(predicted.len());
    same(seen.len());
    let simulations =
        if L::SIMULATED { Some(Simulations::new(lowering, (reference, plan), &clear, &predicted)?) } else { None };
    let (mut gathered, mut rounds) = (Vec::<Gathered>::new(), Rounds::default());
    for (index, ((clear, predicted), seen)) in clear.iter().zip(&predicted).zip(seen).enumerate() {
        let (operation, part) = (clear.operation, clear.part);
        assert_eq!((predicted.operation, seen.operation), (operation, operation), "every run has the same operations");
        let round = rounds.next(operation);
        let kind = lowering.kind(operation, part, round);
        let place = Gathered::of(&mut gathered, operation.step, operation.kind.name(), (kind, round));
        place.headroom = least(place.headroom, lowering.headroom(plan, operation));
        let simulated = simulations.as_ref().map(|simulations| &simulations.variances[index]);
        if let Some(simulations) = &simulations {
            place.add_runs(simulations, index);
        }
        for (position, (row, column)) in clear.places().enumerate() {
            let (number, of) = (clear.numbers[position], predicted.numbers[position]);
            let number =
                if clear.is_read() { number } else { lowering.limited(operation, column, number.number, of.unit) };
            place.add(
                (row, column),
                (number, of, simulated.map(|variances| variances[position])),
                Some(seen.numbers[position]),
            );
        }
        place.groups += 1;
    }
    let last = predicted.last().map_or(&[][..], |operation| &operation.numbers);
    let answer = lowering.answer_place(outcome, plan, last)?;
    let place = Gathered::of(&mut gathered, ANSWER, "decryption", (answer.kind, 0));
    let columns = outcome.numbers.cols();
    for (position, (&clear, &of)) in answer.clear.iter().zip(&answer.predicted).enumerate() {
        let noisy = NoisyNumber { turns: outcome.numbers.data()[position] * of.unit, undrawn: 0.0 };
        let simulated = answer.simulated.as_ref().map(|variances| variances[position]);
        place.add((position / columns, position % columns), (clear, of, simulated), Some(noisy));
    }
    if answer.is_rounded {
        place.forget_noise();
    }
    Ok(gathered.into_iter().map(Gathered::finish).collect())
}

/// Which lookup of its step an operation belongs to, of those that follow each other on the same numbers.
#[derive(Default)]
struct Rounds(Vec<(&'static str, usize)>);

impl Rounds {
    fn next(&mut self, Operation { step, kind, .. }: Operation) -> usize {
        match kind {
            // The next head, or the next few.
            OperationKind::Map => self.0.clear(),
            OperationKind::Arguments => match self.0.iter_mut().find(|(name, _)| *name == step) {
                Some((_, rounds)) => *rounds += 1,
                None => self.0.push((step, 1)),
            },
            _ => {}
        }
        self.0.iter().find(|(name, _)| *name == step).map_or(0, |(_, rounds)| rounds - 1)
    }
}

/// What simulated runs have at each number.
pub(in crate::run) struct Simulations {
    /// The mean of the squares of all runs, in turns.
    variances: Vec<Vec<f64>>,
    /// Of each run, the sum of the squares of each operation's numbers.
    runs: Vec<Vec<f64>>,
}

impl Simulations {
    fn new<L: Traced>(
        lowering: &L,
        (reference, plan): (&Reference, &Plan),
        clear: &[SeenOperation<ClearNumber>],
        predicted: &[SeenOperation<PredictedNumber>],
    ) -> Result<Self, RunError> {
        let mut variances: Vec<Vec<f64>> = clear.iter().map(|operation| vec![0.0; operation.numbers.len()]).collect();
        let mut runs = Vec::new();
        let simulate = |run: u64| {
            let mut seen = Vec::new();
            lowering.simulate_watched(
                reference,
                plan,
                &SampleSeed::from_number(run),
                &mut Unobserved,
                Some(&mut seen),
            )?;
            Ok(seen)
        };
        let all: Vec<u64> = (0..SIMULATIONS).collect();
        for together in all.chunks(SIMULATED_TOGETHER) {
            let passes = together.into_par_iter().map(|&run| simulate(run)).collect::<Result<Vec<_>, RunError>>()?;
            // In order, so that sums have the same bits however many threads there are.
            for seen in passes {
                let mut sums = Vec::with_capacity(seen.len());
                for (((seen, clear), predicted), variances) in seen.iter().zip(clear).zip(predicted).zip(&mut variances)
                {
                    let numbers = clear.numbers.iter().zip(&predicted.numbers).zip(&seen.numbers);
                    let squares = numbers.map(|((clear, of), noisy)| noise(noisy, clear, of).powi(2) + noisy.undrawn);
                    let add = |(variance, square): (&mut f64, f64)| {
                        *variance += square / SIMULATIONS as f64;
                        square
                    };
                    sums.push(variances.iter_mut().zip(squares).map(add).sum());
                }
                runs.push(sums);
            }
        }
        Ok(Self { variances, runs })
    }
}

/// In turns, of which only the fraction matters.
fn noise(noisy: &NoisyNumber, clear: &ClearNumber, of: &PredictedNumber) -> f64 {
    let difference = noisy.turns - clear.number * of.unit;
    difference - difference.round_ties_even()
}

fn least(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(f64::min)
}

/// A sum of squares of so many numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Squares {
    sum: f64,
    count: usize,
}

impl Squares {
    fn add(&mut self, x: f64) {
        self.sum += x * x;
        self.count += 1;
    }

    fn root_mean(self) -> Option<f64> {
        (self.count > 0).then(|| (self.sum / self.count as f64).sqrt())
    }
}

/// A place, number by number.
struct Gathered {
    step: &'static str,
    operation: &'static str,
    kind: PlaceKind,
    round: usize,
    unit: Option<f64>,
    groups: usize,
    count: usize,
    clear_range: Option<[f64; 2]>,
    measured: Squares,
    largest_noise: Option<f64>,
    predicted: Squares,
    simulated: Squares,
    /// Of each simulated run, the sum of the squares of all numbers, in turns.
    runs: Vec<f64>,
    read: Option<f64>,
    headroom: Option<f64>,
    range_left: Option<f64>,
    out_of_range: usize,
    numbers: Vec<TraceNumber>,
    narrowest: Option<TraceNumber>,
}

impl Gathered {
    /// The place among those that are there, or a new one.
    fn of<'a>(
        all: &'a mut Vec<Self>,
        step: &'static str,
        operation: &'static str,
        (kind, round): (PlaceKind, usize),
    ) -> &'a mut Self {
        let is_it =
            |place: &Self| (place.step, place.operation, place.kind, place.round) == (step, operation, kind, round);
        let index = all.iter().position(is_it).unwrap_or_else(|| {
            all.push(Self {
                step,
                operation,
                kind,
                round,
                unit: None,
                groups: 0,
                count: 0,
                clear_range: None,
                measured: Squares::default(),
                largest_noise: None,
                predicted: Squares::default(),
                simulated: Squares::default(),
                runs: Vec::new(),
                read: None,
                headroom: None,
                range_left: None,
                out_of_range: 0,
                numbers: Vec::new(),
                narrowest: None,
            });
            all.len() - 1
        });
        &mut all[index]
    }

    fn add_runs(&mut self, simulations: &Simulations, operation: usize) {
        self.runs.resize(simulations.runs.len(), 0.0);
        self.runs.iter_mut().zip(&simulations.runs).for_each(|(sum, run)| *sum += run[operation]);
    }

    /// A number: the clear engine's, what is predicted, its simulated variance in turns, and what was seen of it.
    fn add(
        &mut self,
        (row, column): (usize, usize),
        (clear, of, simulated): (ClearNumber, PredictedNumber, Option<f64>),
        noisy: Option<NoisyNumber>,
    ) {
        self.unit.get_or_insert(of.unit);
        let in_units = |turns: f64| turns / of.unit;
        let [low, high] = self.clear_range.get_or_insert([clear.number; 2]);
        (*low, *high) = (low.min(clear.number), high.max(clear.number));
        let drawn = noisy.filter(|noisy| noisy.undrawn == 0.0).map(|noisy| in_units(noise(&noisy, &clear, &of)));
        if let Some(noise) = drawn {
            self.measured.add(noise);
            self.largest_noise = Some(self.largest_noise.unwrap_or(0.0).max(noise.abs()));
        }
        if let Some(noise) = of.noise {
            self.predicted.add(in_units(noise));
        }
        if let Some(variance) = simulated {
            self.simulated.add(in_units(variance.sqrt()));
        }
        let predicted = of.noise.or(simulated.map(f64::sqrt)).map(in_units);
        let read = of.read.map(in_units);
        self.read = self.read.into_iter().chain(read).reduce(f64::max);
        let borne = read.or(predicted).filter(|&deviation| deviation > 0.0);
        let headroom = borne.map(|deviation| clear.room / deviation).filter(|headroom| headroom.is_finite());
        let range_left = clear.left.is_finite().then_some(clear.left);
        self.out_of_range += usize::from(clear.left < 0.0);
        self.headroom = least(self.headroom, headroom);
        self.range_left = least(self.range_left, range_left);
        let number = TraceNumber {
            group: self.groups,
            row,
            column,
            clear: clear.number,
            decrypted: drawn.map(|noise| clear.number + noise),
            noise: drawn,
            predicted,
            allowed: clear.room.is_finite().then_some(clear.room),
            headroom,
            range_left,
        };
        if self.numbers.len() < KEPT_NUMBERS {
            self.numbers.push(number);
        }
        let size = |number: &TraceNumber| number.noise.map_or(0.0, f64::abs);
        let is_narrower = self.narrowest.as_ref().is_none_or(|narrowest| match (headroom, narrowest.headroom) {
            (Some(headroom), Some(least)) => headroom < least,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => size(&number) > size(narrowest),
        });
        if is_narrower {
            self.narrowest = Some(number);
        }
        self.count += 1;
    }

    /// Of numbers that were rounded when they were decrypted.
    fn forget_noise(&mut self) {
        (self.measured, self.largest_noise) = (Squares::default(), None);
        self.numbers.iter_mut().chain(&mut self.narrowest).for_each(|number| number.noise = None);
    }

    fn finish(self) -> TracePlace {
        let simulated_spread = spread(&self.runs);
        TracePlace {
            step: self.step.into(),
            operation: self.operation.into(),
            numbers_of: self.kind.numbers_of.into(),
            round: self.round,
            unit: self.kind.unit,
            unit_in_turns: self.unit.unwrap_or(1.0),
            count: self.count,
            clear_range: self.clear_range.unwrap_or_default(),
            measured_noise: self.measured.root_mean(),
            largest_noise: self.largest_noise,
            predicted_noise: self.predicted.root_mean(),
            // Of what simulations draw later there is the formula.
            simulated_noise: self
                .simulated
                .root_mean()
                .filter(|_| simulated_spread.is_some() || self.predicted.count == 0),
            simulated_spread,
            noise_when_read: self.read,
            headroom: self.headroom,
            range_left: self.range_left,
            out_of_range: self.out_of_range,
            numbers: self.numbers,
            narrowest: self.narrowest,
        }
    }
}

/// The standard deviation of the logarithms of roots; `None` where nothing was drawn, and they differ by roundings only.
fn spread(squares: &[f64]) -> Option<f64> {
    let logarithms: Vec<f64> = squares.iter().map(|square| square.ln() / 2.0).collect();
    let mean = logarithms.iter().sum::<f64>() / logarithms.len() as f64;
    let sum = logarithms.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    Some((sum / logarithms.len().saturating_sub(1) as f64).sqrt()).filter(|&spread| spread.is_finite() && spread > 1e-6)
}
