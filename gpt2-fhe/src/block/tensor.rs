//! What programs of blocks compute with: what represents it, and its predicted noise.

use nn::evaluator::{Form, Rows};
use tfhe_core::noise::{Distribution, Variance};

use super::backend::{BlockBackend, ReadNumber};
use super::noise::{FreshNoise, IntegerBounds, MultipliersNoise, NumberErrors, RealsNoise};

/// A number, and its predicted noise.
#[derive(Clone, Debug)]
pub struct StreamNumber<C> {
    pub(super) summed: ReadNumber<C>,
    /// What its ciphertexts have.
    pub(super) noise: Variance,
    /// What it is off by.
    pub(super) errors: NumberErrors,
    /// Of an integer that multiplies.
    pub(super) integer: Option<IntegerBounds>,
    /// The step that looked it up.
    pub(super) step: Option<&'static str>,
}

impl<C> StreamNumber<C> {
    /// A result of a lookup of which no noise is known.
    pub(super) fn untold(content: C) -> Self {
        let summed = ReadNumber { content, arithmetic: false, lookup: true };
        Self { summed, noise: Variance::ZERO, errors: NumberErrors::default(), integer: None, step: None }
    }

    /// What represents it.
    pub fn content(&self) -> &C {
        &self.summed.content
    }

    /// The predicted variance of its ciphertexts' noise; zero if it is not tracked.
    pub fn noise(&self) -> Variance {
        self.noise
    }
}

/// Rows of real numbers.
#[derive(Clone, Debug)]
pub struct StreamReals<R> {
    pub(super) content: R,
    pub(super) form: Form,
    /// The number of rows, and of channels.
    pub(super) shape: [usize; 2],
    pub(super) noise: RealsNoise,
}

/// Rows of integers that multiply.
#[derive(Clone, Debug)]
pub struct StreamMultipliers<M> {
    pub(super) content: M,
    pub(super) noise: MultipliersNoise,
}

/// Products of queries and keys.
#[derive(Clone, Debug)]
pub struct StreamScores<N> {
    pub(super) contents: Rows<N>,
    /// Of each, what came with the factors.
    pub(super) passed: Rows<Variance>,
    /// Of any, what products of ciphertexts added.
    pub(super) products: Distribution,
}

/// Numbers that are held together, by what represents them: reals `R`, multipliers `M`, single numbers `N`.
#[derive(Clone, Debug)]
pub enum Held<R, M, N> {
    /// In turns.
    Reals(StreamReals<R>),
    /// Integers.
    Multipliers(StreamMultipliers<M>),
    /// Scores.
    Scores(StreamScores<N>),
}

/// Tensors of a backend.
pub type StreamTensor<B> =
    Held<<B as BlockBackend>::Reals, <B as BlockBackend>::Multipliers, <B as BlockBackend>::Number>;

impl<R, M, N> Held<R, M, N> {
    /// Features `[rows, channels]` that came with a request.
    pub fn fresh(content: R, shape: [usize; 2], fresh: FreshNoise) -> Self {
        Self::Reals(StreamReals { content, form: Form::Features, shape, noise: RealsNoise::fresh(shape, fresh) })
    }

    /// Reals of which no noise is known.
    pub(super) fn untold(content: R, form: Form, shape: [usize; 2]) -> Self {
        Self::Reals(StreamReals { content, form, shape, noise: RealsNoise::of_numbers(Vec::new()) })
    }

    /// So many rows of multipliers that were looked up, of which nothing else is known.
    pub(super) fn untold_multipliers(content: M, rows: usize) -> Self {
        let noise = MultipliersNoise::looked_up(&vec![Vec::new(); rows]);
        Self::Multipliers(StreamMultipliers { content, noise })
    }

    /// What represents reals: what programs end with.
    pub fn into_reals(self) -> R {
        self.reals().content
    }

    /// The predicted noise of reals.
    pub fn noise(&self) -> &RealsNoise {
        &self.as_reals().noise
    }

    pub(super) fn reals(self) -> StreamReals<R> {
        match self {
            Self::Reals(reals) => reals,
            _ => unreachable!("a program takes multipliers for reals"),
        }
    }

    pub(super) fn as_reals(&self) -> &StreamReals<R> {
        match self {
            Self::Reals(reals) => reals,
            _ => unreachable!("a program takes multipliers for reals"),
        }
    }

    pub(super) fn multipliers(&self) -> &StreamMultipliers<M> {
        match self {
            Self::Multipliers(multipliers) => multipliers,
            _ => unreachable!("a program takes reals for multipliers"),
        }
    }
}
