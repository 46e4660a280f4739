//! What will run: known before anything is encrypted.

mod blocks;
mod exact;
mod packed;

use nn::packed::PackedProgram;
use serde::Serialize;
use tfhe_core::key_graph::{MissingEdge, Parameters};
use tfhe_core::keys::{Needs, SeededEvaluationKeys};
use tfhe_core::security;

pub(super) use blocks::forecast_blocks;
pub(super) use exact::plan_exact;
pub(super) use packed::{plan_packed, plan_reliable};

use super::Circuit;
use super::error::RunError;
use crate::block::schedule::Schedule;
use crate::encoding::Encoding;
use crate::packed::layout::Layout;
use crate::packed::prediction::Prediction;
use crate::track::statistics::{Statistics, StepStatistics};

/// What is known of a run before anything is encrypted.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The parameter set.
    pub parameters: Parameters,
    /// Operations, noise and failure probabilities by step; no times.
    pub statistics: Statistics,
    /// log2 of a failure probability: see [`crate::run::FAILURE_MEANING`]. Exact circuit: that the run decrypts to anything but the clear
    /// engine's integers. Packed circuit: that an argument of a lookup within its range is read outside of the table, or an output within
    /// its range wraps around.
    pub log2_failure_probability: f64,
    /// What will be sent.
    pub bytes: Bytes,
    kind: Kind,
}

/// What a plan is of.
#[derive(Clone, Debug)]
enum Kind {
    Exact,
    Packed(Box<Packing>),
    Blocks(Schedule),
}

/// How numbers are packed, and what noise that leaves.
#[derive(Clone, Debug)]
pub struct Packing {
    /// Where everything lies.
    pub layout: Layout,
    /// The noise of each step.
    pub prediction: Prediction,
    /// Of each head, the standard deviation with which an exponential reads its argument, at most, in units of score: the relative
    /// error of a probability.
    pub exponent_noise: Vec<f64>,
}

impl Plan {
    /// The circuit of an attention; `None` of whole blocks.
    pub fn circuit(&self) -> Option<Circuit> {
        match self.kind {
            Kind::Exact => Some(Circuit::Exact),
            Kind::Packed(_) => Some(Circuit::Packed),
            Kind::Blocks(_) => None,
        }
    }

    /// What is done in order; `None` of what is no request for whole blocks.
    pub fn schedule(&self) -> Option<&Schedule> {
        match &self.kind {
            Kind::Blocks(schedule) => Some(schedule),
            Kind::Exact | Kind::Packed(_) => None,
        }
    }

    /// How numbers are packed.
    ///
    /// # Errors
    /// [`RunError::OtherCircuit`] if the plan is not of the packed circuit.
    pub fn packing(&self) -> Result<&Packing, RunError> {
        match &self.kind {
            Kind::Packed(packing) => Ok(packing),
            Kind::Exact | Kind::Blocks(_) => Err(RunError::OtherCircuit),
        }
    }

    /// The security level of the parameter set, in bits.
    pub fn security_bits(&self) -> Option<f64> {
        security::parameters_level(&self.parameters).map(|level| level.bits)
    }

    /// External products of a bootstrapping with the set's gadget number `gadget`.
    pub fn products_of_bootstrapping(&self, gadget: usize) -> usize {
        self.parameters.bootstraps()[gadget].grouping.ciphertexts(self.parameters.small().lwe_dimension())
    }

    /// External products of a step, in bootstrappings and outside of them.
    pub fn products_of_step(&self, step: &StepStatistics) -> usize {
        let of_gadget = |(&gadget, &pbs): (&usize, &usize)| pbs * self.products_of_bootstrapping(gadget);
        step.pbs_by_gadget.iter().map(of_gadget).sum::<usize>() + step.external_products
    }

    /// The same of all steps.
    pub fn external_products(&self) -> usize {
        self.statistics.steps.iter().map(|step| self.products_of_step(step)).sum()
    }

    /// The plan to simulate as if every noise had `factor` times its standard deviation: packed circuit only. Failure probabilities stay
    /// those of the noise as it is.
    pub fn with_noise(mut self, factor: f64) -> Self {
        if let Kind::Packed(packing) = &mut self.kind {
            packing.prediction = packing.prediction.scaled(factor);
        }
        self
    }
}

impl Packing {
    /// What the root mean square noise of an input's outputs may be at most, in units of their integers: of a run whose values are as
    /// large as those of the calibration set, all that every row weighs. To first order in exponents' noise, which
    /// [`MAX_EXPONENT_NOISE`](super::MAX_EXPONENT_NOISE) allows for.
    pub fn output_noise(&self, program: &PackedProgram) -> f64 {
        let layout = &self.layout;
        let unit = program.output_turns();
        let added = self.prediction.output(layout, layout.tokens() - 1).variance().get() / unit.powi(2);
        let heads = program.heads().iter().zip(&self.exponent_noise);
        let read: f64 = heads.map(|(head, noise)| (noise * head.value_norm()).powi(2)).sum();
        (added + read / program.output_size() as f64).sqrt()
    }
}

/// Bytes that are sent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Bytes {
    /// Evaluation keys as sent (seeded).
    pub evaluation_key: usize,
    /// The encrypted input.
    pub request: usize,
    /// The encrypted output.
    pub response: usize,
}

impl Bytes {
    /// Those of the files of evaluation keys, of a request, and of its answer, as the encoding has them sent.
    fn of(parameters: &Parameters, needs: &Needs, encoding: &impl Encoding) -> Result<Self, MissingEdge> {
        let shape = parameters.arithmetic().shape;
        Ok(Self {
            evaluation_key: SeededEvaluationKeys::predicted_bytes(parameters, needs)?,
            request: encoding.request_bytes(shape),
            response: encoding.answer_bytes(shape),
        })
    }
}
