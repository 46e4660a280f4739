//! The packed backend on ciphertexts.
//!
//! On the server's side: evaluation keys and ciphertexts, nothing else.

use std::ops::Range;

use nn::evaluator::{Form, LinearMap, Rows, Side};
use nn::matrix::Matrix;
use nn::packed::PackedProgram;
use nn::table::{Smooth, SmoothTable};
use nn::watched::InspectedRows;
use rayon::prelude::*;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::fingerprint::Fingerprint;
use tfhe_core::ggsw::FourierGgsw;
use tfhe_core::glwe::{FourierGlwe, GlweCiphertext, SeededGlweCiphertext};
use tfhe_core::integer_product::FourierIntegers;
use tfhe_core::key_graph::{MissingEdge, Parameters};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::noise::{Distribution, Variance};
use tfhe_core::params::GlweShape;
use tfhe_core::polynomial;
use tfhe_core::tensor_product::Factor;
use tfhe_core::torus;

use super::backend::{PackedBackend, Partial, Summed};
use super::keys::PackedKeys;
use super::layout::{Layout, Sizes};
use super::prediction::{Scales, ValueNoise};
use super::tables;

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
    /// The polynomial of each table of the program.
    tables: Vec<(SmoothTable, GlweCiphertext)>,
}

impl PreparedAttention {
    /// Tabulates the functions.
    ///
    /// # Errors
    /// If the set is not one of this circuit.
    pub fn new(program: &PackedProgram, parameters: &Parameters) -> Result<Self, MissingEdge> {
        let (one, shape) = (program.output_turns(), parameters.lookup().shape);
        let tables: Vec<SmoothTable> = program.heads().iter().flat_map(|head| head.tables(one)).collect();
        let tables = tables.into_par_iter().map(|table| (table, tables::polynomial(&table, shape))).collect();
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

    /// The polynomial of a table of the program.
    fn polynomial(&self, table: &SmoothTable) -> &GlweCiphertext {
        let found = self.tables.iter().find(|(prepared, _)| prepared == table);
        found.map(|(_, polynomial)| polynomial).expect("tables of the program are prepared")
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

/// What a linear map of an input gives, by its form.
#[derive(Clone, Debug)]
pub enum Projected {
    /// `[row groups]`: Σ_i X^(Ji)·Q_i(Y).
    Queries(Vec<GlweCiphertext>),
    /// `[T]`: K_j(Y^(−1)).
    Keys(Vec<GlweCiphertext>),
    /// `[output chunks][groups]`: Σ_j X^(Jj)·V_j(Y).
    Values(Vec<Vec<GlweCiphertext>>),
}

/// Blocks of scores: (group of rows, block of keys) and a ciphertext each.
pub type ScoreBlocks = Vec<((usize, usize), GlweCiphertext)>;

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
pub struct PackedCiphertexts<'a> {
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

impl PackedCiphertexts<'_> {
    fn shape(&self) -> GlweShape {
        self.keys.parameters.arithmetic().shape
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

    /// What a linear map of the input gives, in its form, with biases.
    pub fn map(&self, input: &FourierInput, map: &LinearMap<'_>) -> Projected {
        let layout = self.layout;
        let (factor, log) = (self.attention.scales.factor(map.form), self.attention.scales.log_of(map.form));
        let projection = |columns, groups, direction, signed| Projection {
            weight: map.weight,
            columns,
            direction,
            signed,
            groups,
            factor,
        };
        let (all, groups) = (0..map.weight.cols(), 0..layout.groups());
        match map.form {
            Form::Cyclic(Side::Right, _) => {
                let products = self.multiply_weights(input, &projection(all, groups, -1, false));
                let split = |(group, product): (usize, GlweCiphertext)| {
                    let automorphisms = self.keys.automorphisms;
                    let parts = automorphisms.split_cosets(&product, layout.subring_log(), layout.group());
                    parts.into_iter().take(layout.tokens_of_group(group).len()).collect::<Vec<_>>()
                };
                let parts: Vec<Vec<_>> = products.into_par_iter().enumerate().map(split).collect();
                let mut keys: Vec<GlweCiphertext> = parts.into_iter().flatten().collect();
                keys.iter_mut().for_each(|key| self.add_bias(key, map.bias, log, (0, -1)));
                Projected::Keys(keys)
            }
            Form::Cyclic(Side::Left, _) => {
                let products = self.multiply_weights(input, &projection(all, layout.row_groups(), 1, false));
                let mut queries: Vec<_> = products.into_par_iter().map(|product| self.gather(product)).collect();
                for (query, group) in queries.iter_mut().zip(layout.row_groups()) {
                    let places = 0..layout.tokens_of_group(group).len();
                    places.for_each(|place| self.add_bias(query, map.bias, log, (place * layout.inputs(), 1)));
                }
                Projected::Queries(queries)
            }
            Form::Weighed { .. } => {
                let sign = |(channel, &bias): (usize, &i64)| if Layout::negates_value(channel) { -bias } else { bias };
                let chunk = |chunk: usize| {
                    let columns = layout.channels_of_chunk(chunk);
                    let biases = map.bias.iter().take(columns.end).skip(columns.start).enumerate();
                    let biases: Vec<i64> = biases.map(sign).collect();
                    let products = self.multiply_weights(input, &projection(columns, groups.clone(), 1, true));
                    let finish = |(group, product): (usize, GlweCiphertext)| {
                        let mut values = self.gather(product);
                        let places = 0..layout.tokens_of_group(group).len();
                        places.for_each(|place| self.add_bias(&mut values, &biases, log, (place * layout.inputs(), 1)));
                        values
                    };
                    products.into_par_iter().enumerate().map(finish).collect()
                };
                Projected::Values((0..layout.output_chunks()).into_par_iter().map(chunk).collect())
            }
            other => unreachable!("maps of packed numbers give queries, keys or values, not {other:?}"),
        }
    }

    /// Adds a token's bias, an integer over 2^log for each channel, at X^first·Y^(±channel).
    fn add_bias(&self, ciphertext: &mut GlweCiphertext, bias: &[i64], log: u32, (first, direction): (usize, i64)) {
        for (channel, &bias) in bias.iter().enumerate() {
            let exponent = first as i64 + direction * (self.layout.cosets() * channel) as i64;
            self.add_monomial(ciphertext, exponent, (bias as u64) << (64 - log));
        }
    }

    /// Adds `plaintext` to the coefficient of X^exponent.
    fn add_monomial(&self, ciphertext: &mut GlweCiphertext, exponent: i64, plaintext: u64) {
        let (index, negated) = self.layout.monomial(exponent);
        let body = ciphertext.body_mut();
        body[index] = body[index].wrapping_add(if negated { plaintext.wrapping_neg() } else { plaintext });
    }

    /// The coefficient of X^first·Y^power by itself, with the other sign if it is `negated`.
    fn coefficient(
        &self,
        ciphertext: &GlweCiphertext,
        (first, power): (i64, i64),
        negated: bool,
    ) -> Partial<EncryptedValue> {
        let (index, turned) = self.layout.monomial(first + self.layout.cosets() as i64 * power);
        let mut sample = ciphertext.sample_extract(index);
        if negated != turned {
            sample.scale(-1);
        }
        Partial::complete(EncryptedValue { score: Some(sample), lookup: None })
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
    pub fn multiply_factors(
        &self,
        queries: &[GlweCiphertext],
        keys: &[GlweCiphertext],
        log_modulus: u32,
    ) -> ScoreBlocks {
        let layout = self.layout;
        let relinearization = self.keys.relinearization;
        let queries: Vec<Factor> = queries.par_iter().map(|query| relinearization.factor(query)).collect();
        let keys: Vec<Factor> = (0..layout.key_blocks())
            .into_par_iter()
            .map(|block| relinearization.factor(&self.pack_keys(&keys[layout.keys_of_block(block)])))
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

    /// Key switches to the small key, and bootstrapping: table `i` at number `i`.
    pub fn bootstrap(
        &self,
        function: Smooth,
        numbers: &[&EncryptedValue],
        tables: &[&SmoothTable],
    ) -> Vec<LweCiphertext> {
        let switch = |(value, table): (&&EncryptedValue, &&SmoothTable)| {
            let offset = torus::from_f64(table.offset());
            let mut sum = LweCiphertext::trivial(self.keys.parameters.small().lwe_dimension(), offset);
            let parts = [(&value.score, self.keys.score_keyswitch), (&value.lookup, self.keys.lookup_keyswitch)];
            for (part, key) in parts {
                if let Some(part) = part {
                    sum.add_scaled(&key.keyswitch(std::slice::from_ref(part))[0], 1);
                }
            }
            sum
        };
        let switched: Vec<LweCiphertext> = numbers.par_iter().zip(tables).map(switch).collect();
        let polynomials: Vec<&GlweCiphertext> = tables.iter().map(|table| self.attention.polynomial(table)).collect();
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
    pub fn weigh_block(&self, probabilities: &GlweCiphertext, values: &[&FourierGgsw], sums: &mut [GlweCiphertext]) {
        let fft = self.keys.fft;
        sums.par_iter_mut().zip(values).for_each(|(sum, value)| {
            value.add_external_product(fft, probabilities, sum, &mut value.scratch(fft));
        });
    }

    /// Adds constants, in turns, to the rows of `sums` `[row groups][output chunks]`.
    fn add_to_rows(&self, sums: &mut [Vec<GlweCiphertext>], turns: &[f64]) {
        let layout = self.layout;
        for (group, chunks) in layout.row_groups().zip(sums) {
            for (chunk, sum) in chunks.iter_mut().enumerate() {
                for (channel, &turns) in turns[layout.channels_of_chunk(chunk)].iter().enumerate() {
                    let turns = torus::from_f64(turns);
                    let plaintext = if Layout::negates_value(channel) { turns.wrapping_neg() } else { turns };
                    for row in layout.rows_of_group(group) {
                        let exponent = (row % layout.group() + layout.cosets() * channel) as i64;
                        self.add_monomial(sum, exponent, plaintext);
                    }
                }
            }
        }
    }

    /// Packs the rows of `sums` `[row groups][output chunks]` into as few ciphertexts as hold them.
    pub fn answer(&self, sums: &[Vec<GlweCiphertext>]) -> Vec<GlweCiphertext> {
        let layout = self.layout;
        let rows = layout.span().rows().flat_map(|row| (0..layout.output_chunks()).map(move |chunk| (row, chunk)));
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

impl PackedBackend for PackedCiphertexts<'_> {
    type Input = FourierInput;
    type Projection = Projected;
    type Product = ScoreBlocks;
    type Number = EncryptedValue;
    /// `[row groups][output chunks]`.
    type Sum = Vec<Vec<GlweCiphertext>>;

    fn project(&mut self, input: &FourierInput, maps: &[LinearMap<'_>]) -> Vec<Projected> {
        maps.par_iter().map(|map| self.map(input, map)).collect()
    }

    fn multiply(&mut self, factors: [Projected; 2], log_modulus: u32, _: &Distribution) -> ScoreBlocks {
        let [Projected::Queries(queries), Projected::Keys(keys)] = &factors else {
            unreachable!("a product is of queries and keys")
        };
        self.multiply_factors(queries, keys, log_modulus)
    }

    fn scores(&mut self, product: ScoreBlocks) -> Rows<EncryptedValue> {
        let score = |i: usize, j: usize| {
            let (block, position) = self.layout.score_position(i, j);
            let (_, product) = product.iter().find(|(at, _)| *at == block).expect("a visible block");
            EncryptedValue { score: Some(product.sample_extract(position)), lookup: None }
        };
        self.layout.span().rows().map(|row| (0..=row).map(|token| score(row, token)).collect()).collect()
    }

    fn add_scaled(&self, sum: &mut EncryptedValue, other: &EncryptedValue, factor: i64) {
        add_part(&mut sum.score, other.score.as_ref(), factor);
        add_part(&mut sum.lookup, other.lookup.as_ref(), factor);
    }

    fn constant(&self, turns: f64) -> EncryptedValue {
        let dimension = self.keys.parameters.lookup().lwe_dimension();
        EncryptedValue { score: None, lookup: Some(LweCiphertext::trivial(dimension, torus::from_f64(turns))) }
    }

    fn look_up(
        &mut self,
        function: Smooth,
        numbers: &[&Summed<EncryptedValue>],
        tables: &[&SmoothTable],
    ) -> Vec<EncryptedValue> {
        let numbers: Vec<&EncryptedValue> = numbers.iter().map(|number| &number.content).collect();
        let results = self.bootstrap(function, &numbers, tables).into_iter();
        results.map(|lookup| EncryptedValue { score: None, lookup: Some(lookup) }).collect()
    }

    fn weigh(
        &mut self,
        weights: &[Vec<Summed<EncryptedValue>>],
        values: Projected,
        _: &ValueNoise,
        sum: Option<Self::Sum>,
    ) -> Self::Sum {
        let Projected::Values(values) = values else { unreachable!("values are weighed") };
        let (layout, values) = (self.layout, self.encrypt_values(&values));
        let (first, groups) = (layout.span().rows().start, layout.row_groups());
        let zero = || vec![vec![GlweCiphertext::zero(self.shape()); layout.output_chunks()]; groups.len()];
        let mut sums = sum.unwrap_or_else(zero);
        for (row_group, token_group) in layout.probability_blocks() {
            let tokens = layout.tokens_of_group(token_group);
            let placed = layout.rows_of_group(row_group).flat_map(|row| {
                let visible = tokens.start..tokens.end.min(row + 1);
                visible.map(move |token| {
                    let weight = &weights[row - first][token].content;
                    let probability = weight.lookup.as_ref().expect("weights are results of lookups");
                    Placed { row, token, probability }
                })
            });
            let block = self.place(&placed.collect::<Vec<_>>());
            let of_group: Vec<&FourierGgsw> = values.iter().map(|chunk| &chunk[token_group]).collect();
            self.weigh_block(&block, &of_group, &mut sums[row_group - groups.start]);
        }
        sums
    }

    fn add_constants(&mut self, mut sum: Self::Sum, turns: &[f64]) -> Self::Sum {
        self.add_to_rows(&mut sum, turns);
        sum
    }

    fn projected<'s>(
        &'s self,
        projection: &'s Projected,
        _: Form,
        _: Variance,
    ) -> InspectedRows<'s, Partial<EncryptedValue>> {
        let layout = self.layout;
        let Sizes { head, output, .. } = layout.sizes();
        let coset = move |token: usize| (token % layout.group() * layout.inputs()) as i64;
        match projection {
            Projected::Queries(groups) => {
                let tokens = layout
                    .row_groups()
                    .zip(groups)
                    .flat_map(move |(group, query)| layout.tokens_of_group(group).map(move |token| (token, query)));
                Box::new(tokens.map(move |(token, query)| {
                    (0..head).map(|channel| self.coefficient(query, (coset(token), channel as i64), false)).collect()
                }))
            }
            Projected::Keys(tokens) => Box::new(tokens.iter().map(move |key| {
                (0..head).map(|channel| self.coefficient(key, (0, -(channel as i64)), false)).collect()
            })),
            Projected::Values(chunks) => Box::new((0..layout.tokens()).map(move |token| {
                let of_channel = |channel: usize| {
                    let (chunk, channel) = (channel / layout.subring(), channel % layout.subring());
                    let place = (coset(token), channel as i64);
                    self.coefficient(&chunks[chunk][token / layout.group()], place, Layout::negates_value(channel))
                };
                (0..output).map(of_channel).collect()
            })),
        }
    }

    fn summed<'s>(&'s self, sums: &'s Self::Sum) -> InspectedRows<'s, Partial<EncryptedValue>> {
        let layout = self.layout;
        Box::new(layout.span().rows().map(move |row| {
            let chunks = &sums[row / layout.group() - layout.row_groups().start];
            let of_channel = |channel: usize| {
                let (chunk, channel) = (channel / layout.subring(), channel % layout.subring());
                let place = ((row % layout.group()) as i64, channel as i64);
                self.coefficient(&chunks[chunk], place, Layout::negates_value(channel))
            };
            (0..layout.sizes().output).map(of_channel).collect()
        }))
    }
}
