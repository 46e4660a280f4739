//! What is shown of a computation on integers to whoever watches it: the integers as they are, with scale and predicted noise.

use nn::watched::{Inspected, InspectedRows};

use super::backend::IntegerBackend;
use super::evaluator::IntegerEvaluator;
use super::tensor::{Integer, IntegerTensor};

impl<B: IntegerBackend> Inspected for IntegerEvaluator<'_, B> {
    type Shown = Integer<B::Ciphertext>;

    fn inspect<'s>(&'s mut self, tensor: &'s Self::Tensor) -> Option<InspectedRows<'s, Self::Shown>> {
        match tensor {
            IntegerTensor::Integers(rows, _) => Some(Box::new(rows.iter().cloned())),
            IntegerTensor::Input(..) => None,
        }
    }

    fn inspect_lane(&self, lane: &Integer<B::Ciphertext>) -> Self::Shown {
        lane.clone()
    }
}
