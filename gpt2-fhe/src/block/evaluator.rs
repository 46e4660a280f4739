//! Programs of whole blocks on encrypted numbers, or what stands for them: [`StreamEvaluator`].
//!
//! It counts operations, and predicts noise ([`noise`](super::noise)): of tensors that of each channel, of numbers that of each by itself. A
//! multiplier is an integer: noise of its argument may make it another one, but it is exact, and products take it for what it is.
//! What represents numbers is a [`BlockBackend`]: ciphertexts, plain numbers with drawn noise, or nothing.

use std::sync::Arc;

use nn::evaluator::{BlockEvaluator, Entries, Evaluator, Form, LinearMap, Rows, SmoothEvaluator, SmoothUse, Use};
use nn::table::{Smooth, SmoothTable};
use tfhe_core::noise::{Distribution, Variance};

use super::backend::{BlockBackend, LookupNoise, ReadNumber};
use super::keys::gadget;
use super::noise::{Errors, IntegerBounds, MultipliersNoise, NumberErrors, RealsNoise, Slopes, room};
use super::prediction::{BlockPrediction, log_shared};
use super::schedule::{OwnOperation, Schedule, Scheduled, distinct};
use super::tensor::{Held, StreamMultipliers, StreamNumber, StreamReals, StreamScores, StreamTensor};
use crate::track::statistics::{Statistics, Tails};
use crate::track::timed::Timed;
use crate::track::{EvaluationError, Observer};

/// An error of numbers. There are as many as numbers; what products of ciphertexts add is the same for those of a tensor.
#[derive(Debug)]
struct IndependentError {
    normal: Variance,
    products: Option<Arc<Distribution>>,
}

/// Computes programs of blocks on a backend, with the noise predicted in a layout.
pub struct StreamEvaluator<'a, B> {
    backend: B,
    prediction: &'a BlockPrediction,
    observer: &'a mut dyn Observer,
    errors: Vec<IndependentError>,
    tails: Tails,
    statistics: Statistics,
    /// Whether noise is predicted on the way.
    tracked: bool,
    /// Of each exponential that multiplies, the largest noise with which it was read.
    exponents: Vec<(SmoothTable, Variance)>,
    /// What is done, in order, if that is wanted.
    schedule: Option<Schedule>,
}

impl<'a, B: BlockBackend> StreamEvaluator<'a, B> {
    /// On a backend.
    pub fn new(backend: B, prediction: &'a BlockPrediction, observer: &'a mut dyn Observer) -> Self {
        let (tails, statistics, tracked) = (Tails::default(), Statistics::default(), backend.is_tracked());
        let (errors, exponents) = (Vec::new(), Vec::new());
        Self { backend, prediction, observer, errors, tails, statistics, tracked, exponents, schedule: None }
    }

    /// From now on notes what is done, in order.
    pub(super) fn begin_schedule(&mut self) {
        self.schedule = Some(Schedule::default());
    }

    /// What was done since then, or since this was called last.
    pub(super) fn take_schedule(&mut self) -> Schedule {
        self.schedule.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes what the server does.
    pub(super) fn note_own(&mut self, operation: OwnOperation, count: usize, parts: usize) {
        if let Some(schedule) = &mut self.schedule {
            schedule.own(operation, count, parts);
        }
    }

    /// Notes lookups, all of one kind.
    fn note_lookups(
        &mut self,
        (step, result): (&'static str, SmoothUse),
        lanes: &[StreamNumber<B::Number>],
        (chosen, tables): (&[usize], &[&SmoothTable]),
    ) {
        let rotations = self.rotations(result);
        let (Some(schedule), Some(&first)) = (&mut self.schedule, chosen.first()) else { return };
        let read = &lanes[first].summed;
        let tables: Vec<&SmoothTable> = chosen.iter().map(|&index| tables[index]).collect();
        schedule.0.push(Scheduled::Lookups {
            step,
            gadget: gadget(result),
            lookups: chosen.len(),
            rotations,
            switches: usize::from(read.arithmetic) + usize::from(read.lookup),
            tables: distinct(&tables) * rotations,
        });
    }

    /// How many blind rotations a lookup is.
    fn rotations(&self, result: SmoothUse) -> usize {
        let multiplies = matches!(result, SmoothUse::Multiplier { .. });
        if multiplies { self.prediction.levels().div_ceil(1 << log_shared(result)) } else { 1 }
    }

    /// What represents numbers.
    pub fn backend_mut(&mut self) -> &mut B {
        &mut self.backend
    }

    /// The noise of a number of a request.
    pub(super) fn fresh(&self) -> Variance {
        self.prediction.fresh().numbers
    }

    /// From now on noise is not predicted: there are numbers of which nobody knows it.
    pub(super) fn stop_tracking(&mut self) {
        self.tracked = false;
    }

    /// What was done so far; noise and failure where the backend has them tracked ([`BlockBackend::is_tracked`]).
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Of each exponential whose results multiply, the largest noise of its argument, in turns.
    pub fn exponents(&self) -> &[(SmoothTable, Variance)] {
        &self.exponents
    }

    fn error(&mut self, normal: Variance, products: Option<Arc<Distribution>>) -> Errors {
        self.errors.push(IndependentError { normal, products });
        Errors::single(self.errors.len() - 1)
    }

    fn distribution(&self, errors: &NumberErrors) -> Distribution {
        let mut sum = Distribution::ZERO;
        for (error, multiple) in errors.own.iter().chain(errors.weighted.iter()) {
            let IndependentError { normal, products } = &self.errors[error];
            sum = sum + normal.scaled(multiple);
            if let Some(products) = products {
                sum = sum + products.scaled(multiple);
            }
        }
        sum
    }

    /// Notes what a table reads and how it may fail, and returns the result's errors.
    fn track_lookup(
        &mut self,
        (step, result): (&'static str, SmoothUse),
        errors: &NumberErrors,
        table: &SmoothTable,
        noise: LookupNoise,
    ) -> NumberErrors {
        if !self.tracked {
            return NumberErrors::default();
        }
        let read = self.distribution(errors) + noise.reading;
        let room = room(table, errors);
        let failure = self.tails.log2_tail(&read, room);
        let statistics = self.statistics.step(step);
        statistics.read(read.variance(), room, failure);
        statistics.result(noise.result);
        if let SmoothUse::Multiplier { .. } = result {
            if table.function() == Smooth::Exponential {
                self.note_exponent(table, read.variance());
            }
            return NumberErrors::default();
        }
        let is_sum = table.function() == Smooth::Logarithm && !errors.weighted.is_empty();
        let slopes = if is_sum { Slopes::of_sum(table) } else { Slopes::of(table) };
        if table.function() == Smooth::Exponential {
            let mut argument = errors.own.clone();
            argument.add_scaled(&self.error(noise.reading, None), 1.0);
            let own = self.error(noise.result, None);
            return NumberErrors { own, weighted: argument.scaled(slopes.at_one) };
        }
        let mut own = errors.own.scaled(slopes.argument);
        own.add_scaled(&errors.weighted, slopes.at_one);
        own.add_scaled(&self.error(noise.reading.scaled(slopes.reading) + noise.result, None), 1.0);
        NumberErrors { own, weighted: Errors::default() }
    }

    fn note_exponent(&mut self, table: &SmoothTable, read: Variance) {
        match self.exponents.iter_mut().rev().find(|(known, _)| known == table) {
            Some((_, largest)) => *largest = if read > *largest { read } else { *largest },
            None => self.exponents.push((*table, read)),
        }
    }

    /// One batch of lookups, of numbers of one kind, whose indices are `chosen`.
    fn look_up_batch(
        &mut self,
        (step, result): (&'static str, SmoothUse),
        (lanes, tables): (&[StreamNumber<B::Number>], &[&SmoothTable]),
        chosen: &[usize],
    ) -> Vec<StreamNumber<B::Number>> {
        let numbers: Vec<&ReadNumber<B::Number>> = chosen.iter().map(|&index| &lanes[index].summed).collect();
        let tables: Vec<&SmoothTable> = chosen.iter().map(|&index| tables[index]).collect();
        let parts = [numbers[0].arithmetic, numbers[0].lookup];
        let noise = self.prediction.lookup(result, parts);
        let found = self.backend.look_up(result, &numbers, &tables, noise);
        let multiplies = matches!(result, SmoothUse::Multiplier { .. });
        let rotations = self.rotations(result);
        let statistics = self.statistics.step(step);
        statistics.lookups += chosen.len();
        statistics.bootstrapped(gadget(result), chosen.len() * rotations);
        statistics.key_switches += chosen.len() * parts.into_iter().map(usize::from).sum::<usize>();
        let results = found.into_iter().zip(chosen.iter().zip(tables)).map(|(content, (&index, table))| {
            let errors = self.track_lookup((step, result), &lanes[index].errors, table, noise);
            let known = |content| self.backend.integer(content).map(IntegerBounds::exactly);
            let integer = multiplies.then(|| known(&content).unwrap_or_else(|| IntegerBounds::of(table)));
            let summed = ReadNumber { content, arithmetic: false, lookup: true };
            StreamNumber { summed, noise: noise.result, errors, integer, step: Some(step) }
        });
        results.collect()
    }

    /// What a product with some multipliers adds: a scalar's, or that of a key of `channels`.
    fn added(&self, multipliers: &MultipliersNoise, key: Option<usize>) -> Distribution {
        let squares = if key.is_some() { multipliers.largest_row_squares() } else { multipliers.largest.powi(2) };
        match key {
            _ if !multipliers.looked_up => self.prediction.times_known(squares),
            Some(channels) => self.prediction.times_key(channels, squares),
            None => self.prediction.times_integer(squares),
        }
    }

    /// The noise that scores have from their queries, none if it is not tracked.
    fn scored(&self, queries: &RealsNoise, keys: &MultipliersNoise, entries: Entries) -> Rows<Variance> {
        let row = |(row, count): (usize, usize)| {
            keys.squares[..count].iter().map(|squares| queries.scored(row, squares)).collect()
        };
        entries.rows(queries.numbers.len(), keys.squares.len()).map(row).collect()
    }

    fn map(
        &mut self,
        step: &'static str,
        input: &StreamReals<B::Reals>,
        maps: &[LinearMap<'_>],
    ) -> Vec<StreamTensor<B>> {
        let added = |map: &LinearMap<'_>| self.prediction.mapped(map.weight, map.form, input.noise.between);
        let added: Vec<Variance> = maps.iter().map(added).collect();
        let results = self.backend.linear(&input.content, maps, &added).into_iter();
        let layout = *self.prediction.layout();
        for map in maps {
            let [rows, inputs] = [input.shape[0], layout.features_ciphertexts(input.shape[1])];
            let products = inputs * layout.ciphertexts(map.form, map.weight.cols());
            self.note_own(OwnOperation::Weights, products, products);
            self.note_own(OwnOperation::MapProduct, rows * products, products);
        }
        let tracked = self.tracked;
        let tensor = |((content, map), added): ((B::Reals, &LinearMap<'_>), Variance)| {
            assert!(map.bias.is_empty(), "maps of features have no biases");
            let shape = [input.shape[0], map.weight.cols()];
            let noise = match tracked {
                true => input.noise.mapped(map.weight, added),
                false => RealsNoise::of_numbers(Vec::new()),
            };
            self.statistics.step(step).result(noise.largest());
            Held::Reals(StreamReals { content, form: map.form, shape, noise })
        };
        results.zip(maps).zip(added).map(tensor).collect()
    }

    /// The noise of results of lookups that are packed as features, `[T, C]`.
    fn packed(&self, rows: &Rows<StreamNumber<B::Number>>) -> RealsNoise {
        let (between, packed) = (self.prediction.between(), self.prediction.packed());
        if !self.tracked {
            return RealsNoise { between, ..RealsNoise::of_numbers(Vec::new()) };
        }
        let of_each = |of: &dyn Fn(&StreamNumber<B::Number>) -> Variance| -> Rows<Variance> {
            rows.iter().map(|row| row.iter().map(|number| of(number) + packed).collect()).collect()
        };
        let errors = of_each(&|number| self.distribution(&number.errors).variance());
        RealsNoise { between, errors, ..RealsNoise::of_numbers(of_each(&|number| number.noise)) }
    }

    /// Counts the packing of rows, in the step that looked them up: automorphisms, a key switch to the arithmetic ring for each
    /// ciphertext, and relinearization, which is a key switch from the secret's square, for each of a multiplier's levels.
    fn count_packing(&mut self, step: &'static str, form: Form, rows: &Rows<StreamNumber<B::Number>>) {
        let (layout, lookup_log) = (self.prediction.layout(), self.prediction.lookup_size().log2() as usize);
        let automorphisms = |held: usize| self.prediction.packing_automorphisms(held);
        // Of `held` neighbours: in each level, one for each remainder.
        let side_by_side = |held: usize| (0..lookup_log).map(|level| held.min(1 << level)).sum::<usize>();
        let features = |channels: usize| {
            let (full, rest) = (channels / layout.inputs(), channels % layout.inputs());
            let rest = if rest > 0 { automorphisms(rest) } else { 0 };
            [full * automorphisms(layout.inputs()) + rest, layout.features_ciphertexts(channels)]
        };
        let levels = self.prediction.levels();
        let row = |row: &Vec<StreamNumber<B::Number>>| match form {
            Form::Features => features(row.len()),
            Form::Queries => [side_by_side(row.len()), 1],
            Form::Keys => [levels * side_by_side(row.len()), 2 * levels],
            _ => [levels * automorphisms(1) * row.len(), 2 * levels * row.len()],
        };
        let counts = rows.iter().map(row).fold([0, 0], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
        match form {
            Form::Multipliers => {
                let multipliers = rows.iter().map(Vec::len).sum();
                self.note_own(OwnOperation::Multiplier, multipliers, multipliers);
            }
            // A key switch to the arithmetic ring for each ciphertext, which can be packed while others are.
            _ => self.note_own(OwnOperation::Packing, counts[0], counts[1]),
        }
        let statistics = self.statistics.step(step);
        statistics.automorphisms += counts[0];
        statistics.key_switches += counts[1];
    }

    fn pack_rows(&mut self, rows: Rows<StreamNumber<B::Number>>, form: Form) -> StreamTensor<B> {
        let contents = |rows: Rows<StreamNumber<B::Number>>| {
            rows.into_iter().map(|row| row.into_iter().map(|number| number.summed.content).collect()).collect()
        };
        if matches!(form, Form::Features | Form::Queries) {
            let (noise, shape) = (self.packed(&rows), [rows.len(), rows.first().map_or(0, Vec::len)]);
            let content = self.backend.pack(contents(rows), form, self.prediction.packed());
            return Held::Reals(StreamReals { content, form, shape, noise });
        }
        let integer = |number: &StreamNumber<B::Number>| number.integer.expect("multipliers are looked up as such");
        let bounds: Rows<IntegerBounds> = rows.iter().map(|row| row.iter().map(integer).collect()).collect();
        let noise = MultipliersNoise::looked_up(&bounds);
        let content = self.backend.pack_multipliers(contents(rows), form);
        Held::Multipliers(StreamMultipliers { content, noise })
    }
}

impl<B: BlockBackend> Timed for StreamEvaluator<'_, B> {
    fn observed(&mut self) -> (&mut dyn Observer, &mut Statistics) {
        (self.observer, &mut self.statistics)
    }
}

impl<B: BlockBackend> Evaluator for StreamEvaluator<'_, B> {
    type Tensor = StreamTensor<B>;
    type Lane = StreamNumber<B::Number>;
    type Table = SmoothTable;
    type Error = EvaluationError;

    fn linear(
        &mut self,
        step: &'static str,
        input: &StreamTensor<B>,
        maps: &[LinearMap<'_>],
    ) -> Result<Vec<StreamTensor<B>>, EvaluationError> {
        self.timed(step, 1, |evaluator| {
            let results = evaluator.map(step, input.as_reals(), maps);
            evaluator.advance(1)?;
            Ok(results)
        })
    }

    fn multiply(
        &mut self,
        step: &'static str,
        factors: Vec<[StreamTensor<B>; 2]>,
        entries: Entries,
    ) -> Result<Vec<StreamTensor<B>>, EvaluationError> {
        self.timed(step, factors.len(), |evaluator| {
            let multiply = |[queries, keys]: [StreamTensor<B>; 2]| {
                let (queries, keys) = (queries.reals(), keys.multipliers());
                let added = evaluator.added(&keys.noise, Some(queries.shape[1]));
                let contents = evaluator.backend.multiply(&queries.content, &keys.content, entries, &added);
                let passed = evaluator.scored(&queries.noise, &keys.noise, entries);
                let largest = passed.iter().flatten().fold(Variance::ZERO, |a, &b| if b > a { b } else { a });
                let products = queries.noise.products.scaled(keys.noise.largest_row_squares().sqrt()) + added;
                let count = contents.iter().map(Vec::len).sum::<usize>();
                evaluator.note_own(OwnOperation::ExternalProduct, count, count);
                let statistics = evaluator.statistics.step(step);
                statistics.external_products += count;
                statistics.result(largest + products.variance());
                evaluator.advance(1)?;
                Ok(Held::Scores(StreamScores { contents, passed, products }))
            };
            factors.into_iter().map(multiply).collect()
        })
    }

    fn weigh(
        &mut self,
        step: &'static str,
        weights: StreamTensor<B>,
        values: StreamTensor<B>,
        sum: Option<StreamTensor<B>>,
    ) -> Result<StreamTensor<B>, EvaluationError> {
        let (weights, values, sum) = (weights.multipliers(), values.reals(), sum.map(Held::reals));
        self.timed(step, 1, |evaluator| {
            let added = evaluator.added(&weights.noise, None);
            let mut noise = values.noise.weighed(&weights.noise, &added);
            let earlier = sum.map(|sum| {
                noise.add(&sum.noise);
                sum.content
            });
            let content = evaluator.backend.weigh(&weights.content, &values.content, earlier, &added);
            let ciphertexts = evaluator.prediction.layout().ciphertexts(values.form, values.shape[1]);
            let count = ciphertexts * weights.noise.squares.iter().map(Vec::len).sum::<usize>();
            evaluator.note_own(OwnOperation::ExternalProduct, count, ciphertexts * weights.noise.squares.len());
            let statistics = evaluator.statistics.step(step);
            statistics.external_products += count;
            statistics.result(noise.largest());
            evaluator.advance(1)?;
            let shape = [weights.noise.squares.len(), values.shape[1]];
            Ok(Held::Reals(StreamReals { content, form: values.form, shape, noise }))
        })
    }

    fn lanes(&mut self, tensor: StreamTensor<B>) -> Rows<StreamNumber<B::Number>> {
        let (contents, noise, products) = match tensor {
            Held::Scores(StreamScores { contents, passed, products }) => (contents, passed, products),
            Held::Reals(reals) => (self.backend.numbers(reals.content), reals.noise.numbers, reals.noise.products),
            Held::Multipliers(_) => unreachable!("multipliers are not taken apart"),
        };
        let of_products = products.variance();
        let products = (of_products > Variance::ZERO).then(|| Arc::new(products));
        let tracked = self.tracked;
        let number = |evaluator: &mut Self, content, variance: Option<&Variance>| {
            let summed = ReadNumber { content, arithmetic: true, lookup: false };
            let own = variance.map_or_else(Errors::default, |&normal| evaluator.error(normal, products.clone()));
            let noise = variance.map_or(Variance::ZERO, |&normal| normal + of_products);
            let errors = NumberErrors { own, ..NumberErrors::default() };
            StreamNumber { summed, noise, errors, integer: None, step: None }
        };
        let mut rows = Vec::with_capacity(contents.len());
        for (row, contents) in contents.into_iter().enumerate() {
            let variance = |channel: usize| tracked.then(|| &noise[row][channel]);
            let numbers = contents.into_iter().enumerate();
            rows.push(numbers.map(|(channel, content)| number(self, content, variance(channel))).collect());
        }
        rows
    }

    fn pack(&mut self, rows: Rows<StreamNumber<B::Number>>, form: Form) -> StreamTensor<B> {
        let step = rows.iter().flatten().next().and_then(|number| number.step);
        let Some(step) = step else { return self.pack_rows(rows, form) };
        self.count_packing(step, form, &rows);
        self.clocked(step, |evaluator| evaluator.pack_rows(rows, form))
    }

    fn look_up(
        &mut self,
        step: &'static str,
        lanes: &[StreamNumber<B::Number>],
        tables: &[&SmoothTable],
        result: Use,
    ) -> Result<Vec<StreamNumber<B::Number>>, EvaluationError> {
        assert_eq!(lanes.len(), tables.len(), "one table to a number");
        self.timed(step, lanes.len(), |evaluator| {
            let mut results: Vec<Option<StreamNumber<B::Number>>> = vec![None; lanes.len()];
            for parts in [[true, false], [false, true], [true, true], [false, false]] {
                let is_of_kind =
                    |index: &usize| [lanes[*index].summed.arithmetic, lanes[*index].summed.lookup] == parts;
                let chosen: Vec<usize> = (0..lanes.len()).filter(is_of_kind).collect();
                evaluator.note_lookups((step, result.smooth), lanes, (&chosen, tables));
                for chosen in chosen.chunks(evaluator.backend.together()) {
                    let found = evaluator.look_up_batch((step, result.smooth), (lanes, tables), chosen);
                    chosen.iter().zip(found).for_each(|(&index, number)| results[index] = Some(number));
                    evaluator.advance(chosen.len())?;
                }
            }
            Ok(results.into_iter().map(|result| result.expect("a number is of one kind")).collect())
        })
    }

    fn add_scaled(&self, sum: &mut StreamNumber<B::Number>, other: &StreamNumber<B::Number>, factor: i64) {
        self.backend.add_scaled(&mut sum.summed.content, &other.summed.content, factor);
        sum.summed.arithmetic |= other.summed.arithmetic;
        sum.summed.lookup |= other.summed.lookup;
        sum.noise = sum.noise + other.noise.scaled(factor as f64);
        sum.errors.add_scaled(&other.errors, factor as f64);
    }
}

impl<B: BlockBackend> SmoothEvaluator for StreamEvaluator<'_, B> {
    fn constant(&self, turns: f64) -> StreamNumber<B::Number> {
        let summed = ReadNumber { content: self.backend.constant(turns), arithmetic: false, lookup: false };
        StreamNumber { summed, noise: Variance::ZERO, errors: NumberErrors::default(), integer: None, step: None }
    }

    fn add_constants(
        &mut self,
        step: &'static str,
        tensor: StreamTensor<B>,
        turns: &[f64],
    ) -> Result<StreamTensor<B>, EvaluationError> {
        let reals = tensor.reals();
        self.timed(step, 0, |evaluator| {
            let content = evaluator.backend.add_constants(reals.content, turns);
            Ok(Held::Reals(StreamReals { content, ..reals }))
        })
    }
}

impl<B: BlockBackend> BlockEvaluator for StreamEvaluator<'_, B> {
    fn scale_rows(
        &mut self,
        step: &'static str,
        tensor: StreamTensor<B>,
        multipliers: &StreamTensor<B>,
    ) -> Result<StreamTensor<B>, EvaluationError> {
        let (reals, multipliers) = (tensor.reals(), multipliers.multipliers());
        self.timed(step, 1, |evaluator| {
            let added = evaluator.added(&multipliers.noise, None);
            let content = evaluator.backend.scale_rows(reals.content, &multipliers.content, &added);
            let noise = reals.noise.scaled(&multipliers.noise, added);
            let ciphertexts = evaluator.prediction.layout().ciphertexts(reals.form, reals.shape[1]);
            let count = reals.shape[0] * ciphertexts;
            evaluator.note_own(OwnOperation::ExternalProduct, count, count);
            let statistics = evaluator.statistics.step(step);
            statistics.external_products += count;
            statistics.result(noise.largest());
            evaluator.advance(1)?;
            Ok(Held::Reals(StreamReals { content, noise, ..reals }))
        })
    }

    fn add(&mut self, sum: &mut StreamTensor<B>, other: &StreamTensor<B>) {
        let (Held::Reals(sum), Held::Reals(other)) = (sum, other) else { unreachable!("sums are of reals") };
        self.backend.add(&mut sum.content, &other.content);
        sum.noise.add(&other.noise);
    }

    fn append(&mut self, above: &mut StreamTensor<B>, below: StreamTensor<B>) {
        match (above, below) {
            (Held::Reals(above), Held::Reals(below)) => {
                self.backend.append(&mut above.content, below.content);
                above.shape[0] += below.shape[0];
                above.noise.append(below.noise);
            }
            (Held::Multipliers(above), Held::Multipliers(below)) => {
                self.backend.append_multipliers(&mut above.content, below.content);
                above.noise.append(below.noise);
            }
            _ => unreachable!("rows of one form follow each other"),
        }
    }

    fn last_row(&mut self, tensor: &StreamTensor<B>) -> StreamTensor<B> {
        match tensor {
            Held::Reals(reals) => {
                let (content, noise) = (self.backend.last_row(&reals.content), reals.noise.last_row());
                Held::Reals(StreamReals { content, noise, form: reals.form, shape: [1, reals.shape[1]] })
            }
            Held::Multipliers(multipliers) => {
                let content = self.backend.last_multipliers(&multipliers.content);
                Held::Multipliers(StreamMultipliers { content, noise: multipliers.noise.last_row() })
            }
            Held::Scores(_) => unreachable!("scores are taken apart as they are"),
        }
    }

    fn split_last(&mut self, tensor: &StreamTensor<B>) -> (StreamTensor<B>, Vec<StreamNumber<B::Number>>) {
        let reals = tensor.as_reals();
        let [rows, channels] = [reals.shape[0], reals.shape[1] - 1];
        let content = self.backend.narrowed(&reals.content, channels);
        let noise = reals.noise.narrowed(channels);
        let last = self.lanes(tensor.clone()).into_iter().filter_map(|mut row| row.pop()).collect();
        (Held::Reals(StreamReals { content, noise, form: reals.form, shape: [rows, channels] }), last)
    }

    /// Counts that one of the numbers wraps around, as if all had the noise of the one with the most.
    fn note_decrypted(&mut self, step: &'static str, tensor: &StreamTensor<B>, limit: f64) {
        if !self.backend.is_tracked() {
            return;
        }
        let StreamReals { noise, shape: [rows, channels], .. } = tensor.as_reals();
        let (noise, room) = (noise.widest(), 0.5 - limit);
        let failure = self.tails.log2_tail(&noise, room) + ((rows * channels) as f64).log2();
        self.statistics.step(step).read(noise.variance(), room, failure);
    }

    fn known(&mut self, rows: Rows<f64>, form: Form) -> StreamTensor<B> {
        if matches!(form, Form::Keys | Form::Multipliers) {
            let noise = MultipliersNoise::known(&rows);
            let content = self.backend.known_multipliers(rows, form);
            return Held::Multipliers(StreamMultipliers { content, noise });
        }
        let shape = [rows.len(), rows.first().map_or(0, Vec::len)];
        let content = self.backend.known(rows, form);
        let noise = match self.tracked {
            true => RealsNoise::uniform(shape, Variance::ZERO),
            false => RealsNoise::of_numbers(Vec::new()),
        };
        Held::Reals(StreamReals { content, form, shape, noise })
    }
}
