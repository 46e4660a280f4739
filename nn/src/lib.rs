//! GPT-2 in f32, and its attention head in integers.
//!
//! A computation on encrypted data knows integers of a few bits, sums, products, and functions by lookup. This crate
//! brings the attention head of GPT-2 into that form, and holds everything around it that stays with the client. It
//! knows nothing of ciphertexts.
//!
//! # The model
//! [`gpt2`] is the plain model: read from a Hugging Face folder ([`checkpoint`], [`tokenizer`]), run on whole texts or
//! token by token, every intermediate open to observation, and any attention replaceable by what was computed
//! elsewhere. [`attention`] is one head of it, the reference of everything else. [`metrics`] says how near predictions
//! are.
//!
//! # From real numbers to integers
//! [`quantizers`] represents x by the integer nearest to x/scale; the scale is calibrated on inputs. A product of
//! quantized matrices is exact in integers, and its result, wider than what went in, is brought back to n bits by a
//! table that maps every integer of its range to the nearest level of the next quantizer. [`range`] is the accounting:
//! which integers an intermediate takes, and how many bits that is. A table costs the encrypted computation time that
//! doubles with each bit or so, and thus the bits decide what is feasible.
//!
//! # One set of operations, many evaluators
//! An attention is a function over the trait [`evaluator::Evaluator`]: linear maps, products, weighted sums, lookups, sums. There are
//! two, of one head or of all heads with the output projection: [`integer`] requantizes to a few bits after every step, [`packed`] keeps
//! everything but the softmax at full width. [`clear::ClearEvaluator`] runs either on plain numbers, counts its operations and reports
//! what leaves its range. An encrypted evaluator runs the same function on ciphertexts, and tests compare the numbers of both.
//! The program is all that a server needs; the scales stay with the client. [`record`] keeps both in files.
//!
//! ```
//! use nn::attention::{AttentionWeights, Linear, Part};
//! use nn::clear::ClearEvaluator;
//! use nn::integer::{IntegerAttention, IntegerOptions};
//! use nn::matrix::{Matrix, relative_error};
//!
//! // A layer of two heads of size 4 on embeddings of size 8, and an input of three tokens.
//! let weight = Matrix::from_fn(8, 24, |row, col| ((7 * row + 5 * col) as f32).sin());
//! let weights = AttentionWeights::new(Linear::new(weight, vec![0.1; 24])?, 2)?;
//! let hidden = Matrix::from_fn(3, 8, |row, col| ((3 * row + 2 * col) as f32).cos());
//!
//! let inputs = std::slice::from_ref(&hidden);
//! let head = IntegerAttention::calibrate(&weights, Part::Head(1), inputs, &IntegerOptions::new(8))?;
//! let input = head.client().quantize_input(&hidden)?; // the client's integers
//! let mut evaluator = ClearEvaluator::new();
//! let output = head.program().evaluate_clear(&mut evaluator, &input); // the server's
//! let output = head.client().dequantize_output(&output);
//!
//! let expected = weights.head(1)?.attend(&hidden).output;
//! assert!(relative_error(&output, &expected) < 0.05);
//! assert_eq!((evaluator.lookups(), evaluator.out_of_range()), (60, 0));
//! # Ok::<(), nn::Error>(())
//! ```
#![deny(unsafe_code)]

// Floors: each stands on those before it. Their modules are the crate's.
mod circuit;
mod model;
mod numbers;
mod support;

pub use circuit::{block, clear, evaluator, integer, packed, record, table, watched};
use circuit::{calibration, rounding};
pub use error::Error;
pub use model::{attention, checkpoint, gpt2, metrics, tokenizer};
use numbers::{gemm, named};
pub use numbers::{matrix, quantizers, range, tensor};
use support::error;
pub use support::{file, guard};
