//! The engine on plain integers: what every other engine must agree with.

use crate::engine::{Engine, FactorUse, LookupTable, NeededProducts, Product, TermUse, Use};
use crate::matrix::Matrix;
use crate::range::IntegerRange;
use std::collections::BTreeMap;
use std::convert::Infallible;

/// Computes the data flow on integers, counts its operations, and reports what does not fit its declared bits.
///
/// Nothing is an error here: an input outside its table gets the table's negacyclic value, as from every engine.
#[derive(Clone, Debug, Default)]
pub struct ClearEngine {
    steps: Vec<StepRecord>,
    additions: usize,
}

/// What happened in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepRecord {
    /// Name of the step.
    pub name: &'static str,
    /// How many lookups, by (bits, rounded bits) of their tables.
    pub lookups: BTreeMap<(u32, u32), usize>,
    /// Products of a value with a known weight.
    pub weight_multiplications: usize,
    /// Products of two values.
    pub multiplications: usize,
    /// The integers that its tables read.
    pub inputs: Option<IntegerRange>,
    /// The integers that it produced.
    pub outputs: Option<IntegerRange>,
    /// Table inputs outside their table's range.
    pub out_of_range: usize,
    /// Products, sums and differences of factors, or weighted sums, outside their declared bits.
    pub overflows: usize,
}

impl StepRecord {
    /// The number of lookups.
    pub fn lookup_count(&self) -> usize {
        self.lookups.values().sum()
    }
}

impl ClearEngine {
    /// An engine that has computed nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What happened so far, one record per step, in the order of their first operation.
    pub fn steps(&self) -> &[StepRecord] {
        &self.steps
    }

    /// Sums and differences computed so far.
    pub fn additions(&self) -> usize {
        self.additions
    }

    /// Lookups so far.
    pub fn lookups(&self) -> usize {
        self.steps.iter().map(StepRecord::lookup_count).sum()
    }

    /// Products of two values so far.
    pub fn multiplications(&self) -> usize {
        self.steps.iter().map(|step| step.multiplications).sum()
    }

    /// Table inputs outside their table's range, so far.
    pub fn out_of_range(&self) -> usize {
        self.steps.iter().map(|step| step.out_of_range).sum()
    }

    /// Values outside their declared bits, so far.
    pub fn overflows(&self) -> usize {
        self.steps.iter().map(|step| step.overflows).sum()
    }

    fn step(&mut self, name: &'static str) -> &mut StepRecord {
        let index = self.steps.iter().position(|step| step.name == name).unwrap_or_else(|| {
            self.steps.push(StepRecord { name, ..StepRecord::default() });
            self.steps.len() - 1
        });
        &mut self.steps[index]
    }
}

impl Engine for ClearEngine {
    type Value = i64;
    type Input = Matrix<i32>;
    type Error = Infallible;

    fn project(
        &mut self,
        step: &'static str,
        input: &Matrix<i32>,
        weight: &Matrix<i32>,
        _bits: u32,
    ) -> Result<Matrix<i64>, Infallible> {
        let result = input.multiply_exact(weight);
        let record = self.step(step);
        record.weight_multiplications += input.rows() * weight.data().len();
        observe(&mut record.outputs, result.iter());
        Ok(result)
    }

    fn lookup(
        &mut self,
        step: &'static str,
        values: &[i64],
        tables: &[&LookupTable],
        _result: Use,
    ) -> Result<Vec<i64>, Infallible> {
        assert_eq!(values.len(), tables.len(), "one table for each value");
        let results: Vec<i64> = values.iter().zip(tables).map(|(&value, table)| table.evaluate(value)).collect();
        let record = self.step(step);
        for (&value, table) in values.iter().zip(tables) {
            *record.lookups.entry((table.bits(), table.rounded_bits())).or_default() += 1;
            record.out_of_range += usize::from(!table.contains(value));
        }
        observe(&mut record.inputs, values);
        observe(&mut record.outputs, &results);
        Ok(results)
    }

    fn matrix_products(
        &mut self,
        step: &'static str,
        products: &[Product<'_, i64>],
        factor: FactorUse,
    ) -> Result<NeededProducts<i64>, Infallible> {
        let results = products.iter().map(multiply_needed).collect::<Vec<_>>();
        let record = self.step(step);
        for (product, result) in products.iter().zip(&results) {
            let entries = || result.iter().flatten();
            record.overflows += count_overflows(entries(), factor.product_bits);
            record.overflows += usize::from(!operands_fit(product, factor.operand_bits));
            record.multiplications += count_multiplications(product);
            observe(&mut record.outputs, entries());
        }
        Ok(results)
    }

    fn weighted_sums(
        &mut self,
        step: &'static str,
        values: &Matrix<i64>,
        weight: &Matrix<i32>,
        bias: &[i64],
        term: TermUse,
    ) -> Result<Matrix<i64>, Infallible> {
        assert_eq!((values.cols(), bias.len()), (weight.rows(), weight.cols()), "shapes of the sums");
        let mut result = Matrix::from_fn(values.rows(), weight.cols(), |_, col| bias[col]);
        for row in 0..values.rows() {
            for (inner, &value) in values.row(row).iter().enumerate() {
                let sums = result.row_mut(row).iter_mut();
                sums.zip(weight.row(inner)).for_each(|(sum, &weight)| *sum += value * weight as i64);
            }
        }
        let record = self.step(step);
        record.weight_multiplications += values.rows() * weight.data().len();
        record.overflows += count_overflows(result.iter(), term.sum_bits);
        observe(&mut record.outputs, result.iter());
        Ok(result)
    }

    fn add(&mut self, a: &i64, b: &i64) -> i64 {
        self.additions += 1;
        a + b
    }

    fn subtract(&mut self, a: &i64, b: &i64) -> i64 {
        self.additions += 1;
        a - b
    }
}

/// Extends `range` to hold `values`.
fn observe<'a>(range: &mut Option<IntegerRange>, values: impl IntoIterator<Item = &'a i64>) {
    let values = IntegerRange::covering(values.into_iter().copied());
    *range = range.iter().copied().chain(values).reduce(IntegerRange::union);
}

/// How many values do not lie in −2^bits .. 2^bits.
fn count_overflows<'a>(values: impl Iterator<Item = &'a i64>, bits: u32) -> usize {
    let limit = 1_i64 << bits;
    values.filter(|&value| !(-limit..limit).contains(value)).count()
}

/// The needed entries of a product.
fn multiply_needed(Product { left, right, needed }: &Product<'_, i64>) -> Matrix<Option<i64>> {
    assert!(left.cols() == right.rows() && (needed.rows(), needed.cols()) == (left.rows(), right.cols()));
    Matrix::from_fn(left.rows(), right.cols(), |row, col| {
        let terms = left.row(row).iter().enumerate().filter_map(|(i, factor)| Some((*factor)? * right[(i, col)]));
        needed[(row, col)].then(|| terms.sum())
    })
}

/// How many products of two values the needed entries take.
fn count_multiplications(Product { left, needed, .. }: &Product<'_, i64>) -> usize {
    let factors = |row| left.row(row).iter().flatten().count();
    let entries = |row| needed.row(row).iter().filter(|&&needed| needed).count();
    (0..left.rows()).map(|row| factors(row) * entries(row)).sum()
}

/// Whether the sum and the difference of any entry of either factor lie in −2^bits/2 .. 2^bits/2.
fn operands_fit(Product { left, right, .. }: &Product<'_, i64>, bits: u32) -> bool {
    let left = IntegerRange::covering(left.iter().flatten().copied());
    let right = IntegerRange::covering(right.iter().copied());
    let (Some(left), Some(right)) = (left, right) else { return true };
    let least = (left.min + right.min).min(left.min - right.max);
    let most = (left.max + right.max).max(left.max - right.min);
    IntegerRange { min: least, max: most }.signed_bits() < bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_skip_what_is_not_there() {
        let left = Matrix::new(2, 2, vec![Some(2), None, Some(3), Some(4)]).unwrap();
        let right = Matrix::new(2, 2, vec![1, 10, 100, 1000]).unwrap();
        let needed = Matrix::new(2, 2, vec![true, false, true, true]).unwrap();
        let mut engine = ClearEngine::new();
        let factor = FactorUse { product_bits: 12, operand_bits: 12 };
        let product = Product { left: &left, right: &right, needed: &needed };
        let result = engine.matrix_products("p", &[product], factor).unwrap();
        assert_eq!(result[0].data(), [Some(2), None, Some(403), Some(4030)]);
        assert_eq!((engine.multiplications(), engine.overflows()), (5, 0));
        let narrow = FactorUse { product_bits: 11, operand_bits: 10 };
        engine.matrix_products("p", &[product], narrow).unwrap();
        assert_eq!(engine.overflows(), 2); // 4030 >= 2^11, and 1000 + 4 >= 2^10/2
    }

    #[test]
    fn wraps_are_counted_and_negacyclic() {
        let table = LookupTable::tabulate(-2, 2, 0, |m| 10 + m);
        let mut engine = ClearEngine::new();
        let results = engine.lookup("t", &[-2, 1, 2, -3], &[&table; 4], Use::default()).unwrap();
        assert_eq!(results, [8, 11, -8, -11]);
        assert_eq!((engine.lookups(), engine.out_of_range()), (4, 2));
        assert_eq!(engine.steps()[0].inputs, Some(IntegerRange { min: -3, max: 2 }));
    }
}
