//! `tfhe-core` beside tfhe-rs, the implementation of TFHE that most others are measured by.
//!
//! [`exchange`] carries keys and ciphertexts from one to the other; the interop tests hold that each computes on what the other
//! made. [`compare`] times the same work in both, in one process and by turns. Nothing else in the repository uses tfhe-rs.
#![deny(unsafe_code)]

pub mod build;
pub mod compare;
pub mod exchange;
pub mod measure;
pub mod report;
