//! What the block evaluator asks of a way to represent numbers of whole blocks.

use nn::evaluator::{Entries, Form, LinearMap, Rows, SmoothUse};
use nn::table::SmoothTable;
use tfhe_core::blind_rotation::TOGETHER;
use tfhe_core::noise::{Distribution, Variance};

/// A number on its way to lookups: what represents it, and which kinds of ciphertexts it is a sum of: of neither, if it is known.
#[derive(Clone, Debug)]
pub struct ReadNumber<C> {
    /// What represents it.
    pub content: C,
    /// Whether it has a part under the arithmetic ring's key.
    pub arithmetic: bool,
    /// Whether it has a part under the lookup ring's key.
    pub lookup: bool,
}

/// The noise of a lookup.
#[derive(Clone, Copy, Debug)]
pub struct LookupNoise {
    /// What is added to the argument until it is rounded to an angle of its table, the rounding included.
    pub reading: Variance,
    /// What a result has besides; of a multiplier, each of its levels.
    pub result: Variance,
}

/// The operations of [`nn::evaluator::BlockEvaluator`] on numbers that are encrypted, simulated, or merely counted.
///
/// Where an operation adds noise of its own, it is given what: of each number of the result, or of one product. A simulation draws
/// it. What operands have passes through: linear maps, multiplications and sums do to noise what they do to numbers.
pub trait BlockBackend {
    /// Rows of real numbers, in turns: [`Form::Features`], [`Form::Image`] or [`Form::Queries`].
    type Reals: Clone;
    /// Rows of integers that multiply: [`Form::Multipliers`] or [`Form::Keys`].
    type Multipliers: Clone;
    /// A number, or a multiplier's integer that is not packed yet.
    type Number: Clone + Send + Sync;

    /// Whether the noise of every number is predicted on the way. Where many are drawn it was, once, before.
    fn is_tracked(&self) -> bool {
        true
    }

    /// How many numbers are looked up together at most: whoever watches is told after each time.
    fn together(&self) -> usize {
        TOGETHER
    }

    /// The integer of a multiplier that is not packed yet, if it is known here: noise is predicted for it then, and not for the largest.
    fn integer(&self, _: &Self::Number) -> Option<f64> {
        None
    }

    /// Linear maps of features, `[n, E] -> [n, C]`; what the map makes of the noise of coefficients that hold no feature is `added`, one for
    /// each map.
    fn linear(&mut self, input: &Self::Reals, maps: &[LinearMap<'_>], added: &[Variance]) -> Vec<Self::Reals>;

    /// Each row times its own integer; `added` is what a product of ciphertexts adds.
    fn scale_rows(&mut self, reals: Self::Reals, multipliers: &Self::Multipliers, added: &Distribution) -> Self::Reals;

    /// Queries times keys: of each row the needed entries; `added` is what a product of ciphertexts adds.
    fn multiply(
        &mut self,
        queries: &Self::Reals,
        keys: &Self::Multipliers,
        entries: Entries,
        added: &Distribution,
    ) -> Rows<Self::Number>;

    /// Σ_j weights_ij·values_j, added to `sum`; `added` is what one product of ciphertexts adds.
    fn weigh(
        &mut self,
        weights: &Self::Multipliers,
        values: &Self::Reals,
        sum: Option<Self::Reals>,
        added: &Distribution,
    ) -> Self::Reals;

    /// The numbers of rows, one by one.
    fn numbers(&mut self, reals: Self::Reals) -> Rows<Self::Number>;

    /// `sum += factor·other`.
    fn add_scaled(&self, sum: &mut Self::Number, other: &Self::Number, factor: i64);

    /// A known number, in turns.
    fn constant(&self, turns: f64) -> Self::Number;

    /// Table `i` at number `i`, all for one use, and all of the same kinds of ciphertexts.
    fn look_up(
        &mut self,
        result: SmoothUse,
        numbers: &[&ReadNumber<Self::Number>],
        tables: &[&SmoothTable],
        noise: LookupNoise,
    ) -> Vec<Self::Number>;

    /// Results of lookups together, as [`Form::Features`] or [`Form::Queries`]; `added` is what packing adds to each.
    fn pack(&mut self, rows: Rows<Self::Number>, form: Form, added: Variance) -> Self::Reals;

    /// Integers together, as [`Form::Multipliers`] or [`Form::Keys`].
    fn pack_multipliers(&mut self, rows: Rows<Self::Number>, form: Form) -> Self::Multipliers;

    /// Adds constants to each row, in turns.
    fn add_constants(&mut self, reals: Self::Reals, turns: &[f64]) -> Self::Reals;

    /// `sum += other`.
    fn add(&mut self, sum: &mut Self::Reals, other: &Self::Reals);

    /// Rows, and others below them.
    fn append(&mut self, above: &mut Self::Reals, below: Self::Reals);

    /// Multipliers, and others below them.
    fn append_multipliers(&mut self, above: &mut Self::Multipliers, below: Self::Multipliers);

    /// The last row.
    fn last_row(&mut self, reals: &Self::Reals) -> Self::Reals;

    /// Features without those after the first `channels` of each row.
    fn narrowed(&mut self, reals: &Self::Reals, channels: usize) -> Self::Reals;

    /// The last row of multipliers.
    fn last_multipliers(&mut self, multipliers: &Self::Multipliers) -> Self::Multipliers;

    /// Known numbers in turns, of a form of reals.
    fn known(&mut self, rows: Rows<f64>, form: Form) -> Self::Reals;

    /// Known integers, of a form of multipliers.
    fn known_multipliers(&mut self, rows: Rows<f64>, form: Form) -> Self::Multipliers;
}
