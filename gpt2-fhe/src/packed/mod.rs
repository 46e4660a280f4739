//! The packed head: everything linear or bilinear on whole ciphertexts, lookups on single coefficients.
//!
//! | step | what it computes | with |
//! |---|---|---|
//! | project | x·W for all tokens of a ciphertext at once | products with plaintext polynomials, sums over a coset by automorphisms |
//! | scores | a block of scores | one product of ciphertexts ([`layout`]) |
//! | softplus, exponential | [`nn::packed`]'s lookups | key switch to the small key, bootstrapping in the lookup ring |
//! | output | Σ p·v, all channels at once | external products with encrypted values ([`tfhe_core::product::RelinearizationKey::ggsw`]) |
//!
//! The data flow is [`nn::packed::PackedProgram::evaluate`]; [`encrypted`], [`simulated`] and [`counted`] are the engines it runs on.

pub mod client;
pub mod counted;
pub mod encrypted;
pub mod evaluator;
pub mod layout;
pub mod prediction;
pub mod server;
pub mod simulated;
pub mod tables;
