//! How tables are read.
//!
//! A lookup of a table of w bits, of which l low bits are rounded away, is made of
//! 1. **rounding**: up to p − 1 low bits at a time are taken off, where p bits are what one bootstrapping reads: 5 in a ring of 4096, 4 in
//!    one of 2048. The digit, scaled to fill the whole torus together with the bit
//!    above it, is read in two bootstrappings: the bit above (the sign), then, that bit subtracted, the digit;
//! 2. **reading** the w − l bits that remain: in one bootstrapping up to p, in two
//!    ([`tfhe_core::wide`]) above;
//! 3. **re-encoding**, where the result must be precise (a factor of a ciphertext product, or one of many summands) and was
//!    read in two: digits of at most p bits are read once more with the precise key.

use std::collections::{BTreeMap, HashMap};

use nn::table::LookupTable;
use tfhe_core::noise::Distribution;
use tfhe_core::programmable_bootstrap::half_slot;
use tfhe_core::sets::COARSE;
use tfhe_core::wide::WideTable;

use super::backend::{IntegerBackend, NarrowTable, WideLookup};
use super::evaluator::IntegerEvaluator;
use super::output::Output;
use super::tensor::Integer;
use crate::track::EvaluationError;
use crate::track::timed::Timed;

/// How many lookups go to the backend at once: enough to fill blocks on every thread, few enough to show progress.
const BATCH: usize = 64;

/// A value in the form of digits, each to be read by one bootstrapping.
#[derive(Clone, Copy, Debug)]
struct Digits {
    /// Bits of the table that reads a digit; digits lie in −2^(bits−1) .. 2^(bits−1).
    bits: u32,
    /// What a digit counts in units of the one below.
    base: i64,
    /// How many there are, the lowest first; all but the highest in −base/2 ..= base/2.
    count: usize,
}

impl Digits {
    /// For values up to `max_abs`, read by tables of up to `narrow` bits.
    fn of(max_abs: i64, narrow: u32) -> Self {
        // One digit of factors of four bits has more room in a table of as many.
        let bits = if max_abs <= 7 { narrow.min(4) } else { narrow };
        let base = 1 << (bits - 1);
        // Rounded to the nearest multiple of the base, base·m + base/2 − 1 and less leave m.
        let (mut count, mut largest) = (1, base - 1);
        while largest < max_abs {
            (count, largest) = (count + 1, base * largest + base / 2 - 1);
        }
        Self { bits, base, count }
    }

    /// What digit `index` counts.
    fn weight(self, index: usize) -> i64 {
        self.base.pow(index as u32)
    }

    /// Digit `index` of `value`: an odd function, so that a negacyclic table may negate it.
    fn digit(self, value: i64, index: usize) -> i64 {
        let higher = |value: i64| value.signum() * ((value.abs() + self.base / 2) / self.base);
        let rest = (0..index).fold(value, |rest, _| higher(rest));
        if index + 1 == self.count { rest } else { rest - self.base * higher(rest) }
    }
}

impl<B: IntegerBackend> IntegerEvaluator<'_, B> {
    /// Table i on value i. Values whose tables are of one width are read together.
    pub(super) fn read_tables(
        &mut self,
        step: &'static str,
        values: &[Integer<B::Ciphertext>],
        tables: &[&LookupTable],
        output: Output,
    ) -> Result<Vec<Integer<B::Ciphertext>>, EvaluationError> {
        assert_eq!(values.len(), tables.len(), "one table to a value");
        let mut groups: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
        for (index, table) in tables.iter().enumerate() {
            groups.entry((table.bits(), table.rounded_bits())).or_default().push(index);
        }
        let mut results = vec![None; values.len()];
        for group in groups.values() {
            let (distinct, which) = distinct(group.iter().map(|&index| tables[index]));
            let reader = Reader::new(self, &distinct, output);
            for (batch, which) in group.chunks(BATCH).zip(which.chunks(BATCH)) {
                let requests: Vec<_> = batch.iter().map(|&index| (&values[index], tables[index])).collect();
                let read = self.read_batch(step, &reader, &requests, which)?;
                batch.iter().zip(read).for_each(|(&index, result)| results[index] = Some(result));
            }
        }
        Ok(results.into_iter().map(|result| result.expect("every value is in a group")).collect())
    }

    /// One batch of values with tables of one width; `which` of the reader's each is.
    fn read_batch(
        &mut self,
        step: &'static str,
        reader: &Reader,
        requests: &[(&Integer<B::Ciphertext>, &LookupTable)],
        which: &[usize],
    ) -> Result<Vec<Integer<B::Ciphertext>>, EvaluationError> {
        let (bits, rounded) = (requests[0].1.bits(), requests[0].1.rounded_bits());
        let offset = |&(value, table): &(&Integer<B::Ciphertext>, &LookupTable)| {
            let input = self.rescale(value, bits);
            let offset = (table.rounding_offset() - table.first()) as u64;
            Integer { ciphertext: self.backend.combine(&[(&input.ciphertext, 1)], offset << (63 - bits)), ..input }
        };
        let mut inputs: Vec<_> = requests.iter().map(offset).collect();
        self.round(step, &mut inputs, rounded);
        inputs.iter_mut().for_each(|input| input.bits = bits - rounded);
        let results = reader.read(self, step, &inputs, which);
        self.step(step).lookups += requests.len();
        self.advance(requests.len())?;
        Ok(results)
    }

    /// Takes the `rounded` low bits off inputs whose rounding offset has been added.
    fn round(&mut self, step: &'static str, inputs: &mut [Integer<B::Ciphertext>], rounded: u32) {
        let Some(bits) = inputs.first().map(|input| input.bits) else { return };
        let mut done = 0;
        while done < rounded {
            let digit = (rounded - done).min(self.predictor.rounding_digit());
            let unit = 1_u64 << (63 - bits + done);
            // What is left is scaled for the next reading, of another digit or of the rounded input, with this digit's noise.
            let next = match rounded - done - digit {
                0 => (bits - rounded).saturating_sub(self.predictor.narrow_bits()),
                left => bits - done - digit - left.min(self.predictor.rounding_digit()),
            };
            let gadget = self.predictor.scaled_gadget(next, &self.gadgets);
            let low = self.read_digit(step, inputs, bits - done - digit, digit, unit, gadget);
            for (input, low) in inputs.iter_mut().zip(low) {
                input.ciphertext = self.backend.combine(&[(&input.ciphertext, 1), (&low.ciphertext, -1)], 0);
                input.noise = std::mem::take(&mut input.noise) + low.noise;
            }
            done += digit;
        }
    }

    /// The low digit, times `unit`, of inputs that input·2^shift fills the torus with: the sign first, which the digit's table
    /// must not see, then the digit.
    fn read_digit(
        &mut self,
        step: &'static str,
        inputs: &[Integer<B::Ciphertext>],
        shift: u32,
        digit: u32,
        unit: u64,
        gadget: usize,
    ) -> Vec<Integer<B::Ciphertext>> {
        let scaled: Vec<_> = inputs
            .iter()
            .map(|input| Integer {
                ciphertext: self.backend.combine(&[(&input.ciphertext, 1 << shift)], half_slot(digit)),
                bits: digit,
                noise: input.noise.scaled(2f64.powi(shift as i32)),
            })
            .collect();
        // ±1/4, and 1/4 added: 0 or 1/2.
        let quarter = 1_u64 << 62;
        let sign = NarrowTable::new(self.shape(), vec![quarter.wrapping_neg()]);
        let signs = self.read_narrow(step, &scaled, &[sign], &vec![0; scaled.len()], COARSE);
        let digits: Vec<_> = scaled
            .iter()
            .zip(&signs)
            .map(|(scaled, sign)| Integer {
                ciphertext: self
                    .backend
                    .combine(&[(&scaled.ciphertext, 1), (&sign.ciphertext, -1)], quarter.wrapping_neg()),
                bits: digit,
                noise: scaled.noise.clone() + sign.noise.clone(),
            })
            .collect();
        let values = NarrowTable::new(self.shape(), (0..1_u64 << digit).map(|d| d * unit).collect());
        self.read_narrow(step, &digits, &[values], &vec![0; digits.len()], gadget)
    }

    /// Table `which[i]` at input i, in one bootstrapping each; inputs are in the middle of their slots, 2^-(bits+1) wide.
    fn read_narrow(
        &mut self,
        step: &'static str,
        inputs: &[Integer<B::Ciphertext>],
        tables: &[NarrowTable],
        which: &[usize],
        gadget: usize,
    ) -> Vec<Integer<B::Ciphertext>> {
        let ciphertexts: Vec<_> = inputs.iter().map(|input| input.ciphertext.clone()).collect();
        let chosen: Vec<_> = which.iter().map(|&table| &tables[table]).collect();
        let outputs = self.backend.bootstrap(gadget, &ciphertexts, &chosen);
        let variance = self.predictor.bootstrap(gadget);
        for input in inputs {
            let tolerance = 2f64.powi(-(input.bits as i32) - 2);
            self.count_read(step, gadget, &input.noise, tolerance);
            self.step(step).key_switches += 1;
        }
        self.step(step).result(variance);
        outputs.into_iter().map(|ciphertext| Integer { ciphertext, bits: 0, noise: variance.into() }).collect()
    }

    fn count_read(&mut self, step: &'static str, gadget: usize, input: &Distribution, tolerance: f64) {
        let read = input.clone() + self.predictor.switches();
        let failure = self.tails.log2_tail(&read, tolerance);
        let statistics = self.step(step);
        statistics.bootstrapped(gadget, 1);
        statistics.read(read.variance(), tolerance, failure);
    }

    fn shape(&self) -> tfhe_core::params::GlweShape {
        self.predictor.shape()
    }
}

/// The tables that differ, and which of them each one is. To hash a table takes microseconds, where to read it takes milliseconds.
fn distinct<'a>(tables: impl Iterator<Item = &'a LookupTable>) -> (Vec<&'a LookupTable>, Vec<usize>) {
    let (mut distinct, mut index) = (Vec::new(), HashMap::new());
    let mut which = |table: &'a LookupTable| {
        *index.entry(table).or_insert_with(|| {
            distinct.push(table);
            distinct.len() - 1
        })
    };
    let which = tables.map(&mut which).collect();
    (distinct, which)
}

/// The tables of a lookup, prepared.
struct Reader {
    output: Output,
    kind: Kind,
}

enum Kind {
    /// One bootstrapping.
    Narrow(Vec<NarrowTable>),
    /// Two, and with digits a third for each digit.
    Wide {
        low: usize,
        high: usize,
        /// [table][digit]
        tables: Vec<Vec<WideTable>>,
        delta: u64,
        reencode: Option<(Digits, Vec<NarrowTable>)>,
    },
}

impl Reader {
    /// Of tables of one width, all of which differ.
    fn new<B: IntegerBackend>(evaluator: &IntegerEvaluator<'_, B>, distinct: &[&LookupTable], output: Output) -> Self {
        let encode = |value: i64| output.delta().wrapping_mul(value as u64);
        let (narrow_bits, size) = (evaluator.predictor.narrow_bits(), evaluator.shape().polynomial_size);
        if distinct[0].index_bits() <= narrow_bits {
            let prepare = |table: &&LookupTable| {
                NarrowTable::new(evaluator.shape(), table.values().iter().map(|&value| encode(value)).collect())
            };
            return Self { output, kind: Kind::Narrow(distinct.iter().map(prepare).collect()) };
        }
        let max_abs = distinct.iter().map(|table| table.max_abs_value()).max().unwrap_or(0);
        let digits = output.reencoded.then(|| Digits::of(max_abs, narrow_bits));
        let tables: Vec<Vec<WideTable>> = distinct
            .iter()
            .map(|table| match digits {
                None => vec![WideTable::new(table.values(), size)],
                Some(digits) => (0..digits.count)
                    .map(|i| {
                        let values: Vec<_> = table.values().iter().map(|&v| digits.digit(v, i)).collect();
                        WideTable::new(&values, size)
                    })
                    .collect(),
            })
            .collect();
        let high = if digits.is_some() { COARSE } else { output.gadget };
        let all: Vec<WideTable> = tables.iter().flatten().cloned().collect();
        let reencode = digits.map(|digits| {
            let prepare = |i: usize| {
                let half = 1_i64 << (digits.bits - 1);
                let values = (-half..half).map(|digit| encode(digit * digits.weight(i))).collect();
                NarrowTable::new(evaluator.shape(), values)
            };
            (digits, (0..digits.count).map(prepare).collect())
        });
        let delta = digits.map_or(output.delta(), |digits| 1 << (63 - digits.bits));
        let low = evaluator.predictor.low_gadget(&all, high, &evaluator.gadgets);
        Self { output, kind: Kind::Wide { low, high, tables, delta, reencode } }
    }

    /// Reads, `which` table each; the inputs are at the scale of the tables' index bits.
    fn read<B: IntegerBackend>(
        &self,
        evaluator: &mut IntegerEvaluator<'_, B>,
        step: &'static str,
        inputs: &[Integer<B::Ciphertext>],
        which: &[usize],
    ) -> Vec<Integer<B::Ciphertext>> {
        let mut results = match &self.kind {
            Kind::Narrow(narrow) => {
                let centred: Vec<_> =
                    inputs.iter().map(|input| centre(evaluator, input, half_slot(input.bits))).collect();
                evaluator.read_narrow(step, &centred, narrow, which, self.output.gadget)
            }
            Kind::Wide { low, high, tables, delta, reencode } => {
                let chosen: Vec<&[WideTable]> = which.iter().map(|&table| &tables[table][..]).collect();
                let digits = read_wide(evaluator, step, inputs, &chosen, (*low, *high), *delta);
                match reencode {
                    None => digits.into_iter().map(|mut digits| digits.remove(0)).collect(),
                    Some((form, narrow)) => self.reencode(evaluator, step, &digits, *form, narrow),
                }
            }
        };
        results.iter_mut().for_each(|result| result.bits = self.output.bits);
        results
    }

    /// Reads each digit once more with the output's gadget, and adds them up.
    fn reencode<B: IntegerBackend>(
        &self,
        evaluator: &mut IntegerEvaluator<'_, B>,
        step: &'static str,
        digits: &[Vec<Integer<B::Ciphertext>>],
        form: Digits,
        narrow: &[NarrowTable],
    ) -> Vec<Integer<B::Ciphertext>> {
        // Digits are signed: half the table's length makes them indices.
        let offset = (1 << 62) + half_slot(form.bits);
        let inputs: Vec<_> = digits.iter().flatten().map(|digit| centre(evaluator, digit, offset)).collect();
        let which: Vec<usize> = digits.iter().flat_map(|digits| 0..digits.len()).collect();
        let outputs = evaluator.read_narrow(step, &inputs, narrow, &which, self.output.gadget);
        let sum = |digits: &[Integer<B::Ciphertext>]| {
            digits[1..].iter().fold(digits[0].clone(), |sum, digit| evaluator.sum([(&sum, 1), (digit, 1)]))
        };
        outputs.chunks(form.count).map(sum).collect()
    }
}

/// The input with a public offset.
fn centre<B: IntegerBackend>(
    evaluator: &IntegerEvaluator<'_, B>,
    input: &Integer<B::Ciphertext>,
    offset: u64,
) -> Integer<B::Ciphertext> {
    let ciphertext = evaluator.backend.combine(&[(&input.ciphertext, 1)], offset);
    Integer { ciphertext, ..input.clone() }
}

/// The tables of each input, in two bootstrappings. Results are at scale `delta`.
fn read_wide<B: IntegerBackend>(
    evaluator: &mut IntegerEvaluator<'_, B>,
    step: &'static str,
    inputs: &[Integer<B::Ciphertext>],
    tables: &[&[WideTable]],
    (low, high): (usize, usize),
    delta: u64,
) -> Vec<Vec<Integer<B::Ciphertext>>> {
    let ciphertexts: Vec<_> = inputs.iter().map(|input| input.ciphertext.clone()).collect();
    let lookups: Vec<_> = tables.iter().map(|&tables| WideLookup { tables, delta }).collect();
    let outputs = evaluator.backend.wide_lookup(low, high, &ciphertexts, &lookups);
    for (input, tables) in inputs.iter().zip(tables) {
        let scaled = input.noise.scaled(tables[0].low_factor() as f64);
        evaluator.count_read(step, low, &scaled, tables[0].low_tolerance());
        evaluator.step(step).key_switches += 2;
        for table in *tables {
            evaluator.count_read(step, high, &input.noise, table.high_tolerance());
        }
    }
    let bits = 62 - delta.trailing_zeros() + 1;
    outputs
        .into_iter()
        .zip(tables)
        .map(|(outputs, tables)| {
            let results = outputs.into_iter().zip(*tables).map(|(ciphertext, table)| {
                let variance = evaluator.predictor.wide_table(low, table) + evaluator.predictor.bootstrap(high);
                evaluator.step(step).result(variance);
                Integer { ciphertext, bits, noise: variance.into() }
            });
            results.collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_recompose_and_are_odd() {
        let largest = [3, 7, 8, 15, 16, 59, 60, 127, 247, 248, 3959, 3960];
        for (max_abs, narrow) in largest.into_iter().flat_map(|max_abs| [(max_abs, 3), (max_abs, 4), (max_abs, 5)]) {
            let digits = Digits::of(max_abs, narrow);
            assert!(digits.bits <= narrow);
            let half = 1 << (digits.bits - 1);
            for value in -max_abs..=max_abs {
                let parts: Vec<i64> = (0..digits.count).map(|i| digits.digit(value, i)).collect();
                assert_eq!(parts.iter().enumerate().map(|(i, d)| d * digits.weight(i)).sum::<i64>(), value);
                assert!(parts.iter().all(|d| (-half + 1..half).contains(d)), "{value}: {parts:?}");
                assert!((0..digits.count).all(|i| digits.digit(-value, i) == -digits.digit(value, i)));
            }
        }
    }
}
