//! Weights, tables, and how they read channels, to and from named tensors.

use crate::block::norm::NormProgram;
use crate::block::reading::{ChannelArgument, Reading};
use crate::error::{Error, check_within};
use crate::evaluator::SmoothUse;
use crate::matrix::Matrix;
use crate::named::NamedTensors;
use crate::table::{Smooth, SmoothTable};

/// What weights may be at most: far more than calibration gives, and sums of their products stay exact.
const MAX_WEIGHT: i32 = 1 << 20;
/// What constants, and numbers of public tokens, may be at most, in turns: their fractions have a millionth of a turn left in f64.
const MAX_TURNS: f64 = (1_u64 << 32) as f64;
/// How many times more a channel may be read: calibration takes at most as many.
const MAX_MULTIPLE: u64 = 1 << 40;
/// The numbers of a table in a tensor.
const TABLE: usize = 4;

/// Sizes that all blocks of a program have in common.
pub(super) struct Sizes {
    /// E + 1.
    pub(super) channels: usize,
    /// d.
    pub(super) head_size: usize,
    /// P.
    pub(super) prefix: usize,
}

/// What tables of a place have in common.
#[derive(Clone, Copy)]
pub(super) struct Results {
    pub(super) function: Smooth,
    /// Whether they go on without a jump where their half turn ends.
    pub(super) goes_on: bool,
    /// What becomes of results.
    pub(super) result: SmoothUse,
}

impl Results {
    /// A table whose results multiply.
    pub(super) fn multiplier(function: Smooth) -> Self {
        Self { function, goes_on: false, result: SmoothUse::Multiplier { log_shared: 0 } }
    }

    /// A table whose results are read by others.
    pub(super) fn read(function: Smooth) -> Self {
        Self { function, goes_on: false, result: SmoothUse::Read }
    }

    /// The same where it goes on without a jump.
    pub(super) fn continued(self) -> Self {
        Self { goes_on: true, ..self }
    }

    fn table(&self, parameters: [f64; TABLE]) -> Result<SmoothTable, Error> {
        let table = SmoothTable::from_parameters(self.function, self.goes_on, parameters)?;
        if matches!(self.result, SmoothUse::Multiplier { .. }) {
            table.check_integers()?;
        }
        Ok(table)
    }
}

/// How updates of the stream are.
pub(super) const UPDATES: Results = Results { function: Smooth::Identity, goes_on: true, result: SmoothUse::Update };

/// Sets tables of any shape: `[..., 4]`.
pub(super) fn set_tables<'a>(
    tensors: &mut NamedTensors,
    name: &str,
    shape: &[usize],
    tables: impl IntoIterator<Item = &'a SmoothTable>,
) {
    let shape = [shape, &[TABLE]].concat();
    tensors.set_reals(name, &shape, tables.into_iter().flat_map(SmoothTable::parameters));
}

/// Tables of a shape, of which `results` says what they are, in order and again from the beginning.
pub(super) fn tables(
    tensors: &NamedTensors,
    name: &str,
    shape: &[usize],
    results: &[Results],
) -> Result<Vec<SmoothTable>, Error> {
    let numbers = tensors.reals(name, &[shape, &[TABLE]].concat())?;
    let parameters = numbers.as_chunks::<TABLE>().0.iter();
    let table = |(&parameters, results): (&[f64; TABLE], &Results)| {
        results.table(parameters).map_err(|error| error.of(&format!("a table of tensor \"{name}\"")))
    };
    parameters.zip(results.iter().cycle()).map(table).collect()
}

/// One table.
pub(super) fn table(tensors: &NamedTensors, name: &str, results: Results) -> Result<SmoothTable, Error> {
    Ok(tables(tensors, name, &[], &[results])?.remove(0))
}

/// Real numbers in turns.
pub(super) fn finite(tensors: &NamedTensors, name: &str, shape: &[usize]) -> Result<Vec<f64>, Error> {
    let values = tensors.reals(name, shape)?;
    match values.iter().find(|value| value.abs() > MAX_TURNS) {
        None => Ok(values),
        Some(value) => {
            let what = format!("an entry of tensor \"{name}\"");
            Err(Error::out_of_range(&what, value, "at most 2^32 turns in size"))
        }
    }
}

/// Checks entries of a tensor that multiply.
pub(super) fn check_weights(name: &str, weights: &[i32]) -> Result<(), Error> {
    match weights.iter().find(|weight| weight.unsigned_abs() > MAX_WEIGHT.unsigned_abs()) {
        None => Ok(()),
        Some(weight) => Err(Error::out_of_range(&format!("a weight of tensor \"{name}\""), weight, "at most 2^20")),
    }
}

/// The weights of a map.
pub(super) fn weights(tensors: &NamedTensors, name: &str, [rows, cols]: [usize; 2]) -> Result<Matrix<i32>, Error> {
    let entries = tensors.integers(name, &[rows, cols])?;
    check_weights(name, &entries)?;
    Matrix::new(rows, cols, entries)
}

/// Sets matrices of one shape, one below the other.
pub(super) fn set_stack(tensors: &mut NamedTensors, name: &str, matrices: &[&Matrix<i32>]) {
    let (rows, cols) = matrices.first().map_or((0, 0), |matrix| (matrix.rows(), matrix.cols()));
    let entries = matrices.iter().flat_map(|matrix| matrix.iter().map(|&entry| i64::from(entry)));
    tensors.set_integers(name, &[matrices.len(), rows, cols], entries);
}

/// The weights of several maps of one shape.
pub(super) fn stack(
    tensors: &NamedTensors,
    name: &str,
    [count, rows, cols]: [usize; 3],
) -> Result<Vec<Matrix<i32>>, Error> {
    let entries: Vec<i32> = tensors.integers(name, &[count, rows, cols])?;
    check_weights(name, &entries)?;
    entries.chunks(rows * cols).map(|entries| Matrix::new(rows, cols, entries.to_vec())).collect()
}

impl Reading {
    /// Sets its tensors.
    pub(super) fn set(&self, tensors: &mut NamedTensors, at: &str) {
        let count = self.channels.len();
        let terms: Vec<i64> = (0..)
            .zip(&self.channels)
            .flat_map(|(argument, channel)| {
                channel.terms.iter().flat_map(move |&(channel, multiple)| [argument, channel as i64, multiple])
            })
            .collect();
        tensors.set_integers(&format!("{at}.terms"), &[terms.len() / 3, 3], terms);
        let constants = self.channels.iter().map(|channel| channel.constant);
        tensors.set_reals(&format!("{at}.constants"), &[count], constants);
        set_tables(tensors, &format!("{at}.tables"), &[count], self.tables());
    }

    /// Reads what [`Self::set`] sets: so many arguments, of a row of so many channels.
    pub(super) fn from_tensors(
        tensors: &NamedTensors,
        at: &str,
        results: &Results,
        [arguments, channels]: [usize; 2],
    ) -> Result<Self, Error> {
        let constants = finite(tensors, &format!("{at}.constants"), &[arguments])?;
        let tables = tables(tensors, &format!("{at}.tables"), &[arguments], &[*results])?;
        let name = format!("{at}.terms");
        let [count, _] = tensors.shape(&name)?;
        let numbers: Vec<i64> = tensors.integers(&name, &[count, 3])?;
        let mut terms = numbers.as_chunks::<3>().0.iter().peekable();
        let argument = |(index, (constant, table)): (usize, (f64, SmoothTable))| {
            let mut own = Vec::new();
            while let Some(&[_, channel, multiple]) = terms.next_if(|term| term[0] == index as i64) {
                own.push(checked_term(&name, channel, multiple, channels)?);
            }
            match own.is_empty() {
                false => Ok(ChannelArgument { terms: own, constant, table }),
                true => Err(wrong_terms(&name)),
            }
        };
        let read = constants.into_iter().zip(tables).enumerate().map(argument).collect::<Result<_, _>>()?;
        if terms.next().is_some() {
            return Err(wrong_terms(&name));
        }
        Ok(Self { channels: read, result: results.result })
    }
}

fn checked_term(name: &str, channel: i64, multiple: i64, channels: usize) -> Result<(usize, i64), Error> {
    let channel = usize::try_from(channel).ok().filter(|channel| *channel < channels);
    let channel =
        channel.ok_or_else(|| Error::out_of_range(&format!("a channel of tensor \"{name}\""), "none", "a channel"))?;
    if multiple == 0 || multiple.unsigned_abs() > MAX_MULTIPLE {
        let allowed = "at least 1 and at most 2^40 in size";
        return Err(Error::out_of_range(&format!("a multiple of tensor \"{name}\""), multiple, allowed));
    }
    Ok((channel, multiple))
}

fn wrong_terms(name: &str) -> Error {
    let what = format!("the order of the arguments of tensor \"{name}\"");
    Error::out_of_range(&what, "another", "0, 1, 2 and so on up to the last one, each with a term at least")
}

/// Sets the tensors of a LayerNorm's factor.
pub(super) fn set_norm(tensors: &mut NamedTensors, at: &str, norm: &NormProgram) {
    // The first of all has none.
    if let Some(squares) = &norm.squares {
        squares.set(tensors, &format!("{at}.norm.squares"));
    }
    tensors.set_reals(&format!("{at}.norm.epsilon"), &[], [norm.epsilon]);
    set_tables(tensors, &format!("{at}.norm.factor"), &[], [&norm.factor]);
}

impl NormProgram {
    /// Reads what [`set_norm`] sets, where `channels` is E + 1, or the variance is sent.
    pub(super) fn from_tensors(tensors: &NamedTensors, at: &str, channels: Option<usize>) -> Result<Self, Error> {
        let squares = |channels: usize| {
            let squares = format!("{at}.norm.squares");
            let [count] = tensors.shape(&format!("{squares}.constants"))?;
            check_within("the number of squares of a LayerNorm", count, 1..=channels)?;
            let results = Results::read(Smooth::Square).continued();
            Reading::from_tensors(tensors, &squares, &results, [count, channels])
        };
        let epsilon = finite(tensors, &format!("{at}.norm.epsilon"), &[])?[0];
        if epsilon < 0.0 {
            return Err(Error::out_of_range("the epsilon of a LayerNorm", epsilon, "at least 0"));
        }
        Ok(Self {
            squares: channels.map(squares).transpose()?,
            epsilon,
            factor: table(tensors, &format!("{at}.norm.factor"), Results::multiplier(Smooth::InverseRoot))?,
        })
    }
}
