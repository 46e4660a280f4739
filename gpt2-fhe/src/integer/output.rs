//! What results of lookups must be like, by what they are used for.

use nn::evaluator::Use;
use tfhe_core::sets::{FINE, PRECISE};

use super::multiply::Multiply;
use super::prediction::Predictor;

/// What a lookup's result must be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Output {
    /// The scale is 2^−(bits+1).
    pub(super) bits: u32,
    /// The bootstrapping gadget of the last reading.
    pub(super) gadget: usize,
    /// Whether a value read in two bootstrappings is read once more, digit by digit: for factors and terms of weighted
    /// sums, whose digits are few.
    pub(super) reencoded: bool,
}

impl Output {
    /// The result's scale and precision for its uses.
    pub(super) fn of(result: Use, multiply: Multiply, predictor: &Predictor, gadgets: &[usize]) -> Self {
        let factor_bits = result.factor.map(|factor| match multiply {
            Multiply::Product => factor.product_bits,
            Multiply::Lut => factor.operand_bits,
        });
        let sum_bits = result.term.map(|term| term.sum_bits);
        let bits = result.lookup_bits.max(factor_bits).max(sum_bits).expect("a lookup's result is used by something");
        let factor_gadget = result.factor.filter(|_| multiply == Multiply::Product).map(|_| PRECISE);
        let term_gadget = result.term.map(|term| predictor.term_gadget(term, gadgets));
        let precise = factor_gadget.max(term_gadget);
        let gadget = precise.unwrap_or_else(|| predictor.summand_gadget(bits, gadgets));
        Self { bits, gadget, reencoded: precise.is_some() }
    }

    /// Results of which `terms` are summed before the next lookup, of up to `bits` bits, which scales their digits to the whole
    /// torus.
    pub(super) fn summand(bits: u32, terms: usize, predictor: &Predictor, gadgets: &[usize]) -> Self {
        let shift = bits.saturating_sub(predictor.rounding_digit()) + terms.ilog2().div_ceil(2);
        Self { bits, gadget: predictor.scaled_gadget(shift, gadgets).max(FINE), reencoded: false }
    }

    pub(super) fn delta(self) -> u64 {
        1 << (63 - self.bits)
    }
}
