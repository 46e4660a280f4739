//! The server's half: the integers of a head, or of a whole attention, and the data flow.

use super::combination::Combination;
use super::softmax::{self, IntegerSoftmax};
use super::steps;
use crate::evaluator::{Entries, Evaluator, FactorUse, Form, LinearMap, Rows, Side, Use, look_up_rows};
use crate::matrix::Matrix;
use crate::table::LookupTable;

/// Everything that a server needs to compute a head, or a whole attention, and nothing that only the client needs.
///
/// E is the size of an embedding, d that of a head, H the number of heads (1, or all of the layer), T the number of
/// tokens of an input.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerProgram {
    /// Bits of the input, with the sign.
    pub(super) input_bits: u32,
    /// `[E, 3dH]`: of one head after the other, to q, to k, to v.
    pub(super) weight: Matrix<i32>,
    /// Bits of the widest table of an accumulator.
    pub(super) accumulator_bits: u32,
    /// `[H]`
    pub(super) heads: Vec<HeadTables>,
    /// What makes one output of all heads.
    pub(super) combination: Option<Combination>,
    pub(super) max_tokens: usize,
}

/// What is looked up for one head.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HeadTables {
    pub(super) projection: Projection,
    pub(super) scores: Scores,
    pub(super) softmax: IntegerSoftmax,
    /// Of probabilities and values.
    pub(super) output: FactorUse,
}

/// From accumulators to q, k and v.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Projection {
    pub(super) tables: Vec<LookupTable>,
    /// `[3d]`: which table each channel has. Channels whose biases round to the same integer share one.
    pub(super) table_of_channel: Vec<usize>,
}

/// From q and k to the scores.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scores {
    pub(super) factor: FactorUse,
    pub(super) table: LookupTable,
}

/// The use of the factors of each kind of product, the same for all heads.
struct Factors {
    scores: FactorUse,
    normalized: FactorUse,
    output: FactorUse,
}

impl Projection {
    /// Whether there is a table for each of so many channels.
    pub(super) fn is_complete(&self, channels: usize) -> bool {
        let is_there = |&table: &usize| table < self.tables.len();
        self.table_of_channel.len() == channels && self.table_of_channel.iter().all(is_there)
    }

    fn table(&self, channel: usize) -> &LookupTable {
        &self.tables[self.table_of_channel[channel]]
    }

    /// What the tables make of accumulators `[T, d]`; `first` is the channel of the first column.
    pub(super) fn look_up(&self, accumulators: &Matrix<i64>, first: usize) -> Matrix<i32> {
        Matrix::from_fn(accumulators.rows(), accumulators.cols(), |row, col| {
            self.table(first + col).evaluate(accumulators[(row, col)]) as i32 // a level of at most 11 bits
        })
    }
}

impl HeadTables {
    fn factors(&self) -> Factors {
        Factors { scores: self.scores.factor, normalized: self.softmax.normalized(), output: self.output }
    }

    /// Whether tables are no wider than what they read, and nothing is absurdly wide.
    pub(super) fn bits_are_valid(&self, accumulator_bits: u32) -> bool {
        let Factors { scores, normalized, output } = self.factors();
        self.projection.tables.iter().all(|table| table.bits() <= accumulator_bits)
            && self.scores.table.bits() <= scores.product_bits
            && self.softmax.probability_bits() <= normalized.product_bits
            && [scores, normalized, output]
                .iter()
                .all(|factor| [factor.product_bits, factor.operand_bits].iter().all(|bits| (1..=40).contains(bits)))
    }

    /// Whether no table's value is more than a level of `input_bits` bits, or a difference of two, can be: products and
    /// sums of such values do not overflow.
    pub(super) fn values_are_valid(&self, input_bits: u32) -> bool {
        self.tables().all(|(_, table)| table.max_abs_value() <= 1 << (input_bits + 1))
    }

    fn tables(&self) -> impl Iterator<Item = (&'static str, &LookupTable)> {
        let projection = self.projection.tables.iter().map(|table| (steps::QUERY_KEY_VALUE, table));
        projection.chain([(steps::QUANTIZE_SCORES, &self.scores.table)]).chain(self.softmax.tables())
    }
}

impl Factors {
    fn union(self, other: Self) -> Self {
        Self {
            scores: self.scores.union(other.scores),
            normalized: self.normalized.union(other.normalized),
            output: self.output.union(other.output),
        }
    }
}

impl IntegerProgram {
    /// E, the size of an embedding.
    pub fn embedding_size(&self) -> usize {
        self.weight.rows()
    }

    /// H, the number of heads.
    pub fn heads(&self) -> usize {
        self.heads.len()
    }

    /// d, the size of a head.
    pub fn head_size(&self) -> usize {
        self.weight.cols() / (3 * self.heads())
    }

    /// The number of columns of the output: d of one head, E of a whole attention.
    pub fn output_size(&self) -> usize {
        self.combination.as_ref().map_or(self.head_size(), Combination::output_size)
    }

    /// Whether it is a whole attention, with the output projection.
    pub fn is_whole(&self) -> bool {
        self.combination.is_some()
    }

    /// The most tokens of an input.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Bits of the input's integers, with the sign: they lie in `−(2^(bits−1) − 1) ..= 2^(bits−1) − 1`.
    pub fn input_bits(&self) -> u32 {
        self.input_bits
    }

    /// The largest absolute value of an input.
    pub fn input_levels(&self) -> i32 {
        (1 << (self.input_bits - 1)) - 1
    }

    /// The integer weights, `[E, 3dH]`: of one head after the other, to q, to k, to v.
    pub fn weight(&self) -> &Matrix<i32> {
        &self.weight
    }

    /// The bits of what the input's linear map gives.
    pub fn accumulator_bits(&self) -> u32 {
        self.accumulator_bits
    }

    /// The output's integers lie in `−2^bits ..= 2^bits − 1`: those of the widest product of probabilities and values of one head, of
    /// the widest sum of a whole attention.
    pub fn output_bits(&self) -> u32 {
        match &self.combination {
            None => self.common_factors().output.product_bits,
            Some(combination) => combination.sum_bits,
        }
    }

    /// Every different lookup table, each with its step: those of one head after the other, and then of what combines
    /// them.
    pub fn tables(&self) -> impl Iterator<Item = (&'static str, &LookupTable)> {
        self.heads.iter().flat_map(HeadTables::tables).chain(self.combination.iter().flat_map(Combination::tables))
    }

    /// The use of the factors of every kind of product, each with its step.
    pub fn factors(&self) -> [(&'static str, FactorUse); 3] {
        let Factors { scores, normalized, output } = self.common_factors();
        [(steps::SCORES, scores), (steps::NORMALIZE, normalized), (steps::OUTPUT, output)]
    }

    /// Products of all heads are computed together, so their factors are made for the widest.
    fn common_factors(&self) -> Factors {
        self.heads.iter().map(HeadTables::factors).reduce(Factors::union).expect("a program has a head")
    }

    /// The program on an input of `tokens` tokens: `[T, E] -> [T, output_size]`, in units of
    /// [`IntegerClient::output_scale`].
    ///
    /// For each head T·3d lookups for q, k and v; T(T+1)/2 for each of the scores, exponentials and probabilities;
    /// T(T−1)/2 for the maxima; T inverses. For a whole attention, T·E more for the outputs of the heads. Each step is
    /// computed for all heads at once.
    ///
    /// # Errors
    /// Those of the evaluator.
    ///
    /// # Panics
    /// If `tokens` is 0 or more than [`Self::max_tokens`], or the evaluator's rows are not that many.
    ///
    /// [`IntegerClient::output_scale`]: super::IntegerClient::output_scale
    pub fn evaluate<E: Evaluator<Table = LookupTable>>(
        &self,
        evaluator: &mut E,
        input: &E::Tensor,
        tokens: usize,
    ) -> Result<Rows<E::Lane>, E::Error> {
        assert!((1..=self.max_tokens).contains(&tokens), "{tokens} tokens, at most {}", self.max_tokens);
        let factors = self.common_factors();
        let [query, key, value] = self.project(evaluator, input, &factors)?;
        let causal = Entries::Causal { first: 0 };
        let pack = |evaluator: &mut E, rows, side, factor| evaluator.pack(rows, Form::Factor(side, factor));
        let pairs = query.into_iter().zip(key).map(|(query, key)| {
            [(query, Side::Left), (key, Side::Right)].map(|(rows, side)| pack(evaluator, rows, side, factors.scores))
        });
        let pairs = pairs.collect();
        let scores = evaluator.multiply(steps::SCORES, pairs, causal)?;
        let scores = scores.into_iter().map(|scores| evaluator.lanes(scores)).collect();
        let probabilities = self.softmax(evaluator, scores, factors.output)?;
        let mut outputs = Vec::with_capacity(self.heads());
        for (weights, values) in probabilities.into_iter().zip(value) {
            let weights = pack(evaluator, weights, Side::Left, factors.output);
            let values = pack(evaluator, values, Side::Right, factors.output);
            let output = evaluator.weigh(steps::OUTPUT, weights, values, None)?;
            outputs.push(evaluator.lanes(output));
        }
        match &self.combination {
            None => Ok(outputs.remove(0)),
            Some(combination) => combination.evaluate(evaluator, outputs),
        }
    }

    /// q `[T, d]`, kᵀ `[d, T]` and v `[T, d]` of each head. Queries and keys are factors of one product, and looked up together.
    fn project<'a, E: Evaluator<Table = LookupTable>>(
        &'a self,
        evaluator: &mut E,
        input: &E::Tensor,
        factors: &Factors,
    ) -> Result<[OfHeads<E::Lane>; 3], E::Error> {
        let form = Form::Integers { bits: self.accumulator_bits };
        let map = LinearMap { weight: &self.weight, bias: &[], form };
        let accumulators = evaluator.linear(steps::PROJECT, input, &[map])?; // [T, 3dH]
        let accumulators: Rows<E::Lane> = accumulators.into_iter().flat_map(|part| evaluator.lanes(part)).collect();
        // Moved, not copied: on ciphertexts they are large.
        let mut entries: Rows<Option<E::Lane>> =
            accumulators.into_iter().map(|row| row.into_iter().map(Some).collect()).collect();
        let (tokens, size) = (entries.len(), self.head_size());
        let (mut query_key, mut value) = (Requests::default(), Requests::default());
        for (index, head) in self.heads.iter().enumerate() {
            let mut request = |requests: &mut Requests<'a, E::Lane>, token: usize, channel: usize| {
                let entry = entries[token][index * 3 * size + channel].take();
                requests.lanes.push(entry.expect("each accumulator is used once"));
                requests.tables.push(head.projection.table(channel));
            };
            (0..tokens).for_each(|t| (0..size).for_each(|channel| request(&mut query_key, t, channel)));
            (size..2 * size).for_each(|channel| (0..tokens).for_each(|t| request(&mut query_key, t, channel)));
            (0..tokens).for_each(|t| (2 * size..3 * size).for_each(|channel| request(&mut value, t, channel)));
        }
        let mut query_key = query_key.look_up(evaluator, factors.scores)?;
        let mut value = value.look_up(evaluator, factors.output)?;
        let mut parts = [const { Vec::new() }; 3];
        for _ in &self.heads {
            parts[0].push(take_rows(&mut query_key, tokens, size));
            parts[1].push(take_rows(&mut query_key, size, tokens));
            parts[2].push(take_rows(&mut value, tokens, size));
        }
        Ok(parts)
    }

    /// The softmax of each head's rows of scores, which are quantized first.
    fn softmax<E: Evaluator<Table = LookupTable>>(
        &self,
        evaluator: &mut E,
        scores: OfHeads<E::Lane>,
        factor: FactorUse,
    ) -> Result<OfHeads<E::Lane>, E::Error> {
        let heads = || self.heads.iter().zip(&scores).flat_map(|(head, rows)| std::iter::repeat_n(head, rows.len()));
        let tables: Vec<&LookupTable> = heads().map(|head| &head.scores.table).collect();
        let softmaxes: Vec<&IntegerSoftmax> = heads().map(|head| &head.softmax).collect();
        let tokens = scores[0].len();
        let rows: Rows<E::Lane> = scores.iter().flatten().cloned().collect();
        let scores = look_up_rows(evaluator, steps::QUANTIZE_SCORES, &rows, &tables, softmax::score_use(&softmaxes))?;
        let mut rows = softmax::evaluate(evaluator, &softmaxes, &scores, Use::factor(factor))?.into_iter();
        Ok(self.heads.iter().map(|_| rows.by_ref().take(tokens).collect()).collect())
    }
}

/// A matrix of each head.
type OfHeads<L> = Vec<Rows<L>>;

/// Numbers, and the table that each is looked up in.
struct Requests<'a, L> {
    lanes: Vec<L>,
    tables: Vec<&'a LookupTable>,
}

impl<L> Default for Requests<'_, L> {
    fn default() -> Self {
        Self { lanes: Vec::new(), tables: Vec::new() }
    }
}

impl<L> Requests<'_, L> {
    /// q, k or v, to be factors. The accumulators are freed.
    fn look_up<E: Evaluator<Lane = L, Table = LookupTable>>(
        self,
        evaluator: &mut E,
        factor: FactorUse,
    ) -> Result<std::vec::IntoIter<L>, E::Error> {
        let results = evaluator.look_up(steps::QUERY_KEY_VALUE, &self.lanes, &self.tables, Use::factor(factor))?;
        Ok(results.into_iter())
    }
}

/// The next rows × columns lanes.
fn take_rows<L>(lanes: &mut impl Iterator<Item = L>, rows: usize, columns: usize) -> Rows<L> {
    (0..rows).map(|_| lanes.by_ref().take(columns).collect()).collect()
}
