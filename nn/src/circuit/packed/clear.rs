//! The packed attention without noise.

use std::convert::Infallible;
use std::ops::Range;

use super::program::{EXPONENT_FACTOR, Function, PackedEngine, PackedHead, PackedProgram, Row, Span};
use crate::matrix::Matrix;

/// Computes the attention on integers and exact functions.
#[derive(Clone, Debug)]
pub struct ClearPackedEngine<'a> {
    program: &'a PackedProgram,
    span: Span,
    /// Of each head, queries, keys `[T, d]` and values `[T, O]`.
    projected: Vec<[Matrix<i64>; 3]>,
    /// `[rows, O]`, without biases.
    output: Matrix<f64>,
    largest_difference: f64,
    out_of_range: usize,
}

impl<'a> ClearPackedEngine<'a> {
    /// With the integers `[T, E]` of an input.
    ///
    /// # Panics
    /// If the input is not of the program and the span.
    pub fn new(program: &'a PackedProgram, input: &Matrix<i32>, span: Span) -> Self {
        assert_eq!((input.rows(), input.cols()), (span.tokens(), program.embedding_size()), "an input of the span");
        let projected = program.heads().iter().map(|head| project_head(head, input)).collect();
        let output = Matrix::from_fn(span.rows().len(), program.output_size(), |_, _| 0.0);
        Self { program, span, projected, output, largest_difference: 0.0, out_of_range: 0 }
    }

    /// The output, `[rows, O]`, in its integers' units.
    pub fn evaluate(mut self) -> ClearOutput {
        let heads = 0..self.program.heads().len();
        let Ok(()) = PackedProgram::attend(&mut self, heads);
        let limit = self.program.output_limit();
        let beyond = self.output.iter().filter(|x| x.abs() > limit).count();
        let mut numbers = self.output;
        for row in 0..numbers.rows() {
            numbers.row_mut(row).iter_mut().zip(self.program.output_bias()).for_each(|(x, bias)| *x += bias);
        }
        ClearOutput { numbers, largest_difference: self.largest_difference, out_of_range: self.out_of_range + beyond }
    }

    /// The exact scores of some of the heads, in turns.
    pub fn scores_of(&self, heads: Range<usize>) -> Vec<Row<f64>> {
        let row = |head: usize, query: usize| {
            let [queries, keys, _] = &self.projected[head];
            let turn = 2f64.powi(-(self.program.heads()[head].log_modulus() as i32));
            let score =
                |j: usize| queries.row(query).iter().zip(keys.row(j)).map(|(&q, &k)| q * k).sum::<i64>() as f64 * turn;
            Row { head, query, entries: (0..=query).map(score).collect() }
        };
        heads.flat_map(|head| self.span.rows().map(move |query| (head, query))).map(|(h, i)| row(h, i)).collect()
    }

    /// Of each head, queries, keys `[T, d]` and values `[T, O]`.
    pub fn projected(&self) -> &[[Matrix<i64>; 3]] {
        &self.projected
    }
}

/// What a run without noise gives.
#[derive(Clone, Debug)]
pub struct ClearOutput {
    /// `[rows, O]`, in the output's integers' units.
    pub numbers: Matrix<f64>,
    /// The largest difference of which a softplus was computed, in turns.
    pub largest_difference: f64,
    /// The number of differences beyond the limit, of exponents below it, and of outputs beyond theirs.
    pub out_of_range: usize,
}

/// Queries, keys and values of a head.
fn project_head(head: &PackedHead, input: &Matrix<i32>) -> [Matrix<i64>; 3] {
    let [query, key] = [head.query(), head.key()].map(|(weight, bias)| {
        let mut projected = input.multiply_exact(weight);
        for row in 0..projected.rows() {
            projected.row_mut(row).iter_mut().zip(bias).for_each(|(x, bias)| *x += bias);
        }
        projected
    });
    [query, key, input.multiply_exact(head.value())]
}

/// The representative in [−1/2, 1/2).
fn fraction(turns: f64) -> f64 {
    turns - (turns + 0.5).floor()
}

impl PackedEngine for ClearPackedEngine<'_> {
    type Value = f64;
    type Error = Infallible;

    fn scores(&mut self, heads: Range<usize>) -> Result<Vec<Row<f64>>, Infallible> {
        Ok(self.scores_of(heads))
    }

    fn add_scaled(&self, value: &mut f64, other: &f64, factor: i64) {
        *value += factor as f64 * other;
    }

    fn certainty(&self) -> f64 {
        1.0
    }

    fn look_up(&mut self, function: Function, inputs: Vec<(usize, f64)>) -> Result<Vec<f64>, Infallible> {
        let outputs = inputs.into_iter().map(|(head, input)| {
            let head = &self.program.heads()[head];
            let limit = head.difference_limit_turns();
            let turns = match function {
                Function::Softplus => {
                    // Without noise scores are known besides their turn, so that a difference of whole turns is seen.
                    self.largest_difference = self.largest_difference.max(input.abs());
                    self.out_of_range += usize::from(input.abs() > limit);
                    fraction(input)
                }
                Function::Exponential => {
                    self.out_of_range += usize::from(input < -(EXPONENT_FACTOR as f64) * limit);
                    // Of one sign, so read around −1/4.
                    fraction(input + 0.25) - 0.25
                }
            };
            head.apply(function, turns)
        });
        Ok(outputs.collect())
    }

    fn weigh(&mut self, probabilities: Vec<Row<f64>>) -> Result<(), Infallible> {
        for row in probabilities {
            let values = &self.projected[row.head][2];
            let output = self.output.row_mut(row.query - self.span.rows().start);
            for (j, probability) in row.entries.into_iter().enumerate() {
                output.iter_mut().zip(values.row(j)).for_each(|(sum, &v)| *sum += probability * v as f64);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::PackedProjection;

    /// A head of one channel, whose scores are products of inputs over 2^8 turns.
    fn products() -> PackedProgram {
        let one = || Matrix::from_fn(1, 1, |_, _| 1);
        let projection = || PackedProjection { weight: one(), bias: vec![0] };
        let head = PackedHead {
            query: projection(),
            key: projection(),
            value: one(),
            log_modulus: 8,
            score_turn: 4.0,
            headroom: 0.2,
            score_difference_limit: 0.8,
            value_norm: 1.0,
        };
        PackedProgram { heads: vec![head], input_levels: 127, output_bias: vec![0.0], output_limit: 1e6, max_tokens: 2 }
    }

    /// Scores of 0 and s²/256 turns: the exponent of the smaller one, and then the softplus, are beyond their limits, also where the
    /// difference is one or several whole turns, which look like none.
    #[test]
    fn differences_of_whole_turns_are_out_of_range() {
        let program = products();
        for (second, expected) in [(0, 0), (3, 0), (7, 1), (8, 2), (16, 2), (17, 2), (64, 2), (127, 2)] {
            let input = Matrix::new(2, 1, vec![0, second]).unwrap();
            let output = ClearPackedEngine::new(&program, &input, Span::all(2)).evaluate();
            assert_eq!(output.out_of_range, expected, "{second}");
            assert_eq!(output.largest_difference, f64::from(second * second) / 256.0);
        }
    }
}
