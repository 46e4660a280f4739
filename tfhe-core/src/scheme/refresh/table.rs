//! Functions of an angle, tabulated for one bootstrapping.

use std::ops::RangeInclusive;

use super::error::RefreshError;
use crate::glwe::GlweCiphertext;
use crate::params::GlweShape;
use crate::torus;

/// How far from zero a range may lie, in turns: there an f64 still has the angles of any ring to 2^-32 of a turn.
const FARTHEST: f64 = (1 << 20) as f64;

/// By how much a function may miss f(φ + 1/2) = −f(φ), in turns: what an f64 loses.
const NEGACYCLIC_TOLERANCE: f64 = 1.0 / (1_u64 << 40) as f64;

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
pub struct FunctionTable {
    /// m.
    middle: f64,
    guard: f64,
    /// The trivial ciphertext of the values.
    polynomial: GlweCiphertext,
}

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
        let (low, high) = range.into_inner();
        let width = high - low;
        if !((0.0..=0.5).contains(&width) && low.abs().max(high.abs()) <= FARTHEST) {
            return Err(RefreshError::Range { low, high });
        }
        Self::tabulate(shape, (low + high) / 2.0, (0.5 - width) / 2.0, function)
    }

    /// Tabulates a function that is itself negacyclic, f(φ + 1/2) = −f(φ): all of the turn is its range, and there are no guard bands.
    ///
    /// # Errors
    /// [`RefreshError::NotNegacyclic`] if it is not, by more than 2^-40; [`RefreshError::Value`] as for [`Self::new`].
    pub fn negacyclic(shape: GlweShape, function: impl Fn(f64) -> f64) -> Result<Self, RefreshError> {
        let table = Self::tabulate(shape, 0.0, f64::INFINITY, &function)?;
        let opposite = |argument: f64| {
            let sum = function(argument) + function(argument + 0.5);
            let miss = (sum - sum.round()).abs();
            miss.is_nan() || miss > NEGACYCLIC_TOLERANCE
        };
        match (0..shape.polynomial_size.get()).map(|j| table.angle(j)).find(|&argument| opposite(argument)) {
            Some(argument) => Err(RefreshError::NotNegacyclic { argument }),
            None => Ok(table),
        }
    }

    fn tabulate(
        shape: GlweShape,
        middle: f64,
        guard: f64,
        function: impl Fn(f64) -> f64,
    ) -> Result<Self, RefreshError> {
        let mut table = Self { middle, guard, polynomial: GlweCiphertext::zero(shape) };
        for j in 0..shape.polynomial_size.get() {
            let argument = table.angle(j);
            let value = function(argument);
            if !value.is_finite() {
                return Err(RefreshError::Value { argument });
            }
            table.polynomial.body_mut()[j] = torus::from_f64(value);
        }
        Ok(table)
    }

    /// The argument of coefficient j: the middle of its slot.
    fn angle(&self, j: usize) -> f64 {
        let slots = 2 * self.shape().polynomial_size.get();
        self.middle - 0.25 + (j as f64 + 0.5) / slots as f64
    }

    /// What is added to an argument, so that the middle of slot j is the angle j/2N'.
    pub(super) fn offset(&self) -> u64 {
        torus::from_f64(-self.angle(0))
    }

    /// k' and N'.
    pub fn shape(&self) -> GlweShape {
        self.polynomial.shape()
    }

    /// How far from its range an argument may be read, in turns; infinite where all of the turn is the range.
    pub fn guard(&self) -> f64 {
        self.guard
    }

    /// The trivial ciphertext that the bootstrapping rotates.
    pub fn polynomial(&self) -> &GlweCiphertext {
        &self.polynomial
    }

    /// What is read at an argument without error, anywhere on the torus: its slot's value.
    pub fn value(&self, argument: f64) -> u64 {
        self.entry(self.slot(argument))
    }

    /// The slope at an argument, turns to turns: from the slots beside its own.
    pub fn slope(&self, argument: f64) -> f64 {
        let slot = self.slot(argument);
        let rise = self.entry(slot + 1).wrapping_sub(self.entry(slot - 1));
        torus::to_f64(rise) * self.shape().polynomial_size.get() as f64
    }

    /// The slot of an argument; the half turn's are 0 to N' − 1.
    fn slot(&self, argument: f64) -> i64 {
        let from_first = argument - self.angle(0);
        (from_first * (2 * self.shape().polynomial_size.get()) as f64).round() as i64
    }

    /// The value of a slot, on the whole turn.
    fn entry(&self, slot: i64) -> u64 {
        let size = self.shape().polynomial_size.get();
        let slot = slot.rem_euclid(2 * size as i64) as usize;
        let body = self.polynomial.body();
        if slot < size { body[slot] } else { body[slot - size].wrapping_neg() }
    }
}
