//! Single numbers: sums that are added up when they are read.

use std::sync::Arc;

use tfhe_core::glwe::GlweCiphertext;
use tfhe_core::lwe::LweCiphertext;
use tfhe_core::params::LweDimension;
use tfhe_core::refresh::Argument;

use crate::packed::ciphertexts::add_part;

/// A coefficient of a ciphertext of the arithmetic ring.
#[derive(Clone, Debug)]
struct Coefficient {
    ciphertext: Arc<GlweCiphertext>,
    index: usize,
}

/// A sum of coefficients, results of lookups, and a constant, in integer multiples.
///
/// An extracted sample is as large as its ciphertext's mask, and a block has thousands of numbers at a time, of few ciphertexts: so samples
/// are extracted when the sum is read. What cancels before is not there.
#[derive(Clone, Debug, Default)]
pub struct EncryptedSum {
    coefficients: Vec<(Coefficient, i64)>,
    /// Under the lookup ring's key.
    results: Vec<(Arc<LweCiphertext>, i64)>,
    constant: u64,
}

/// A sum as samples: under the arithmetic ring's key, and under that of the lookup ring. At least one is there.
#[derive(Clone, Debug)]
pub struct Samples {
    /// The sum of coefficients.
    pub arithmetic: Option<LweCiphertext>,
    /// The sum of results of lookups.
    pub lookup: Option<LweCiphertext>,
}

impl Samples {
    /// What a table is read at.
    pub(super) fn argument(&self) -> Argument<'_> {
        Argument { arithmetic: self.arithmetic.as_ref(), lookup: self.lookup.as_ref() }
    }
}

/// `terms += factor·term`, each of them once.
fn add_term<T: Clone>(terms: &mut Vec<(T, i64)>, term: &T, factor: i64, same: impl Fn(&T, &T) -> bool) {
    match terms.iter().position(|(other, _)| same(other, term)) {
        None => terms.push((term.clone(), factor)),
        // Modulo 2^64, as all of the torus is.
        Some(index) => terms[index].1 = terms[index].1.wrapping_add(factor),
    }
}

impl EncryptedSum {
    /// A known number.
    pub(super) fn constant(constant: u64) -> Self {
        Self { constant, ..Self::default() }
    }

    /// A coefficient.
    pub(super) fn coefficient(ciphertext: &Arc<GlweCiphertext>, index: usize) -> Self {
        let coefficient = Coefficient { ciphertext: ciphertext.clone(), index };
        Self { coefficients: vec![(coefficient, 1)], ..Self::default() }
    }

    /// A result of a lookup.
    pub(in crate::block) fn result(result: LweCiphertext) -> Self {
        Self { results: vec![(Arc::new(result), 1)], ..Self::default() }
    }

    /// `self += factor·other`.
    pub(super) fn add_scaled(&mut self, other: &Self, factor: i64) {
        for (term, multiple) in &other.coefficients {
            add_term(&mut self.coefficients, term, multiple.wrapping_mul(factor), |one, other| {
                Arc::ptr_eq(&one.ciphertext, &other.ciphertext) && one.index == other.index
            });
        }
        for (term, multiple) in &other.results {
            add_term(&mut self.results, term, multiple.wrapping_mul(factor), Arc::ptr_eq);
        }
        self.coefficients.retain(|(_, factor)| *factor != 0);
        self.results.retain(|(_, factor)| *factor != 0);
        self.constant = self.constant.wrapping_add(other.constant.wrapping_mul(factor as u64));
    }

    /// The sum, `lookup` being the dimension of samples under the lookup ring's key.
    pub fn samples(&self, lookup: LweDimension) -> Samples {
        let mut sum = Samples { arithmetic: None, lookup: None };
        for (Coefficient { ciphertext, index }, factor) in &self.coefficients {
            add_part(&mut sum.arithmetic, Some(&ciphertext.sample_extract(*index)), *factor);
        }
        for (result, factor) in &self.results {
            add_part(&mut sum.lookup, Some(result), *factor);
        }
        match (&mut sum.arithmetic, &mut sum.lookup) {
            (Some(part), _) | (None, Some(part)) => part.add_plaintext(self.constant),
            (None, None) => sum.lookup = Some(LweCiphertext::trivial(lookup, self.constant)),
        }
        sum
    }
}

/// A number, or an integer that multiplies.
#[derive(Clone, Debug)]
pub enum EncryptedNumber {
    /// A number in turns.
    Sum(EncryptedSum),
    /// An integer M, as M·q/β^i for each level i of a gadget, under the lookup ring's key.
    Levels(Arc<Vec<LweCiphertext>>),
}

impl EncryptedNumber {
    /// The number in turns.
    ///
    /// # Panics
    /// If it is an integer that multiplies: programs pack these, and nothing else.
    pub fn sum(&self) -> &EncryptedSum {
        match self {
            Self::Sum(sum) => sum,
            Self::Levels(_) => unreachable!("an integer that multiplies is packed"),
        }
    }

    /// As [`Self::sum`].
    pub(super) fn sum_mut(&mut self) -> &mut EncryptedSum {
        match self {
            Self::Sum(sum) => sum,
            Self::Levels(_) => unreachable!("an integer that multiplies is packed"),
        }
    }

    /// The integer that multiplies.
    ///
    /// # Panics
    /// If it is a number in turns.
    pub(super) fn levels(&self) -> &[LweCiphertext] {
        match self {
            Self::Levels(levels) => levels,
            Self::Sum(_) => unreachable!("what multiplies is an integer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tfhe_core::params::GlweShape;

    fn dimension() -> LweDimension {
        LweDimension::new(4).unwrap()
    }

    #[test]
    fn equal_terms_are_merged_and_cancel() {
        let shape = GlweShape::new(1, 16).unwrap();
        let polynomial: Vec<u64> = (0..16).collect();
        let ciphertext = Arc::new(GlweCiphertext::trivial(shape, &polynomial));
        let result = EncryptedSum::result(LweCiphertext::from_data(vec![1, 2, 3, 4, 100]));
        let mut sum = EncryptedSum::constant(1000);
        sum.add_scaled(&EncryptedSum::coefficient(&ciphertext, 5), 3);
        sum.add_scaled(&result, -2);
        let mut twice = sum.clone();
        twice.add_scaled(&sum, 1);
        assert_eq!((twice.coefficients.len(), twice.results.len()), (1, 1));
        let Samples { arithmetic, lookup } = twice.samples(dimension());
        assert_eq!(arithmetic.unwrap().body(), 2 * (3 * 5 + 1000));
        assert_eq!(lookup.unwrap(), {
            let mut scaled = LweCiphertext::from_data(vec![1, 2, 3, 4, 100]);
            scaled.scale(-4);
            scaled
        });
        twice.add_scaled(&sum, -2);
        assert_eq!((twice.coefficients.len(), twice.results.len()), (0, 0));
        let Samples { arithmetic, lookup } = twice.samples(dimension());
        assert_eq!((arithmetic, lookup), (None, Some(LweCiphertext::trivial(dimension(), 0))));
    }

    #[test]
    fn a_constant_is_in_the_sum_once() {
        let result = LweCiphertext::from_data(vec![0, 0, 0, 0, 7]);
        let mut sum = EncryptedSum::result(result);
        sum.add_scaled(&EncryptedSum::constant(5), -1);
        let Samples { arithmetic, lookup } = sum.samples(dimension());
        assert_eq!((arithmetic, lookup.unwrap().body()), (None, 2));
    }
}
