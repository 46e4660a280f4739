//! What the integer attention asks of whoever computes it.
//!
//! It ([`crate::integer`]) is a data flow: matrix products, sums and table lookups on integers. It is
//! written once, over [`Engine`]. In this crate [`ClearEngine`](crate::clear::ClearEngine) computes it on
//! plain integers; elsewhere the same data flow runs on whatever represents an integer there.
//!
//! # Integers modulo a power of two
//!
//! A table reads its input modulo 2^(bits+1) and is *negacyclic*: with `first` the smallest input of the table,
//! `f(m + 2^bits) = −f(m)` for `m` in `[first, first + 2^bits)`. An input inside the table's range never sees
//! this; an input outside it gets a defined, wrong answer, the same from every engine.
//! [`LookupTable::evaluate`] is that definition.

use crate::error::Error;
use crate::matrix::Matrix;

/// A function of an integer, by its values on `first .. first + 2^bits`.
///
/// When `rounded_bits > 0` the input is first rounded to a multiple of `2^rounded_bits` (counted from `first`,
/// halves upward), exactly, and `values` has one entry per multiple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupTable {
    first: i64,
    bits: u32,
    rounded_bits: u32,
    values: Vec<i64>,
}

impl LookupTable {
    /// The most input bits a table may have (after rounding it is at most [`Self::MAX_INDEX_BITS`]).
    pub const MAX_BITS: u32 = 24;
    /// The most bits a table is indexed with.
    pub const MAX_INDEX_BITS: u32 = 16;
    /// What |first| and |value| may be at most: sums and differences of such numbers are far from overflowing.
    const MAX_ABS: u64 = 1 << 40;

    /// The table of `values` on `first .. first + 2^bits`, of which `rounded_bits` low bits are rounded away.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if it is wider than tables may be, or `first` or a value is more than 2^40 in size;
    /// [`Error::Shape`] if there are not `2^(bits − rounded_bits)` values.
    pub fn new(first: i64, bits: u32, rounded_bits: u32, values: Vec<i64>) -> Result<Self, Error> {
        if !Self::size_is_valid(bits, rounded_bits) || first.unsigned_abs() > Self::MAX_ABS {
            let found = format!("[{first}, {first} + 2^{bits}) with {rounded_bits} bits rounded away");
            return Err(Error::out_of_range("the range of a lookup table", found, "of at most 24 bits"));
        }
        if values.len() != 1 << (bits - rounded_bits) {
            let expected = format!("2^{} values", bits - rounded_bits);
            return Err(Error::shape("a lookup table", expected, &[values.len()]));
        }
        if let Some(value) = values.iter().find(|value| value.unsigned_abs() > Self::MAX_ABS) {
            return Err(Error::out_of_range("a value of a lookup table", value, "at most 2^40 in size"));
        }
        Ok(Self { first, bits, rounded_bits, values })
    }

    /// Tabulates `function` on `first .. first + 2^bits`. With `rounded_bits = l > 0`, `function` is called on the
    /// rounded inputs `first + 2^l·i`, for `i` in `0 .. 2^(bits − l)`.
    ///
    /// # Panics
    /// If `bits > MAX_BITS`, `rounded_bits >= bits` or `bits - rounded_bits > MAX_INDEX_BITS`.
    pub fn tabulate(first: i64, bits: u32, rounded_bits: u32, function: impl Fn(i64) -> i64) -> Self {
        assert!(Self::size_is_valid(bits, rounded_bits), "a table of {bits} bits, {rounded_bits} of them rounded away");
        let values = (0..1_i64 << (bits - rounded_bits)).map(|i| function(first + (i << rounded_bits))).collect();
        Self { first, bits, rounded_bits, values }
    }

    fn size_is_valid(bits: u32, rounded_bits: u32) -> bool {
        bits <= Self::MAX_BITS && rounded_bits < bits && bits - rounded_bits <= Self::MAX_INDEX_BITS
    }

    /// The smallest input of the table.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// log2 of the number of inputs.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// How many low bits are rounded away before the table is read.
    pub fn rounded_bits(&self) -> u32 {
        self.rounded_bits
    }

    /// log2 of the number of values: `bits − rounded_bits`.
    pub fn index_bits(&self) -> u32 {
        self.bits - self.rounded_bits
    }

    /// The values, `2^index_bits` of them.
    pub fn values(&self) -> &[i64] {
        &self.values
    }

    /// The largest |value|.
    pub fn max_abs_value(&self) -> i64 {
        self.values.iter().map(|v| v.abs()).max().unwrap_or(0)
    }

    /// Whether `input` lies in `first .. first + 2^bits` and stays there when rounded.
    pub fn contains(&self, input: i64) -> bool {
        let offset = input - self.first + self.rounding_offset();
        (0..1_i64 << self.bits).contains(&offset)
    }

    /// What is added before the low bits are cut off: half of `2^rounded_bits`, or 0 without rounding.
    pub fn rounding_offset(&self) -> i64 {
        if self.rounded_bits == 0 { 0 } else { 1 << (self.rounded_bits - 1) }
    }

    /// f(input), negacyclic outside the range. O(1).
    pub fn evaluate(&self, input: i64) -> i64 {
        let offset = (input - self.first + self.rounding_offset()).rem_euclid(1 << (self.bits + 1));
        let index = (offset >> self.rounded_bits) as usize;
        let half = self.values.len();
        if index < half { self.values[index] } else { -self.values[index - half] }
    }
}

/// What a lookup's result is needed for, which fixes the modulus it must be represented with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Use {
    /// The largest `bits` of the tables that the result, or a sum it is part of, is the input of.
    pub lookup_bits: Option<u32>,
    /// When the result is a factor of a [`Engine::matrix_products`].
    pub factor: Option<FactorUse>,
    /// When the result is a term of [`Engine::weighted_sums`].
    pub term: Option<TermUse>,
}

/// A factor of a product of encrypted values.
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
}

/// `left · right`: `[n, m] × [m, p] -> [n, p]`.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a, V> {
    /// `[n, m]`; an entry that is `None` is zero.
    pub left: &'a Matrix<Option<V>>,
    /// `[m, p]`.
    pub right: &'a Matrix<V>,
    /// `[n, p]`: which entries of the product are needed. The others are `None` in the result.
    pub needed: &'a Matrix<bool>,
}

/// The results of some [`Product`]s: the entries that are needed, and `None` for the others.
pub type NeededProducts<V> = Vec<Matrix<Option<V>>>;

/// Computes the integer attention's data flow.
///
/// Every method names the step it is for, so that an engine can report progress and time by step.
pub trait Engine {
    /// One integer.
    type Value: Clone + Send + Sync;
    /// The attention's input, as the client sends it: `[T, E]` integers.
    type Input: ?Sized;
    /// Why a computation could not be finished.
    type Error: std::error::Error + Send + Sync + 'static;

    /// `input · weight`: `[T, E] × [E, C] -> [T, C]`, the result an input of tables of `bits` bits.
    fn project(
        &mut self,
        step: &'static str,
        input: &Self::Input,
        weight: &Matrix<i32>,
        bits: u32,
    ) -> Result<Matrix<Self::Value>, Self::Error>;

    /// Table `i` on value `i`, all independent of each other (an engine computes them together). Tables may differ in
    /// width.
    fn lookup(
        &mut self,
        step: &'static str,
        values: &[Self::Value],
        tables: &[&LookupTable],
        result: Use,
    ) -> Result<Vec<Self::Value>, Self::Error>;

    /// The products of independent pairs of matrices; see [`Product`].
    ///
    /// Both factors come from lookups made with `Use { factor: Some(factor), .. }` (the same `factor`), and each entry
    /// of the result can be the input of tables of at most `factor.product_bits` bits.
    fn matrix_products(
        &mut self,
        step: &'static str,
        products: &[Product<'_, Self::Value>],
        factor: FactorUse,
    ) -> Result<NeededProducts<Self::Value>, Self::Error>;

    /// `values · weight`, and `bias` added to each row: `[n, m] × [m, p] + [p] -> [n, p]`.
    ///
    /// The values come from lookups made with `Use { term: Some(term), .. }`.
    fn weighted_sums(
        &mut self,
        step: &'static str,
        values: &Matrix<Self::Value>,
        weight: &Matrix<i32>,
        bias: &[i64],
        term: TermUse,
    ) -> Result<Matrix<Self::Value>, Self::Error>;

    /// a + b.
    fn add(&mut self, a: &Self::Value, b: &Self::Value) -> Self::Value;

    /// a − b.
    fn subtract(&mut self, a: &Self::Value, b: &Self::Value) -> Self::Value;
}

/// A matrix of results of an engine, which are as many as were asked for.
pub(crate) fn filled<V>(rows: usize, cols: usize, data: Vec<V>) -> Matrix<V> {
    Matrix::new(rows, cols, data).expect("an engine returns as many results as it was asked for")
}
