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

use nn::matrix::Matrix;
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
            _ => table.range().map(|end| slope(table, end)).into_iter().fold(0.0, f64::max),
        };
        // x − min(x, 0) has either the errors of x or those of reading it: it is taken to have both.
        let argument = if table.function() == Smooth::Below { 0.0 } else { largest };
        Self { argument, reading: largest, at_one }
    }

    /// Of a logarithm at a sum over probabilities, which is e^x if exponents are off by x: where that is −1, which is rare, or at the lower
    /// end of its range.
    pub fn of_sum(table: &SmoothTable) -> Self {
        let at_one = table.turn() * table.one();
        let least = table.range()[0] * table.turn();
        let below = at_one.abs() * (1.0 / least).clamp(1.0, std::f64::consts::E);
        Self { argument: below, reading: below, at_one }
    }
}

/// How far an argument can be off until it is read beyond its table's half turn, in turns.
///
/// A sum of exponentials over probabilities is one, but for its errors: however much of the range it takes to hold them, it is far from the
/// ends. An error of x of all exponents makes it e^x, which is never below zero, so it is the upper end that counts.
pub fn room(table: &SmoothTable, errors: &NumberErrors) -> f64 {
    let is_one = !errors.weighted.is_empty() && table.function() == Smooth::Logarithm;
    let one = 1.0 / table.turn();
    let room = if is_one { one * (table.range()[1] / one).ln() } else { table.margin() };
    room.max(0.0)
}

/// At how many points on either side of zero the slope of a gate is taken.
const SAMPLES: i32 = 32;
/// Half of what a slope is taken over, in turns.
const STEP: f64 = 1.0 / 4096.0;

fn slope(table: &SmoothTable, turns: f64) -> f64 {
    (table.at(turns + STEP) - table.at(turns - STEP)).abs() / (2.0 * STEP)
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
    /// Of one that is known.
    pub fn exactly(integer: f64) -> Self {
        Self { largest: integer.abs(), mean_square: integer * integer, is_share: false }
    }

    /// Of results of a table.
    ///
    /// Numbers that are spread about zero, the more the nearer, have at most a third of the square of their range as their mean square: that
    /// is what a table's results are taken to have that go from −x to x. Others are taken to be as large as they can.
    pub fn of(table: &SmoothTable) -> Self {
        let is_share = table.function() == Smooth::Exponential;
        let ends = if is_share { [0.0; 2] } else { table.range() }.map(|end| table.at(end).round_ties_even());
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
    /// The mean square of each.
    pub squares: Vec<Vec<f64>>,
    /// Whether a row's integers add up to no more than `largest`: so do their squares to its.
    pub are_shares: bool,
    /// Whether there are results of lookups among them: products with them add more noise.
    pub looked_up: bool,
}

impl MultipliersNoise {
    /// Of integers that are looked up.
    pub fn looked_up(rows: &[Vec<IntegerBounds>]) -> Self {
        let all = || rows.iter().flatten();
        Self {
            largest: all().map(|integer| integer.largest).fold(0.0, f64::max),
            squares: rows.iter().map(|row| row.iter().map(|integer| integer.mean_square).collect()).collect(),
            are_shares: all().all(|integer| integer.is_share),
            looked_up: true,
        }
    }

    /// Of known integers.
    pub fn known(rows: &[Vec<f64>]) -> Self {
        let rows: Vec<Vec<IntegerBounds>> =
            rows.iter().map(|row| row.iter().map(|&x| IntegerBounds::exactly(x)).collect()).collect();
        Self { looked_up: false, ..Self::looked_up(&rows) }
    }

    /// The sum of squares of a row.
    pub fn row_squares(&self, row: usize) -> f64 {
        if self.are_shares { self.largest * self.largest } else { self.squares[row].iter().sum() }
    }

    /// That of the row with the largest.
    pub fn largest_row_squares(&self) -> f64 {
        (0..self.squares.len()).map(|row| self.row_squares(row)).fold(0.0, f64::max)
    }

    /// Of the last row.
    #[must_use]
    pub fn last_row(&self) -> Self {
        Self { squares: self.squares.last().cloned().into_iter().collect(), ..self.clone() }
    }

    /// With other rows below.
    pub fn append(&mut self, below: Self) {
        self.largest = self.largest.max(below.largest);
        self.are_shares &= below.are_shares;
        self.looked_up |= below.looked_up;
        self.squares.extend(below.squares);
    }
}

/// The noise of features that came with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FreshNoise {
    /// Of each number.
    pub numbers: Variance,
    /// Of coefficients that hold no number, on average.
    pub between: Variance,
}

/// The noise of rows of reals.
#[derive(Clone, Debug)]
pub struct RealsNoise {
    /// Of each number, `[T, C]`, what does not come of products of ciphertexts.
    pub numbers: Vec<Vec<Variance>>,
    /// Of any number, at most, what products of ciphertexts added.
    pub products: Distribution,
    /// Of coefficients that hold no number, where it matters.
    pub between: Variance,
    /// Of each number of features, `[T, C]`: what it is off by for its noise, and for that of the readings that it is the result of.
    pub errors: Vec<Vec<Variance>>,
}

impl RealsNoise {
    /// One variance of all coefficients.
    pub fn uniform([rows, channels]: [usize; 2], variance: Variance) -> Self {
        let numbers = vec![vec![variance; channels]; rows];
        Self { errors: numbers.clone(), numbers, products: Distribution::ZERO, between: variance }
    }

    /// Of features that came with a request.
    pub fn fresh(shape: [usize; 2], fresh: FreshNoise) -> Self {
        Self { between: fresh.between, ..Self::uniform(shape, fresh.numbers) }
    }

    /// Of numbers that no product has been added to, and that no map is to read.
    pub fn of_numbers(numbers: Vec<Vec<Variance>>) -> Self {
        Self { numbers, products: Distribution::ZERO, between: Variance::ZERO, errors: Vec::new() }
    }

    /// The largest variance of a number.
    pub fn largest(&self) -> Variance {
        self.widest().variance()
    }

    /// The noise of a number, of which none has more.
    pub fn widest(&self) -> Distribution {
        self.products.clone() + self.numbers.iter().flatten().fold(Variance::ZERO, |a, &b| larger(a, b))
    }

    /// Of the last row.
    #[must_use]
    pub fn last_row(&self) -> Self {
        let last = |rows: &Vec<Vec<Variance>>| rows.last().cloned().into_iter().collect();
        Self { numbers: last(&self.numbers), errors: last(&self.errors), ..self.clone() }
    }

    /// Of the first `channels` of each row.
    #[must_use]
    pub fn narrowed(&self, channels: usize) -> Self {
        let first = |rows: &Vec<Vec<Variance>>| rows.iter().map(|row| row[..channels].to_vec()).collect();
        Self { numbers: first(&self.numbers), errors: first(&self.errors), ..self.clone() }
    }

    /// Of sums with an independent tensor.
    pub fn add(&mut self, other: &Self) {
        add_rows(&mut self.numbers, &other.numbers);
        add_rows(&mut self.errors, &other.errors);
        self.products = self.products.clone() + other.products.clone();
        self.between = self.between + other.between;
    }

    /// Of rows, and others below them.
    pub fn append(&mut self, below: Self) {
        self.numbers.extend(below.numbers);
        self.errors.extend(below.errors);
        if below.products.variance() > self.products.variance() {
            self.products = below.products;
        }
        self.between = larger(self.between, below.between);
    }

    /// Of a linear map's results, `added` being what comes of coefficients between features.
    #[must_use]
    pub fn mapped(&self, weight: &Matrix<i32>, added: Variance) -> Self {
        let mut rows: Vec<Vec<Variance>> = Vec::with_capacity(self.numbers.len());
        for (index, row) in self.numbers.iter().enumerate() {
            // Of tokens that were treated alike.
            if index > 0 && *row == self.numbers[index - 1] {
                rows.push(rows[index - 1].clone());
                continue;
            }
            let mut sums = vec![added; weight.cols()];
            for (channel, variance) in row.iter().enumerate() {
                let weights = weight.row(channel).iter().zip(&mut sums);
                weights.for_each(|(&w, sum)| *sum = *sum + variance.scaled(f64::from(w)));
            }
            rows.push(sums);
        }
        Self::of_numbers(rows)
    }

    /// Of rows times their own integers, a product adding `added`.
    #[must_use]
    pub fn scaled(&self, multipliers: &MultipliersNoise, added: Distribution) -> Self {
        let row = |(row, numbers): (usize, &Vec<Variance>)| {
            let squares = multipliers.row_squares(row);
            numbers.iter().map(|number| number.repeated(squares)).collect()
        };
        Self {
            products: self.products.scaled(multipliers.largest) + added,
            ..Self::of_numbers(self.numbers.iter().enumerate().map(row).collect())
        }
    }

    /// Of sums of rows that are weighed, a product adding `added`.
    #[must_use]
    pub fn weighed(&self, weights: &MultipliersNoise, added: &Distribution) -> Self {
        let channels = self.numbers.first().map_or(0, Vec::len);
        let row = |(row, squares): (usize, &Vec<f64>)| {
            let largest = |channel: usize| {
                let seen = self.numbers[..squares.len()].iter().map(|numbers| numbers[channel]);
                seen.fold(Variance::ZERO, larger).repeated(weights.row_squares(row))
            };
            let sum = |channel: usize| {
                squares.iter().zip(&self.numbers).map(|(&square, numbers)| numbers[channel].repeated(square)).sum()
            };
            (0..channels).map(|channel| if weights.are_shares { largest(channel) } else { sum(channel) }).collect()
        };
        let products = weights.squares.iter().map(Vec::len).max().unwrap_or(0);
        let passed = self.products.scaled(weights.largest_row_squares().sqrt());
        Self {
            products: std::iter::repeat_n(added, products).cloned().sum::<Distribution>() + passed,
            ..Self::of_numbers(weights.squares.iter().enumerate().map(row).collect())
        }
    }

    /// Of the product of row `row` with a key of which the squares are given, besides [`Self::products`].
    pub fn scored(&self, row: usize, squares: &[f64]) -> Variance {
        self.numbers[row].iter().zip(squares).map(|(number, &square)| number.repeated(square)).sum()
    }
}

fn larger(a: Variance, b: Variance) -> Variance {
    if b > a { b } else { a }
}

fn add_rows(sums: &mut [Vec<Variance>], others: &[Vec<Variance>]) {
    for (sums, others) in sums.iter_mut().zip(others) {
        sums.iter_mut().zip(others).for_each(|(sum, other)| *sum = *sum + *other);
    }
}
