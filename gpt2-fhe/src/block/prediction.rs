//! What noise each step of a block leaves.

use std::mem::{Discriminant, discriminant};

use nn::evaluator::{Form, SmoothUse};
use nn::matrix::Matrix;
use tfhe_core::key_graph::Node::{Arithmetic, Lookup};
use tfhe_core::key_graph::{MissingEdge, Parameters};
use tfhe_core::noise::{self, Distribution, Expansion, LevelNoise, LookedUpNoise, RefreshParameters, Spread, Variance};
use tfhe_core::params::{GadgetTransforms, GlweShape, PolynomialSize};
use tfhe_core::rounding::Transforms;
use tfhe_core::sets::{COARSE, FINE, PRECISE};

use super::backend::LookupNoise;
use super::encoding::{BlockAnswer, input_log};
use super::keys::{EXPANSION, GADGETS, PRODUCT, gadget, result_bits};
use super::layout::BlockLayout;
use super::noise::FreshNoise;

/// Variances of the steps of blocks in one layout, as fractions of a turn squared.
#[derive(Clone, Debug)]
pub struct BlockPrediction {
    layout: BlockLayout,
    lookup_size: PolynomialSize,
    /// Of external products.
    product: GadgetTransforms,
    shape: GlweShape,
    levels: usize,
    /// Of the key switch from the arithmetic ring, and from the lookup ring, to the small key.
    keyswitches: [Variance; 2],
    modulus_switch: Variance,
    /// By the gadget of the bootstrapping.
    results: [Variance; GADGETS],
    packed: Variance,
    between: Variance,
    fresh: FreshNoise,
    looked_up: LookedUpNoise,
    /// The uses whose lookups have none.
    without_noise: Vec<Discriminant<SmoothUse>>,
    /// By what every standard deviation is multiplied.
    factor: f64,
}

impl BlockPrediction {
    /// For blocks in `layout`, on any backend: what plans are made with.
    ///
    /// # Errors
    /// If the set is not one of this circuit.
    pub fn new(parameters: &Parameters, layout: BlockLayout) -> Result<Self, MissingEdge> {
        Self::on(Transforms::ANY, parameters, layout)
    }

    /// With the rounding errors of given transforms, for comparison with what is measured with them.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn on(transforms: Transforms, parameters: &Parameters, layout: BlockLayout) -> Result<Self, MissingEdge> {
        let refresh = RefreshParameters::new(parameters, PRECISE, transforms)?;
        let keyswitch = |node| Ok(noise::refresh(&refresh.with_arguments(parameters, &[node])?).keyswitch);
        let result = |gadget| {
            let refresh = RefreshParameters::new(parameters, gadget, transforms)?;
            Ok(noise::refresh(&refresh.with_result_bits(result_bits(parameters, gadget)?)).bootstrapping)
        };
        let (ring, gadget) = (parameters.arithmetic(), parameters.gadget(EXPANSION)?.on(transforms));
        let expansion = Expansion::new(gadget, ring.shape, ring.noise.variance(), layout.expansion_steps());
        let sent = ring.noise.variance() + noise::rounded_body(input_log(&layout));
        let steps = noise::refresh(&refresh);
        let packed = steps.packing + steps.lift;
        let places: Vec<usize> = (0..layout.inputs()).map(|channel| layout.feature_place(channel).1).collect();
        let energy = LevelNoise::packed(&refresh, Variance::ZERO, &places).energy();
        let beside = (energy.get() - packed.repeated(places.len() as f64).get()).max(0.0);
        Ok(Self {
            lookup_size: parameters.lookup().size(),
            product: parameters.gadget(PRODUCT)?.on(transforms),
            shape: ring.shape,
            levels: parameters.gadget(PRODUCT)?.levels(),
            keyswitches: [keyswitch(Arithmetic)?, keyswitch(Lookup)?],
            modulus_switch: steps.modulus_switch,
            results: [result(COARSE)?, result(FINE)?, result(PRECISE)?],
            packed,
            between: Variance::new(beside / layout.size() as f64),
            fresh: FreshNoise { numbers: expansion.kept(sent), between: expansion.beside() },
            looked_up: LookedUpNoise::new(parameters, PRECISE, transforms)?
                .with_result_bits(result_bits(parameters, PRECISE)?),
            without_noise: Vec::new(),
            factor: 1.0,
            layout,
        })
    }

    /// The same with `factor` times the standard deviation of each noise.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self { factor: self.factor * factor, ..self.clone() }
    }

    /// The same where lookups for these uses have no noise (for multipliers of any number of lookups at once, if for one): to see what that
    /// of others does.
    #[must_use]
    pub fn without_lookups(&self, uses: &[SmoothUse]) -> Self {
        Self { without_noise: uses.iter().map(discriminant).collect(), ..self.clone() }
    }

    /// Where numbers lie.
    pub fn layout(&self) -> &BlockLayout {
        &self.layout
    }

    /// How many automorphisms pack so many numbers, equally spaced, into one ciphertext.
    pub fn packing_automorphisms(&self, held: usize) -> usize {
        let merged = held.next_power_of_two();
        merged - 1 + self.lookup_size.log2() as usize - merged.ilog2() as usize
    }

    /// N'.
    pub fn lookup_size(&self) -> PolynomialSize {
        self.lookup_size
    }

    /// ℓ of a multiplier.
    pub fn levels(&self) -> usize {
        self.levels
    }

    /// Features of a request that was taken apart.
    pub fn fresh(&self) -> FreshNoise {
        let FreshNoise { numbers, between } = self.fresh;
        FreshNoise { numbers: numbers.scaled(self.factor), between: between.scaled(self.factor) }
    }

    /// What a number gets on its way from the server, of a stream or an image that has noise `between` where no number is: the noise of the
    /// other ciphertexts of features that are added in a dense one, and rounding.
    pub fn answer(&self, answer: BlockAnswer, between: Variance) -> Variance {
        let rounded = noise::rounded_ciphertext(self.shape, answer.bits()).scaled(self.factor);
        match answer {
            BlockAnswer::Stream => between.repeated((self.layout.stride() - 1) as f64) + rounded,
            BlockAnswer::Last(_) => rounded,
        }
    }

    /// The noise of a lookup of a number that has parts under the arithmetic ring's key, under the lookup ring's, or both.
    pub fn lookup(&self, result: SmoothUse, [arithmetic, lookup]: [bool; 2]) -> LookupNoise {
        let part = |has: bool, variance| if has { variance } else { Variance::ZERO };
        let [of_arithmetic, of_lookup] = self.keyswitches;
        let switch = self.modulus_switch.scaled(2f64.powi(log_shared(result) as i32));
        let reading = switch + part(arithmetic, of_arithmetic) + part(lookup, of_lookup);
        let factor = if self.without_noise.contains(&discriminant(&result)) { 0.0 } else { self.factor };
        LookupNoise { reading: reading.scaled(factor), result: self.results[gadget(result)].scaled(factor) }
    }

    /// What packing, and the key switch to the arithmetic ring, add to a result of a lookup.
    pub fn packed(&self) -> Variance {
        self.packed.scaled(self.factor)
    }

    /// A coefficient of packed features that holds none, on average.
    pub fn between(&self) -> Variance {
        self.between.scaled(self.factor)
    }

    /// What a map, `[E, C]`, makes of noise `between` of coefficients that hold no feature: one ciphertext's weights meet all of them.
    pub fn mapped(&self, weight: &Matrix<i32>, form: Form, between: Variance) -> Variance {
        let mut squares = vec![0.0; self.layout.ciphertexts(form, weight.cols())];
        let of_column: Vec<usize> = (0..weight.cols()).map(|column| self.layout.place(form, column).0).collect();
        for row in 0..weight.rows() {
            for (&w, &ciphertext) in weight.row(row).iter().zip(&of_column) {
                squares[ciphertext] += f64::from(w).powi(2);
            }
        }
        between.repeated(squares.into_iter().fold(0.0, f64::max))
    }

    /// What a product with a looked-up integer adds, of which the square is at most `squares`.
    pub fn times_integer(&self, squares: f64) -> Distribution {
        self.looked_up.product(&[0], squares).scaled(self.factor)
    }

    /// What a product with a looked-up key of `channels` integers adds, whose squares add up to `squares`.
    pub fn times_key(&self, channels: usize, squares: f64) -> Distribution {
        let places: Vec<usize> = (0..channels).map(|channel| self.layout.key_place(channel).0).collect();
        self.looked_up.product(&places, squares).scaled(self.factor)
    }

    /// What a product with known integers adds, whose squares add up to `squares`: they are ciphertexts without masks, of which rows are
    /// relinearized as of others.
    pub fn times_known(&self, squares: f64) -> Distribution {
        let rows = LevelNoise::new(Spread::new(Variance::ZERO, 1));
        rows.product(self.product, self.shape, self.looked_up.relinearization(), squares).scaled(self.factor)
    }
}

/// How many of a multiplier's lookups are done in one: 2^this.
pub fn log_shared(result: SmoothUse) -> u32 {
    if let SmoothUse::Multiplier { log_shared } = result { log_shared } else { 0 }
}
