//! Arrays of numbers, and real numbers as integers: it knows no model.

// The call of a matrix-product crate with raw pointers.
#[allow(unsafe_code)]
pub(crate) mod gemm;
pub mod matrix;
pub(crate) mod named;
pub mod quantizers;
pub mod range;
pub mod tensor;
