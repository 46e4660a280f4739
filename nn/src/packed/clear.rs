//! The packed head without noise.

use std::convert::Infallible;

use super::program::{Function, PackedEngine, PackedProgram};
use crate::matrix::Matrix;

/// Computes the head on integers and exact functions.
#[derive(Clone, Debug)]
pub struct ClearPackedEngine<'a> {
    program: &'a PackedProgram,
    /// `[T, d]`, of queries, keys and values.
    projected: [Matrix<i64>; 3],
    largest_difference: f64,
    out_of_range: usize,
}

impl<'a> ClearPackedEngine<'a> {
    /// With the integers `[T, E]` of an input.
    ///
    /// # Panics
    /// If the input does not have E columns.
    pub fn new(program: &'a PackedProgram, input: &Matrix<i32>) -> Self {
        let no_bias = vec![0; program.head_size()];
        let [query, key] = [program.query(), program.key()].map(|(weight, bias)| project(input, weight, bias));
        let value = project(input, program.value(), &no_bias);
        Self { program, projected: [query, key, value], largest_difference: 0.0, out_of_range: 0 }
    }

    /// The output, `[T, d]`, in its integers' units.
    pub fn evaluate(&mut self) -> Matrix<f64> {
        let program = self.program;
        match program.evaluate(self, self.projected[0].rows()) {
            Ok(output) => output,
            Err(never) => match never {},
        }
    }

    /// Queries, keys and values, each `[T, d]`.
    pub fn projected(&self) -> &[Matrix<i64>; 3] {
        &self.projected
    }

    /// The largest difference of which a softplus was computed, in turns.
    pub fn largest_difference(&self) -> f64 {
        self.largest_difference
    }

    /// The number of differences beyond the limit, of exponents below it, and of outputs beyond theirs.
    pub fn out_of_range(&self) -> usize {
        self.out_of_range
    }
}

/// input·weight + bias: `[T, E] × [E, d]`.
fn project(input: &Matrix<i32>, weight: &Matrix<i32>, bias: &[i64]) -> Matrix<i64> {
    assert_eq!(input.cols(), weight.rows(), "an input of the head's embedding size");
    let mut output = Matrix::from_fn(input.rows(), weight.cols(), |_, column| bias[column]);
    for row in 0..input.rows() {
        for (&x, weights) in input.row(row).iter().zip(weight.data().chunks_exact(weight.cols())) {
            let sums = output.row_mut(row).iter_mut();
            sums.zip(weights).for_each(|(sum, &w)| *sum += i64::from(x) * i64::from(w));
        }
    }
    output
}

/// The representative in [−1/2, 1/2).
fn fraction(turns: f64) -> f64 {
    turns - (turns + 0.5).floor()
}

impl PackedEngine for ClearPackedEngine<'_> {
    type Value = f64;
    type Output = Matrix<f64>;
    type Error = Infallible;

    fn scores(&mut self) -> Result<Vec<Vec<f64>>, Infallible> {
        let [query, key, _] = &self.projected;
        let turn = 2f64.powi(-(self.program.log_modulus() as i32));
        let score = |i: usize, j: usize| -> f64 {
            query.row(i).iter().zip(key.row(j)).map(|(&q, &k)| q * k).sum::<i64>() as f64 * turn
        };
        Ok((0..query.rows()).map(|i| (0..=i).map(|j| score(i, j)).collect()).collect())
    }

    fn add_scaled(&self, value: &mut f64, other: &f64, factor: i64) {
        *value += factor as f64 * other;
    }

    fn certainty(&self) -> f64 {
        1.0
    }

    fn look_up(&mut self, function: Function, inputs: Vec<f64>) -> Result<Vec<f64>, Infallible> {
        let limit = self.program.difference_limit();
        let outputs = inputs.into_iter().map(|input| {
            let turns = match function {
                Function::Softplus => {
                    let difference = fraction(input);
                    self.largest_difference = self.largest_difference.max(difference.abs());
                    self.out_of_range += usize::from(difference.abs() > limit);
                    difference
                }
                Function::Exponential => {
                    // Of one sign, so read around −1/4.
                    let exponent = fraction(input + 0.25) - 0.25;
                    self.out_of_range += usize::from(exponent < -2.0 * limit);
                    exponent
                }
            };
            self.program.apply(function, turns)
        });
        Ok(outputs.collect())
    }

    fn weigh(&mut self, probabilities: Vec<Vec<f64>>) -> Result<Matrix<f64>, Infallible> {
        let value = &self.projected[2];
        let mut output = Matrix::from_fn(value.rows(), value.cols(), |_, _| 0.0);
        for (row, probabilities) in probabilities.iter().enumerate() {
            for (j, &probability) in probabilities.iter().enumerate() {
                let sums = output.row_mut(row).iter_mut();
                sums.zip(value.row(j)).for_each(|(sum, &v)| *sum += probability * v as f64);
            }
        }
        let limit = self.program.output_limit();
        self.out_of_range += output.iter().filter(|x| x.abs() > limit).count();
        Ok(output)
    }
}
