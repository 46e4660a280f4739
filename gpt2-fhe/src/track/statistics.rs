//! What a run did, step by step.

use std::collections::BTreeMap;

use nn::clear::{ClearEvaluator, StepRecord};
use serde::Serialize;
use tfhe_core::noise::{self, Distribution, Variance};

/// Tails that were computed already: many numbers have errors of one distribution.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tails(Vec<(Distribution, f64, f64)>);

impl Tails {
    /// How many are kept: a program has few that differ, one after the other.
    const KEPT: usize = 64;

    /// [`Distribution::log2_tail`].
    pub(crate) fn log2_tail(&mut self, distribution: &Distribution, threshold: f64) -> f64 {
        let known = |(other, at, _): &&(Distribution, f64, f64)| *at == threshold && other == distribution;
        if let Some(&(_, _, log2)) = self.0.iter().rev().find(known) {
            return log2;
        }
        let log2 = distribution.log2_tail(threshold);
        if self.0.len() == Self::KEPT {
            self.0.remove(0);
        }
        self.0.push((distribution.clone(), threshold, log2));
        log2
    }
}

/// What one step did.
#[derive(Clone, Debug, Serialize)]
pub struct StepStatistics {
    /// The step.
    pub name: &'static str,
    /// Table lookups.
    pub lookups: usize,
    /// Programmable bootstrappings.
    pub pbs: usize,
    /// The same by the number of the set's gadget.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pbs_by_gadget: BTreeMap<usize, usize>,
    /// Key switches: of LWE ciphertexts, and of GLWE ciphertexts between keys.
    pub key_switches: usize,
    /// Automorphisms of GLWE ciphertexts, each with a key switch, where the step counts them.
    pub automorphisms: usize,
    /// External products outside of bootstrappings.
    pub external_products: usize,
    /// Products of GLWE ciphertexts.
    pub tensor_products: usize,
    /// log2 of the probability that one of the step's lookups fails.
    pub log2_failure_probability: f64,
    /// log2 of the largest predicted standard deviation of a phase that a table read, key switch and modulus switch included.
    pub log2_read_noise: f64,
    /// How many of its standard deviations a phase may be off and be read right, at least; infinite where nothing is read.
    pub headroom: f64,
    /// log2 of the largest predicted standard deviation of a result.
    pub log2_result_noise: f64,
    /// Wall time.
    pub seconds: f64,
}

/// What a run did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Statistics {
    /// Its steps, in the order in which they began.
    pub steps: Vec<StepStatistics>,
}

impl StepStatistics {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            lookups: 0,
            pbs: 0,
            pbs_by_gadget: BTreeMap::new(),
            key_switches: 0,
            automorphisms: 0,
            external_products: 0,
            tensor_products: 0,
            log2_failure_probability: f64::NEG_INFINITY,
            log2_read_noise: f64::NEG_INFINITY,
            headroom: f64::INFINITY,
            log2_result_noise: f64::NEG_INFINITY,
            seconds: 0.0,
        }
    }

    /// Notes bootstrappings with the set's gadget number `gadget`.
    pub(crate) fn bootstrapped(&mut self, gadget: usize, count: usize) {
        self.pbs += count;
        *self.pbs_by_gadget.entry(gadget).or_default() += count;
    }

    /// Notes that a bootstrapping reads a phase of noise `read`, which may be off by `room`, and fails with probability 2^log2_failure.
    pub(crate) fn read(&mut self, read: Variance, room: f64, log2_failure: f64) {
        self.headroom = self.headroom.min(room / read.std());
        self.log2_failure_probability = noise::log2_sum(self.log2_failure_probability, log2_failure);
        self.log2_read_noise = self.log2_read_noise.max(read.log2_std());
    }

    /// Notes the noise of a result.
    pub(crate) fn result(&mut self, variance: Variance) {
        self.log2_result_noise = self.log2_result_noise.max(variance.log2_std());
    }
}

impl Statistics {
    /// The lookups of a run on plain numbers, which has nothing else to count.
    pub fn of_clear<T>(evaluator: &ClearEvaluator<T>) -> Self {
        let step =
            |record: &StepRecord| StepStatistics { lookups: record.lookup_count(), ..StepStatistics::new(record.name) };
        Self { steps: evaluator.steps().iter().map(step).collect() }
    }

    pub(crate) fn step(&mut self, name: &'static str) -> &mut StepStatistics {
        let index = self.steps.iter().position(|step| step.name == name).unwrap_or_else(|| {
            self.steps.push(StepStatistics::new(name));
            self.steps.len() - 1
        });
        &mut self.steps[index]
    }

    /// The same of a plan: how long it took to count is no time of a run.
    pub(crate) fn without_times(&self) -> Self {
        Self { steps: self.steps.iter().map(|step| StepStatistics { seconds: 0.0, ..step.clone() }).collect() }
    }

    /// The same with the times of another run of the same steps.
    #[cfg(feature = "client")]
    pub(crate) fn with_times_of(&self, other: &Self) -> Self {
        let seconds = |name| other.steps.iter().find(|step| step.name == name).map_or(0.0, |step| step.seconds);
        let step = |step: &StepStatistics| StepStatistics { seconds: seconds(step.name), ..step.clone() };
        Self { steps: self.steps.iter().map(step).collect() }
    }

    /// Table lookups.
    pub fn lookups(&self) -> usize {
        self.steps.iter().map(|step| step.lookups).sum()
    }

    /// Programmable bootstrappings.
    pub fn pbs(&self) -> usize {
        self.steps.iter().map(|step| step.pbs).sum()
    }

    /// Programmable bootstrappings by the number of the set's gadget, in all steps.
    pub fn pbs_by_gadget(&self) -> BTreeMap<usize, usize> {
        let mut sum = BTreeMap::new();
        for (&gadget, count) in self.steps.iter().flat_map(|step| &step.pbs_by_gadget) {
            *sum.entry(gadget).or_default() += count;
        }
        sum
    }

    /// Automorphisms, where steps count them.
    pub fn automorphisms(&self) -> usize {
        self.steps.iter().map(|step| step.automorphisms).sum()
    }

    /// External products outside of bootstrappings.
    pub fn external_products(&self) -> usize {
        self.steps.iter().map(|step| step.external_products).sum()
    }

    /// Key switches.
    pub fn key_switches(&self) -> usize {
        self.steps.iter().map(|step| step.key_switches).sum()
    }

    /// Products of GLWE ciphertexts.
    pub fn tensor_products(&self) -> usize {
        self.steps.iter().map(|step| step.tensor_products).sum()
    }

    /// log2 of the probability that any lookup of the run fails, by the union bound.
    pub fn log2_failure_probability(&self) -> f64 {
        self.steps.iter().map(|step| step.log2_failure_probability).fold(f64::NEG_INFINITY, noise::log2_sum)
    }
}
