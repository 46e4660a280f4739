//! Each computes on what the other made: ciphertexts and keys of `tfhe-core` in tfhe-rs, and of tfhe-rs in `tfhe-core`.
//!
//! Both are given the same secret bits. What is decrypted must be the plaintext, and its noise must have the variance that
//! `tfhe_core::noise` predicts, from both sides: a key in a wrong order or of a wrong sign is either garbage or noise, and noise
//! below the prediction would be a key that is not fresh. Seeds are fixed.

mod bootstrapping_key;
mod ciphertexts;
mod common;
mod external_product;
mod keyswitch_key;
mod shortint;
