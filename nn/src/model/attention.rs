//! Causal self-attention in f32: the weights of a layer, and one head as the reference of its integer form.
//!
//! A. Vaswani et al., "Attention Is All You Need" (arXiv:1706.03762), section 3.2.

use crate::checkpoint::{Checkpoint, needed};
use crate::error::{Error, check_finite};
use crate::matrix::Matrix;
use serde::{Deserialize, Serialize};

/// `x·weight + bias`, with the weight `[in, out]` as GPT-2 stores it ("Conv1D").
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    weight: Matrix<f32>,
    bias: Vec<f32>,
}

impl Linear {
    /// A layer of `weight: [in, out]` and `bias: [out]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the bias does not have one value per output, [`Error::NotFinite`].
    pub fn new(weight: Matrix<f32>, bias: Vec<f32>) -> Result<Self, Error> {
        if bias.len() != weight.cols() {
            return Err(Error::shape("the bias of a linear layer", format!("[{}]", weight.cols()), &[bias.len()]));
        }
        check_finite("the weight of a linear layer", weight.data())?;
        check_finite("the bias of a linear layer", &bias)?;
        Ok(Self { weight, bias })
    }

    /// Reads `name.weight: [inputs, outputs]` and `name.bias: [outputs]`.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor_of_shape`].
    pub fn load(checkpoint: &Checkpoint, name: &str, inputs: usize, outputs: usize) -> Result<Self, Error> {
        let weight = checkpoint.matrix(&format!("{name}.weight"), inputs, outputs)?;
        Self::new(weight, checkpoint.vector(&format!("{name}.bias"), outputs)?)
    }

    /// `[in, out]`.
    pub fn weight(&self) -> &Matrix<f32> {
        &self.weight
    }

    /// `[out]`.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// `input·weight + bias`: `[T, in] -> [T, out]`. O(T·in·out).
    ///
    /// # Panics
    /// If the input does not have `in` columns.
    pub fn apply(&self, input: &Matrix<f32>) -> Matrix<f32> {
        let mut output = input.multiply(&self.weight);
        output.add_to_rows(&self.bias);
        output
    }

    /// This layer, then `next`, as one: weight·next.weight, and the image of this layer's bias, without `next`'s own. O(in·out·next's out).
    ///
    /// # Errors
    /// [`Error::NotFinite`] if an entry of the product is too large.
    ///
    /// # Panics
    /// If `next` does not have as many inputs as this layer outputs.
    pub(crate) fn then(&self, next: &Matrix<f32>) -> Result<Self, Error> {
        let bias = Matrix::new(1, self.bias.len(), self.bias.clone())?.multiply(next);
        Self::new(self.weight.multiply(next), bias.into_data())
    }

    /// The layer of some of the outputs.
    pub(crate) fn columns(&self, range: std::ops::Range<usize>) -> Self {
        Self { weight: self.weight.columns(range.clone()), bias: self.bias[range].to_vec() }
    }
}

/// Which part of a layer's attention is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// One head: `[T, E] -> [T, d]`.
    Head(usize),
    /// All heads and the output projection: `[T, E] -> [T, E]`.
    Whole,
}

/// The weights of one layer's attention: the projection to queries, keys and values of all heads (`c_attn`), and that of their
/// outputs (`c_proj`) where it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionWeights {
    projection: Linear,
    output: Option<Linear>,
    heads: usize,
}

impl AttentionWeights {
    /// The heads of `projection: [E, 3E]`, whose outputs are the queries of every head, then the keys, then the values.
    ///
    /// # Errors
    /// [`Error::Shape`] if the projection is not `[E, 3E]`, or `heads` does not divide E.
    pub fn new(projection: Linear, heads: usize) -> Result<Self, Error> {
        let (rows, cols) = (projection.weight.rows(), projection.weight.cols());
        if rows == 0 || rows.checked_mul(3) != Some(cols) || heads == 0 || rows % heads != 0 {
            let expected = format!("[E, 3E] with E a multiple of {heads} heads");
            return Err(Error::shape("the weight of the attention", expected, &[rows, cols]));
        }
        Ok(Self { projection, output: None, heads })
    }

    /// With the output projection, `[E, E]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if it is not `[E, E]`.
    pub fn with_output(self, output: Linear) -> Result<Self, Error> {
        let size = self.embedding_size();
        let shape = [output.weight.rows(), output.weight.cols()];
        if shape != [size, size] {
            return Err(Error::shape("the output projection of the attention", format!("[{size}, {size}]"), &shape));
        }
        Ok(Self { output: Some(output), ..self })
    }

    /// The heads whose scores are `scale`·q·k instead of q·k/√d, by queries that are larger by `scale`·√d: the division
    /// by √d is part of every form of a head. O(E²).
    pub(crate) fn with_score_scale(mut self, scale: f32) -> Self {
        let usual = score_scale(self.head_size());
        if scale == usual {
            return self;
        }
        let Linear { weight, bias } = &mut self.projection;
        let queries = 0..weight.rows();
        let scaled = |values: &mut [f32]| values[queries.clone()].iter_mut().for_each(|value| *value *= scale / usual);
        (0..weight.rows()).for_each(|row| scaled(weight.row_mut(row)));
        scaled(bias);
        self
    }

    /// Reads `h.LAYER.attn.c_attn.{weight,bias}`, of a whole model or alone, and `h.LAYER.attn.c_proj.{weight,bias}` if they are
    /// there. Scores are taken to be q·k/√d.
    ///
    /// Without `heads`, their number is the file's metadata entry `n_head`, or as many as give a head the size 64,
    /// which it has in every published GPT-2.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor_of_shape`] and [`Self::new`]; [`Error::OutOfRange`] if the number of heads is unknown.
    pub fn load(checkpoint: &Checkpoint, layer: usize, heads: Option<usize>) -> Result<Self, Error> {
        const HEAD_SIZE: usize = 64;
        let name = format!("h.{layer}.attn.c_attn");
        let weight = checkpoint.any_matrix(&format!("{name}.weight"))?;
        let (rows, cols) = (weight.rows(), weight.cols());
        if rows > 0 && cols.checked_mul(3) == Some(rows) {
            let what = format!("tensor \"{name}.weight\" of {}", checkpoint.path().display());
            return Err(Error::shape(what, needed(&[cols, rows], &[rows, cols]), &[rows, cols]));
        }
        let bias = checkpoint.vector(&format!("{name}.bias"), weight.cols())?;
        let stored = checkpoint.metadata("n_head").filter(|_| heads.is_none()).map(|count| {
            let what = "the metadata entry \"n_head\" of the file";
            count.parse().map_err(|_| Error::out_of_range(what, count, "a number of heads"))
        });
        let stored: Option<usize> = stored.transpose()?;
        let usual = Some(rows / HEAD_SIZE).filter(|heads| heads * HEAD_SIZE == rows);
        let Some(heads) = heads.or(stored).or(usual) else {
            let allowed = "given, or the metadata entry \"n_head\" of the file";
            return Err(Error::out_of_range("the number of heads", "unknown", allowed));
        };
        let weights = Self::new(Linear::new(weight, bias)?, heads)?;
        let name = format!("h.{layer}.attn.c_proj");
        if !checkpoint.contains(&format!("{name}.weight")) {
            return Ok(weights);
        }
        let size = weights.embedding_size();
        weights.with_output(Linear::load(checkpoint, &name, size, size)?)
    }

    /// The number of heads.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// E, the size of an embedding.
    pub fn embedding_size(&self) -> usize {
        self.projection.weight.rows()
    }

    /// d, the size of a head: E / heads.
    pub fn head_size(&self) -> usize {
        self.embedding_size() / self.heads
    }

    /// `[E, 3E]`: queries of all heads, keys of all heads, values of all heads.
    pub fn projection(&self) -> &Linear {
        &self.projection
    }

    /// The output projection, `[E, E]`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if it is not known.
    pub fn output(&self) -> Result<&Linear, Error> {
        let allowed = "c_proj.{weight,bias} of the layer, which the whole attention needs";
        self.output.as_ref().ok_or_else(|| Error::out_of_range("the output projection", "missing", allowed))
    }

    /// The rows of the output projection's weight that a head's output meets, `[d, E]`.
    ///
    /// # Errors
    /// As [`Self::output`].
    pub(crate) fn output_rows(&self, head: usize) -> Result<Matrix<f32>, Error> {
        let size = self.head_size();
        Ok(self.output()?.weight.row_range(head * size..(head + 1) * size))
    }

    /// The heads that a part consists of, in order.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if there is no such head.
    pub fn heads_of(&self, part: Part) -> Result<Vec<HeadWeights>, Error> {
        match part {
            Part::Head(head) => Ok(vec![self.head(head)?]),
            Part::Whole => (0..self.heads).map(|head| self.head(head)).collect(),
        }
    }

    /// The size of a part's output: d, or E.
    pub fn output_size(&self, part: Part) -> usize {
        match part {
            Part::Head(_) => self.head_size(),
            Part::Whole => self.embedding_size(),
        }
    }

    /// A part on `hidden: [T, E]`, the input of the attention after LayerNorm 1: the reference of every other form of it.
    ///
    /// # Errors
    /// As [`Self::heads_of`] and [`Self::output`].
    ///
    /// # Panics
    /// If `hidden` does not have E columns.
    pub fn attend(&self, part: Part, hidden: &Matrix<f32>) -> Result<Matrix<f32>, Error> {
        let heads: Vec<Matrix<f32>> = self.heads_of(part)?.iter().map(|head| head.attend(hidden).output).collect();
        match part {
            Part::Head(_) => Ok(heads.into_iter().next().expect("one head")),
            Part::Whole => {
                let mut outputs = Matrix::from_fn(hidden.rows(), self.embedding_size(), |_, _| 0.0);
                for (index, head) in heads.iter().enumerate() {
                    outputs.set_columns(index * self.head_size(), head);
                }
                Ok(self.output()?.apply(&outputs))
            }
        }
    }

    /// The weights of one head.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if there is no such head.
    pub fn head(&self, head: usize) -> Result<HeadWeights, Error> {
        if head >= self.heads {
            let allowed = format!("less than the number of heads, {}", self.heads);
            return Err(Error::out_of_range("the index of the head", head, allowed));
        }
        let part = |index| self.projection.columns(self.head_columns(head, index));
        Ok(HeadWeights { query: part(0), key: part(1), value: part(2) })
    }

    /// The head's queries, keys and values, each `[T, d]`, out of the projection's output `[T, 3E]`.
    pub(crate) fn split(&self, projected: &Matrix<f32>, head: usize) -> [Matrix<f32>; 3] {
        [0, 1, 2].map(|index| projected.columns(self.head_columns(head, index)))
    }

    fn head_columns(&self, head: usize, part: usize) -> std::ops::Range<usize> {
        let first = part * self.embedding_size() + head * self.head_size();
        first..first + self.head_size()
    }
}

/// The projections of one head, each `[E, d]`.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadWeights {
    /// To queries.
    pub query: Linear,
    /// To keys.
    pub key: Linear,
    /// To values.
    pub value: Linear,
}

impl HeadWeights {
    /// The head on `hidden: [T, E]`, the input of the attention after LayerNorm 1.
    ///
    /// # Panics
    /// If `hidden` does not have E columns.
    pub fn attend(&self, hidden: &Matrix<f32>) -> HeadTrace {
        HeadTrace::attend(self.query.apply(hidden), self.key.apply(hidden), self.value.apply(hidden))
    }
}

/// Every intermediate of one head.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadTrace {
    /// `[T, d]`.
    pub query: Matrix<f32>,
    /// `[T, d]`.
    pub key: Matrix<f32>,
    /// `[T, d]`.
    pub value: Matrix<f32>,
    /// QKᵀ/√d, `[T, T]`, without a mask.
    pub scores: Matrix<f32>,
    /// The softmax of each row over columns up to the diagonal, `[T, T]`; zero above it.
    pub probabilities: Matrix<f32>,
    /// probabilities·value, `[T, d]`.
    pub output: Matrix<f32>,
}

impl HeadTrace {
    /// Causal attention of queries, keys and values, each `[T, d]`. O(T²·d).
    fn attend(query: Matrix<f32>, key: Matrix<f32>, value: Matrix<f32>) -> Self {
        let Attended { scores, probabilities, output } = Attended::of(&query, &key, &value);
        Self { query, key, value, scores, probabilities, output }
    }
}

/// What a head computes for the last n of T tokens.
pub(crate) struct Attended {
    /// QKᵀ/√d, `[n, T]`, without a mask.
    pub(crate) scores: Matrix<f32>,
    /// The softmax of each row over columns up to its own token, `[n, T]`; zero after it.
    pub(crate) probabilities: Matrix<f32>,
    /// probabilities·value, `[n, d]`.
    pub(crate) output: Matrix<f32>,
}

impl Attended {
    /// Causal attention of the queries of the last tokens, `[n, d]`, to the keys and values of all, each `[T, d]`.
    /// O(n·T·d).
    pub(crate) fn of(query: &Matrix<f32>, key: &Matrix<f32>, value: &Matrix<f32>) -> Self {
        let mut scores = query.multiply_transposed(key);
        let scale = score_scale(query.cols());
        scores.data_mut().iter_mut().for_each(|score| *score *= scale);
        let probabilities = causal_softmax(&scores);
        let output = probabilities.multiply(value);
        Self { scores, probabilities, output }
    }
}

/// 1/√d, for heads of size d.
pub(crate) fn score_scale(head_size: usize) -> f32 {
    1.0 / (head_size as f32).sqrt()
}

/// exp(s_ij − max) / Σ exp(s_ij − max), over j <= T − n + i in row i; zero for other j. `[n, T] -> [n, T]`.
fn causal_softmax(scores: &Matrix<f32>) -> Matrix<f32> {
    let mut probabilities = Matrix::from_fn(scores.rows(), scores.cols(), |_, _| 0.0);
    let earlier = scores.cols() - scores.rows();
    for row in 0..scores.rows() {
        let visible = &scores.row(row)[..=earlier + row];
        let maximum = visible.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponentials: Vec<f32> = visible.iter().map(|score| (score - maximum).exp()).collect();
        let sum: f32 = exponentials.iter().sum();
        let entries = probabilities.row_mut(row).iter_mut();
        entries.zip(&exponentials).for_each(|(probability, exponential)| *probability = exponential / sum);
    }
    probabilities
}
