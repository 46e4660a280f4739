//! What noise each step of the packed attention leaves.

use nn::packed::{Function, PackedHead, PackedProgram};
use tfhe_core::key_graph::{MissingEdge, Parameters, Ring};
use tfhe_core::noise::{self, Distribution, Spread, Variance};
use tfhe_core::rounding::Transforms;

use super::keys;
use super::layout::Layout;

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
    /// A value, in units of its integers.
    pub value: Variance,
    /// What one external product of a block of probabilities with a chunk of values adds, whatever both are.
    pub weighing: Distribution,
    /// The square of a token's root mean square norm of values, over all O channels.
    pub squares: f64,
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
            Ok(noise::blind_rotation(gadget, lookup.shape, small.lwe_dimension(), lookup.noise.variance()))
        };
        let isolation = parameters.gadget(keys::ISOLATION)?.on(transforms);
        let isolation = noise::glwe_keyswitch(isolation, lookup.shape, lookup.noise.variance());
        let scales = Scales::new(parameters, program)?;
        let head = |head| HeadPrediction::new(transforms, parameters, head, scales.of_head(head), layout);
        Ok(Self {
            heads: program.heads().iter().map(head).collect::<Result<_, _>>()?,
            score_keyswitch: keyswitch(keys::SCORE_KEYSWITCH, arithmetic)?,
            lookup_keyswitch: keyswitch(keys::LOOKUP_KEYSWITCH, lookup)?,
            modulus_switch: noise::modulus_switch(small.lwe_dimension(), lookup.size()),
            softplus: blind_rotation(Function::Softplus)?,
            exponential: blind_rotation(Function::Exponential)?,
            isolation: noise::trace(isolation, lookup.size().log2()),
            isolation_energy: noise::trace_energy(isolation, lookup.size().log2(), lookup.size()),
            lift: noise::glwe_keyswitch_from(
                parameters.gadget(keys::LIFT)?.on(transforms),
                lookup.shape,
                arithmetic.shape,
                arithmetic.noise.variance(),
            ),
            rounding: noise::product_with_ggsw_rounding(parameters.gadget(keys::WEIGHING)?, arithmetic.shape, 1.0),
            packing: noise::trace(automorphism(transforms, parameters)?, layout.token_steps()),
        })
    }

    /// Every step's variance with what it is, in the order of the data flow, of one head; the last is an output's of all heads, of the
    /// longest row.
    pub fn table(&self, layout: &Layout, head: usize) -> Vec<(&'static str, Variance)> {
        let HeadPrediction { projected, gathered, score, weighing, squares, .. } = &self.heads[head];
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
        }
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

    /// What one probability's isolation adds to an output, for values of a token whose squares are `squares` per channel, besides
    /// [`Self::isolation`] of the probability itself: nearly all of its energy is in Z\[Y\], so it meets the token's values, each
    /// coefficient another channel's.
    pub fn isolation_beside(&self, squares: f64) -> Variance {
        let beside = (self.isolation_energy.get() - self.isolation.get()).max(0.0);
        Variance::new(beside).repeated(squares)
    }

    /// What a block of probabilities adds to an output, besides noise of the probabilities themselves and [`HeadPrediction::weighing`]: key
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
        let head = |head: &HeadPrediction| {
            let squares = head.squares / channels;
            let one = (self.exponential + self.isolation).repeated(squares) + self.isolation_beside(squares);
            let block = head.weighing.clone() + self.block_besides(layout, layout.block_squares(head.squares));
            std::iter::repeat_n(block, blocks).sum::<Distribution>() + one.repeated((row + 1) as f64)
        };
        self.heads.iter().map(head).sum::<Distribution>() + self.packing
    }
}

impl Layout {
    /// The sum of squares of what a block of probabilities meets: a group's values in one chunk, if a token's in all are `squares`.
    pub fn block_squares(&self, squares: f64) -> f64 {
        squares * self.group().min(self.tokens()) as f64 * self.chunk_share()
    }
}

/// What an automorphism in the arithmetic ring adds.
fn automorphism(transforms: Transforms, parameters: &Parameters) -> Result<Variance, MissingEdge> {
    let (arithmetic, gadget) = (parameters.arithmetic(), parameters.gadget(keys::AUTOMORPHISMS)?.on(transforms));
    Ok(noise::glwe_keyswitch(gadget, arithmetic.shape, arithmetic.noise.variance()))
}

impl HeadPrediction {
    fn new(
        transforms: Transforms,
        parameters: &Parameters,
        head: &PackedHead,
        scales: HeadScales,
        layout: &Layout,
    ) -> Result<Self, MissingEdge> {
        let arithmetic = parameters.arithmetic();
        let automorphism = automorphism(transforms, parameters)?;
        // Values' weights fall into chunks, each a product of its own.
        let weights = [(head.query().0, 1.0), (head.key().0, 1.0), (head.value(), layout.chunk_share())];
        let mut projected = [Variance::ZERO; 3];
        for (part, (weight, share)) in weights.into_iter().enumerate() {
            let squares: f64 = weight.iter().map(|&w| f64::from(w).powi(2)).sum();
            projected[part] =
                arithmetic.noise.variance().repeated(squares * share).scaled(scales.factors()[part] as f64);
        }
        let (group, token) = (layout.group_steps(), layout.token_steps());
        let steps = [group, token, group];
        let gathered = [0, 1, 2].map(|part| projected[part] + noise::trace(automorphism, steps[part]));
        let relinearization = parameters.gadget(keys::RELINEARIZATION)?.on(transforms);
        let relinearization = noise::relinearization(relinearization, arithmetic.shape, arithmetic.noise.variance());
        // What automorphisms add is everywhere; projections' noise is left where the coefficients are.
        let spread = |part: usize, kept: usize| {
            Spread::new(projected[part], kept) + Spread::of_trace(automorphism, steps[part], arithmetic.size())
        };
        let of_group = layout.group() * layout.subring();
        let queries = spread(0, of_group);
        let keys = spread(1, layout.subring()).apart(layout.keys_of_block(0).len());
        let score = noise::tensor_product(arithmetic.shape, head.log_modulus(), [queries, keys]);
        let ggsw = parameters.gadget(keys::WEIGHING)?.on(transforms);
        let weighing = noise::product_with_ggsw(ggsw, arithmetic.shape, spread(2, of_group), relinearization, 0.0);
        Ok(Self {
            projected,
            gathered,
            score: score + relinearization,
            value: gathered[2].scaled(2f64.powi(scales.log_ggsw as i32)),
            weighing,
            squares: head.value_norm().powi(2),
        })
    }

    fn scaled(&self, factor: f64) -> Self {
        let scaled = |variance: Variance| variance.scaled(factor);
        Self {
            projected: self.projected.map(scaled),
            gathered: self.gathered.map(scaled),
            score: self.score.scaled(factor),
            value: scaled(self.value),
            weighing: self.weighing.scaled(factor),
            squares: self.squares,
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

/// The scales of one head.
#[derive(Clone, Copy, Debug)]
pub struct HeadScales {
    log_input: u32,
    log_modulus: u32,
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

    /// Those of a head of the program.
    pub fn of_head(&self, head: &PackedHead) -> HeadScales {
        HeadScales { log_input: self.log_input, log_modulus: head.log_modulus(), log_ggsw: self.log_ggsw }
    }
}

impl HeadScales {
    /// By what projections to queries, keys and values are multiplied.
    pub fn factors(&self) -> [i64; 3] {
        [self.log_modulus, self.log_modulus, self.log_ggsw].map(|log| 1 << (self.log_input - log))
    }
}
