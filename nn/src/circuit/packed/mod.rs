//! Attention for packed ciphertexts: everything linear or bilinear at full width, lookups of smooth functions.
//!
//! Where the integer head of [`crate::integer`] requantizes after every step, this one only quantizes inputs and weights. Of each
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
//! a further matrix, each number would have to be looked up first, so that it and its noise are small.)
//!
//! # Softmax by log-sum-exp
//! With L = log Σ e^s over a set of scores, L(A ∪ B) = L(B) + softplus(L(A) − L(B)), softplus(x) = log(1 + e^x): a tree of
//! lookups on *differences*, or in longer rows A one score after the other, so that the noise of all readings adds up to less. No maximum
//! and no division is needed, and numbers never leave the range of the scores. Then p_j = exp(s_j − L): a row of n scores takes 2n − 1
//! lookups, the first row none. An error of L scales a whole row of probabilities; since values are counted from their mean (below), what
//! they add up to is small, and so is what the error does to it. (To let one probability be 1 less the others saves a lookup a row, and
//! gives it the errors of all of them.)
//!
//! # Centers
//! The input is quantized around its calibration mean, whose image under W_v is the same for all tokens: as Σ p_j = 1, it passes through
//! P unchanged. With the biases of values and of the output projection it is one constant b, which the server adds. An output is
//! known modulo one turn, and the client takes what is nearest to b: so only deviations take room.
//!
//! # Turns
//! Scores are kept in *turns*, of which only the fraction counts: u = 1 is [`PackedHead::score_turn`] units of score. A
//! difference must stay between −1/4 and 1/4, where [`Smooth::Softplus`](crate::table::Smooth) is tabulated, and an exponent above −1/2
//! ([`PackedHead::exponent_turn`]). The limit is the largest argument of the calibration set, head by head, and as much more as
//! scores spread farther apart by a guard ([`PackedOptions::guard`]) and longer inputs can add.
//!
//! # Rows
//! A row of attention depends on earlier tokens only, so a run may compute the rows of new tokens alone ([`Span`]).
//!
//! # Parties
//! [`PackedAttention::calibrate`] makes both halves: [`PackedProgram`] is all that a server needs, [`PackedClient`] all that a client
//! needs.

mod attention;
mod calibrate;
mod client;
mod options;
mod program;
mod record;
mod softmax;
pub mod steps;

pub use attention::PackedAttention;
pub use calibrate::Calibration;
pub use client::PackedClient;
pub use options::PackedOptions;
pub use program::{PackedHead, PackedProgram, PackedProjection, Span};
