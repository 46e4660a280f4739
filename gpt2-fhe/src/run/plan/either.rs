//! A plan of either circuit.

use std::ops::Deref;

use super::exact::ExactPlan;
use super::forecast::Forecast;
use super::packed::PackedPlan;

/// What will run: known before anything is encrypted.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Of the exact circuit.
    Exact(Box<ExactPlan>),
    /// Of the packed circuit.
    Packed(Box<PackedPlan>),
}

impl From<ExactPlan> for Plan {
    fn from(plan: ExactPlan) -> Self {
        Self::Exact(Box::new(plan))
    }
}

impl From<PackedPlan> for Plan {
    fn from(plan: PackedPlan) -> Self {
        Self::Packed(Box::new(plan))
    }
}

impl Deref for Plan {
    type Target = Forecast;

    fn deref(&self) -> &Forecast {
        match self {
            Self::Exact(plan) => plan,
            Self::Packed(plan) => plan,
        }
    }
}
