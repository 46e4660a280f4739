//! The attention of a block to and from named tensors.

use super::readings::{
    Results, Sizes, UPDATES, finite, set_norm, set_stack, set_tables, stack, table, tables, weights,
};
use crate::block::attention::{AttentionProgram, HeadProgram, QueryProgram};
use crate::block::norm::NormProgram;
use crate::block::reading::Reading;
use crate::block::softmax::{Clip, SoftmaxProgram, SumTables};
use crate::error::{Error, check_within};
use crate::evaluator::{EXPONENT_FACTOR, SmoothUse};
use crate::matrix::Matrix;
use crate::named::NamedTensors;
use crate::table::{Smooth, SmoothTable};

/// How many times more turns than scores clipped exponents may have: far more than calibration gives.
const MAX_FACTOR: i64 = 1 << 16;
/// What keys of public tokens may be at most: integers that f64 holds.
const MAX_KEY: i64 = 1 << 53;

/// The tables of a head's softmax, in the order of a file.
const SOFTMAX: [Smooth; 6] = [
    Smooth::Softplus,
    Smooth::Exponential,
    Smooth::Logarithm,
    Smooth::Exponential,
    Smooth::Logarithm,
    Smooth::Exponential,
];

/// How keys are read.
const KEYS: Results =
    Results { function: Smooth::Identity, goes_on: false, result: SmoothUse::Multiplier { log_shared: 2 } };
/// How queries are, where they are looked up.
const QUERIES: Results = Results { function: Smooth::Identity, goes_on: true, result: SmoothUse::Feature };

impl AttentionProgram {
    /// Sets its tensors.
    pub(super) fn set(&self, tensors: &mut NamedTensors, at: &str) {
        set_norm(tensors, at, &self.norm);
        self.queries.set(tensors, &format!("{at}.query"));
        tensors.set_matrix(&format!("{at}.key.weight"), &self.key);
        self.keys.set(tensors, &format!("{at}.key"));
        let heads = &self.heads;
        set_stack(tensors, &format!("{at}.value.weight"), &heads.iter().map(|head| &head.value).collect::<Vec<_>>());
        if self.prefix > 0 {
            let shape = |columns: usize| [heads.len(), self.prefix, columns];
            let keys = heads.iter().flat_map(|head| head.known_keys.iter().copied());
            tensors.set_integers(&format!("{at}.known_keys"), &shape(self.key.cols() / heads.len()), keys);
            let values = heads.iter().flat_map(|head| head.known_values.iter().copied());
            tensors.set_reals(&format!("{at}.known_values"), &shape(self.key.rows()), values);
        }
        let log_factors = heads.iter().map(|head| &head.log_factor);
        set_tables(tensors, &format!("{at}.log_factor"), &[heads.len()], log_factors);
        let constants = heads.iter().map(|head| head.log_constant);
        tensors.set_reals(&format!("{at}.log_constant"), &[heads.len()], constants);
        set_softmax(tensors, &format!("{at}.softmax"), &heads.iter().map(|head| &head.softmax).collect::<Vec<_>>());
        self.update.set(tensors, &format!("{at}.update"));
    }

    /// Reads what [`Self::set`] sets.
    pub(super) fn from_tensors(
        tensors: &NamedTensors,
        (at, has_variance): (&str, bool),
        sizes: &Sizes,
    ) -> Result<Self, Error> {
        let &Sizes { channels, head_size, prefix } = sizes;
        let [count, ..] = tensors.shape::<3>(&format!("{at}.value.weight"))?;
        let size = channels - 1;
        if count.checked_mul(head_size) != Some(size) {
            let allowed = format!("{size} channels in heads of {head_size}");
            return Err(Error::out_of_range("the number of heads of a block", count, allowed));
        }
        let norm = NormProgram::from_tensors(tensors, at, (!has_variance).then_some(channels))?;
        let heads = Heads { count, sizes, factor: &norm.factor };
        Ok(Self {
            queries: QueryProgram::from_tensors(tensors, &format!("{at}.query"), &heads)?,
            key: weights(tensors, &format!("{at}.key.weight"), [channels, size])?,
            keys: Reading::from_tensors(tensors, &format!("{at}.key"), &KEYS, [size; 2])?,
            heads: heads.read(tensors, at)?,
            update: Reading::from_tensors(tensors, &format!("{at}.update"), &UPDATES, [channels; 2])?,
            prefix,
            norm,
        })
    }
}

impl QueryProgram {
    fn set(&self, tensors: &mut NamedTensors, at: &str) {
        match self {
            Self::Scaled { factor, heads } => {
                let matrices: Vec<&Matrix<i32>> = heads.iter().map(|(weight, _)| weight).collect();
                set_stack(tensors, &format!("{at}.weight"), &matrices);
                let bias: Vec<f64> = heads.iter().flat_map(|(_, bias)| bias).copied().collect();
                tensors.set_reals(&format!("{at}.bias"), &[heads.len(), bias.len() / heads.len()], bias);
                set_tables(tensors, &format!("{at}.factor"), &[], [factor]);
            }
            Self::Read { weight, reading } => {
                tensors.set_matrix(&format!("{at}.weight"), weight);
                reading.set(tensors, at);
            }
        }
    }

    fn from_tensors(tensors: &NamedTensors, at: &str, heads: &Heads<'_>) -> Result<Self, Error> {
        let &Heads { count, sizes: &Sizes { channels, head_size, .. }, .. } = heads;
        if !tensors.contains(&format!("{at}.factor")) {
            let size = channels - 1;
            return Ok(Self::Read {
                weight: weights(tensors, &format!("{at}.weight"), [channels, size])?,
                reading: Reading::from_tensors(tensors, at, &QUERIES, [size; 2])?,
            });
        }
        let factor = table(tensors, &format!("{at}.factor"), Results::multiplier(Smooth::InverseRoot))?;
        heads.check_variance(&factor)?;
        let biases = finite(tensors, &format!("{at}.bias"), &[count, head_size])?;
        let matrices = stack(tensors, &format!("{at}.weight"), [count, channels, head_size])?;
        let heads = matrices.into_iter().zip(biases.chunks(head_size).map(<[f64]>::to_vec)).collect();
        Ok(Self::Scaled { factor, heads })
    }
}

/// The heads of an attention that is read.
struct Heads<'a> {
    count: usize,
    sizes: &'a Sizes,
    /// The table of r, of the variance.
    factor: &'a SmoothTable,
}

impl Heads<'_> {
    /// Checks that another table is of the same variance.
    fn check_variance(&self, table: &SmoothTable) -> Result<(), Error> {
        let of = |table: &SmoothTable| (table.turn(), table.range());
        check_same("the variance that a block's tables read, (turn, range),", &of(table), &of(self.factor))
    }

    fn read(&self, tensors: &NamedTensors, at: &str) -> Result<Vec<HeadProgram>, Error> {
        let &Self { count, sizes: &Sizes { channels, .. }, .. } = self;
        let logarithm = [Results::read(Smooth::Logarithm)];
        let log_factors = tables(tensors, &format!("{at}.log_factor"), &[count], &logarithm)?;
        let log_constants = finite(tensors, &format!("{at}.log_constant"), &[count])?;
        let values = stack(tensors, &format!("{at}.value.weight"), [count, channels, channels])?;
        let (keys, known_values) = (self.known_keys(tensors, at)?, self.known_values(tensors, at)?);
        let softmaxes = softmaxes(tensors, &format!("{at}.softmax"), count)?;
        let parts = values.into_iter().zip(keys).zip(known_values).zip(softmaxes).enumerate();
        let head = |(index, (((value, known_keys), known_values), softmax)): (usize, (_, SoftmaxProgram))| {
            let (log_factor, log_constant) = (log_factors[index], log_constants[index]);
            self.check_variance(&log_factor)?;
            check_same("a result of the logarithm of r", &log_factor.one(), &(-0.5 / softmax.clipped_turn()))?;
            Ok(HeadProgram { value, known_keys, known_values, log_factor, log_constant, softmax })
        };
        parts.map(head).collect()
    }

    /// Of each head, the keys of public tokens.
    fn known_keys(&self, tensors: &NamedTensors, at: &str) -> Result<Vec<Matrix<i64>>, Error> {
        let &Self { count, sizes: &Sizes { head_size, prefix, .. }, .. } = self;
        let name = format!("{at}.known_keys");
        let keys = self.known(head_size, || tensors.integers::<i64>(&name, &[count, prefix, head_size]))?;
        match keys.iter().flat_map(Matrix::iter).find(|key| key.unsigned_abs() > MAX_KEY.unsigned_abs()) {
            None => Ok(keys),
            Some(key) => {
                Err(Error::out_of_range(&format!("an entry of tensor \"{name}\""), key, "at most 2^53 in size"))
            }
        }
    }

    /// Of each head, the values of public tokens.
    fn known_values(&self, tensors: &NamedTensors, at: &str) -> Result<Vec<Matrix<f64>>, Error> {
        let &Self { count, sizes: &Sizes { channels, prefix, .. }, .. } = self;
        self.known(channels, || finite(tensors, &format!("{at}.known_values"), &[count, prefix, channels]))
    }

    /// Of each head, a matrix with a row for each public token, of which `read` gives the numbers: without such tokens there is no tensor.
    fn known<T: Clone>(
        &self,
        columns: usize,
        read: impl FnOnce() -> Result<Vec<T>, Error>,
    ) -> Result<Vec<Matrix<T>>, Error> {
        let rows = self.sizes.prefix;
        let numbers = if rows == 0 { Vec::new() } else { read()? };
        let own = |head: usize| numbers[head * rows * columns..][..rows * columns].to_vec();
        (0..self.count).map(|head| Matrix::new(rows, columns, own(head))).collect()
    }
}

fn set_softmax(tensors: &mut NamedTensors, at: &str, heads: &[&SoftmaxProgram]) {
    let tables = |head: &'_ SoftmaxProgram| {
        let [first, second] = &head.sums;
        let sums = [first.exponential, first.logarithm, second.exponential, second.logarithm];
        [head.softplus].into_iter().chain(sums).chain([head.probability])
    };
    let all: Vec<SmoothTable> = heads.iter().flat_map(|head| tables(head)).collect();
    set_tables(tensors, &format!("{at}.tables"), &[heads.len(), SOFTMAX.len()], &all);
    let factors = heads.iter().flat_map(|head| [head.exponent_factor, head.clipped_factor]);
    tensors.set_integers(&format!("{at}.factors"), &[heads.len(), 2], factors);
    let clips: Vec<(usize, &Clip)> =
        heads.iter().enumerate().filter_map(|(index, head)| Some((index, head.clip.as_ref()?))).collect();
    // No tensor has no entry.
    if !clips.is_empty() {
        let indices = clips.iter().map(|&(index, _)| index as i64);
        tensors.set_integers(&format!("{at}.clip.heads"), &[clips.len()], indices);
        set_tables(tensors, &format!("{at}.clip.tables"), &[clips.len()], clips.iter().map(|(_, clip)| &clip.below));
    }
}

fn softmaxes(tensors: &NamedTensors, at: &str, count: usize) -> Result<Vec<SoftmaxProgram>, Error> {
    let results: Vec<Results> = SOFTMAX.into_iter().map(Results::read).collect();
    let mut results = results;
    results[SOFTMAX.len() - 1] = Results::multiplier(Smooth::Exponential);
    let tables = tables(tensors, &format!("{at}.tables"), &[count, SOFTMAX.len()], &results)?;
    let factors: Vec<i64> = tensors.integers(&format!("{at}.factors"), &[count, 2])?;
    let mut clips = clips(tensors, &format!("{at}.clip"), count)?.into_iter().peekable();
    let heads = tables.as_chunks().0.iter().zip(factors.as_chunks().0).enumerate();
    let head = |(index, (tables, factors)): (usize, (&[SmoothTable; SOFTMAX.len()], &[i64; 2]))| {
        let clip = clips.next_if(|&(head, _)| head == index).map(|(_, below)| below);
        SoftmaxProgram::of_tables(tables, factors, clip)
    };
    heads.map(head).collect()
}

/// The tables by which exponents are clipped, of the heads that have one.
fn clips(tensors: &NamedTensors, at: &str, count: usize) -> Result<Vec<(usize, SmoothTable)>, Error> {
    let name = format!("{at}.heads");
    if !tensors.contains(&name) {
        return Ok(Vec::new());
    }
    let [clipped] = tensors.shape(&name)?;
    let heads: Vec<usize> = tensors.integers(&name, &[clipped])?;
    if !heads.is_sorted_by(|one, next| one < next) || heads.iter().any(|head| *head >= count) {
        let allowed = format!("numbers below {count}, in order");
        return Err(Error::out_of_range(&format!("the heads of tensor \"{name}\""), format!("{heads:?}"), allowed));
    }
    let below = Results::read(Smooth::Below).continued();
    Ok(heads.into_iter().zip(tables(tensors, &format!("{at}.tables"), &[clipped], &[below])?).collect())
}

impl SoftmaxProgram {
    /// Of tables that belong together: results of one are what the next one reads.
    fn of_tables(
        &[softplus, first, first_log, second, second_log, probability]: &[SmoothTable; SOFTMAX.len()],
        &[exponent_factor, clipped_factor]: &[i64; 2],
        below: Option<SmoothTable>,
    ) -> Result<Self, Error> {
        check_within("the factor of exponents", exponent_factor, 1..=EXPONENT_FACTOR)?;
        check_within("the factor of clipped exponents", clipped_factor, 1..=MAX_FACTOR)?;
        let score_turn = softplus.turn();
        let [exponent_turn, clipped_turn] = [exponent_factor, clipped_factor].map(|factor| score_turn / factor as f64);
        let same = |what: &str, found: f64, expected: f64| check_same(what, &found, &expected);
        for (exponential, turn) in [(first, exponent_turn), (second, clipped_turn), (probability, clipped_turn)] {
            same("a turn of an exponent", exponential.turn(), turn)?;
        }
        for (logarithm, exponential, turn) in [(first_log, first, score_turn), (second_log, second, clipped_turn)] {
            same("a turn of a sum of exponentials", logarithm.turn(), 1.0 / exponential.one())?;
            same("a result of the logarithm of a sum", logarithm.one(), 1.0 / turn)?;
        }
        if let Some(below) = &below {
            same("a turn of an exponent that is clipped", below.turn(), exponent_turn)?;
            same("a result of clipping", below.one(), 1.0 / score_turn)?;
        }
        // What is added before is what the largest argument, an exponent of zero, is then.
        let clip = below.map(|below| Clip { constant: below.range()[1], below });
        let sums = [(first, first_log), (second, second_log)];
        let sums = sums.map(|(exponential, logarithm)| SumTables { exponential, logarithm });
        Ok(Self { score_turn, softplus, sums, clip, exponent_factor, clipped_factor, probability })
    }
}

/// Checks what follows from another number of a file.
fn check_same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::out_of_range(what, format!("{found:?}"), format!("{expected:?}, as other tables of the block say")))
}
