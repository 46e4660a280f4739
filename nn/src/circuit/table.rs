//! What lookups read: functions of an integer, by their values, and smooth functions of a number.

use crate::error::Error;
use crate::gpt2::Activation;

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
    /// x.
    Identity,
    /// x².
    Square,
    /// 1/√x.
    InverseRoot,
    /// log x.
    Logarithm,
    /// min(x, 0).
    Below,
    /// What an activation a is besides x/2, a(x) − x/2, of those of which that is even and near |x|/2 away from zero: less R/8, on a turn of
    /// R. It goes on, beyond R/4 on either side, with the opposite sign of what is half a turn away.
    Gate(Activation),
}

/// How far beyond its half turn noise may carry an argument of a table that goes on there without a jump, in turns. What is read there is off by
/// what twice the excess makes.
const BEYOND: f64 = 1.0 / 32.0;

/// How far beyond it, or beyond a whole turn of a [`Smooth::Gate`], an argument may be itself: half as far as the half turn reaches. What is
/// read is off by as much at most as the largest argument makes: an error like those of rounding, which costs accuracy.
const EXCESS: f64 = 1.0 / 8.0;

/// A smooth function of a number in turns, of which only the fraction counts, and its range.
///
/// It is tabulated over half a turn. An argument in the range is at least [`Self::margin`] away from what lies beyond that half, where
/// a table continues with the opposite sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmoothTable {
    function: Smooth,
    /// What a turn of the argument stands for.
    turn: f64,
    /// What a result of one is, in turns.
    one: f64,
    /// The least and the largest argument, in turns.
    range: [f64; 2],
    /// The middle of the half turn that is tabulated.
    middle: f64,
    /// What results are less than the function's, in turns.
    less: f64,
}

impl SmoothTable {
    /// What a turn of an argument may stand for, and a result of one be, of a table that is read from a file: far more and far less than
    /// any has, and squares stay finite.
    const UNITS: std::ops::RangeInclusive<f64> = Self::LARGEST_UNIT.recip()..=Self::LARGEST_UNIT;
    const LARGEST_UNIT: f64 = (1_u128 << 127) as f64 * (1_u128 << 127) as f64;
    /// What integers that multiply may be at most: far more than any that calibration gives.
    const MOST_INTEGER: f64 = (1_u64 << 15) as f64;

    /// log(1 + e^x) of arguments in −`limit` ..= `limit` turns, `limit` below 1/4, a turn of argument and of result being `turn`.
    pub fn softplus(turn: f64, limit: f64) -> Self {
        Self { function: Smooth::Softplus, turn, one: 1.0 / turn, range: [-limit, limit], middle: 0.0, less: 0.0 }
    }

    /// e^x of arguments in −`limit` ..= 0 turns, `limit` below 1/2, and a little above: `above` turns. A result of one is `one` turns.
    pub fn exponential(turn: f64, limit: f64, above: f64, one: f64) -> Self {
        Self { function: Smooth::Exponential, turn, one, range: [-limit, above], middle: above - 0.25, less: 0.0 }
    }

    /// A function of arguments from `range[0]` to `range[1]` turns, less than 1/2 apart, in the middle of the half turn; a turn of
    /// argument being `turn`, and a result of one `one` turns.
    ///
    /// # Panics
    /// If the function is a [`Smooth::Gate`]: it has a half turn of its own.
    pub fn of(function: Smooth, turn: f64, range: [f64; 2], one: f64) -> Self {
        assert!(!matches!(function, Smooth::Gate(_)), "a gate takes a whole turn");
        Self { function, turn, one, range, middle: f64::midpoint(range[0], range[1]), less: 0.0 }
    }

    /// The same less a constant, [`Self::less`], with which it goes on without a jump where its half turn ends: an argument that is
    /// a little beyond gives nearly what it should.
    #[must_use]
    pub fn continued(self) -> Self {
        let ends = [self.middle - 0.25, self.middle + 0.25].map(|end| self.at(end));
        Self { less: self.less + f64::midpoint(ends[0], ends[1]), ..self }
    }

    /// What results are less than the function's, in turns.
    pub fn less(&self) -> f64 {
        self.less
    }

    /// [`Smooth::Gate`] of an activation, of arguments in −`limit` ..= `limit` turns, up to 1/2. Its half turn is not left by noise: beyond
    /// it, it is what it is meant to be.
    pub fn gate(activation: Activation, turn: f64, limit: f64, one: f64) -> Self {
        Self { function: Smooth::Gate(activation), turn, one, range: [-limit, limit], middle: 0.0, less: 0.0 }
    }

    /// What it is made of besides its function and [`Self::continued`]: a turn of the argument, a result of one, the least and the largest
    /// argument.
    pub(crate) fn parameters(&self) -> [f64; 4] {
        [self.turn, self.one, self.range[0], self.range[1]]
    }

    /// The table that has given [`Self::parameters`], and goes on without a jump where its half turn ends or not.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if there is none: every argument in the range has a margin, and every result on the half turn is finite.
    pub(crate) fn from_parameters(function: Smooth, goes_on: bool, parameters: [f64; 4]) -> Result<Self, Error> {
        let [turn, one, low, high] = parameters;
        let refused = |what: &str, found: f64, allowed: &str| Err(Error::out_of_range(what, found, allowed));
        if !Self::UNITS.contains(&turn) {
            return refused("a turn of the argument", turn, "from 2^-254 to 2^254");
        }
        if !Self::UNITS.contains(&one.abs()) {
            return refused("a result of one", one, "from 2^-254 to 2^254 in size");
        }
        if low > high || parameters.iter().any(|number| !number.is_finite()) {
            return refused("the least argument", low, "at most the largest, and both finite");
        }
        if matches!(function, Smooth::InverseRoot | Smooth::Logarithm) && low <= 0.0 {
            return refused("the least argument", low, "greater than 0, where the function has a pole");
        }
        let table = match function {
            Smooth::Softplus => Self::softplus(turn, high),
            Smooth::Exponential => Self::exponential(turn, -low, high, one),
            Smooth::Gate(activation) => Self::gate(activation, turn, high, one),
            _ => Self::of(function, turn, [low, high], one),
        };
        if table.parameters() != parameters {
            let (found, allowed) =
                (format!("{parameters:?}"), format!("{:?}, as the function has them", table.parameters()));
            return Err(Error::out_of_range("(turn, result of one, least, largest argument)", found, allowed));
        }
        let table = if goes_on { table.continued() } else { table };
        // A gate takes a whole turn.
        let fits = if matches!(function, Smooth::Gate(_)) { high <= 0.5 } else { table.margin() > 0.0 };
        if !fits {
            return refused("the largest argument", high, "near enough to the least for half a turn");
        }
        let ends = [table.middle - 0.25, table.middle + 0.25].map(|end| table.at(end));
        match ends.into_iter().find(|end| !end.is_finite()) {
            None => Ok(table),
            Some(end) => refused("a result", end, "finite on all of the half turn"),
        }
    }

    /// Checks that results are integers that may multiply.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if one is more than 2^15 in size.
    pub(crate) fn check_integers(&self) -> Result<(), Error> {
        // Arguments of an exponential are at most zero, but for noise.
        let ends = if self.function == Smooth::Exponential { [0.0; 2] } else { self.range };
        match ends.map(|end| self.at(end)).into_iter().find(|end| end.abs() > Self::MOST_INTEGER) {
            None => Ok(()),
            Some(end) => Err(Error::out_of_range("an integer that multiplies", end, "at most 2^15 in size")),
        }
    }

    /// Which function it is.
    pub fn function(&self) -> Smooth {
        self.function
    }

    /// What a turn of the argument stands for.
    pub fn turn(&self) -> f64 {
        self.turn
    }

    /// What a result of one is, in turns.
    pub fn one(&self) -> f64 {
        self.one
    }

    /// What is added to an argument, in turns, so that its range is in the middle of half a turn.
    pub fn offset(&self) -> f64 {
        0.25 - self.middle
    }

    /// Whether it goes on without a jump where its half turn ends: less a constant, or less nothing where it is odd.
    fn goes_on(&self) -> bool {
        self.less != 0.0 || self.function == Smooth::Identity
    }

    /// The least and the largest argument, in turns.
    pub fn range(&self) -> [f64; 2] {
        self.range
    }

    /// How far an argument in the range is at least from where what is read is wrong ([`Self::room`]), in turns.
    pub fn margin(&self) -> f64 {
        let [low, high] = self.range;
        // Arguments of zero, the largest there are of an exponential, may be read above.
        let largest = if self.function == Smooth::Exponential { 0.0 } else { high };
        self.room(low).min(self.room(largest))
    }

    /// How far an argument is from where what is read is wrong, in turns: from what lies beyond the half turn, or, of a table that goes on
    /// there without a jump, from 1/32 of a turn beyond, where it is off by twice that. Negative of one that is there already; infinite for a
    /// [`Smooth::Gate`].
    pub fn room(&self, turns: f64) -> f64 {
        let inside = 0.25 - (turns - self.middle).abs();
        match self.function {
            Smooth::Gate(_) => f64::INFINITY,
            _ if self.goes_on() => inside + BEYOND,
            _ => inside,
        }
    }

    /// The function at `turns`, not reduced; in turns.
    pub fn at(&self, turns: f64) -> f64 {
        let x = turns * self.turn;
        let value = match self.function {
            // Without overflow.
            Smooth::Softplus => return (x.max(0.0) + (-x.abs()).exp().ln_1p()) / self.turn,
            Smooth::Exponential => x.exp(),
            Smooth::Identity => x,
            Smooth::Square => x * x,
            Smooth::Below => x.min(0.0),
            // Noise may carry an argument below zero: there they are what they are at the least one.
            Smooth::InverseRoot => 1.0 / x.max(self.least()).sqrt(),
            Smooth::Logarithm => x.max(self.least()).ln(),
            Smooth::Gate(activation) => {
                let rest = |x: f64| f64::from(activation.apply(x as f32)) - x / 2.0 - self.turn / 8.0;
                if turns.abs() <= 0.25 { rest(x) } else { -rest(x.abs() - self.turn / 2.0) }
            }
        };
        value * self.one - self.less
    }

    /// The least argument of the range, as what it stands for, or half of it: below, what has a pole at zero goes on as it is there.
    fn least(&self) -> f64 {
        self.range[0] * self.turn / 2.0
    }
}

impl Function for SmoothTable {
    /// As [`Self::at`] of the argument's representative next to the range.
    fn value_at(&self, turns: f64) -> f64 {
        let middle = match self.function {
            Smooth::Exponential => -0.25,
            _ => self.middle,
        };
        let from_middle = turns - middle;
        self.at(from_middle - (from_middle + 0.5).floor() + middle)
    }

    fn holds(&self, turns: f64) -> bool {
        // Without noise arguments are known besides their turn, so that one of whole turns is seen.
        match self.function {
            Smooth::Gate(_) => turns.abs() <= 0.5 + EXCESS,
            _ if self.goes_on() => (turns - self.middle).abs() <= 0.25 + EXCESS,
            _ => (self.range[0]..=self.range[1]).contains(&turns),
        }
    }

    fn size(&self) -> (u32, u32) {
        (0, 0)
    }
}
