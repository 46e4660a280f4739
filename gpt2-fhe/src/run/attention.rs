//! Attention in whichever circuit it is quantized for.

use nn::matrix::Matrix;
use nn::packed::{PackedAttention, Span};
use nn::quantizers::Saturation;
use tfhe_core::derivation::ClientSeed;
use tfhe_core::random::SampleSeed;

use super::Circuit;
use super::error::RunError;
use super::exact::ExactAttention;
use super::lowering::{Lowering, Parties, RunOutput};
use super::outcome::Outcome;
use super::plan::Plan;
use super::trace::{TracePlace, trace_executed, trace_simulated};
use crate::track::Observer;

/// A quantized part of a layer's attention, and the circuit that it is quantized for.
#[derive(Clone, Debug)]
pub enum Attention {
    /// For [`Circuit::Exact`].
    Exact(Box<ExactAttention>),
    /// For [`Circuit::Packed`].
    Packed(Box<PackedAttention>),
}

/// `$body` of the attention's lowering, whichever it is.
macro_rules! lowered {
    ($attention:expr, $lowering:ident => $body:expr) => {
        match $attention {
            Attention::Exact($lowering) => $body,
            Attention::Packed($lowering) => $body,
        }
    };
}

impl Attention {
    /// The circuit.
    pub fn circuit(&self) -> Circuit {
        match self {
            Self::Exact(_) => Circuit::Exact,
            Self::Packed(_) => Circuit::Packed,
        }
    }

    /// The size of an output: d of one head, E of the whole attention.
    pub fn output_size(&self) -> usize {
        lowered!(self, lowering => lowering.output_size())
    }

    /// What the client cuts off of an input.
    ///
    /// # Errors
    /// [`RunError::Input`] if it does not fit.
    pub fn saturation(&self, hidden: &Matrix<f32>) -> Result<Saturation, RunError> {
        lowered!(self, lowering => {
            lowering.quantize_input(hidden)?;
            Ok(lowering.saturation(hidden))
        })
    }

    /// Plans a run on the tokens of `span`.
    ///
    /// # Errors
    /// [`RunError`]: that it cannot be run, or not reliably.
    pub fn plan(&self, span: Span) -> Result<Plan, RunError> {
        lowered!(self, lowering => lowering.plan(span))
    }

    /// The rows of `span` on plain numbers.
    ///
    /// # Errors
    /// As [`Lowering::run_clear`].
    pub fn run_clear(&self, hidden: &Matrix<f32>, span: Span) -> Result<Outcome, RunError> {
        lowered!(self, lowering => lowering.run_clear(hidden, span))
    }

    /// The rows of `span` on plain numbers with drawn noise.
    ///
    /// # Errors
    /// As [`Lowering::run_simulated`].
    pub fn run_simulated(
        &self,
        hidden: &Matrix<f32>,
        span: Span,
        seed: &SampleSeed,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, RunError> {
        lowered!(self, lowering => lowering.run_simulated(hidden, span, seed, observer))
    }

    /// The same run of all of a text's tokens, and every number on its way.
    ///
    /// # Errors
    /// As [`Self::run_simulated`].
    pub fn trace_simulated(
        &self,
        hidden: &Matrix<f32>,
        seed: &SampleSeed,
        observer: &mut dyn Observer,
    ) -> Result<(Outcome, Vec<TracePlace>), RunError> {
        let input = (hidden, Span::all(hidden.rows().max(1)));
        lowered!(self, lowering => trace_simulated(&**lowering, input, seed, observer))
    }
}

/// A client and its server, with keys that are made once for several inputs.
pub struct Session(PartiesOf);

enum PartiesOf {
    Exact(Box<Parties<ExactAttention>>),
    Packed(Box<Parties<PackedAttention>>),
}

/// `$body` of the parties and of an attention of their circuit.
macro_rules! served {
    ($session:expr, $attention:expr, ($parties:ident, $lowering:ident) => $body:expr) => {
        match (&mut $session.0, $attention) {
            (PartiesOf::Exact($parties), Attention::Exact($lowering)) => $body,
            (PartiesOf::Packed($parties), Attention::Packed($lowering)) => $body,
            _ => Err(RunError::OtherCircuit),
        }
    };
}

impl Session {
    /// Makes all keys, for `attention` on inputs of at most as many tokens as the plan's. Sessions of other circuits, or of seeds
    /// bound to something else, have unrelated keys.
    ///
    /// # Errors
    /// [`RunError::OtherCircuit`] if the plan is not the attention's; as [`Lowering::parties`].
    pub fn new(attention: &Attention, plan: &Plan, seed: &ClientSeed) -> Result<Self, RunError> {
        if plan.circuit() != Some(attention.circuit()) {
            return Err(RunError::OtherCircuit);
        }
        Ok(Self(match attention {
            Attention::Exact(lowering) => PartiesOf::Exact(lowering.parties(plan, seed)?.into()),
            Attention::Packed(lowering) => PartiesOf::Packed(lowering.parties(plan, seed)?.into()),
        }))
    }

    /// Encrypts, evaluates, decrypts: the rows of `span`. Nothing is computed in the clear. The exact circuit computes all rows,
    /// whichever are asked for.
    ///
    /// # Errors
    /// [`RunError::Input`], [`RunError::OtherCircuit`]; as [`Lowering::answer`].
    pub fn answer(
        &mut self,
        attention: &Attention,
        hidden: &Matrix<f32>,
        span: Span,
        observer: &mut dyn Observer,
    ) -> Result<RunOutput, RunError> {
        served!(self, attention, (parties, lowering) => {
            let plan = lowering.plan_with_keys(&parties.plan, span)?;
            lowering.answer(parties, &lowering.quantize_input(hidden)?, (&plan, span), observer)
        })
    }

    /// The same, and a comparison of the answer with what the clear engine computes.
    ///
    /// # Errors
    /// [`RunError::OtherCircuit`]; as [`Lowering::execute`].
    pub fn execute(
        &mut self,
        attention: &Attention,
        hidden: &Matrix<f32>,
        span: Span,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, RunError> {
        served!(self, attention, (parties, lowering) => lowering.execute(parties, hidden, span, observer))
    }

    /// The same run of all of a text's tokens, and every number of the server's operations, decrypted: for study.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub fn trace(
        &mut self,
        attention: &Attention,
        hidden: &Matrix<f32>,
        observer: &mut dyn Observer,
    ) -> Result<(Outcome, Vec<TracePlace>), RunError> {
        let input = (hidden, Span::all(hidden.rows().max(1)));
        served!(self, attention, (parties, lowering) => trace_executed(&**lowering, parties, input, observer))
    }
}
