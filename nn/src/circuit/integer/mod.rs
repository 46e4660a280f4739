//! The attention of an encrypted GPT-2, in integers: one head, or all heads of a layer and the output projection
//! ([`Part`](crate::attention::Part)).
//!
//! A head is that of R. Bredehoft, J. Frery et al., "Towards Encrypted Large Language Models with FHE" (Hugging Face
//! blog, 2023), with quantizers of n bits, symmetric, one per tensor ([`crate::quantizers`]). L = 2^(n−1) − 1.
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
//! in it. Above [`IntegerOptions::msbs`] bits the low bits are rounded away, as the article does for speed.
//!
//! # Parties
//! [`IntegerAttention::calibrate`] makes both halves: [`IntegerProgram`] is all that a server needs (weights, tables, bits),
//! and [`IntegerClient`] all that a client needs (scales). [`crate::record`] keeps both in files.

mod attention;
mod calibrate;
mod client;
mod combination;
mod options;
mod program;
mod ranges;
mod record;
mod softmax;
pub mod steps;
mod tables;

pub use attention::IntegerAttention;
pub use client::IntegerClient;
pub use options::IntegerOptions;
pub use program::IntegerProgram;
pub use ranges::RangeReport;
