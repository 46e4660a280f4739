//! What is known of the noise of a block's numbers, whatever represents them.
//!
//! Noise of tensors is that of each channel, and independent; a number on its way through lookups is a combination of independent errors, so
//! that what two numbers have in common cancels in their difference. Where a bound takes the place of what only the data say, it
//! is named: [`Slopes`], [`MultipliersNoise`].
//!
//! # Where errors end
//! A reading that is off by its noise changes the number that is looked up. From one lookup to the next, in softmax and in LayerNorm's
//! variance, that counts as an error of the result, since the next one's range leaves room for it. Once results are packed, or multiply, it
//! is a change of the data: numbers are read further on as reliably as those without it, if calibration left them room. So
//! the noise of packed numbers is what their ciphertexts have. What a block's update is off by is told besides, in
//! [`RealsNoise::errors`], and how far such changes go is what simulations are for.

use nn::table::{Smooth, SmoothTable};
use tfhe_core::noise::{Distribution, Variance};

/// Multiples of independent errors, in the order of their indices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Errors(Vec<(usize, f64)>);

impl Errors {
    /// One error.
    pub fn single(index: usize) -> Self {
        Self(vec![(index, 1.0)])
    }

    /// Each error with its multiple.
    pub fn iter(&self) -> impl Iterator<Item = (usize, f64)> {
        self.0.iter().copied()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `self += factor·other`; what cancels is gone.
    pub fn add_scaled(&mut self, other: &Self, factor: f64) {
        let scaled = |&(index, multiple): &(usize, f64)| (index, factor * multiple);
        match (self.0.last(), other.0.first()) {
            (_, None) => {}
            (Some(last), Some(first)) if last.0 >= first.0 => self.merge(other.0.iter().map(scaled)),
            _ => self.0.extend(other.0.iter().map(scaled)),
        }
    }

    fn merge(&mut self, other: impl Iterator<Item = (usize, f64)>) {
        let mut mine = std::mem::take(&mut self.0).into_iter().peekable();
        for (index, multiple) in other {
            while let Some(earlier) = mine.next_if(|&(own, _)| own < index) {
                self.0.push(earlier);
            }
            let sum = multiple + mine.next_if(|&(own, _)| own == index).map_or(0.0, |(_, own)| own);
            if sum != 0.0 {
                self.0.push((index, sum));
            }
        }
        self.0.extend(mine);
    }

    /// All of them times `factor`.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self(self.iter().map(|(index, multiple)| (index, factor * multiple)).collect())
    }
}

/// The errors of a number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NumberErrors {
    /// Those that it has whatever the data are.
    pub own: Errors,
    /// Of an exponential, or a sum of them over scores: those of arguments, in the turns of a result of one. Probabilities
    /// weigh them, which add up to one: a mean of errors that are all alike has at most the variance of one of them, and that is
    /// what it is taken for.
    pub weighted: Errors,
}

impl NumberErrors {
    /// `self += factor·other`.
    pub fn add_scaled(&mut self, other: &Self, factor: f64) {
        self.own.add_scaled(&other.own, factor);
        if self.weighted.is_empty() {
            self.weighted = other.weighted.scaled(factor);
        }
    }
}

/// How much results of a table change with its argument, at most, in turns by turns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slopes {
    /// With the errors that the argument has: in the table's range.
    pub argument: f64,
    /// With what reading it adds.
    pub reading: f64,
    /// At an exponential's sum over probabilities, which is one.
    pub at_one: f64,
}

impl Slopes {
    /// Of a table.
    pub fn of(table: &SmoothTable) -> Self {
        let at_one = table.turn() * table.one();
        let largest = match table.function() {
            // log(e^a + e^b) is a mean of a and b, in its errors, and is taken for one of them.
            Smooth::Softplus => 1.0,
            // Arguments are at most zero.
            Smooth::Exponential => at_one.abs(),
            // Its slope is largest neither at its middle nor at its ends.
            Smooth::Gate(_) => {
                let points = (-SAMPLES..=SAMPLES).map(|i| 0.25 * f64::from(i) / f64::from(SAMPLES));
                points.map(|turns| slope(table, turns)).fold(0.0, f64::max)
            }
            // It is largest at an end of the range.
            _ => range(table).map(|end| slope(table, end)).into_iter().fold(0.0, f64::max),
        };
        // x − min(x, 0) has either the errors of x or those of reading it: it is taken to have both.
        let argument = if table.function() == Smooth::Below { 0.0 } else { largest };
        Self { argument, reading: largest, at_one }
    }
}

/// At how many points on either side of zero the slope of a gate is taken.
const SAMPLES: i32 = 32;
/// Half of what a slope is taken over, in turns.
const STEP: f64 = 1.0 / 4096.0;

fn slope(table: &SmoothTable, turns: f64) -> f64 {
    (table.at(turns + STEP) - table.at(turns - STEP)).abs() / (2.0 * STEP)
}

/// The range of a table that has one in the middle of its half turn.
fn range(table: &SmoothTable) -> [f64; 2] {
    let (middle, half) = (0.25 - table.offset(), 0.25 - table.margin());
    [middle - half, middle + half]
}

/// What is known of an integer before it is looked up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerBounds {
    /// It is at most so large.
    pub largest: f64,
    /// Its mean square, at most.
    pub mean_square: f64,
    /// Whether it is a probability: those of a row add up to `largest`.
    pub is_share: bool,
}

impl IntegerBounds {
    /// Of results of a table.
    ///
    /// Numbers that are spread about zero, the more the nearer, have at most a third of the square of their range as their mean square: that
    /// is what a table's results are taken to have that go from −x to x. Others are taken to be as large as they can.
    pub fn of(table: &SmoothTable) -> Self {
        let is_share = table.function() == Smooth::Exponential;
        let ends = if is_share { [0.0; 2] } else { range(table) }.map(|end| table.at(end).round_ties_even());
        let largest = ends[0].abs().max(ends[1].abs());
        let symmetric = table.function() == Smooth::Identity && (ends[0] + ends[1]).abs() <= 1.0;
        let mean_square = largest * largest / if symmetric { 3.0 } else { 1.0 };
        Self { largest, mean_square, is_share }
    }
}

/// What is known of rows of integers that multiply.
#[derive(Clone, Debug, PartialEq)]
pub struct MultipliersNoise {
    /// None is larger.
    pub largest: f64,
    /// The mean squares of a row's integers, of each column.
    pub squares: Vec<f64>,
    /// Whether a row's integers add up to no more than `largest`: so do their squares to its.
    pub are_shares: bool,
    /// Whether they are the results of lookups: products with them add noise.
    pub looked_up: bool,
}

impl MultipliersNoise {
    /// Of integers that are looked up.
    pub fn looked_up<'a>(rows: impl Iterator<Item = &'a [IntegerBounds]>) -> Self {
        let mut all = Self { largest: 0.0, squares: Vec::new(), are_shares: true, looked_up: true };
        for row in rows {
            all.squares.resize(all.squares.len().max(row.len()), 0.0);
            for (square, integer) in all.squares.iter_mut().zip(row) {
                *square = square.max(integer.mean_square);
                all.largest = all.largest.max(integer.largest);
                all.are_shares &= integer.is_share;
            }
        }
        all
    }

    /// Of known integers.
    pub fn known(rows: &[Vec<f64>]) -> Self {
        let exact = |&x: &f64| IntegerBounds { largest: x.abs(), mean_square: x * x, is_share: false };
        let rows: Vec<Vec<IntegerBounds>> = rows.iter().map(|row| row.iter().map(exact).collect()).collect();
        Self { looked_up: false, ..Self::looked_up(rows.iter().map(Vec::as_slice)) }
    }

    /// The sum of squares of a row.
    pub fn row_squares(&self) -> f64 {
        if self.are_shares { self.largest * self.largest } else { self.squares.iter().sum() }
    }

    /// With other rows below.
    pub fn append(&mut self, below: &Self) {
        self.squares.resize(self.squares.len().max(below.squares.len()), 0.0);
        self.squares.iter_mut().zip(&below.squares).for_each(|(mine, other)| *mine = mine.max(*other));
        self.largest = self.largest.max(below.largest);
        self.are_shares &= below.are_shares;
        self.looked_up |= below.looked_up;
    }
}

/// The noise of rows of reals: no row has more.
#[derive(Clone, Debug)]
pub struct RealsNoise {
    /// Of each channel, what does not come of products of ciphertexts.
    pub channels: Vec<Variance>,
    /// Of each number, what products of ciphertexts added.
    pub products: Distribution,
    /// Of coefficients that hold no number, where it matters.
    pub between: Variance,
    /// Of each channel of features: what their noise, and that of the readings that they are the results of, makes them be off by.
    pub errors: Vec<Variance>,
}

impl RealsNoise {
    /// One variance of all coefficients.
    pub fn uniform(channels: usize, variance: Variance) -> Self {
        let channels = vec![variance; channels];
        Self { errors: channels.clone(), channels, products: Distribution::ZERO, between: variance }
    }

    /// Of one number of a channel.
    pub fn of(&self, channel: usize) -> Distribution {
        self.products.clone() + self.channels[channel]
    }

    /// The largest variance of a number.
    pub fn largest(&self) -> Variance {
        let largest = self.channels.iter().fold(Variance::ZERO, |a, &b| if b > a { b } else { a });
        largest + self.products.variance()
    }

    /// Of sums with an independent tensor.
    pub fn add(&mut self, other: &Self) {
        self.channels.iter_mut().zip(&other.channels).for_each(|(mine, other)| *mine = *mine + *other);
        self.errors.iter_mut().zip(&other.errors).for_each(|(mine, other)| *mine = *mine + *other);
        self.products = self.products.clone() + other.products.clone();
        self.between = self.between + other.between;
    }

    /// Of rows, and others below them.
    pub fn append(&mut self, below: &Self) {
        let larger = |mine: &mut Variance, other: Variance| *mine = if other > *mine { other } else { *mine };
        self.channels.iter_mut().zip(&below.channels).for_each(|(mine, other)| larger(mine, *other));
        self.errors.iter_mut().zip(&below.errors).for_each(|(mine, other)| larger(mine, *other));
        if below.products.variance() > self.products.variance() {
            self.products = below.products.clone();
        }
        larger(&mut self.between, below.between);
    }

    /// Of numbers times integers whose squares add up to `squares`, one product adding `added`, and there being `products` of them.
    #[must_use]
    pub fn multiplied(&self, squares: f64, added: &Distribution, products: usize) -> Self {
        let one = self.products.scaled(squares.sqrt());
        Self {
            channels: self.channels.iter().map(|channel| channel.repeated(squares)).collect(),
            products: std::iter::repeat_n(added, products).cloned().sum::<Distribution>() + one,
            between: Variance::ZERO,
            errors: Vec::new(),
        }
    }
}
