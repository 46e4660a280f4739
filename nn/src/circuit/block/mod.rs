//! Whole blocks: LayerNorm, attention, sum; LayerNorm, feed-forward layer, sum; one after the other, up to a whole model.
//!
//! Numbers are real, in turns, and stay so from the first hidden state to the last: the *stream*. What multiplies them is integers, known
//! ones (weights) or ones that were looked up (LayerNorm's factors, keys, probabilities). A block adds two updates to the stream, each of which
//! is read channel by channel, at a range of its own.
//!
//! ```text
//! r  = 1/√(Σ x²/E + ε)                                        rows have no mean: it has a channel of its own      (norm)
//! q, k, v = x·W · r + b,   s = q·kᵀ,   P = softmax(s),   x += P·v·W_o + b                                        (attention)
//! h  = x·W_1 · r + b_1,    f(h) = a(h) − h/2,             x += f(h)·W_2 + x·(W_1·W_2/2) · r + b_2                  (mlp)
//! ```
//!
//! [`BlockProgram::calibrate`] makes a program of a layer's weights and of hidden states that it meets; [`ModelProgram::calibrate`]
//! one of some of a model's layers, and of texts. After the model's last block an [`EndProgram`] may follow: then it is of the last token
//! only that anything is answered. LayerNorm's weights are parts of the maps that follow it; weights are rounded so that their
//! errors cancel on such inputs. A server evaluates a [`StreamProgram`]; [`BlocksClient`] is the client's half.
//!
//! Three things keep errors small without large ranges: tables that go on without a jump where their half turn ends
//! ([`SmoothTable::continued`](crate::table::SmoothTable::continued)), so that a number a little beyond what calibration saw is off by a
//! little; logarithms of sums that are found in steps, each on a smaller range; and gates, of which a whole turn is read
//! ([`Smooth::Gate`](crate::table::Smooth::Gate)).

mod attention;
mod calibrate;
mod client;
mod end;
mod ending;
mod last_state;
mod logits;
mod mlp;
mod model;
mod norm;
mod observed;
mod options;
mod program;
mod reading;
mod record;
mod scale;
mod softmax;
pub mod steps;
mod stream;
#[cfg(test)]
pub(crate) mod tiny;

pub use attention::{AttentionCache, AttentionProgram, HeadProgram, Needed, QueryProgram};
pub use calibrate::BlockPart;
pub use client::BlocksClient;
pub use end::{EndProgram, EndScale};
pub use ending::Ending;
pub use last_state::LastStateProgram;
pub use logits::LogitsProgram;
pub use mlp::{FeedForward, MlpProgram};
pub use model::ModelProgram;
pub use norm::NormProgram;
pub use options::BlockOptions;
pub use program::{BlockCache, BlockProgram};
pub use reading::{ChannelArgument, Reading};
pub use scale::{AnswerScale, StreamScale};
pub use softmax::SoftmaxProgram;
pub use stream::StreamProgram;
