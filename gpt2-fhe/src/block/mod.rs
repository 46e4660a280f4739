//! Whole blocks: the stream of hidden states stays encrypted from one layer to the next.
//!
//! | step | what it computes | with |
//! |---|---|---|
//! | linear maps | x·W of each token | products with plaintext polynomials ([`layout`]) |
//! | multipliers | integers, looked up | GGSW ciphertexts, one bootstrapping for each level or for several, relinearization |
//! | products with them | LayerNorm's factor, scores, weighted values | external products |
//! | everything else | squares, softmax, activation, updates | key switch to the small key, bootstrapping with each number's own table |
//!
//! The program is [`nn::block::BlockProgram`], and [`evaluator`] what computes it on a [`backend`].

pub mod agreement;
pub mod backend;
pub mod ciphertexts;
pub mod circuit;
pub mod compute;
pub mod counted;
pub mod encoding;
pub mod evaluator;
pub mod forecast;
pub mod keys;
pub mod layout;
pub mod noise;
pub mod prediction;
pub mod schedule;
pub mod server;
pub mod simulated;
pub mod state;
pub mod tensor;
pub mod watched;
