//! Integer tensors, quantization, GPT-2 in f32 and its attention head in integers.
#![deny(unsafe_code)]
pub mod attention;
pub mod checkpoint;
pub mod clear;
pub mod engine;
mod error;
mod gemm;
pub mod gpt2;
pub mod head;
pub mod matrix;
pub mod quantize;
pub mod range;
pub mod tensor;
pub mod tokenizer;
pub use error::Error;
