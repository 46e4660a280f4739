//! What client and server agree on in the exact circuit: one number after the other.

use nn::integer::IntegerProgram;
use tfhe_core::fingerprint::{Fields, Fingerprint};
use tfhe_core::key_graph::Parameters;
use tfhe_core::noise::{self, Variance};
use tfhe_core::params::GlweShape;
use tfhe_core::torus::{self, MODULUS_LOG};

use crate::boundary::Refused;
use crate::encoding::Encoding;

/// How many bits of a request's bodies are sent. What is rounded meets weights of a norm of 2^10 and, where a wide table is read, 2^9 more:
/// for scales of 14 bits that is 2^-23 of a turn, where reading has an error of 2^-10.
const REQUEST_BITS: u32 = 40;

/// How many bits of an answer are sent beyond an integer and its sign. Its rounding moves a number by 2^-16 of what separates two.
const ANSWER_BITS: u32 = 20;

/// What the rounding of a request's bodies adds to each of its integers.
pub fn request_rounding() -> Variance {
    noise::rounded_body(REQUEST_BITS)
}

/// What the rounding of an answer adds to integers of `output_bits` bits.
pub fn answer_rounding(shape: GlweShape, output_bits: u32) -> Variance {
    noise::rounded_ciphertext(shape, answer_bits(output_bits))
}

fn answer_bits(output_bits: u32) -> u32 {
    output_bits.saturating_add(1 + ANSWER_BITS).min(MODULUS_LOG)
}

/// Each token's input fills ⌈E/N⌉ ciphertexts: number c holds x_{cN+j} at X^j. The answer lies as
/// [`IntegerCiphertexts::pack_entries`](super::ciphertexts::IntegerCiphertexts::pack_entries) packs it, row by row. An integer m of b bits is m/2^(b+1) on
/// the torus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntegerEncoding {
    /// N.
    pub size: usize,
    /// T.
    pub tokens: usize,
    /// E.
    pub inputs: usize,
    /// Bits of the input's scale.
    pub input_bits: u32,
    /// d of one head, E of a whole attention.
    pub outputs: usize,
    /// Bits of the output's scale.
    pub output_bits: u32,
}

impl IntegerEncoding {
    /// Of `program` on `tokens` tokens, with a parameter set.
    pub fn new(parameters: &Parameters, program: &IntegerProgram, tokens: usize) -> Self {
        Self {
            size: parameters.arithmetic().size().get(),
            tokens,
            inputs: program.embedding_size(),
            input_bits: program.accumulator_bits(),
            outputs: program.output_size(),
            output_bits: program.output_bits(),
        }
    }

    /// The number of ciphertexts of a token's input: ⌈E/N⌉.
    pub fn chunks(&self) -> usize {
        self.inputs.div_ceil(self.size)
    }
}

impl Encoding for IntegerEncoding {
    const CIRCUIT: &str = "exact circuit";

    fn context(&self) -> Fingerprint {
        let sizes = [self.tokens, self.inputs, self.outputs].map(|size| size as u64);
        let fields = Fields::new("integers of the exact circuit").integers(sizes.into_iter());
        let bits = [self.input_bits, self.output_bits, self.request_bits(), self.answer_bits()];
        fields.integers(bits.map(u64::from).into_iter()).fingerprint()
    }

    fn check(&self, parameters: &Parameters) -> Result<(), Refused> {
        Refused::check_scale(self.input_bits)?;
        Refused::check_scale(self.output_bits)?;
        let is_in = self.size == parameters.arithmetic().size().get();
        if is_in { Ok(()) } else { Err(Refused::OtherRings(parameters.name())) }
    }

    fn input_size(&self) -> (usize, usize) {
        (self.tokens, self.inputs)
    }

    fn output_size(&self) -> (usize, usize) {
        (self.tokens, self.outputs)
    }

    fn request_len(&self) -> usize {
        self.tokens.saturating_mul(self.chunks())
    }

    fn answer_len(&self) -> usize {
        self.tokens.saturating_mul(self.outputs).div_ceil(self.size)
    }

    fn request_bits(&self) -> u32 {
        REQUEST_BITS
    }

    fn answer_bits(&self) -> u32 {
        answer_bits(self.output_bits)
    }

    fn answer_bodies(&self) -> usize {
        self.size
    }

    fn input_place(&self, token: usize, column: usize) -> (usize, usize) {
        (token * self.chunks() + column / self.size, column % self.size)
    }

    fn input_log(&self) -> u32 {
        self.input_bits + 1
    }

    fn output_place(&self, row: usize, column: usize) -> (usize, usize, bool) {
        let entry = row * self.outputs + column;
        let (ciphertext, index) = (entry / self.size, entry % self.size);
        let held = (self.tokens * self.outputs - ciphertext * self.size).min(self.size);
        (ciphertext, index * (self.size / held.next_power_of_two()), false)
    }

    fn number(&self, element: u64) -> f64 {
        torus::decode(element, self.output_bits + 1) as f64
    }
}
