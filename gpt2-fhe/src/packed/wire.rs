//! What client and server send each other in the packed circuit, and what they agree on besides the layout.

use nn::packed::PackedProgram;
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::glwe::SeededGlweCiphertext;
use tfhe_core::key_graph::{MissingEdge, Parameters};
use tfhe_core::keys::{Answer, EvaluationKeys, Mismatch, Request};

use super::layout::{Layout, Sizes};
use super::prediction::Scales;

/// The scales of what is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WireScales {
    /// The input is encrypted at q/2^this.
    pub log_input: u32,
    /// An output of one unit is this many turns.
    pub output_turns: f64,
}

impl WireScales {
    /// Of `program` with a parameter set.
    ///
    /// # Errors
    /// If the set is not one of this circuit.
    pub fn new(parameters: &Parameters, program: &PackedProgram) -> Result<Self, MissingEdge> {
        Ok(Self {
            log_input: Scales::new(parameters, program)?.log_input(),
            output_turns: program.output_turns(),
        })
    }
}

/// How a request is encoded.
pub fn context(layout: &Layout, scales: &WireScales) -> Fingerprint {
    let (Sizes { embedding, head, output, heads }, rows) = (layout.sizes(), layout.span().rows());
    let sizes = [embedding, head, output, heads, rows.start, rows.end, layout.size()].map(|size| size as u64);
    let fields = Fields::new("integers of the packed circuit").integers(sizes.into_iter());
    let WireScales { log_input, output_turns } = *scales;
    fields.integer(log_input.into()).real(output_turns).fingerprint()
}

/// The input: `[groups][chunks]` ciphertexts, one after the other; [`Layout`] says what is where.
#[derive(Clone, Debug)]
pub struct PackedInput {
    /// The ciphertexts, and what they belong to.
    pub request: Request,
}

impl PackedInput {
    /// The ciphertexts, if they belong to `keys`, and are for this layout and these scales.
    ///
    /// # Errors
    /// What does not belong together.
    pub fn open(
        &self,
        keys: &EvaluationKeys,
        layout: &Layout,
        scales: &WireScales,
    ) -> Result<&[SeededGlweCiphertext], Mismatch> {
        self.request.open(keys, &context(layout, scales), layout.groups() * layout.input_chunks())
    }

    /// Bytes on the wire.
    pub fn bytes(&self) -> usize {
        self.request.bytes()
    }
}

/// The output.
#[derive(Clone, Debug)]
pub struct PackedOutput {
    /// Ciphertexts, each of which holds [`Layout::places_per_answer`] chunks of rows, the last one what is left.
    pub answer: Answer,
}

impl PackedOutput {
    /// Bytes on the wire.
    pub fn bytes(&self) -> usize {
        self.answer.bytes()
    }
}
