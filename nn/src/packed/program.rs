//! The server's half of the packed head: weights, ranges, and the data flow over an engine.

use super::steps;
use crate::matrix::Matrix;

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
    /// e^x, from [`PackedProgram::exponent_turn`]s in (−1/2, 0], and a little above, to a probability.
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

/// The head that a server evaluates.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedProgram {
    pub(super) query: PackedProjection,
    pub(super) key: PackedProjection,
    /// `[E, d]`; its biases are added by the client.
    pub(super) value: Matrix<i32>,
    pub(super) input_levels: i32,
    pub(super) log_modulus: u32,
    pub(super) score_turn: f64,
    pub(super) headroom: f64,
    pub(super) difference_limit: f64,
    pub(super) output_limit: f64,
    /// The root mean square over tokens of the norm of a value, `[d]` integers.
    pub(super) value_norm: f64,
    pub(super) max_tokens: usize,
}

impl PackedProgram {
    /// E.
    pub fn embedding_size(&self) -> usize {
        self.value.rows()
    }

    /// d.
    pub fn head_size(&self) -> usize {
        self.value.cols()
    }

    /// The most tokens of an input.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The largest absolute value of an input.
    pub fn input_levels(&self) -> i32 {
        self.input_levels
    }

    /// Integer weights `[E, d]` and biases `[d]` of queries.
    pub fn query(&self) -> (&Matrix<i32>, &[i64]) {
        (&self.query.weight, &self.query.bias)
    }

    /// Integer weights `[E, d]` and biases `[d]` of keys.
    pub fn key(&self) -> (&Matrix<i32>, &[i64]) {
        (&self.key.weight, &self.key.bias)
    }

    /// Integer weights `[E, d]` of values.
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
    pub fn difference_limit(&self) -> f64 {
        self.difference_limit / self.score_turn
    }

    /// The part of the range of lookups that is kept free for noise: differences reach (1 − headroom)/4 of a turn, exponents twice
    /// that.
    pub fn headroom(&self) -> f64 {
        self.headroom
    }

    /// How far outputs may be from zero, in their integers' units.
    pub fn output_limit(&self) -> f64 {
        self.output_limit
    }

    /// The root mean square over the calibration set's tokens of the norm of a value's d integers.
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

    /// The number of lookups of `function` on `tokens` tokens: T(T − 1)/2 softplus, T(T + 1)/2 − 1 exponentials.
    pub fn lookups(function: Function, tokens: usize) -> usize {
        let pairs = tokens * tokens.saturating_sub(1) / 2;
        match function {
            Function::Softplus => pairs,
            Function::Exponential => pairs + tokens.saturating_sub(1),
        }
    }

    /// The head on whatever the engine holds, `tokens` tokens.
    ///
    /// # Errors
    /// The engine's.
    ///
    /// # Panics
    /// If `tokens` is 0 or more than [`Self::max_tokens`].
    pub fn evaluate<E: PackedEngine>(&self, engine: &mut E, tokens: usize) -> Result<E::Output, E::Error> {
        assert!((1..=self.max_tokens).contains(&tokens), "a number of tokens that the head was calibrated for");
        attend(engine)
    }
}

/// log(1 + e^x), without overflow.
pub(super) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The data flow.
pub(super) fn attend<E: PackedEngine>(engine: &mut E) -> Result<E::Output, E::Error> {
    let scores = engine.scores()?;
    let logarithms = log_softmax(engine, scores)?;
    let probabilities = probabilities(engine, logarithms)?;
    engine.weigh(probabilities)
}

/// What the packed head asks of whoever computes it.
pub trait PackedEngine {
    /// A score, the result of a lookup, or a sum of such; in turns, or a probability.
    type Value: Clone;
    /// The head's output.
    type Output;
    /// Why it could not be computed.
    type Error;

    /// Row i: the scores of token i with tokens 0 ..= i, in turns.
    ///
    /// # Errors
    /// The engine's.
    fn scores(&mut self) -> Result<Vec<Vec<Self::Value>>, Self::Error>;

    /// `value += factor·other`.
    fn add_scaled(&self, value: &mut Self::Value, other: &Self::Value, factor: i64);

    /// The probability 1.
    fn certainty(&self) -> Self::Value;

    /// The function of each input.
    ///
    /// # Errors
    /// The engine's.
    fn look_up(&mut self, function: Function, inputs: Vec<Self::Value>) -> Result<Vec<Self::Value>, Self::Error>;

    /// Row i: Σ_j probabilities_ij·v_j.
    ///
    /// # Errors
    /// The engine's.
    fn weigh(&mut self, probabilities: Vec<Vec<Self::Value>>) -> Result<Self::Output, Self::Error>;
}

/// A set of neighbouring scores of a row.
struct Node<V> {
    /// log Σ exp of them.
    logarithm: V,
    scores: std::ops::Range<usize>,
}

/// Row i: s_ij − log Σ_j exp(s_ij), by a balanced tree of softplus lookups, all rows' together level by level.
fn log_softmax<E: PackedEngine>(engine: &mut E, scores: Vec<Vec<E::Value>>) -> Result<Vec<Vec<E::Value>>, E::Error> {
    let leaves = |(row, scores): (usize, &Vec<E::Value>)| -> Vec<Node<E::Value>> {
        let node = |(j, score): (usize, &E::Value)| Node { logarithm: score.clone(), scores: j..j + 1 };
        debug_assert_eq!(scores.len(), row + 1, "causal scores");
        scores.iter().enumerate().map(node).collect()
    };
    let mut rows: Vec<Vec<Node<E::Value>>> = scores.iter().enumerate().map(leaves).collect();
    while rows.iter().any(|nodes| nodes.len() > 1) {
        let differences = rows.iter().flat_map(|nodes| nodes.chunks_exact(2)).map(|pair| {
            let mut difference = pair[0].logarithm.clone();
            engine.add_scaled(&mut difference, &pair[1].logarithm, -1);
            difference
        });
        let differences: Vec<E::Value> = differences.collect();
        let mut results = engine.look_up(Function::Softplus, differences)?.into_iter();
        for nodes in &mut rows {
            let mut merged = Vec::with_capacity(nodes.len().div_ceil(2));
            for pair in nodes.chunks(2) {
                let last = &pair[pair.len() - 1];
                let mut logarithm = last.logarithm.clone();
                if pair.len() == 2 {
                    let softplus = results.next().expect("one result to a pair");
                    engine.add_scaled(&mut logarithm, &softplus, 1);
                }
                merged.push(Node { logarithm, scores: pair[0].scores.start..last.scores.end });
            }
            *nodes = merged;
        }
    }
    let normalized = scores.into_iter().zip(&rows).map(|(mut scores, root)| {
        debug_assert_eq!(root[0].scores, 0..scores.len());
        scores.iter_mut().for_each(|score| engine.add_scaled(score, &root[0].logarithm, -1));
        scores
    });
    Ok(normalized.collect())
}

/// Row i: the exponentials of its logarithms. The first row's only probability is 1.
fn probabilities<E: PackedEngine>(
    engine: &mut E,
    logarithms: Vec<Vec<E::Value>>,
) -> Result<Vec<Vec<E::Value>>, E::Error> {
    let lengths: Vec<usize> = logarithms.iter().map(Vec::len).collect();
    let mut inputs = Vec::with_capacity(PackedProgram::lookups(Function::Exponential, lengths.len()));
    for logarithm in logarithms.into_iter().skip(1).flatten() {
        let mut scaled = logarithm.clone();
        engine.add_scaled(&mut scaled, &logarithm, EXPONENT_FACTOR - 1);
        inputs.push(scaled);
    }
    let mut exponentials = engine.look_up(Function::Exponential, inputs)?.into_iter();
    let first = vec![engine.certainty()];
    let others = lengths.into_iter().skip(1).map(|length| exponentials.by_ref().take(length).collect());
    Ok(std::iter::once(first).chain(others).collect())
}
