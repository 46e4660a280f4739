//! How the numbers of a request and of its answer lie in ciphertexts: what a client and a server agree on.

use tfhe_core::fingerprint::Fingerprint;
use tfhe_core::format;
use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::key_graph::Parameters;
use tfhe_core::keys::{Answer, Label};
use tfhe_core::params::GlweShape;

use crate::boundary::Refused;

/// Where the integers of an input and the numbers of its answer lie in ciphertexts of N coefficients, and at which scales.
///
/// It is public. Sizes, places and scales say nothing of what is encrypted; a client puts integers in their places
/// ([`crate::client`]), a server computes on ciphertexts that hold them there. Ciphertexts are numbered from 0 within their message.
pub trait Encoding {
    /// The circuit that a client's keys are bound to.
    const CIRCUIT: &str;

    /// Of everything that distinguishes it. A request carries it, and so does its answer.
    fn context(&self) -> Fingerprint;

    /// Checks what clients and servers rely on: that it is for the rings of `parameters`, and its scales fit the torus.
    ///
    /// # Errors
    /// [`Refused::OtherRings`], [`Refused::Scale`].
    fn check(&self, parameters: &Parameters) -> Result<(), Refused>;

    /// The size of an input, `[T, E]`.
    fn input_size(&self) -> (usize, usize);

    /// The size of what is decrypted, `[rows, O]`.
    fn output_size(&self) -> (usize, usize);

    /// The number of ciphertexts of a request.
    fn request_len(&self) -> usize;

    /// The number of ciphertexts of an answer.
    fn answer_len(&self) -> usize;

    /// How many bits of each coefficient of a request's bodies are sent, at most 64.
    fn request_bits(&self) -> u32;

    /// How many bits of each coefficient of an answer are sent, at most 64.
    fn answer_bits(&self) -> u32;

    /// How many coefficients of each of an answer's bodies are sent, from the first on: no number is at another.
    fn answer_bodies(&self) -> usize;

    /// Bytes of a request as a file, of ciphertexts of this shape.
    fn request_bytes(&self, shape: GlweShape) -> usize {
        format::request_bytes(shape, self.request_len(), self.request_bits()) as usize
    }

    /// Bytes of an answer as a file, of ciphertexts of this shape.
    fn answer_bytes(&self, shape: GlweShape) -> usize {
        format::answer_bytes(shape, self.answer_len(), (self.answer_bits(), self.answer_bodies())) as usize
    }

    /// What a server sends, in answer to the request of which this is the label.
    fn answer(&self, request: &Label, ciphertexts: Vec<GlweCiphertext>) -> Answer {
        Answer::new(request, ciphertexts, self.answer_bits()).with_bodies_of(self.answer_bodies())
    }

    /// Where integer `column` of token `token` is: ciphertext and coefficient.
    fn input_place(&self, token: usize, column: usize) -> (usize, usize);

    /// An integer x is x/2^this on the torus.
    fn input_log(&self) -> u32;

    /// Where number `column` of row `row` of an answer is: ciphertext, coefficient, and whether it is negated.
    fn output_place(&self, row: usize, column: usize) -> (usize, usize, bool);

    /// The number that a torus element stands for, in units of the output's integers.
    fn number(&self, element: u64) -> f64;
}
