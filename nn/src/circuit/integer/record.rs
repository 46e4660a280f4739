//! Both halves of the integer attention to and from named tensors.

use super::client::IntegerClient;
use super::combination::{Combination, inconsistent_bits};
use super::options::IntegerOptions;
use super::program::{HeadTables, IntegerProgram, Projection, Scores};
use super::ranges::RangeReport;
use super::softmax::IntegerSoftmax;
use super::steps;
use crate::calibration::check_tokens;
use crate::error::{Error, check_within};
use crate::evaluator::FactorUse;
use crate::named::NamedTensors;
use crate::quantizers::Quantizer;
use crate::range::IntegerRange;
use crate::table::LookupTable;

/// The tables of a head besides those of its channels: of scores, of the softmax's four steps.
const OTHER_TABLES: usize = 5;
/// The numbers of a [`RangeReport`].
const REPORT: usize = 8;

impl IntegerProgram {
    /// The tensors that [`Self::from_tensors`] reads; H is the number of heads.
    pub(crate) fn to_tensors(&self) -> NamedTensors {
        let heads = self.heads.len();
        let mut tensors = NamedTensors::default();
        for (name, value) in [
            ("input_bits", self.input_bits as usize),
            ("accumulator_bits", self.accumulator_bits as usize),
            ("max_tokens", self.max_tokens),
        ] {
            tensors.set_integer(name, value as i64);
        }
        tensors.set_matrix("weight", &self.weight);
        let of_channels = self.heads.iter().flat_map(|head| &head.projection.table_of_channel);
        tensors.set_integers(
            "table_of_channel",
            &[heads, 3 * self.head_size()],
            of_channels.map(|&table| table as i64),
        );
        let counts = self.heads.iter().map(|head| head.projection.tables.len() as i64);
        tensors.set_integers("channel_tables", &[heads], counts);
        let factors = self.heads.iter().flat_map(|head| [head.scores.factor, head.softmax.normalized(), head.output]);
        let factors = factors.flat_map(|factor| [factor.product_bits, factor.operand_bits].map(i64::from));
        tensors.set_integers("factors", &[heads, 3, 2], factors);
        set_tables(&mut tensors, &self.tables().map(|(_, table)| table).collect::<Vec<_>>());
        if let Some(combination) = &self.combination {
            tensors.set_matrix("output.weight", &combination.weight);
            tensors.set_integers("output.bias", &[combination.bias.len()], combination.bias.iter().copied());
            tensors.set_integer("output.sum_bits", i64::from(combination.sum_bits));
        }
        tensors
    }

    /// Reads what [`Self::to_tensors`] gives, and checks everything that evaluators rely on.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfRange`].
    pub(crate) fn from_tensors(tensors: &NamedTensors) -> Result<Self, Error> {
        let weight = tensors.matrix("weight")?;
        let [heads, channels] = tensors.shape("table_of_channel")?;
        let of_channels: Vec<usize> = tensors.integers("table_of_channel", &[heads, channels])?;
        let counts: Vec<usize> = tensors.integers("channel_tables", &[heads])?;
        let factors: Vec<u32> = tensors.integers("factors", &[heads, 3, 2])?;
        let mut tables = tables(tensors)?.into_iter();
        let each = counts.into_iter().zip(of_channels.chunks(channels)).zip(factors.chunks(6));
        let heads = each
            .map(|((count, of_channel), factors)| HeadTables::read(&mut tables, count, of_channel, factors))
            .collect::<Result<Vec<_>, _>>()?;
        let combination = match tensors.contains("output.weight") {
            true => Some(Combination::read(tensors, tables.by_ref().take(heads.len()).collect())?),
            false => None,
        };
        if tables.next().is_some() {
            return Err(Error::out_of_range("the number of tables", "more than are used", "that of the program"));
        }
        let program = Self {
            input_bits: tensors.integer("input_bits")?,
            weight,
            accumulator_bits: tensors.integer("accumulator_bits")?,
            heads,
            combination,
            max_tokens: tensors.integer("max_tokens")?,
        };
        program.check()?;
        Ok(program)
    }

    /// Checks everything that evaluators rely on.
    fn check(&self) -> Result<(), Error> {
        let (channels, count) = (self.weight.cols(), self.heads.len());
        if count == 0 || channels % (3 * count) != 0 {
            let expected = format!("[E, 3dH], H = {count}, with a table for each channel");
            return Err(Error::shape("the weight of an integer program", expected, &[self.weight.rows(), channels]));
        }
        self.check_bits()?;
        if self.heads.iter().any(|head| !head.projection.is_complete(channels / count)) {
            return Err(Error::out_of_range("the table of a channel", "missing", "one of the program's tables"));
        }
        match &self.combination {
            Some(combination) => combination.check(self.input_bits, count, channels / 3)?,
            None if count > 1 => {
                let allowed = "a part of the program";
                return Err(Error::out_of_range("the combination of several heads", "missing", allowed));
            }
            None => {}
        }
        check_tokens(self.max_tokens, IntegerOptions::MAX_TOKENS)
    }

    fn check_bits(&self) -> Result<(), Error> {
        let Self { input_bits: bits, accumulator_bits, .. } = *self;
        // The outputs of heads are read by the tables of the combination.
        let reads = |(head, table): (&HeadTables, &LookupTable)| table.bits() <= head.output.product_bits;
        let outputs = self.combination.iter().flat_map(|combination| &combination.tables);
        let is_valid = IntegerOptions::BITS.contains(&bits)
            && (1..=LookupTable::MAX_BITS).contains(&accumulator_bits)
            && self.heads.iter().all(|head| head.bits_are_valid(accumulator_bits) && head.values_are_valid(bits))
            && self.weight.iter().all(|entry| entry.unsigned_abs() < 1 << bits)
            && self.heads.iter().zip(outputs).all(reads);
        if is_valid { Ok(()) } else { Err(inconsistent_bits()) }
    }
}

impl HeadTables {
    /// Of the next tables, `count` of which are of channels. `factors` are (product, operand) bits of three factors.
    fn read(
        tables: &mut impl Iterator<Item = LookupTable>,
        count: usize,
        of_channel: &[usize],
        factors: &[u32],
    ) -> Result<Self, Error> {
        let of_channels: Vec<LookupTable> = tables.by_ref().take(count).collect();
        let others: Vec<LookupTable> = tables.by_ref().take(OTHER_TABLES).collect();
        let [scores, softmax @ ..] = <[LookupTable; OTHER_TABLES]>::try_from(others)
            .map_err(|others| Error::shape("the tables of a head", format!("[{OTHER_TABLES}]"), &[others.len()]))?;
        let factor =
            |index: usize| FactorUse { product_bits: factors[2 * index], operand_bits: factors[2 * index + 1] };
        Ok(Self {
            projection: Projection { tables: of_channels, table_of_channel: of_channel.to_vec() },
            scores: Scores { factor: factor(0), table: scores },
            softmax: IntegerSoftmax::from_tables(softmax, factor(1)),
            output: factor(2),
        })
    }
}

impl Combination {
    fn read(tensors: &NamedTensors, tables: Vec<LookupTable>) -> Result<Self, Error> {
        let weight = tensors.matrix("output.weight")?;
        let bias = tensors.integers("output.bias", &[weight.cols()])?;
        Ok(Self { tables, weight, bias, sum_bits: tensors.integer("output.sum_bits")? })
    }
}

/// The range of each table, `[n, 3]`, and the values of one after the other.
fn set_tables(tensors: &mut NamedTensors, tables: &[&LookupTable]) {
    let range = |table: &&LookupTable| [table.first(), table.bits().into(), table.rounded_bits().into()];
    tensors.set_integers("tables", &[tables.len(), 3], tables.iter().flat_map(range));
    let values: Vec<i64> = tables.iter().flat_map(|table| table.values()).copied().collect();
    tensors.set_integers("table_values", &[values.len()], values);
}

fn tables(tensors: &NamedTensors) -> Result<Vec<LookupTable>, Error> {
    let ([count, _], [length]) = (tensors.shape("tables")?, tensors.shape("table_values")?);
    let ranges: Vec<i64> = tensors.integers("tables", &[count, 3])?;
    let values: Vec<i64> = tensors.integers("table_values", &[length])?;
    let mut values = &values[..];
    let mut tables = Vec::with_capacity(count);
    for range in ranges.chunks_exact(3) {
        let bits = |bits: i64| u32::try_from(bits).unwrap_or(u32::MAX);
        let (first, bits, rounded_bits) = (range[0], bits(range[1]), bits(range[2]));
        // With any number of values, what is wrong with the range is an error; it tells how many there have to be.
        let needed = 1_usize << bits.saturating_sub(rounded_bits).min(LookupTable::MAX_INDEX_BITS);
        let (own, rest) = values.split_at(needed.min(values.len()));
        let table = LookupTable::new(first, bits, rounded_bits, own.to_vec())?;
        check_within("the bits that index a lookup table", table.index_bits(), 1..=*IntegerOptions::MSBS.end())?;
        tables.push(table);
        values = rest;
    }
    match values.len() {
        0 => Ok(tables),
        unused => Err(Error::out_of_range("the number of values of no table", unused, "0")),
    }
}

impl IntegerClient {
    /// The tensors that [`Self::from_tensors`] reads.
    pub(crate) fn to_tensors(self) -> NamedTensors {
        let mut tensors = NamedTensors::default();
        tensors.set_integer("levels", i64::from(self.input.levels()));
        tensors.set_reals("scale", &[], [self.input.scale()]);
        tensors.set_reals("output_scale", &[], [self.output_scale]);
        tensors.set_integer("embedding_size", self.embedding_size as i64);
        tensors.set_integer("max_tokens", self.max_tokens as i64);
        tensors
    }

    /// Reads what [`Self::to_tensors`] gives, and checks it.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfRange`], [`Error::NotFinite`].
    pub(crate) fn from_tensors(tensors: &NamedTensors) -> Result<Self, Error> {
        let levels: i32 = tensors.integer("levels")?;
        // Levels are 2^(bits−1) − 1.
        let bits = levels.unsigned_abs().checked_ilog2().map_or(0, |log| log + 2);
        let input = Quantizer::new(bits, tensors.positive_real("scale")?)?;
        let client = Self {
            input,
            output_scale: tensors.positive_real("output_scale")?,
            embedding_size: tensors.integer("embedding_size")?,
            max_tokens: tensors.integer("max_tokens")?,
        };
        if input.levels() != levels || !IntegerOptions::BITS.contains(&bits) {
            let allowed = "2^(bits−1) − 1 for bits in 2 ..= 11";
            return Err(Error::out_of_range("the largest integer of an input", levels, allowed));
        }
        check_tokens(client.max_tokens, IntegerOptions::MAX_TOKENS)?;
        Ok(client)
    }
}

impl RangeReport {
    /// Sets the tensor `ranges`, `[n, 8]`: head (−1 for all), step, observed, covered, bits, rounded bits.
    pub(crate) fn set(tensors: &mut NamedTensors, ranges: &[Self]) {
        let numbers = ranges.iter().flat_map(|report| {
            let head = report.head.map_or(-1, |head| head as i64);
            let step = steps::ALL.iter().position(|&step| step == report.step).expect("a step of the data flow");
            let IntegerRange { min, max } = report.observed;
            let (bits, rounded_bits) = (i64::from(report.bits), i64::from(report.rounded_bits));
            [head, step as i64, min, max, report.covered.min, report.covered.max, bits, rounded_bits]
        });
        tensors.set_integers("ranges", &[ranges.len(), REPORT], numbers);
    }

    /// Reads what [`Self::set`] sets.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfRange`].
    pub(crate) fn all_from(tensors: &NamedTensors) -> Result<Vec<Self>, Error> {
        let [count, _] = tensors.shape("ranges")?;
        let numbers: Vec<i64> = tensors.integers("ranges", &[count, REPORT])?;
        numbers.chunks_exact(REPORT).map(Self::read).collect()
    }

    fn read(numbers: &[i64]) -> Result<Self, Error> {
        let invalid = || Error::out_of_range("a range of an intermediate", format!("{numbers:?}"), "one of a step");
        let bits = |bits: i64| u32::try_from(bits).ok().filter(|bits| *bits < i64::BITS).ok_or_else(invalid);
        let step = usize::try_from(numbers[1]).ok().and_then(|step| steps::ALL.get(step));
        if numbers[2] > numbers[3] || numbers[4] > numbers[5] {
            return Err(invalid());
        }
        Ok(Self {
            head: usize::try_from(numbers[0]).ok(),
            step: step.copied().ok_or_else(invalid)?,
            observed: IntegerRange { min: numbers[2], max: numbers[3] },
            covered: IntegerRange { min: numbers[4], max: numbers[5] },
            bits: bits(numbers[6])?,
            rounded_bits: bits(numbers[7])?,
        })
    }
}
