//! The evaluator on plain numbers: what every other evaluator must agree with.

use crate::evaluator::{
    BlockEvaluator, Entries, Evaluator, Form, LinearMap, Rows, Side, SmoothEvaluator, SmoothUse, Use,
};
use crate::matrix::Matrix;
use crate::range::IntegerRange;
use crate::table::{Function, SmoothTable};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::marker::PhantomData;

/// Computes programs on plain numbers, counts their operations, and reports what does not fit its declared range.
///
/// Integers up to 2^53 are exact, which those of integer programs are; larger scores of packed ones are rounded to as many bits. Nothing
/// is an error here: an input outside its table gets the table's value there, as from every evaluator.
#[derive(Clone, Debug)]
pub struct ClearEvaluator<T> {
    steps: Vec<StepRecord>,
    tables: PhantomData<T>,
}

/// A matrix of plain numbers, whose rows may have different lengths.
#[derive(Clone, Debug, PartialEq)]
pub struct ClearTensor {
    rows: Rows<f64>,
    /// What it was made for; `None` of an input.
    form: Option<Form>,
}

/// What happened in one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepRecord {
    /// Name of the step.
    pub name: &'static str,
    /// How many lookups, by the size of their tables ([`Function::size`]).
    pub lookups: BTreeMap<(u32, u32), usize>,
    /// Products of two numbers.
    pub multiplications: usize,
    /// The least and the largest number that its tables read.
    pub inputs: Option<[f64; 2]>,
    /// The least and the largest number that it produced.
    pub outputs: Option<[f64; 2]>,
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

    /// The integers that its tables read.
    pub fn integer_inputs(&self) -> Option<IntegerRange> {
        self.inputs.map(integers)
    }

    /// The integers that it produced.
    pub fn integer_outputs(&self) -> Option<IntegerRange> {
        self.outputs.map(integers)
    }
}

impl StepRecord {
    /// Notes what products give, and what does not fit.
    fn check_factors(&mut self, left: &ClearTensor, right: &ClearTensor, products: &[Vec<f64>]) {
        if let Some(Form::Factor(_, factor)) = left.form {
            self.overflows += count_overflows(products.iter().flatten(), factor.product_bits);
            self.overflows += usize::from(!operands_fit(left, right, factor.operand_bits));
        }
        observe(&mut self.outputs, products.iter().flatten());
    }
}

fn integers([min, max]: [f64; 2]) -> IntegerRange {
    IntegerRange { min: min as i64, max: max as i64 }
}

impl<T> Default for ClearEvaluator<T> {
    fn default() -> Self {
        Self { steps: Vec::new(), tables: PhantomData }
    }
}

impl<T> ClearEvaluator<T> {
    /// An evaluator that has computed nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What happened so far, one record per step, in the order of their first operation.
    pub fn steps(&self) -> &[StepRecord] {
        &self.steps
    }

    /// What happened in a step.
    pub fn record(&self, step: &str) -> Option<&StepRecord> {
        self.steps.iter().find(|record| record.name == step)
    }

    /// Lookups so far.
    pub fn lookups(&self) -> usize {
        self.steps.iter().map(StepRecord::lookup_count).sum()
    }

    /// Products of two numbers so far.
    pub fn multiplications(&self) -> usize {
        self.steps.iter().map(|step| step.multiplications).sum()
    }

    /// Table inputs outside their table's range, so far.
    pub fn out_of_range(&self) -> usize {
        self.steps.iter().map(|step| step.out_of_range).sum()
    }

    /// Numbers outside their declared bits, so far.
    pub fn overflows(&self) -> usize {
        self.steps.iter().map(|step| step.overflows).sum()
    }

    /// Notes numbers of a step that are outside their range.
    pub(crate) fn count_overflows(&mut self, step: &'static str, count: usize) {
        self.step(step).overflows += count;
    }

    fn step(&mut self, name: &'static str) -> &mut StepRecord {
        let index = self.steps.iter().position(|step| step.name == name).unwrap_or_else(|| {
            self.steps.push(StepRecord { name, ..StepRecord::default() });
            self.steps.len() - 1
        });
        &mut self.steps[index]
    }

    fn multiply_pair(&mut self, step: &'static str, [left, right]: &[ClearTensor; 2], entries: Entries) -> ClearTensor {
        // Columns of the right factor, each as long as a full row of the left one.
        let transposed = matches!(right.form, Some(Form::Cyclic(Side::Right, _) | Form::Keys));
        let columns = if transposed { &right.rows } else { &right.transposed() };
        let mut rows = Vec::new();
        let record = self.step(step);
        for (row, count) in entries.rows(left.rows.len(), columns.len()) {
            let left = &left.rows[row];
            let entry = |column: &Vec<f64>| left.iter().zip(column).map(|(a, b)| a * b).sum::<f64>();
            rows.push(columns[..count].iter().map(entry).collect::<Vec<f64>>());
            record.multiplications += left.len() * count;
        }
        record.check_factors(left, right, &rows);
        ClearTensor { rows, form: left.form }
    }
}

impl ClearTensor {
    /// The integers of an input, `[T, E]`.
    pub fn input(integers: &Matrix<i32>) -> Self {
        let row = |row: usize| integers.row(row).iter().map(|&x| f64::from(x)).collect();
        Self { rows: (0..integers.rows()).map(row).collect(), form: None }
    }

    /// The numbers, row by row.
    pub fn rows(&self) -> &[Vec<f64>] {
        &self.rows
    }

    /// The matrix of rows of one length.
    pub(crate) fn matrix<N>(&self, number: impl Fn(f64) -> N) -> Matrix<N> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let data = self.rows.iter().flatten().map(|&x| number(x)).collect();
        Matrix::new(self.rows.len(), columns, data).expect("rows of one length")
    }

    fn transposed(&self) -> Rows<f64> {
        let columns = self.rows.first().map_or(0, Vec::len);
        (0..columns).map(|column| self.rows.iter().map(|row| row[column]).collect()).collect()
    }
}

impl<T: Function> Evaluator for ClearEvaluator<T> {
    type Tensor = ClearTensor;
    type Lane = f64;
    type Table = T;
    type Error = Infallible;

    fn linear(
        &mut self,
        step: &'static str,
        input: &ClearTensor,
        maps: &[LinearMap<'_>],
    ) -> Result<Vec<ClearTensor>, Infallible> {
        let record = self.step(step);
        let in_turns = input.form == Some(Form::Features);
        let (integers, turns) =
            if in_turns { (None, Some(input.matrix(|x| x))) } else { (Some(input.matrix(|x| x as i32)), None) };
        let map = |map: &LinearMap<'_>| {
            let result = match (&integers, &turns) {
                (Some(integers), _) => map.apply(integers).map(|&x| x as f64),
                (None, turns) => turns.as_ref().expect("one of the two").multiply(&map.weight.map(|&w| f64::from(w))),
            };
            let rows: Rows<f64> = (0..result.rows()).map(|row| result.row(row).to_vec()).collect();
            if let Some(Form::Terms(term)) = input.form {
                record.overflows += count_overflows(rows.iter().flatten(), term.sum_bits);
            }
            observe(&mut record.outputs, rows.iter().flatten());
            ClearTensor { rows, form: Some(map.form) }
        };
        Ok(maps.iter().map(map).collect())
    }

    fn multiply(
        &mut self,
        step: &'static str,
        factors: Vec<[ClearTensor; 2]>,
        entries: Entries,
    ) -> Result<Vec<ClearTensor>, Infallible> {
        Ok(factors.iter().map(|factors| self.multiply_pair(step, factors, entries)).collect())
    }

    fn weigh(
        &mut self,
        step: &'static str,
        weights: ClearTensor,
        values: ClearTensor,
        sum: Option<ClearTensor>,
    ) -> Result<ClearTensor, Infallible> {
        let columns = values.rows.first().map_or(0, Vec::len);
        let mut rows = sum.map_or_else(|| vec![vec![0.0; columns]; weights.rows.len()], |sum| sum.rows);
        for (sums, weights) in rows.iter_mut().zip(&weights.rows) {
            for (weight, values) in weights.iter().zip(&values.rows) {
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
            }
        }
        let record = self.step(step);
        record.multiplications += columns * weights.rows.iter().map(Vec::len).sum::<usize>();
        record.check_factors(&weights, &values, &rows);
        Ok(ClearTensor { rows, form: weights.form })
    }

    fn lanes(&mut self, tensor: ClearTensor) -> Rows<f64> {
        let Some(Form::Cyclic(_, log_modulus)) = tensor.form else { return tensor.rows };
        let turn = 2f64.powi(-(log_modulus as i32));
        tensor.rows.into_iter().map(|row| row.into_iter().map(|x| x * turn).collect()).collect()
    }

    fn pack(&mut self, rows: Rows<f64>, form: Form) -> ClearTensor {
        ClearTensor { rows, form: Some(form) }
    }

    fn look_up(
        &mut self,
        step: &'static str,
        lanes: &[f64],
        tables: &[&T],
        result: Use,
    ) -> Result<Vec<f64>, Infallible> {
        assert_eq!(lanes.len(), tables.len(), "one table for each number");
        let multiplies = matches!(result.smooth, SmoothUse::Multiplier { .. });
        let read = |(&input, table): (&f64, &&T)| {
            let value = table.value_at(input);
            if multiplies { value.round_ties_even() } else { value }
        };
        let results: Vec<f64> = lanes.iter().zip(tables).map(read).collect();
        let record = self.step(step);
        for (&input, table) in lanes.iter().zip(tables) {
            *record.lookups.entry(table.size()).or_default() += 1;
            record.out_of_range += usize::from(!table.holds(input));
        }
        observe(&mut record.inputs, lanes);
        observe(&mut record.outputs, &results);
        Ok(results)
    }

    fn add_scaled(&self, sum: &mut f64, other: &f64, factor: i64) {
        *sum += factor as f64 * other;
    }
}

impl SmoothEvaluator for ClearEvaluator<SmoothTable> {
    fn constant(&self, turns: f64) -> f64 {
        turns
    }

    fn add_constants(
        &mut self,
        step: &'static str,
        mut tensor: ClearTensor,
        turns: &[f64],
    ) -> Result<ClearTensor, Infallible> {
        self.step(step);
        tensor.rows.iter_mut().for_each(|row| row.iter_mut().zip(turns).for_each(|(x, constant)| *x += constant));
        Ok(tensor)
    }
}

impl BlockEvaluator for ClearEvaluator<SmoothTable> {
    fn scale_rows(
        &mut self,
        step: &'static str,
        mut tensor: ClearTensor,
        multipliers: &ClearTensor,
    ) -> Result<ClearTensor, Infallible> {
        for (row, multiplier) in tensor.rows.iter_mut().zip(&multipliers.rows) {
            row.iter_mut().for_each(|x| *x *= multiplier[0]);
        }
        let record = self.step(step);
        record.multiplications += tensor.rows.iter().map(Vec::len).sum::<usize>();
        observe(&mut record.outputs, tensor.rows.iter().flatten());
        Ok(tensor)
    }

    fn add(&mut self, sum: &mut ClearTensor, other: &ClearTensor) {
        for (sums, terms) in sum.rows.iter_mut().zip(&other.rows) {
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
    }

    fn append(&mut self, above: &mut ClearTensor, below: ClearTensor) {
        above.rows.extend(below.rows);
    }

    fn last_row(&mut self, tensor: &ClearTensor) -> ClearTensor {
        ClearTensor { rows: tensor.rows.last().cloned().into_iter().collect(), form: tensor.form }
    }

    fn split_last(&mut self, tensor: &ClearTensor) -> (ClearTensor, Vec<f64>) {
        let split = |row: &Vec<f64>| row.split_last().map(|(&last, rest)| (rest.to_vec(), last));
        let (rows, last) = tensor.rows.iter().filter_map(split).unzip();
        (ClearTensor { rows, form: tensor.form }, last)
    }

    fn note_decrypted(&mut self, step: &'static str, tensor: &ClearTensor, limit: f64) {
        let beyond = tensor.rows.iter().flatten().filter(|x| x.abs() > limit).count();
        self.count_overflows(step, beyond);
    }

    fn known(&mut self, rows: Rows<f64>, form: Form) -> ClearTensor {
        ClearTensor { rows, form: Some(form) }
    }
}

/// Extends `range` to hold `numbers`.
fn observe<'a>(range: &mut Option<[f64; 2]>, numbers: impl IntoIterator<Item = &'a f64>) {
    for &x in numbers {
        let [min, max] = range.get_or_insert([x, x]);
        (*min, *max) = (min.min(x), max.max(x));
    }
}

/// How many numbers do not lie in −2^bits .. 2^bits.
fn count_overflows<'a>(numbers: impl Iterator<Item = &'a f64>, bits: u32) -> usize {
    let limit = 2f64.powi(bits as i32);
    numbers.filter(|&number| !(-limit..limit).contains(number)).count()
}

/// Whether the sum and the difference of any entry of either factor lie in −2^bits/2 .. 2^bits/2.
fn operands_fit(left: &ClearTensor, right: &ClearTensor, bits: u32) -> bool {
    let range = |factor: &ClearTensor| IntegerRange::covering(factor.rows.iter().flatten().map(|&x| x as i64));
    let (Some(left), Some(right)) = (range(left), range(right)) else { return true };
    let least = (left.min + right.min).min(left.min - right.max);
    let most = (left.max + right.max).max(left.max - right.min);
    IntegerRange { min: least, max: most }.signed_bits() < bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluator::FactorUse;
    use crate::table::LookupTable;

    /// Rows of the left factor may be short, and not all of the product is computed.
    #[test]
    fn products_skip_what_is_not_there() {
        let product = |product_bits, operand_bits| {
            let evaluator = &mut ClearEvaluator::<LookupTable>::new();
            let mut pack =
                |rows, side| evaluator.pack(rows, Form::Factor(side, FactorUse { product_bits, operand_bits }));
            let left = pack(vec![vec![2.0], vec![3.0, 4.0]], Side::Left);
            let right = pack(vec![vec![1.0, 10.0], vec![100.0, 1000.0]], Side::Right);
            let Ok(mut products) = evaluator.multiply("p", vec![[left, right]], Entries::Causal { first: 0 });
            (products.remove(0).rows, evaluator.multiplications(), evaluator.overflows())
        };
        assert_eq!(product(12, 12), (vec![vec![2.0], vec![403.0, 4030.0]], 5, 0));
        // 4030 >= 2^11, and 1000 + 4 >= 2^10/2.
        assert_eq!(product(11, 10).2, 2);
    }

    #[test]
    fn wraps_are_counted_and_negacyclic() {
        let table = LookupTable::tabulate(-2, 2, 0, |m| 10 + m);
        let mut evaluator = ClearEvaluator::new();
        let Ok(results) = evaluator.look_up("t", &[-2.0, 1.0, 2.0, -3.0], &[&table; 4], Use::default());
        assert_eq!(results, [8.0, 11.0, -8.0, -11.0]);
        assert_eq!((evaluator.lookups(), evaluator.out_of_range()), (4, 2));
        assert_eq!(evaluator.steps()[0].integer_inputs(), Some(IntegerRange { min: -3, max: 2 }));
    }

    /// Of arguments of smooth tables only the fraction counts, but one of a whole turn is out of range.
    #[test]
    fn whole_turns_are_out_of_range() {
        let (softplus, exponential) = (SmoothTable::softplus(4.0, 0.2), SmoothTable::exponential(2.0, 0.4, 0.05, 0.5));
        let mut evaluator = ClearEvaluator::new();
        let Ok(results) = evaluator.look_up(
            "t",
            &[0.1, 1.1, -0.3, -1.3],
            &[&softplus, &softplus, &exponential, &exponential],
            Use::default(),
        );
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(near(results[0], 0.4_f64.exp().ln_1p() / 4.0) && near(results[0], results[1]), "{results:?}");
        assert!(near(results[2], 0.5 * (-0.6_f64).exp()) && near(results[2], results[3]), "{results:?}");
        assert_eq!(evaluator.out_of_range(), 2);
    }
}
