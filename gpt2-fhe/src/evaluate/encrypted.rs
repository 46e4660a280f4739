//! Encrypted runs beside simulated ones.

use nn::matrix::Matrix;
use nn::metrics::top_k;
use nn::packed::Span;
use serde::Serialize;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::random::SampleSeed;

use super::accuracy::{Accuracy, Sums};
use super::evaluation::Evaluation;
use super::passage::Passage;
use super::reference::Computed;
use crate::run::{Attention, RunError, Session};
use crate::track::{Observer, Unobserved};

/// Encrypted and simulated runs of the same positions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Encrypted.
    pub executed: Accuracy,
    /// Simulated.
    pub simulated: Accuracy,
    /// ‖decrypted − clear engine's‖/‖clear engine's‖ over all positions: what the noise alone does.
    pub executed_noise: f64,
    /// The same of the simulated outputs.
    pub simulated_noise: f64,
    /// The share of positions whose likeliest token is the same after both.
    pub same_top_1: f64,
    /// Decrypted numbers that are farther from the clear engine's than the noise explains; exact circuit: that differ
    /// at all.
    pub mismatches: usize,
}

/// What an [`Agreement`] is made of.
#[derive(Default)]
struct Totals {
    executed: Vec<Sums>,
    simulated: Vec<Sums>,
    executed_squares: f64,
    simulated_squares: f64,
    clear_squares: f64,
    same_top_1: usize,
    mismatches: usize,
}

impl Evaluation<'_> {
    /// The rows of each passage's span encrypted, and again simulated; rows before the span are the clear engine's.
    /// Keys are made once, from `seed`; simulated noise of passage i is drawn from seed i of `samples`, which has nothing to do
    /// with it.
    ///
    /// # Errors
    /// [`RunError::Input`] if a passage does not fit; [`RunError::Unreliable`] and others as [`Attention::plan`];
    /// [`RunError::Randomness`] if there is none for a request; [`RunError::Evaluation`] if `observer` stops it.
    ///
    /// # Panics
    /// If there is no passage.
    pub fn execute(
        &self,
        passages: &[Passage],
        attention: &Attention,
        seed: &ClientSeed,
        samples: &SampleSeed,
        observer: &mut dyn Observer,
    ) -> Result<Agreement, RunError> {
        let longest = passages.iter().map(Passage::span).max_by_key(|span| span.tokens()).expect("a passage");
        let plan = attention.plan(longest)?;
        let mut session = Session::new(attention, &plan, seed)?;
        let mut totals = Totals::default();
        for (index, passage) in passages.iter().enumerate() {
            self.execute_passage(
                passage,
                attention,
                &mut session,
                &samples.derive(index as u64),
                observer,
                &mut totals,
            )?;
        }
        Ok(totals.agreement(passages.len()))
    }

    fn execute_passage(
        &self,
        passage: &Passage,
        attention: &Attention,
        session: &mut Session,
        noise: &SampleSeed,
        observer: &mut dyn Observer,
        totals: &mut Totals,
    ) -> Result<(), RunError> {
        let (reference, span) = (self.reference(passage)?, passage.span());
        let clear = attention.run_clear(&reference.hidden, Span::all(span.tokens()))?;
        let executed = session.execute(attention, &reference.hidden, span, observer)?;
        let simulated = attention.run_simulated(&reference.hidden, span, noise, &mut Unobserved)?;
        let with = |rows: &Matrix<f32>| {
            let mut output = clear.output.clone();
            span.rows().zip(0..).for_each(|(row, new)| output.row_mut(row).copy_from_slice(rows.row(new)));
            Computed { output, ..Computed::of(executed.clone()) }
        };
        let (executed_sums, executed_logits) = self.measure(&reference, &with(&executed.output))?;
        let (simulated_sums, simulated_logits) = self.measure(&reference, &with(&simulated.output))?;
        let last = span.tokens() - 1;
        let same = top_k(executed_logits.row(last), 1) == top_k(simulated_logits.row(last), 1);
        totals.executed.push(executed_sums);
        totals.simulated.push(simulated_sums);
        totals.executed_squares += squared_distance(&executed.output, &executed.clear_output);
        totals.simulated_squares += squared_distance(&simulated.output, &executed.clear_output);
        totals.clear_squares += executed.clear_output.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
        totals.same_top_1 += usize::from(same);
        totals.mismatches += executed.mismatches();
        Ok(())
    }
}

impl Totals {
    fn agreement(&self, passages: usize) -> Agreement {
        let accuracy = |sums: &[Sums]| sums.iter().sum::<Sums>().accuracy();
        // No noise is none, also of outputs that are all zero.
        let noise = |squares: f64| if squares == 0.0 { 0.0 } else { (squares / self.clear_squares).sqrt() };
        Agreement {
            executed: accuracy(&self.executed),
            simulated: accuracy(&self.simulated),
            executed_noise: noise(self.executed_squares),
            simulated_noise: noise(self.simulated_squares),
            same_top_1: self.same_top_1 as f64 / passages as f64,
            mismatches: self.mismatches,
        }
    }
}

/// ‖a − b‖².
fn squared_distance(a: &Matrix<f32>, b: &Matrix<f32>) -> f64 {
    a.iter().zip(b.iter()).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}
