//! The server's half: the integers of a head, or of a whole attention, and the data flow.

use super::combination::Combination;
use super::softmax::{self, IntegerSoftmax, lookup_rows};
use super::steps;
use crate::engine::{Engine, FactorUse, LookupTable, NeededProducts, Product, Use, filled};
use crate::matrix::Matrix;

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

/// Values, and the table that each is looked up in.
struct Requests<'a, V> {
    values: Vec<V>,
    tables: Vec<&'a LookupTable>,
}

/// The left and the right factor of a [`Product`].
type FactorPair<V> = (Matrix<Option<V>>, Matrix<V>);

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

    /// The bits that [`Engine::project`] is called with.
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
    /// Those of the engine.
    ///
    /// # Panics
    /// If `tokens` is 0 or more than [`Self::max_tokens`], or the engine's matrices do not have that many rows.
    ///
    /// [`IntegerClient::output_scale`]: super::IntegerClient::output_scale
    pub fn evaluate<E: Engine>(
        &self,
        engine: &mut E,
        input: &E::Input,
        tokens: usize,
    ) -> Result<Matrix<E::Value>, E::Error> {
        assert!((1..=self.max_tokens).contains(&tokens), "{tokens} tokens, at most {}", self.max_tokens);
        let factors = self.common_factors();
        let accumulators = engine.project(steps::PROJECT, input, &self.weight, self.accumulator_bits)?; // [T, 3dH]
        let shape = (tokens, self.weight.cols());
        assert_eq!((accumulators.rows(), accumulators.cols()), shape, "shape of the projection");
        let [query_key, value] = self.split(accumulators);
        let query_key = query_key.look_up(engine, factors.scores)?;
        let value = value.look_up(engine, factors.output)?;
        let products = self.score_products(engine, query_key, factors.scores, tokens)?;
        let probabilities = self.probabilities(engine, &products, factors.output, tokens)?;
        let mut outputs = self.outputs(engine, &probabilities, value, factors.output, tokens)?;
        match &self.combination {
            None => Ok(outputs.remove(0)),
            Some(combination) => combination.evaluate(engine, outputs),
        }
    }

    /// What queries and keys, and what values are looked up from, of one head after the other: q and v token by token,
    /// k channel by channel, as its transpose is a factor. Accumulators are moved, not copied: on ciphertexts they are
    /// large.
    fn split<'a, V>(&'a self, accumulators: Matrix<V>) -> [Requests<'a, V>; 2] {
        let (tokens, columns, size) = (accumulators.rows(), accumulators.cols(), self.head_size());
        let mut entries: Vec<Option<V>> = accumulators.into_data().into_iter().map(Some).collect();
        let mut query_key = Requests { values: Vec::new(), tables: Vec::new() };
        let mut value = Requests { values: Vec::new(), tables: Vec::new() };
        for (index, head) in self.heads.iter().enumerate() {
            let mut request = |requests: &mut Requests<'a, V>, token: usize, channel: usize| {
                let entry = entries[token * columns + index * 3 * size + channel].take();
                requests.values.push(entry.expect("each accumulator is used once"));
                requests.tables.push(head.projection.table(channel));
            };
            (0..tokens).for_each(|t| (0..size).for_each(|channel| request(&mut query_key, t, channel)));
            (size..2 * size).for_each(|channel| (0..tokens).for_each(|t| request(&mut query_key, t, channel)));
            (0..tokens).for_each(|t| (2 * size..3 * size).for_each(|channel| request(&mut value, t, channel)));
        }
        [query_key, value]
    }

    /// q·kᵀ up to the diagonal: row i of each head has i + 1 entries, and the rows of one head follow those of another.
    fn score_products<E: Engine>(
        &self,
        engine: &mut E,
        query_key: Vec<E::Value>,
        factor: FactorUse,
        tokens: usize,
    ) -> Result<Vec<Vec<E::Value>>, E::Error> {
        let size = self.head_size();
        let mut query_key = query_key.into_iter();
        let factors: Vec<FactorPair<E::Value>> = (0..self.heads())
            .map(|_| {
                let query = query_key.by_ref().take(tokens * size).map(Some).collect();
                (filled(tokens, size, query), filled(size, tokens, query_key.by_ref().take(size * tokens).collect()))
            })
            .collect();
        let causal = Matrix::from_fn(tokens, tokens, |row, col| col <= row);
        let scores = multiply(engine, steps::SCORES, &factors, &causal, factor)?;
        let rows = scores.into_iter().flat_map(|head| {
            let mut entries = head.into_data().into_iter();
            (0..tokens).map(move |_| entries.by_ref().take(tokens).flatten().collect())
        });
        Ok(rows.collect())
    }

    /// The softmax of all rows of scores, which are quantized first.
    fn probabilities<E: Engine>(
        &self,
        engine: &mut E,
        products: &[Vec<E::Value>],
        factor: FactorUse,
        tokens: usize,
    ) -> Result<Vec<Vec<E::Value>>, E::Error> {
        let heads = || self.heads.iter().flat_map(|head| std::iter::repeat_n(head, tokens));
        let tables: Vec<&LookupTable> = heads().map(|head| &head.scores.table).collect();
        let softmaxes: Vec<&IntegerSoftmax> = heads().map(|head| &head.softmax).collect();
        let scores = lookup_rows(engine, steps::QUANTIZE_SCORES, products, &tables, softmax::score_use(&softmaxes))?;
        softmax::evaluate(engine, &softmaxes, &scores, Use::factor(factor))
    }

    /// Probabilities times v, `[T, d]` of each head.
    fn outputs<E: Engine>(
        &self,
        engine: &mut E,
        probabilities: &[Vec<E::Value>],
        value: Vec<E::Value>,
        factor: FactorUse,
        tokens: usize,
    ) -> Result<Vec<Matrix<E::Value>>, E::Error> {
        let size = self.head_size();
        let mut value = value.into_iter();
        let factors: Vec<FactorPair<E::Value>> = probabilities
            .chunks_exact(tokens)
            .map(|rows| {
                let left = Matrix::from_fn(tokens, tokens, |row, col| rows[row].get(col).cloned());
                (left, filled(tokens, size, value.by_ref().take(tokens * size).collect()))
            })
            .collect();
        let needed = Matrix::from_fn(tokens, size, |_, _| true);
        let outputs = multiply(engine, steps::OUTPUT, &factors, &needed, factor)?;
        let complete =
            |output: Matrix<Option<E::Value>>| filled(tokens, size, output.into_data().into_iter().flatten().collect());
        Ok(outputs.into_iter().map(complete).collect())
    }
}

/// The product of each pair of factors, the same entries being needed of all.
fn multiply<E: Engine>(
    engine: &mut E,
    step: &'static str,
    factors: &[FactorPair<E::Value>],
    needed: &Matrix<bool>,
    factor: FactorUse,
) -> Result<NeededProducts<E::Value>, E::Error> {
    let products: Vec<_> = factors.iter().map(|(left, right)| Product { left, right, needed }).collect();
    engine.matrix_products(step, &products, factor)
}

impl<V: Clone + Send + Sync> Requests<'_, V> {
    /// q, k or v, to be factors. The accumulators are freed.
    fn look_up<E: Engine<Value = V>>(self, engine: &mut E, factor: FactorUse) -> Result<Vec<V>, E::Error> {
        engine.lookup(steps::QUERY_KEY_VALUE, &self.values, &self.tables, Use::factor(factor))
    }
}
