//! Functions of an angle, tabulated for one bootstrapping: one of them, or several.

use std::ops::RangeInclusive;

use super::error::RefreshError;
use crate::glwe::GlweCiphertext;
use crate::params::GlweShape;
use crate::torus;

/// How far from zero a range may lie, in turns: there an f64 still has the angles of any ring to 2^-32 of a turn.
const FARTHEST: f64 = (1 << 20) as f64;

/// By how much a function may miss f(φ + 1/2) = −f(φ), in turns: what an f64 loses.
const NEGACYCLIC_TOLERANCE: f64 = 1.0 / (1_u64 << 40) as f64;

/// A modulus switch is to 16 angles at least ([`crate::params::PolynomialSize`]).
const SMALLEST_TABLE: usize = 8;

/// A function that one bootstrapping reads, from turns to turns.
///
/// # Range, guard bands, and what is read beyond them
/// Half a turn of arguments can be tabulated at N' angles, 1/2N' apart, no more: X^N' = −1 makes the other half read
/// f(φ + 1/2) = −f(φ), the *negacyclic* condition. The half turn of a table is that around the middle of its range [a, b], so that what
/// the range leaves of it, (1/2 − (b − a))/2 on each side, is a *guard band*:
///
/// ```text
///        guard band            range             guard band
///   ---|------------|-------------------------|------------|---
///  m - 1/4          a            m            b         m + 1/4      m = (a + b)/2
/// ```
///
/// An argument in the range is read as it is plus its error: the input's own, and what
/// [`crate::noise::RefreshNoise::argument`] says reading adds. As long as that stays within the guard band, the value is f of an argument
/// nearby: off by the error times f's slope. Beyond it, −f(φ − 1/2) or −f(φ + 1/2) is read, which may be anything; how
/// probable that is, is [`crate::noise::RefreshNoise::log2_misread`] of [`Self::guard`]. (A straight line through the middle,
/// f(m + x) = c·x, turns back there: c·(1/2 − x) is read, which is off by no more than twice what x is too large.)
///
/// Where the argument is not a multiple of a slot's width the value is that of a slot's middle. With noise wider than a slot, as
/// that of the modulus switch is, the mean over it is f's own, smoothed, without steps.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionTable(FunctionTables);

impl FunctionTable {
    /// Tabulates `function` for arguments of `range`, both in turns, values modulo 1; `shape` is that of the bootstrapping key.
    ///
    /// `function` is asked for the whole half turn around the range: in the guard bands it should go on as it does at the
    /// range's ends, since errors carry arguments there. O(N').
    ///
    /// # Errors
    /// [`RefreshError::Range`] if the range is empty, wider than half a turn, or farther than 2^20 turns from zero; [`RefreshError::Value`]
    /// if the function has a value that is not finite.
    pub fn new(
        shape: GlweShape,
        range: RangeInclusive<f64>,
        function: impl Fn(f64) -> f64,
    ) -> Result<Self, RefreshError> {
        FunctionTables::new(shape, range, &[&function]).map(Self)
    }

    /// Tabulates a function that is itself negacyclic, f(φ + 1/2) = −f(φ): all of the turn is its range, and there are no guard bands.
    ///
    /// # Errors
    /// [`RefreshError::NotNegacyclic`] if it is not, by more than 2^-40; [`RefreshError::Value`] as for [`Self::new`].
    pub fn negacyclic(shape: GlweShape, function: impl Fn(f64) -> f64) -> Result<Self, RefreshError> {
        let whole = FunctionTables { middle: 0.0, guard: f64::INFINITY, ..FunctionTables::empty(shape, 0, 1)? };
        let table = whole.filled(&[&|argument| finite(function(argument))])?;
        let opposite = |argument: f64| {
            let sum = function(argument) + function(argument + 0.5);
            let miss = (sum - sum.round()).abs();
            miss.is_nan() || miss > NEGACYCLIC_TOLERANCE
        };
        match (0..table.slots()).map(|j| table.angle(j)).find(|&argument| opposite(argument)) {
            Some(argument) => Err(RefreshError::NotNegacyclic { argument }),
            None => Ok(Self(table)),
        }
    }

    /// The same with values rounded to their highest `bits` bits, as results are where others compute them
    /// ([`Refresh::with_result_bits`](super::Refresh::with_result_bits)): so a table has fewer bits to send.
    #[must_use]
    pub fn rounded(mut self, bits: u32) -> Self {
        self.0.polynomial.round(bits);
        self
    }

    /// The same as a list of one function.
    pub fn as_tables(&self) -> &FunctionTables {
        &self.0
    }

    /// k' and N'.
    pub fn shape(&self) -> GlweShape {
        self.0.shape()
    }

    /// How far from its range an argument may be read, in turns; infinite where all of the turn is the range.
    pub fn guard(&self) -> f64 {
        self.0.guard()
    }

    /// The trivial ciphertext that the bootstrapping rotates.
    pub fn polynomial(&self) -> &GlweCiphertext {
        self.0.polynomial()
    }

    /// What is read at an argument without error, anywhere on the torus: its slot's value.
    pub fn value(&self, argument: f64) -> u64 {
        self.0.value(0, argument)
    }

    /// The slope at an argument, turns to turns: from the slots beside its own.
    pub fn slope(&self, argument: f64) -> f64 {
        self.0.slope(0, argument)
    }
}

/// The value of a function as an element of the torus, if it has one.
fn finite(value: f64) -> Option<u64> {
    value.is_finite().then(|| torus::from_f64(value))
}

/// v: 2^v is the next power of two of some number of tables.
pub(super) fn log_tables_of(count: usize) -> u32 {
    count.max(1).next_power_of_two().ilog2()
}

/// A value of the torus for each argument, in turns, that has one.
pub(super) type TorusFunction<'a> = &'a dyn Fn(f64) -> Option<u64>;

/// Several functions of one argument that one bootstrapping reads together, at the same angle (Chillotti, Ligier, Orfila, Tap, ePrint
/// 2021/729, section 4.2).
///
/// 2^v functions share the N' coefficients: each has a value in every 2^v-th of them, so N'/2^v *slots* of width 2^v/2N'. The
/// argument is rounded to the middle of a slot, 2^v times as coarsely as for one function: [`crate::noise::RefreshParameters::with_tables`].
/// Everything else is as [`FunctionTable`] says, range and guard bands too.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionTables {
    /// m.
    middle: f64,
    guard: f64,
    /// How many functions.
    count: usize,
    /// v.
    log_tables: u32,
    /// The trivial ciphertext of the values: function i has the coefficients i modulo 2^v.
    polynomial: GlweCiphertext,
}

impl FunctionTables {
    /// Tabulates `functions` as [`FunctionTable::new`] does one. If their number is not a power of two, the next one counts. O(N').
    ///
    /// # Errors
    /// [`RefreshError::Tables`] if there are none or more than N'/8; [`RefreshError::Range`] and [`RefreshError::Value`] as for
    /// [`FunctionTable::new`].
    pub fn new(
        shape: GlweShape,
        range: RangeInclusive<f64>,
        functions: &[&dyn Fn(f64) -> f64],
    ) -> Result<Self, RefreshError> {
        let values: Vec<_> = functions.iter().map(|function| move |argument| finite(function(argument))).collect();
        let values: Vec<TorusFunction<'_>> = values.iter().map(|value| value as TorusFunction<'_>).collect();
        Self::of_values(shape, range, log_tables_of(values.len()), &values)
    }

    /// [`Self::new`], of functions to the torus, with room for 2^`log_tables`.
    pub(super) fn of_values(
        shape: GlweShape,
        range: RangeInclusive<f64>,
        log_tables: u32,
        values: &[TorusFunction<'_>],
    ) -> Result<Self, RefreshError> {
        let (low, high) = range.into_inner();
        let width = high - low;
        if !((0.0..=0.5).contains(&width) && low.abs().max(high.abs()) <= FARTHEST) {
            return Err(RefreshError::Range { low, high });
        }
        let (middle, guard) = ((low + high) / 2.0, (0.5 - width) / 2.0);
        Self { middle, guard, ..Self::empty(shape, log_tables, values.len())? }.filled(values)
    }

    fn empty(shape: GlweShape, log_tables: u32, count: usize) -> Result<Self, RefreshError> {
        let most = shape.polynomial_size.get() / SMALLEST_TABLE;
        if count == 0 || log_tables > most.ilog2() {
            return Err(RefreshError::Tables { count, most });
        }
        Ok(Self { middle: 0.0, guard: 0.0, count, log_tables, polynomial: GlweCiphertext::zero(shape) })
    }

    fn filled(mut self, values: &[TorusFunction<'_>]) -> Result<Self, RefreshError> {
        let step = 1 << self.log_tables;
        for j in 0..self.slots() {
            let argument = self.angle(j);
            for (i, value) in values.iter().enumerate() {
                self.polynomial.body_mut()[j * step + i] = value(argument).ok_or(RefreshError::Value { argument })?;
            }
        }
        Ok(self)
    }

    /// How many functions.
    pub fn count(&self) -> usize {
        self.count
    }

    /// v: the argument is rounded to multiples of 2^v/2N'.
    pub fn log_tables(&self) -> u32 {
        self.log_tables
    }

    /// On half a turn.
    fn slots(&self) -> usize {
        self.shape().polynomial_size.get() >> self.log_tables()
    }

    /// The argument of slot j: its middle.
    fn angle(&self, j: usize) -> f64 {
        self.middle - 0.25 + (j as f64 + 0.5) / (2 * self.slots()) as f64
    }

    /// What is added to an argument, so that the middle of slot j is the angle j/2N'·2^v.
    pub(super) fn offset(&self) -> u64 {
        torus::from_f64(-self.angle(0))
    }

    /// k' and N'.
    pub fn shape(&self) -> GlweShape {
        self.polynomial.shape()
    }

    /// How far from its range an argument may be read, in turns.
    pub fn guard(&self) -> f64 {
        self.guard
    }

    /// The trivial ciphertext that the bootstrapping rotates.
    pub fn polynomial(&self) -> &GlweCiphertext {
        &self.polynomial
    }

    /// What function `index` reads at an argument without error, anywhere on the torus: its slot's value.
    ///
    /// # Panics
    /// If there is no such function.
    pub fn value(&self, index: usize, argument: f64) -> u64 {
        self.entry(index, self.slot(argument))
    }

    /// The slope of function `index` at an argument, turns to turns: from the slots beside its own.
    ///
    /// # Panics
    /// If there is no such function.
    pub fn slope(&self, index: usize, argument: f64) -> f64 {
        let slot = self.slot(argument);
        let rise = self.entry(index, slot + 1).wrapping_sub(self.entry(index, slot - 1));
        torus::to_f64(rise) * self.slots() as f64
    }

    /// The slot of an argument; the half turn's are 0 to N'/2^v − 1.
    fn slot(&self, argument: f64) -> i64 {
        let from_first = argument - self.angle(0);
        (from_first * (2 * self.slots()) as f64).round() as i64
    }

    /// The value of function `index` in a slot, on the whole turn.
    fn entry(&self, index: usize, slot: i64) -> u64 {
        assert!(index < self.count, "a function of the table");
        let slots = self.slots();
        let slot = slot.rem_euclid(2 * slots as i64) as usize;
        let at = |slot: usize| self.polynomial.body()[(slot << self.log_tables()) + index];
        if slot < slots { at(slot) } else { at(slot - slots).wrapping_neg() }
    }
}
