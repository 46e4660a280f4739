//! The attention of an encrypted GPT-2, in integers: one head, or all heads of a layer and the output projection
//! ([`Part`]).
//!
//! A head is that of R. Bredehoft, J. Frery et al., "Towards Encrypted Large Language Models with FHE" (Hugging Face
//! blog, 2023), with quantizers of n bits, symmetric, one per tensor ([`crate::quantize`]). L = 2^(n−1) − 1.
//!
//! ```text
//! x  = round(hidden / s_x)                                    client, [T, E]
//! a  = x·W                   W the integer weights            [T, 3d]
//! y  = round(a·s_x·s_w / s_y) + round(bias / s_y)
//! q, k, v = round(y·s_y / s_q), …                             one lookup per entry of a, by channel
//! S  = q·kᵀ                  causal: entries (i, j <= i)
//! u  = round(S·s_q·s_k / √d / s_u)                            one lookup per entry
//! P  = softmax of each row of u                               lookups and products
//! O  = P·v                                                    [T, d]
//! out = O·s_p·s_v                                             client
//! ```
//!
//! The weight scale s_w is that of the whole matrix of the layer (all heads, queries, keys and values), as in the
//! article. The two requantizations of a value by its lookup are one table.
//!
//! # The whole attention
//! Every head has its own scales but those of x and W, which it would have alone too: its integers are the same. What
//! follows O is
//!
//! ```text
//! o   = round(O·s_p·s_v / s_o)                                one lookup per entry, by head, [T, E]
//! out = o·W_o + round(bias / (s_o·s_wo))                      [T, E]
//! out·s_o·s_wo                                                client
//! ```
//!
//! with one scale s_o for all heads, since their sums have to have one unit, and one scale s_wo for W_o. The sums are
//! not requantized: they are wide, and decrypted as they are.
//!
//! # The causal mask
//! The article computes all T² scores and puts the smallest score where j > i, which leaves a little weight on the
//! future. Here the entries above the diagonal do not exist: no lookup and no product is spent on them, and row i of
//! the softmax has i + 1 entries.
//!
//! # Ranges
//! A table covers the integers that its input takes on the calibration set, and a guard
//! ([`IntegerRange::guarded`](crate::range::IntegerRange::guarded)); in the softmax, where the worst case is narrow, it
//! covers the worst case. The table has the smallest number of bits that counts that range, and the range is centred
//! in it. Above [`HeadOptions::msbs`] bits the low bits are rounded away, as the article does for speed.
//!
//! # Parties
//! [`QuantizedHead::calibrate`] makes both halves: [`HeadProgram`] is all that a server needs (weights, tables, bits),
//! and [`HeadClient`] all that a client needs (scales). Both can be serialized.

mod calibrate;
mod combination;
mod program;
mod record;
mod softmax;

pub use program::HeadProgram;

use crate::attention::Part;
use crate::clear::{ClearEngine, StepRecord};
use crate::error::Error;
use crate::matrix::Matrix;
use crate::quantize::{Quantizer, Saturation};
use crate::range::IntegerRange;
use serde::{Deserialize, Serialize};

/// The steps of the data flow, as [`Engine`](crate::engine::Engine) methods get them, in order.
pub mod steps {
    use crate::attention::Part;

    /// x·W.
    pub const PROJECT: &str = "project";
    /// Accumulators to q, k and v.
    pub const QUERY_KEY_VALUE: &str = "query_key_value";
    /// q·kᵀ.
    pub const SCORES: &str = "scores";
    /// Scores to n bits.
    pub const QUANTIZE_SCORES: &str = "quantize_scores";
    /// relu of differences, for the maximum of each row.
    pub const MAXIMUM: &str = "maximum";
    /// exp(score − maximum).
    pub const EXPONENTIAL: &str = "exponential";
    /// 1 / sum of a row.
    pub const INVERSE: &str = "inverse";
    /// Exponentials times the inverse.
    pub const NORMALIZE: &str = "normalize";
    /// The normalized exponentials to n bits.
    pub const PROBABILITIES: &str = "probabilities";
    /// Probabilities times v.
    pub const OUTPUT: &str = "output";
    /// Outputs of all heads to n bits, at one scale: whole attention only.
    pub const QUANTIZE_OUTPUT: &str = "quantize_output";
    /// The output projection: whole attention only.
    pub const PROJECT_OUTPUT: &str = "project_output";
    /// All of them: those of a whole attention.
    pub const ALL: [&str; 12] = [
        PROJECT,
        QUERY_KEY_VALUE,
        SCORES,
        QUANTIZE_SCORES,
        MAXIMUM,
        EXPONENTIAL,
        INVERSE,
        NORMALIZE,
        PROBABILITIES,
        OUTPUT,
        QUANTIZE_OUTPUT,
        PROJECT_OUTPUT,
    ];

    /// Those of a part of a layer's attention.
    pub fn of(part: Part) -> &'static [&'static str] {
        match part {
            Part::Head(_) => &ALL[..10],
            Part::Whole => &ALL,
        }
    }
}

/// How the head is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadOptions {
    /// n, the bits of inputs, weights and activations: in [`Self::BITS`].
    pub bits: u32,
    /// The most bits that a table is indexed with; the others are rounded away. In [`Self::MSBS`].
    pub msbs: u32,
    /// The most tokens of an input, at most [`Self::MAX_TOKENS`]. `None`: those of the longest calibration input.
    pub max_tokens: Option<usize>,
}

impl HeadOptions {
    /// What [`Self::bits`] may be.
    pub const BITS: std::ops::RangeInclusive<u32> = 2..=11;
    /// What [`Self::msbs`] may be.
    pub const MSBS: std::ops::RangeInclusive<u32> = 6..=10;
    /// What [`Self::max_tokens`] may be at most: the positions of GPT-2.
    pub const MAX_TOKENS: usize = 1024;

    /// The options with n = `bits`, 8 bits of a table kept, and as many tokens as the longest calibration input.
    pub fn new(bits: u32) -> Self {
        Self { bits, msbs: 8, max_tokens: None }
    }
}

/// The bits of one intermediate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RangeReport {
    /// The head; `None` for what all heads make together.
    pub head: Option<usize>,
    /// The step whose tables read the intermediate, or the last step, whose result none reads.
    pub step: &'static str,
    /// The integers that it takes on the calibration set.
    pub observed: IntegerRange,
    /// The integers that its tables, or its modulus, can hold.
    pub covered: IntegerRange,
    /// Bits of the tables that read it, or of its modulus without the sign.
    pub bits: u32,
    /// Bits of them that are rounded away.
    pub rounded_bits: u32,
}

/// What the client needs: how to make the input, and what the output means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadClient {
    input: Quantizer,
    output_scale: f64,
    embedding_size: usize,
    max_tokens: usize,
}

impl HeadClient {
    /// The quantizer of the input.
    pub fn input(&self) -> &Quantizer {
        &self.input
    }

    /// What one unit of the output stands for: s_p·s_v of one head, s_o·s_wo of a whole attention.
    pub fn output_scale(&self) -> f64 {
        self.output_scale
    }

    /// The most tokens of an input.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// What [`Self::quantize_input`] cuts off.
    pub fn saturation(&self, hidden: &Matrix<f32>) -> Saturation {
        let scale = self.input.scale();
        Saturation::of([hidden.rows(), hidden.cols()], self.input.levels(), |row, channel| {
            hidden[(row, channel)] as f64 / scale
        })
    }

    /// The integers of `hidden: [T, E]`, the input of the attention after LayerNorm 1; what is beyond the range saturates
    /// ([`Self::saturation`]).
    ///
    /// # Errors
    /// [`Error::Shape`] if T is 0 or more than [`Self::max_tokens`], or E is not the head's; [`Error::NotFinite`].
    pub fn quantize_input(&self, hidden: &Matrix<f32>) -> Result<Matrix<i32>, Error> {
        if hidden.cols() != self.embedding_size || !(1..=self.max_tokens).contains(&hidden.rows()) {
            let expected = format!("[T, {}] with T in 1 ..= {}", self.embedding_size, self.max_tokens);
            return Err(Error::shape("the input of the head", expected, &[hidden.rows(), hidden.cols()]));
        }
        self.input.quantize_matrix(hidden)
    }

    /// The values of the output, `[T, d]` of one head, `[T, E]` of a whole attention.
    pub fn dequantize_output(&self, output: &Matrix<i64>) -> Matrix<f32> {
        output.map(|&value| (value as f64 * self.output_scale) as f32)
    }
}

/// One head, or a whole attention, in integers: both halves, and what calibration saw.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedHead {
    part: Part,
    program: HeadProgram,
    client: HeadClient,
    ranges: Vec<RangeReport>,
}

impl QuantizedHead {
    /// What it computes of the layer's attention.
    pub fn part(&self) -> Part {
        self.part
    }

    /// The server's half.
    pub fn program(&self) -> &HeadProgram {
        &self.program
    }

    /// The client's half.
    pub fn client(&self) -> &HeadClient {
        &self.client
    }

    /// The bit-width analysis: every intermediate, in the order of the data flow, of one head after the other, and then
    /// of what combines them.
    pub fn ranges(&self) -> &[RangeReport] {
        &self.ranges
    }

    /// All in the clear: quantizes, evaluates on plain integers, and dequantizes. `[T, E] -> [T, output_size]`.
    ///
    /// # Errors
    /// As [`HeadClient::quantize_input`].
    pub fn evaluate_clear(&self, hidden: &Matrix<f32>) -> Result<Matrix<f32>, Error> {
        let input = self.client.quantize_input(hidden)?;
        Ok(self.client.dequantize_output(&self.program.evaluate_clear(&mut ClearEngine::new(), &input)))
    }
}

impl HeadProgram {
    /// The program on plain integers: `[T, E] -> [T, output_size]`. The engine can tell afterwards what happened.
    ///
    /// # Panics
    /// As [`Self::evaluate`].
    pub fn evaluate_clear(&self, engine: &mut ClearEngine, input: &Matrix<i32>) -> Matrix<i64> {
        match self.evaluate(engine, input, input.rows()) {
            Ok(output) => output,
            Err(never) => match never {},
        }
    }

    /// What an evaluation on `tokens` tokens does, step by step: it is the same for all inputs.
    ///
    /// # Panics
    /// As [`Self::evaluate`].
    pub fn operations(&self, tokens: usize) -> Vec<StepRecord> {
        let mut engine = ClearEngine::new();
        self.evaluate_clear(&mut engine, &Matrix::from_fn(tokens, self.embedding_size(), |_, _| 0));
        engine.steps().to_vec()
    }
}
