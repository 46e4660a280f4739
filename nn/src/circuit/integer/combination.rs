//! One output of all heads: requantized to one scale, and projected.

use super::steps;
use crate::error::Error;
use crate::evaluator::{Evaluator, Form, LinearMap, Rows, TermUse, Use, look_up_rows};
use crate::matrix::Matrix;
use crate::range::IntegerRange;
use crate::table::LookupTable;

/// The output projection of a layer's attention.
///
/// ```text
/// o   = round(O·s_p·s_v / s_o)      one lookup per entry, by head, as s_v is the head's
/// out = o·W_o + round(bias / (s_o·s_wo))
/// ```
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Combination {
    /// `[H]`: from the output of each head to n bits at the scale of all.
    pub(super) tables: Vec<LookupTable>,
    /// `[dH, E]`
    pub(super) weight: Matrix<i32>,
    /// `[E]`, in units of the result.
    pub(super) bias: Vec<i64>,
    /// The result fits, with its sign, in the modulus 2^(sum_bits+1), whatever the tables give.
    pub(super) sum_bits: u32,
}

impl Combination {
    /// What [`Self::sum_bits`] is at most: far beyond what weights and values of 11 bits need.
    pub(super) const MAX_SUM_BITS: u32 = 40;

    /// E.
    pub(super) fn output_size(&self) -> usize {
        self.weight.cols()
    }

    /// The tables, each with its step.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&'static str, &LookupTable)> {
        self.tables.iter().map(|table| (steps::QUANTIZE_OUTPUT, table))
    }

    /// The bits that the largest possible result needs: |bias| + Σ|w|·L, for terms of at most L.
    pub(super) fn bits_of(weight: &Matrix<i32>, bias: &[i64], largest: i64) -> u32 {
        let bound = |(column, bias): (usize, &i64)| {
            let terms = (0..weight.rows()).map(|row| (weight[(row, column)] as i64).saturating_mul(largest));
            terms.fold(bias.saturating_abs(), |sum, term| sum.saturating_add(term.saturating_abs()))
        };
        IntegerRange::symmetric(bias.iter().enumerate().map(bound).max().unwrap_or(0)).signed_bits()
    }

    /// Checks what was read, for a program of `heads` heads and `channels` channels in all, of `bits` bits.
    pub(super) fn check(&self, bits: u32, heads: usize, channels: usize) -> Result<(), Error> {
        let (rows, columns) = (self.weight.rows(), self.weight.cols());
        if self.tables.len() != heads || rows != channels || columns == 0 || self.bias.len() != columns {
            let expected = format!("[{channels}, {}], with a table for each of {heads} heads", self.bias.len());
            return Err(Error::shape("the weight of an output projection", expected, &[rows, columns]));
        }
        let largest = self.tables.iter().map(LookupTable::max_abs_value).max().unwrap_or(0);
        let is_valid = self.sum_bits <= Self::MAX_SUM_BITS
            && largest <= 1 << bits
            && self.weight.iter().all(|entry| entry.unsigned_abs() < 1 << bits)
            && Self::bits_of(&self.weight, &self.bias, largest) <= self.sum_bits;
        if is_valid { Ok(()) } else { Err(inconsistent_bits()) }
    }

    /// The use of the requantized outputs.
    fn term(&self) -> TermUse {
        let square =
            |column| (0..self.weight.rows()).map(|row| (self.weight[(row, column)] as i64).pow(2) as u64).sum();
        let squared_weights = (0..self.weight.cols()).map(square).max().unwrap_or(0);
        TermUse { sum_bits: self.sum_bits, squared_weights }
    }

    /// From the outputs of the heads, `[T, d]` each, to `[T, E]`.
    pub(super) fn evaluate<E: Evaluator<Table = LookupTable>>(
        &self,
        evaluator: &mut E,
        outputs: Vec<Rows<E::Lane>>,
    ) -> Result<Rows<E::Lane>, E::Error> {
        let term = self.term();
        let quantized = self.requantize(evaluator, outputs, Use::term(term))?; // [T, dH]
        let quantized = evaluator.pack(quantized, Form::Terms(term));
        let form = Form::Integers { bits: self.sum_bits };
        let map = LinearMap { weight: &self.weight, bias: &self.bias, form };
        let projected = evaluator.linear(steps::PROJECT_OUTPUT, &quantized, &[map])?;
        Ok(projected.into_iter().flat_map(|part| evaluator.lanes(part)).collect())
    }

    /// The heads side by side, `[T, dH]`, at one scale.
    fn requantize<E: Evaluator<Table = LookupTable>>(
        &self,
        evaluator: &mut E,
        outputs: Vec<Rows<E::Lane>>,
        result: Use,
    ) -> Result<Rows<E::Lane>, E::Error> {
        let tokens = outputs[0].len();
        let mut heads: Vec<_> = outputs.into_iter().map(Vec::into_iter).collect();
        // A row of one head after that of another, of all tokens.
        let rows: Rows<E::Lane> =
            (0..tokens).flat_map(|_| heads.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>()).collect();
        let tables: Vec<&LookupTable> = (0..tokens).flat_map(|_| &self.tables).collect();
        let quantized = look_up_rows(evaluator, steps::QUANTIZE_OUTPUT, &rows, &tables, result)?;
        Ok(quantized.chunks(self.tables.len()).map(|heads| heads.concat()).collect())
    }
}

/// That the bits of a program contradict each other.
pub(super) fn inconsistent_bits() -> Error {
    Error::out_of_range("a number of bits of the program", "inconsistent with the others", "one that calibration gave")
}
