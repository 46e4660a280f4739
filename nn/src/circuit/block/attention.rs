//! The attention of a block.

use super::norm::NormProgram;
use super::reading::Reading;
use super::softmax::{SoftmaxProgram, softmax};
use super::steps;
use crate::evaluator::{BlockEvaluator, Entries, Form, LinearMap, Rows, Use, look_up_rows};
use crate::matrix::Matrix;
use crate::table::SmoothTable;

/// A block's attention, with its output projection.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionProgram {
    pub(super) norm: NormProgram,
    pub(super) queries: QueryProgram,
    /// `[E, E]`: keys of all heads, side by side.
    pub(super) key: Matrix<i32>,
    /// How they become integers.
    pub(super) keys: Reading,
    pub(super) heads: Vec<HeadProgram>,
    /// How the sum of the heads' outputs becomes an update of the stream.
    pub(super) update: Reading,
    /// The number of public tokens that come before all others.
    pub(super) prefix: usize,
}

/// How queries are made.
///
/// They are multiplied by keys, which are integers, and have to be so much smaller than other images. Either their weights and factors have
/// few levels, or they are looked up, which takes one lookup for each channel.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryProgram {
    /// Weights of few levels.
    Scaled {
        /// Their own table of r, in coarse units.
        factor: SmoothTable,
        /// Of each head `[E + 1, d]`, and biases `[d]`, in turns.
        heads: Vec<(Matrix<i32>, Vec<f64>)>,
    },
    /// Queries that are looked up.
    Read {
        /// `[E + 1, E]`, of all heads side by side.
        weight: Matrix<i32>,
        /// How they are read.
        reading: Reading,
    },
}

/// Of which new tokens a block's output is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// Of all.
    All,
    /// Of the last: of the others only keys and values are.
    Last,
}

/// One head.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadProgram {
    /// `[E, E]`, values folded with the output projection.
    pub(super) value: Matrix<i32>,
    /// Of public tokens, `[P, d]`.
    pub(super) known_keys: Matrix<i64>,
    /// Of public tokens, `[P, E + 1]` in turns, such that the largest of factors' integers stands for one.
    pub(super) known_values: Matrix<f64>,
    /// The logarithm of a row's r, in an exponent's turns, of its variance.
    pub(super) log_factor: SmoothTable,
    /// What is added to that: less that of the largest r.
    pub(super) log_constant: f64,
    pub(super) softmax: SoftmaxProgram,
}

/// What the attention keeps of earlier tokens.
#[expect(missing_debug_implementations, reason = "an evaluator's tensors need none")]
pub struct AttentionCache<E: BlockEvaluator> {
    /// Of each head, keys and values; none before the first token.
    heads: Vec<Option<[E::Tensor; 2]>>,
    /// Of each head and token, the logarithm of its r.
    log_factors: Rows<E::Lane>,
}

impl<E: BlockEvaluator> AttentionCache<E> {
    /// The number of tokens.
    pub fn tokens(&self) -> usize {
        self.log_factors.first().map_or(0, Vec::len)
    }

    /// Of each head, keys and values; none before the first token.
    pub fn heads(&mut self) -> &mut [Option<[E::Tensor; 2]>] {
        &mut self.heads
    }

    /// Of each head and token, the logarithm of its r.
    pub fn log_factors(&self) -> &Rows<E::Lane> {
        &self.log_factors
    }

    /// Adds what was kept elsewhere of the tokens that follow: of each head keys and values, and logarithms of r.
    pub fn append(&mut self, evaluator: &mut E, heads: Vec<[E::Tensor; 2]>, log_factors: Rows<E::Lane>) {
        self.heads.iter_mut().zip(heads).for_each(|(cached, rows)| append_rows(evaluator, cached, rows));
        self.log_factors.iter_mut().zip(log_factors).for_each(|(cached, rows)| cached.extend(rows));
    }
}

/// Adds keys and values of tokens to those of earlier ones.
fn append_rows<E: BlockEvaluator>(
    evaluator: &mut E,
    cached: &mut Option<[E::Tensor; 2]>,
    [keys, values]: [E::Tensor; 2],
) {
    match cached {
        Some([known_keys, known_values]) => {
            evaluator.append(known_keys, keys);
            evaluator.append(known_values, values);
        }
        None => *cached = Some([keys, values]),
    }
}

impl HeadProgram {
    /// How its scores become probabilities.
    pub fn softmax(&self) -> &SoftmaxProgram {
        &self.softmax
    }

    /// How many channels a value has.
    pub fn value_channels(&self) -> usize {
        self.value.cols()
    }
}

impl AttentionProgram {
    /// Of the public tokens.
    pub(super) fn cache<E: BlockEvaluator>(&self, evaluator: &mut E) -> AttentionCache<E> {
        let mut known = |head: &HeadProgram| {
            let keys = (0..self.prefix).map(|row| head.known_keys.row(row).iter().map(|&key| key as f64).collect());
            let values = (0..self.prefix).map(|row| head.known_values.row(row).to_vec());
            [evaluator.known(keys.collect(), Form::Keys), evaluator.known(values.collect(), Form::Image)]
        };
        let heads = self.heads.iter().map(|head| (self.prefix > 0).then(|| known(head))).collect();
        let none = evaluator.constant(0.0);
        AttentionCache { heads, log_factors: vec![vec![none; self.prefix]; self.heads.len()] }
    }

    /// The heads.
    pub fn heads(&self) -> &[HeadProgram] {
        &self.heads
    }

    /// How keys become integers.
    pub fn keys(&self) -> &Reading {
        &self.keys
    }

    /// How the output is read.
    pub fn update(&self) -> &Reading {
        &self.update
    }

    /// The factor of its LayerNorm.
    pub fn norm(&self) -> &NormProgram {
        &self.norm
    }

    /// What the attention adds to rows `[n, E + 1]` of the stream, whose tokens follow those of the cache: to those that are needed. With
    /// their variances, where these were sent.
    ///
    /// # Errors
    /// The evaluator's.
    pub fn evaluate<E: BlockEvaluator>(
        &self,
        evaluator: &mut E,
        (stream, variances): (&E::Tensor, Option<Vec<E::Lane>>),
        cache: &mut AttentionCache<E>,
        needed: Needed,
    ) -> Result<E::Tensor, E::Error> {
        let variances = self.norm.variances(evaluator, stream, variances)?;
        let factors = NormProgram::factors(evaluator, &variances, &self.norm.factor)?;
        let (earlier, queries) = match needed {
            Needed::All => (cache.tokens(), self.queries(evaluator, stream, &variances, &factors)?),
            Needed::Last => {
                let (earlier, last) = (cache.tokens() + variances.len() - 1, variances.len() - 1);
                let [row, factor] = [stream, &factors].map(|tensor| evaluator.last_row(tensor));
                (earlier, self.queries(evaluator, &row, &variances[last..], &factor)?)
            }
        };
        let tables: Vec<&SmoothTable> = self.heads.iter().map(|head| &head.log_factor).collect();
        let of_heads = vec![variances; self.heads.len()];
        let logarithms = look_up_rows(evaluator, steps::NORM, &of_heads, &tables, Use::default())?;
        for ((head, logarithms), cached) in self.heads.iter().zip(logarithms).zip(&mut cache.log_factors) {
            let constant = evaluator.constant(head.log_constant);
            cached.extend(logarithms.into_iter().map(|mut logarithm| {
                evaluator.add_scaled(&mut logarithm, &constant, 1);
                logarithm
            }));
        }
        self.extend(evaluator, stream, &factors, cache)?;
        let mut scores = Vec::new();
        for (queries, cached) in queries.into_iter().zip(&cache.heads) {
            let [keys, _] = cached.as_ref().expect("the cache has the stream's own tokens");
            let products =
                evaluator.multiply(steps::SCORES, vec![[queries, keys.clone()]], Entries::After { earlier })?;
            scores.push(evaluator.lanes(one(products)));
        }
        let programs: Vec<&SoftmaxProgram> = self.heads.iter().map(|head| &head.softmax).collect();
        let probabilities = softmax(evaluator, &programs, scores, &cache.log_factors)?;
        let mut sum = None;
        for (weights, cached) in probabilities.into_iter().zip(&cache.heads) {
            let [_, values] = cached.as_ref().expect("the cache has the stream's own tokens");
            let weights = evaluator.pack(weights, Form::Multipliers);
            sum = Some(evaluator.weigh(steps::WEIGH, weights, values.clone(), sum)?);
        }
        let output = sum.expect("an attention has a head");
        let update = self.update.read(evaluator, steps::ATTENTION, output)?;
        Ok(evaluator.pack(update, Form::Features))
    }

    /// Queries of each head, `[n, d]`.
    fn queries<E: BlockEvaluator>(
        &self,
        evaluator: &mut E,
        stream: &E::Tensor,
        variances: &[E::Lane],
        factors: &E::Tensor,
    ) -> Result<Vec<E::Tensor>, E::Error> {
        match &self.queries {
            QueryProgram::Scaled { factor, heads } => {
                let factors = NormProgram::factors(evaluator, variances, factor)?;
                let head = |(weight, bias): &(Matrix<i32>, Vec<f64>)| {
                    let map = LinearMap { weight, bias: &[], form: Form::Queries };
                    let queries = one(evaluator.linear(steps::PROJECT, stream, &[map])?);
                    let queries = evaluator.scale_rows(steps::PROJECT, queries, &factors)?;
                    evaluator.add_constants(steps::PROJECT, queries, bias)
                };
                heads.iter().map(head).collect()
            }
            QueryProgram::Read { weight, reading } => {
                let map = LinearMap { weight, bias: &[], form: Form::Image };
                let queries = one(evaluator.linear(steps::PROJECT, stream, &[map])?);
                let queries = evaluator.scale_rows(steps::PROJECT, queries, factors)?;
                let queries = reading.read(evaluator, steps::QUERIES, queries)?;
                let head = |index: usize| {
                    let of_head = |row: &Vec<E::Lane>| self.channels(row, index).to_vec();
                    evaluator.pack(queries.iter().map(of_head).collect(), Form::Queries)
                };
                Ok((0..self.heads.len()).map(head).collect())
            }
        }
    }

    /// Of all heads' channels side by side, those of one.
    fn channels<'a, L>(&self, row: &'a [L], head: usize) -> &'a [L] {
        let size = row.len() / self.heads.len();
        &row[head * size..][..size]
    }

    /// Appends the keys and values of the stream's tokens to the cache.
    fn extend<E: BlockEvaluator>(
        &self,
        evaluator: &mut E,
        stream: &E::Tensor,
        factors: &E::Tensor,
        cache: &mut AttentionCache<E>,
    ) -> Result<(), E::Error> {
        let map = LinearMap { weight: &self.key, bias: &[], form: Form::Image };
        let keys = one(evaluator.linear(steps::PROJECT, stream, &[map])?);
        let keys = evaluator.scale_rows(steps::PROJECT, keys, factors)?;
        let keys = self.keys.read(evaluator, steps::KEYS, keys)?;
        for (index, (head, cached)) in self.heads.iter().zip(&mut cache.heads).enumerate() {
            let map = LinearMap { weight: &head.value, bias: &[], form: Form::Image };
            let values = one(evaluator.linear(steps::PROJECT, stream, &[map])?);
            let of_head = |row: &Vec<E::Lane>| self.channels(row, index).to_vec();
            let keys = evaluator.pack(keys.iter().map(of_head).collect(), Form::Keys);
            append_rows(evaluator, cached, [keys, values]);
        }
        Ok(())
    }
}

/// What one map, or one product, gives.
pub(super) fn one<T>(results: Vec<T>) -> T {
    let Ok([result]) = <[T; 1]>::try_from(results) else { unreachable!("one result to a map") };
    result
}
