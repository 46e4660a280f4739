//! What noise each step of the packed head leaves.

use nn::packed::{Function, PackedProgram};
use tfhe_core::noise::{self, Variance};
use tfhe_core::ring_pair::RingPairParameters;

use super::layout::Layout;
use super::tables;

/// The variances of one head in one layout, as fractions of a turn squared.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Queries' coefficients before automorphisms; keys' and values' are similar.
    pub projected: [Variance; 3],
    /// Queries', keys' and values' coefficients, after automorphisms.
    pub gathered: [Variance; 3],
    /// What all scores of a block have in common ([`noise::tensor_product_parts`]): it cancels in their differences.
    pub score_common: Variance,
    /// A score, besides that.
    pub score: Variance,
    /// What the key switch of a score adds.
    pub score_keyswitch: Variance,
    /// What the key switch of a result of lookups adds.
    pub lookup_keyswitch: Variance,
    /// What rounding to the lookup ring's 2N' angles adds.
    pub modulus_switch: Variance,
    /// A result of softplus, besides the argument's noise.
    pub softplus: Variance,
    /// A result of the exponential, besides the argument's noise.
    pub exponential: Variance,
    /// What the automorphisms of the lookup ring, that clear a probability's other coefficients, add.
    pub isolation: Variance,
    /// What the key switch to the arithmetic ring adds, to all coefficients.
    pub lift: Variance,
    /// A value, in units of its integers.
    pub value: Variance,
    /// What an external product adds that does not depend on the probability.
    pub weighing: Variance,
    /// The rounding to the gadget of a probability that is known, so that nothing else of it is decomposed.
    pub rounding: Variance,
    /// What packing adds to an output.
    pub packing: Variance,
}

impl Prediction {
    /// For `program` in `layout`.
    pub fn new(parameters: &RingPairParameters, program: &PackedProgram, layout: &Layout) -> Self {
        let (small, lookup, arithmetic) = (parameters.small(), parameters.lookup(), parameters.arithmetic());
        let keyswitch_noise = small.noise.variance();
        let automorphism =
            noise::glwe_keyswitch(parameters.arithmetic_keyswitch(), arithmetic.shape, arithmetic.noise.variance());
        let scales = Scales::new(parameters, program);
        let weights = [program.query().0, program.key().0, program.value()];
        let mut projected = [Variance::ZERO; 3];
        for (part, weight) in weights.into_iter().enumerate() {
            let squares: f64 = weight.iter().map(|&w| f64::from(w).powi(2)).sum();
            projected[part] = arithmetic.noise.variance().repeated(squares).scaled(scales.factors()[part] as f64);
        }
        let (group, token) = (layout.group_steps(), layout.token_steps());
        let gathered = [(0, group), (1, token), (2, token)]
            .map(|(part, steps)| projected[part] + noise::trace(automorphism, steps));
        let relinearization =
            noise::relinearization(parameters.arithmetic_keyswitch(), arithmetic.shape, arithmetic.noise.variance());
        // What automorphisms add is everywhere; projections' noise is left where the coefficients are.
        let energy = |part: usize, steps: u32, kept: usize| {
            projected[part].repeated(kept as f64) + noise::trace_energy(automorphism, steps, arithmetic.size())
        };
        let queries = energy(0, group, layout.group() * layout.subring());
        let keys = energy(1, token, layout.subring()).repeated(layout.keys_of_block(0).len() as f64);
        let (score_common, score) =
            noise::tensor_product_parts(arithmetic.shape, program.log_modulus(), [queries, keys]);
        let blind_rotation = |function| {
            let gadget = parameters.bootstraps()[tables::gadget(function)];
            noise::blind_rotation(gadget, lookup.shape, small.lwe_dimension(), lookup.noise.variance())
        };
        let isolation = noise::glwe_keyswitch(parameters.lookup_automorphism(), lookup.shape, lookup.noise.variance());
        let ggsw = noise::product_with_ggsw(
            parameters.ggsw(),
            arithmetic.shape,
            energy(2, token, layout.subring()),
            relinearization,
            program.value_norm().powi(2),
        );
        Self {
            projected,
            gathered,
            score_common,
            score: score + relinearization,
            score_keyswitch: noise::lwe_keyswitch(parameters.keyswitch(), arithmetic.lwe_dimension(), keyswitch_noise),
            lookup_keyswitch: noise::lwe_keyswitch(parameters.keyswitch(), lookup.lwe_dimension(), keyswitch_noise),
            modulus_switch: noise::modulus_switch(small.lwe_dimension(), lookup.size()),
            softplus: blind_rotation(Function::Softplus),
            exponential: blind_rotation(Function::Exponential),
            isolation: noise::trace(isolation, layout.subring_log()),
            // Of the mask only N' coefficients are not zero.
            lift: noise::glwe_keyswitch(parameters.lift(), lookup.shape, arithmetic.noise.variance()),
            value: gathered[2].scaled(2f64.powi(scales.log_ggsw as i32)),
            weighing: ggsw,
            rounding: Variance::new(
                4f64.powi(-((parameters.ggsw().base_log() as usize * parameters.ggsw().levels()) as i32)) / 12.0,
            ),
            packing: noise::trace(automorphism, token),
        }
    }

    /// Every step's variance with what it is, in the order of the data flow; the last is an output's, of a row of `tokens`
    /// probabilities.
    pub fn table(&self, program: &PackedProgram, tokens: usize) -> Vec<(&'static str, Variance)> {
        let [query, key, value] = self.projected;
        let [gathered_query, gathered_key, gathered_value] = self.gathered;
        vec![
            ("queries projected", query),
            ("keys projected", key),
            ("values projected", value),
            ("queries gathered", gathered_query),
            ("keys gathered", gathered_key),
            ("values gathered", gathered_value),
            ("scores of a block in common", self.score_common),
            ("score besides", self.score),
            ("key switch of scores", self.score_keyswitch),
            ("key switch of lookups", self.lookup_keyswitch),
            ("modulus switch", self.modulus_switch),
            ("softplus", self.softplus),
            ("exponential", self.exponential),
            ("probability isolated", self.isolation),
            ("probability lifted", self.lift),
            ("external product", self.weighing),
            ("answer packed", self.packing),
            ("output", self.output(tokens, program.value_norm(), program.head_size())),
        ]
    }

    /// A result of `function`, besides the argument's noise.
    pub fn result(&self, function: Function) -> Variance {
        match function {
            Function::Softplus => self.softplus,
            Function::Exponential => self.exponential,
        }
    }

    /// What is added to an argument that has parts of scores, of results of lookups, or of both, before it is looked up.
    pub fn reading(&self, score: bool, lookup: bool) -> Variance {
        let part = |has: bool, variance| if has { variance } else { Variance::ZERO };
        self.modulus_switch + part(score, self.score_keyswitch) + part(lookup, self.lookup_keyswitch)
    }

    /// An output of a row of `probabilities` probabilities, none of which has more noise than a result of lookups: for values of root mean
    /// square norm `norm` over `channels` channels.
    pub fn output(&self, probabilities: usize, norm: f64, channels: usize) -> Variance {
        let one = (self.exponential + self.isolation).repeated(norm.powi(2) / channels as f64)
            + self.lift.repeated(norm.powi(2))
            + self.weighing;
        one.repeated(probabilities as f64) + self.packing
    }
}

/// The scales of the input, and of what is made of it.
///
/// An input is encrypted at q/2^log_input. Queries and keys need q/t, values the scale of the last level of the gadget of external
/// products: the input has the smaller of both.
#[derive(Clone, Copy, Debug)]
pub struct Scales {
    log_input: u32,
    log_modulus: u32,
    log_ggsw: u32,
}

impl Scales {
    /// Of `program` with a parameter set.
    pub fn new(parameters: &RingPairParameters, program: &PackedProgram) -> Self {
        let log_ggsw = parameters.ggsw().base_log() * parameters.ggsw().levels() as u32;
        let log_modulus = program.log_modulus();
        Self { log_input: log_modulus.max(log_ggsw), log_modulus, log_ggsw }
    }

    /// The scale of the input, q/2^this.
    pub fn log_input(&self) -> u32 {
        self.log_input
    }

    /// By what projections to queries, keys and values are multiplied.
    pub fn factors(&self) -> [i64; 3] {
        [self.log_modulus, self.log_modulus, self.log_ggsw].map(|log| 1 << (self.log_input - log))
    }
}
