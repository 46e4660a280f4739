//! What is shown of a computation on packed numbers to whoever watches it.
//!
//! On ciphertexts, numbers that are shown are ciphertexts, and what becomes of them is for whoever watches to say.

use nn::watched::{Inspected, InspectedRows};
use tfhe_core::noise::Variance;

use super::backend::{PackedBackend, Partial, Summed};
use super::evaluator::{PackedEvaluator, PackedNumber, PackedTensor};

/// A number on its way, and its noise.
#[derive(Clone, Debug)]
pub struct ShownPacked<C> {
    /// What represents it.
    pub summed: Summed<C>,
    /// The predicted variance; `None` where it is not predicted by a formula.
    pub noise: Option<Variance>,
    /// The part of it that a simulation draws later.
    pub undrawn: Variance,
}

impl<C> ShownPacked<C> {
    fn of_arithmetic(Partial { content, undrawn }: Partial<C>, noise: Option<Variance>) -> Self {
        Self { summed: Summed { content, score: true, lookup: false }, noise, undrawn }
    }
}

impl<B: PackedBackend> Inspected for PackedEvaluator<'_, B> {
    type Shown = ShownPacked<B::Number>;

    /// Scores are shown when they are taken apart: there a simulation draws their noise.
    fn inspect<'s>(&'s mut self, tensor: &'s PackedTensor<B>) -> Option<InspectedRows<'s, Self::Shown>> {
        let (rows, noise) = match tensor {
            PackedTensor::Mapped(projection, form, noise) => {
                (self.backend().projected(projection, *form, noise.gathered), Some(noise.gathered))
            }
            PackedTensor::Sum(sum) => (self.backend().summed(sum), None),
            PackedTensor::Product(..) | PackedTensor::Input(_) | PackedTensor::Weights(_) => return None,
        };
        let shown = move |number| ShownPacked::of_arithmetic(number, noise);
        Some(Box::new(rows.map(move |row| row.into_iter().map(shown).collect())))
    }

    fn inspect_lane(&self, lane: &PackedNumber<B::Number>) -> Self::Shown {
        let noise = B::TRACKED.then(|| self.noise(lane));
        ShownPacked { summed: lane.summed().clone(), noise, undrawn: Variance::ZERO }
    }
}
