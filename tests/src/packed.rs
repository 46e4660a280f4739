//! What the tests of the packed head share.

use crate::layer::Layer;
use gpt2_fhe::run::{Attention, Lowering, Outcome, Plan, Session};
use gpt2_fhe::track::Unobserved;
use nn::attention::Part;
use nn::matrix::Matrix;
use nn::packed::{PackedAttention, PackedOptions, Span};
use tfhe_core::derivation::ClientSeed;
use tfhe_core::random::SampleSeed;

impl Layer {
    /// A part, quantized for the packed circuit.
    pub fn quantize(&self, part: Part, options: &PackedOptions) -> PackedAttention {
        gpt2_fhe::run::packed::calibrate(&self.weights, part, &self.calibration, options).expect("a reliable circuit")
    }
}

/// Encrypts, evaluates and decrypts the rows of `span`, with keys from `seed`.
pub fn execute(attention: &PackedAttention, hidden: &Matrix<f32>, span: Span, seed: u64) -> Outcome {
    let head = Attention::Packed(Box::new(attention.clone()));
    let plan = head.plan(span).expect("a reliable circuit");
    let mut session = Session::new(&head, &plan, &ClientSeed::from_number(seed)).expect("its own plan");
    session.execute(&head, hidden, span, &mut Unobserved).expect("nobody stops the run")
}

/// A simulated run of all rows: `[T, O]` in units of the output's integers.
pub fn simulate(attention: &PackedAttention, plan: &Plan, input: &Matrix<i32>, seed: &SampleSeed) -> Matrix<f64> {
    let span = plan.packing().expect("a plan of the packed circuit").layout.span();
    let reference = attention.reference(input, span);
    let simulated = attention.simulate(&reference, plan, seed, &mut Unobserved);
    simulated.expect("nobody stops the run").0
}
