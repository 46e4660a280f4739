//! What client and server agree on in the packed circuit.

use nn::packed::PackedProgram;
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::key_graph::{MissingEdge, Parameters};
use tfhe_core::torus::{self, MODULUS_LOG};

use super::layout::{Layout, Sizes};
use super::prediction::{ANSWER_BITS, Scales};
use crate::boundary::Refused;
use crate::encoding::Encoding;

/// A request is `[groups][chunks]` ciphertexts, one after the other, an answer [`Layout::answers`]; [`Layout`] says what is where. Numbers
/// of an answer are known modulo one turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PackedEncoding {
    /// Where everything lies.
    pub layout: Layout,
    /// The input is encrypted at q/2^this.
    pub log_input: u32,
    /// An output of one unit is this many turns.
    pub output_turns: f64,
}

impl PackedEncoding {
    /// Of `program` in a layout, with a parameter set.
    ///
    /// # Errors
    /// If the set is not one of this circuit.
    pub fn new(parameters: &Parameters, program: &PackedProgram, layout: Layout) -> Result<Self, MissingEdge> {
        Ok(Self {
            layout,
            log_input: Scales::new(parameters, program)?.log_input(),
            output_turns: program.output_turns(),
        })
    }
}

impl Encoding for PackedEncoding {
    const CIRCUIT: &str = "packed circuit";

    fn context(&self) -> Fingerprint {
        let (Sizes { embedding, head, output, heads }, rows) = (self.layout.sizes(), self.layout.span().rows());
        let sizes = [embedding, head, output, heads, rows.start, rows.end, self.layout.size()].map(|size| size as u64);
        let fields = Fields::new("integers of the packed circuit").integers(sizes.into_iter());
        // The bits that are sent are the same for all encodings of this circuit.
        fields.integer(self.log_input.into()).real(self.output_turns).fingerprint()
    }

    fn check(&self, parameters: &Parameters) -> Result<(), Refused> {
        Refused::check_scale(self.log_input)?;
        if self.layout.is_in(parameters) { Ok(()) } else { Err(Refused::OtherRings(parameters.name())) }
    }

    fn input_size(&self) -> (usize, usize) {
        (self.layout.tokens(), self.layout.sizes().embedding)
    }

    fn output_size(&self) -> (usize, usize) {
        (self.layout.span().rows().len(), self.layout.sizes().output)
    }

    fn request_len(&self) -> usize {
        self.layout.groups() * self.layout.input_chunks()
    }

    fn answer_len(&self) -> usize {
        self.layout.answers()
    }

    /// All of them: what fresh encryptions have, 2^-61.8, is the largest part of the noise of queries, keys and values, and products with
    /// each other take them to within a few deviations of what tables can read. Rounding to 63 bits adds 1.6 % to its variance, for 1.6 %
    /// of the bytes, and each bit less four times as much.
    fn request_bits(&self) -> u32 {
        MODULUS_LOG
    }

    fn answer_bits(&self) -> u32 {
        ANSWER_BITS
    }

    fn answer_bodies(&self) -> usize {
        self.layout.size()
    }

    fn input_place(&self, token: usize, column: usize) -> (usize, usize) {
        let (group, inputs) = (self.layout.group(), self.layout.inputs());
        let ciphertext = token / group * self.layout.input_chunks() + column / inputs;
        (ciphertext, token % group * inputs + column % inputs)
    }

    fn input_log(&self) -> u32 {
        self.log_input
    }

    fn output_place(&self, row: usize, column: usize) -> (usize, usize, bool) {
        self.layout.answer_position(row, column)
    }

    fn number(&self, element: u64) -> f64 {
        torus::to_f64(element) / self.output_turns
    }
}
