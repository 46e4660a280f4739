//! How near predictions are to those in f32.

use nn::matrix::Matrix;
use nn::metrics::{cross_entropy, kl_divergence, perplexity, top_k_agreement};
use serde::Serialize;

use super::reference::{Computed, PlainPassage};

/// How many of the likeliest tokens are compared.
const COUNTS: [usize; 3] = [1, 5, 10];

/// The predictions of a model with a replaced attention beside those of the same model in f32.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Rows that were compared.
    pub positions: usize,
    /// The share of positions with the same likeliest token.
    pub top_1: f64,
    /// The mean share of the 5 likeliest tokens that are among the 5 likeliest in f32.
    pub top_5: f64,
    /// The same of 10.
    pub top_10: f64,
    /// The mean of KL(f32‖replaced), in nats.
    pub kl_divergence: f64,
    /// exp of the mean of −log p(next token).
    pub perplexity: f64,
    /// Of the part's output: ‖output − f32‖/‖f32‖ over all positions.
    pub relative_error: f64,
    /// Arguments of lookups and outputs that left the range which calibration gave them, in the clear engine: passages with any have
    /// wrong rows.
    pub out_of_range: usize,
    /// Entries of inputs that were cut off to their ranges.
    pub saturated: usize,
    /// How far the farthest of them is, in units of its range; 0 if there is none.
    pub largest_saturation: f64,
    /// Of a simulated attention with noise as it is predicted: rows (exact circuit: numbers) that are farther from the clear engine's
    /// than the noise explains. More than none is an error.
    pub unexplained: usize,
}

/// What [`Accuracy`] is the mean of.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    positions: usize,
    agreements: [f64; 3],
    divergence: f64,
    cross_entropy: f64,
    squared_error: f64,
    squared_reference: f64,
    out_of_range: usize,
    saturated: usize,
    largest_saturation: f64,
    unexplained: usize,
}

impl Sums {
    /// Of a passage's rows that count, with outputs of the part `[T, O]`, and logits `[T, V]`.
    pub(super) fn of(
        reference: &PlainPassage<'_>,
        output: &Matrix<f32>,
        logits: &Matrix<f32>,
    ) -> Result<Self, nn::Error> {
        let rows = reference.passage.span().rows();
        let counted = logits.row_range(rows.clone());
        let mut sums = Self { positions: rows.len(), ..Self::default() };
        sums.cross_entropy = cross_entropy(&counted, reference.passage.targets())? * rows.len() as f64;
        for row in rows {
            let (right, found) = (reference.logits.row(row), logits.row(row));
            sums.divergence += kl_divergence(right, found)?;
            for (agreement, count) in sums.agreements.iter_mut().zip(COUNTS) {
                *agreement += top_k_agreement(right, found, count.min(right.len()))?;
            }
            let outputs = reference.output.row(row).iter().zip(output.row(row));
            for (&right, &found) in outputs {
                sums.squared_error += f64::from(found - right).powi(2);
                sums.squared_reference += f64::from(right).powi(2);
            }
        }
        Ok(sums)
    }

    /// Counts what left its range.
    pub(super) fn count(&mut self, computed: &Computed) {
        self.out_of_range = computed.out_of_range;
        self.saturated = computed.saturation.count;
        self.largest_saturation = computed.saturation.farthest.map_or(0.0, |farthest| farthest.ratio);
        self.unexplained = computed.unexplained;
    }

    /// The same of blocks, whose inputs are not cut off.
    pub(super) fn count_out_of_range(&mut self, count: usize) {
        self.out_of_range = count;
    }

    pub(super) fn accuracy(&self) -> Accuracy {
        let mean = |sum: f64| sum / self.positions as f64;
        let [top_1, top_5, top_10] = self.agreements.map(mean);
        Accuracy {
            positions: self.positions,
            top_1,
            top_5,
            top_10,
            kl_divergence: mean(self.divergence),
            perplexity: perplexity(mean(self.cross_entropy)),
            // Of outputs that are all zero, and stay so, there is no error.
            relative_error: if self.squared_error == 0.0 {
                0.0
            } else {
                (self.squared_error / self.squared_reference).sqrt()
            },
            out_of_range: self.out_of_range,
            saturated: self.saturated,
            largest_saturation: self.largest_saturation,
            unexplained: self.unexplained,
        }
    }
}

impl<'a> std::iter::Sum<&'a Sums> for Sums {
    fn sum<I: Iterator<Item = &'a Sums>>(iter: I) -> Self {
        iter.fold(Self::default(), |a, b| Self {
            positions: a.positions + b.positions,
            agreements: [0, 1, 2].map(|index| a.agreements[index] + b.agreements[index]),
            divergence: a.divergence + b.divergence,
            cross_entropy: a.cross_entropy + b.cross_entropy,
            squared_error: a.squared_error + b.squared_error,
            squared_reference: a.squared_reference + b.squared_reference,
            out_of_range: a.out_of_range + b.out_of_range,
            saturated: a.saturated + b.saturated,
            largest_saturation: a.largest_saturation.max(b.largest_saturation),
            unexplained: a.unexplained + b.unexplained,
        })
    }
}
