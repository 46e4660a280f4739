//! What lookups read: functions of an integer, by their values, and smooth functions of a number.

use crate::error::Error;

/// A function that lookups read.
pub trait Function {
    /// Its value at `input`, wherever that is.
    fn value_at(&self, input: f64) -> f64;

    /// Whether it is meant to be read there.
    fn holds(&self, input: f64) -> bool;

    /// How it is told apart by its size: bits of inputs, and how many of them are rounded away. Zeros where it is smooth.
    fn size(&self) -> (u32, u32);
}

/// A function of an integer, by its values on `first .. first + 2^bits`.
///
/// When `rounded_bits > 0` the input is first rounded to a multiple of `2^rounded_bits` (counted from `first`,
/// halves upward), exactly, and `values` has one entry per multiple.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

impl Function for LookupTable {
    fn value_at(&self, input: f64) -> f64 {
        self.evaluate(input as i64) as f64
    }

    fn holds(&self, input: f64) -> bool {
        self.contains(input as i64)
    }

    fn size(&self) -> (u32, u32) {
        (self.bits, self.rounded_bits)
    }
}

/// The smooth functions that lookups tabulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Smooth {
    /// log(1 + e^x).
    Softplus,
    /// e^x.
    Exponential,
}

/// A smooth function of a number in turns, of which only the fraction counts, and its range.
///
/// It is tabulated over half a turn. An argument in the range is at least [`Self::margin`] away from what lies beyond that half, where
/// a table continues with the opposite sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmoothTable {
    function: Smooth,
    /// What a turn of the argument stands for, and of a softplus.
    turn: f64,
    /// What an exponential of one is, in turns.
    one: f64,
    /// The largest absolute value of an argument, in turns.
    limit: f64,
    /// How far above zero an exponential is read, in turns.
    above: f64,
}

impl SmoothTable {
    /// log(1 + e^x) of arguments in −`limit` ..= `limit` turns, `limit` below 1/4, a turn of argument and of result being `turn`.
    pub fn softplus(turn: f64, limit: f64) -> Self {
        Self { function: Smooth::Softplus, turn, one: 1.0, limit, above: 0.25 }
    }

    /// e^x of arguments in −`limit` ..= 0 turns, `limit` below 1/2, and a little above: `above` turns. A result of one is `one` turns.
    pub fn exponential(turn: f64, limit: f64, above: f64, one: f64) -> Self {
        Self { function: Smooth::Exponential, turn, one, limit, above }
    }

    /// Which function it is.
    pub fn function(&self) -> Smooth {
        self.function
    }

    /// What is added to an argument, in turns, so that its range is in the middle of half a turn.
    pub fn offset(&self) -> f64 {
        0.5 - self.above
    }

    /// How far an argument in the range is from what lies beyond the half turn, in turns.
    pub fn margin(&self) -> f64 {
        match self.function {
            Smooth::Softplus => 0.25 - self.limit,
            Smooth::Exponential => self.above.min(0.5 - self.above - self.limit),
        }
    }

    /// The function at `turns`, not reduced; in turns.
    pub fn at(&self, turns: f64) -> f64 {
        let x = turns * self.turn;
        match self.function {
            // Without overflow.
            Smooth::Softplus => (x.max(0.0) + (-x.abs()).exp().ln_1p()) / self.turn,
            Smooth::Exponential => x.exp() * self.one,
        }
    }
}

impl Function for SmoothTable {
    /// As [`Self::at`] of the argument's representative next to the range.
    fn value_at(&self, turns: f64) -> f64 {
        let middle = match self.function {
            Smooth::Softplus => 0.0,
            Smooth::Exponential => -0.25,
        };
        let from_middle = turns - middle;
        self.at(from_middle - (from_middle + 0.5).floor() + middle)
    }

    fn holds(&self, turns: f64) -> bool {
        // Without noise arguments are known besides their turn, so that one of whole turns is seen.
        match self.function {
            Smooth::Softplus => turns.abs() <= self.limit,
            Smooth::Exponential => turns >= -self.limit,
        }
    }

    fn size(&self) -> (u32, u32) {
        (0, 0)
    }
}
