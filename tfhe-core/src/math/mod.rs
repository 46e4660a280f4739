//! Arithmetic with polynomials, in the clear: it knows neither keys nor ciphertexts.

pub mod buffer;
pub mod decomposition;
pub mod exact;
#[allow(unsafe_code)]
pub mod fft;
pub mod gadget;
pub mod polynomial;
// Vector instructions are the one place for unsafe code.
#[allow(unsafe_code)]
pub mod simd;
