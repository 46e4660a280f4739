//! The head's functions as polynomials that a bootstrapping rotates.
//!
//! A smooth function is tabulated at all N' angles of half the torus, and the argument is moved into the middle of that half: an
//! argument between two angles is rounded, one with noise gives the function nearby. Only outside of the half, where the polynomial
//! continues with the opposite sign, would the result be wrong.

use nn::packed::{Function, PackedHead, PackedProgram};
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::params::GlweShape;
use tfhe_core::sets::{COARSE, FINE};
use tfhe_core::torus;

/// How far above zero an exponential's argument may be read, in turns: half of what the head keeps free of half a turn.
fn exponent_headroom(head: &PackedHead) -> f64 {
    head.headroom() / 4.0
}

/// What is added to the argument of a function before it is looked up, in turns.
pub fn argument_offset(head: &PackedHead, function: Function) -> f64 {
    match function {
        Function::Softplus => 0.25,
        Function::Exponential => 0.5 - exponent_headroom(head),
    }
}

/// The gadget of a function's bootstrapping.
pub fn gadget(function: Function) -> usize {
    match function {
        Function::Softplus => COARSE,
        Function::Exponential => FINE,
    }
}

/// How far an argument within the head's limits is from being read on the wrong half, in turns.
pub fn argument_margin(head: &PackedHead, function: Function) -> f64 {
    let limit = head.difference_limit_turns();
    match function {
        Function::Softplus => 0.25 - limit,
        Function::Exponential => {
            let above = exponent_headroom(head);
            above.min(0.5 - above - 2.0 * limit)
        }
    }
}

/// The turns that a probability of one takes: outputs up to the program's limit take half a turn less what it keeps free.
pub fn probability_turns(program: &PackedProgram) -> f64 {
    0.5 * (1.0 - program.output_headroom()) / program.output_limit()
}

/// What a result of `function` of head `head` at `argument` turns is, in turns.
pub fn value(program: &PackedProgram, head: usize, function: Function, argument: f64) -> f64 {
    let scale = match function {
        Function::Softplus => 1.0,
        Function::Exponential => probability_turns(program),
    };
    program.heads()[head].apply(function, argument) * scale
}

/// The polynomials of both functions of a head.
#[derive(Clone, Debug)]
pub struct Tables {
    softplus: GlweCiphertext,
    exponential: GlweCiphertext,
}

impl Tables {
    /// Tabulates the head's functions at the N' angles of half the torus.
    pub fn new(program: &PackedProgram, head: usize, shape: GlweShape) -> Self {
        let table = |function| {
            let size = shape.polynomial_size.get();
            let offset = argument_offset(&program.heads()[head], function);
            let angle = |j: usize| j as f64 / (2 * size) as f64 - offset;
            let values: Vec<u64> =
                (0..size).map(|j| torus::from_f64(value(program, head, function, angle(j)))).collect();
            GlweCiphertext::trivial(shape, &values)
        };
        Self { softplus: table(Function::Softplus), exponential: table(Function::Exponential) }
    }

    /// The polynomial of `function`.
    pub fn polynomial(&self, function: Function) -> &GlweCiphertext {
        match function {
            Function::Softplus => &self.softplus,
            Function::Exponential => &self.exponential,
        }
    }
}
