//! The program's functions as polynomials that a bootstrapping rotates.
//!
//! A smooth function is tabulated at all N' angles of half the torus, and the argument is moved into the middle of that half: an
//! argument between two angles is rounded, one with noise gives the function nearby. Only outside of the half, where the polynomial
//! continues with the opposite sign, would the result be wrong.

use nn::table::{Smooth, SmoothTable};
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::params::{GlweShape, PolynomialSize};
use tfhe_core::sets::{COARSE, FINE};
use tfhe_core::torus;

/// The gadget of a function's bootstrapping.
pub fn gadget(function: Smooth) -> usize {
    match function {
        Smooth::Softplus => COARSE,
        Smooth::Exponential => FINE,
        other => unreachable!("the packed attention looks up softplus and exponentials, not {other:?}"),
    }
}

/// The polynomial of a table: its values at the N' angles of half the torus.
pub fn polynomial(table: &SmoothTable, shape: GlweShape) -> GlweCiphertext {
    let size = shape.polynomial_size.get();
    let angle = |j: usize| j as f64 / (2 * size) as f64 - table.offset();
    let values: Vec<u64> = (0..size).map(|j| torus::from_f64(table.at(angle(j)))).collect();
    GlweCiphertext::trivial(shape, &values)
}

/// What a bootstrapping in a ring of N' coefficients reads at `argument` turns, without the noise that it adds.
pub fn read(table: &SmoothTable, argument: f64, size: PolynomialSize) -> f64 {
    let half = size.get() as f64;
    let angle = ((argument + table.offset()) * 2.0 * half).round_ties_even().rem_euclid(2.0 * half);
    let at = |angle: f64| table.at(angle / (2.0 * half) - table.offset());
    if angle < half { at(angle) } else { -at(angle - half) }
}
