//! The block's backend on ciphertexts.
//!
//! On the server's side: evaluation keys and ciphertexts, nothing else.
//!
//! | what | on ciphertexts |
//! |---|---|
//! | real numbers (`reals`) | rows of GLWE ciphertexts of the arithmetic ring |
//! | integers that multiply (`multipliers`) | GGSW ciphertexts of that ring, whose levels were looked up |
//! | single numbers (`number`) | sums of coefficients and of results of lookups, added up when they are read |
//!
//! What operations add to noise is what [`BlockBackend`](super::backend::BlockBackend) is told; here it is in the ciphertexts.

mod context;
mod linear;
mod lookups;
mod multipliers;
mod number;
mod operations;
mod reals;

pub use self::context::BlockCiphertexts;
pub use self::multipliers::EncryptedMultipliers;
pub(super) use self::multipliers::Levels;
pub use self::number::{EncryptedNumber, EncryptedSum, Samples};
pub use self::reals::EncryptedReals;
