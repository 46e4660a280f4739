//! Attention for packed ciphertexts: everything linear or bilinear at full width, lookups of smooth functions.
//!
//! Where the integer head of [`crate::head`] requantizes after every step, this one only quantizes inputs and weights. Of each
//! head of a part ([`crate::attention::Part`]):
//!
//! ```text
//! x  = round((hidden − center) / s_x)   per input channel              client, [T, E]
//! q  = x·W_q + b_q,  k = x·W_k + b_k    integers at full width         [T, d]
//! u  = q·kᵀ / t                         in turns: differences count modulo 1
//! P  = softmax of each row of u·r       by lookups of smooth functions, T² − 1 of them
//! O  = Σ_heads P·(x·W_v) + b            [T, O]
//! out = O·s_o                           per output channel             client
//! ```
//!
//! The input's scales are folded into the rows of the weights, the center's image into the biases. Scales of q and k differ from
//! channel to channel, but their product is the same for all, so that scores are sums of integers. Weights are rounded so that their
//! errors cancel on inputs like those of the calibration set (GPTQ).
//!
//! # The output projection
//! Attention is linear in its values: with the output projection's rows W_o of a head, (P·x·W_v)·W_o = P·(x·W_v·W_o). For the
//! whole attention W_v is that product, `[E, E]` of each head, quantized as one matrix: the projection takes no step of its own, and
//! is rounded once instead of twice. (What ciphertexts hold is known modulo one turn, with noise from lookups: to multiply it by
//! a further matrix, it would have to be made smaller first, and its noise with it, for which there is no cheap way.)
//!
//! # Softmax by log-sum-exp
//! With L = log Σ e^s over a set of scores, L(A ∪ B) = L(B) + softplus(L(A) − L(B)), softplus(x) = log(1 + e^x): a tree of
//! lookups on *differences*. No maximum and no division is needed, and numbers never leave the range of the scores. Then
//! p_j = exp(s_j − L): a row of n scores takes 2n − 1 lookups, the first row none. An error of L scales a whole row of
//! probabilities; since values are counted from their mean (below), what they add up to is small, and so is what the error does to
//! it. (To let one probability be 1 less the others saves a lookup a row, and gives it the errors of all of them.)
//!
//! # Centers
//! The input is quantized around its calibration mean, whose image under W_v is the same for all tokens: as Σ p_j = 1, it passes through
//! P unchanged. With the biases of values and of the output projection it is one constant b, which the server adds. An output is
//! known modulo one turn, and the client takes what is nearest to b: so only deviations take room.
//!
//! # Turns
//! Scores are kept in *turns*, of which only the fraction counts: u = 1 is [`HeadProgram::score_turn`] units of score. A
//! difference must stay between −1/4 and 1/4, where [`Function::Softplus`] is tabulated, and an exponent above −1/2
//! ([`HeadProgram::exponent_turn`]). The limit is the largest argument of the calibration set, head by head, and as much more as
//! scores spread farther apart by a guard ([`PackedOptions::guard`]) and longer inputs can add.
//!
//! # Rows
//! A row of attention depends on earlier tokens only, so a run may compute the rows of new tokens alone ([`Span`]).
//!
//! # Parties
//! [`PackedAttention::calibrate`] makes both halves: [`PackedProgram`] is all that a server needs, [`PackedClient`] all that a client
//! needs.

mod calibrate;
mod clear;
mod program;
mod record;
mod rounding;

pub use calibrate::Calibration;
pub use clear::{ClearOutput, ClearPackedEngine};
pub use program::{Function, HeadProgram, PackedEngine, PackedProgram, PackedProjection, Row, Span};

use crate::error::{Error, check_finite};
use crate::matrix::Matrix;
use crate::quantize::Saturation;
use serde::{Deserialize, Serialize};

/// The steps of the data flow, in order.
pub mod steps {
    /// x·W for queries, keys and values.
    pub const PROJECT: &str = "project";
    /// q·kᵀ.
    pub const SCORES: &str = "scores";
    /// log Σ exp of pairs.
    pub const SOFTPLUS: &str = "softplus";
    /// Probabilities.
    pub const EXPONENTIAL: &str = "exponential";
    /// Probabilities times values.
    pub const OUTPUT: &str = "output";
    /// All of them.
    pub const ALL: [&str; 5] = [PROJECT, SCORES, SOFTPLUS, EXPONENTIAL, OUTPUT];
}

/// How the head is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PackedOptions {
    /// Bits of the input, from 2 to 8.
    pub input_bits: u32,
    /// The most bits of weights of queries and keys, from 2 to 8; there are fewer where [`Self::log_modulus`] does not allow for them.
    pub weight_bits: u32,
    /// Bits of weights of values, from 2 to 8.
    pub value_bits: u32,
    /// The largest log2 t, t the modulus of scores, from 8 to 32.
    pub log_modulus: u32,
    /// The ratio of what scores and outputs may reach to what they reached on the calibration set, at least 1.
    pub guard: f64,
    /// The most tokens of an input, at most [`Self::MAX_TOKENS`]. `None`: those of the longest calibration input.
    pub max_tokens: Option<usize>,
}

impl PackedOptions {
    /// What the numbers of bits may be.
    pub const BITS: std::ops::RangeInclusive<u32> = 2..=8;
    /// What log2 of the modulus of scores may be.
    pub const LOG_MODULI: std::ops::RangeInclusive<u32> = 8..=32;
    /// What [`Self::max_tokens`] may be at most.
    pub const MAX_TOKENS: usize = 64;

    /// The options for inputs of `input_bits` bits, the others as they are best for 5 bits.
    pub fn new(input_bits: u32) -> Self {
        Self { input_bits, weight_bits: 8, value_bits: 7, log_modulus: 32, guard: 1.5, max_tokens: None }
    }
}

/// What the client needs: how to make the attention's input, and what its output means.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedClient {
    /// The largest integer of an input.
    levels: i32,
    /// `[E]`.
    centers: Vec<f64>,
    /// `[E]`.
    scales: Vec<f64>,
    /// `[O]`, in units of the output's integers.
    output_centers: Vec<f64>,
    /// `[O]`.
    output_scales: Vec<f64>,
    max_tokens: usize,
}

impl PackedClient {
    /// The largest integer of an input.
    pub fn levels(&self) -> i32 {
        self.levels
    }

    /// The most tokens of an input.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// What one unit of each channel of the input stands for, `[E]`.
    pub fn input_scales(&self) -> &[f64] {
        &self.scales
    }

    /// What one unit of each channel of the output stands for, `[O]`.
    pub fn output_scales(&self) -> &[f64] {
        &self.output_scales
    }

    /// What outputs are near to, `[O]`, in units of their integers: of what they are modulo a turn, the nearest to this counts.
    pub fn output_centers(&self) -> &[f64] {
        &self.output_centers
    }

    /// How far an entry of the input is from its channel's center, in units of its scale.
    fn steps(&self, hidden: &Matrix<f32>, row: usize, channel: usize) -> f64 {
        (hidden[(row, channel)] as f64 - self.centers[channel]) / self.scales[channel]
    }

    /// What [`Self::quantize_input`] cuts off.
    ///
    /// # Panics
    /// If `hidden` does not have E columns.
    pub fn saturation(&self, hidden: &Matrix<f32>) -> Saturation {
        assert_eq!(hidden.cols(), self.centers.len(), "an input of the attention");
        Saturation::of([hidden.rows(), hidden.cols()], self.levels, |row, channel| self.steps(hidden, row, channel))
    }

    /// The integers of `hidden: [T, E]`, the input of the attention after LayerNorm 1; what is beyond its range saturates
    /// ([`Self::saturation`]).
    ///
    /// # Errors
    /// [`Error::Shape`] if T is 0 or more than [`Self::max_tokens`], or E is not the head's; [`Error::NotFinite`].
    pub fn quantize_input(&self, hidden: &Matrix<f32>) -> Result<Matrix<i32>, Error> {
        let size = self.centers.len();
        if hidden.cols() != size || !(1..=self.max_tokens).contains(&hidden.rows()) {
            let expected = format!("[T, {size}] with T in 1 ..= {}", self.max_tokens);
            return Err(Error::shape("the input of the attention", expected, &[hidden.rows(), hidden.cols()]));
        }
        check_finite("the input of the attention", hidden.data())?;
        let levels = self.levels as f64;
        Ok(Matrix::from_fn(hidden.rows(), size, |row, channel| {
            self.steps(hidden, row, channel).round_ties_even().clamp(-levels, levels) as i32
        }))
    }

    /// The values of the output `[rows, O]`, given in units of each channel's scale.
    pub fn dequantize_output(&self, output: &Matrix<f64>) -> Matrix<f32> {
        let (rows, cols) = (output.rows(), output.cols());
        Matrix::from_fn(rows, cols, |row, channel| (output[(row, channel)] * self.output_scales[channel]) as f32)
    }
}

/// One head, or a layer's whole attention: both halves.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedAttention {
    program: PackedProgram,
    client: PackedClient,
}

impl PackedAttention {
    /// The server's half.
    pub fn program(&self) -> &PackedProgram {
        &self.program
    }

    /// The client's half.
    pub fn client(&self) -> &PackedClient {
        &self.client
    }

    /// The attention in the clear: quantizes, evaluates without noise, and dequantizes. `[T, E] -> [T, O]`.
    ///
    /// # Errors
    /// As [`PackedClient::quantize_input`].
    pub fn evaluate_clear(&self, hidden: &Matrix<f32>) -> Result<Matrix<f32>, Error> {
        let input = self.client.quantize_input(hidden)?;
        let output = ClearPackedEngine::new(&self.program, &input, Span::all(hidden.rows())).evaluate();
        Ok(self.client.dequantize_output(&output.numbers))
    }
}
