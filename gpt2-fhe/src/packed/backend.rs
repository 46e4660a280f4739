//! What the packed evaluator asks of a way to represent packed numbers.

use nn::evaluator::{Form, LinearMap, Rows};
use nn::table::{Smooth, SmoothTable};
use nn::watched::InspectedRows;
use tfhe_core::noise::{Distribution, Variance};

use super::prediction::ValueNoise;

/// A number on its way through lookups: what represents it, and which kinds of ciphertexts it is a sum of: of neither, if it is known.
#[derive(Clone, Debug)]
pub struct Summed<C> {
    /// What represents it.
    pub content: C,
    /// Whether it has a part under the arithmetic ring's key.
    pub score: bool,
    /// Whether it has a part under the lookup ring's key.
    pub lookup: bool,
}

/// The operations on packed numbers, encrypted, simulated, or merely counted.
///
/// Each is given what noise it is predicted to leave, where that depends on its operands: a simulation draws it.
pub trait PackedBackend {
    /// Whether the noise of every number is predicted on the way. Where many are drawn it was, once, before.
    const TRACKED: bool = true;

    /// The input of all heads.
    type Input;
    /// What a linear map of it gives.
    type Projection;
    /// A product of two of these: blocks of scores.
    type Product;
    /// One number.
    type Number: Clone + Send + Sync;
    /// The outputs.
    type Sum;

    /// Linear maps of the input.
    fn project(&mut self, input: &Self::Input, maps: &[LinearMap<'_>]) -> Vec<Self::Projection>;

    /// q·kᵀ modulo 2^log_modulus.
    fn multiply(&mut self, factors: [Self::Projection; 2], log_modulus: u32, noise: &Distribution) -> Self::Product;

    /// The numbers of the rows of the span: row i has i + 1.
    fn scores(&mut self, product: Self::Product) -> Rows<Self::Number>;

    /// `sum += factor·other`.
    fn add_scaled(&self, sum: &mut Self::Number, other: &Self::Number, factor: i64);

    /// A known number, in turns.
    fn constant(&self, turns: f64) -> Self::Number;

    /// Table `i` at number `i`, by the bootstrapping of `function`.
    fn look_up(
        &mut self,
        function: Smooth,
        numbers: &[&Summed<Self::Number>],
        tables: &[&SmoothTable],
    ) -> Vec<Self::Number>;

    /// Weighted sums of values, of the rows of the span, added to `sum`.
    fn weigh(
        &mut self,
        weights: &[Vec<Summed<Self::Number>>],
        values: Self::Projection,
        noise: &ValueNoise,
        sum: Option<Self::Sum>,
    ) -> Self::Sum;

    /// Adds constants to each row, in turns.
    fn add_constants(&mut self, sum: Self::Sum, turns: &[f64]) -> Self::Sum;

    /// What a linear map of form `form` gave, a row to a token, number by number, in turns: for whoever watches. `gathered` is the noise that it is
    /// predicted to have.
    fn projected<'s>(
        &'s self,
        projection: &'s Self::Projection,
        form: Form,
        gathered: Variance,
    ) -> InspectedRows<'s, Partial<Self::Number>>;

    /// The same of weighted sums, a row to a row of the span.
    fn summed<'s>(&'s self, sum: &'s Self::Sum) -> InspectedRows<'s, Partial<Self::Number>>;
}

/// A number, and the variance of the noise that it is to have and does not have yet: a simulation draws some noise later than it arises.
#[derive(Clone, Copy, Debug)]
pub struct Partial<C> {
    /// What represents it.
    pub content: C,
    /// What is missing.
    pub undrawn: Variance,
}

impl<C> Partial<C> {
    /// With all of its noise.
    pub fn complete(content: C) -> Self {
        Self { content, undrawn: Variance::ZERO }
    }
}

/// log2 of the modulus of a factor.
pub(super) fn log_modulus(form: Form) -> u32 {
    match form {
        Form::Cyclic(_, log_modulus) => log_modulus,
        _ => unreachable!("programs over smooth tables multiply numbers in turns"),
    }
}
