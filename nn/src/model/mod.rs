//! GPT-2 in f32, from a folder of files to its predictions.

pub mod attention;
pub mod checkpoint;
pub mod gpt2;
pub mod metrics;
pub mod tokenizer;
