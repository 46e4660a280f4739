//! Predictions: what noise each operation leaves, and how often a lookup fails.

use nn::evaluator::TermUse;
use nn::integer::IntegerProgram;
use nn::matrix::Matrix;
use tfhe_core::key_graph::{Bootstrap, Edge, MissingEdge, Node, Parameters};
use tfhe_core::keys::Needs;
use tfhe_core::noise::{self, Distribution, Spread, Variance};
use tfhe_core::params::GlweShape;
use tfhe_core::sets::{COARSE, FINE, PRECISE};
use tfhe_core::wide::{self, WideTable};

use super::encoding::{answer_rounding, request_rounding};
use super::multiply::Multiply;
use crate::boundary::Refused;

/// How many places of a right factor are filled at most: each place's noise meets every entry of the product.
const PACKED_PLACES: usize = 64;

/// Of a weighted sum that is decrypted: there may be 2^20 of them, 1,024 tokens of 1,024 numbers, and 2^-44 is left.
const MAX_LOG2_SUM_FAILURE: f64 = -64.0;

/// The automorphisms that pack a table between its two bootstrappings, the set's first: for each lookup many, and precise enough.
pub(super) const PACK_TABLES: usize = 0;

/// The automorphisms that pack factors and answers: the set's second, where it has some of their own.
pub(super) fn pack_numbers(parameters: &Parameters) -> usize {
    let own = Edge::Automorphisms { ring: Node::Lookup, gadget: PACK_TABLES + 1 };
    if parameters.gadget(own).is_ok() { PACK_TABLES + 1 } else { PACK_TABLES }
}

/// Whether fine bootstrappings take so much less time than precise ones, a third at most, that a key of their own is worth its bytes where
/// some would do that are precise anyway: the first of each wide table's.
fn fine_is_quick(parameters: &Parameters) -> bool {
    let (n, shape) = (parameters.small().lwe_dimension(), parameters.lookup().shape);
    let transforms = |gadget: usize| Some(parameters.bootstraps().get(gadget)?.transforms(n, shape));
    transforms(FINE).zip(transforms(PRECISE)).is_some_and(|(fine, precise)| 3 * fine <= precise)
}

/// How many columns of a right factor of `depth` rows go into one ciphertext.
pub fn columns_per_ciphertext(depth: usize) -> usize {
    (PACKED_PLACES / depth.next_power_of_two()).max(1)
}

/// Variances of one parameter set.
#[derive(Clone, Debug)]
pub struct Predictor {
    parameters: Parameters,
    bootstraps: Vec<Variance>,
    switches: Variance,
    /// Of the automorphisms that pack tables, and of those that pack factors and answers.
    automorphisms: [Variance; 2],
    relinearization: Variance,
}

impl Predictor {
    /// For the set `parameters`.
    ///
    /// # Errors
    /// If it has not one ring that is both, or not the edges of the circuit.
    pub fn new(parameters: &Parameters) -> Result<Self, Refused> {
        if parameters.key(Node::Lookup) != parameters.key(Node::Arithmetic) {
            return Err(Refused::TwoRings(parameters.name()));
        }
        let (ring, lwe) = (parameters.lookup(), parameters.small().lwe_dimension());
        let (shape, key) = (ring.shape, ring.noise.variance());
        let rotation =
            |bootstrap: &Bootstrap| noise::blind_rotation(bootstrap.gadget, bootstrap.grouping, shape, lwe, key);
        let keyswitch = noise::lwe_keyswitch(
            parameters.gadget(Edge::Keyswitch { from: Node::Lookup })?,
            ring.lwe_dimension(),
            parameters.small().noise().variance(),
        );
        let automorphism = |gadget: usize| {
            let gadget = parameters.gadget(Edge::Automorphisms { ring: Node::Lookup, gadget })?;
            Ok::<_, MissingEdge>(noise::glwe_keyswitch(gadget, shape, key))
        };
        let relinearization = parameters.gadget(Edge::Relinearization { ring: Node::Lookup })?;
        Ok(Self {
            bootstraps: parameters.bootstraps().iter().map(rotation).collect(),
            switches: keyswitch + noise::modulus_switch(lwe, ring.size()),
            automorphisms: [automorphism(PACK_TABLES)?, automorphism(pack_numbers(parameters))?],
            relinearization: noise::relinearization(relinearization, shape, key),
            parameters: parameters.clone(),
        })
    }

    /// k and N of the ring.
    pub fn shape(&self) -> GlweShape {
        self.parameters.lookup().shape
    }

    /// Checks that tables of the program, and those that products of its factors need, can be read, and that they and a row of a matrix
    /// fit the ring.
    ///
    /// # Errors
    /// [`Refused::TooWide`], [`Refused::SmallRing`].
    pub fn check(&self, program: &IntegerProgram, multiply: Multiply) -> Result<(), Refused> {
        let operands = program.factors().into_iter().map(|(_, factor)| factor.operand_bits);
        let operands = operands.filter(|_| multiply == Multiply::Lut);
        let widest = program.tables().map(|(_, table)| table.index_bits()).chain(operands).max().unwrap_or(0);
        let size = self.shape().polynomial_size;
        if size.get() < PACKED_PLACES.max(program.head_size()) || self.narrow_bits() < 2 {
            return Err(Refused::SmallRing(self.parameters.name()));
        }
        let limit = *wide::bits(size).end();
        if widest > limit { Err(Refused::TooWide { bits: widest, limit }) } else { Ok(()) }
    }

    /// The bits of the widest table that one bootstrapping reads.
    pub fn narrow_bits(&self) -> u32 {
        wide::narrow_bits(self.shape().polynomial_size)
    }

    /// How many low bits rounding takes off at a time: with the bit above them, as many as a narrow table reads, so that the input's own
    /// noise, which the scaling multiplies, has as much room as there.
    pub(super) fn rounding_digit(&self) -> u32 {
        self.narrow_bits() - 1
    }

    /// The parameter set.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What key switch and modulus switch add to a phase before it is looked up.
    pub fn switches(&self) -> Variance {
        self.switches
    }

    /// The noise of a value looked up with bootstrapping gadget `gadget`.
    pub fn bootstrap(&self, gadget: usize) -> Variance {
        self.bootstraps[gadget]
    }

    /// The noise of fresh encryptions, whose bodies were rounded, times the weights of one output: Σ w²·σ².
    pub fn project(&self, weight: &Matrix<i32>, column: usize) -> Variance {
        let squares = (0..weight.rows()).map(|row| f64::from(weight[(row, column)]).powi(2));
        (self.parameters.lookup().noise.variance() + request_rounding()).repeated(squares.sum())
    }

    /// log2 of the probability that a phase with noise `input` is read wrongly from a table whose values are `tolerance`
    /// (half a slot) away from their neighbours.
    pub fn failure(&self, input: impl Into<Distribution>, tolerance: f64) -> f64 {
        (input.into() + self.switches).log2_tail(tolerance)
    }

    /// The gadget of a wide lookup's first bootstrapping: the coarsest of the `available` ones whose noise, amplified by the table's differences, does not
    /// dominate the second's.
    pub fn low_gadget(&self, tables: &[WideTable], high: usize, available: &[usize]) -> usize {
        let budget = self.bootstraps[high].get() * 4.0;
        let amplification = tables.iter().map(WideTable::amplification).fold(0.0, f64::max);
        let fits = |&gadget: &usize| self.bootstraps[gadget].get() * amplification <= budget;
        *available.iter().find(|gadget| fits(gadget)).or(available.last()).expect("a program needs a bootstrapping key")
    }

    /// The coarsest gadget whose results, times 2^shift, have no more noise than the switches of the reading that follows.
    pub fn scaled_gadget(&self, shift: u32, available: &[usize]) -> usize {
        let budget = self.switches.get();
        let fits = |gadget: usize| self.bootstraps[gadget].scaled(2f64.powi(shift as i32)).get() <= budget;
        *available
            .iter()
            .find(|&&gadget| fits(gadget))
            .or(available.last())
            .expect("a program needs a bootstrapping key")
    }

    /// The gadget of results that are read at the scale of a table of `bits` bits, a few of them summed: a wide table's first
    /// reading scales them by 2^(bits − [`Self::narrow_bits`]), and four summands double the noise.
    pub fn summand_gadget(&self, bits: u32, available: &[usize]) -> usize {
        self.scaled_gadget(bits.saturating_sub(self.narrow_bits()) + 1, available)
    }

    /// The gadget of terms of weighted sums: the coarsest with which a sum, packed, is decrypted wrongly with a
    /// probability of at most 2^`MAX_LOG2_SUM_FAILURE`.
    pub fn term_gadget(&self, term: TermUse, available: &[usize]) -> usize {
        let fits = |gadget: usize| {
            let sum = self.bootstraps[gadget].repeated(term.squared_weights as f64);
            self.decryption_failure(sum, term.sum_bits) <= MAX_LOG2_SUM_FAILURE
        };
        *available
            .iter()
            .find(|&&gadget| fits(gadget))
            .or(available.last())
            .expect("a program needs a bootstrapping key")
    }

    /// log2 of the probability that an integer at scale 2^−(bits+1), with noise `result`, is decrypted wrongly: that
    /// after packing, and rounding to what is sent, it is half a step or more away.
    pub fn decryption_failure(&self, result: impl Into<Distribution>, bits: u32) -> f64 {
        let sent = self.packing() + answer_rounding(self.shape(), bits);
        (result.into() + sent).log2_tail(2f64.powi(-(bits as i32) - 2))
    }

    /// The noise of the encrypted table between a wide lookup's two bootstrappings.
    pub fn wide_table(&self, low: usize, table: &WideTable) -> Variance {
        table.table_variance(self.bootstraps[low], self.automorphisms[0], self.shape())
    }

    /// The noise that packing by automorphisms leaves at the coefficients that it fills.
    pub fn packing(&self) -> Variance {
        noise::trace(self.automorphisms[1], self.shape().polynomial_size.log2())
    }

    /// The noise of an entry of a matrix product: the factors' noise at so many packed places, what packing adds there and everywhere,
    /// and the relinearization's.
    pub fn matrix_product(&self, left: (Variance, usize), right: (Variance, usize), log_t: u32) -> Distribution {
        let shape = self.shape();
        let n = shape.polynomial_size.get();
        let everywhere = Spread::new(self.automorphisms[1].repeated(n as f64), n);
        let factor =
            |(variance, places): (Variance, usize)| Spread::new(variance + self.packing(), places) + everywhere;
        noise::tensor_product(shape, log_t, [left, right].map(factor)) + self.relinearization
    }

    /// The gadgets whose keys a program with factors of at most `bits` bits needs; `whole`: with an output projection,
    /// whose sums are so wide that their terms have to be precise.
    pub fn gadgets(parameters: &Parameters, multiply: Multiply, bits: u32, whole: bool) -> Vec<usize> {
        match multiply {
            Multiply::Product if fine_is_quick(parameters) => vec![COARSE, FINE, PRECISE],
            Multiply::Product => vec![COARSE, PRECISE],
            Multiply::Lut if bits <= 4 && !whole => vec![COARSE, FINE],
            Multiply::Lut => vec![COARSE, FINE, PRECISE],
        }
    }

    /// The evaluation keys, with gadgets of `parameters`, of such a program.
    pub fn needs(parameters: &Parameters, multiply: Multiply, bits: u32, whole: bool) -> Needs {
        let needs = Needs::default().keyswitch(Node::Lookup).automorphisms(Node::Lookup, PACK_TABLES, 0);
        let needs = needs.automorphisms(Node::Lookup, pack_numbers(parameters), 0);
        let needs = Self::gadgets(parameters, multiply, bits, whole).into_iter().fold(needs, Needs::bootstrapping);
        if multiply == Multiply::Product { needs.relinearization(Node::Lookup) } else { needs }
    }
}
