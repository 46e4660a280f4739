//! What noise each step of the packed attention leaves.

use std::ops::Range;

use nn::evaluator::{Form, LinearMap, Side};
use nn::packed::{PackedHead, PackedProgram};
use nn::table::Smooth;
use tfhe_core::key_graph::{MissingEdge, Parameters, Ring};
use tfhe_core::noise::{self, Distribution, Spread, Variance};
use tfhe_core::params::GadgetTransforms;
use tfhe_core::rounding::Transforms;
use tfhe_core::sets::COARSE;

use super::keys;
use super::layout::Layout;
use super::tables;

/// How many bits of an answer are sent. Outputs have errors of 2^-12 of a turn and more, from the external products alone; rounding adds
/// 2^-16.3, less than a hundredth of their variance.
pub const ANSWER_BITS: u32 = 20;

/// The variances of a part's steps in one layout, as fractions of a turn squared.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Head by head.
    pub heads: Vec<HeadPrediction>,
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
    /// What the automorphisms of the lookup ring, that clear a probability's other coefficients, add to it.
    pub isolation: Variance,
    /// What they add to all coefficients, in sum.
    pub isolation_energy: Variance,
    /// What one key switch to the arithmetic ring adds, to all coefficients.
    pub lift: Variance,
    /// What the rounding to the gadget adds to an external product, for each unit of the values' sum of squares.
    pub rounding: Variance,
    /// What packing adds to an output.
    pub packing: Variance,
    /// What rounding to the bits that are sent adds to it.
    pub answer: Variance,
    arithmetic: ArithmeticNoise,
    /// By what every standard deviation is multiplied.
    factor: f64,
}

/// What the noise of linear maps and products is computed from.
#[derive(Clone, Debug)]
struct ArithmeticNoise {
    ring: Ring,
    automorphism: Variance,
    relinearization: Variance,
    /// Of external products, with the transforms' rounding.
    gadget: GadgetTransforms,
    scales: Scales,
}

/// The variance of what a linear map gives: its coefficients before automorphisms, and after.
#[derive(Clone, Copy, Debug)]
pub struct ProjectionNoise {
    /// Before automorphisms.
    pub projected: Variance,
    /// After.
    pub gathered: Variance,
}

/// The noise of weighing a head's values.
#[derive(Clone, Debug)]
pub struct ValueNoise {
    /// A value, in units of its integers.
    pub value: Variance,
    /// What one external product of a block of probabilities with a chunk of values adds, whatever both are.
    pub weighing: Distribution,
    /// The square of a token's root mean square norm of values, over all O channels.
    pub squares: f64,
}

/// The variances of one head's steps.
#[derive(Clone, Debug)]
pub struct HeadPrediction {
    /// Queries', keys' and values' coefficients, before automorphisms.
    pub projected: [Variance; 3],
    /// The same after automorphisms.
    pub gathered: [Variance; 3],
    /// A score.
    pub score: Distribution,
    /// Values, weighed.
    pub values: ValueNoise,
}

impl Prediction {
    /// For `program` in `layout`, on any backend: what plans are made with.
    ///
    /// # Errors
    /// If the set is not one of this circuit.
    pub fn new(parameters: &Parameters, program: &PackedProgram, layout: &Layout) -> Result<Self, MissingEdge> {
        Self::on(Transforms::ANY, parameters, program, layout)
    }

    /// With the rounding errors of given transforms, for comparison with what is measured with them.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn on(
        transforms: Transforms,
        parameters: &Parameters,
        program: &PackedProgram,
        layout: &Layout,
    ) -> Result<Self, MissingEdge> {
        let (small, lookup, arithmetic) = (parameters.small(), parameters.lookup(), parameters.arithmetic());
        let keyswitch = |edge, ring: Ring| {
            Ok(noise::lwe_keyswitch(parameters.gadget(edge)?, ring.lwe_dimension(), small.noise().variance()))
        };
        let blind_rotation = |function| {
            let gadget = parameters.gadget(keys::bootstrapping(function))?.on(transforms);
            let grouping = parameters.bootstraps()[tables::gadget(function)].grouping;
            let (n, key) = (small.lwe_dimension(), lookup.noise.variance());
            Ok(noise::blind_rotation(gadget, grouping, lookup.shape, n, key))
        };
        let isolation = parameters.gadget(keys::ISOLATION)?.on(transforms);
        let isolation = noise::glwe_keyswitch(isolation, lookup.shape, lookup.noise.variance());
        let relinearization = parameters.gadget(keys::RELINEARIZATION)?.on(transforms);
        let automorphism = parameters.gadget(keys::AUTOMORPHISMS)?.on(transforms);
        let of_arithmetic = ArithmeticNoise {
            ring: arithmetic,
            automorphism: noise::glwe_keyswitch(automorphism, arithmetic.shape, arithmetic.noise.variance()),
            relinearization: noise::relinearization(relinearization, arithmetic.shape, arithmetic.noise.variance()),
            gadget: parameters.gadget(keys::WEIGHING)?.on(transforms),
            scales: Scales::new(parameters, program)?,
        };
        let mut prediction = Self {
            heads: Vec::new(),
            score_keyswitch: keyswitch(keys::SCORE_KEYSWITCH, arithmetic)?,
            lookup_keyswitch: keyswitch(keys::LOOKUP_KEYSWITCH, lookup)?,
            modulus_switch: noise::modulus_switch(small.lwe_dimension(), lookup.size()),
            softplus: blind_rotation(Smooth::Softplus)?,
            exponential: blind_rotation(Smooth::Exponential)?,
            isolation: noise::trace(isolation, lookup.size().log2()),
            isolation_energy: noise::trace_energy(isolation, lookup.size().log2(), lookup.size()),
            lift: noise::glwe_keyswitch_from(
                parameters.gadget(keys::LIFT)?.on(transforms),
                lookup.shape,
                arithmetic.shape,
                arithmetic.noise.variance(),
            ),
            rounding: noise::product_with_ggsw_rounding(parameters.gadget(keys::WEIGHING)?, arithmetic.shape, 1.0),
            packing: noise::trace(of_arithmetic.automorphism, layout.token_steps()),
            answer: noise::rounded_ciphertext(arithmetic.shape, ANSWER_BITS),
            arithmetic: of_arithmetic,
            factor: 1.0,
        };
        prediction.heads = program.heads().iter().map(|head| prediction.head(layout, head)).collect();
        Ok(prediction)
    }

    /// The scales of the input, and of what is made of it.
    pub fn scales(&self) -> &Scales {
        &self.arithmetic.scales
    }

    fn head(&self, layout: &Layout, head: &PackedHead) -> HeadPrediction {
        let maps = head.maps();
        let noise = maps.each_ref().map(|map| self.projection(layout, map));
        HeadPrediction {
            projected: noise.map(|noise| noise.projected),
            gathered: noise.map(|noise| noise.gathered),
            score: self.score(layout, [noise[0], noise[1]], head.log_modulus()),
            values: self.values(layout, noise[2], head.value_norm()),
        }
    }

    /// What a linear map of the input gives, whatever the factor of [`Self::scaled`].
    pub fn projection(&self, layout: &Layout, map: &LinearMap<'_>) -> ProjectionNoise {
        let ArithmeticNoise { ring, automorphism, scales, .. } = &self.arithmetic;
        let squares_of = |columns: Range<usize>| {
            let of_row = |row| map.weight.row(row)[columns.clone()].iter().map(|&w| f64::from(w).powi(2)).sum::<f64>();
            (0..map.weight.rows()).map(of_row).sum::<f64>()
        };
        let (squares, steps) = match map.form {
            // Values' weights fall into chunks, each a product of its own, of which one part's are larger than the other's.
            Form::Weighed { .. } => {
                let chunks = (0..layout.output_chunks()).map(|chunk| squares_of(layout.channels_of_chunk(chunk)));
                (chunks.fold(0.0, f64::max), layout.group_steps())
            }
            Form::Cyclic(Side::Right, _) => (squares_of(0..map.weight.cols()), layout.token_steps()),
            _ => (squares_of(0..map.weight.cols()), layout.group_steps()),
        };
        let fresh = ring.noise.variance().repeated(squares).scaled(scales.factor(map.form) as f64);
        ProjectionNoise { projected: fresh, gathered: fresh + noise::trace(*automorphism, steps) }
    }

    /// A score.
    pub fn score(&self, layout: &Layout, [query, key]: [ProjectionNoise; 2], log_modulus: u32) -> Distribution {
        let queries = self.spread(layout.group_steps(), query, layout.group() * layout.subring());
        let keys = self.spread(layout.token_steps(), key, layout.subring()).apart(layout.keys_of_block(0).len());
        let score = noise::tensor_product(self.arithmetic.ring.shape, log_modulus, [queries, keys]);
        (score + self.arithmetic.relinearization).scaled(self.factor)
    }

    /// Values that are weighed, of which a token's norm is `norm`.
    pub fn values(&self, layout: &Layout, value: ProjectionNoise, norm: f64) -> ValueNoise {
        let ArithmeticNoise { ring, relinearization, gadget, scales, .. } = &self.arithmetic;
        let spread = self.spread(layout.group_steps(), value, layout.group() * layout.subring());
        let weighing = noise::product_with_ggsw(*gadget, ring.shape, spread, *relinearization, 0.0);
        ValueNoise {
            value: value.gathered.scaled(2f64.powi(scales.log_ggsw as i32) * self.factor),
            weighing: weighing.scaled(self.factor),
            squares: norm.powi(2),
        }
    }

    /// What automorphisms add is everywhere; projections' noise is left where the coefficients are.
    fn spread(&self, steps: u32, noise: ProjectionNoise, kept: usize) -> Spread {
        let ArithmeticNoise { ring, automorphism, .. } = self.arithmetic;
        Spread::new(noise.projected, kept) + Spread::of_trace(automorphism, steps, ring.size())
    }

    /// Every step's variance with what it is, in the order of the data flow, of one head; the last is an output's of all heads, of the
    /// longest row.
    pub fn table(&self, layout: &Layout, head: usize) -> Vec<(&'static str, Variance)> {
        let HeadPrediction { projected, gathered, score, values } = &self.heads[head];
        let ValueNoise { weighing, squares, .. } = values;
        let [query, key, value] = *projected;
        let [gathered_query, gathered_key, gathered_value] = *gathered;
        vec![
            ("queries projected", query),
            ("keys projected", key),
            ("values projected", value),
            ("queries gathered", gathered_query),
            ("keys gathered", gathered_key),
            ("values gathered", gathered_value),
            ("score", score.variance()),
            ("key switch of scores", self.score_keyswitch),
            ("key switch of lookups", self.lookup_keyswitch),
            ("modulus switch", self.modulus_switch),
            ("softplus", self.softplus),
            ("exponential", self.exponential),
            ("probability isolated", self.isolation),
            ("probabilities lifted", self.lift),
            ("external product", weighing.variance() + self.rounding.repeated(layout.block_squares(*squares))),
            ("answer packed", self.packing),
            ("answer rounded", self.answer),
            ("output", self.output(layout, layout.tokens() - 1).variance()),
        ]
    }

    /// The same with `factor` times the standard deviation of each noise.
    pub fn scaled(&self, factor: f64) -> Self {
        Self {
            heads: self.heads.iter().map(|head| head.scaled(factor)).collect(),
            score_keyswitch: self.score_keyswitch.scaled(factor),
            lookup_keyswitch: self.lookup_keyswitch.scaled(factor),
            modulus_switch: self.modulus_switch.scaled(factor),
            softplus: self.softplus.scaled(factor),
            exponential: self.exponential.scaled(factor),
            isolation: self.isolation.scaled(factor),
            isolation_energy: self.isolation_energy.scaled(factor),
            lift: self.lift.scaled(factor),
            rounding: self.rounding.scaled(factor),
            packing: self.packing.scaled(factor),
            answer: self.answer.scaled(factor),
            arithmetic: self.arithmetic.clone(),
            factor: self.factor * factor,
        }
    }

    /// A result of `function`, besides the argument's noise.
    pub fn result(&self, function: Smooth) -> Variance {
        if tables::gadget(function) == COARSE { self.softplus } else { self.exponential }
    }

    /// What is added to an argument that has parts of scores, of results of lookups, or of both, before it is looked up.
    pub fn reading(&self, score: bool, lookup: bool) -> Variance {
        let part = |has: bool, variance| if has { variance } else { Variance::ZERO };
        self.modulus_switch + part(score, self.score_keyswitch) + part(lookup, self.lookup_keyswitch)
    }

    /// What one probability's isolation adds to an output, for values of a token whose squares are `squares` per channel, besides
    /// [`Self::isolation`] of the probability itself: nearly all of its energy is in Z\[Y\], so it meets the token's values, each
    /// coefficient another channel's.
    pub fn isolation_beside(&self, squares: f64) -> Variance {
        let beside = (self.isolation_energy.get() - self.isolation.get()).max(0.0);
        Variance::new(beside).repeated(squares)
    }

    /// What a block of probabilities adds to an output, besides noise of the probabilities themselves and [`ValueNoise::weighing`]: key
    /// switches to the arithmetic ring, and the rounding of the external product with values of which `squares` is the sum of squares in a
    /// chunk.
    pub fn block_besides(&self, layout: &Layout, squares: f64) -> Variance {
        let lifts = layout.group().min(layout.ratio()) as f64;
        (self.lift.repeated(lifts) + self.rounding).repeated(squares)
    }

    /// An output of row `row`, where no probability has more noise than a result of lookups.
    pub fn output(&self, layout: &Layout, row: usize) -> Distribution {
        let blocks = row / layout.group() + 1;
        let channels = layout.sizes().output as f64;
        let head = |HeadPrediction { values, .. }: &HeadPrediction| {
            let squares = values.squares / channels;
            let one = (self.exponential + self.isolation).repeated(squares) + self.isolation_beside(squares);
            let block = values.weighing.clone() + self.block_besides(layout, layout.block_squares(values.squares));
            std::iter::repeat_n(block, blocks).sum::<Distribution>() + one.repeated((row + 1) as f64)
        };
        self.heads.iter().map(head).sum::<Distribution>() + self.packing + self.answer
    }
}

impl Layout {
    /// The sum of squares of what a block of probabilities meets: a group's values in one chunk, if a token's in all are `squares`.
    pub fn block_squares(&self, squares: f64) -> f64 {
        squares * self.group().min(self.tokens()) as f64 * self.chunk_share()
    }
}

impl HeadPrediction {
    fn scaled(&self, factor: f64) -> Self {
        let scaled = |variance: Variance| variance.scaled(factor);
        let ValueNoise { value, weighing, squares } = &self.values;
        let values = ValueNoise { value: scaled(*value), weighing: weighing.scaled(factor), squares: *squares };
        Self {
            projected: self.projected.map(scaled),
            gathered: self.gathered.map(scaled),
            score: self.score.scaled(factor),
            values,
        }
    }
}

/// The scales of the input, and of what is made of it.
///
/// An input is encrypted at q/2^log_input, once for all heads. A head's queries and keys need q/t, values the scale of the last level
/// of the gadget of external products: the input has the smallest of all.
#[derive(Clone, Copy, Debug)]
pub struct Scales {
    log_input: u32,
    log_ggsw: u32,
}

impl Scales {
    /// Of `program` with a parameter set.
    ///
    /// # Errors
    /// If the set is not one of this circuit.
    pub fn new(parameters: &Parameters, program: &PackedProgram) -> Result<Self, MissingEdge> {
        let weighing = parameters.gadget(keys::WEIGHING)?;
        let log_ggsw = weighing.base_log() * weighing.levels() as u32;
        let log_modulus = program.heads().iter().map(PackedHead::log_modulus).max().unwrap_or(0);
        Ok(Self { log_input: log_modulus.max(log_ggsw), log_ggsw })
    }

    /// The scale of the input, q/2^this.
    pub fn log_input(&self) -> u32 {
        self.log_input
    }

    /// An integer of a map's result is that over 2^this, of a turn.
    pub fn log_of(&self, form: Form) -> u32 {
        if let Form::Cyclic(_, log_modulus) = form { log_modulus } else { self.log_ggsw }
    }

    /// By what a map of the input is multiplied, to be at the scale of a form.
    pub fn factor(&self, form: Form) -> i64 {
        1 << (self.log_input - self.log_of(form))
    }
}
