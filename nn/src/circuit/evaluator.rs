//! What programs ask of whoever computes them: one small set of operations.
//!
//! An attention is a data flow, written once as a function over [`Evaluator`]. In this crate
//! [`ClearEvaluator`](crate::clear::ClearEvaluator) computes it on plain numbers; elsewhere the same function runs on ciphertexts, on
//! numbers with the noise that ciphertexts would have, or on nothing, to count.
//!
//! | operation | of | on ciphertexts |
//! |---|---|---|
//! | [`linear`](Evaluator::linear) | x·W + b | products with plaintext polynomials |
//! | [`multiply`](Evaluator::multiply) | a·b | products of ciphertexts |
//! | [`weigh`](Evaluator::weigh) | Σ p·v | external products |
//! | [`lanes`](Evaluator::lanes) | single numbers | sample extraction |
//! | [`look_up`](Evaluator::look_up) | f(x) | bootstrapping |
//! | [`pack`](Evaluator::pack) | many numbers together | packing by automorphisms |
//! | [`add_scaled`](Evaluator::add_scaled), [`add_constants`](SmoothEvaluator::add_constants), [`add`](BlockEvaluator::add) | sums | sums |
//! | [`scale_rows`](BlockEvaluator::scale_rows) | r·x | external products |
//!
//! # Two ways to hold numbers
//! Numbers are integers, each read by tables of integers ([`LookupTable`](crate::table::LookupTable)), or they count in *turns*, of
//! which only the fraction matters, and are read by smooth tables ([`SmoothTable`]). A program is written for one of the two, and says so
//! by [`Evaluator::Table`].

use crate::matrix::Matrix;
use crate::table::SmoothTable;

/// Rows of numbers, not all of one length: row i of scores has as many entries as token i sees.
pub type Rows<L> = Vec<Vec<L>>;

/// What a lookup's result is needed for. Of integers it fixes the scale that the result must be at; results of smooth tables have their
/// own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Use {
    /// The largest `bits` of the tables that the result, or a sum it is part of, is the input of.
    pub lookup_bits: Option<u32>,
    /// When the result is an entry of a factor of [`Evaluator::multiply`].
    pub factor: Option<FactorUse>,
    /// When the result is a term of sums with known weights.
    pub term: Option<TermUse>,
    /// What a result of a smooth table is for.
    pub smooth: SmoothUse,
}

/// What becomes of a result of a smooth table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SmoothUse {
    /// It is read by tables, alone or in sums: any noise that they bear will do.
    #[default]
    Read,
    /// It is packed, and sums of it with known weights are read.
    Feature,
    /// It is packed, and added to what all later layers read: with the least noise.
    Update,
    /// It is rounded to an integer, and multiplies. The rounding takes place at the argument: it is one and the same integer wherever the
    /// result is needed several times.
    Multiplier {
        /// 2^this many of the several lookups that a multiplier takes are done in one, which rounds the argument by as much more.
        log_shared: u32,
    },
}

/// A factor of a product of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactorUse {
    /// The entries of the product (sums of products, and every partial sum's final value) fit, with their sign,
    /// in the modulus 2^(product_bits+1).
    pub product_bits: u32,
    /// The sum and the difference of one entry of each factor lie in `−2^operand_bits/2 .. 2^operand_bits/2`.
    pub operand_bits: u32,
}

/// A term of sums with known weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermUse {
    /// The sums fit, with their sign, in the modulus 2^(sum_bits+1).
    pub sum_bits: u32,
    /// The largest Σ w² of the weights of one sum: what the variance of its terms' errors is multiplied by.
    pub squared_weights: u64,
}

impl FactorUse {
    /// What suits both: factors of two products, made alike.
    pub fn union(self, other: Self) -> Self {
        Self {
            product_bits: self.product_bits.max(other.product_bits),
            operand_bits: self.operand_bits.max(other.operand_bits),
        }
    }
}

impl Use {
    /// Input of tables of at most `bits` bits.
    pub fn lookup(bits: u32) -> Self {
        Self { lookup_bits: Some(bits), ..Self::default() }
    }

    /// Factor of a product.
    pub fn factor(factor: FactorUse) -> Self {
        Self { factor: Some(factor), ..Self::default() }
    }

    /// Term of sums.
    pub fn term(term: TermUse) -> Self {
        Self { term: Some(term), ..Self::default() }
    }

    /// Of a result of a smooth table.
    pub fn smooth(smooth: SmoothUse) -> Self {
        Self { smooth, ..Self::default() }
    }
}

/// Which factor of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Its rows meet the right one's columns.
    Left,
    /// The other, `[m, p]`. Of cyclic factors it is held transposed, `[p, m]`: a row for each column of the product.
    Right,
}

/// What a tensor is made for: where its numbers lie, and at what scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// Integers to be taken apart, or decrypted, each fit with its sign for the modulus 2^(bits+1): the input of tables of `bits` bits.
    Integers {
        /// Bits, without the sign.
        bits: u32,
    },
    /// A factor of integers.
    Factor(Side, FactorUse),
    /// A factor of products that count modulo 2^log_modulus, which is one turn.
    Cyclic(Side, u32),
    /// What [`Evaluator::weigh`] weighs, in integers.
    Weighed {
        /// The root mean square of a row's norm that is to be expected.
        norm: f64,
    },
    /// What it weighs with, in turns.
    Weights,
    /// Terms of sums with known weights.
    Terms(TermUse),
    /// In turns, what maps of whole blocks read.
    Features,
    /// What such a map gives, in turns.
    Image,
    /// The same, to be multiplied with [`Form::Keys`].
    Queries,
    /// Integers that multiply: each row as a whole, in products with [`Form::Queries`]. A right factor, held transposed.
    Keys,
    /// Integers that multiply, each by itself: rows with one number each for [`BlockEvaluator::scale_rows`], or what
    /// [`Evaluator::weigh`] weighs images with.
    Multipliers,
}

/// x ↦ x·W + b.
#[derive(Clone, Copy, Debug)]
pub struct LinearMap<'a> {
    /// `[E, C]`.
    pub weight: &'a Matrix<i32>,
    /// `[C]`, or empty for none; in units of the result.
    pub bias: &'a [i64],
    /// What the result is made for.
    pub form: Form,
}

impl LinearMap<'_> {
    /// Of integers, exactly: `[T, E] -> [T, C]`.
    pub fn apply(&self, input: &Matrix<i32>) -> Matrix<i64> {
        let mut result = input.multiply_exact(self.weight);
        for row in 0..result.rows() {
            result.row_mut(row).iter_mut().zip(self.bias).for_each(|(x, bias)| *x += bias);
        }
        result
    }
}

/// Which entries of a product are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// All.
    All,
    /// Of row i, those up to column i, from row `first` on.
    Causal {
        /// The first row.
        first: usize,
    },
    /// Of row i, those up to column `earlier` + i.
    After {
        /// How many columns come before the first row's own.
        earlier: usize,
    },
}

impl Entries {
    /// The rows of a product with `rows` rows, each with how many of `columns` entries are needed.
    pub fn rows(self, rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
        let (first, seen) = match self {
            Self::All => (0, None),
            Self::Causal { first } => (first, Some(0)),
            Self::After { earlier } => (0, Some(earlier)),
        };
        (first..rows).map(move |row| (row, seen.map_or(columns, |earlier| columns.min(earlier + row + 1))))
    }
}

/// Computes programs.
///
/// An evaluator takes the forms that programs over its tables use, in the order in which they use them; it panics at others, which are a
/// mistake of the program and not of its input.
///
/// A method that takes time names the step it is for, so that progress and time can be reported by step. Operations that are asked for
/// together are independent of each other, and computed together.
pub trait Evaluator {
    /// Numbers that are held together: a matrix, in the [`Form`] it was made for.
    type Tensor;
    /// One number.
    type Lane: Clone + Send + Sync;
    /// What is looked up.
    type Table;
    /// Why a computation could not be finished.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Linear maps of one tensor: `[T, E] -> [T, C]` each. The tensor is the input, or was packed as [`Form::Terms`].
    ///
    /// # Errors
    /// The evaluator's.
    fn linear(
        &mut self,
        step: &'static str,
        input: &Self::Tensor,
        maps: &[LinearMap<'_>],
    ) -> Result<Vec<Self::Tensor>, Self::Error>;

    /// The products of pairs of factors, `[n, m] × [m, p] -> [n, p]`: the entries that are needed. A left factor's row may be shorter than
    /// m: what is not there is zero.
    ///
    /// # Errors
    /// The evaluator's.
    fn multiply(
        &mut self,
        step: &'static str,
        factors: Vec<[Self::Tensor; 2]>,
        entries: Entries,
    ) -> Result<Vec<Self::Tensor>, Self::Error>;

    /// Σ_j weights_ij·values_j for each row i of weights, added to `sum`: values are `[m, p]`, and row i weighs its first ones. Either
    /// [`Form::Weights`] and [`Form::Weighed`], or two factors of integers.
    ///
    /// # Errors
    /// The evaluator's.
    fn weigh(
        &mut self,
        step: &'static str,
        weights: Self::Tensor,
        values: Self::Tensor,
        sum: Option<Self::Tensor>,
    ) -> Result<Self::Tensor, Self::Error>;

    /// The numbers of a map's result, of a product, or of a weighted sum, one by one.
    fn lanes(&mut self, tensor: Self::Tensor) -> Rows<Self::Lane>;

    /// Numbers together.
    fn pack(&mut self, rows: Rows<Self::Lane>, form: Form) -> Self::Tensor;

    /// Table `i` at lane `i`. Tables may differ in width.
    ///
    /// # Errors
    /// The evaluator's.
    fn look_up(
        &mut self,
        step: &'static str,
        lanes: &[Self::Lane],
        tables: &[&Self::Table],
        result: Use,
    ) -> Result<Vec<Self::Lane>, Self::Error>;

    /// `sum += factor·other`.
    fn add_scaled(&self, sum: &mut Self::Lane, other: &Self::Lane, factor: i64);
}

/// What programs over smooth tables ask besides: known numbers, in turns.
pub trait SmoothEvaluator: Evaluator<Table = SmoothTable> {
    /// A known number, in turns.
    fn constant(&self, turns: f64) -> Self::Lane;

    /// Adds the same numbers to each row of weighted sums, in turns: `[T, C] + [C]`. It is what programs end with.
    ///
    /// # Errors
    /// The evaluator's.
    fn add_constants(
        &mut self,
        step: &'static str,
        tensor: Self::Tensor,
        turns: &[f64],
    ) -> Result<Self::Tensor, Self::Error>;
}

/// What programs of whole blocks ask besides. Their numbers are real, in turns, and stay at full width from one layer to the next; what
/// they are multiplied by, with known weights or with [`Form::Multipliers`] and [`Form::Keys`], is integers.
pub trait BlockEvaluator: SmoothEvaluator<Tensor: Clone> + Sized {
    /// Each row times its own integer: `[T, C]`, and multipliers `[T, 1]`.
    ///
    /// # Errors
    /// The evaluator's.
    fn scale_rows(
        &mut self,
        step: &'static str,
        tensor: Self::Tensor,
        multipliers: &Self::Tensor,
    ) -> Result<Self::Tensor, Self::Error>;

    /// `sum += other`, of one shape and form.
    fn add(&mut self, sum: &mut Self::Tensor, other: &Self::Tensor);

    /// The rows of one tensor, and below them those of another of the same form.
    fn append(&mut self, above: &mut Self::Tensor, below: Self::Tensor);

    /// The last row of real numbers or multipliers: `[n, C] -> [1, C]`.
    fn last_row(&mut self, tensor: &Self::Tensor) -> Self::Tensor;

    /// Rows of features without their last number, and these: `[n, C] -> [n, C - 1]` and `[n]`.
    fn split_last(&mut self, tensor: &Self::Tensor) -> (Self::Tensor, Vec<Self::Lane>);

    /// Takes note that a program ends with these real numbers: they are decrypted modulo one turn, and should be at most `limit` turns
    /// from zero.
    fn note_decrypted(&mut self, step: &'static str, tensor: &Self::Tensor, limit: f64);

    /// A program goes on with block `index` of its blocks. Nothing depends on that but what watches it.
    fn enter_block(&mut self, _index: usize) {}

    /// Known numbers: integers of [`Form::Keys`] or [`Form::Multipliers`], or turns.
    fn known(&mut self, rows: Rows<f64>, form: Form) -> Self::Tensor;
}

/// The table of each row on all its entries, of rows of different lengths, in one call.
pub(crate) fn look_up_rows<E: Evaluator>(
    evaluator: &mut E,
    step: &'static str,
    rows: &[Vec<E::Lane>],
    tables: &[&E::Table],
    result: Use,
) -> Result<Rows<E::Lane>, E::Error> {
    assert_eq!(rows.len(), tables.len(), "one table to a row");
    let repeated: Vec<Vec<&E::Table>> = rows.iter().zip(tables).map(|(row, &table)| vec![table; row.len()]).collect();
    look_up_each(evaluator, step, rows, &repeated.iter().map(Vec::as_slice).collect::<Vec<_>>(), result)
}

/// The table of each entry of each row, in one call.
pub(crate) fn look_up_each<E: Evaluator>(
    evaluator: &mut E,
    step: &'static str,
    rows: &[Vec<E::Lane>],
    tables: &[&[&E::Table]],
    result: Use,
) -> Result<Rows<E::Lane>, E::Error> {
    let lanes: Vec<E::Lane> = rows.iter().flatten().cloned().collect();
    if lanes.is_empty() {
        return Ok(rows.to_vec());
    }
    let mut results = evaluator.look_up(step, &lanes, &tables.concat(), result)?.into_iter();
    Ok(rows.iter().map(|row| results.by_ref().take(row.len()).collect()).collect())
}

/// One number of each row, all rows together, from b + f(a − b) of a and b: by a balanced tree over neighbours until a number stands for
/// `group` entries, a power of two, and then one group after the other, from the last. `look_up` is f of the differences of each row.
pub(crate) fn tree<E: Evaluator>(
    evaluator: &mut E,
    mut rows: Rows<E::Lane>,
    group: usize,
    mut look_up: impl FnMut(&mut E, &[Vec<E::Lane>]) -> Result<Rows<E::Lane>, E::Error>,
) -> Result<Vec<E::Lane>, E::Error> {
    let mut merge = |evaluator: &mut E, pairs: Rows<[E::Lane; 2]>| {
        let difference = |[mut a, b]: [E::Lane; 2]| {
            evaluator.add_scaled(&mut a, &b, -1);
            (a, b)
        };
        let (differences, mut merged): (Rows<E::Lane>, Rows<E::Lane>) =
            pairs.into_iter().map(|row| row.into_iter().map(difference).unzip()).unzip();
        let found = look_up(evaluator, &differences)?;
        for (b, found) in merged.iter_mut().flatten().zip(found.iter().flatten()) {
            evaluator.add_scaled(b, found, 1);
        }
        Ok(merged)
    };
    let mut entries = 1;
    while rows.iter().any(|row| row.len() > 1) && entries < group {
        let singles: Vec<Option<E::Lane>> =
            rows.iter_mut().map(|row| if row.len() % 2 == 1 { row.pop() } else { None }).collect();
        let pairs = |row: Vec<E::Lane>| {
            let mut row = row.into_iter();
            std::iter::from_fn(|| Some([row.next()?, row.next()?])).collect()
        };
        rows = merge(evaluator, rows.into_iter().map(pairs).collect())?;
        rows.iter_mut().zip(singles).for_each(|(row, single)| row.extend(single));
        entries *= 2;
    }
    while rows.iter().any(|row| row.len() > 1) {
        let last = |row: &mut Vec<E::Lane>| match (row.len() > 1).then(|| row.split_off(row.len() - 2)) {
            Some(pair) => Vec::from_iter(<[E::Lane; 2]>::try_from(pair)),
            None => Vec::new(),
        };
        let merged = merge(evaluator, rows.iter_mut().map(last).collect())?;
        rows.iter_mut().zip(merged).for_each(|(row, merged)| row.extend(merged));
    }
    Ok(rows.into_iter().flatten().collect())
}

/// How many times more turns an exponential's argument has than a difference of scores: it has one sign only.
pub(crate) const EXPONENT_FACTOR: i64 = 2;

/// s − L of the scores of each row and its logarithm, in an exponential's turns: as many times more than a difference of scores has as the
/// row's factor says.
pub(crate) fn exponents<E: Evaluator>(
    evaluator: &E,
    mut scores: Rows<E::Lane>,
    logarithms: &[E::Lane],
    factors: impl IntoIterator<Item = i64>,
) -> Rows<E::Lane> {
    for ((row, logarithm), factor) in scores.iter_mut().zip(logarithms).zip(factors) {
        for score in row {
            evaluator.add_scaled(score, logarithm, -1);
            let single = score.clone();
            evaluator.add_scaled(score, &single, factor - 1);
        }
    }
    scores
}
