//! Arithmetic with polynomials, in the clear: it knows neither keys nor ciphertexts.

pub mod buffer;
pub mod decomposition;
#[allow(unsafe_code)]
pub mod fft;
pub mod gadget_product;
pub mod integer_product;
pub mod polynomial;
// Vector instructions are the one place for unsafe code.
#[allow(unsafe_code)]
pub mod simd;
