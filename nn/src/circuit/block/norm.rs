//! The factor of LayerNorm: 1/√(variance + ε) of a row whose mean is zero.

use super::reading::Reading;
use super::steps;
use crate::evaluator::{BlockEvaluator, Form, SmoothUse, Use};
use crate::table::SmoothTable;

/// How the factor of a LayerNorm is found.
///
/// The stream's rows have no mean, so LayerNorm is x·r. Its weight and its bias are parts of the maps that follow, which are of x: their
/// results are multiplied by r afterwards, when they are few.
#[derive(Clone, Debug, PartialEq)]
pub struct NormProgram {
    /// Squares of channels, or of pairs of channels. `None` for the first LayerNorm of all: who sends a hidden state knows its variance, and
    /// sends that as well.
    pub(super) squares: Option<Reading>,
    /// What is added to their sum, or to what is sent, in turns: ε.
    pub(super) epsilon: f64,
    /// r, in units of which there is a whole number.
    pub(super) factor: SmoothTable,
}

impl NormProgram {
    /// How squares are read, where the variance is not sent.
    pub fn squares(&self) -> Option<&Reading> {
        self.squares.as_ref()
    }

    /// From now on the variance is sent. The turns that it takes, of a variance of one.
    pub(super) fn expect_variance(&mut self) -> f64 {
        self.squares = None;
        1.0 / self.factor.turn()
    }

    /// How r is read from their sum.
    pub fn factor_table(&self) -> &SmoothTable {
        &self.factor
    }

    /// The variance and ε of each row, in turns, where these are the variances that were sent, if they were.
    ///
    /// # Panics
    /// If they should have been.
    pub(super) fn variances<E: BlockEvaluator>(
        &self,
        evaluator: &mut E,
        stream: &E::Tensor,
        sent: Option<Vec<E::Lane>>,
    ) -> Result<Vec<E::Lane>, E::Error> {
        let terms = match &self.squares {
            Some(squares) => squares.read(evaluator, steps::SQUARES, stream.clone())?,
            None => sent.expect("variances before the first LayerNorm").into_iter().map(|sent| vec![sent]).collect(),
        };
        let sum = |row: &Vec<E::Lane>| {
            let mut sum = evaluator.constant(self.epsilon);
            row.iter().for_each(|term| evaluator.add_scaled(&mut sum, term, 1));
            sum
        };
        Ok(terms.iter().map(sum).collect())
    }

    /// r of each row, `[T, 1]`, by a table of the variance.
    pub(super) fn factors<E: BlockEvaluator>(
        evaluator: &mut E,
        variances: &[E::Lane],
        table: &SmoothTable,
    ) -> Result<E::Tensor, E::Error> {
        let integer = Use::smooth(SmoothUse::Multiplier { log_shared: 0 });
        let factors = evaluator.look_up(steps::NORM, variances, &vec![table; variances.len()], integer)?;
        Ok(evaluator.pack(factors.into_iter().map(|factor| vec![factor]).collect(), Form::Multipliers))
    }
}
