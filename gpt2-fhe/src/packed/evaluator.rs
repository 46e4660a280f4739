//! The steps of the packed head on ciphertexts.
//!
//! On the server's side: evaluation keys and ciphertexts, nothing else.

use nn::matrix::Matrix;
use nn::packed::{Function, PackedProgram};
use rayon::prelude::*;
use tfhe_core::exact::FourierIntegers;
use tfhe_core::fft::NegacyclicFft;
use tfhe_core::gadget::{FourierRows, GadgetScratch};
use tfhe_core::glwe::{FourierGlwe, GlweCiphertext, SeededGlweCiphertext};
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::params::GlweShape;
use tfhe_core::polynomial;
use tfhe_core::product::Factor;
use tfhe_core::ring_pair::RingPairParameters;
use tfhe_core::ring_pair_keys::RingPairKeys;
use tfhe_core::torus;

use super::layout::Layout;
use super::prediction::Scales;
use super::tables::{self, Tables};

/// A head's weights and functions, prepared for a parameter set and a layout: computed once for all inputs and clients.
#[derive(Clone, Debug)]
pub struct PreparedHead {
    program: PackedProgram,
    layout: Layout,
    /// Queries, keys, values: `[chunks]` each.
    weights: [Vec<FourierIntegers>; 3],
    tables: Tables,
}

impl PreparedHead {
    /// Transforms the weights, and tabulates the functions.
    pub fn new(program: &PackedProgram, parameters: &RingPairParameters, layout: Layout) -> Self {
        let fft = NegacyclicFft::new(parameters.arithmetic().size());
        let value = program.value();
        let signed = Matrix::from_fn(value.rows(), value.cols(), |row, channel| {
            let w = value[(row, channel)];
            if Layout::negates_value(channel) { -w } else { w }
        });
        let parts = [(program.query().0, 1), (program.key().0, -1), (&signed, 1)];
        let weights = parts.map(|(weight, direction)| weight_polynomials(&fft, &layout, weight, direction));
        let tables = Tables::new(program, parameters.lookup().shape);
        Self { program: program.clone(), layout, weights, tables }
    }

    /// The head.
    pub fn program(&self) -> &PackedProgram {
        &self.program
    }

    /// The layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

/// For each chunk Σ_{j,e} w_{cJ+j,e}·X^(direction·se − j).
fn weight_polynomials(
    fft: &NegacyclicFft,
    layout: &Layout,
    weight: &Matrix<i32>,
    direction: i64,
) -> Vec<FourierIntegers> {
    let chunk = |first: usize| {
        let mut polynomial = vec![0; layout.size()];
        for row in first..weight.rows().min(first + layout.inputs()) {
            for (channel, &w) in weight.row(row).iter().enumerate() {
                let exponent = direction * (layout.cosets() * channel) as i64 - (row - first) as i64;
                let (index, negated) = layout.monomial(exponent);
                polynomial[index] = if negated { -w } else { w };
            }
        }
        FourierIntegers::new(fft, &polynomial, &mut fft.scratch())
    };
    let starts: Vec<usize> = (0..weight.rows()).step_by(layout.inputs()).collect();
    starts.into_par_iter().map(chunk).collect()
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

/// Queries, keys and values.
#[derive(Clone, Debug, Default)]
pub struct Projected {
    /// `[groups]`
    pub queries: Vec<GlweCiphertext>,
    /// `[T]`
    pub keys: Vec<GlweCiphertext>,
    /// `[T]`
    pub values: Vec<GlweCiphertext>,
}

/// A head and the keys to compute it with.
#[derive(Clone, Copy, Debug)]
pub struct Evaluator<'a> {
    /// Of whoever encrypted the input.
    pub keys: &'a RingPairKeys,
    /// The head.
    pub head: &'a PreparedHead,
}

impl Evaluator<'_> {
    fn shape(&self) -> GlweShape {
        self.keys.parameters().arithmetic().shape
    }

    /// Queries, keys and values of one group of tokens, each Σ_c x_c·W_c.
    fn project_group(&self, group: &[SeededGlweCiphertext]) -> [GlweCiphertext; 3] {
        let (fft, shape) = (self.keys.arithmetic_fft(), self.shape());
        let weights = &self.head.weights;
        let share = group.len().div_ceil(rayon::current_num_threads()).max(1);
        let zero = || [(); 3].map(|()| GlweCiphertext::zero(shape));
        let partial = |(index, chunks): (usize, &[SeededGlweCiphertext])| {
            let scratch = &mut fft.scratch();
            let mut sums = [(); 3].map(|()| FourierGlwe::zero(fft, shape));
            for (offset, chunk) in chunks.iter().enumerate() {
                let input = FourierGlwe::new(fft, &chunk.expand(), scratch);
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    sum.add_product(fft, &input, &weight[index * share + offset]);
                }
            }
            sums.map(|sum| sum.inverse(fft, scratch))
        };
        let add = |mut sums: [GlweCiphertext; 3], parts: [GlweCiphertext; 3]| {
            sums.iter_mut().zip(&parts).for_each(|(sum, part)| sum.add_scaled(part, 1));
            sums
        };
        group.par_chunks(share).enumerate().map(partial).reduce(zero, add)
    }

    /// Adds a group's queries, and its tokens' keys and values: Σ_i X^(Ji)·Q_i(Y), K_j(Y^(−1)) and V_j(Y).
    pub fn project(&self, group: usize, input: &[SeededGlweCiphertext], projected: &mut Projected) {
        let layout = self.head.layout;
        let automorphisms = self.keys.arithmetic_automorphisms();
        let factors = Scales::new(self.keys.parameters(), &self.head.program).factors();
        let mut parts = self.project_group(input);
        for (part, factor) in parts.iter_mut().zip(factors) {
            part.data_mut().iter_mut().for_each(|x| *x = x.wrapping_mul(factor as u64));
        }
        let [mut query, key, value] = parts;
        query.divide_by_power_of_two(layout.group_steps());
        let log_n = self.keys.parameters().arithmetic().size().log2();
        let gather = || automorphisms.trace(&query, log_n - layout.group_steps() + 1..=log_n);
        let split = |part| automorphisms.split_cosets(part, layout.subring_log(), layout.group());
        let (query, (keys, values)) = rayon::join(gather, || rayon::join(|| split(&key), || split(&value)));
        let held = layout.tokens_of_group(group).len();
        projected.queries.push(query);
        projected.keys.extend(keys.into_iter().take(held));
        projected.values.extend(values.into_iter().take(held));
    }

    /// Adds the biases of queries and keys.
    pub fn add_biases(&self, projected: &mut Projected) {
        let (layout, program) = (self.head.layout(), &self.head.program);
        let unit = 1_u64 << (64 - program.log_modulus());
        let add = |ciphertext: &mut GlweCiphertext, exponent: i64, bias: i64| {
            let (index, negated) = layout.monomial(exponent);
            let plaintext = (if negated { -bias } else { bias } as u64).wrapping_mul(unit);
            let body = ciphertext.body_mut();
            body[index] = body[index].wrapping_add(plaintext);
        };
        for (channel, &bias) in program.query().1.iter().enumerate() {
            for (group, query) in projected.queries.iter_mut().enumerate() {
                for token in 0..layout.tokens_of_group(group).len() {
                    add(query, (token * layout.inputs() + layout.cosets() * channel) as i64, bias);
                }
            }
        }
        for (channel, &bias) in program.key().1.iter().enumerate() {
            for key in &mut projected.keys {
                add(key, -((layout.cosets() * channel) as i64), bias);
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

    /// The blocks of scores, in the layout's order.
    pub fn multiply(&self, projected: &Projected) -> Vec<((usize, usize), GlweCiphertext)> {
        let layout = &self.head.layout;
        let relinearization = self.keys.relinearization();
        let (shape, log_modulus) = (self.shape(), self.head.program.log_modulus());
        let queries: Vec<Factor> = projected.queries.par_iter().map(|query| relinearization.factor(query)).collect();
        let keys: Vec<Factor> = (0..layout.key_blocks())
            .into_par_iter()
            .map(|block| relinearization.factor(&self.pack_keys(&projected.keys[layout.keys_of_block(block)])))
            .collect();
        let product = |(group, block): (usize, usize)| {
            ((group, block), relinearization.multiply(&queries[group], &keys[block], shape, log_modulus))
        };
        layout.score_blocks().into_par_iter().map(product).collect()
    }

    /// GGSW encryptions of V_j(Y).
    pub fn encrypt_values(&self, values: &[GlweCiphertext]) -> Vec<FourierRows> {
        let (relinearization, gadget) = (self.keys.relinearization(), self.keys.parameters().ggsw());
        values.par_iter().map(|value| relinearization.ggsw(value, gadget)).collect()
    }

    /// Key switches to the small key, and bootstrapping.
    pub fn look_up(&self, function: Function, inputs: &[EncryptedValue]) -> Vec<LweCiphertext> {
        let offset = torus::from_f64(tables::argument_offset(&self.head.program, function));
        let switch = |value: &EncryptedValue| {
            let mut sum = LweCiphertext::trivial(self.keys.parameters().small().lwe_dimension(), offset);
            let parts = [(&value.score, self.keys.arithmetic_to_small()), (&value.lookup, self.keys.lookup_to_small())];
            for (part, key) in parts {
                if let Some(part) = part {
                    sum.add_scaled(&key.switch_lwe(std::slice::from_ref(part))[0], 1);
                }
            }
            sum
        };
        let switched: Vec<LweCiphertext> = inputs.par_iter().map(switch).collect();
        let polynomials = vec![self.head.tables.polynomial(function); inputs.len()];
        self.keys.bootstrapping_key(tables::gadget(function)).bootstrap(&switched, &polynomials)
    }

    /// A probability as a constant polynomial of the arithmetic ring, beside what no coefficient of Z\[Y\] has.
    pub fn lift(&self, probability: &LweCiphertext, scratch: &mut GadgetScratch) -> GlweCiphertext {
        let m = self.head.layout.subring_log();
        let mut embedded = GlweCiphertext::embed(self.keys.parameters().lookup().shape, probability);
        embedded.divide_by_power_of_two(m);
        let isolated = self.keys.lookup_automorphisms().trace(&embedded, 1..=m);
        self.keys.lift().switch(&isolated.into_larger_ring(self.keys.parameters().arithmetic().size()), scratch)
    }

    /// Σ_j p_j·V_j(Y), and something outside of Z\[Y\].
    pub fn weigh_row(&self, probabilities: &[EncryptedValue], values: &[FourierRows]) -> GlweCiphertext {
        let (fft, gadget) = (self.keys.arithmetic_fft(), self.keys.parameters().ggsw());
        let (lift_scratch, scratch) = (&mut self.keys.lift().scratch(), &mut GadgetScratch::new(fft, gadget, 2));
        let mut sum = GlweCiphertext::zero(self.shape());
        for (probability, value) in probabilities.iter().zip(values) {
            let lookup = probability.lookup.as_ref().expect("probabilities are results of lookups");
            let lifted = self.lift(lookup, lift_scratch);
            value.add_product(fft, lifted.data(), sum.data_mut(), scratch);
        }
        sum
    }

    /// Rows packed into as few ciphertexts as hold them.
    pub fn answer(&self, rows: &[GlweCiphertext]) -> Vec<GlweCiphertext> {
        let layout = &self.head.layout;
        let pack = |rows: &[GlweCiphertext]| {
            let mut places: Vec<_> = rows.iter().cloned().map(Some).collect();
            places.resize(rows.len().next_power_of_two(), None);
            self.keys.arithmetic_automorphisms().pack_cosets(places, layout.subring_log())
        };
        rows.chunks(layout.tokens_per_answer()).map(pack).collect()
    }
}
