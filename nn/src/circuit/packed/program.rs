//! The server's half of the packed attention: weights, ranges, and the data flow over an engine.

use super::steps;
use crate::matrix::Matrix;
use std::ops::Range;

/// Of a quarter of a turn for differences, and of half a turn for exponents, what is kept free for noise.
///
/// A logarithm of a sum carries the noise of as many lookups as its tree has levels.
pub(super) fn headroom(max_tokens: usize) -> f64 {
    let levels = (max_tokens as f64).log2().max(3.0);
    5.0 / 32.0 * (levels / 3.0).sqrt()
}

/// How many times more turns an exponential's argument has than a difference of scores: it has one sign only.
pub(super) const EXPONENT_FACTOR: i64 = 2;

/// The functions that lookups tabulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// log(1 + e^x), from turns of score in (−1/4, 1/4) to turns of score.
    Softplus,
    /// e^x, from [`PackedHead::exponent_turn`]s in (−1/2, 0], and a little above, to a probability.
    Exponential,
}

impl Function {
    /// The step that looks it up.
    pub fn step(self) -> &'static str {
        match self {
            Self::Softplus => steps::SOFTPLUS,
            Self::Exponential => steps::EXPONENTIAL,
        }
    }
}

/// Weights of queries, keys or values, with biases.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedProjection {
    /// `[E, d]`.
    pub(super) weight: Matrix<i32>,
    /// `[d]`.
    pub(super) bias: Vec<i64>,
}

/// One head of the attention that a server evaluates.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedHead {
    pub(super) query: PackedProjection,
    pub(super) key: PackedProjection,
    /// `[E, O]`: to what the head adds to each output, per unit of probability. Biases are [`PackedProgram::output_bias`].
    pub(super) value: Matrix<i32>,
    pub(super) log_modulus: u32,
    pub(super) score_turn: f64,
    pub(super) headroom: f64,
    /// In units of score.
    pub(super) score_difference_limit: f64,
    /// The root mean square over tokens of the norm of a value, `[O]` integers.
    pub(super) value_norm: f64,
}

impl PackedHead {
    /// Integer weights `[E, d]` and biases `[d]` of queries.
    pub fn query(&self) -> (&Matrix<i32>, &[i64]) {
        (&self.query.weight, &self.query.bias)
    }

    /// Integer weights `[E, d]` and biases `[d]` of keys.
    pub fn key(&self) -> (&Matrix<i32>, &[i64]) {
        (&self.key.weight, &self.key.bias)
    }

    /// Integer weights `[E, O]` of values.
    pub fn value(&self) -> &Matrix<i32> {
        &self.value
    }

    /// log2 t: an integer q·kᵀ is that over t of a turn.
    pub fn log_modulus(&self) -> u32 {
        self.log_modulus
    }

    /// What one turn of score stands for.
    pub fn score_turn(&self) -> f64 {
        self.score_turn
    }

    /// What one turn of an exponential's argument stands for.
    pub fn exponent_turn(&self) -> f64 {
        self.score_turn / EXPONENT_FACTOR as f64
    }

    /// How far differences of scores, and of logarithms of sums of their exponentials, may be from zero: in turns, less than 1/4.
    pub fn difference_limit_turns(&self) -> f64 {
        self.score_difference_limit / self.score_turn
    }

    /// The part of the range of lookups that is kept free for noise: differences reach (1 − headroom)/4 of a turn, exponents twice
    /// that.
    pub fn headroom(&self) -> f64 {
        self.headroom
    }

    /// The root mean square over the calibration set's tokens of the norm of a value's O integers.
    pub fn value_norm(&self) -> f64 {
        self.value_norm
    }

    /// The largest integers of the weights of queries, keys and values.
    pub fn weight_levels(&self) -> [u32; 3] {
        [&self.query.weight, &self.key.weight, &self.value]
            .map(|weight| weight.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0))
    }

    /// `function` at `turns`.
    pub fn apply(&self, function: Function, turns: f64) -> f64 {
        match function {
            Function::Softplus => softplus(turns * self.score_turn) / self.score_turn,
            Function::Exponential => (turns * self.exponent_turn()).exp(),
        }
    }
}

/// The part of a layer's attention that a server evaluates: its heads, on one input.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedProgram {
    pub(super) heads: Vec<PackedHead>,
    pub(super) input_levels: i32,
    /// `[O]`, in units of the output's integers.
    pub(super) output_bias: Vec<f64>,
    pub(super) output_limit: f64,
    pub(super) max_tokens: usize,
}

impl PackedProgram {
    /// The heads, whose outputs are added up.
    pub fn heads(&self) -> &[PackedHead] {
        &self.heads
    }

    /// E.
    pub fn embedding_size(&self) -> usize {
        self.heads[0].value.rows()
    }

    /// d.
    pub fn head_size(&self) -> usize {
        self.heads[0].query.weight.cols()
    }

    /// O, the size of an output: d of one head, E of the whole attention.
    pub fn output_size(&self) -> usize {
        self.output_bias.len()
    }

    /// The most tokens of an input.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The largest absolute value of an input.
    pub fn input_levels(&self) -> i32 {
        self.input_levels
    }

    /// What is added to every output, `[O]`: the biases of values and of the output projection, and the image of the input's center.
    pub fn output_bias(&self) -> &[f64] {
        &self.output_bias
    }

    /// How far outputs may be from their biases, in their integers' units.
    pub fn output_limit(&self) -> f64 {
        self.output_limit
    }

    /// The part of half a turn that is kept free for noise beyond the limit of outputs: an eighth for 8 tokens, and more for more, since
    /// an output has the noise of as many probabilities.
    pub fn output_headroom(&self) -> f64 {
        const TOKENS: f64 = 8.0;
        (self.max_tokens as f64 / TOKENS).max(1.0).sqrt() / 8.0
    }

    /// The data flow of some of the heads on whatever the engine holds. The engine adds up what they give.
    ///
    /// # Errors
    /// The engine's.
    pub fn attend<E: PackedEngine>(engine: &mut E, heads: Range<usize>) -> Result<(), E::Error> {
        let scores = engine.scores(heads)?;
        let logarithms = log_softmax(engine, scores)?;
        let probabilities = probabilities(engine, logarithms)?;
        engine.weigh(probabilities)
    }
}

/// The tokens that a run is about: 0 .. `tokens` are attended to, by those from `first` on.
///
/// Rows of attention do not depend on later tokens, so what was computed for the tokens before `first` need not be computed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    first: usize,
    tokens: usize,
}

impl Span {
    /// Rows `first .. tokens`.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(first: usize, tokens: usize) -> Self {
        assert!(first < tokens, "rows {first} .. {tokens}");
        Self { first, tokens }
    }

    /// All rows of `tokens` tokens.
    ///
    /// # Panics
    /// If `tokens` is 0.
    pub fn all(tokens: usize) -> Self {
        Self::new(0, tokens)
    }

    /// T.
    pub fn tokens(self) -> usize {
        self.tokens
    }

    /// The rows that are computed.
    pub fn rows(self) -> Range<usize> {
        self.first..self.tokens
    }

    /// The number of lookups of `function` of one head: i softplus in row i, and i + 1 exponentials, but none in row 0.
    pub fn lookups(self, function: Function) -> usize {
        let in_row = |row: usize| match function {
            Function::Softplus => row,
            Function::Exponential => (row + 1) * usize::from(row > 0),
        };
        self.rows().map(in_row).sum()
    }
}

/// log(1 + e^x), without overflow.
pub(super) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// A row of a head's attention: numbers of token `query` with tokens 0 ..= `query`.
#[derive(Clone, Debug)]
pub struct Row<V> {
    /// The head's index in the program.
    pub head: usize,
    /// The token.
    pub query: usize,
    /// `[query + 1]`.
    pub entries: Vec<V>,
}

/// What the packed attention asks of whoever computes it.
pub trait PackedEngine {
    /// A score, the result of a lookup, or a sum of such; in turns, or a probability.
    type Value: Clone;
    /// Why it could not be computed.
    type Error;

    /// The scores of some of the heads, in turns.
    ///
    /// # Errors
    /// The engine's.
    fn scores(&mut self, heads: Range<usize>) -> Result<Vec<Row<Self::Value>>, Self::Error>;

    /// `value += factor·other`.
    fn add_scaled(&self, value: &mut Self::Value, other: &Self::Value, factor: i64);

    /// The probability 1.
    fn certainty(&self) -> Self::Value;

    /// The function, as tabulated for the head that each input is of.
    ///
    /// # Errors
    /// The engine's.
    fn look_up(
        &mut self,
        function: Function,
        inputs: Vec<(usize, Self::Value)>,
    ) -> Result<Vec<Self::Value>, Self::Error>;

    /// Adds to the outputs: of each row, Σ_j probabilities_j·v_j of its head.
    ///
    /// # Errors
    /// The engine's.
    fn weigh(&mut self, probabilities: Vec<Row<Self::Value>>) -> Result<(), Self::Error>;
}

/// s_j − log Σ_j exp(s_j) of each row, by a balanced tree of softplus lookups on neighbours, all rows' together level by level.
fn log_softmax<E: PackedEngine>(engine: &mut E, scores: Vec<Row<E::Value>>) -> Result<Vec<Row<E::Value>>, E::Error> {
    // Of each row, the logarithms of sums over more and more neighbours.
    let mut levels: Vec<(usize, Vec<E::Value>)> = scores.iter().map(|row| (row.head, row.entries.clone())).collect();
    while levels.iter().any(|(_, logarithms)| logarithms.len() > 1) {
        let differences = levels.iter().flat_map(|(head, logarithms)| {
            logarithms.chunks_exact(2).map(|pair| {
                let mut difference = pair[0].clone();
                engine.add_scaled(&mut difference, &pair[1], -1);
                (*head, difference)
            })
        });
        let differences: Vec<(usize, E::Value)> = differences.collect();
        let mut results = engine.look_up(Function::Softplus, differences)?.into_iter();
        for (_, logarithms) in &mut levels {
            let merged = logarithms.chunks(2).map(|pair| {
                let mut logarithm = pair[pair.len() - 1].clone();
                if pair.len() == 2 {
                    let softplus = results.next().expect("one result to a pair");
                    engine.add_scaled(&mut logarithm, &softplus, 1);
                }
                logarithm
            });
            *logarithms = merged.collect();
        }
    }
    let normalized = scores.into_iter().zip(&levels).map(|(mut row, (_, root))| {
        row.entries.iter_mut().for_each(|score| engine.add_scaled(score, &root[0], -1));
        row
    });
    Ok(normalized.collect())
}

/// The exponentials of each row's logarithms. The only probability of row 0 is 1.
fn probabilities<E: PackedEngine>(
    engine: &mut E,
    mut logarithms: Vec<Row<E::Value>>,
) -> Result<Vec<Row<E::Value>>, E::Error> {
    let mut inputs = Vec::new();
    for row in logarithms.iter().filter(|row| row.query > 0) {
        inputs.extend(row.entries.iter().map(|logarithm| {
            let mut scaled = logarithm.clone();
            engine.add_scaled(&mut scaled, logarithm, EXPONENT_FACTOR - 1);
            (row.head, scaled)
        }));
    }
    let mut exponentials = engine.look_up(Function::Exponential, inputs)?.into_iter();
    for row in &mut logarithms {
        row.entries = match row.query {
            0 => vec![engine.certainty()],
            query => exponentials.by_ref().take(query + 1).collect(),
        };
    }
    Ok(logarithms)
}
