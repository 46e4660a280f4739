//! The steps of the packed attention on ciphertexts.
//!
//! On the server's side: evaluation keys and ciphertexts, nothing else.

use std::ops::Range;

use nn::matrix::Matrix;
use nn::packed::{Function, PackedProgram};
use rayon::prelude::*;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::fingerprint::Fingerprint;
use tfhe_core::ggsw::FourierGgsw;
use tfhe_core::glwe::{FourierGlwe, GlweCiphertext, SeededGlweCiphertext};
use tfhe_core::integer_product::FourierIntegers;
use tfhe_core::key_graph::{MissingEdge, Parameters};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::params::GlweShape;
use tfhe_core::polynomial;
use tfhe_core::tensor_product::Factor;
use tfhe_core::torus;

use super::keys::PackedKeys;
use super::layout::Layout;
use super::prediction::Scales;
use super::tables::{self, Tables};

/// Weights and functions, prepared for a parameter set: once for all inputs and clients.
///
/// Weights stay integers. Their polynomials are transformed as they are multiplied: that takes about as long as it would to read the
/// transforms from memory, of which a layer of GPT-2 has half a gibibyte.
#[derive(Clone, Debug)]
pub struct PreparedAttention {
    /// The fingerprint of the parameter set.
    set: Fingerprint,
    program: PackedProgram,
    scales: Scales,
    /// Of each head.
    tables: Vec<Tables>,
}

impl PreparedAttention {
    /// Tabulates the functions.
    ///
    /// # Errors
    /// If the set is not one of this circuit.
    pub fn new(program: &PackedProgram, parameters: &Parameters) -> Result<Self, MissingEdge> {
        let heads = 0..program.heads().len();
        let tables = heads.into_par_iter().map(|head| Tables::new(program, head, parameters.lookup().shape)).collect();
        let scales = Scales::new(parameters, program)?;
        Ok(Self { set: parameters.fingerprint(), program: program.clone(), scales, tables })
    }

    /// The fingerprint of the parameter set that it is prepared for.
    pub fn set(&self) -> &Fingerprint {
        &self.set
    }

    /// The attention.
    pub fn program(&self) -> &PackedProgram {
        &self.program
    }
}

/// A sum of scores and of results of lookups, which are under different keys.
#[derive(Clone, Debug, Default)]
pub struct EncryptedValue {
    /// Under the arithmetic ring's key.
    pub score: Option<LweCiphertext>,
    /// Under the lookup ring's key.
    pub lookup: Option<LweCiphertext>,
}

/// `sum += factor·part`, where either may be absent.
pub fn add_part(sum: &mut Option<LweCiphertext>, part: Option<&LweCiphertext>, factor: i64) {
    match (sum.as_mut(), part) {
        (_, None) => {}
        (Some(sum), Some(part)) => sum.add_scaled(part, factor),
        (None, Some(part)) => {
            let mut scaled = part.clone();
            scaled.scale(factor);
            *sum = Some(scaled);
        }
    }
}

/// An input in the Fourier domain, `[groups][chunks]`: for the projections of all heads.
#[derive(Clone, Debug)]
pub struct FourierInput(Vec<Vec<FourierGlwe>>);

/// One head's queries, keys and values.
#[derive(Clone, Debug)]
pub struct Projected {
    /// `[row groups]`: Σ_i X^(Ji)·Q_i(Y).
    pub queries: Vec<GlweCiphertext>,
    /// `[T]`: K_j(Y^(−1)).
    pub keys: Vec<GlweCiphertext>,
    /// `[output chunks][groups]`: Σ_j X^(Jj)·V_j(Y).
    pub values: Vec<Vec<GlweCiphertext>>,
}

/// A probability, where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// The row.
    pub row: usize,
    /// The token that it weighs.
    pub token: usize,
    /// Under the lookup ring's key.
    pub probability: &'a LweCiphertext,
}

/// A part of the attention, the keys to compute it with, and the layout of a run.
#[derive(Clone, Copy, Debug)]
pub struct Evaluator<'a> {
    /// Of whoever encrypted the input.
    pub keys: PackedKeys<'a>,
    /// What is computed.
    pub attention: &'a PreparedAttention,
    /// Where everything lies.
    pub layout: &'a Layout,
}

/// One of a head's projections.
struct Projection<'a> {
    /// `[E, columns]`
    weight: &'a Matrix<i32>,
    columns: Range<usize>,
    /// Of Y: 1, or −1 for keys.
    direction: i64,
    /// Whether channels have the signs of [`Layout::negates_value`].
    signed: bool,
    groups: Range<usize>,
    /// By what the product is multiplied.
    factor: i64,
}

impl Evaluator<'_> {
    fn shape(&self) -> GlweShape {
        self.keys.parameters.arithmetic().shape
    }

    fn program(&self) -> &PackedProgram {
        self.attention.program()
    }

    /// Expands an input, `[groups][chunks]` one after the other, and transforms it.
    pub fn transform(&self, input: &[SeededGlweCiphertext]) -> FourierInput {
        let fft = self.keys.fft;
        let transform = |chunk: &SeededGlweCiphertext| FourierGlwe::new(fft, &chunk.expand(), &mut fft.scratch());
        let groups = input.chunks(self.layout.input_chunks());
        FourierInput(groups.map(|group| group.par_iter().map(transform).collect()).collect())
    }

    /// Σ_{j,e} w_{cJ+j,e}·X^(direction·se − j) for chunk c of the inputs.
    fn weights(&self, fft: &NegacyclicFft, projection: &Projection<'_>, chunk: usize) -> FourierIntegers {
        let (layout, weight) = (self.layout, projection.weight);
        let mut polynomial = vec![0; layout.size()];
        let first = chunk * layout.inputs();
        for row in first..weight.rows().min(first + layout.inputs()) {
            for (channel, &w) in weight.row(row)[projection.columns.clone()].iter().enumerate() {
                let exponent = projection.direction * (layout.cosets() * channel) as i64 - (row - first) as i64;
                let (index, negated) = layout.monomial(exponent);
                let negated = negated != (projection.signed && Layout::negates_value(channel));
                polynomial[index] = if negated { -w } else { w };
            }
        }
        FourierIntegers::new(fft, &polynomial, &mut fft.scratch())
    }

    /// Of each of some groups, Σ_c x_c·W_c.
    fn multiply_weights(&self, input: &FourierInput, projection: &Projection<'_>) -> Vec<GlweCiphertext> {
        let (fft, shape) = (self.keys.fft, self.shape());
        let groups = &input.0[projection.groups.clone()];
        let share = self.layout.input_chunks().div_ceil(rayon::current_num_threads()).max(1);
        let partial = |chunks: &[usize]| -> Vec<GlweCiphertext> {
            let mut sums: Vec<FourierGlwe> = groups.iter().map(|_| FourierGlwe::zero(fft, shape)).collect();
            for &chunk in chunks {
                let weights = self.weights(fft, projection, chunk);
                sums.iter_mut().zip(groups).for_each(|(sum, group)| sum.add_product(fft, &group[chunk], &weights));
            }
            sums.into_iter().map(|sum| sum.inverse(fft, &mut fft.scratch())).collect()
        };
        let chunks: Vec<usize> = (0..self.layout.input_chunks()).collect();
        let zero = || vec![GlweCiphertext::zero(shape); groups.len()];
        let add = |mut sums: Vec<GlweCiphertext>, parts: Vec<GlweCiphertext>| {
            sums.iter_mut().zip(&parts).for_each(|(sum, part)| sum.add_scaled(part, 1));
            sums
        };
        let mut products = chunks.par_chunks(share).map(partial).reduce(zero, add);
        for product in &mut products {
            product.data_mut().iter_mut().for_each(|x| *x = x.wrapping_mul(projection.factor as u64));
        }
        products
    }

    /// Clears what is between the cosets of a group's tokens.
    fn gather(&self, mut product: GlweCiphertext) -> GlweCiphertext {
        let (steps, log_n) = (self.layout.group_steps(), self.shape().polynomial_size.log2());
        product.divide_by_power_of_two(steps);
        self.keys.automorphisms.trace(&product, log_n - steps + 1..=log_n)
    }

    /// A head's queries, keys and values, with biases of queries and keys.
    pub fn project(&self, input: &FourierInput, head: usize) -> Projected {
        let program = &self.program().heads()[head];
        let layout = self.layout;
        let [query_factor, key_factor, value_factor] = self.attention.scales.of_head(program).factors();
        let all = 0..layout.sizes().head;
        let (groups, row_groups) = (0..layout.groups(), layout.row_groups());
        let (query, key) = (program.query(), program.key());
        let projection = |weight, groups, direction, factor| Projection {
            weight,
            columns: all.clone(),
            direction,
            signed: false,
            groups,
            factor,
        };
        let queries = || {
            let products = self.multiply_weights(input, &projection(query.0, row_groups.clone(), 1, query_factor));
            let mut queries: Vec<_> = products.into_par_iter().map(|product| self.gather(product)).collect();
            self.add_query_biases(&mut queries, head);
            queries
        };
        let keys = || {
            let products = self.multiply_weights(input, &projection(key.0, groups.clone(), -1, key_factor));
            let split = |(group, product): (usize, GlweCiphertext)| {
                let automorphisms = self.keys.automorphisms;
                let parts = automorphisms.split_cosets(&product, layout.subring_log(), layout.group());
                parts.into_iter().take(layout.tokens_of_group(group).len()).collect::<Vec<_>>()
            };
            let parts: Vec<Vec<_>> = products.into_par_iter().enumerate().map(split).collect();
            let mut keys: Vec<GlweCiphertext> = parts.into_iter().flatten().collect();
            self.add_key_biases(&mut keys, head);
            keys
        };
        let chunk = |chunk: usize| {
            let projection = Projection {
                weight: program.value(),
                columns: layout.channels_of_chunk(chunk),
                direction: 1,
                signed: true,
                groups: groups.clone(),
                factor: value_factor,
            };
            let products = self.multiply_weights(input, &projection);
            products.into_par_iter().map(|product| self.gather(product)).collect()
        };
        let values = || (0..layout.output_chunks()).into_par_iter().map(chunk).collect();
        let (queries, (keys, values)) = rayon::join(queries, || rayon::join(keys, values));
        Projected { queries, keys, values }
    }

    /// Adds `plaintext` to the coefficient of X^exponent.
    fn add_monomial(&self, ciphertext: &mut GlweCiphertext, exponent: i64, plaintext: u64) {
        let (index, negated) = self.layout.monomial(exponent);
        let body = ciphertext.body_mut();
        body[index] = body[index].wrapping_add(if negated { plaintext.wrapping_neg() } else { plaintext });
    }

    fn add_query_biases(&self, queries: &mut [GlweCiphertext], head: usize) {
        let (layout, program) = (self.layout, &self.program().heads()[head]);
        let unit = 64 - program.log_modulus();
        for (query, group) in queries.iter_mut().zip(layout.row_groups()) {
            for place in 0..layout.tokens_of_group(group).len() {
                for (channel, &bias) in program.query().1.iter().enumerate() {
                    let exponent = (place * layout.inputs() + layout.cosets() * channel) as i64;
                    self.add_monomial(query, exponent, (bias as u64) << unit);
                }
            }
        }
    }

    fn add_key_biases(&self, keys: &mut [GlweCiphertext], head: usize) {
        let (layout, program) = (self.layout, &self.program().heads()[head]);
        let unit = 64 - program.log_modulus();
        for key in keys {
            for (channel, &bias) in program.key().1.iter().enumerate() {
                self.add_monomial(key, -((layout.cosets() * channel) as i64), (bias as u64) << unit);
            }
        }
    }

    /// Σ_j X^j·K_j(Y^(−1)) of the keys of a block.
    fn pack_keys(&self, keys: &[GlweCiphertext]) -> GlweCiphertext {
        let mut packed = GlweCiphertext::zero(self.shape());
        for (j, key) in keys.iter().enumerate() {
            packed.add_scaled(&key.map_polynomials(|x, y| polynomial::rotate(x, j, y)), 1);
        }
        packed
    }

    /// A head's blocks of scores, in the layout's order.
    pub fn multiply(&self, projected: &Projected, head: usize) -> Vec<((usize, usize), GlweCiphertext)> {
        let layout = self.layout;
        let relinearization = self.keys.relinearization;
        let log_modulus = self.program().heads()[head].log_modulus();
        let queries: Vec<Factor> = projected.queries.par_iter().map(|query| relinearization.factor(query)).collect();
        let keys: Vec<Factor> = (0..layout.key_blocks())
            .into_par_iter()
            .map(|block| relinearization.factor(&self.pack_keys(&projected.keys[layout.keys_of_block(block)])))
            .collect();
        let first = layout.row_groups().start;
        let product = |(group, block): (usize, usize)| {
            let product = relinearization.multiply(&queries[group - first], &keys[block], log_modulus);
            ((group, block), product)
        };
        layout.score_blocks().into_par_iter().map(product).collect()
    }

    /// GGSW encryptions of Σ_j X^(Jj)·V_j(Y), `[output chunks][groups]`.
    pub fn encrypt_values(&self, values: &[Vec<GlweCiphertext>]) -> Vec<Vec<FourierGgsw>> {
        let (relinearization, gadget) = (self.keys.relinearization, self.keys.weighing);
        let encrypt = |value: &GlweCiphertext| relinearization.ggsw(value, gadget);
        values.par_iter().map(|groups| groups.par_iter().map(encrypt).collect()).collect()
    }

    /// Key switches to the small key, and bootstrapping: each input with the table of its head.
    pub fn look_up(&self, function: Function, inputs: &[(usize, EncryptedValue)]) -> Vec<LweCiphertext> {
        let heads = self.program().heads();
        let switch = |(head, value): &(usize, EncryptedValue)| {
            let offset = torus::from_f64(tables::argument_offset(&heads[*head], function));
            let mut sum = LweCiphertext::trivial(self.keys.parameters.small().lwe_dimension(), offset);
            let parts = [(&value.score, self.keys.score_keyswitch), (&value.lookup, self.keys.lookup_keyswitch)];
            for (part, key) in parts {
                if let Some(part) = part {
                    sum.add_scaled(&key.keyswitch(std::slice::from_ref(part))[0], 1);
                }
            }
            sum
        };
        let switched: Vec<LweCiphertext> = inputs.par_iter().map(switch).collect();
        let table = |(head, _): &(usize, EncryptedValue)| self.attention.tables[*head].polynomial(function);
        let polynomials: Vec<&GlweCiphertext> = inputs.iter().map(table).collect();
        self.keys.bootstrapping(function).programmable_bootstrap(&switched, &polynomials)
    }

    /// A probability as a constant polynomial of the lookup ring.
    pub fn isolate(&self, probability: &LweCiphertext) -> GlweCiphertext {
        let lookup = self.keys.parameters.lookup();
        let mut embedded = GlweCiphertext::embed(lookup.shape, probability);
        embedded.divide_by_power_of_two(lookup.size().log2());
        self.keys.isolation.trace(&embedded, 1..=lookup.size().log2())
    }

    /// The probabilities of rows of one group with tokens of one group: Σ p_rj·X^(r − Jj) in the arithmetic ring.
    ///
    /// X of the lookup ring is X^ratio of the arithmetic one: rows with the same remainder modulo the ratio are added up first.
    pub fn place(&self, probabilities: &[Placed<'_>]) -> GlweCiphertext {
        let (layout, parameters) = (self.layout, self.keys.parameters);
        let (lookup, ratio) = (parameters.lookup(), layout.ratio());
        let lift_set = |remainder: usize| {
            let zero = || GlweCiphertext::zero(lookup.shape);
            let add = |mut sum: GlweCiphertext, placed: &Placed<'_>| {
                let exponent = layout.probability_exponent(placed.row, placed.token) - remainder as i64;
                let exponent = (exponent / ratio as i64).rem_euclid(2 * lookup.size().get() as i64) as usize;
                let isolated = self.isolate(placed.probability);
                sum.add_scaled(&isolated.map_polynomials(|x, y| polynomial::rotate(x, exponent, y)), 1);
                sum
            };
            let merge = |mut sum: GlweCiphertext, part: GlweCiphertext| {
                sum.add_scaled(&part, 1);
                sum
            };
            let set: Vec<&Placed<'_>> = probabilities.iter().filter(|placed| placed.row % ratio == remainder).collect();
            if set.is_empty() {
                return None;
            }
            let sum = set.into_par_iter().fold(zero, add).reduce(zero, merge);
            let larger = sum.into_larger_ring(parameters.arithmetic().size());
            let lifted = self.keys.lift.keyswitch(&larger, &mut self.keys.lift.scratch());
            Some(lifted.map_polynomials(|x, y| polynomial::rotate(x, remainder, y)))
        };
        let lifted: Vec<GlweCiphertext> = (0..ratio).into_par_iter().filter_map(lift_set).collect();
        let mut sum = GlweCiphertext::zero(self.shape());
        lifted.iter().for_each(|set| sum.add_scaled(set, 1));
        sum
    }

    /// Adds Σ_j p_rj·V_j(Y) in each row's coset to each chunk's sum, and something in cosets that no row has.
    pub fn weigh(&self, probabilities: &GlweCiphertext, values: &[&FourierGgsw], sums: &mut [GlweCiphertext]) {
        let fft = self.keys.fft;
        sums.par_iter_mut().zip(values).for_each(|(sum, value)| {
            value.add_external_product(fft, probabilities, sum, &mut value.scratch(fft));
        });
    }

    /// Adds the biases to `sums` `[row groups][output chunks]`, and packs their rows into as few ciphertexts as hold them.
    pub fn answer(&self, mut sums: Vec<Vec<GlweCiphertext>>) -> Vec<GlweCiphertext> {
        let layout = self.layout;
        let unit = tables::probability_turns(self.program());
        let bias = self.program().output_bias();
        let rows = layout.span().rows().flat_map(|row| (0..layout.output_chunks()).map(move |chunk| (row, chunk)));
        for (group, chunks) in layout.row_groups().zip(&mut sums) {
            for (chunk, sum) in chunks.iter_mut().enumerate() {
                for (channel, &bias) in bias[layout.channels_of_chunk(chunk)].iter().enumerate() {
                    let turns = torus::from_f64(bias * unit);
                    let plaintext = if Layout::negates_value(channel) { turns.wrapping_neg() } else { turns };
                    for row in layout.rows_of_group(group) {
                        let exponent = (row % layout.group() + layout.cosets() * channel) as i64;
                        self.add_monomial(sum, exponent, plaintext);
                    }
                }
            }
        }
        let place = |(row, chunk): (usize, usize)| {
            let sum = &sums[row / layout.group() - layout.row_groups().start][chunk];
            let back = 2 * layout.size() - row % layout.group();
            Some(sum.map_polynomials(|x, y| polynomial::rotate(x, back, y)))
        };
        let places: Vec<(usize, usize)> = rows.collect();
        let pack = |places: &[(usize, usize)]| {
            let mut inputs: Vec<_> = places.iter().copied().map(place).collect();
            inputs.resize(places.len().next_power_of_two(), None);
            self.keys.automorphisms.pack_cosets(inputs, layout.subring_log())
        };
        places.chunks(layout.places_per_answer()).map(pack).collect()
    }
}
