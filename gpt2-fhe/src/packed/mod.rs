//! The packed attention: everything linear or bilinear on whole ciphertexts, lookups on single coefficients.
//!
//! | step | what it computes | with |
//! |---|---|---|
//! | project | x·W for all tokens of a ciphertext at once | products with plaintext polynomials, sums over a coset by automorphisms |
//! | scores | a block of scores | one product of ciphertexts ([`layout`]) |
//! | softplus, exponential | [`nn::packed`]'s lookups | key switch to the small key, bootstrapping in the lookup ring |
//! | output | Σ p·v, for all rows and tokens of two groups, and all channels of a chunk, at once | an external product with encrypted values ([`tfhe_core::tensor_product::RelinearizationKey::ggsw`]) |
//!
//! Heads share the input's ciphertexts and transforms, batches of lookups, and the answer, to which they are added up.
//! The program is [`nn::packed::PackedProgram::evaluate`], and [`evaluator`] what computes it, on one of three backends: [`ciphertexts`],
//! [`simulated`] and [`counted`].

pub mod backend;
pub mod ciphertexts;
pub mod counted;
pub mod encoding;
pub mod evaluator;
pub mod keys;
pub mod layout;
pub mod prediction;
pub(crate) mod prepared;
pub mod simulated;
pub mod tables;
pub mod watched;
